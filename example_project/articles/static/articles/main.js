import { fetchJson } from "../site/http.js";
import { gateway } from "../site/live.js";
import { onBack } from "../site/state.js";
import { readStatus } from "../site/status.js";
import { startArticles } from "./articles.js";
import { addToFeed, showEmpty } from "./feed.js";

const followed = new Set(); // names of subscriptions

// Everything that is offered to browsers, each by its own name.
async function followAll() {
  const { subscriptions } = await readStatus();
  for (const { name, collection, is_offered } of subscriptions) {
    if (!is_offered || !["articles", "authors"].includes(collection) || followed.has(name)) continue;
    followed.add(name);
    gateway.subscribe(name, {
      query: { limit: 1 }, // for the first load, which is not wanted here
      onEvent: (event) => addToFeed(arrived(name, collection, event), { isLive: true }),
    });
  }
}

function arrived(subscription, collection, { action, data, id, origin }) {
  const isDelete = action === "delete";
  return {
    id, origin, action, subscription, collection,
    key: isDelete ? data : data.id,
    data: isDelete ? null : data,
    received_at: new Date().toISOString(),
  };
}

// What came before this page was opened, or while it was cut off.
async function readEvents() {
  const { events } = await fetchJson(document.body.dataset.eventsUrl);
  for (const event of events.toReversed()) addToFeed(event, { isLive: false });
  showEmpty();
}

async function read() {
  try {
    await followAll();
    await readEvents();
  } catch (error) {
    console.warn("The page's data could not be read.", error);
  }
}

startArticles();
onBack(read);
read();
