"""What each frame is for, against what the encoders write and against recorded streams."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.core.recorded import CORPUS, corpus_bodies, dialect_of
from tests.lab.bodies import NAMES, NO_CALLS, TEXT, call_body, text_body
from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.answer import Answer
from unbroken.core.frames import Frame
from unbroken.lab.roles import pieces_of_body, role_of

# Last marker and finish are one frame, or there is no last marker at all.
FINISH_IS_LAST = {"openai-responses", "ollama"}
NO_MARKER = {"gemini"}
WHOLE_CALLS = {"gemini", "gemini-array", "ollama"}

each = pytest.mark.parametrize("dialect", NAMES)


def roles(dialect: str, body: bytes) -> list[str]:
    return [piece.role for piece in pieces_of_body(dialect, body)]


@each
def test_text(dialect: str) -> None:
    found = roles(dialect, text_body(dialect))
    counted = Counter(found)
    assert counted["content"] == len(TEXT)
    assert counted["finish"] == (0 if dialect in FINISH_IS_LAST else 1)
    assert counted["terminal"] == (0 if dialect in NO_MARKER else 1)
    assert counted["error"] == 0
    last = "finish" if dialect in NO_MARKER else "terminal"
    assert found[-1] == last
    assert "content" not in found[found.index("finish" if "finish" in found else "terminal") :]


@each
def test_call(dialect: str) -> None:
    if dialect in NO_CALLS:
        return
    found = Counter(roles(dialect, call_body(dialect)))
    assert found["content"] == (1 if dialect in WHOLE_CALLS else 5)


@each
def test_thinking(dialect: str) -> None:
    if dialect in ("openai-completions", "openai-assistants"):
        return
    body = b"".join(DIALECTS[dialect].encode(Answer(reasoning=("hm", "so"), text=("yes",))))
    assert Counter(roles(dialect, body))["content"] == 3


@each
def test_pieces_are_the_body(dialect: str) -> None:
    body = text_body(dialect)
    found = pieces_of_body(dialect, body + b"half")
    assert b"".join(piece.data for piece in found) == body + b"half"
    assert [piece.frame for piece in found] == list(range(len(found)))
    for piece in found:
        assert (body + b"half")[piece.at_byte :].startswith(piece.data)


@pytest.mark.parametrize(
    ("dialect", "body", "role"),
    [
        ("openai-chat", b": keep-alive\n\n", "ping"),
        ("openai-chat", b'error: {"message": "out"}\n\n', "error"),
        ("openai-chat", b'data: {"error": {"message": "out"}}\n\n', "error"),
        ("openai-chat", b"data: [DONE] \n\n", "terminal"),
        ("openai-chat", b'data: {"choices":[],"usage":{"a":1}}\n\n', "usage"),
        ("openai-chat", b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n', "start"),
        ("openai-chat", b'data: {"choices":[{"delta":{}}]}\n\n', "other"),
        ("openai-chat", b"data: no JSON\n\n", "other"),
        ("openai-chat", b"data: [1]\n\n", "other"),
        ("anthropic-messages", b'event: ping\ndata: {"type":"ping"}\n\n', "ping"),
        ("anthropic-messages", b'event: error\ndata: {"type":"error"}\n\n', "error"),
        ("ollama", b'{"error":"out"}\n', "error"),
        ("openai-responses", b'data: {"type":"response.failed"}\n\n', "error"),
        ("gemini", b'data: {"promptFeedback":{"blockReason":"SAFETY"}}\n\n', "finish"),
    ],
)
def test_single_frames(dialect: str, body: bytes, role: str) -> None:
    assert roles(dialect, body) == [role]


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="no dialect 'morse'"):
        role_of("morse", Frame("message", b"{}", "", None, b"", 0))


@pytest.mark.corpus
@pytest.mark.parametrize("row", corpus_bodies())
def test_recorded(row: dict[str, Any]) -> None:
    body = (CORPUS / row["file"]).read_bytes()
    dialect = dialect_of(row)
    found = Counter(roles(dialect, body))
    said = row["text"] or row["reasoning_chars"] or row.get("refusal")
    if body.endswith((b"\n\n", b"\r\n\r\n", b"}\n")) and "error-mid-stream" not in row["file"]:
        if said or any(call["arguments"] for call in row["tool_calls"]):
            assert found["content"]
        if row["has_done_marker"]:
            assert found["terminal"]
        if row["finish_reasons"]:
            assert found["finish"] or found["terminal"] or found["content"] or found["error"]
    assert bool(found["error"]) == bool(row.get("errors"))
