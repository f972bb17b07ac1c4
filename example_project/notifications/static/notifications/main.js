// The list of what is unread.
import { post } from "../site/http.js";
import { LiveList, newestFirst } from "../site/list.js";
import { showError } from "../site/rows.js";
import { showTime } from "../site/times.js";
import { watchNotifications } from "./bell.js";

const { archiveUrl } = document.body.dataset;
const problemBox = document.getElementById("notices-error");
const all = document.getElementById("archive-all");
const list = new LiveList(document.getElementById("notices"), {
  templateId: "notice-template",
  compare: newestFirst("timestamp"),
  show,
});

watchNotifications(({ notifications, problem, isKnown }) => {
  showError(problemBox, problem);
  if (!isKnown) return;
  list.replace(notifications);
  document.getElementById("unread").textContent = notifications.length;
  document.getElementById("notices-empty").hidden = notifications.length > 0;
  all.setAttribute("aria-disabled", String(notifications.length === 0));
});

all.addEventListener("click", async () => {
  if (all.getAttribute("aria-disabled") !== "true") showError(problemBox, await post(archiveUrl));
});

function show({ item, row, parts }) {
  parts.subject.textContent = item.subject;
  parts.message.textContent = item.message ?? "";
  showTime(parts.time, item.timestamp);
  if (row.hasButton) return;
  row.hasButton = true;
  parts.archive.addEventListener("click", async () => {
    showError(problemBox, await post(archiveUrl, { id: item.id }));
  });
}
