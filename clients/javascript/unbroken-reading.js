/**
 * What `unbroken.js` reads: bytes to frames (SSE, NDJSON), and frames to text, an end, or an error,
 * in each provider's words. No network and no clock here.
 */

/** Why an attempt ended; `final`: another would not help. */
export class Fault {
  constructor(code, detail, more = {}) {
    Object.assign(this, { code, detail, final: false, waitMs: null }, more);
  }
}

// Decoders ------------------------------------------------------------------------------------

const MAX_FRAME = 32 * 1024 * 1024;

/** Server-sent events as the WHATWG has them, however the bytes are cut. */
export class SSEDecoder {
  #utf8 = new TextDecoder(); // which drops a BOM, and keeps half a character for the next read
  #rest = '';
  #skipLF = false; // the last read ended in CR: an LF now is the same line end
  #event = '';
  #data = [];
  #size = 0;
  #id = '';
  #position = '';

  /** Return the frames that are whole now. `position` is the id in the block itself. */
  feed(bytes) {
    return this.#text(typeof bytes === 'string' ? bytes : this.#utf8.decode(bytes, { stream: true }));
  }

  /** Return the frame that the body left open: what WHATWG drops and some servers mean. */
  close() {
    return [...this.#text(this.#utf8.decode()), ...(this.#rest || this.#data.length ? this.#text('\n\n') : [])];
  }

  #text(text) {
    const frames = [];
    if (!text) return frames;
    if (this.#skipLF && text[0] === '\n') text = text.slice(1);
    let from = 0;
    for (const end of text.matchAll(/\r\n|\r|\n/g)) {
      this.#line(this.#rest + text.slice(from, end.index), frames);
      this.#rest = '';
      from = end.index + end[0].length;
    }
    this.#rest += text.slice(from);
    this.#skipLF = text.endsWith('\r');
    if (this.#size + this.#rest.length > MAX_FRAME) throw new Fault('oversized-event', `a frame is larger than ${MAX_FRAME} characters`, { final: true });
    return frames;
  }

  #line(line, frames) {
    if (line === '') {
      if (this.#data.length) {
        frames.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id, position: this.#position });
      }
      this.#event = this.#position = '';
      this.#data = [];
      this.#size = 0;
      return;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon); // '' for a comment
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#size += this.#data.push(value) && value.length;
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = this.#position = value;
  }
}

/** One JSON value a line. `end` is how many bytes came up to the line's end. */
export class NDJSONDecoder {
  #utf8 = new TextDecoder();
  #pieces = [];
  #size = 0;
  #end = 0;

