// Through an Unbroken gateway: read on where the connection was lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { resumeStream, stream } from '../../../src/unbroken/gateway/chat/static/unbroken.js';
import { answer, asking, BODIES, bodyOf, bytesOf, Journal, scripted, serving } from './helpers.js';

for (const [dialect, { text }] of Object.entries(BODIES)) {
  test(`${dialect}: cut at any byte, nothing is lost or repeated`, async () => {
    const journal = new Journal(dialect);
    const size = journal.from('').length;
    for (const end of ['reset', 'clean']) {
      for (let cut = 0; cut < size; cut += end === 'reset' ? 1 : 17) {
        const { fetch, calls } = journal.fetch([cut], end);
        let told = '';
        const s = stream(asking(dialect, { fetch, onToken: (piece) => { told += piece; }, headers: { authorization: 'Bearer k' } }));
        const outcome = await s.done;
        assert.equal(outcome.text, text, `cut at ${cut}`);
        assert.equal(told, text, `cut at ${cut}`);
        assert.equal(outcome.status, 'complete');
        assert.equal(outcome.reconnects, calls.length - 1);
        if (calls.length > 1) {
          assert.equal(calls[1].method, 'GET');
          assert.equal(calls[1].url, 'http://gateway.test/streams/s_1');
          assert.equal(calls[1].headers.get('x-unbroken-token'), 't');
          assert.equal(calls[1].headers.get('authorization'), 'Bearer k');
          assert.equal(calls[1].body, undefined);
        }
      }
    }
  });

  test(`${dialect}: saved at any token and read on by another page`, async () => {
    const journal = new Journal(dialect);
    const saves = [];
    const s = stream(asking(dialect, { fetch: journal.fetch([]).fetch, onEvent: () => saves.push(JSON.stringify(s)) }));
    await s.done;
    for (const saved of saves) {
      const state = JSON.parse(saved);
      let told = '';
      const { fetch, calls } = journal.fetch([]);
      const outcome = await resumeStream({ ...state, fetch, maxRetries: 0, onToken: (piece) => { told += piece; } }).done;
      assert.equal(outcome.text, text);
      assert.equal(state.text + told, text);
      assert.equal(calls[0].headers.get('last-event-id'), state.position || null);
    }
    const bare = await resumeStream({ url: 'http://gateway.test/', id: 's_1', token: 't', fetch: journal.fetch([]).fetch }).done;
    assert.equal(bare.text, text);
  });
}

test('a connection that breaks every few hundred bytes is followed to the end', async () => {
  const journal = new Journal('openai-chat');
  const { fetch, calls } = journal.fetch(Array.from({ length: 1000 }, () => 400));
  const outcome = await stream(asking('openai-chat', { fetch, maxRetries: 1 })).done;
  assert.equal(outcome.text, BODIES['openai-chat'].text);
  assert.ok(calls.length > 5);
});

test('frames that came already are not taken twice', async () => {
  const journal = new Journal('openai-chat');
  const all = journal.from('');
  let cut = 1600;
  const fetch = async () => new Response(bodyOf([all.subarray(0, cut)], (cut = 1e9) && 'clean'), { headers: journal.headers() });
  assert.equal((await stream(asking('openai-chat', { fetch })).done).text, BODIES['openai-chat'].text);
});

test('the error of the gateway is a failure, and is not read on', async () => {
  const journal = new Journal('openai-chat');
  const cut = journal.from('').subarray(0, 1600);
  const whole = cut.subarray(0, cut.lastIndexOf('\n\n') + 2);
  const error = bytesOf('data: {"error":{"message":"x","type":"server_error","code":"writer-lost"}}\n\n');
  const { fetch, calls } = scripted(answer([whole, error], { end: 'reset', headers: journal.headers() }));
  const failed = await stream(asking('openai-chat', { fetch })).done.catch((each) => each);
  assert.equal(failed.code, 'provider-error');
  assert.equal(failed.provider.code, 'writer-lost');
  assert.match(failed.message, /\(writer-lost\)/);
  assert.ok(failed.text && BODIES['openai-chat'].text.startsWith(failed.text));
  assert.equal(calls.length, 1);
});

