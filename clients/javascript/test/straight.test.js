// Straight to a provider: nothing there can be read on.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { IncompleteStreamError, StreamingError, StreamTimeoutError, stream } from '../../../src/unbroken/gateway/chat/static/unbroken.js';
import { answer, asking, BODIES, bytesOf, scripted } from './helpers.js';

const FINISHES = { 'openai-chat': 'stop', 'openai-responses': 'stop', 'anthropic-messages': 'end_turn', gemini: 'STOP', ollama: 'stop' };
const chat = (delta, more = {}) => bytesOf(`data: ${JSON.stringify({ choices: [{ index: 0, delta, ...more }] })}\n\n`);
const DONE = bytesOf('data: [DONE]\n\n');

const run = async (options) => {
  const told = { tokens: [], errors: [], completed: [], reconnects: [] };
  const s = stream({
    onToken: (text) => told.tokens.push(text), onError: (error) => told.errors.push(error),
    onComplete: (...given) => told.completed.push(given), onReconnect: (info) => told.reconnects.push(info), ...options,
  });
  const outcome = await s.done.catch((error) => error);
  return { s, outcome, told };
};

for (const [dialect, { body, text, type }] of Object.entries(BODIES)) {
  test(`${dialect}: a whole answer`, async () => {
    const { fetch, calls } = scripted(answer([bytesOf(body)], { type }));
    const { s, outcome, told } = await run(asking(dialect, { fetch, headers: { authorization: 'Bearer k' } }));
    assert.equal(outcome.text, text);
    assert.equal(outcome.status, 'complete');
    assert.equal(outcome.finishReason, FINISHES[dialect]);
    assert.ok(outcome.usage);
    assert.equal(told.tokens.join(''), text);
    assert.deepEqual(told.completed, [[text, outcome]]);
    assert.equal(calls[0].headers.get('x-unbroken-resume'), '1; token');
    assert.equal(calls[0].headers.get('idempotency-key'), s.key);
    assert.equal(JSON.parse(calls[0].body).stream, dialect === 'gemini' ? undefined : true);
    assert.equal(calls[0].url.endsWith('alt=sse'), dialect === 'gemini');
  });

  test(`${dialect}: cut at any byte it is whole or fails, and is asked for again only before content`, async () => {
    const bytes = bytesOf(body);
    for (const end of ['clean', 'reset']) {
      for (let cut = 0; cut < bytes.length; cut += end === 'clean' ? 1 : 17) {
        const { fetch, calls } = scripted(answer([bytes.subarray(0, cut)], { type, end }), answer([bytes], { type }));
        const { outcome, told } = await run(asking(dialect, { fetch }));
        const said = told.tokens.join('');
        if (outcome instanceof StreamingError) {
          assert.ok(outcome instanceof IncompleteStreamError);
          assert.match(outcome.code, end === 'clean' ? /^truncated-/ : /^connection-reset$/);
          assert.equal(outcome.text, said);
          assert.ok(text.startsWith(said));
          assert.deepEqual(told.errors, [outcome]);
          assert.deepEqual(told.completed, []);
        } else {
          assert.equal(outcome.text, text, `cut at ${cut}`);
          assert.equal(said, text);
          assert.ok(calls.length === 1 || told.reconnects.length === 1);
        }
        if (calls.length === 2) assert.ok(!told.reconnects[0].resumed);
      }
    }
  });
}

test('the finish proves the end, with and without the last marker, and the marker alone does not', async () => {
  for (const [pieces, end, code] of [
    [[chat({ content: 'Hi' }), chat({}, { finish_reason: 'stop' }), DONE], 'clean', null],
    [[chat({ content: 'Hi' }), chat({}, { finish_reason: 'stop' })], 'clean', null],
    [[chat({ content: 'Hi' }), chat({}, { finish_reason: 'stop' })], 'reset', null],
    [[chat({ content: 'Hi' }), DONE], 'clean', 'missing-finish'],
    [[chat({ content: 'Hi' }), bytesOf('data: [DONE]')], 'clean', 'missing-finish'],
    [[chat({ content: 'Hi' }), bytesOf('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}')], 'clean', null],
    [[chat({ content: 'Hi' }), bytesOf('data: {"choices":[{"delta":{},"finish_')], 'clean', 'truncated-mid-event'],
    [[chat({ content: 'Hi' }), bytesOf('data: {"choices":[]}\n\ndata: }\n\n')], 'clean', 'malformed-json'],
    [[chat({ content: 'Hi' }), bytesOf('data: {"choices":{}}\n\n')], 'clean', 'malformed-json'],
  ]) {
    const { outcome } = await run(asking('openai-chat', { fetch: scripted(answer(pieces, { end })).fetch }));
    assert.equal(outcome.code ?? null, code);
    assert.equal(outcome.text, 'Hi');
  }
});

