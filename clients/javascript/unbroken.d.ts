/** The API that a request speaks; told from its path, else from the first frame. */
export type Dialect = 'openai-chat' | 'openai-responses' | 'anthropic-messages' | 'gemini' | 'ollama';

/** How an answer ended whose end is proven. */
export type Status = 'complete' | 'limited' | 'filtered' | 'paused';

export interface Outcome {
  text: string;
  /** In the provider's own words; null where the stream was read from behind it. */
  finishReason: string | null;
  status: Status;
  /** The provider's token counts, as it sent them. */
  usage: Record<string, unknown> | null;
  /** Further requests that were made. */
  reconnects: number;
}

export interface Reconnect {
  /** How many tries there were in a row without anything new. */
  attempt: number;
  waitMs: number;
  position: string;
  /** It is read on; false: the request is sent again, since nothing of the answer had come. */
  resumed: boolean;
  /** What broke, as `StreamingError.code`. */
  code: string;
  /** The HTTP status that refused, or 0. */
  status: number;
}

export interface Frame {
  event: string;
  data: string;
  /** The last event id in force (WHATWG). */
  id: string;
  /** The id in this very frame, or ''. */
  position: string;
  /** NDJSON: how many bytes came up to the end of the line. */
  end?: number;
}

export interface EventFrame extends Frame {
  /** The data as JSON, or null (`[DONE]`). */
  json: any;
}

export interface ReadOptions {
  /** A further piece of the answer's text (of the first choice), and the event that brought it. */
  onToken?(text: string, event: any): void;
  /** The stream failed; once, and not where you left it yourself. */
  onError?(error: StreamingError): void;
  /** The end is proven. */
  onComplete?(text: string, outcome: Outcome): void;
  onReconnect?(info: Reconnect): void;
  /** Every frame, before its text is told. */
  onEvent?(frame: EventFrame): void;
  /** Tries in a row that bring nothing new; 3. */
  maxRetries?: number;
  /** Longest time without progress, in ms; 60,000. Pings are no progress. */
  timeout?: number;
  /** The same before the first content, where reasoning models are silent for minutes; `timeout` if that is given, else 600,000. */
  firstTimeout?: number;
  /** The first pause before a further try, in ms, doubled each time up to 15 s, less up to a half; 500. */
  retryDelay?: number;
  /** Leaves the stream when it aborts. */
  signal?: AbortSignal;
  headers?: HeadersInit;
  dialect?: Dialect;
  /** Where `/streams/` is, if not at the root of `url`'s host. */
  gateway?: string | URL;
  /** Further fields for `fetch`, such as `credentials`. */
  init?: RequestInit;
  fetch?: typeof fetch;
}

export interface StreamOptions extends ReadOptions {
  /** The whole URL of the request, such as `/v1/chat/completions`. */
  url: string | URL;
  /** An object is sent as JSON with `stream: true`; a string as it is. */
  body?: Record<string, unknown> | string;
  /** Ask for a stream that can be read on; true. False sends no header of ours, for providers whose CORS rules refuse them. */
  resume?: boolean;
}

/** What identifies a stream for whoever reads on: the JSON of a `TokenStream`. */
export interface SavedStream {
  url: string | URL;
  id: string;
  token?: string;
  position?: string;
  text?: string;
  dialect?: Dialect;
  finishReason?: string | null;
}

export interface TokenStream extends AsyncIterable<string> {
  /** The stream's id at the gateway; '' where it cannot be read on. */
  readonly id: string;
  /** Lets whoever has it read and stop this one stream. Keep it out of URLs. */
  readonly token: string;
  /** The place after the last event that was taken; `text` is what came up to it. */
  readonly position: string;
  readonly text: string;
  /** The idempotency key of the request. */
  readonly key: string;
  /** Resolves at a proven end, else rejects with a `StreamingError`. */
  readonly done: Promise<Outcome>;
  /** Leave: through a gateway the answer goes on for a while, and can be read on. */
  abort(): void;
  /** Stop the answer for everybody; resolves with whether the gateway confirmed it. */
  stop(): Promise<boolean>;
  toJSON(): SavedStream;
}

export function stream(options: StreamOptions): TokenStream;
export function resumeStream(options: SavedStream & ReadOptions): TokenStream;

export class StreamingError extends Error {
  /** `connection-reset`, `truncated-between-events`, `truncated-mid-event`, `missing-finish`, `empty-stream`, `not-a-stream`, `malformed-json`, `oversized-event`, `provider-error`, `stalled`, `http-error`, `connect-failed`, `cancelled`. */
  readonly code: string;
  /** What was received: not a whole answer. */
  readonly text: string;
  /** The HTTP status, or 0. */
  readonly status: number;
  /** The provider's own error object, or null. It may quote the prompt. */
  readonly provider: any;
  readonly id: string;
  readonly position: string;
}
export class IncompleteStreamError extends StreamingError {}
export class StreamTimeoutError extends StreamingError {}

/** Server-sent events, however the bytes are cut. */
export class SSEDecoder {
  feed(bytes: Uint8Array | string): Frame[];
  close(): Frame[];
}
/** One JSON value a line. */
export class NDJSONDecoder {
  feed(bytes: Uint8Array): Frame[];
  close(): Frame[];
}
