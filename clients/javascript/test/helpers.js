// What the tests share: bodies of each dialect, a body that is cut, and a gateway of a few lines.
import { readFileSync } from 'node:fs';
import http from 'node:http';

/** {dialect: {path, type, text, body}}; made by tests/clients, in step with the Python tests. */
export const BODIES = JSON.parse(readFileSync(new URL('bodies.json', import.meta.url), 'utf8'));

export const bytesOf = (text) => new TextEncoder().encode(text);

/** A body that gives pieces, and then ends: 'clean', 'reset' or 'stall'. */
export function bodyOf(pieces, end = 'clean', signal) {
  const queue = [...pieces];
  return new ReadableStream({
    start(controller) {
      signal?.addEventListener('abort', () => { try { controller.error(signal.reason); } catch { /* over */ } });
    },
    pull(controller) {
      if (queue.length) controller.enqueue(queue.shift());
      else if (end === 'clean') controller.close();
      else if (end === 'reset') controller.error(new TypeError('terminated'));
      else return new Promise(() => {});
    },
  });
}

/** A fetch that is answered from a list of functions, one a request; `calls` has the requests. */
export function scripted(...answers) {
  const calls = [];
  const fetch = async (url, init) => {
    calls.push({ url, method: init.method, headers: new Headers(init.headers), body: init.body });
    const answer = answers[Math.min(calls.length, answers.length) - 1];
    return answer({ url, init, signal: init.signal, n: calls.length });
  };
  return { fetch, calls };
}

export const answer = (pieces, { type = 'text/event-stream', end, status = 200, headers = {} } = {}) => ({ signal }) =>
  new Response(bodyOf(pieces, end, signal), { status, headers: { 'content-type': type, ...headers } });

/** The journal of one stream, as the protocol has it: positions, ids on blocks, reading on. */
export class Journal {
  constructor(dialect) {
    const { body, type } = BODIES[dialect];
    this.ndjson = type.includes('ndjson');
    this.type = type;
    this.blocks = body.split(this.ndjson ? /(?<=\n)/ : /(?<=\n\n|\r\n\r\n)/).map(bytesOf);
    this.heartbeat = this.ndjson ? ' ' : ': hb\n';
  }

  /** Return the body from a position on, or a status. */
  from(position) {
    let at = 0;
    const pieces = [];
    const wanted = position ? Number(/^0-(\d+)$/.exec(position)?.[1] ?? -1) : 0;
    let known = wanted === 0;
    for (const block of this.blocks) {
      at += block.length;
      const id = this.ndjson || !/^data/m.test(new TextDecoder().decode(block)) ? '' : `id: 0-${at}\n`;
      if (at > wanted) pieces.push(Buffer.concat([bytesOf(pieces.length % 2 ? this.heartbeat : ''), bytesOf(id), block]));
      known ||= at === wanted;
    }
    return known ? Buffer.concat(pieces) : 400;
  }

  headers() {
    return { 'content-type': this.type, 'x-unbroken-resume': '1', 'x-unbroken-stream': 's_1', 'x-unbroken-token': 't' };
  }

  /** A fetch whose nth connection breaks after `cuts[n]` bytes; one more than `cuts` is whole. */
  fetch(cuts, end = 'reset') {
    return scripted(({ init, signal, n }) => {
      const body = this.from(new Headers(init.headers).get('last-event-id'));
      if (body === 400) return new Response('{}', { status: 400 });
      const cut = cuts[n - 1];
      const pieces = cut === undefined ? [body] : [body.subarray(0, cut)];
      return new Response(bodyOf(pieces, cut === undefined ? 'clean' : end, signal), { headers: this.headers() });
    });
  }
}

/** An HTTP server on a free port of loopback. */
export async function serving(t, handler) {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Options of a request in a dialect, which waits for nothing. */
export const asking = (dialect, more = {}) => ({
  url: `http://gateway.test${BODIES[dialect].path}`, body: { model: 'm' }, retryDelay: 0, ...more,
});
