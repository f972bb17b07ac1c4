// The driver in Node: a line of JSON on stdin for each call, a line on stdout for each note.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { Driver } from "./sdk_driver.mjs";

const { SDK_FOLDER, COOKIE } = process.env;
const load = (path) => import(pathToFileURL(`${SDK_FOLDER}/node_modules/${path}`).href);
const sdk = await load("@directus/sdk/dist/index.js");
const { default: WebSocket } = await load("ws/wrapper.mjs");

const tell = (note) => console.log(JSON.stringify(note));
// Those that the SDK does not handle, such as of an attempt to come back.
process.on("unhandledRejection", (reason) =>
  tell({ what: "unhandled", reason: reason?.message ?? String(reason?.type ?? reason) }),
);

// A page's sockets carry its cookies by themselves.
const driver = new Driver(sdk, tell, WebSocket, COOKIE ? { headers: { Cookie: COOKIE } } : {});
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  driver[name](...given).catch((error) =>
    tell({ what: "failed", call: name, reason: error?.message ?? String(error) }),
  );
}
process.exit(0);