  feed(bytes) {
    const frames = [];
    let from = 0;
    for (let at; (at = bytes.indexOf(10, from)) >= 0; from = at + 1) {
      this.#pieces.push(bytes.subarray(from, at + 1));
      this.#line(frames);
    }
    if (from < bytes.length) {
      this.#size += bytes.length - from;
      this.#pieces.push(bytes.slice(from));
    }
    if (this.#size > MAX_FRAME) throw new Fault('oversized-event', `a line is larger than ${MAX_FRAME} bytes`, { final: true });
    return frames;
  }

  close() {
    const frames = [];
    if (this.#pieces.length) this.#line(frames);
    return frames;
  }

  #line(frames) {
    const line = new Uint8Array(this.#pieces.reduce((sum, piece) => sum + piece.length, 0));
    this.#pieces.reduce((at, piece) => (line.set(piece, at), at + piece.length), 0);
    this.#pieces = [];
    this.#size = 0;
    let own = 0;
    while (line[own] === 32) own++; // spaces before an object are the gateway's heartbeats
    this.#end += line.length - own;
    const data = this.#utf8.decode(line.subarray(own)).trim();
    if (data) frames.push({ event: 'message', data, id: '', position: '', end: this.#end });
  }
}

// Dialects ------------------------------------------------------------------------------------
// Each reader takes one payload, notes in `said` what is proven, and returns the text of the first
// choice; `said.moved` says that content moved: a ping, a role or an empty delta is no progress.

export const READERS = {
  'openai-chat'(json, said) {
    let text = '';
    for (const choice of json.choices ?? []) {
      const { index = 0, finish_reason: reason } = choice;
      const delta = choice.delta ?? {};
      said.opened.add(index);
      const parts = Array.isArray(delta.content) ? delta.content.map((part) => part.text ?? '').join('') : delta.content;
      const piece = parts || choice.text || '';
      if (!index) text += piece;
      if (piece || reason || delta.refusal || delta.reasoning_content || delta.reasoning || delta.tool_calls?.length ||
        delta.function_call || delta.audio || Array.isArray(delta.content)) said.moved = true;
      if (reason) said.finish(reason, index);
    }
    said.usage = json.usage ?? json.x_groq?.usage ?? said.usage;
    return text;
  },
  'openai-responses'(json, said) {
    const { type = '', response } = json;
    if (/\.delta$/.test(type) ? json.delta : /^response\.(output_item|content_part)\./.test(type)) said.moved = true;
    if (/^response\.(completed|incomplete)$/.test(type)) {
      said.finish(response?.incomplete_details?.reason ?? (type === 'response.completed' ? 'stop' : 'length'));
      said.marked = said.moved = true;
    }
    said.usage = response?.usage ?? said.usage;
    return type === 'response.output_text.delta' ? json.delta ?? '' : '';
  },
  'anthropic-messages'(json, said) {
    const { type, delta = {} } = json;
    if (delta.text || delta.thinking || delta.partial_json || delta.signature || delta.citation || delta.stop_reason ||
      type === 'content_block_start' || type === 'content_block_stop') said.moved = true;
    if (type === 'message_delta' && delta.stop_reason) said.finish(delta.stop_reason);
    if (type === 'message_stop') said.marked = true;
    const usage = json.message?.usage ?? json.usage;
    if (usage) said.usage = { ...said.usage, ...usage };
    if (type === 'content_block_start') return json.content_block?.text ?? '';
    return type === 'content_block_delta' ? delta.text ?? '' : '';
  },
  gemini(json, said) {
    let text = '';
    for (const { index = 0, content, finishReason, safetyRatings } of json.candidates ?? []) {
      said.opened.add(index);
      for (const part of content?.parts ?? []) {
        if (part.text && !part.thought && !index) text += part.text;
        const { thought, thoughtSignature, ...own } = part;
        if (part.text === '' && Object.keys(own).length === 1) continue;
        said.moved = said.content = true;
        said.finishes.delete(index); // content may follow a finish: then another must come
        said.serving = Boolean(part.executableCode || part.toolCall || part.codeExecutionResult || part.toolResponse);
      }
      if (!finishReason || finishReason === 'FINISH_REASON_UNSPECIFIED') continue;
      // Some services stamp STOP on frames that end nothing: without a count it proves little.
      const stamped = json.usageMetadata?.totalTokenCount == null && (safetyRatings || !said.content);
      if (finishReason !== 'STOP' || !(said.serving || stamped)) said.finish(finishReason, index);
      said.moved = true;
    }
    if (json.promptFeedback?.blockReason) said.finish(`prompt:${json.promptFeedback.blockReason}`);
    said.usage = json.usageMetadata ?? said.usage;
    return text;
  },
  ollama(json, said) {
    const message = json.message ?? {};
    const text = message.content || json.response || '';
    if (text || message.thinking || json.thinking || message.tool_calls?.length || message.images || json.image) said.moved = true;
    if (json.done) {
      if (json.done_reason) said.finish(json.done_reason); // without one its runner was lost
      said.marked = said.moved = true;
      said.usage = { prompt_eval_count: json.prompt_eval_count, eval_count: json.eval_count };
    }
    return text;
  },
};

export const PATHS = [[/\/messages$/, 'anthropic-messages'], [/\/responses$/, 'openai-responses'], [/:streamGenerateContent$/, 'gemini'],
  [/\/api\/(chat|generate)$/, 'ollama'], [/\/completions$/, 'openai-chat']];

export function dialectOf(json) {
  if (json.candidates || json.promptFeedback) return 'gemini';
  if (String(json.type).startsWith('response.')) return 'openai-responses';
  if (/^(message_|content_block_|ping$)/.test(json.type)) return 'anthropic-messages';
  return 'done' in json ? 'ollama' : 'openai-chat';
}

/** Return the error in a payload, whatever the provider's shape of it, or null. */
export function errorIn(json, event) {
  const value = Array.isArray(json) && json.length === 1 ? json[0] : json;
  if (value?.type === 'response.failed') return value.response?.error ?? value;
  if (value?.error && typeof value.error === 'object') return value.error;
  if (typeof value?.error === 'string' && value.error) return { message: value.error, type: value.error_type, code: value.code };
  const keys = Object.keys(value ?? {});
  return event === 'error' || value?.type === 'error' || value?.object === 'error' || (keys.length === 1 && keys[0] === 'detail') ? value : null;
}

/** How an answer ended whose finish has this reason, in any provider's words. */
export function statusOf(reason) {
  if (/^(length|max_(output_)?tokens|model_length|model_context_window_exceeded)$/i.test(reason)) return 'limited';
  if (/^(pause_turn|continuation)$/i.test(reason)) return 'paused';
  if (/^prompt:|filter|refusal|safety|recitation|^(language|blocklist|prohibited_content|spii|model_armor|escalation|image_\w+)$/i.test(reason)) return 'filtered';
  if (/^(error|abort|insufficient_system_resource|malformed_\w+|unexpected_tool_call|too_many_tool_calls|missing_thought_signature|other|no_image|cancelled)$/i.test(reason)) return 'failed';
  return 'complete';
}

/** What one answer has said of itself. */
export class Said {
  constructor(expected, { late = false, reason = null } = {}) {
    Object.assign(this, { expected, late, opened: new Set(), finishes: new Map(), marked: false, moved: false, content: false, serving: false, usage: null });
    if (reason) this.finish(reason);
  }
  finish(reason, index = 0) { this.finishes.set(index, String(reason)); }
  get reason() { return this.finishes.get(0) ?? this.finishes.values().next().value ?? null; }
  /** Every choice finished; or, read from its middle on, the last marker came. */
  get proven() {
    const finished = this.finishes.size >= this.expected && [...this.opened].every((index) => this.finishes.has(index));
    return finished || (this.late && this.marked);
  }
}
