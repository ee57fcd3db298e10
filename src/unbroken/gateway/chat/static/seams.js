// Where an answer was broken and healed. The gateway tells how often while the answer runs, and
// exactly where once it is over; until then the place is the longest pause since we last asked.

const PAUSE_MS = 120;

/** Watch one answer. `ask()` gives the gateway's row of the stream; `onSeams(list)` hears of changes. */
export class Seams {
  #ask; #onSeams; #timer;
  #known = [];
  #pauses = [];
  #last = performance.now();

  constructor({ ask, onSeams, known = [] }) {
    this.#ask = ask;
    this.#onSeams = onSeams;
    this.#known = known;
    this.#timer = setInterval(() => this.look(), 1000);
  }

  /** Text came, after `length` characters of it. */
  came(length) {
    const now = performance.now();
    // The wait for the first word is every answer's, and no seam.
    if (length && now - this.#last > PAUSE_MS) this.#pauses.push({ at: length, ms: now - this.#last });
    if (this.#pauses.length > 50) this.#pauses.shift();
    this.#last = now;
  }

  async look(text = null) {
    let row = null;
    try { row = await this.#ask(); } catch { /* the page's server is away: no news of seams */ }
    if (!row) return;
    const rungs = (row.rungs ?? []).slice(0, row.recoveries);
    if (text !== null && row.seams?.length) {
      this.#set(row.seams.map(([at, rung]) => ({ at: utf16(text, at), rung, exact: true })));
      return;
    }
    if (rungs.length <= this.#known.length) return;
    const fresh = rungs.slice(this.#known.length);
    const pauses = [...this.#pauses].sort((a, b) => b.ms - a.ms).slice(0, fresh.length).sort((a, b) => a.at - b.at);
    // Until the continuation comes there is no pause to see. At the end there will be none any more.
    if (pauses.length < fresh.length && text === null) return;
    this.#pauses = [];
    // Without a pause no place in the text can be named: `at` is null.
    this.#set([...this.#known, ...fresh.map((rung, number) => ({ at: pauses[number]?.at ?? null, rung, exact: false }))]);
  }

  #set(seams) {
    this.#known = seams;
    this.#onSeams(seams);
  }

  end() {
    clearInterval(this.#timer);
  }
}

/** The gateway counts code points, JavaScript UTF-16 units. */
function utf16(text, points) {
  let at = 0;
  for (let number = 0; number < points && at < text.length; number += 1) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return at;
}
