// The figures and the sentence above them.

import { byId, follow, make, setAttribute, setText } from "./dom.js";
import * as format from "./format.js";

const percentiles = (p) => (p ? `p90 ${format.seconds(p.p90)}, p99 ${format.seconds(p.p99)}` : "");

/** Every recovery is counted in: a sum that leaves some out looks wrong. */
function rungs(counts) {
  const all = Object.entries(counts);
  const named = all.slice(0, all.length > 3 ? 2 : 3);
  const others = all.slice(named.length).reduce((sum, [, count]) => sum + count, 0);
  return [...named.map(([rung, count]) => `${format.count(count)} ${rung}`), ...(others ? [`${format.count(others)} by others`] : [])].join(", ");
}

/** What is shown, in order: name, value, a line below, and whether it calls for attention. */
function cells(f) {
  const counted = f.counted_by_usage || f.counted_by_deltas;
  return [
    ["Active", format.count(f.active), f.stalled ? `${format.count(f.stalled)} stalled` : "none stalled", f.stalled ? "warn" : ""],
    ["Streams in all", format.count(f.total), f.cancelled ? `${format.count(f.cancelled)} cancelled` : ""],
    ["Ended well", format.share(f.success_rate), `${format.count(f.succeeded)} of ${format.count(f.ended)}`, f.failed ? "" : f.succeeded ? "good" : ""],
    ["Failed", format.count(f.failed), "", f.failed ? "bad" : ""],
    ["First token", format.seconds(f.ttft?.p50), percentiles(f.ttft)],
    ["Gap between tokens", format.seconds(f.gap?.p50), percentiles(f.gap)],
    ["Duration", format.seconds(f.duration?.p50), percentiles(f.duration)],
    ["Tokens", format.count(f.tokens), !counted ? "" : f.counted_by_deltas ? `${format.plural(f.counted_by_deltas, "stream")} counted by deltas` : "as the providers say"],
    ["Delivered", format.bytes(f.bytes), f.frames ? format.plural(f.frames, "frame") : ""],
    ["Retries", format.count(f.retries), f.mean_retries == null ? "" : `${f.mean_retries.toFixed(2)} a stream`],
    ["Recoveries", format.count(f.recoveries), rungs(f.rungs), f.healed ? "good" : ""],
    ["Faults", format.count(f.faults), f.commonest ? `mostly ${f.commonest}` : ""],
  ];
}

function create() {
  return make("div", {}, make("dt"), make("dd", { class: "value" }), make("dd", { class: "more" }));
}

function update(node, [name, value, more, tone]) {
  setText(node.children[0], name);
  setText(node.children[1], value);
  setText(node.children[2], more);
  setAttribute(node, "data-tone", tone || null);
}

function sentence(f) {
  if (!f.total) return "No stream yet. The figures begin with the first one.";
  const now = f.active ? `${format.plural(f.active, "stream")} running` : "No stream is running";
  const stalled = f.stalled ? `, ${format.count(f.stalled)} of them stalled` : "";
  const ended = f.ended;
  // Of failed streams too: what a continuation added does not prove how the stream ended.
  const tried = f.recoveries ? ` ${format.plural(f.recoveries, "continuation")} tried, ${f.healed === f.recoveries ? (f.healed === 1 ? "which" : "all of which") : format.count(f.healed)} added text.` : "";
  const past = !ended ? "" : f.succeeded < ended ? ` ${format.share(f.success_rate)} of ${format.count(ended)} ended well.` : ` ${ended === 1 ? "The one" : `All ${format.count(ended)}`} before ended well.`;
  return `${now}${stalled}.${past}${tried}`;
}

export function draw(state) {
  const f = state.figures;
  follow(byId("figures"), cells(f), { key: (cell) => cell[0], create, update });
  setText(byId("headline"), sentence(f));
}

export function drawScope(state) {
  setText(byId("scope"), state.scope.text);
}

/** Proxies that buffer, and whatever else the server found amiss about itself. */
export function drawWarnings(state) {
  follow(byId("warnings"), state.warnings, {
    key: (warning) => warning.title + warning.text,
    create: (warning) => make("p", { class: "notice" }, make("b", { text: `${warning.title}. ` }), warning.text),
    update: () => {},
  });
}
