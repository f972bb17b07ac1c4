// The messages, newest first; one's own can be changed and deleted.
import { post } from "../site/http.js";
import { LiveList, newestFirst } from "../site/list.js";
import { gateway } from "../site/live.js";
import { explain, showError } from "../site/rows.js";
import { showTime } from "../site/times.js";
import { texts } from "../site/texts.js";
import { sendOnEnter } from "./compose.js";

const SHOWN = 50;
const FIELDS = ["id", "content", "author.id", "author.first_name", "date_created"];
const { me, sendUrl } = document.body.dataset;
const problem = document.getElementById("messages-error");
const list = new LiveList(document.getElementById("messages"), {
  templateId: "message-template",
  compare: newestFirst("date_created"),
  limit: SHOWN,
  show,
  onRoom: subscribe,
  onChange: (items) => { document.getElementById("messages-empty").hidden = items.length > 0; },
});

let subscription = null;

export function startMessages() {
  subscribe();
}

function subscribe() {
  subscription?.unsubscribe();
  subscription = gateway.subscribe("chat", {
    query: { fields: FIELDS, sort: ["-date_created", "-id"], limit: SHOWN },
    onConfirmed: () => showError(problem, ""),
    onFirstLoad: (rows) => list.replace(rows),
    onEvent: (event) => list.take(event),
    onError: (error) => showError(problem, explain(error)),
  });
}

function show({ item, row, parts }) {
  const name = item.author?.first_name ?? texts.somebody;
  parts.author.textContent = name;
  parts.avatar.textContent = name.slice(0, 1);
  parts.avatar.dataset.hue = hue(item.author?.id ?? "");
  parts.content.textContent = item.content;
  showTime(parts.time, item.date_created);
  const isMine = me !== "" && item.author?.id === me;
  row.classList.toggle("mine", isMine);
  parts.tools.hidden = !isMine;
  if (isMine && !row.hasTools) addTools(row, parts);
}

function addTools(row, parts) {
  row.hasTools = true;
  const url = (what) => `${sendUrl}${encodeURIComponent(row.liveItem.id)}/${what}/`;
  const text = parts.form.elements.content;
  parts.edit.addEventListener("click", () => {
    text.value = row.liveItem.content;
    setEditing(parts, true);
    text.focus();
  });
  parts.cancel.addEventListener("click", () => setEditing(parts, false));
  parts.remove.addEventListener("click", async () => showError(parts.error, await post(url("delete"))));
  text.addEventListener("keydown", (event) => {
    sendOnEnter(event, parts.form);
    if (event.key === "Escape") setEditing(parts, false);
  });
  parts.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = await post(url("edit"), { content: text.value.trim() });
    showError(parts.error, error);
    if (!error) setEditing(parts, false);
  });
}

function setEditing(parts, isEditing) {
  parts.form.hidden = !isEditing;
  parts.content.hidden = isEditing;
  if (isEditing) return;
  showError(parts.error, "");
  parts.edit.focus();
}

// The same colour for the same person.
function hue(id) {
  return [...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 4;
}
