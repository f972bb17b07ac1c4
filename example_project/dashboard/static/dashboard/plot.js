// Bars in an SVG: the revenue of each minute.
const NAMESPACE = "http://www.w3.org/2000/svg";
const LEFT = 44; // pixels for the labels of the scale
const BOTTOM = 20;
const LINES = 3; // of the grid, besides the ground
const plot = document.getElementById("plot");
const marks = new Map(); // what is drawn, by name: it is moved, not made anew
let last = null;

export function drawPlot(bars, options) {
  last = [bars, options];
  draw(bars, options);
}

new ResizeObserver(() => last && draw(...last)).observe(plot);

function draw(bars, { money, language, reading, texts }) {
  const { width, height } = plot.getBoundingClientRect();
  const ground = height - BOTTOM;
  const step = niceStep(Math.max(...bars.map(({ revenue }) => revenue), 1) / LINES);
  const y = (value) => ground - (value / (step * LINES)) * (ground - 8);
  const slot = (width - LEFT) / bars.length;
  const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
  const coarse = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const used = new Set();
  const mark = (name, tag, attributes, text) => {
    used.add(name);
    const element = marks.get(name) ?? plot.appendChild(document.createElementNS(NAMESPACE, tag));
    marks.set(name, element);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  for (let line = 0; line <= LINES; line++) {
    const at = Math.round(y(line * step)) + 0.5;
    mark(`line ${line}`, "line", { class: "grid", x1: LEFT, x2: width, y1: at, y2: at });
    mark(`scale ${line}`, "text", { x: LEFT - 8, y: at + 4, "text-anchor": "end" }, coarse.format(line * step));
  }
  bars.forEach(({ at, revenue, orders }, number) => {
    const x = LEFT + number * slot;
    const moment = clock.format(new Date(at));
    const top = y(revenue);
    const isNow = number === bars.length - 1;
    mark(`bar ${at}`, "rect", {
      class: isNow ? "bar now" : "bar", x: x + slot * 0.15, width: slot * 0.7, y: top, height: Math.max(ground - top, 0), rx: Math.min(2, slot / 4),
    });
    const target = mark(`target ${at}`, "rect", { class: "target", x, width: slot, y: 0, height: ground });
    target.onpointerenter = () => {
      reading.textContent = `${moment} · ${money.format(revenue)} · ${orders} ${texts.orders}`;
    };
    target.onpointerleave = () => { reading.textContent = "\u00a0"; };
    // Fewer labels where there is little room, and none that would stick out.
    const every = width > 560 ? 5 : 10;
    const middle = x + slot / 2;
    if (new Date(at).getMinutes() % every === 0 && middle > LEFT + 24 && middle < width - 24) {
      mark(`time ${at}`, "text", { x: middle, y: height - 2, "text-anchor": "middle" }, moment);
    }
  });
  for (const [name, element] of marks) {
    if (used.has(name)) continue;
    element.remove();
    marks.delete(name);
  }
}

// A round number: what a person would write beside the lines.
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((step) => step >= least);
}
