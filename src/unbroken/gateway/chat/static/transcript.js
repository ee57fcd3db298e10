// The conversation on the page. A turn is {role, text, seams, state, note, more}; text is always text, never HTML.

import { byId, make, setAttribute, setText } from "./dom.js";

const ENDS = {
  running: ["", ""],
  complete: ["✓ complete", "good"],
  limited: ["◑ ended at the token limit", "warn"],
  filtered: ["◑ ended by the provider's filter", "warn"],
  paused: ["◑ paused by the provider", "warn"],
  stopped: ["■ stopped", "warn"],
  failed: ["✕ not complete", "bad"],
};

export function add(turn) {
  byId("chat-empty").hidden = true;
  const words = make("div", { class: "words" });
  const end = make("div", { class: "end" }, make("span"));
  turn.node = make("div", { class: `turn ${turn.role}` }, words, end);
  byId("chat-log").append(turn.node);
  draw(turn);
}

export function clear() {
  byId("chat-log").querySelectorAll(".turn").forEach((node) => node.remove());
  byId("chat-empty").hidden = false;
}

/** More text of a turn: only appended, so that reading and selecting are not disturbed. */
export function grow(turn, piece) {
  const words = turn.node.firstChild;
  const log = byId("chat-log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (words.lastChild?.nodeType === Node.TEXT_NODE) words.lastChild.appendData(piece);
  else words.append(piece);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

/** Draw a turn anew, as when a seam was found in what stands there already. */
export function draw(turn) {
  const [words, end] = turn.node.children;
  words.replaceChildren();
  let from = 0;
  for (const seam of turn.seams ?? []) {
    if (seam.at === null) continue; // it is known that it was healed, not where
    words.append(turn.text.slice(from, seam.at), mark(seam));
    from = seam.at;
  }
  words.append(turn.text.slice(from));
  const [said, tone] = ENDS[turn.state] ?? ["", ""];
  const [line, details] = end.children;
  setText(line, [said, turn.note].filter(Boolean).join(" · "));
  if (!turn.more) details?.remove();
  else if (!details) end.append(make("details", {}, make("summary", { text: "details" }), make("p", { text: turn.more })));
  setAttribute(end, "data-tone", tone || null);
  if (turn.state) setAttribute(turn.node, "data-state", turn.state);
  setAttribute(turn.node, "aria-busy", turn.state === "running" ? "true" : null);
  const log = byId("chat-log");
  log.scrollTop = log.scrollHeight;
}

function mark({ rung, exact }) {
  const where = exact ? "here" : "about here";
  const text = `the answer broke ${where} and was healed${rung ? ` (${rung})` : ""}`;
  // Its words are the style sheet's: they must not be copied with the answer.
  return make("span", { class: "seam", role: "note", title: text, "aria-label": text });
}
