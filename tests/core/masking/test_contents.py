"""Masked streams hold no contents, and are judged as their originals are."""

from __future__ import annotations

import random
import re
import tracemalloc
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.masking.masked import without_contents
from tests.core.recorded import CORPUS, OWN_ROWS, corpus_bodies, dialect_of, own, own_bodies
from unbroken.core.masking import ContentMask, Letters, values
from unbroken.core.masking.values import MOST_HELD
from unbroken.core.outcome import Outcome
from unbroken.core.verdict import check
from unbroken.core.wire import decoder_for

SALTS = [pytest.param(None, id="removed"), pytest.param(b"salt", id="hashed")]
CHAT = (
    'data: {"id":"c1","model":"gpt-x","choices":[{"index":0,"delta":{"role":"assistant",'
    '"content":"Hello \\"wörld\\"\\n"},"finish_reason":null}]}\n\n'
    ": ping\n\n"
    'data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1",'
    '"function":{"name":"book","arguments":"{\\"city\\": \\"Par"}}]}}]}\n\n'
    'data: {"id":"c1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,'
    '"function":{"arguments":"is\\\\nnow\\", \\"n\\": 4720, \\"t\\": true}"}}]},'
    '"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":12}}\r\n\r\n'
    "data: [DONE]\n\n"
).encode()


def of_wire(row: dict[str, Any]) -> bool:
    return row["framing"] != "eventstream"


def facts(outcome: Outcome) -> tuple[Any, ...]:
    return (
        outcome.status,
        outcome.complete,
        outcome.stop_reason,
        [(f.kind, f.severity, f.at_byte, f.frame) for f in outcome.faults],
        [(c.index, c.id, c.complete) for c in outcome.tool_calls],
        outcome.usage,
    )


def judged_alike(body: bytes, dialect: str, wire: str, salt: bytes | None) -> None:
    masked = without_contents(body, salt)
    assert len(masked) == len(body)
    assert facts(check(masked, dialect)) == facts(check(body, dialect))
    frames = [decoder_for(wire).feed(data) for data in (body, masked)]  # type: ignore[arg-type]
    assert [f.event for f in frames[0]] == [f.event for f in frames[1]]
    shuffled = random.Random(1)
    for _ in range(3):
        cuts = [shuffled.randrange(len(body)) for _ in range(50)] if body else []
        assert without_contents(body, salt, cuts) == masked


_WIRE = {"sse": "sse", "ndjson": "ndjson", "jsonarray": "json-array"}


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("row", corpus_bodies())
def test_a_recorded_stream_is_judged_alike(row: dict[str, Any], salt: bytes | None) -> None:
    if not of_wire(row):
        pytest.skip("an AWS event stream is kept by its size only")
    body = (CORPUS / row["file"]).read_bytes()
    judged_alike(body, dialect_of(row), _WIRE[row["framing"]], salt)


@pytest.mark.parametrize("row", own_bodies())
def test_our_own_bodies_are_judged_alike(row: dict[str, Any]) -> None:
    body = own(row["file"])
    if body[:1] == b"\x00":
        pytest.skip("an AWS event stream is kept by its size only")
    masked = without_contents(body)
    dialect = dialect_of(row)
    assert facts(check(masked, dialect)) == facts(check(body, dialect))
    assert without_contents(body, cuts=range(0, len(body), 7)) == masked


def test_there_are_bodies() -> None:
    assert OWN_ROWS


@pytest.mark.parametrize("salt", SALTS)
def test_no_cut_changes_what_is_left(salt: bytes | None) -> None:
    whole = without_contents(CHAT, salt)
    for at in range(len(CHAT) + 1):
        assert without_contents(CHAT, salt, [at]) == whole, f"cut at {at}"
    assert without_contents(CHAT, salt, range(len(CHAT))) == whole


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=6))
def test_any_bytes_keep_their_length_and_no_cut_matters(body: bytes, cuts: list[int]) -> None:
    whole = without_contents(body)
    assert len(whole) == len(body)
    assert without_contents(body, cuts=cuts) == whole


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(_JSON, st.sampled_from([None, b"salt"]), st.lists(st.integers(0, 300), max_size=6))
def test_json_stays_json(value: Any, salt: bytes | None, cuts: list[int]) -> None:
    body = b"data: " + msgspec.json.encode({"delta": value}) + b"\n\n"
    masked = without_contents(body, salt, cuts)
    assert len(masked) == len(body)
    msgspec.json.decode(masked[6:])


@settings(max_examples=200, deadline=None)
@given(_JSON, st.lists(st.integers(0, 300), max_size=6))
def test_arguments_stay_json_over_frames(value: Any, cuts: list[int]) -> None:
    arguments = msgspec.json.encode({"k": value}).decode()
    edges = sorted({0, len(arguments), *(c for c in cuts if c < len(arguments))})
    frames = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": 0, "function": {"arguments": arguments[a:b]}}]}}]}
        for a, b in pairwise(edges)
    ]  # fmt: skip
    body = b"".join(b"data: " + msgspec.json.encode(frame) + b"\n\n" for frame in frames)
    masked = without_contents(body)
    said = b""
    for frame in masked.split(b"\n\n")[:-1]:
        call = msgspec.json.decode(frame[6:])["choices"][0]["delta"]["tool_calls"][0]
        said += call["function"]["arguments"].encode()
    msgspec.json.decode(said)


