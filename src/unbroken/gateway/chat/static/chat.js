// The chat box: sends through the gateway, and reads on when the connection or the page was lost.

import { byId, setText } from "./dom.js";
import * as memory from "./memory.js";
import { Seams } from "./seams.js";
import * as transcript from "./transcript.js";
import { resumeStream, stream } from "./unbroken.js";

const url = new URL(byId("chat").dataset.url, document.baseURI).href;
const pageToken = document.querySelector('meta[name="unbroken-page"]').content;

let turns = [];
let current = null; // {stream, turn, seams}

function headers() {
  const key = byId("chat-key").value.trim();
  return { "Content-Type": "application/json", "X-Unbroken-Page": pageToken, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

/** The row that the gateway keeps of a stream. */
async function rowOf(id) {
  if (!id) return null;
  const response = await fetch("row", { headers: { "X-Unbroken-Stream": id } });
  return response.ok ? response.json() : null;
}

function plain(turn) {
  const { role, text, seams, state, note, more, model } = turn;
  return { role, text, seams, state, note, more, model };
}

function keep() {
  memory.save(turns.map(plain), current && current.stream.id ? current.stream : null, byId("chat-model").value);
}

let keepSoon = 0;
function keepNow() { clearTimeout(keepSoon); keepSoon = 0; keep(); }
function keepLater() { keepSoon ||= setTimeout(() => { keepSoon = 0; keep(); }, 250); }

function buttons() {
  const running = current !== null;
  const last = turns.at(-1);
  byId("chat-stop").hidden = !running;
  byId("chat-send").disabled = running;
  byId("chat-retry").hidden = running || last?.role !== "assistant";
  byId("chat-clear").hidden = running || turns.length === 0;
}

/** Follow a stream that fills `turn`; `begin(callbacks)` starts it. */
function follow(turn, begin) {
  const mine = { turn, stream: null, seams: null };
  const callbacks = {
    onToken(piece) {
      mine.seams.came(turn.text.length);
      turn.text += piece;
      transcript.grow(turn, piece);
      keepLater();
    },
    onReconnect({ resumed }) {
      turn.note = resumed ? "your connection was lost; nothing of the answer was" : "the connection failed, asking again";
      transcript.draw(turn);
    },
    async onComplete(text, { status }) {
      turn.text = text;
      await settle(mine, status, turn.note);
    },
    async onError(error) {
      const { note, more } = explain(error);
      turn.more = more;
      await settle(mine, "failed", note);
    },
  };
  mine.seams = new Seams({
    ask: () => rowOf(mine.stream.id),
    known: turn.seams,
    onSeams(seams) { turn.seams = seams; transcript.draw(turn); keepLater(); },
  });
  turn.state = "running";
  current = mine;
  mine.stream = begin(callbacks);
  transcript.draw(turn);
  buttons();
}

async function settle(mine, state, note) {
  mine.seams.end();
  if (current !== mine) return;
  current = null;
  mine.turn.state = state;
  mine.turn.note = note;
  await mine.seams.look(mine.turn.text);
  const healed = mine.turn.seams.length;
  if (healed && state !== "failed") mine.turn.note = [`broken and healed ${healed === 1 ? "once" : `${healed} times`}`, note].filter(Boolean).join(" · ");
  transcript.draw(mine.turn);
  setText(byId("chat-status"), mine.turn.node.lastChild.firstChild.textContent);
  keepNow();
  buttons();
}

function explain(error) {
  // The gateway's own code for it says more than that an error came inside the stream.
  const told = error.code === "provider-error" && /^[\w.-]{1,64}$/.test(error.provider?.code ?? "") ? error.provider.code : error.code;
  const note = { "http-error": error.status ? `refused with ${error.status}` : "refused", "connect-failed": "the gateway could not be reached" }[told] ?? told;
  return { note, more: error.provider?.message ?? "" };
}

function ask() {
  const turn = { role: "assistant", text: "", seams: [], note: "", model: byId("chat-model").value.trim() };
  const messages = turns.filter((each) => each.text).map(({ role, text }) => ({ role, content: text }));
  turns.push(turn);
  transcript.add(turn);
  follow(turn, (callbacks) => stream({ url, headers: headers(), body: { model: turn.model, messages, stream: true }, resume: true, init: { cache: "no-store" }, ...callbacks }));
  keepNow();
}

function send() {
  const text = byId("chat-text").value.trim();
  if (!text || current) return;
  const turn = { role: "user", text };
  turns.push(turn);
  transcript.add(turn);
  byId("chat-text").value = "";
  ask();
}

async function stop() {
  const mine = current;
  if (!mine) return;
  byId("chat-stop").disabled = true;
  const told = await mine.stream.stop();
  byId("chat-stop").disabled = false;
  await settle(mine, "stopped", told ? "the provider was cut off too" : "");
  byId("chat-text").focus();
}

function retry() {
  const last = turns.pop();
  last?.node.remove();
  ask();
}

/** Take up what was there before the page was loaded anew. */
function restore() {
  const kept = memory.load();
  restoreModel(kept.model);
  turns = kept.turns;
  turns.forEach(transcript.add);
  const turn = turns.at(-1);
  if (turn?.state !== "running") return;
  if (!kept.running?.id) {
    turn.state = "failed";
    turn.more = "";
    turn.note = "the page was left before this answer could be read on";
    transcript.draw(turn);
    return;
  }
  readOn(turn, kept.running);
}

function restoreModel(model) {
  const field = byId("chat-model");
  const offered = !field.options || [...field.options].some((option) => option.value === model);
  if (model && offered) field.value = model;
}

function readOn(turn, saved) {
  // The stream's own account: its text and its position belong together.
  turn.text = saved.text ?? "";
  turn.note = ""; // that the connection was lost, which leaving the page did
  follow(turn, ({ onError, ...callbacks }) => resumeStream({
    // A browser may keep a 404 or 410 of the same address, and answer from that.
    ...saved, headers: headers(), init: { cache: "no-store" }, ...callbacks,
    onError(error) {
      // What lies before our position is there no more, or the position means nothing there:
      // the whole answer may be.
      if (saved.position && (error.status === 400 || error.status === 410)) {
        current.seams.end();
        readOn(turn, { ...saved, position: "", text: "" });
      } else {
        onError(error);
      }
    },
  }));
}

byId("chat-form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
byId("chat-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
byId("chat-stop").addEventListener("click", stop);
byId("chat-retry").addEventListener("click", retry);
byId("chat-clear").addEventListener("click", () => { turns = []; transcript.clear(); keepNow(); buttons(); byId("chat-text").focus(); });
byId("chat-model").addEventListener("change", keepNow);
addEventListener("pagehide", keepNow);
restore();
buttons();
