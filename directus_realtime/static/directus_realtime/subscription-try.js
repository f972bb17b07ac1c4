/* The items that the form as it stands matches now, without saving it. */
"use strict";
{
  const { data, element, button, ask } = window.directusSubscription;

  /* isReady() says whether the form can be tried, and tells what is missing. */
  function guideTry(form, isReady) {
    const result = element("div", { class: "directus-tried", role: "status" });
    const start = button(data.texts.try, run, { class: "button", "aria-describedby": "directus-try-help" });
    const help = element("span", { class: "help", id: "directus-try-help" }, data.texts.tryHelp);
    const row = element("div", { class: "form-row directus-try" }, start, help, result);
    form.elements.namedItem("item").closest(".form-row").after(row);

    async function run() {
      if (!isReady()) {
        result.replaceChildren();
        return;
      }
      start.disabled = true;
      result.replaceChildren(element("p", {}, data.texts.trying));
      const answer = await ask("try", form);
      start.disabled = false;
      start.focus();
      if (answer.error) {
        const problem = element("p", { class: "directus-problem" });
        if (answer.isRefusal) problem.append(element("strong", {}, data.texts.refused), " ");
        problem.append(answer.error);
        result.replaceChildren(problem);
      } else {
        result.replaceChildren(element("p", {}, answer.summary), ...table(answer));
      }
    }
  }

  function table({ columns, items }) {
    if (!items.length) return [];
    const heads = columns.map((name) => element("th", { scope: "col" }, name));
    const rows = items.map((item) => element("tr", {}, ...item.map(cell)));
    const made = element("table", {});
    made.append(
      element("thead", {}, element("tr", {}, ...heads)),
      element("tbody", {}, ...rows),
    );
    return [element("div", { class: "directus-scroll", tabindex: "0" }, made)];
  }

  /* What is no value must not look like one. */
  function cell({ text, note }) {
    return element("td", {}, text ?? element("em", { class: "directus-nothing" }, note));
  }

  window.directusSubscription.guideTry = guideTry;
}
