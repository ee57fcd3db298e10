// Against a real gateway in front of the lab's model; tests/clients starts both and says where.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { resumeStream, stream } from '../../../src/unbroken/gateway/chat/static/unbroken.js';

const { UNBROKEN_TEST_GATEWAY: gateway, UNBROKEN_TEST_WORDS: words } = process.env;
const skip = gateway ? false : 'UNBROKEN_TEST_GATEWAY names no gateway';
const messages = [{ role: 'user', content: 'Go' }];
const ASKS = {
  'openai-chat': ['/v1/chat/completions', { messages, stream_options: { include_usage: true } }],
  'openai-responses': ['/v1/responses', { input: 'Go', store: false }],
  'anthropic-messages': ['/v1/messages', { messages, max_tokens: 4000 }],
  gemini: ['/v1beta/models/MODEL:streamGenerateContent', { contents: [{ role: 'user', parts: [{ text: 'Go' }] }] }],
  ollama: ['/api/chat', { messages }],
};

let asked = 0;
function asking(dialect, plan = '') {
  const [path, body] = ASKS[dialect];
  const model = `lab/${plan};id=js${process.pid}-${++asked}`;
  return {
    url: gateway + path.replace('MODEL', encodeURIComponent(model)), retryDelay: 5,
    body: dialect === 'gemini' ? body : { model, ...body },
    headers: { authorization: 'Bearer sk-test', 'x-api-key': 'sk-test', 'x-goog-api-key': 'sk-test' },
  };
}

/** Break the first connections after so many bytes. */
function cutting(...cuts) {
  const methods = [];
  const cut = async (url, { signal, ...init }) => {
    methods.push(init.method);
    const control = new AbortController();
    signal?.addEventListener('abort', () => control.abort());
    const response = await fetch(url, { ...init, signal: control.signal });
    let left = cuts.shift() ?? Infinity;
    if (left === Infinity) return response;
    const reader = response.body.getReader();
    const body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        if (value.length < left) { left -= value.length; return controller.enqueue(value); }
        if (left) controller.enqueue(value.subarray(0, left));
        left = 0;
        control.abort();
        controller.error(new TypeError('terminated'));
      },
    }, { highWaterMark: 0 });
    return new Response(body, { status: response.status, headers: response.headers });
  };
  return { fetch: cut, methods };
}

for (const dialect of Object.keys(ASKS)) {
  test(`${dialect}: the client's own cuts and the provider's are both made good`, { skip, timeout: 60000 }, async () => {
    for (const plan of ['', 'cut.rst@0.5']) {
      const { fetch: cut, methods } = cutting(1500, 2000, 700);
      const s = stream({ ...asking(dialect, plan), fetch: cut });
      let told = '';
      for await (const piece of s) told += piece;
      const outcome = await s.done;
      assert.equal(told, outcome.text);
      assert.equal(told, words);
      assert.equal(outcome.status, 'complete');
      assert.deepEqual(methods.slice(0, 2), ['POST', 'GET']);
      assert.match(s.position, /^0-\d+$/);
    }
  });

  test(`${dialect}: another page reads on, and reads again after the end`, { skip, timeout: 60000 }, async () => {
    const { fetch: cut } = cutting(1800);
    const first = stream({ ...asking(dialect), fetch: cut, maxRetries: 0 });
    const error = await first.done.catch((each) => each);
    assert.equal(error.code, 'connection-reset');
    const saved = JSON.parse(JSON.stringify(first));
    assert.ok(saved.token);
    const second = await resumeStream(saved).done; // with the token alone: no key
    assert.equal(second.text, words);
    const { url, id, token } = saved;
    assert.equal((await resumeStream({ url, id, token }).done).text, words);
  });
}

test('stop: for everybody', { skip, timeout: 60000 }, async () => {
  const s = stream({ ...asking('openai-chat', 'stall@20t'), onToken: () => {} });
  for await (const piece of s) { if (piece) break; }
  assert.ok(s.id);
  assert.equal(await s.stop(), true);
  const error = await resumeStream({ url: s.toJSON().url, id: s.id, token: s.token, retryDelay: 1 }).done.catch((each) => each);
  assert.ok(error instanceof Error, 'a stopped stream has no end');
});

test('an unknown stream, and a wrong token', { skip, timeout: 60000 }, async () => {
  const missing = await resumeStream({ url: gateway, id: 's_none', token: 'x' }).done.catch((each) => each);
  assert.ok([401, 403, 404].includes(missing.status), missing.message);
});
