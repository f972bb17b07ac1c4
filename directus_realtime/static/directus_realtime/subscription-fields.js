/* The fields as a list of names that one adds to, beside the JSON of the text area. */
"use strict";
{
  const { data, element, button, parsed, write, twoViews, combobox } = window.directusSubscription;

  function guideFields(form, schema) {
    const area = form.elements.fields;
    const chosen = element("ul", { class: "directus-chosen" });
    const input = element("input", {
      type: "text",
      class: "vTextField",
      "aria-label": data.texts.addField,
      placeholder: data.texts.addField,
    });
    const view = element("div", { class: "directus-list" }, chosen);
    const row = element("div", { class: "directus-adding" }, input);
    row.append(button(data.texts.add, () => add(input.value)));
    view.append(row);

    function names() {
      const value = area.value.trim() ? parsed(area.value) : [];
      const isList = Array.isArray(value) && value.every((name) => typeof name === "string");
      return value === null ? [] : isList ? value : undefined;
    }

    function refresh() {
      const now = names();
      if (now === undefined) return false;
      const items = now.map((name) => element("li", {}, element("code", {}, name), remover(name)));
      const none = element("li", { class: "directus-hint" }, data.texts.allFields);
      chosen.replaceChildren(...(items.length ? items : [none]));
      return true;
    }

    function remover(name) {
      const label = data.texts.remove.replace("%s", name);
      const onclick = () => {
        put(names().filter((each) => each !== name));
        input.focus();
      };
      return button("×", onclick, { class: "directus-remove", "aria-label": label, title: label });
    }

    function add(text) {
      const name = text.trim();
      if (name && !names().includes(name)) put([...names(), name]);
      input.value = "";
      input.focus();
    }

    function put(now) {
      write(area, JSON.stringify(now));
      refresh();
    }

    const options = (text) =>
      schema
        .paths(form.elements.collection.value, text, { withAll: true })
        .filter((option) => !names()?.includes(option.value));
    combobox(input, options, add);
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // or it would save the form
      add(input.value);
    });
    twoViews(area, view, refresh, { guided: data.texts.asList, problem: data.texts.noList });
  }

  window.directusSubscription.guideFields = guideFields;
}
