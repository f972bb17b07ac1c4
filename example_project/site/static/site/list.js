// A list of items that stays current: the first load, then its events.
import { fadeOut, flash, makeRow } from "./rows.js";

const ROOM_DELAY = 500; // milliseconds; whoever deletes many is waited for

export class LiveList {
  #shown = new Map(); // key → { item, row, parts }
  #list;
  #options;
  #isCut = false; // whether there may be more items than rows
  #timer = null;

  // element: the list; templateId: of a row; show({item, parts, row}): writes into it;
  // compare(a, b): the order of items; limit: rows; onChange(items): called after each change;
  // onRoom(): called when there is room again for items that were left out.
  constructor(element, options) {
    this.#list = element;
    this.#options = { limit: Infinity, onChange: () => {}, onRoom: () => {}, ...options };
  }

  get items() {
    return [...this.#shown.values()].map(({ item }) => item);
  }

  // The first load, or a later one: what is not in it is gone.
  replace(items) {
    const keys = new Set(items.map(({ id }) => String(id)));
    for (const key of [...this.#shown.keys()]) if (!keys.has(key)) this.#remove(key);
    for (const item of items) this.#put(item, { anew: true });
    this.#isCut = items.length >= this.#options.limit;
    this.#options.onChange(this.items);
  }

  take({ action, data }) {
    if (action === "delete") this.#remove(String(data));
    else flash(this.#put(data));
    this.#options.onChange(this.items);
    if (this.#isCut && this.#shown.size < this.#options.limit) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#options.onRoom();
      }, ROOM_DELAY);
    }
  }

  #put(item, { anew = false } = {}) {
    const { templateId, show, compare, limit } = this.#options;
    const key = String(item.id);
    const known = this.#shown.get(key) ?? { item: {}, ...makeRow(templateId) };
    known.item = anew ? item : { ...known.item, ...item };
    known.row.dataset.key = key;
    known.row.liveItem = known.item;
    this.#shown.set(key, known);
    show(known);
    const others = [...this.#list.children].filter((row) => row !== known.row && row.liveItem);
    const next = others.find((row) => compare(known.item, row.liveItem) < 0) ?? null;
    // Left where it is if it can be: a row that moves loses the focus that is in it.
    if (!known.row.isConnected || known.row.nextElementSibling !== next) {
      this.#list.insertBefore(known.row, next);
    }
    while (this.#shown.size > limit) {
      this.#isCut = true;
      this.#removeLast();
    }
    return known.row;
  }

  #remove(key) {
    const known = this.#shown.get(key);
    if (known === undefined) return;
    this.#shown.delete(key);
    known.row.liveItem = null;
    fadeOut(known.row);
  }

  #removeLast() {
    const last = [...this.#list.children].findLast((row) => row.liveItem);
    this.#shown.delete(last.dataset.key);
    last.remove();
  }
}

// Newest first by a time, and by key where it is the same.
export function newestFirst(field) {
  return (a, b) => Date.parse(b[field] ?? 0) - Date.parse(a[field] ?? 0) || b.id - a.id;
}
