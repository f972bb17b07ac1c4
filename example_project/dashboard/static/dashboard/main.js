// The figures: read through Django when the page opens, and again after changes of orders.
import { fetchJson } from "../site/http.js";
import { gateway } from "../site/live.js";
import { explain, showError } from "../site/rows.js";
import { isUp, onBack, onChange } from "../site/state.js";
import { texts } from "../site/texts.js";
import { showTime } from "../site/times.js";
import { drawPlot } from "./plot.js";

const DEBOUNCE = 300; // milliseconds; the events of a burst are one read
const MINUTE = 60_000; // the plot moves on, also without an event
const language = document.documentElement.lang;
const money = new Intl.NumberFormat(language, { style: "currency", currency: "EUR" });
const whole = new Intl.NumberFormat(language);
const problem = document.getElementById("figures-error");
let timer = null;
let reading = null;
let isKnown = false;
let hasFailed = false;

function refreshSoon() {
  timer ??= setTimeout(() => {
    timer = null;
    refresh();
  }, DEBOUNCE);
}

async function refresh() {
  // A read that began earlier may not know what this one is for.
  const mine = reading = fetchJson(document.body.dataset.figuresUrl);
  try {
    const figures = await mine;
    if (mine !== reading) return;
    showError(problem, figures.error);
    hasFailed = figures.error !== "";
    if (!hasFailed) show(figures);
  } catch {
    if (mine === reading) hasFailed = true; // the pill says why
  }
  showStale();
}

function show({ revenue, completed, pending, average, bars, at }) {
  isKnown = true;
  write("revenue", money.format(revenue));
  write("completed", whole.format(completed));
  write("pending", whole.format(pending));
  write("average", average === null ? "–" : money.format(average));
  showTime(document.getElementById("figures-time"), at);
  drawPlot(bars, { money, language, reading: document.getElementById("plot-reading"), texts });
}

function write(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

// What was read once stays on the page, but not as if it were of now.
function showStale() {
  const isStale = isKnown && (hasFailed || !isUp());
  document.body.classList.toggle("is-stale", isStale);
  document.getElementById("figures-stale").hidden = !isStale;
}

gateway.subscribe("orders", {
  query: { fields: ["id"] },
  onConfirmed: refreshSoon,
  onEvent: refreshSoon,
  onError: (error) => showError(problem, explain(error)),
});
onChange(showStale);
onBack(refreshSoon);
setInterval(() => isUp() && refreshSoon(), MINUTE);
refresh();