test('what cannot be read on fails with the text: 400, 401, 404, 410; 503 is asked again', async () => {
  for (const status of [400, 401, 403, 404, 410, 503]) {
    const journal = new Journal('openai-chat');
    const { fetch, calls } = scripted(
      answer([journal.from('').subarray(0, 1600)], { end: 'reset', headers: journal.headers() }),
      answer([bytesOf('{}')], { status, headers: { 'retry-after': '0' } }),
    );
    const failed = await stream(asking('openai-chat', { fetch })).done.catch((each) => each);
    assert.equal(failed.code, 'http-error');
    assert.equal(failed.status, status);
    assert.ok(failed.text);
    assert.equal(calls.length, status === 503 ? 4 : 2);
  }
});

test('a stream that is gone before anything of it came is begun anew', async () => {
  const journal = new Journal('openai-chat');
  const { fetch, calls } = scripted(
    answer([], { end: 'reset', headers: journal.headers() }),
    answer([bytesOf('{}')], { status: 404 }),
    answer([journal.from('')], { headers: journal.headers() }),
  );
  assert.equal((await stream(asking('openai-chat', { fetch })).done).text, BODIES['openai-chat'].text);
  assert.deepEqual(calls.map(({ method }) => method), ['POST', 'GET', 'POST']);
});

test('a head that never came: the same POST with the same key', async () => {
  const journal = new Journal('openai-chat');
  const { fetch, calls } = scripted(() => { throw new TypeError('fetch failed'); }, answer([journal.from('')], { headers: journal.headers() }));
  const s = stream(asking('openai-chat', { fetch }));
  assert.equal((await s.done).text, BODIES['openai-chat'].text);
  assert.deepEqual(calls.map(({ method, headers }) => [method, headers.get('idempotency-key')]), [['POST', s.key], ['POST', s.key]]);
  assert.equal(s.id, 's_1');
  assert.equal(s.token, 't');
});

test('a connection that is silent without a heartbeat is read on elsewhere', { timeout: 10000 }, async () => {
  const { fetch, calls } = new Journal('anthropic-messages').fetch([700], 'stall');
  const infos = [];
  const outcome = await stream(asking('anthropic-messages', { fetch, timeout: 200, onReconnect: (info) => infos.push(info) })).done;
  assert.equal(outcome.text, BODIES['anthropic-messages'].text);
  assert.equal(calls.length, 2);
  assert.equal(infos[0].resumed, true);
  assert.match(infos[0].position, /^0-\d+$/);
});

test('over real sockets: resets, a half-open connection, Stop for everybody', { timeout: 30000 }, async (t) => {
  const journal = new Journal('openai-chat');
  const seen = [];
  const url = await serving(t, (request, response) => {
    seen.push(request.method);
    if (request.method === 'DELETE') return response.writeHead(202).end();
    const body = journal.from(request.headers['last-event-id']);
    response.writeHead(200, journal.headers());
    const n = seen.length;
    if (n > 3) return response.end(body);
    response.write(body.subarray(0, 400 * n));
    if (n === 2) return; // silent from here on
    setTimeout(() => response.destroy(), 20);
  });
  const s = stream({ url: `${url}/v1/chat/completions`, body: {}, timeout: 400, retryDelay: 5 });
  let text = '';
  for await (const piece of s) text += piece;
  assert.equal(text, BODIES['openai-chat'].text);
  assert.equal((await s.done).reconnects, 3);

  seen.length = 0;
  const stopped = stream({ url: `${url}/v1/chat/completions`, body: {}, retryDelay: 5 });
  assert.equal(await stopped.stop(), true); // waits for the id
  await assert.rejects(stopped.done, { code: 'cancelled' });
  assert.deepEqual(seen, ['POST', 'DELETE']);
});
