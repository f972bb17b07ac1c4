// Relative times that stay true while the page is open.
import { texts } from "./texts.js";

const language = document.documentElement.lang;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
const absolute = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "medium" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const JUST_NOW = 3; // seconds; also bridges clocks that differ a little

export function showTime(element, iso) {
  const date = new Date(iso ?? NaN);
  const known = !Number.isNaN(date.getTime());
  element.dateTime = known ? iso : "";
  element.title = known ? absolute.format(date) : "";
  element.textContent = known ? ago(date) : "";
}

function ago(date) {
  const seconds = Math.round((Date.now() - date) / 1000);
  if (seconds < JUST_NOW) return texts.now;
  const [unit, length] = UNITS.find(([, length]) => seconds >= length);
  return relative.format(-Math.floor(seconds / length), unit);
}

function refresh() {
  for (const element of document.querySelectorAll("time[datetime]:not([datetime=''])")) {
    const text = ago(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(refresh, 1000);
