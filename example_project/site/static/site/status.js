// Asks the site now and then how Directus's connection and the subscriptions stand.
import { fetchJson } from "./http.js";
import { setConnection, showRefused } from "./state.js";

const PERIOD = 15000; // milliseconds; finds a listener that died without a word

export async function readStatus() {
  const status = await fetchJson(document.body.dataset.statusUrl);
  setConnection(status.connection);
  // What other pages need is told there.
  const concerns = document.body.dataset.concerns.split(" ");
  showRefused(status.subscriptions.filter(({ collection }) => concerns.includes(collection)));
  return status;
}

export function keepChecking() {
  const check = () => document.hidden || readStatus().catch(() => {}); // the pill says it already
  document.addEventListener("visibilitychange", check);
  setInterval(check, PERIOD);
  check();
}
