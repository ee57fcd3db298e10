// Four charts of the last minutes, drawn by Plotly, which is fetched after everything else stands.

import { byId, make, setAttribute } from "./dom.js";
import * as format from "./format.js";

const BIN_S = 10; // a bar of faults; one a second would be a comb

const CHARTS = [
  { id: "active", title: "Streams running", keys: [["running", ""], ["stalled", "second"]],
    says: (h) => `${format.count(h.active.at(-1))} running, ${format.count(h.stalled.at(-1))} stalled` },
  { id: "ttft", title: "First token", keys: [["p50", ""], ["p90", "second"]],
    says: (h) => `p50 ${format.seconds(last(h.ttft_p50))}, p90 ${format.seconds(last(h.ttft_p90))}` },
  { id: "gap", title: "Gap between tokens", keys: [["p50", ""], ["p90", "second"]],
    says: (h) => `p50 ${format.seconds(last(h.gap_p50))}, p90 ${format.seconds(last(h.gap_p90))}` },
  { id: "faults", title: "Faults", keys: [["faults", "box"], ["recoveries", "box second"]],
    says: (h) => `${format.count(sum(h.faults))} faults and ${format.count(sum(h.recoveries))} recoveries shown` },
];

const last = (values) => values.findLast((value) => value != null);
const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);

let history; // columns, one value a second
let keep = 300;
let drawing; // Plotly, once it is there
let colours;

function figure(chart) {
  const keys = chart.keys.map(([name, kind]) => make("span", { class: `key ${kind}`, text: name }));
  const plot = make("div", { class: "plot still", id: `plot-${chart.id}`, role: "img", "aria-label": chart.title, text: "loading the chart" });
  return make("figure", {}, make("figcaption", {}, make("b", { text: chart.title }), ...keys), plot);
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const pick = (name) => style.getPropertyValue(name).trim();
  colours = { ink: pick("--ink"), soft: pick("--soft"), line: pick("--line"), card: pick("--card"), accent: pick("--accent"), second: pick("--second"), bad: pick("--bad") };
}

function traces(id, x) {
  const line = (name, y, second, unit) => ({
    x, y, name, type: "scatter", mode: "lines", connectgaps: false, // a time without streams has no values
    line: { color: second ? colours.second : colours.accent, width: 1.75, dash: second ? "dot" : "solid" },
    hovertemplate: unit === "s" ? "%{customdata}" : "%{y}",
    customdata: unit === "s" ? y.map(format.seconds) : undefined,
  });
  if (id === "active") {
    const running = line("running", history.active, false);
    return [{ ...running, fill: "tozeroy", fillcolor: `${colours.accent}1f` }, line("stalled", history.stalled, true)];
  }
  if (id === "faults") {
    const [at, faults] = bins(history.at, history.faults);
    const [, recoveries] = bins(history.at, history.recoveries);
    const width = BIN_S * 400; // half of most of a bin: the two stand side by side
    const bar = (name, y, color) => ({ x: at, y, name, type: "bar", width, offset: name === "faults" ? -width : 0, marker: { color, line: { width: 0 } }, hovertemplate: "%{y}" });
    return [bar("faults", faults, colours.bad), bar("recoveries", recoveries, colours.accent)];
  }
  return [line("p50", history[`${id}_p50`], false, "s"), line("p90", history[`${id}_p90`], true, "s")];
}

function bins(at, values) {
  const totals = new Map();
  at.forEach((second, index) => {
    const bin = Math.floor(second / BIN_S) * BIN_S * 1000 + BIN_S * 500;
    totals.set(bin, (totals.get(bin) ?? 0) + (values[index] ?? 0));
  });
  return [[...totals.keys()].map((ms) => new Date(ms)), [...totals.values()]];
}

function layout(id) {
  const end = history.at.at(-1) * 1000;
  const axis = { gridcolor: colours.line, zeroline: false, linecolor: colours.line, tickfont: { size: 11, color: colours.soft }, fixedrange: true };
  const values = id === "active" ? [...history.active, 4] : id === "faults" ? bins(history.at, history.faults)[1].concat(bins(history.at, history.recoveries)[1], 4) : [...history[`${id}_p90`], ...history[`${id}_p50`], 0.01];
  const top = values.reduce((most, value) => Math.max(most, value ?? 0), 0) * 1.15;
  return {
    autosize: true, margin: { l: 42, r: 8, t: 8, b: 24 }, showlegend: false, bargap: 0.25, barmode: "group",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: colours.soft },
    hovermode: "x unified", hoverlabel: { bgcolor: colours.card, bordercolor: colours.line, font: { color: colours.ink, size: 12 } },
    xaxis: { ...axis, type: "date", range: [new Date(end - keep * 1000), new Date(end)], tickformat: "%H:%M", hoverformat: "%H:%M:%S", showgrid: false, nticks: 6 },
    yaxis: { ...axis, range: [0, top], nticks: 5, tickformat: id === "active" || id === "faults" ? ",d" : "", ticksuffix: id === "ttft" || id === "gap" ? " s" : "", hoverformat: ",d" },
  };
}

async function load() {
  const script = make("script", { src: byId("charts").dataset.plotly, async: true });
  const loaded = new Promise((resolve, reject) => {
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
  });
  document.head.append(script);
  await loaded;
  return window.Plotly;
}

/** Put up the frames of the charts, and fetch what draws them. */
export async function start() {
  const place = byId("charts");
  place.append(...CHARTS.map(figure));
  readColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  try {
    drawing = await load();
  } catch {
    for (const plot of place.querySelectorAll(".plot")) plot.textContent = "the chart library could not be loaded";
    return;
  }
  for (const plot of place.querySelectorAll(".plot")) {
    plot.textContent = "";
    plot.classList.remove("still");
  }
  draw();
}

/** Take a whole history, or the next second of it. */
export function take(state, changed) {
  if (changed.has("history")) {
    history = Object.fromEntries(Object.entries(state.history.columns).map(([name, values]) => [name, [...values]]));
    keep = state.history.keep_s;
  } else if (history && changed.has("point")) {
    for (const [name, values] of Object.entries(history)) {
      values.push(state.point[name] ?? null);
    }
    const old = history.at.findIndex((at) => at >= state.point.at - keep);
    for (const values of Object.values(history)) values.splice(0, old);
  } else {
    return;
  }
  draw();
}

function draw() {
  if (!history?.at.length) return;
  const x = history.at.map((second) => new Date(second * 1000));
  for (const chart of CHARTS) {
    const plot = byId(`plot-${chart.id}`);
    setAttribute(plot, "aria-label", `${chart.title}: ${chart.says(history)}`);
    if (drawing) drawing.react(plot, traces(chart.id, x), layout(chart.id), { displayModeBar: false, responsive: true, doubleClick: false });
  }
}