test('every choice must finish', async () => {
  const other = bytesOf(`data: ${JSON.stringify({ choices: [{ index: 1, delta: { content: 'x' } }] })}\n\n`);
  const pieces = [chat({ content: 'Hi' }), other, chat({}, { finish_reason: 'stop' }), DONE];
  const { outcome } = await run(asking('openai-chat', { fetch: scripted(answer(pieces)).fetch }));
  assert.equal(outcome.code, 'missing-finish');
  assert.equal(outcome.text, 'Hi');
});

test('limits, filters and failures are told apart', async () => {
  for (const [reason, status] of [['length', 'limited'], ['content_filter', 'filtered'], ['tool_calls', 'complete'], ['error', null]]) {
    const pieces = [chat({ content: 'Hi' }), chat({}, { finish_reason: reason }), DONE];
    const { outcome } = await run(asking('openai-chat', { fetch: scripted(answer(pieces)).fetch }));
    if (status) assert.equal(outcome.status, status);
    else assert.equal(outcome.code, 'provider-error');
  }
});

test('an error event is a failure, in any shape, and is not asked for again', async () => {
  for (const [dialect, frame] of [
    ['openai-chat', 'data: {"error":{"message":"secret","code":"server_error"}}\n\n'],
    ['openai-responses', 'event: error\ndata: {"type":"error","code":"server_error","message":"secret"}\n\n'],
    ['openai-responses', 'data: {"type":"response.failed","response":{"error":{"code":"server_error","message":"secret"}}}\n\n'],
    ['anthropic-messages', 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"secret"}}\n\n'],
    ['gemini', 'data: {"error":{"code":503,"status":"UNAVAILABLE","message":"secret"}}\n\n'],
    ['ollama', '{"error":"secret"}\n'],
  ]) {
    const { fetch, calls } = scripted(answer([bytesOf(frame)], { type: BODIES[dialect].type, end: 'reset' }));
    const { outcome, told } = await run(asking(dialect, { fetch }));
    assert.equal(outcome.code, 'provider-error', frame);
    assert.equal(outcome.provider.message, 'secret');
    assert.doesNotMatch(outcome.message, /secret/);
    assert.equal(calls.length, 1);
    assert.deepEqual(told.completed, []);
  }
});

test('before the content: refused, lost and empty answers are tried again, up to maxRetries', async () => {
  const bad = answer([bytesOf('{}')], { status: 503, headers: { 'retry-after-ms': '1' } });
  const lost = () => { throw new TypeError('fetch failed'); };
  const empty = answer([chat({ role: 'assistant', content: '' })]);
  const whole = answer([chat({ content: 'Hi' }), chat({}, { finish_reason: 'stop' })]);
  const { outcome, told } = await run(asking('openai-chat', { fetch: scripted(bad, lost, empty, whole).fetch }));
  assert.equal(outcome.text, 'Hi');
  assert.equal(outcome.reconnects, 3);
  assert.deepEqual(told.reconnects.map(({ code }) => code), ['http-error', 'connect-failed', 'empty-stream']);
  assert.equal(told.reconnects[0].waitMs, 1);
  const { fetch, calls } = scripted(bad);
  const failed = await run(asking('openai-chat', { fetch, maxRetries: 2 }));
  assert.equal(failed.outcome.status, 503);
  assert.equal(calls.length, 3);
  assert.equal(new Set(calls.map(({ headers }) => headers.get('idempotency-key'))).size, 1);
});

test('a refusal that will not change is told at once', async () => {
  for (const [status, headers] of [[400, {}], [401, {}], [429, { 'x-should-retry': 'false' }], [503, { 'retry-after': '86400' }]]) {
    const { fetch, calls } = scripted(answer([bytesOf('{"error":{"message":"no","code":"bad"}}')], { status, headers, type: 'application/json' }));
    const { outcome } = await run(asking('openai-chat', { fetch }));
    assert.equal(outcome.code, 'http-error');
    assert.equal(outcome.status, status);
    assert.equal(outcome.provider.code, 'bad');
    assert.equal(calls.length, 1);
  }
});

test('a page or a JSON answer is no stream', async () => {
  for (const type of ['text/html', 'application/json; charset=utf-8']) {
    const { outcome } = await run(asking('openai-chat', { fetch: scripted(answer([bytesOf('<p>')], { type })).fetch }));
    assert.equal(outcome.code, 'not-a-stream');
  }
});