def test_what_is_kept_and_what_is_not() -> None:
    masked = without_contents(CHAT).decode()
    for kept in ('"id":"c1"', '"model":"gpt-x"', '"role":"assistant"', '"finish_reason":null',
                 '"tool_calls"', '"id":"call_1"', "[DONE]", ": ping", '"prompt_tokens":12',
                 "true", '"finish_reason":"tool_calls"'):  # fmt: skip
        assert kept in masked
    for gone in ("Hello", "wörld", "book", "city", "Par", "now", "4720"):
        assert gone not in masked


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>my words are here</body></html>\n",
        b"my words are here",
        (
            b'{"messages":[{"content":"my words"},{"content":[{"type":"text","text":"are here"}]}],'
            b'"system":"my words","metadata":{"words":"are"}}'
        ),
        b'{"input":"my words","tools":[{"type":"function","name":"are"}],"x":["here"]}',
        b"data: my words\ndata: are here\n\nevent: my words are\nid: are here\n: my words\n\n",
        b'{"content":"my words \xff\xfe are',
        b'[{"candidates":[{"content":{"parts":[{"text":"my words"}]}}]}\n,\n{"a":"are',
        b'{"message":{"content":"my words"}}\n{"message":{"content":"are here"}}\n',
        b'{"content": "my \nwords", "are": "here"',
        b'{"args":{"my":"words","are":[1,2,3]}}',
        b"data: " + b'{"content":"' + b"my words are here " * 9000 + b'"}\n\n',
    ],
)
def test_no_word_of_contents_is_left(body: bytes) -> None:
    for salt in (None, b"salt"):
        masked = without_contents(body, salt)
        assert len(masked) == len(body)
        assert not any(word in masked for word in (b" words", b" here", b"words "))
        for step in (1, 1000):
            if len(body) < 2000 * step:
                cuts = range(0, len(body), step)
                assert without_contents(body, salt, cuts) == masked


def test_equal_texts_have_equal_letters_and_others_others() -> None:
    def hashed(text: str, salt: bytes = b"one") -> bytes:
        body = msgspec.json.encode({"messages": [{"role": "user", "content": text}]})
        return without_contents(body, salt, streamed=False)

    assert hashed("tell me of the sea") == hashed("tell me of the sea")
    assert hashed("tell me of the sea") != hashed("tell me of the see")
    assert hashed("tell me of the sea") != hashed("tell me of the sea", b"two")
    first, second = hashed("abcdefgh"), hashed("abcdefgi")
    assert sum(a == b for a, b in zip(first[-12:-4], second[-12:-4], strict=True)) < 6


def test_what_is_broken_stays_broken() -> None:
    for broken in (b'{"content":"a\\qb"}', b'{"content":"a\x01b"}', b'{"content":"a" x}'):
        body = b"data: " + broken + b"\n\n"
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(without_contents(body)[6:])
    assert b"\xff" in without_contents(b'data: {"content":"a\xfeb"}\n\n')


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"response.code_interpreter_call_code.done","code":"x=Xylophonequux;y=1"}',
        b'{"item":{"type":"code_interpreter_call","code":"Xylophonequux","id":"ci_1"}}',
        b'{"error":{"code":"Xylophonequux = 1"}}',
        b'{"reason":"Xylophonequux"}',
        b'{"delta":{"reason":"Xylophonequux","category":"Xylophonequux"}}',
        b'{"user_id":"Xylophonequux"}',
        b'{"metadata":{"id":"Xylophonequux"},"patient_id":"Xylophonequux7"}',
        b'{"type":"x=Xylophonequux;y"}',
        b'{"role":"the Xylophonequux"}',
        b'{"Xylophonequux_of_somebody_whom_nobody_knows":1}',
        b'{"Xylophonequux of":{"a":1}}',
        b"id:Xylophonequux\nmore\n",
        b"event: Xylophonequux.some\n",
        b"event: Some.Xylophonequux.words\n",
        b"Dear all,\nid: Xylophonequux\nevent: xylophonequux\n",
    ],
)
def test_what_only_looks_harmless_is_overwritten(body: bytes, salt: bytes | None) -> None:
    for shown in (body, b"data: " + body + b"\n\n"):
        for cuts in ((), range(len(shown))):
            masked = without_contents(shown, salt, cuts)
            assert len(masked) == len(shown)
            assert b"xylophonequux" not in masked.lower()


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"code":"context_length_exceeded","type":"invalid_request_error","param":"n"}}',
        b'{"type":"error","code":"rate_limit_exceeded"}',
        b'{"response":{"incomplete_details":{"reason":"max_output_tokens"}}}',
        b'{"promptFeedback":{"blockReason":"SAFETY"},"modelVersion":"gemini-2.5-pro@001"}',
        b'{"call_id":"call_1","item_id":"msg_1","model":"org/model:free","service_tier":"default"}',
        b"id: 17\nevent: content_block_delta\nretry: 500\n\n",
        b'data: {}\n\nevent: someName.delta\nid: abc\ndata: {"id":"c1"}\n\n',
    ],
)
def test_what_says_what_an_event_is_stays(body: bytes) -> None:
    assert without_contents(body) == body


