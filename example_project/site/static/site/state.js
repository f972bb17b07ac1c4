// The pill: how Directus, the listener and this page are connected, truthfully.
import { texts } from "./texts.js";

const pill = document.getElementById("pill");
const label = document.getElementById("state");
const detail = document.getElementById("reason");
const refused = document.getElementById("refused");
const backCallbacks = [];
const changeCallbacks = [];
let connection = null;
let line = "connecting"; // between this page and the site

// Calls a function whenever all lines are up again.
export function onBack(callback) {
  backCallbacks.push(callback);
}

// Calls a function whenever a line goes down or comes up.
export function onChange(callback) {
  changeCallbacks.push(callback);
}

export function isUp() {
  return line === "live" && connection?.state === "connected";
}

// Takes what the server knows.
export function setConnection(news) {
  change(() => { connection = { ...connection, ...news }; });
}

export function setLine(state) {
  change(() => { line = state; });
}

export function showRefused(subscriptions) {
  const bad = subscriptions.filter((each) => each.state === "refused");
  const sentences = bad.map((each) => `${each.name} ${texts.refused} ${each.last_error}`);
  const before = [...refused.children].map((item) => item.textContent);
  // Left alone where nothing changed, or a screen reader would read it out again.
  if (sentences.join("\n") === before.join("\n")) return;
  refused.replaceChildren(...sentences.map(makeItem));
  refused.hidden = bad.length === 0;
}

function change(make) {
  const wasUp = isUp();
  make();
  show();
  if (isUp() === wasUp) return;
  for (const callback of changeCallbacks) callback();
  if (isUp()) for (const callback of backCallbacks) callback();
}

function makeItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function show() {
  if (connection?.url) {
    const { url, version } = connection;
    document.getElementById("server").textContent = ["Directus", version, "·", url].filter(Boolean).join(" ");
  }
  if (line === "connecting") return;
  if (line === "reconnecting") return write("offline", texts.offline, texts.offlineReason);
  if (line === "offline") return write("offline", texts.offline, texts.noNetworkReason);
  if (connection === null) return;
  const { state, reason } = connection;
  write(state, texts[state] ?? state, state === "connected" ? "" : reason);
}

function write(state, text, reason) {
  if (pill.dataset.state !== state) pill.dataset.state = state;
  if (label.textContent !== text) label.textContent = text;
  if (detail.textContent !== reason) detail.textContent = reason ?? "";
  detail.hidden = !reason;
}
