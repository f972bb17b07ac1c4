// The current articles, by one subscription: with the filter and the fields that are chosen.
import { LiveList } from "../site/list.js";
import { gateway } from "../site/live.js";
import { explain, showError } from "../site/rows.js";
import { texts } from "../site/texts.js";
import { showTime } from "../site/times.js";

const SHOWN = 50;
const choice = document.getElementById("choice");
const count = document.getElementById("count");
const list = new LiveList(document.getElementById("articles"), {
  templateId: "article-template",
  compare: (a, b) => b.id - a.id || String(b.id).localeCompare(String(a.id)),
  limit: SHOWN,
  show,
  onRoom: subscribe,
  onChange: (items) => {
    count.textContent = items.length;
    document.getElementById("articles-empty").hidden = items.length > 0;
  },
});
let subscription = null;

export function startArticles() {
  choice?.addEventListener("change", subscribe);
  subscribe();
}

function subscribe() {
  subscription?.unsubscribe();
  showError(document.getElementById("articles-error"), "");
  subscription = gateway.subscribe("all-articles", {
    query: { ...chosen(), sort: ["-id"], limit: SHOWN },
    onConfirmed: () => showError(document.getElementById("articles-error"), ""),
    onFirstLoad: (rows) => list.replace(rows),
    onEvent: (event) => {
      // A replayed event tells of the past.
      if (event.origin !== "replay") list.take(event);
    },
    onError: (error) => showError(document.getElementById("articles-error"), explain(error)),
  });
}

// In a Directus that we do not know, the fields may have other names.
function chosen() {
  if (choice === null) return {};
  const form = new FormData(choice);
  const status = form.get("status");
  const query = { fields: ["id", "title", ...form.getAll("field")] };
  return status ? { ...query, filter: { status: { _eq: status } } } : query;
}

function show({ item, parts }) {
  parts.title.textContent = item.title ?? item.name ?? `${texts.untitled} (${item.id})`;
  parts.author.textContent = item.author?.name ?? "";
  parts.badge.textContent = texts[`status-${item.status}`] ?? item.status ?? "";
  parts.badge.dataset.status = item.status ?? "";
  showTime(parts.time, item.date_updated);
}
