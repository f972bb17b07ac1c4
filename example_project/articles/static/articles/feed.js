// What arrived, newest first. An event is recognised by its id, so nothing shows twice.
import { flash, makeRow } from "../site/rows.js";
import { texts } from "../site/texts.js";
import { showTime } from "../site/times.js";

const KEPT = 50; // rows
const REMEMBERED = 1000; // ids
const list = document.getElementById("feed");
const seen = new Set();
const titles = new Map(); // also of items that are gone

export function addToFeed(event, { isLive }) {
  if (seen.has(event.id)) return;
  remember(event.id);
  const row = makeEvent(event);
  insert(row, event.received_at);
  if (isLive) flash(row);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  showEmpty();
}

export function showEmpty() {
  document.getElementById("feed-empty").hidden = list.children.length > 0;
}

function remember(id) {
  seen.add(id);
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
}

// Events read after a break are older than those that came in meanwhile.
function insert(row, receivedAt) {
  const time = Date.parse(receivedAt);
  row.received = time;
  const next = [...list.children].find((other) => other.received <= time);
  list.insertBefore(row, next ?? null);
}

function makeEvent(event) {
  const { row, parts } = makeRow("event-template");
  const item = `${event.collection} ${event.key}`;
  const title = event.data?.title ?? event.data?.name ?? event.title ?? titles.get(item) ?? null;
  if (title !== null) titles.set(item, title);
  row.dataset.id = event.id;
  row.dataset.action = event.action;
  parts.action.textContent = texts[event.action];
  parts.title.textContent = title ?? item;
  parts.item.textContent = title === null ? "" : item;
  parts.subscription.textContent = event.subscription;
  parts.origin.textContent = { replay: texts.replayed, "catch-up": texts.caughtUp }[event.origin] ?? "";
  showTime(parts.time, event.received_at);
  return row;
}
