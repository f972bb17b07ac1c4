/* What the scripts of the subscription's pages share: making elements, asking the site. */
"use strict";

window.directusSubscription = (() => {
  const data = JSON.parse(document.getElementById("directus-form")?.textContent ?? "null");

  /* An element with attributes (on… are listeners) and children; text stays text. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  function button(text, onclick, attributes = {}) {
    return element("button", { type: "button", class: "directus-button", onclick, ...attributes }, text);
  }

  /* POST the form as it stands, with some more values; the site's answer, or an error. */
  async function ask(name, form, more = {}) {
    const body = new FormData(form);
    for (const [key, value] of Object.entries(more)) body.set(key, value);
    try {
      const response = await fetch(data.urls[name], { method: "POST", body });
      if (response.ok && response.headers.get("Content-Type").includes("json")) {
        return await response.json();
      }
    } catch {
      // The site is away; the sentence below says so.
    }
    return { error: data.texts.failed };
  }

  /* The JSON of a text area; undefined where it holds none. */
  function parsed(text) {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  /* Write into a text area as a person would, so that others hear of it. */
  function write(area, value) {
    area.value = value;
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /* A view beside a text area, and a button that changes between the two.
     refresh() shows what the area holds, and says whether it can. */
  function twoViews(area, view, refresh, texts) {
    const problem = element("p", { class: "directus-note", role: "status" });
    const change = button("", () => show(!view.hidden), { class: "directus-button directus-change" });
    const label = document.querySelector(`label[for="${area.id}"]`);
    label.id = `${area.id}_label`;
    view.setAttribute("role", "group");
    view.setAttribute("aria-labelledby", label.id);

    function show(asJson) {
      const can = asJson || refresh();
      view.hidden = asJson || !can;
      area.hidden = !view.hidden;
      change.textContent = view.hidden ? texts.guided : data.texts.asJson;
      problem.textContent = can ? "" : texts.problem;
    }

    const box = element("div", { class: "directus-views" });
    area.before(box);
    box.append(area, view, change, problem);
    show(false);
    if (view.hidden) problem.textContent = texts.problem;
    return () => !view.hidden && refresh();
  }

  return { data, element, button, ask, parsed, write, twoViews };
})();
