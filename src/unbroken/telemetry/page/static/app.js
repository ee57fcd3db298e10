// The live page: what the feed brings goes to the part of the page that shows it.

import * as charts from "./charts.js";
import { byId, setText } from "./dom.js";
import * as faults from "./faults.js";
import { follow } from "./feed.js";
import * as figures from "./figures.js";
import * as streams from "./streams.js";

const PARTS = {
  scope: figures.drawScope,
  warnings: figures.drawWarnings,
  figures: figures.draw,
  streams: streams.drawStreams,
  weather: streams.drawWeather,
  faults: faults.draw,
};

follow("feed", {
  onState(state, changed) {
    for (const [part, draw] of Object.entries(PARTS)) if (changed.has(part)) draw(state);
    charts.take(state, changed);
    document.dispatchEvent(new CustomEvent("unbroken:state", { detail: { state, changed } }));
  },
  onLink(state, text) {
    const link = byId("link");
    if (link.dataset.state !== state) link.dataset.state = state;
    setText(byId("link-text"), text);
  },
});
charts.start();
