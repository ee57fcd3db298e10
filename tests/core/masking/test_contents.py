"""Masked streams hold no contents, and are judged as their originals are."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.masking.masked import without_contents
from tests.core.recorded import CORPUS, OWN_ROWS, corpus_bodies, dialect_of, own, own_bodies
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
