/* Keeps the events that are still on their way as they are now, while somebody can see them. */
"use strict";
{
  const LIST_INTERVAL = 5000; // milliseconds
  const PAGE_INTERVAL = 2000;

  class Ended extends Error {}

  async function ask(url) {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    // The admin answers with its log-in page.
    if (response.redirected || response.status === 403) throw new Ended();
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return response.json();
  }

  /* Look again and again, until look() says that there is no more to see. */
  async function repeat(look, interval) {
    const goesOn = document.hidden || (await look());
    if (goesOn) setTimeout(repeat, interval, look, interval);
  }

  /* The site made the HTML as it made the page, with everything escaped. What has the focus
     stays for now, and what somebody has unfolded stays as long as it is the same. */
  class Place {
    #target;
    #shown;

    constructor(target) {
      this.#target = target;
      this.#shown = target.innerHTML.trim();
    }

    put(html) {
      const made = document.createElement("template");
      made.innerHTML = html.trim();
      if (made.innerHTML === this.#shown) return true;
      if (this.#target.contains(document.activeElement)) return false;
      this.#shown = made.innerHTML;
      this.#target.replaceChildren(made.content);
      return true;
    }
  }

  function followPage(note) {
    const places = new Map([["", new Place(document.getElementById("directus-buttons"))]]);
    let { state } = note.dataset;
    say(note.dataset.following);

    function say(text) {
      note.textContent = text;
      note.hidden = !text;
    }

    function put([name, html]) {
      const target = places.get(name) ?? document.querySelector(`.field-${name} .readonly`);
      if (!target) return true;
      if (!places.has(name)) places.set(name, new Place(target));
      return places.get(name).put(html);
    }

    function show(answer) {
      const isShown = [["", answer.buttons], ...Object.entries(answer.cells)].map(put);
      if (state !== answer.state) announce(answer.state);
      state = answer.state;
      return answer.is_open || isShown.includes(false);
    }

    function announce(text) {
      document.getElementById("directus-announcement").textContent = text;
    }

    return async () => {
      try {
        const goesOn = show(await ask(note.dataset.url));
        say(goesOn ? note.dataset.following : "");
        return goesOn;
      } catch (error) {
        const isOver = error instanceof Ended;
        say(isOver ? note.dataset.ended : note.dataset.away);
        return !isOver;
      }
    };
  }

  async function lookAtList() {
    const marks = [...document.querySelectorAll("#result_list [data-directus-event]")];
    if (!marks.length) return false;
    try {
      const keys = marks.map((mark) => mark.dataset.directusEvent);
      const { rows } = await ask(`live/?ids=${keys.join(",")}`);
      for (const mark of marks) {
        const html = rows[mark.dataset.directusEvent];
        if (html !== undefined) new Place(mark.parentElement).put(html);
      }
    } catch (error) {
      return !(error instanceof Ended); // else the site is away for a moment
    }
    return true;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const note = document.getElementById("directus-follow");
    if (note) repeat(followPage(note), PAGE_INTERVAL);
    else if (document.getElementById("changelist")) repeat(lookAtList, LIST_INTERVAL);
  });
}
