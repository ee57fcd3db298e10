import assert from 'node:assert/strict';
import { test } from 'node:test';

import { NDJSONDecoder, SSEDecoder } from '../../../src/unbroken/gateway/chat/static/unbroken.js';
import { BODIES, bytesOf } from './helpers.js';

const message = (data, more = {}) => ({ event: 'message', data, id: '', position: '', ...more });
const SSE = [
  ['LF', 'data: a\n\n', [message('a')]],
  ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', [message('a'), message('b')]],
  ['CR', 'data: a\r\rdata: b\r\r', [message('a'), message('b')]],
  ['mixed ends', 'data: a\r\ndata: b\n\rdata: c\r\r\n', [message('a\nb'), message('c')]],
  ['a BOM', '\ufeffdata: a\n\n', [message('a')]],
  ['only the first BOM', '\ufeff\ufeffdata: a\n\ndata: b\n\n', [message('b')]],
  ['UTF-8', 'data: é灯🗼\n\n', [message('é灯🗼')]],
  ['comments', ': hb\n\ndata: a\n: between\ndata: b\n\n:\n', [message('a\nb')]],
  ['data in lines', 'data: a\ndata\ndata:  b\n\n', [message('a\n\n b')]],
  ['one space goes', 'data:a\n\ndata:  b\n\n', [message('a'), message(' b')]],
  ['a name', 'event: x\ndata: a\n\ndata: b\n\n', [message('a', { event: 'x' }), message('b')]],
  ['no data, no frame', 'event: x\nid: 7\n\ndata: a\n\n', [message('a', { id: '7' })]],
  ['an id stays in force', 'id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n',
    [message('a', { id: '7', position: '7' }), message('b', { id: '7' }), message('c')]],
  ['NUL in an id', 'id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n', [message('a', { id: '7', position: '7' }), message('b', { id: '7' })]],
  ['unknown fields', 'foo: x\ndatax: y\n data: z\ndata: a\n\n', [message('a')]],
  ['an open frame is none', 'data: a\n\ndata: b\n', [message('a')]],
];

const cuts = function* (bytes) {
  for (let cut = 0; cut <= bytes.length; cut++) yield [bytes.subarray(0, cut), bytes.subarray(cut)];
  yield Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
};

for (const [name, text, expected] of SSE) {
  test(`SSE: ${name}, over any cut`, () => {
    for (const pieces of cuts(bytesOf(text))) {
      const decoder = new SSEDecoder();
      assert.deepEqual(pieces.flatMap((piece) => decoder.feed(piece)), expected);
    }
  });
}

test('SSE: close gives the frame that was left open', () => {
  for (const [open, expected] of [['data: a', ['a']], ['data: a\r', ['a']], ['data: a\ndata: b\n', ['a\nb']], ['data: a\n\n', []], [': x', []]]) {
    const decoder = new SSEDecoder();
    const before = decoder.feed(bytesOf(open));
    assert.deepEqual(decoder.close().map(({ data }) => data), expected, JSON.stringify(open));
    assert.equal(before.length, open.endsWith('\n\n') ? 1 : 0);
  }
});

test('SSE: bytes that are no UTF-8 become U+FFFD', () => {
  const decoder = new SSEDecoder();
  const bad = Uint8Array.from([...bytesOf('data: a'), 0xff, ...bytesOf('b\n\n')]);
  assert.equal(decoder.feed(bad)[0].data, 'a\ufffdb');
});

test('NDJSON: lines, blank lines, heartbeats and how many bytes came, over any cut', () => {
  const text = '{"a":"é🗼"}\n  {"b":2}\r\n\n{"c":3}\n{"open":';
  const ends = [bytesOf('{"a":"é🗼"}\n').length];
  ends.push(ends[0] + bytesOf('{"b":2}\r\n').length); // two spaces of heartbeat are not the body's
  ends.push(ends[1] + 1 + bytesOf('{"c":3}\n').length);
  for (const pieces of cuts(bytesOf(text))) {
    const decoder = new NDJSONDecoder();
    const frames = pieces.flatMap((piece) => decoder.feed(piece));
    assert.deepEqual(frames.map(({ data }) => data), ['{"a":"é🗼"}', '{"b":2}', '{"c":3}']);
    assert.deepEqual(frames.map(({ end }) => end), ends);
    assert.deepEqual(decoder.close().map(({ data }) => data), ['{"open":']);
  }
});

test('both: real bodies give the same frames over any cut', () => {
  for (const { body, type } of Object.values(BODIES)) {
    const Decoder = type.includes('ndjson') ? NDJSONDecoder : SSEDecoder;
    const whole = new Decoder().feed(bytesOf(body));
    assert.ok(whole.length > 5);
    for (const pieces of cuts(bytesOf(body))) {
      const decoder = new Decoder();
      assert.deepEqual(pieces.flatMap((piece) => decoder.feed(piece)), whole);
    }
  }
});

test('both: a frame without an end is refused', () => {
  for (const decoder of [new SSEDecoder(), new NDJSONDecoder()]) {
    const piece = bytesOf(`data: ${'x'.repeat(1 << 20)}`);
    assert.throws(() => { for (let n = 0; n < 40; n++) decoder.feed(piece); }, { code: 'oversized-event' });
  }
});
