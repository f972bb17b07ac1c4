// The pill: how Directus, the listener and this page are connected, truthfully.
import { texts } from "./texts.js";

const pill = document.getElementById("pill");
const label = document.getElementById("state");
const detail = document.getElementById("reason");
const refused = document.getElementById("refused");
let connection = null;
let isOffline = false;

// Takes what the server knows; answers whether Directus has just come back.
export function setConnection(news) {
  const isBack = news.state === "connected" && connection !== null && connection.state !== "connected";
  connection = { ...connection, ...news };
  show();
  return isBack;
}

export function setOffline(value) {
  isOffline = value;
  show();
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

function makeItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function show() {
  if (isOffline) return write("offline", texts.offline, texts.offlineReason);
  if (connection === null) return;
  const { state, reason, url, version } = connection;
  write(state, texts[state] ?? state, state === "connected" ? "" : reason);
  document.getElementById("server").textContent = url
    ? ["Directus", version, "·", url].filter(Boolean).join(" ")
    : "";
}

function write(state, text, reason) {
  if (pill.dataset.state !== state) pill.dataset.state = state;
  if (label.textContent !== text) label.textContent = text;
  if (detail.textContent !== reason) detail.textContent = reason ?? "";
  detail.hidden = !reason;
}
