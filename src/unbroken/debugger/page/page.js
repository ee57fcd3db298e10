"use strict";
// Draws each stream's charts when it comes into sight; everything else is in the page already.
// Keys on a chart: left and right move, + and - zoom, 0 shows all, f goes to the next fault.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = () => getComputedStyle(document.documentElement);
  const colour = (name) => style().getPropertyValue(name).trim();
  const PHASES = ["connecting", "waiting", "thinking", "text", "tool", "ending", "body"];
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset" };
  const drawn = new Map();

  const seconds = (value) => {
    if (value < 0.0995) return value * 1000 >= 9.5 ? `${(value * 1000).toFixed(0)} ms` : `${(value * 1000).toFixed(1)} ms`;
    if (value < 9.995) return `${value.toFixed(2)} s`;
    if (value < 120) return `${value.toFixed(1)} s`;
    return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  };
  const size = (count) => count < 1000 ? `${count} B` : count < 999500 ? `${(count / 1000).toFixed(count < 9995 ? 2 : 1)} kB` : `${(count / 1e6).toFixed(2)} MB`;
  const amount = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
  const plain = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

  function layout(stream, extra) {
    const ink = colour("--soft"), line = colour("--line");
    const axis = { gridcolor: line, zeroline: false, linecolor: line, tickfont: { size: 11, color: ink }, fixedrange: false };
    return {
      autosize: true, margin: { l: 58, r: 12, t: 10, b: 30 }, showlegend: false, barmode: "overlay", bargap: 0.15,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: ink },
      hovermode: "closest",
      hoverlabel: { bgcolor: colour("--card"), bordercolor: line, font: { color: colour("--ink"), size: 12 }, align: "left" },
      ...extra,
      xaxis: { ...axis, range: whole(stream), ticksuffix: " s", showgrid: true, nticks: 8, ...extra.xaxis },
      yaxis: { ...axis, fixedrange: true, ...extra.yaxis },
    };
  }
  const whole = (stream) => { const end = Math.max(stream.duration_s, 0.001); return [-end * 0.012, end * 1.02]; };

  // A trace of many ticks is one path: thousands of them cost nothing.
  function ticks(name, x, heights, lane, color, texts) {
    const xs = [], ys = [], said = [];
    x.forEach((at, index) => {
      const half = 0.16 + 0.22 * heights[index];
      xs.push(at, at, null); ys.push(lane - half, lane + half, null); said.push(texts[index], texts[index], "");
    });
    return { name, x: xs, y: ys, text: said, type: "scatter", mode: "lines", line: { color, width: 1.4 }, hovertemplate: "%{text}<extra></extra>", connectgaps: false };
  }

  function waterfall(stream) {
    const { reads, bands, attempts, marks, faults } = stream;
    const lanes = attempts.map((a) => attempts.length > 1 ? `attempt ${a.number}` : "phases");
    const rows = ["reads", ...(reads.content.some(Boolean) ? ["content"] : []), ...(reads.pings.some(Boolean) ? ["pings"] : [])];
    const away = stream.timeline.filter((entry) => entry.kind === "consumer");
    if (away.length) rows.push("reader busy");
    const names = [...lanes, ...rows];
    const lane = (name) => names.length - names.indexOf(name);
    const laneOf = (number) => names.length - attempts.findIndex((a) => a.number === number);
    const traces = [];
    for (const phase of PHASES) {
      const mine = bands.filter((band) => band.phase === phase);
      if (!mine.length) continue;
      traces.push({
        name: phase, type: "bar", orientation: "h", base: mine.map((b) => b.from_s), x: mine.map((b) => b.to_s - b.from_s),
        y: mine.map((b) => laneOf(b.attempt)), width: mine.map(() => 0.56), marker: { color: colour(`--p-${phase}`), line: { width: 0 } },
        text: mine.map((b) => `${phase}, ${seconds(b.to_s - b.from_s)} from ${seconds(b.from_s)} on`), textposition: "none",
        hovertemplate: "%{text}<extra></extra>",
      });
    }
    const say = (i, what) => {
      const wait = reads.waited_s[i] == null ? "" : `<br>waited ${seconds(reads.waited_s[i])}`;
      const preview = reads.preview.length && reads.preview[i] ? `<br>${plain(reads.preview[i])}` : "";
      const more = reads.reads[i] > 1 ? `${amount(reads.reads[i], "read")}, ` : "";
      return `${seconds(reads.at_s[i])}: ${more}${what}${wait}${preview}`;
    };
    const top = Math.sqrt(Math.max(1, ...reads.size_bytes));
    traces.push(ticks("reads", reads.at_s, reads.size_bytes.map((b) => Math.sqrt(b) / top), lane("reads"), colour("--soft"),
      reads.at_s.map((_, i) => say(i, `${size(reads.size_bytes[i])}, ${amount(reads.frames[i], "event")}`))));
    for (const [name, color] of [["content", "--accent"], ["pings", "--second"]]) {
      if (!rows.includes(name)) continue;
      const has = reads[name].flatMap((count, i) => count ? [i] : []);
      const most = Math.max(1, ...has.map((i) => reads[name][i]));
      traces.push(ticks(name, has.map((i) => reads.at_s[i]), has.map((i) => Math.sqrt(reads[name][i] / most)), lane(name), colour(color),
        has.map((i) => say(i, name === "content" ? `${amount(reads.content[i], "event")} with content` : amount(reads.pings[i], "ping")))));
    }
    if (away.length) traces.push({
      name: "reader busy", type: "bar", orientation: "h", base: away.map((e) => e.at_s), y: away.map(() => lane("reader busy")), width: away.map(() => 0.4),
      x: away.map((e) => parseFloat(e.lasted) || 0), marker: { color: colour("--warn") }, text: away.map((e) => plain(e.text)), textposition: "none", hovertemplate: "%{text}<extra></extra>",
    });
    const SHOWN = { connected: "circle-open", response: "triangle-right", "first-byte": "diamond-open", "first-content": "star", finish: "circle", seam: "hourglass", notice: "triangle-up-open", lost: "cross-thin-open" };
    const moments = marks.filter((mark) => SHOWN[mark.kind]);
    traces.push({
      name: "moments", type: "scatter", mode: "markers", x: moments.map((m) => m.at_s), y: moments.map((m) => laneOf(m.attempt) + 0.02),
      marker: { symbol: moments.map((m) => SHOWN[m.kind]), size: 9, color: colour("--ink"), line: { width: 1.2, color: colour("--ink") } },
      text: moments.map((m) => `${seconds(m.at_s)}: ${plain(m.text)}`), hovertemplate: "%{text}<extra></extra>",
    });
    const bad = faults.filter((fault) => fault.severity !== "note");
    const toneOf = (fault) => colour(fault.severity === "fatal" ? "--bad" : "--warn");
    traces.push({
      name: "faults", type: "scatter", mode: "markers", x: bad.map((f) => f.at_s), y: bad.map((f) => laneOf(f.attempt)), cliponaxis: false,
      marker: { symbol: bad.map((f) => f.severity === "fatal" ? "x" : "triangle-up"), size: 12, color: bad.map(toneOf), line: { width: 1.5, color: colour("--card") } },
      text: bad.map((f) => `<b>${f.kind}</b> at ${seconds(f.at_s)}<br>${plain(f.detail).replace(/(.{60}\S*) /g, "$1<br>")}`), hovertemplate: "%{text}<extra></extra>",
    });
    return [traces, layout(stream, {
      margin: { l: 74, r: 14, t: bad.length ? 24 : 10, b: 30 },
      shapes: [...stallShapes(stream), ...faultShapes(bad)],
      annotations: [...waits(stream).filter((w) => w.lasted_s > stream.duration_s * 0.12).slice(0, 4).map((w) => ({
        x: w.at_s + w.lasted_s / 2, y: names.length + 0.47, yanchor: "middle", showarrow: false, font: { size: 11, color: colour("--warn") },
        text: `${seconds(w.lasted_s)} ${w.pings ? `behind ${amount(w.pings, "ping")}` : w.clock === "silence" || w.clock === "first-event" ? "of silence" : "without content"}`,
      })), ...bad.slice(0, 6).filter((f, i) => bad.findIndex((g) => g.kind === f.kind && Math.abs(g.at_s - f.at_s) < stream.duration_s * 0.12) === i).map((f) => {
        const place = f.at_s / Math.max(stream.duration_s, 1e-9);
        return { x: f.at_s, y: 1, yref: "paper", yanchor: "bottom", xanchor: place > 0.66 ? "right" : place < 0.33 ? "left" : "center", showarrow: false, text: f.kind, font: { size: 11, color: toneOf(f) } };
      })],
      yaxis: { tickvals: names.map(lane2(names)), ticktext: names, range: [0.4, names.length + 0.7], showgrid: false },
    })];
  }
  const lane2 = (names) => (name) => names.length - names.indexOf(name);
  const faultShapes = (bad) => bad.slice(0, 60).map((f) => ({ type: "line", x0: f.at_s, x1: f.at_s, yref: "paper", y0: 0, y1: 1, line: { color: colour(f.severity === "fatal" ? "--bad" : "--warn"), width: 1.5, dash: "dot" } }));
  // What the clocks tell of, and what is long beside this stream's usual pace.
  const waits = (stream) => {
    const usual = Math.max(1, stream.histogram.spread.p50 * 10);
    const long = stream.gaps.filter((g) => g.lasted_s >= usual && !stream.stalls.some((s) => s.at_s < g.at_s + g.lasted_s && g.at_s < s.at_s + s.lasted_s));
    return [...stream.stalls, ...long];
  };
  const stallShapes = (stream) => waits(stream).map((s) => ({ type: "rect", x0: s.at_s, x1: s.at_s + s.lasted_s, yref: "paper", y0: 0, y1: 1, fillcolor: colour("--stall"), line: { width: 0 }, layer: "below" }));

  const LEAST_S = 0.0001;
  const decades = (axis) => ({ ...axis, type: "log", tickvals: [0.0001, 0.001, 0.01, 0.1, 1, 10, 100, 1000], ticktext: ["0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s", "1000 s"] });

  function gaps(stream) {
    const { reads, faults } = stream;
    const pick = (test) => reads.at_s.flatMap((_, i) => reads.gap_s[i] > 0 && test(i) ? [i] : []);
    const trace = (name, color, symbol, chosen) => ({
      name, type: "scatter", mode: "markers", x: chosen.map((i) => reads.at_s[i]), y: chosen.map((i) => Math.max(LEAST_S, reads.gap_s[i])),
      marker: { color: colour(color), size: name === "pings" ? 7 : 4.5, symbol, opacity: 0.8 }, text: chosen.map((i) => `${seconds(reads.gap_s[i])} before the read at ${seconds(reads.at_s[i])}`), hovertemplate: "%{text}<extra></extra>",
    });
    const pinged = (i) => reads.pings[i] && !reads.content[i];
    const values = reads.gap_s.filter((g) => g > 0);
    const high = Math.max(0.01, ...values), low = Math.max(LEAST_S, Math.min(0.01, ...values));
    return [[trace("content", "--accent", "circle", pick((i) => !pinged(i))), trace("pings", "--second", "diamond", pick(pinged))],
      layout(stream, { shapes: [...stallShapes(stream), ...faultShapes(faults.filter((f) => f.severity !== "note"))], yaxis: decades({ range: [Math.log10(low) - 0.3, Math.log10(high) + 0.3] }) })];
  }

  // As many names as have room beside each other.
  const few = (names, place) => { const each = Math.ceil(names.length / Math.max(2, Math.floor((place.clientWidth - 70) / 64))); return names.filter((_, i) => i % each === 0); };

  function histogram(stream, place) {
    const { edges_s: edges, counts, together } = stream.histogram;
    const name = (edge) => seconds(edge).replace(".0 ", " ");
    const labels = edges.map((edge, i) => i ? `${name(edges[i - 1])} to ${name(edge)}` : `up to ${name(edge)}`);
    const x = edges.map((edge) => name(edge)), y = counts;
    const bars = together ? { x: ["together", ...x], y: [together, ...y], said: [`${amount(together, "event")} came in one read with the one before`, ...labels.map((l, i) => `${l}: ${counts[i]}`)] } : { x, y, said: labels.map((l, i) => `${l}: ${counts[i]}`) };
    return [[{ name: "gaps", type: "bar", x: bars.x, y: bars.y, text: bars.said, textposition: "none", hovertemplate: "%{text}<extra></extra>",
      marker: { color: bars.x.map((l) => l === "together" ? colour("--second") : colour("--accent")), line: { width: 0 } } }],
      layout(stream, { bargap: 0.08, xaxis: { range: undefined, autorange: true, type: "category", ticksuffix: "", tickmode: "array", tickvals: few(bars.x, place), showgrid: false, fixedrange: true, tickangle: 0 }, yaxis: { rangemode: "tozero", nticks: 5, tickformat: "~s" } })];
  }

  function throughput(stream) {
    const fine = stream.throughput, wide = Math.max(1, Math.ceil(fine.size_bytes.length / 90));
    const joined = (values) => Array.from({ length: Math.ceil(values.length / wide) }, (_, i) => values.slice(i * wide, (i + 1) * wide).reduce((a, b) => a + b, 0));
    const step = fine.step_s * wide, bytes = joined(fine.size_bytes), content = joined(fine.content);
    const x = bytes.flatMap((_, i) => [i * step, (i + 1) * step]);
    const twice = (values) => values.flatMap((v) => [v / step, v / step]);
    const events = content.some(Boolean);
    const traces = [];
    if (events) traces.push({ name: "events", type: "scatter", mode: "lines", x, y: twice(content), line: { color: colour("--accent"), width: 1.5 }, fill: "tozeroy", fillcolor: `${colour("--accent")}22`, hovertemplate: "%{y:.3~s} events/s<extra></extra>" });
    traces.push({ name: "bytes", type: "scatter", mode: "lines", x, y: twice(bytes), yaxis: events ? "y2" : "y", line: { color: colour("--second"), width: 1.2, dash: "dot" }, hovertemplate: "%{y:.3~s}B/s<extra></extra>" });
    return [traces, layout(stream, {
      margin: { l: 58, r: events ? 48 : 12, t: 10, b: 30 }, hovermode: "x", shapes: faultShapes(stream.faults.filter((f) => f.severity !== "note")),
      yaxis: { rangemode: "tozero", nticks: 5, tickformat: "~s", ticksuffix: events ? "/s" : "B/s" },
      ...(events ? { yaxis2: { overlaying: "y", side: "right", rangemode: "tozero", tickmode: "auto", nticks: 5, tickformat: "~s", ticksuffix: "B", showgrid: false, zeroline: false, tickfont: { size: 11, color: colour("--second") }, fixedrange: true } } : {}),
    })];
  }

  function sizes(stream) {
    const { reads } = stream;
    const each = reads.size_bytes.map((bytes, i) => bytes / reads.reads[i]);
    return [[{ name: "sizes", type: "scatter", mode: "markers", x: reads.at_s, y: each.map((b) => Math.max(1, b)), marker: { color: colour("--accent"), size: 4.5, opacity: 0.75 },
      text: reads.at_s.map((at, i) => `${size(Math.round(each[i]))} at ${seconds(at)}, ${amount(reads.frames[i], "event")}`), hovertemplate: "%{text}<extra></extra>" }],
      layout(stream, { shapes: faultShapes(stream.faults.filter((f) => f.severity !== "note")), yaxis: { type: "log", tickvals: [1, 3, 10, 30, 100, 300, 1000, 3000, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7], ticktext: ["1 B", "3 B", "10 B", "30 B", "100 B", "300 B", "1 kB", "3 kB", "10 kB", "30 kB", "100 kB", "300 kB", "1 MB", "3 MB", "10 MB"] } })];
  }

  const CHARTS = { waterfall, gaps, histogram, throughput, sizes };
  const LINKED = ["waterfall", "gaps", "throughput", "sizes"];

  function draw(section) {
    const stream = data.streams[Number(section.dataset.index)];
    drawn.set(section, stream);
    for (const place of section.querySelectorAll(".plot")) {
      const [traces, shape] = CHARTS[place.dataset.chart](stream, place);
      if (place.classList.contains("still")) { place.textContent = ""; place.classList.remove("still"); }
      const kept = place.layout && LINKED.includes(place.dataset.chart) ? place.layout.xaxis.range : null;
      if (kept) shape.xaxis.range = kept;
      Plotly.react(place, traces, shape, CONFIG).then(() => link(section, place));
    }
  }

  let moving = false;
  function link(section, place) {
    if (place.dataset.linked || !LINKED.includes(place.dataset.chart)) return;
    place.dataset.linked = "yes";
    place.on("plotly_relayout", (change) => {
      if (moving) return;
      if (change["xaxis.autorange"]) show(section, null);
      else if (change["xaxis.range[0]"] != null) show(section, [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    });
  }

  async function show(section, range) {
    const stream = drawn.get(section);
    if (!stream) return;
    moving = true;
    const to = range ?? whole(stream);
    section.dataset.from = to[0];
    await Promise.all([...section.querySelectorAll(".plot")].filter((p) => LINKED.includes(p.dataset.chart) && p.layout).map((p) => Plotly.relayout(p, { "xaxis.range": [...to] })));
    moving = false;
  }

  const around = (stream, at) => { const half = Math.max(0.02, Math.min(stream.duration_s / 4, 1.5)); return [at - half, at + half]; };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-show]");
    if (!button) return;
    const section = button.closest(".stream"), stream = drawn.get(section);
    if (!stream) return;
    if (button.dataset.show === "all") show(section, null);
    else show(section, around(stream, Number(button.dataset.show)));
  });

  document.addEventListener("keydown", (event) => {
    const place = event.target.closest?.(".plot");
    if (!place || event.ctrlKey || event.metaKey || event.altKey) return;
    const section = place.closest(".stream"), stream = drawn.get(section);
    const range = place.layout?.xaxis?.range;
    if (!stream || !range || !LINKED.includes(place.dataset.chart)) return;
    const [from, to] = range.map(Number), width = to - from, middle = (from + to) / 2;
    const moves = {
      ArrowLeft: [from - width / 5, to - width / 5], ArrowRight: [from + width / 5, to + width / 5],
      "+": [middle - width / 4, middle + width / 4], "=": [middle - width / 4, middle + width / 4], "-": [middle - width, middle + width], 0: whole(stream),
    };
    if (event.key === "f") {
      const times = stream.faults.map((f) => f.at_s);
      const next = times.find((at) => at > middle + 1e-6) ?? times[0];
      if (next != null) moves.f = around(stream, next);
    }
    if (moves[event.key]) { event.preventDefault(); show(section, moves[event.key]); }
  });

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && shown(entry.target) && !drawn.has(entry.target)) draw(entry.target);
  }, { rootMargin: "300px" });
  // A folded stream has no width to draw in: it is drawn when it opens.
  const shown = (section) => section.tagName !== "DETAILS" || section.open;
  const unfold = (id) => { const place = id && document.getElementById(id); if (place?.tagName === "DETAILS") place.open = true; };
  for (const section of document.querySelectorAll(".stream")) {
    seen.observe(section);
    section.addEventListener("toggle", (event) => { if (event.target === section && section.open && !drawn.has(section)) draw(section); });
  }
  document.addEventListener("click", (event) => { const link = event.target.closest('a[href^="#s"]'); if (link) unfold(link.hash.slice(1)); });
  addEventListener("hashchange", () => unfold(location.hash.slice(1)));
  unfold(location.hash.slice(1));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const section of drawn.keys()) draw(section); });
  addEventListener("beforeprint", () => { for (const section of document.querySelectorAll(".stream")) if (shown(section) && !drawn.has(section)) draw(section); });
})();
