/**
 * Unbroken for JavaScript: token streams that end whole, or say that they did not.
 *
 * An ES module without dependencies (`unbroken-reading.js` belongs to it), for browsers and Node 18
 * or newer. In front of it stands an Unbroken gateway, and a lost connection is read on where it was
 * lost; or a provider itself, and then only what came before the first content is tried again.
 *
 *   bytes -> decoder (SSE, NDJSON) -> frames -> reader (one a dialect) -> text, an end, or an error
 *
 * The protocol is docs/reference/resume-protocol.md, version 1.
 */

import { dialectOf, errorIn, Fault, NDJSONDecoder, PATHS, READERS, Said, SSEDecoder, statusOf } from './unbroken-reading.js';

export { NDJSONDecoder, SSEDecoder };

// Errors --------------------------------------------------------------------------------------

/** A stream failed. `.code` is a stable name, `.text` what was received: not a whole answer. */
export class StreamingError extends Error {
  constructor(fault, { text = '', id = '', position = '' } = {}) {
    super(`${fault.code}: ${fault.detail}; do not treat the answer as complete;` +
      ` what was received (${text.length} characters) is in .text`, { cause: fault.cause });
    this.name = new.target.name;
    const { code, status = 0, provider = null } = fault;
    Object.assign(this, { code, status, provider, text, id, position });
  }
}
/** It ended without a proven end: lost, refused, failed at the provider, or left. */
export class IncompleteStreamError extends StreamingError {}
/** Nothing moved for too long. */
export class StreamTimeoutError extends StreamingError {}

// Streams -------------------------------------------------------------------------------------

/**
 * Begin a stream; it runs by itself. See README.md for the options and what comes back.
 */
export function stream(options) {
  return new TokenStream(options);
}

/**
 * Read on a stream that was begun elsewhere, as before a page was reloaded:
 * `resumeStream({...JSON.parse(saved), onToken})`, where `saved` was `JSON.stringify(s)`.
 */
export function resumeStream(options) {
  if (!options.id) throw new TypeError('resumeStream needs the id of a stream');
  return new TokenStream({ ...options, resume: true });
}

const RETRIED = new Set([408, 425, 429, 500, 502, 503, 504, 529]);
/** Faults of the way here: after a proven finish only the usage may be missing. */
const LOST = new Set(['connection-reset', 'truncated-between-events', 'truncated-mid-event', 'stalled', 'http-error']);
const SILENCE_MS = 30000; // twice the gateway's heartbeat
const LINGER_MS = 1000;
const LONGEST_WAIT_MS = 15000;

class TokenStream {
  id; token; position; text;
  #o; #said; #dialect; #begun; #start; #url;
  #tries = 0;
  #reconnects = 0;
  #resumable = false;
  #held = ''; // half of a surrogate pair, until the other half comes
  #over = false;
  #left = new AbortController();
  #leave = () => this.abort();
  #done; #settle;
  #heard = false;
  #queues = new Set();
  #wake = [];

