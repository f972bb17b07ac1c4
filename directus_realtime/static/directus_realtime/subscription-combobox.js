/* A text input with a list of suggestions that narrows down while one types.
   It follows the ARIA pattern of an editable combobox; any text may be entered. */
"use strict";
{
  const { data, element } = window.directusSubscription;
  const MOST = 60;
  let number = 0;

  /* options(text) gives [{value, hint}]; onpick(value) is told what was chosen from the list. */
  function combobox(input, options, onpick = () => {}) {
    const list = element("ul", {
      class: "directus-options",
      role: "listbox",
      id: `directus-options-${(number += 1)}`,
      "aria-label": input.getAttribute("aria-label") || input.labels?.[0]?.textContent || "",
      hidden: true,
    });
    const attributes = {
      role: "combobox",
      autocomplete: "off",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": list.id,
      spellcheck: "false",
      autocapitalize: "none",
    };
    for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
    const box = element("div", { class: "directus-combobox" });
    input.replaceWith(box);
    box.append(input, list);
    let active = -1;

    function open() {
      const found = narrowed(options(input.value), input.value);
      list.replaceChildren(...found.slice(0, MOST).map(row));
      if (found.length > MOST) list.append(hint(data.texts.more));
      else if (!found.length && input.value.trim()) list.append(hint(data.texts.noMatches));
      toggle(list.children.length > 0);
      mark(-1);
    }

    function row(option, index) {
      const made = element(
        "li",
        { role: "option", id: `${list.id}-${index}`, "aria-selected": "false" },
        element("span", {}, option.value),
      );
      if (option.hint) made.append(element("span", { class: "directus-hint" }, option.hint));
      made.dataset.value = option.value;
      // Before the input loses the focus, which closes the list.
      made.addEventListener("mousedown", (event) => {
        event.preventDefault();
        pick(made);
      });
      return made;
    }

    function hint(text) {
      return element("li", { role: "option", "aria-disabled": "true", class: "directus-hint" }, text);
    }

    function toggle(isOpen) {
      list.hidden = !isOpen;
      input.setAttribute("aria-expanded", String(isOpen));
    }

    function close() {
      toggle(false);
      mark(-1);
    }

    function rows() {
      return [...list.querySelectorAll("[data-value]")];
    }

    function mark(index) {
      const all = rows();
      all[active]?.setAttribute("aria-selected", "false");
      active = index;
      const marked = all[active];
      marked?.setAttribute("aria-selected", "true");
      marked?.scrollIntoView({ block: "nearest" });
      if (marked) input.setAttribute("aria-activedescendant", marked.id);
      else input.removeAttribute("aria-activedescendant");
    }

    function pick(chosen) {
      input.value = chosen.dataset.value;
      close();
      input.dispatchEvent(new Event("input", { bubbles: true }));
      close();
      input.dispatchEvent(new Event("change", { bubbles: true }));
      onpick(input.value);
    }

    function move(step) {
      if (list.hidden) open();
      const count = rows().length;
      if (count) mark(active < 0 && step < 0 ? count - 1 : (active + step + count) % count);
    }

    input.addEventListener("input", open);
    input.addEventListener("directus:known", open); // what there is to choose from came late
    input.addEventListener("click", () => list.hidden && open());
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        move(event.key === "ArrowDown" ? 1 : -1);
      } else if (event.key === "Enter" && active >= 0 && !list.hidden) {
        event.preventDefault();
        event.stopImmediatePropagation();
        pick(rows()[active]);
      } else if (event.key === "Escape" && !list.hidden) {
        event.stopPropagation();
        close();
      }
    });
    return box;
  }

  /* What has the text in it, first what begins with it. */
  function narrowed(options, text) {
    const wanted = text.trim().toLowerCase();
    const having = options.filter((option) => option.value.toLowerCase().includes(wanted));
    const begins = (option) => (option.value.toLowerCase().startsWith(wanted) ? 0 : 1);
    return wanted ? having.sort((a, b) => begins(a) - begins(b)) : having;
  }

  window.directusSubscription.combobox = combobox;
}
