/* The filter by rows of field, operator and value, beside the JSON of the text area. */
"use strict";
{
  const { data, element, button, parsed, write, twoViews, combobox, valueInputs, carriedOver, isEmpty } =
    window.directusSubscription;
  const LOGICAL = ["_and", "_or"];

  const namesOf = (path) => path.split(".").filter(Boolean);

  /* {join, rows: [{path, operator, value}]}; undefined for what rows cannot show. */
  function toRows(filter) {
    if (filter === null || typeof filter !== "object" || Array.isArray(filter)) return undefined;
    const keys = Object.keys(filter);
    const join = keys.length === 1 && LOGICAL.includes(keys[0]) ? keys[0] : "_and";
    const parts = keys.length === 1 && LOGICAL.includes(keys[0]) ? filter[keys[0]] : [filter];
    if (!Array.isArray(parts)) return undefined;
    const rows = parts.map((part) => conditions(part, join === "_or"));
    return rows.includes(undefined) ? undefined : { join, rows: rows.flat() };
  }

  function conditions(part, onlyOne) {
    if (part === null || typeof part !== "object" || Array.isArray(part)) return undefined;
    const rows = Object.entries(part).map(([name, value]) => condition(name, value));
    const found = rows.includes(undefined) ? undefined : rows.flat();
    return onlyOne && found?.length !== 1 ? undefined : found;
  }

  function condition(path, value) {
    if (LOGICAL.includes(path)) return undefined;
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    const entries = Object.entries(value);
    if (entries.length && entries.every(([name]) => name in data.operatorNames)) {
      // Of an item that a relation leads to, two conditions may be about two items.
      if (entries.length > 1 && path.includes(".")) return undefined;
      return entries.map(([operator, operand]) => ({ path, operator, value: operand }));
    }
    if (entries.length !== 1) return undefined;
    return condition(`${path}.${entries[0][0]}`, entries[0][1]);
  }

  function toFilter({ join, rows }) {
    const parts = rows
      .filter((row) => namesOf(row.path).length)
      .map(({ path, operator, value }) =>
        namesOf(path).reduceRight((inner, name) => ({ [name]: inner }), { [operator]: value }),
      );
    if (!parts.length) return {};
    return parts.length === 1 ? parts[0] : { [join]: parts };
  }

  /* Gives isComplete(): whether each row has a field; where one has none, it says so. */
  function guideFilter(form, schema) {
    const area = form.elements.filter;
    const join = element("select", { "aria-label": data.texts.condition.replace("%s", "").trim() });
    join.append(
      element("option", { value: "_and" }, data.texts.allOf),
      element("option", { value: "_or" }, data.texts.anyOf),
    );
    const rows = element("div", { class: "directus-rows" });
    const view = element("div", { class: "directus-filter" }, join, rows);
    view.append(button(data.texts.addCondition, addRow));
    let state = { join: "_and", rows: [] };

    join.addEventListener("change", () => {
      state.join = join.value;
      put();
    });

    function refresh() {
      const value = area.value.trim() ? parsed(area.value) : {};
      const found = toRows(value === null ? {} : value);
      if (!found) return false;
      // A row without a field is in no JSON; it stays, so that it can be told of.
      if (JSON.stringify(toFilter(found)) !== JSON.stringify(toFilter(state))) state = found;
      draw();
      return true;
    }

    function draw() {
      join.value = state.join;
      join.hidden = state.rows.length < 2;
      const none = element("p", { class: "directus-hint" }, data.texts.allItems);
      rows.replaceChildren(...(state.rows.length ? state.rows.map(rowOf) : [none]));
    }

    function rowOf(row, index) {
      const fieldOf = () => schema.field(form.elements.collection.value, row.path);
      const input = element("input", {
        type: "text",
        class: "vTextField directus-path",
        "aria-label": data.texts.field,
        placeholder: data.texts.field,
      });
      input.value = row.path;
      const operators = element("select", { "aria-label": data.texts.operator });
      const value = element("div", { class: "directus-value" });
      const label = data.texts.condition.replace("%s", index + 1);
      const remover = button("×", () => removeRow(row), {
        class: "directus-remove",
        "aria-label": data.texts.remove.replace("%s", label),
        title: data.texts.remove.replace("%s", label),
      });

      function fitField() {
        drawn = fieldOf();
        if (!fitting().includes(row.operator)) row.operator = fitting()[0];
        row.value = carriedOver(row.value, drawn, row.operator);
        drawOperators();
        drawValue();
      }

      function fitting() {
        return data.operators[fieldOf()?.type ?? ""] ?? data.operators[""];
      }

      function drawOperators() {
        const fits = fitting().includes(row.operator);
        const offered = fits ? fitting() : [row.operator, ...fitting()];
        operators.replaceChildren(
          ...offered.map((each) => element("option", { value: each }, data.operatorNames[each])),
        );
        operators.value = row.operator;
      }

      function drawValue() {
        value.replaceChildren(
          valueInputs(fieldOf(), row.operator, row.value, (now) => {
            row.value = now;
            mark(made, row, false);
            put();
          }),
        );
      }

      let drawn = fieldOf();
      input.addEventListener("input", () => {
        row.path = input.value.trim();
        mark(made, row, false);
        if (fieldOf() !== drawn) fitField();
        put();
      });
      input.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
      operators.addEventListener("change", () => {
        row.operator = operators.value;
        row.value = carriedOver(row.value, fieldOf(), row.operator);
        drawValue();
        put();
      });
      drawOperators();
      drawValue();
      const made = element("div", { class: "directus-row", role: "group", "aria-label": label });
      made.append(input, operators, value, remover);
      combobox(input, (text) => schema.paths(form.elements.collection.value, text));
      return made;
    }

    /* Say at a row that its field is missing, or say it no longer. */
    function mark(made, row, isTold) {
      const isMissing = isTold && !namesOf(row.path).length;
      const input = made.querySelector(".directus-path");
      made.querySelector(".directus-told")?.remove();
      input.removeAttribute("aria-invalid");
      input.removeAttribute("aria-describedby");
      if (isTold && !isMissing && isEmpty(row.value, row.operator)) {
        made.append(element("p", { class: "directus-note directus-told", role: "status" }, data.texts.noValue));
      }
      if (!isMissing) return;
      const id = `directus-condition-${state.rows.indexOf(row)}`;
      made.append(element("p", { class: "directus-problem directus-told", id, role: "alert" }, data.texts.noField));
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", id);
    }

    function isComplete() {
      if (view.hidden) return true;
      state.rows.forEach((row, index) => mark(rows.children[index], row, true));
      const first = rows.querySelector("[aria-invalid]");
      first?.focus();
      return !first;
    }

    function addRow() {
      state.rows.push({ path: "", operator: "_eq", value: "" });
      draw();
      rows.lastElementChild.querySelector("input").focus();
    }

    function removeRow(row) {
      state.rows.splice(state.rows.indexOf(row), 1);
      draw();
      put();
      view.querySelector(":scope > button").focus();
    }

    function put() {
      write(area, JSON.stringify(toFilter(state), null, 2));
    }

    const redraw = twoViews(area, view, refresh, {
      guided: data.texts.asRows,
      problem: data.texts.noRows,
    });
    // What is typed stays: the rows are drawn anew for the types that are known only now.
    schema.addEventListener("change", () => {
      if (!rows.contains(document.activeElement)) redraw();
    });
    form.elements.collection.addEventListener("input", () => redraw());
    form.addEventListener("submit", (event) => isComplete() || event.preventDefault());
    return isComplete;
  }

  Object.assign(window.directusSubscription, { guideFilter, toRows, toFilter });
}
