// The page “Directus live”.

import { showConnections, showPlots } from "./live-connections.js";
import { Feed } from "./live-feed.js";
import { Source } from "./live-source.js";

const LOOK_INTERVAL = 2000; // milliseconds
const PLOT_EVERY = 5; // looks
const ANNOUNCE_INTERVAL = 5000; // milliseconds; a screen reader is told no oftener

const config = JSON.parse(document.getElementById("directus-live-config").textContent);
const words = config.words;
const element = (name) => document.getElementById(`directus-${name}`);

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function show(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
  target.hidden = !text;
}

class Ended extends Error {}

async function ask(url, query = {}) {
  const address = `${url}?${new URLSearchParams(query)}`;
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  // The admin answers with its log-in page.
  if (response.redirected || response.status === 403) {
    throw new Ended();
  }
  if (!response.ok) {
    throw new Error(`HTTP ${response.status}`);
  }
  return response.json();
}

const announced = { count: 0, last: "", at: 0, timer: 0 };

function announce() {
  announced.timer = 0;
  if (announced.count) {
    const { count, last } = announced;
    element("announcement").textContent = fill(words.new, { count, event: last });
    Object.assign(announced, { count: 0, at: Date.now() });
  }
}

function announceSoon(count, last) {
  announced.count += count;
  announced.last = last;
  const wait = Math.max(announced.at + ANNOUNCE_INTERVAL - Date.now(), 0);
  announced.timer ||= setTimeout(announce, wait);
}

const feed = new Feed(element("feed"), config, ask);
const pause = element("pause");
const collection = element("collection");

function showFeedState() {
  const waiting = feed.waiting;
  show(pause, feed.isPaused ? (waiting ? fill(words.waiting, { count: waiting }) : words.resume) : words.pause);
  show(element("empty"), feed.isEmpty ? words.empty : "");
}

function take(events, { leftOut = false, isFirst = false } = {}) {
  const added = feed.add(events);
  if (leftOut) {
    show(element("left-out"), words.left_out);
  }
  if (added.length && !isFirst) {
    const last = added[added.length - 1];
    announceSoon(added.length, `${last.collection} ${last.key} ${config.actions[last.action] ?? last.action}`);
  }
  showFeedState();
}

let after = null;
let looks = 0;
let looking = null;

async function lookForEvents() {
  const asked = { collection: collection.value };
  const isFirst = after === null;
  const found = await ask(config.events, isFirst ? asked : { ...asked, after });
  if (asked.collection === collection.value) {
    after = found.after;
    take(found.events, { leftOut: found.left_out, isFirst });
  }
}

async function lookForState() {
  const withPlots = looks % PLOT_EVERY === 0;
  const found = await ask(config.state, withPlots ? { plots: 1 } : {});
  const changed = showConnections(found.connections);
  if (found.plots) {
    showPlots(found.plots);
  }
  if (changed.length) {
    element("announcement").textContent = changed.map((each) => fill(words.connection, each)).join(" ");
  }
}

const source = new Source(config.socket, {
  onEvents: (events, leftOut) => take(events, { leftOut }),
  onConnection: () => look(),
  onChange: showSource,
});

function showSource() {
  const text = source.isOpen ? words.live : config.socket ? words.socket_lost : words.polled;
  show(element("source"), text);
}

async function lookNow() {
  try {
    await lookForState();
    // With a WebSocket it is a look after what the channel layer may have lost.
    if (after === null || source.hasGap() || looks % 5 === 0) {
      await lookForEvents();
    }
    looks += 1;
    show(element("away"), "");
  } catch (error) {
    if (error instanceof Ended) {
      source.end();
      clearInterval(timer);
      show(element("away"), words.ended);
    } else {
      show(element("away"), words.away);
    }
  }
}

function look() {
  looking ??= lookNow().finally(() => {
    looking = null;
  });
  return looking;
}

pause.addEventListener("click", () => {
  feed.isPaused = !feed.isPaused;
  pause.setAttribute("aria-pressed", String(feed.isPaused));
  showFeedState();
});

collection.addEventListener("change", async () => {
  feed.clear(collection.value);
  after = null;
  show(element("left-out"), "");
  await looking;
  look();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    look();
  }
});

const timer = setInterval(() => {
  if (!document.hidden) {
    look();
  }
}, LOOK_INTERVAL);

showSource();
showFeedState();
source.start();
look();
