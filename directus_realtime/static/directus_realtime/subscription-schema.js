/* The collections and fields of the chosen connection, as the site read them from Directus. */
"use strict";
{
  const { data, element, button, ask, combobox } = window.directusSubscription;

  class Schema extends EventTarget {
    collections = {};

    /* The field that a path such as author.name leads to; undefined where it is not known. */
    field(collection, path) {
      let found;
      for (const name of path.split(".")) {
        if (name === "_some" || name === "_none") continue;
        found = this.collections[collection]?.[name];
        collection = found?.related;
      }
      return found;
    }

    /* Paths that begin as the text does: the fields there, and those one relation further. */
    paths(collection, text, { withAll = false } = {}) {
      const end = text.lastIndexOf(".") + 1;
      const prefix = text.slice(0, end);
      const here = prefix ? this.field(collection, prefix.slice(0, -1))?.related : collection;
      const own = this.entries(here, prefix);
      const further = own
        .filter((entry) => entry.field.related)
        .flatMap((entry) => this.entries(entry.field.related, `${entry.value}.`));
      const all = withAll && own.length ? [{ value: `${prefix}*`, hint: "" }] : [];
      return [...own, ...all, ...further];
    }

    entries(collection, prefix) {
      const fields = Object.entries(this.collections[collection] ?? {});
      return fields.map(([name, field]) => ({ value: prefix + name, hint: hint(field), field }));
    }
  }

  function hint(field) {
    const parts = [field.type === "alias" ? "" : field.type];
    if (field.related) parts.push(`→ ${field.related}`);
    if (field.is_key) parts.push(data.texts.key);
    return parts.filter(Boolean).join(" ");
  }

  /* The input of the collection with its list, a note below, and the button to read again. */
  function guideCollection(form) {
    const schema = new Schema();
    const input = form.elements.collection;
    const note = element("div", { class: "help directus-note", role: "status" });
    const again = button(data.texts.readAgain, () => read({ refresh: "1" }));
    const options = () =>
      Object.keys(schema.collections).map((value) => ({ value, hint: "" }));
    combobox(input, options).after(again);
    again.closest(".flex-container").parentElement.append(note);

    async function read(more = {}) {
      note.textContent = data.texts.reading;
      note.classList.remove("directus-problem");
      again.disabled = true;
      const asked = form.elements.connection.value;
      const answer = await ask("schema", form, more);
      again.disabled = false;
      if (form.elements.connection.value !== asked) return;
      schema.collections = answer.collections ?? {};
      note.textContent = answer.error ?? answer.note;
      note.classList.toggle("directus-problem", Boolean(answer.error));
      schema.dispatchEvent(new Event("change"));
      document.activeElement.dispatchEvent(new Event("directus:known"));
    }

    form.elements.connection.addEventListener("change", () => read());
    read();
    return schema;
  }

  window.directusSubscription.guideCollection = guideCollection;
}