_UNITS = st.lists(
    st.sampled_from(
        [b"word ", b"\\n", b'\\"', b"\\\\", b"\\u00e9", "ö€😀".encode(), b"\xff", b"\x01", b"\\q"]
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(
    _UNITS,
    st.integers(-20, 20),
    st.sampled_from([None, b"salt"]),
    st.lists(st.integers(0, 200_000), max_size=8),
)
def test_a_long_string_is_cut_at_no_character_and_no_read(
    units: list[bytes], more: int, salt: bytes | None, cuts: list[int]
) -> None:
    unit = b"".join(units)
    body = b'{"a":"' + unit * (MOST_HELD * 2 // len(unit)) + b"z" * (20 + more) + b'"}'
    whole = without_contents(body, salt, streamed=False)
    assert len(whole) == len(body)
    assert without_contents(body, salt, cuts, streamed=False) == whole
    broken = any(part in unit for part in (b"\xff", b"\x01", b"\\q"))
    for text in (body, whole):
        if broken:
            with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
                msgspec.json.decode(text)
        else:
            msgspec.json.decode(text)


def test_long_texts_that_begin_alike_have_letters_that_begin_alike() -> None:
    def hashed(text: bytes) -> bytes:
        return without_contents(b'{"a":"' + text + b'"}', b"salt", streamed=False)[6:-2]

    text = bytes(97 + at * at % 23 for at in range(200_000))
    first, second = hashed(text), hashed(text[:100_000] + b"Z" + text[100_001:])
    assert hashed(text) == first
    assert first[:99_900] == second[:99_900]
    assert sum(a == b for a, b in zip(first[100_100:], second[100_100:], strict=True)) < 10_000
    assert len(set(first)) == 26


def test_a_long_text_said_in_pieces_has_the_letters_of_the_whole() -> None:
    text = b"some words of it " * 6000
    cut_up = [text[at : at + 30_000] for at in range(0, len(text), 30_000)]
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    masked = without_contents(b"".join(frame % piece for piece in cut_up), b"salt")
    said = b"".join(
        msgspec.json.decode(each[6:])["choices"][0]["delta"]["content"].encode()
        for each in masked.split(b"\n\n")[:-1]
    )
    whole = without_contents(b'data: {"type":"response.x.done","text":"%b"}\n\n' % text, b"salt")
    assert msgspec.json.decode(whole[6:])["text"].encode() == said


class Counting:
    """A pattern that adds up how many bytes it went over."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern = pattern
        self.over = 0

    def match(self, data: bytes, at: int, *end: int) -> re.Match[bytes] | None:
        found = self.pattern.match(data, at, *end)
        self.over += found.end() - at if found else 0
        return found


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize("step", [None, 65_536, 5000])
def test_a_string_twice_as_long_is_twice_the_work(
    salt: bytes | None, step: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(size: int) -> int:
        patterns = [Counting(re.compile(getattr(values, name).pattern)) for name in names]
        for name, pattern in zip(names, patterns, strict=True):
            monkeypatch.setattr(values, name, pattern)
        body = b'{"a":"' + b"iVBORw0KGgo" * (size // 11) + b'","b":1}'
        without_contents(body, salt, range(0, len(body), step) if step else (), streamed=False)
        monkeypatch.undo()
        return sum(pattern.over for pattern in patterns)

    names = ("_IN_STRING", "_FIRST_MEMBER", "_NEXT_MEMBER")
    two, four = work(2 << 20), work(4 << 20)
    assert four < 3 * two
    assert four < 3 * (4 << 20)


@pytest.mark.parametrize("salt", SALTS)
@pytest.mark.parametrize(
    "unit", [b"iVBORw0K", b'\\n\\"ab\\\\', "ö€".encode()], ids=["plain", "escaped", "utf-8"]
)
def test_a_long_string_takes_no_memory_of_its_length(salt: bytes | None, unit: bytes) -> None:
    body = b'{"a":"' + unit * ((8 << 20) // len(unit)) + b'"}'
    for step, most in ((65_536, 3 << 20), (len(body), 2 * len(body) + (4 << 20))):
        mask = ContentMask(Letters(salt))
        tracemalloc.start()
        try:
            for at in range(0, len(body), step):
                mask.feed(body[at : at + step])
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()