  constructor({ url, id = '', token = '', position = '', text = '', ...o }) {
    this.#url = new URL(url, globalThis.location?.href);
    this.#dialect = o.dialect ?? PATHS.find(([path]) => path.test(this.#url.pathname))?.[1];
    if (this.#dialect && !READERS[this.#dialect]) throw new TypeError(`no dialect is called '${o.dialect}'`);
    if (this.#dialect === 'gemini' && !id && !this.#url.searchParams.has('alt')) this.#url.searchParams.set('alt', 'sse');
    if (o.body && typeof o.body === 'object') {
      if (o.body.stream === false) throw new TypeError('body.stream is off, and this is for streams');
      if (this.#dialect !== 'gemini') o.body = { stream: true, ...o.body };
    }
    this.#o = { resume: true, maxRetries: 3, timeout: 60000, firstTimeout: o.timeout ?? 600000, retryDelay: 500,
      fetch: (...given) => globalThis.fetch(...given), ...o };
    Object.assign(this, { id, token, position, text });
    this.#resumable = Boolean(id);
    this.#start = text.length;
    this.#begun = Boolean(text);
    this.#said = this.#fresh({ late: Boolean(position), reason: o.finishReason });
    this.#done = new Promise((resolve, reject) => { this.#settle = { resolve, reject }; });
    this.#done.catch(() => {}); // told to whoever asks: see #fail
    this.key = new Headers(o.headers).get('idempotency-key') ?? randomKey();
    o.signal?.addEventListener('abort', this.#leave);
    if (o.signal?.aborted) this.abort();
    // Not at once: the caller has no object yet, and a callback may want it.
    Promise.resolve().then(() => this.#run()).catch((bug) => this.#fail(new Fault('internal-error', String(bug), { cause: bug })));
  }

  /** Resolves with {text, finishReason, status, usage, reconnects}; rejects with a StreamingError. */
  get done() {
    this.#heard = true;
    return this.#done;
  }

  /** What `resumeStream` needs, for JSON.stringify. */
  toJSON() {
    const { id, token, position, text } = this;
    return { url: this.#url.href, id, token, position, text, dialect: this.#dialect, finishReason: this.#said.reason };
  }

  /** Leave. Through a gateway the answer goes on for a while, and can be read on. */
  abort() {
    this.#left.abort();
    if (!this.#over) this.#fail(new Fault('cancelled', 'it was left before its end'));
  }

  /** Stop the answer for everybody who reads it; true once the gateway has said so. */
  async stop() {
    if (this.#o.resume && !this.id && !this.#over) { // the head with the id may be on its way
      await new Promise((resolve) => { this.#wake.push(resolve); setTimeout(resolve, 5000); });
    }
    const asked = this.id && this.#o.fetch(this.#streamUrl(), { ...this.#o.init, method: 'DELETE', headers: this.#headers(), keepalive: true });
    this.abort();
    const answer = await Promise.resolve(asked).catch(() => null);
    return Boolean(answer?.ok);
  }

  async *[Symbol.asyncIterator]() {
    this.#heard = true;
    const queue = [this.text.slice(this.#start, this.text.length - this.#held.length)].filter(Boolean);
    this.#queues.add(queue);
    try {
      while (queue.length || !this.#over) {
        if (queue.length) yield queue.splice(0).join('');
        else await new Promise((resolve) => this.#wake.push(resolve));
      }
      await this.#done;
    } finally {
      this.#queues.delete(queue);
      if (!this.#over) this.abort();
    }
  }

  async #run() {
    while (!this.#over) {
      const fault = await this.#attempt();
      if (this.#over) return;
      if (!fault) return this.#complete();
      // Where the gateway has lost the stream before anything of it came, it can begin anew.
      const anew = !this.#begun && this.#o.body !== undefined && (fault.status === 404 || fault.status === 410) && this.#resumable;
      if (anew) {
        this.#resumable = false;
        this.id = this.position = '';
      }
      const goesOn = anew || (!fault.final && (this.#resumable || !this.#begun));
      if (!goesOn || this.#tries >= this.#o.maxRetries) {
        return this.#said.proven && LOST.has(fault.code) ? this.#complete() : this.#fail(fault);
      }
      if (!this.#resumable) this.#said = this.#fresh();
      const backoffMs = Math.min(this.#o.retryDelay * 2 ** this.#tries, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
      const waitMs = fault.waitMs ?? backoffMs;
      this.#tries++;
      this.#reconnects++;
      this.#tell('onReconnect', { attempt: this.#tries, waitMs, position: this.position, resumed: this.#resumable, code: fault.code, status: fault.status ?? 0 });
      await this.#pause(waitMs);
    }
  }

  /** Make one request and read its answer; return why it ended unproven, or null. */
  async #attempt() {
    const connection = new AbortController();
    const { signal } = connection;
    const leave = () => connection.abort();
    this.#left.signal.addEventListener('abort', leave);
    const watch = { byteAt: performance.now(), movedAt: performance.now(), fault: null, timer: 0 };
    this.#watch(watch, connection);
    let lingers = false;
    try {
      const again = this.#resumable;
      const response = again
        ? await this.#o.fetch(this.#streamUrl(), { ...this.#o.init, method: 'GET', cache: 'no-store', headers: this.#headers(), signal })
        : await this.#o.fetch(this.#url.href, { method: 'POST', ...this.#o.init, headers: this.#headers({ first: true }), body: this.#body(), signal });
      if (!response.ok) return await this.#refused(response);
      const decoder = this.#head(response);
      if (decoder instanceof Fault) return decoder;
      const offset = Number(this.position.split('-')[1] ?? 0);
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (this.#over) return null;
        watch.byteAt = performance.now();
        // What a gateway sends is whole frames: one that is left open comes again.
        const frames = !done ? decoder.feed(value) : this.#resumable ? [] : decoder.close();
        for (const frame of frames) {
          if (frame.end !== undefined && this.#resumable) frame.position = `0-${offset + frame.end}`;
          const fault = this.#take(frame, watch);
          // What is left open at the end, and is no JSON, is half a frame.
          if (done && fault?.code === 'malformed-json') return new Fault('truncated-mid-event', 'the body ended inside a frame');
          if (fault) return fault;
          if (this.#over) return null;
        }
        if (this.#said.marked) {
          lingers = this.#said.proven;
          if (lingers) drain(reader);
          return lingers ? null : new Fault('missing-finish', 'the last marker came without a finish', { final: true });
        }
        if (done) return this.#said.proven ? null : this.#unproven();
      }
    } catch (error) {
      if (error instanceof Fault) return error;
      return watch.fault ?? new Fault(this.#begun ? 'connection-reset' : 'connect-failed', 'the connection was lost', { cause: error });
    } finally {
      clearTimeout(watch.timer);
      this.#left.signal.removeEventListener('abort', leave);
      if (lingers) setTimeout(leave, LINGER_MS).unref?.();
      else leave();
    }
  }

  /** End the attempt when nothing moves. Pings feed only the clock that finds dead connections. */
  #watch(watch, connection) {
    const now = performance.now();
    const limit = this.#begun ? this.#o.timeout : this.#o.firstTimeout;
    const silence = this.#resumable ? Math.min(SILENCE_MS, limit / 2) : Infinity;
    const silentIn = watch.byteAt + silence - now;
    const stalledIn = watch.movedAt + limit - now;
    // First the connection: after a laptop slept both are over, and it can be read on.
    if (silentIn <= 0) watch.fault = new Fault('connection-reset', `not a byte for ${silence / 1000} s`);
    else if (stalledIn <= 0) watch.fault = new Fault('stalled', `nothing moved for ${limit / 1000} s`, { final: true });
    if (watch.fault) connection.abort();
    else { // again soon: both limits change with what comes
      const soon = Math.min(silentIn, stalledIn, SILENCE_MS, this.#o.timeout / 2);
      watch.timer = setTimeout(() => this.#watch(watch, connection), soon + 1);
    }
  }

  #fresh(more) {
    const asked = this.#o.body?.n;
    return new Said(Number.isInteger(asked) && asked > 0 ? asked : 1, more);
  }

  #body() {
    const { body } = this.#o;
    return body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  }

  #streamUrl() {
    return new URL(`/streams/${encodeURIComponent(this.id)}`, this.#o.gateway ?? this.#url).href;
  }

  #headers({ first = false } = {}) {
    const headers = new Headers(this.#o.headers);
    if (first) {
      if (!headers.has('content-type')) headers.set('content-type', 'application/json');
      if (this.#o.resume) {
        headers.set('x-unbroken-resume', '1; token');
        headers.set('idempotency-key', this.key);
      }
    } else {
      headers.delete('content-type');
      if (this.token) headers.set('x-unbroken-token', this.token);
    }
    if (this.position && (this.#resumable || first)) headers.set('last-event-id', this.position);
    return headers;
  }

  /** Read the head of an answer; return the decoder of its body. */
  #head(response) {
    const { headers } = response;
    if (this.#o.resume && headers.get('x-unbroken-resume') && headers.get('x-unbroken-stream')) {
      this.#resumable = true;
      this.id = headers.get('x-unbroken-stream');
      this.token = headers.get('x-unbroken-token') ?? this.token;
    }
    this.#changed();
    const type = headers.get('content-type') ?? '';
    if (/ndjson|jsonl|json-seq/.test(type) || (this.#dialect === 'ollama' && !/event-stream/.test(type))) return new NDJSONDecoder();
    if (/html|^application\/json/.test(type)) return new Fault('not-a-stream', `the answer is ${type.split(';')[0]}`, { final: true });
    return new SSEDecoder();
  }

  async #refused(response) {
    const { status, headers } = response;
    let provider = null;
    try { provider = errorIn(await response.json()); } catch { /* not JSON: the status says it */ }
    const said = headers.get('x-should-retry');
    const retryMs = Number(headers.get('retry-after-ms') ?? NaN);
    const retryS = headers.get('retry-after') ?? '';
    const asked = retryMs || (/^[\d.]+$/.test(retryS) ? Number(retryS) * 1000 : Date.parse(retryS) - Date.now());
    const waitMs = asked >= 0 ? asked : null;
    const final = waitMs > this.#o.firstTimeout || !(said ? said === 'true' : RETRIED.has(status));
    const what = this.#resumable ? `could not be read on: ${status}` : `the server answered ${status}`;
    return new Fault('http-error', what, { status, provider, final, waitMs });
  }

  /** Take one frame; return a fault, or nothing. */
  #take(frame, watch) {
    const numbered = this.#resumable && /^\d+-\d+$/.test(frame.position);
    if (numbered && !isAfter(frame.position, this.position)) return null; // we have it
    let text = '';
    let json = null;
    this.#said.moved = false;
    const { data } = frame;
    if (data === '[DONE]') this.#said.marked = true;
    else if (data !== '') {
      try { json = JSON.parse(data); } catch { /* below */ }
      const error = json ? errorIn(json, frame.event) : null;
      if (error) return this.#failedThere(frame, json, error);
      if (json === null || typeof json !== 'object') return new Fault('malformed-json', 'a frame is not a JSON object', { final: true });
      this.#dialect ??= dialectOf(json);
      try {
        text = READERS[this.#dialect](json, this.#said);
      } catch (error) { // `choices: {}` and the like
        return new Fault('malformed-json', 'a frame is not what its dialect says', { final: true, cause: error });
      }
      if (typeof text !== 'string') text = '';
    }
    this.text += text; // the position with it: a callback may write both down
    if (numbered) this.position = frame.position;
    if (this.#said.moved) {
      watch.movedAt = performance.now();
      this.#begun = true;
    }
    if (this.#said.moved || numbered) this.#tries = 0;
    this.#tell('onEvent', { ...frame, json });
    const piece = this.#held + text;
    this.#held = /[\ud800-\udbff]$/.test(piece) ? piece.slice(-1) : '';
    const whole = this.#held ? piece.slice(0, -1) : piece;
    if (whole && !this.#over) this.#say(whole, json);
    const { reason } = this.#said;
    if (reason !== null && statusOf(reason) === 'failed') {
      return new Fault('provider-error', `the answer ended as '${reason.slice(0, 64)}'`, { final: true });
    }
    return null;
  }

  #failedThere(frame, json, provider) {
    this.#tell('onEvent', { ...frame, json });
    const name = [provider.code, provider.type, provider.status].find((each) => /^[\w.-]{1,64}$/.test(each ?? ''));
    return new Fault('provider-error', `an error came inside the stream${name ? ` (${name})` : ''}`, { final: true, provider });
  }

  #say(piece, json) {
    for (const queue of this.#queues) queue.push(piece);
    this.#changed();
    this.#tell('onToken', piece, json);
  }

  #unproven() {
    if (!this.#begun) return new Fault('empty-stream', 'the body ended without content, finish or error');
    return new Fault('truncated-between-events', 'the body ended without a finish');
  }

  #complete() {
    if (this.#held) this.#say(this.#held, null);
    if (this.#over) return;
    this.#over = true;
    this.#changed();
    this.#o.signal?.removeEventListener('abort', this.#leave);
    const { reason, usage } = this.#said;
    const outcome = { text: this.text, finishReason: reason, status: statusOf(reason ?? ''), usage, reconnects: this.#reconnects };
    this.#settle.resolve(outcome);
    this.#tell('onComplete', this.text, outcome);
  }

  #fail(fault) {
    if (this.#over) return;
    this.#over = true;
    this.#o.signal?.removeEventListener('abort', this.#leave);
    const error = new (fault.code === 'stalled' ? StreamTimeoutError : IncompleteStreamError)(fault, this);
    this.#settle.reject(error);
    this.#changed();
    if (fault.code === 'cancelled') return; // who left knows
    this.#tell('onError', error);
    if (!this.#o.onError) setTimeout(() => { if (!this.#heard) Promise.reject(error); }); // nobody asked: not silent
  }

  #tell(name, ...given) {
    try { this.#o[name]?.(...given); } catch (error) { console.error(`unbroken: ${name} threw`, error); }
  }

  #changed() {
    for (const resolve of this.#wake.splice(0)) resolve();
  }

  /** Wait; while the device is offline, until it is not, for as long as a first answer may take. */
  async #pause(ms) {
    const { signal } = this.#left;
    const wait = (limit, event) => new Promise((resolve) => {
      const timer = setTimeout(resolve, limit);
      signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
      if (event) globalThis.addEventListener?.(event, () => { clearTimeout(timer); resolve(); }, { once: true });
    });
    await wait(ms);
    if (globalThis.navigator?.onLine === false && !signal.aborted) await wait(this.#o.firstTimeout, 'online');
  }
}

function isAfter(position, earlier) {
  if (!earlier) return true;
  const [epoch, offset] = position.split('-').map(Number);
  const [epochThen, offsetThen] = earlier.split('-').map(Number);
  return epoch > epochThen || (epoch === epochThen && offset > offsetThen);
}

/** Read what is left, so that the connection can be used again. */
async function drain(reader) {
  try { while (!(await reader.read()).done); } catch { /* the answer was whole */ }
}

function randomKey() {
  const { crypto } = globalThis;
  if (crypto?.randomUUID) return crypto.randomUUID(); // only in secure contexts
  const bytes = crypto?.getRandomValues?.(new Uint8Array(16)) ?? Array.from({ length: 16 }, () => Math.floor(Math.random() * 256));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
