import { applyToArticles, replaceArticles } from "./articles.js";
import { addToFeed, showEmpty } from "./feed.js";
import { keepConnected } from "./socket.js";
import { setConnection, setOffline, showRefused } from "./state.js";
import { startDemo } from "./demo.js";

const CHECK_PERIOD = 15000; // milliseconds; finds a listener that died without a word
const urls = document.body.dataset;
let isJoined = false; // whether this page gets the events
let reading = null;
let waiting = []; // events that came in while the data was read

function onMessage(message) {
  if (message.type === "directus.connection") {
    // The first one says that the server has joined us to the groups, so that nothing
    // gets lost between the read and the events.
    const isFirst = !isJoined;
    isJoined = true;
    setOffline(false);
    const isBack = setConnection({ state: message.state, reason: message.reason });
    if (isFirst || isBack) read();
  } else if (message.type === "directus.event") {
    if (reading) waiting.push(message);
    else apply(message);
  }
}

function onDown() {
  isJoined = false;
  setOffline(true);
}

function apply(event) {
  if (addToFeed(event, { isLive: true })) applyToArticles(event);
}

async function read() {
  // A read that began earlier may have missed what this one is for.
  const mine = reading = fetchJson(urls.dataUrl);
  try {
    const data = await mine;
    if (mine !== reading) return;
    showStatus(data);
    for (const event of data.events.toReversed()) addToFeed(event, { isLive: false });
    replaceArticles(data.articles);
    showEmpty();
  } catch (error) {
    console.warn("The page's data could not be read.", error);
  } finally {
    if (mine === reading) {
      reading = null;
      waiting.splice(0).forEach(apply);
    }
  }
}

async function check() {
  if (document.hidden || !isJoined) return;
  try {
    if (showStatus(await fetchJson(urls.statusUrl))) read();
  } catch {
    // The WebSocket says it sooner when the site is gone.
  }
}

function showStatus({ connection, subscriptions }) {
  showRefused(subscriptions);
  return setConnection(connection);
}

async function fetchJson(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) read();
});
setInterval(check, CHECK_PERIOD);
startDemo();
read();
keepConnected("/ws/articles/", { onMessage, onDown });
