// Rows made from the templates in the page, and sentences about what went wrong.
import { texts } from "./texts.js";

const FRESH = 1500; // milliseconds

export function makeRow(templateId) {
  const row = document.getElementById(templateId).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const element of row.querySelectorAll("[data-part]")) parts[element.dataset.part] = element;
  return { row, parts };
}

export function flash(row) {
  row.classList.add("fresh");
  clearTimeout(row.freshTimer);
  row.freshTimer = setTimeout(() => row.classList.remove("fresh"), FRESH);
}

export function fadeOut(row) {
  row.classList.add("leaving");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  setTimeout(() => row.remove(), still ? 0 : 500);
}

// A refusal of the gateway, for the visitor.
export function explain({ code, message }) {
  return texts[code] ?? message;
}

// Without a sentence, the box is hidden.
export function showError(box, text) {
  box.textContent = text ?? "";
  box.hidden = !text;
}
