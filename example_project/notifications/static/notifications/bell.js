// On every page: how many notifications are unread, and a toast for each new one.
import { gateway } from "../site/live.js";
import { explain, makeRow } from "../site/rows.js";

const TOAST_TIME = 6000; // milliseconds
const MOST_TOASTS = 4;
const badge = document.getElementById("unread-badge");
const toasts = document.getElementById("toasts");
const unread = new Map(); // key → notification
const watchers = []; // functions
let problem = "";
let isKnown = false;

// Calls a function now and after each change, with what is unread, newest first.
export function watchNotifications(watcher) {
  watchers.push(watcher);
  tell(watcher);
}

gateway.subscribe("my-notifications", {
  query: {
    fields: ["id", "timestamp", "subject", "message"],
    filter: { status: { _eq: "inbox" } },
    sort: ["-timestamp"],
  },
  onConfirmed: () => {
    problem = "";
    showAll();
  },
  onFirstLoad: (rows) => {
    isKnown = true;
    unread.clear();
    for (const row of rows) unread.set(String(row.id), row);
    showAll();
  },
  onEvent: ({ action, data }) => {
    if (action === "delete") unread.delete(String(data));
    else {
      if (!unread.has(String(data.id)) && action === "create") showToast(data);
      unread.set(String(data.id), data);
    }
    showAll();
  },
  onError: (error) => {
    problem = explain(error);
    showAll();
  },
});

function showAll() {
  badge.textContent = unread.size;
  badge.hidden = unread.size === 0;
  watchers.forEach(tell);
}

function tell(watcher) {
  watcher({ notifications: [...unread.values()], problem, isKnown });
}

function showToast({ subject, message }) {
  const { row, parts } = makeRow("toast-template");
  parts.title.textContent = subject;
  parts.text.textContent = message ?? "";
  const close = () => row.remove();
  parts.close.addEventListener("click", close);
  let timer = setTimeout(close, TOAST_TIME);
  // Whoever reads it has the time to.
  row.addEventListener("pointerenter", () => clearTimeout(timer));
  row.addEventListener("pointerleave", () => { timer = setTimeout(close, TOAST_TIME); });
  toasts.append(row);
  while (toasts.children.length > MOST_TOASTS) toasts.firstElementChild.remove();
}
