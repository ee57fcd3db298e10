// A row for each active stream, and the weather by provider and model.

import { byId, follow, make, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";

function cell(label, numeric = true) {
  return make("td", { class: numeric ? "n" : null, "data-label": label });
}

function createStream() {
  const name = make("td", { class: "name" }, make("span", { class: "dim" }), " ", make("span"));
  const state = make("td", {}, make("span", { class: "tag" }));
  return make("tr", {}, make("th", { scope: "row", class: "mono" }), name, state, cell("phase", false),
    cell("since progress"), cell("age"), cell("bytes"), cell("tokens"), cell("recoveries"));
}

const TONES = { stalled: "warn", recovering: "warn", failed: "bad" };

function updateStream(node, row) {
  const [id, name, state, phase, gap, age, bytes, tokens, recoveries] = node.children;
  setText(id, row.id);
  setText(name.firstChild, row.provider);
  setText(name.lastChild, row.model || "model not known");
  setAttribute(name, "title", row.team ? `team ${row.team}` : null);
  setText(state.firstChild, row.state);
  setAttribute(state.firstChild, "data-tone", TONES[row.state] ?? null);
  setAttribute(node, "data-state", row.state);
  setText(phase, row.phase);
  setText(gap, row.gap_s < 1 ? "now" : format.seconds(row.gap_s));
  setText(age, format.seconds(row.age_s));
  setText(bytes, format.bytes(row.bytes));
  setText(tokens, format.count(row.tokens));
  setText(recoveries, format.count(row.recoveries));
}

export function drawStreams(state) {
  const { rows, total, stalled } = state.streams;
  byId("streams-scroller").hidden = rows.length === 0;
  follow(byId("streams-rows"), rows, { key: (row) => row.key, create: createStream, update: updateStream });
  const shown = total > rows.length ? `Showing ${rows.length} of ${format.count(total)}: stalled ones first, then the oldest.` : `${format.plural(total, "stream")}.`;
  setText(byId("streams-about"), !total ? "None at the moment." : stalled ? `${shown} ${format.count(stalled)} stalled.` : shown);
}

function createWeather() {
  const name = make("th", { scope: "row" }, make("span", { class: "dim" }), " ", make("span"));
  return make("tr", {}, name, make("td", {}, make("span", { class: "tag" })), cell("streams"), cell("ended well"),
    cell("failed"), cell("first token p50"), cell("gap p90"), cell("recoveries"));
}

function updateWeather(node, row) {
  const [name, sky, total, rate, failed, ttft, gap, recoveries] = node.children;
  setText(name.firstChild, row.provider);
  setText(name.lastChild, row.model || "all models");
  setText(sky.firstChild, row.sky);
  setAttribute(sky.firstChild, "data-tone", row.tone || null);
  setText(total, format.count(row.total));
  setText(rate, format.share(row.success_rate));
  setText(failed, format.count(row.failed));
  setText(ttft, format.seconds(row.ttft?.p50));
  setText(gap, format.seconds(row.gap?.p90));
  setText(recoveries, format.count(row.recoveries));
}

export function drawWeather(state) {
  const { rows, more } = state.weather;
  byId("weather-scroller").hidden = rows.length === 0;
  const about = byId("weather-about");
  about.hidden = rows.length > 0 && !more;
  setText(about, !rows.length ? "Nothing to compare yet." : `${format.plural(rows.length, "model")}, those in trouble and the busiest; and ${format.count(more)} more, not shown.`);
  follow(byId("weather"), rows, { key: (row) => `${row.provider}\n${row.model}`, create: createWeather, update: updateWeather });
}
