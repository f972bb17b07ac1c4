// What @directus/sdk's iterator hands over: a line for each event. See sdk_peer.py.
import { pathToFileURL } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";

const { SDK_FOLDER, DIRECTUS_URL, DIRECTUS_TOKEN, HANDLER_MS } = process.env;
const load = (path) => import(pathToFileURL(`${SDK_FOLDER}/node_modules/${path}`).href);
const { createDirectus, realtime, staticToken } = await load("@directus/sdk/dist/index.js");
const { default: WebSocket } = await load("ws/wrapper.mjs");

// A rejection that nobody handles (a failed reconnect) would end Node, and hide what follows.
process.on("unhandledRejection", (reason) => {
  console.log("note unhandled rejection:", reason?.message || String(reason?.type ?? reason));
});
// A server that never comes back must not end the process before it was counted.
setInterval(() => {}, 1000);

const client = createDirectus(DIRECTUS_URL, { globals: { WebSocket } })
  .with(staticToken(DIRECTUS_TOKEN))
  .with(realtime());
await client.connect();
const { subscription } = await client.subscribe("articles", {
  event: "create",
  query: { fields: ["id"] },
});
for await (const message of subscription) {
  if (message.event === "create") {
    await sleep(Number(HANDLER_MS));
    console.log("event");
  }
}
console.log("note the iterator ended");
