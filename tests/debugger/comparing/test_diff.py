"""What differs between two recordings, and what that says of a middlebox."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.debugger.capture import ask, capture, written
from tests.debugger.recordings import (
    DONE,
    PING,
    attempt,
    delta,
    finish,
    frame,
    recording,
    whole,
)
from tests.real.nginx import Nginx, nginx_program
from unbroken.core.recording import RecordingError, encode_line
from unbroken.debugger import Diff, diff
from unbroken.lab.server.app import LabServer
from unbroken.telemetry.recording.saving import masked_lines

WORDS = [f"word{n} " for n in range(12)]


def pair(tmp_path: Path, a: Any, b: Any, **more: Any) -> Diff:
    return diff(recording(tmp_path / "a.jsonl", a), recording(tmp_path / "b.jsonl", b), **more)


def reads_of(raw: bytes, *places: int) -> list[bytes]:
    return [raw[x:y] for x, y in pairwise([0, *sorted(places), len(raw)])]


def test_a_recording_equals_itself(tmp_path: Path) -> None:
    found = pair(tmp_path, attempt(whole(*WORDS)), attempt(whole(*WORDS)), exact=True)
    assert found.equal
    assert found.attempts[0].common == {"text": len("".join(WORDS))}
    assert found.between == []


def test_ids_times_and_padding_do_not_count(tmp_path: Path) -> None:
    mine = [delta("a", id="x1", created=1, obfuscation="zz"), finish(), DONE]
    other = [delta("a", id="y2", created=9, obfuscation="qqqq"), finish(), DONE]
    found = pair(tmp_path, attempt(mine), attempt(other))
    assert found.equal
    assert found.attempts[0].frame is None
    exact = pair(tmp_path, attempt(mine), attempt(other), exact=True)
    assert not exact.equal
    at = exact.attempts[0].bytes
    assert at is not None
    assert at.a.at_byte == b"".join(mine).index(b"x1")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_reads_do_not_count(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    raw = b"".join(whole("ä" * 5, "b", "c" * 9))
    cuts = st.lists(st.integers(1, len(raw) - 1), max_size=6, unique=True)
    a, b = (attempt(reads_of(raw, *data.draw(cuts))) for _ in "ab")
    assert pair(tmp_path_factory.mktemp("diff"), a, b, exact=True).equal


def test_the_same_text_in_other_deltas_means_the_same(tmp_path: Path) -> None:
    mine, other = whole("one two ", "three"), whole("one ", "two thr", "ee")
    found = pair(tmp_path, attempt(mine), attempt(other))
    assert found.equal
    assert found.attempts[0].meaning is None
    difference = found.attempts[0].frame
    assert difference is not None
    assert difference.a.frame == 0
    assert "written anew" in found.between[0]


def test_the_first_difference_in_text(tmp_path: Path) -> None:
    found = pair(tmp_path, attempt(whole("same ", "old")), attempt(whole("same ", "omen")))
    assert not found.equal
    difference = found.attempts[0].meaning
    assert difference is not None
    assert (difference.kind, difference.at_character) == ("text", 6)
    assert (difference.a.frame, difference.b.frame) == (1, 1)
    assert difference.a.shown is None
    assert found.attempts[0].common == {"text": 6}
    shown = pair(
        tmp_path, attempt(whole("same ", "old")), attempt(whole("same ", "omen")), contents=True
    )
    difference = shown.attempts[0].meaning
    assert difference is not None
    assert (difference.a.shown, difference.b.shown) == ("ld", "men")


def test_events_that_only_one_has(tmp_path: Path) -> None:
    error = frame({"error": {"type": "overloaded_error", "message": "the prompt was: secret"}})
    found = pair(tmp_path, attempt(whole("a", "b")), attempt([delta("a"), error]))
    [one] = found.attempts
    assert one.only_a == {"finish (stop)": 1, "last marker ([DONE])": 1}
    assert one.only_b == {"error (overloaded_error)": 1}
    assert "secret" not in repr(found)


def test_tool_calls_are_compared_without_their_ids(tmp_path: Path) -> None:
    def call(id: str, name: str, *arguments: str) -> list[bytes]:
        first = {"index": 0, "id": id, "function": {"name": name, "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": piece}} for piece in arguments]
        deltas = [{"tool_calls": [one]} for one in (first, *rest)]
        choices = [{"index": 0, "delta": made, "finish_reason": None} for made in deltas]
        frames = [frame({"id": "c", "choices": [choice]}) for choice in choices]
        return [*frames, finish("tool_calls"), DONE]

    mine = call("call_1", "weather", '{"city": ', '"Rome"}')
    assert pair(
        tmp_path, attempt(mine), attempt(call("call_2", "weather", '{"city": "Rome"}'))
    ).equal
    found = pair(tmp_path, attempt(mine), attempt(call("call_1", "weather", '{"city": "Oslo"}')))
    difference = found.attempts[0].meaning
    assert difference is not None
    assert (difference.kind, difference.at_character) == ("arguments", 10)


@pytest.mark.parametrize(
    ("mine", "other", "said"),
    [
        (("incomplete", 6), ("eof", 6), "turns a failure into a good end"),
        (("reset", 6), ("eof", 6), "turns a failure into a good end"),
        (("eof", 15), ("incomplete", 6), "came whole, and behind the middlebox it is cut"),
        (("incomplete", 6), ("reset", 6), "passed on in another way: incomplete before, reset"),
        (("eof", 15), ("eof", 6), "bytes are lost between, and yet the end is clean"),
        (("eof", 6), ("eof", 6), "both have the same fault (truncated-between-events)"),
    ],
)
def test_ends_say_where_a_fault_lies(
    tmp_path: Path, mine: tuple[str, int], other: tuple[str, int], said: str
) -> None:
    frames = whole(*WORDS)
    a, b = (attempt(frames[:count], how=how) for how, count in (mine, other))
    found = pair(tmp_path, a, b)
    assert any(said in one for one in found.between), found.between


@pytest.mark.parametrize(
    ("mine", "other", "equal"),
    [
        ("eof", "reset", False),
        ("reset", "incomplete", False),
        ("eof", "left", False),
        ("reset", "reset", True),
    ],
)
def test_another_end_of_the_same_answer_is_a_difference(
    tmp_path: Path, mine: str, other: str, equal: bool
) -> None:
    """Also where the answer is whole: a client may raise at the one and not at the other."""
    found = pair(tmp_path, attempt(whole("a"), how=mine), attempt(whole("a"), how=other))
    assert found.attempts[0].meaning is None
    assert found.attempts[0].a.verdict == found.attempts[0].b.verdict == "complete"
    assert found.equal is equal


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (whole(*WORDS), whole("something ", "else")),  # two healthy, different answers
        (whole(*WORDS), whole("word0 ", *WORDS[:2])),
        (whole("a", "b", "b", "c"), whole("a", "b", "c")),  # an event that came twice
        (whole("a", "b", "c"), whole("a", "b", "b", "c")),
    ],
)
@pytest.mark.parametrize("how", ["eof", "reset"])
def test_nothing_was_cut_where_the_answer_is_whole_behind(
    tmp_path: Path, mine: list[bytes], other: list[bytes], how: str
) -> None:
    found = pair(tmp_path, attempt(mine), attempt(other, how=how))
    assert not found.equal
    said = " ".join(found.between)
    for claim in ("cuts the body", "hides it", "is cut (", "lost between"):
        assert claim not in said


def test_other_texts_are_asked_about(tmp_path: Path) -> None:
    found = pair(
        tmp_path, attempt(whole(*WORDS)), attempt([PING, *whole("something ", "else ", "entirely")])
    )
    [said] = found.between
    assert said.startswith("are these the same answer?")
    assert "(0 of 74 and 23 characters" in said


def test_a_pace_says_nothing_of_an_answer_that_is_cut_but_not_lost_at_its_end(
    tmp_path: Path,
) -> None:
    """The end of B is another text, so no part of A is missing there."""
    found = pair(tmp_path, attempt(whole(*WORDS)), attempt([*map(delta, WORDS[:8]), delta("x")]))
    assert not any("cuts the body" in one for one in found.between)


SECRET = ["the quick brown ", "fox jumps over ", "the lazy dog"]


def masked(tmp_path: Path, name: str, lines: Any, contents: Any, salt: bytes | None = None) -> Path:
    path = tmp_path / f"{name}.jsonl"
    recorded = masked_lines(lines, contents=contents, salt=salt, side="proxy")
    path.write_bytes(b"".join(map(encode_line, recorded)))
    return path


@pytest.mark.parametrize(
    ("mine", "other", "texts"),
    [
        (("hashed", b"k"), ("hashed", b"k"), True),
        (("hashed", b"k"), ("hashed", b"l"), False),
        (("removed", None), ("removed", None), False),
        (("kept", None), ("removed", None), False),
        (("hashed", b"k"), ("kept", None), False),
        (("hashed", b"k"), ("removed", None), False),
    ],
)
@pytest.mark.parametrize("change", ["none", "deltas", "size", "cut", "text"])
def test_without_contents_only_structure_sizes_and_pace_are_compared(
    tmp_path: Path, mine: Any, other: Any, texts: bool, change: str
) -> None:
    frames = {
        "none": whole(*SECRET),
        "deltas": whole("".join(SECRET)),
        "size": whole(*SECRET[:2], "the lazy cat sleeps"),
        "cut": whole(*SECRET)[:2],
        "text": whole(*SECRET[:2], "the lazy cat"),
    }[change]
    a = masked(tmp_path, "a", attempt(whole(*SECRET)), *mine)
    b = masked(tmp_path, "b", attempt(frames), *other)
    found = diff(a, b)
    assert found.texts is texts
    assert bool(found.why_no_texts) is not texts
    # of equal sizes nothing tells that the text is another one
    assert found.equal is (change in ("none", "deltas") or (change == "text" and not texts))
    if not texts:
        assert found.attempts[0].common == {}
        assert not any("same answer" in one for one in found.between)


def test_pace_says_what_a_middlebox_does(tmp_path: Path) -> None:
    frames = [PING, *whole(*WORDS)]
    raw = b"".join(frames[1:])
    before = attempt([(0.1 + 0.1 * n, frame) for n, frame in enumerate(frames)])
    behind = attempt([(2.0, raw[:1500]), (2.1, raw[1500:])])
    found = pair(tmp_path, before, behind)
    said = " ".join(found.between)
    assert "frames come in clumps" in said
    assert "1 keep-alive pings are taken out" in said
    assert "held back for 1.8 s" in said
    assert found.attempts[0].a.pings == 1
    assert found.attempts[0].b.frames_a_read > 4


def test_heads_say_what_a_middlebox_does(tmp_path: Path) -> None:
    raw = b"".join(whole("a", "b"))
    headers = [("content-type", "text/event-stream"), ("content-encoding", "gzip")]
    found = pair(tmp_path, attempt([raw]), attempt([gzip.compress(raw)], headers=headers))
    assert found.attempts[0].meaning is None
    assert found.equal
    assert any("compresses the stream (gzip)" in one for one in found.between)
    other = attempt([b"<html>"], status=502, headers=[("content-type", "text/html")], how="eof")
    said = " ".join(pair(tmp_path, attempt([raw]), other).between)
    assert "another status: 200 before, 502 behind" in said
    assert "content type is changed: text/event-stream before, text/html behind" in said


def test_streams_of_one_file(tmp_path: Path) -> None:
    path = recording(
        tmp_path / "a.jsonl", attempt(whole("a")), attempt(whole("a"), stream=2),
        attempt(whole("b"), stream=5),
    )  # fmt: skip
    assert diff(path).equal
    found = diff(path, stream_a=2, stream_b=5)
    assert not found.equal
    assert (found.stream_a, found.stream_b) == (2, 5)
    one = recording(tmp_path / "b.jsonl", attempt(whole("a")))
    with pytest.raises(RecordingError, match="give a second recording"):
        diff(one)


def test_attempts_are_compared_pair_by_pair(tmp_path: Path) -> None:
    first, second = attempt(whole("a")[:1], how="reset"), attempt(whole("a"), number=2)
    two = recording(tmp_path / "two.jsonl", first, second)
    one = recording(tmp_path / "one.jsonl", first)
    assert diff(two, two).equal
    found = diff(two, one)
    assert not found.equal
    assert (found.attempts_a, found.attempts_b, len(found.attempts)) == (2, 1, 1)


def test_bodies_that_cannot_be_read_are_compared_by_bytes(tmp_path: Path) -> None:
    headers = [("content-type", "text/event-stream"), ("content-encoding", "zz")]
    mine, other = (attempt([data], headers=headers) for data in (b"\x01\x02", b"\x01\x03"))
    assert pair(tmp_path, mine, mine).equal
    found = pair(tmp_path, mine, other)
    assert not found.equal
    assert found.attempts[0].bytes is not None
    assert "compressed (zz)" in found.attempts[0].a.unread


def test_it_is_json(tmp_path: Path) -> None:
    found = pair(tmp_path, attempt(whole("a")), attempt(whole("b")))
    told = json.loads(msgspec.json.encode(found))
    assert told["attempts"][0]["meaning"]["kind"] == "text"


def test_a_long_lead_of_one_side_does_not_pile_up(tmp_path: Path) -> None:
    """Many small frames against one large one, and a difference at the start."""
    many = attempt([delta("x" * 50) for _ in range(20_000)], gap_s=0.0)
    few = attempt([delta("y")], gap_s=0.0)
    a, b = recording(tmp_path / "a.jsonl", many), recording(tmp_path / "b.jsonl", few)
    del many
    tracemalloc.start()
    try:
        assert not diff(a, b).equal
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8_000_000


@pytest.mark.real
@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("ok;tokens=60;tps=100", "frames come in clumps"),
        ("cut.fin@20t;tokens=60", "turns a failure into a good end"),
    ],
)
def test_what_a_real_nginx_as_shipped_does_is_seen(tmp_path: Path, plan: str, said: str) -> None:
    if nginx_program() is None:
        pytest.skip("needs nginx (Debian: apt install nginx-light)")
    with LabServer() as lab:
        nginx = Nginx(tmp_path / "nginx", lab.url)
        try:
            before = capture(lab.url, ask(lab.session(plan).model))
            behind = capture(nginx.url, ask(lab.session(plan).model))
        finally:
            nginx.close()
    found = diff(
        written(before, tmp_path / "before.jsonl"), written(behind, tmp_path / "behind.jsonl")
    )
    assert any(said in one for one in found.between), (found.between, found.attempts)