test('pings, comments, roles and empty deltas do not feed the clock', { timeout: 10000 }, async () => {
  const endless = (frame) => ({ signal }) => new Response(new ReadableStream({
    async start(controller) {
      controller.enqueue(chat({ content: 'Hi' }));
      while (!signal.aborted) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        if (!signal.aborted) controller.enqueue(bytesOf(frame));
      }
      controller.error(signal.reason);
    },
  }), { headers: { 'content-type': 'text/event-stream' } });
  for (const [dialect, frame] of [
    ['openai-chat', ': hb\n\n'], ['openai-chat', 'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'],
    ['anthropic-messages', 'event: ping\ndata: {"type":"ping"}\n\n'], ['openai-responses', 'data: {"type":"response.in_progress","response":{}}\n\n'],
  ]) {
    const { outcome } = await run(asking(dialect, { fetch: scripted(endless(frame)).fetch, timeout: 120 }));
    assert.ok(outcome instanceof StreamTimeoutError, frame);
    assert.equal(outcome.code, 'stalled');
  }
});

test('the surrogate pair that two deltas share is one token', async () => {
  const half = (escape) => bytesOf(`data: {"choices":[{"delta":{"content":"${escape}"}}]}\n\n`);
  const pieces = [half('a\\ud83d'), half('\\uddfc'), chat({}, { finish_reason: 'stop' })];
  const { told } = await run(asking('openai-chat', { fetch: scripted(answer(pieces)).fetch }));
  assert.deepEqual(told.tokens, ['a', '🗼']);
});

test('iterating: pieces, a failure raised, and leaving', async () => {
  const pieces = [chat({ content: 'A' }), chat({ content: 'B' }), chat({}, { finish_reason: 'stop' })];
  let text = '';
  for await (const piece of stream(asking('openai-chat', { fetch: scripted(answer(pieces)).fetch }))) text += piece;
  assert.equal(text, 'AB');
  await assert.rejects(async () => {
    for await (const piece of stream(asking('openai-chat', { fetch: scripted(answer(pieces.slice(0, 1))).fetch }))) text += piece;
  }, IncompleteStreamError);
  assert.equal(text, 'ABA');
  const left = stream(asking('openai-chat', { fetch: scripted(answer(pieces.slice(0, 1), { end: 'stall' })).fetch }));
  for await (const piece of left) { assert.equal(piece, 'A'); break; }
  await assert.rejects(left.done, { code: 'cancelled' });
});

test('abort: by the stream, by a signal, and before it began; onError is for failures', async () => {
  const errors = [];
  const stalled = () => asking('openai-chat', { fetch: scripted(answer([chat({ content: 'A' })], { end: 'stall' })).fetch, onError: (error) => errors.push(error) });
  const one = stream({ ...stalled(), onToken: () => one.abort() });
  await assert.rejects(one.done, { name: 'IncompleteStreamError', code: 'cancelled', text: 'A' });
  const control = new AbortController();
  const two = stream({ ...stalled(), signal: control.signal, onToken: () => control.abort() });
  await assert.rejects(two.done, { code: 'cancelled', text: 'A' });
  await assert.rejects(stream({ ...stalled(), signal: AbortSignal.abort() }).done, { code: 'cancelled', text: '' });
  assert.deepEqual(errors, []);
});

test('a callback that throws does not end the stream', async (t) => {
  t.mock.method(console, 'error', () => {});
  const pieces = [chat({ content: 'A' }), chat({ content: 'B' }), chat({}, { finish_reason: 'stop' })];
  const { outcome } = await run(asking('openai-chat', { fetch: scripted(answer(pieces)).fetch, onToken: () => { throw new Error('mine'); } }));
  assert.equal(outcome.text, 'AB');
  assert.equal(console.error.mock.callCount(), 2);
});

test('resume: false sends nothing of ours, for providers whose CORS rules refuse it', async () => {
  const { fetch, calls } = scripted(answer([chat({ content: 'A' }), chat({}, { finish_reason: 'stop' })]));
  await run(asking('openai-chat', { fetch, resume: false }));
  assert.deepEqual([...calls[0].headers.keys()], ['content-type']);
});

test('what does not go together is told', () => {
  assert.throws(() => stream({ url: 'http://h/v1/x', dialect: 'latin' }), /no dialect is called 'latin'/);
  assert.throws(() => stream({ url: 'http://h/v1/chat/completions', body: { stream: false } }), /body.stream is off/);
});
