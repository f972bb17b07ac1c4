/* The value of a condition: an input that fits the type of the field and the operator. */
"use strict";
{
  const { data, element, combobox } = window.directusSubscription;
  const NUMBERS = new Set(["integer", "bigInteger", "float", "decimal"]);
  const INPUTS = { date: "date", time: "time", dateTime: "datetime-local", timestamp: "datetime-local" };
  const FITS = {
    date: /^\d{4}-\d\d-\d\d$/,
    time: /^\d\d:\d\d(:\d\d)?$/,
    "datetime-local": /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/,
  };

  /* What the operator wants: none, one, two or many values. */
  function valuesOf(operator) {
    if (/_n?(null|empty)$/.test(operator)) return "none";
    if (/_n?between$/.test(operator)) return "two";
    return /_n?in$/.test(operator) ? "many" : "one";
  }

  /* A text that was typed, as JSON has it. Directus's variables such as $NOW stay texts. */
  function cast(text, field) {
    if (NUMBERS.has(field?.type) && text.trim() !== "") {
      const value = Number(text);
      if (Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
    }
    if (field?.type === "boolean" && /^(true|false)$/.test(text)) return text === "true";
    if (!field?.type && /^(true|false|-?(0|[1-9]\d{0,14})(\.\d+)?)$/.test(text)) return JSON.parse(text);
    const choice = field?.choices.find(([value]) => String(value) === text);
    return choice ? choice[0] : text;
  }

  function shown(value) {
    if (value === null || value === undefined) return "";
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  /* The inputs for a value, in a box; onvalue(value) hears of each change. */
  function valueInputs(field, operator, value, onvalue) {
    const kind = valuesOf(operator);
    const box = element("div", { class: "directus-values" });
    if (kind === "two") {
      const pair = Array.isArray(value) ? [value[0], value[1]] : [value, ""];
      const part = (index) => (now) => {
        pair[index] = now;
        onvalue([...pair]);
      };
      box.append(
        one(field, pair[0], data.texts.from, part(0)),
        one(field, pair[1], data.texts.to, part(1)),
      );
    } else if (kind === "many") {
      const text = Array.isArray(value) ? value.map(shown).join(", ") : shown(value);
      box.append(
        textInput(text, data.texts.values, (now) => {
          const parts = now.split(",").map((part) => part.trim());
          onvalue(parts.filter(Boolean).map((part) => cast(part, field)));
        }),
      );
    } else if (kind === "one") {
      box.append(one(field, value, data.texts.value, onvalue));
    }
    return box;
  }

  function one(field, value, label, onvalue) {
    if (field?.type === "boolean") return choice(value, label, onvalue);
    const type = INPUTS[field?.type];
    const text = shown(value);
    const isDate = type && (!text || FITS[type].test(text));
    const input = textInput(text, label, (now) => onvalue(cast(now, field)));
    if (isDate) {
      input.type = type;
      input.step = type === "date" ? "" : "1";
      input.value = text;
    } else if (NUMBERS.has(field?.type)) {
      input.inputMode = "decimal";
    }
    if (!field?.choices?.length) return input;
    const options = field.choices.map(([each, name]) => ({ value: String(each), hint: name }));
    return combobox(input, () => options);
  }

  function textInput(value, label, onvalue) {
    const input = element("input", {
      type: "text",
      class: "vTextField",
      "aria-label": label,
      placeholder: label,
    });
    input.value = value;
    input.addEventListener("input", () => onvalue(input.value));
    input.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
    return input;
  }

  function choice(value, label, onvalue) {
    const onchange = (event) => onvalue(event.target.value === "true");
    const select = element("select", { "aria-label": label, onchange });
    select.append(
      element("option", { value: "true" }, data.texts.yes),
      element("option", { value: "false" }, data.texts.no),
    );
    select.value = String(value === true || value === "true");
    return select;
  }

  /* A value that the other operator, or the other field, can take over from the one before. */
  function carriedOver(value, field, operator) {
    const kind = valuesOf(operator);
    if (kind === "none") return true;
    const parts = (Array.isArray(value) ? value : [value]).filter((each) => each !== true || field?.type === "boolean");
    const values = parts.map((each) => cast(shown(each), field));
    if (kind === "many") return values.filter((each) => each !== "");
    if (kind === "two") return [values[0] ?? "", values[1] ?? ""];
    return values[0] ?? (field?.type === "boolean" ? true : "");
  }

  /* Whether a condition compares with nothing, or with an empty text. */
  function isEmpty(value, operator) {
    const kind = valuesOf(operator);
    if (kind === "none") return false;
    const parts = Array.isArray(value) ? value : [value];
    return !parts.length || parts.some((each) => each === "" || each === null || each === undefined);
  }

  Object.assign(window.directusSubscription, { valueInputs, carriedOver, isEmpty });
}
