"""Bytes in each dialect's shape: they are whole frames, and mean what they should."""

from __future__ import annotations

import json

import pytest

from tests.lab.bodies import NAMES, call_body, pieces, text_body
from unbroken.core.dialects import DIALECTS
from unbroken.core.verdict import check
from unbroken.core.wire import decoder_for
from unbroken.lab import shapes
from unbroken.lab.framing import number_of, payload_of, record_of, renumbered, with_payload
from unbroken.lab.roles import pieces_of_body

each = pytest.mark.parametrize("dialect", NAMES)
each_error = pytest.mark.parametrize(
    ("dialect", "how"), [(name, how) for name in NAMES for how in shapes.ERRORS[name]]
)


def content(dialect):
    return [piece.data for piece in pieces(dialect) if piece.role == "content"]


@each_error
def test_an_error_is_one(dialect, how):
    frames = shapes.error_frames(dialect, how, number=4)
    before = b"".join(piece.data for piece in pieces(dialect)[:4])
    outcome = check(before + b"".join(frames), dialect)
    assert [fault.kind for fault in outcome.faults if fault.fatal] == ["provider-error"]
    roles = [piece.role for piece in pieces_of_body(dialect, b"".join(frames))]
    assert "error" in roles or how == "bare"  # Google's comes without the framing of events


@each
def test_the_first_error_is_the_default(dialect):
    first = next(iter(shapes.ERRORS[dialect]))
    assert shapes.error_frames(dialect) == shapes.error_frames(dialect, first)
    with pytest.raises(ValueError, match=f"{dialect} has no error 'polite'"):
        shapes.error_frames(dialect, "polite")


def test_errors_are_numbered_where_frames_are():
    frames = shapes.error_frames("openai-responses", "nested", number=7)
    assert [number_of("openai-responses", frame) for frame in frames] == [7, 8]


@each
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 529])
def test_error_bodies_are_json(dialect, status):
    said = json.loads(shapes.error_body(dialect, status))
    assert shapes.MESSAGE in json.dumps(said)


@each
def test_what_says_nothing(dialect):
    """Pings, comments and empty deltas in mid-answer leave text and verdict as they are."""
    body = pieces(dialect)
    for silent in (
        shapes.ping(dialect),
        shapes.comment(dialect),
        shapes.empty_delta(dialect, body[-4].data if dialect == "gemini" else b""),
    ):
        if silent is None or dialect == "openai-responses":
            continue
        at = next(n for n, piece in enumerate(body) if piece.role == "content") + 2
        joined = b"".join([*(p.data for p in body[:at]), silent, *(p.data for p in body[at:])])
        outcome = check(joined, dialect)
        assert outcome.text == check(text_body(dialect), dialect).text
        assert outcome.status == "complete"


@each
def test_an_empty_delta_is_like_the_others(dialect):
    like = content(dialect)[3]
    empty = shapes.empty_delta(dialect, like, number=99)
    decoded = decoder_for(DIALECTS[dialect].wire)
    frames = decoded.blocks(empty) + decoded.close()
    assert len(frames) == 1
    assert not decoded.faults
    assert pieces_of_body(dialect, empty)[0].role == "other"
    if dialect == "openai-responses":
        assert number_of(dialect, empty) == 99


@each
def test_another_text(dialect):
    changed = shapes.with_text(dialect, content(dialect)[2], 'say "ü"\n')
    assert changed is not None
    whole = b"".join(
        changed if number == 2 else data for number, data in enumerate(content(dialect))
    )
    assert 'say "ü"\n' in json.dumps(record_of(dialect, changed), ensure_ascii=False).replace(
        '\\"', '"'
    ).replace("\\n", "\n")
    assert len(pieces_of_body(dialect, whole)) == len(content(dialect))


@each
def test_arguments_that_are_an_object_have_no_text(dialect):
    if dialect not in ("gemini", "gemini-array", "ollama"):
        return
    calls = [p.data for p in pieces_of_body(dialect, call_body(dialect)) if p.role == "content"]
    assert shapes.with_text(dialect, calls[0], "no") is None


@each
def test_a_payload_put_back_is_the_frame(dialect):
    for piece in pieces(dialect):
        payload = payload_of(dialect, piece.data)
        if piece.role in ("content", "finish"):
            again = with_payload(dialect, piece.data, payload)
            assert payload_of(dialect, again) == payload
            if dialect != "bedrock-converse":  # the order of headers may be another
                assert again == piece.data


def test_numbers():
    frame = content("openai-responses")[0]
    number = number_of("openai-responses", frame)
    assert number is not None
    assert number_of("openai-responses", renumbered("openai-responses", frame, 1234)) == 1234
    assert number_of("openai-chat", frame) is None


@each
def test_content_type(dialect):
    assert shapes.content_type(dialect).split(";")[0] in DIALECTS[dialect].content_types
