// What arrived, newest first. An event is recognised by its id, so nothing shows twice.
import { rememberTitle, titleOf } from "./articles.js";
import { flash, makeRow } from "./rows.js";
import { texts } from "./texts.js";
import { showTime } from "./times.js";

const KEPT = 50; // rows
const REMEMBERED = 1000; // ids
const list = document.getElementById("feed");
const seen = new Set();

// Takes one event; answers whether it was new.
export function addToFeed(event, { isLive }) {
  if (seen.has(event.id)) return false;
  remember(event.id);
  const row = makeEvent(event);
  rememberTitle(event);
  insert(row, event.received_at);
  if (isLive) flash(row);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  showEmpty();
  return true;
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
  row.dataset.id = event.id;
  row.dataset.action = event.action;
  parts.action.textContent = texts[event.action];
  const item = `${event.collection} ${event.key}`;
  const title = titleOf(event);
  parts.title.textContent = title ?? item;
  parts.item.textContent = title === null ? "" : item;
  parts.subscription.textContent = event.subscription;
  parts.origin.textContent = { replay: texts.replayed, "catch-up": texts.caughtUp }[event.origin] ?? "";
  showTime(parts.time, event.received_at);
  return row;
}
