// The current articles: read from Directus, then kept current by the events.
import { fadeOut, flash, makeRow } from "./rows.js";
import { texts } from "./texts.js";
import { showTime } from "./times.js";

const list = document.getElementById("articles");
const shown = new Map(); // key → { item, row, parts }
const titles = new Map(); // also of articles that are gone
let isComplete = false; // whether Directus has told what there is

export function titleOf(event) {
  return event.data?.title ?? event.data?.name ?? event.title ?? titles.get(itemId(event)) ?? null;
}

export function rememberTitle(event) {
  const title = titleOf(event);
  if (title !== null) titles.set(itemId(event), title);
}

export function replaceArticles({ items, error }) {
  const box = document.getElementById("articles-error");
  box.textContent = error;
  box.hidden = error === "";
  if (error === "") {
    const keys = new Set(items.map((item) => String(item.id)));
    for (const key of [...shown.keys()]) if (!keys.has(key)) remove(key);
    for (const item of items) put(item.id, item);
    list.append(...items.map((item) => shown.get(String(item.id)).row));
    isComplete = true;
  }
  showCount();
}

export function applyToArticles(event) {
  // A replayed event tells of the past.
  if (event.collection !== "articles" || event.origin === "replay") return;
  if (event.action === "delete") remove(String(event.key));
  else flash(put(event.key, event.data ?? {}));
  showCount();
}

function put(id, changes) {
  const key = String(id);
  const known = shown.get(key) ?? { item: { id }, ...makeRow("article-template") };
  Object.assign(known.item, changes);
  show(known);
  if (!shown.has(key)) list.prepend(known.row);
  shown.set(key, known);
  titles.set(`articles ${key}`, known.item.title ?? texts.untitled);
  return known.row;
}

function show({ item, row, parts }) {
  row.dataset.key = item.id;
  parts.title.textContent = item.title ?? item.name ?? `${texts.untitled} (${item.id})`;
  parts.author.textContent = item.author?.name ?? "";
  parts.badge.textContent = item.status ?? "";
  parts.badge.dataset.status = item.status ?? "";
  showTime(parts.time, item.date_updated);
}

function remove(key) {
  const known = shown.get(key);
  if (known === undefined) return;
  shown.delete(key);
  fadeOut(known.row);
}

function showCount() {
  document.getElementById("count").textContent = isComplete || shown.size ? shown.size : "";
  document.getElementById("articles-empty").hidden = !isComplete || shown.size > 0;
}

function itemId(event) {
  return `${event.collection} ${event.key}`;
}
