"""What the specifications are made of: a body, its expectations, and the mark of its end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]

CREATED: Final = 1_700_000_000


class _End:
    """Stands behind the frame that proves the end."""


class _Claim:
    """Stands behind a frame that looks like the end, though the body goes on after it."""


END: Final = _End()
CLAIM: Final = _Claim()

Part = bytes | _End | _Claim

# The line ends behind a frame: a last frame whose JSON is whole may be read without them.
SLACK_LF: Final = 2
SLACK_CRLF: Final = 4
SLACK_NDJSON: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One body and what a reader must make of it. The words are those of DESIGN.md."""

    name: str
    dialect: str
    parts: list[Part]
    shows: str
    status: str = "complete"
    faults: tuple[str, ...] = ()
    text: str = ""
    texts: tuple[str, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    finish_reasons: tuple[str, ...] = ()
    refusal: str = ""
    usage: tuple[int, int] | None = None
    error: tuple[str, str, bool] | None = None
    host: str = ""
    content_type: str = "text/event-stream"
    extension: str = "sse"
    slack: int = SLACK_LF
    notes: Json = field(default_factory=dict)

    @property
    def file(self) -> str:
        return f"{self.dialect}/{self.name}.{self.extension}"

    @property
    def data(self) -> bytes:
        return b"".join(part for part in self.parts if isinstance(part, bytes))

    def row(self) -> Json:
        """Return the body's row of `index.json`."""
        proven = claimed = None
        at = 0
        for part in self.parts:
            if isinstance(part, bytes):
                at += len(part)
                continue
            if claimed is None:
                claimed = at - self.slack
            if part is END:
                proven = at
        row: Json = {
            "file": self.file,
            "dialect": self.dialect,
            "shows": self.shows,
            "status": self.status,
            "faults": list(self.faults),
            "text": self.text,
            "reasoning": self.reasoning,
            "tool_calls": [{"name": n, "arguments": a} for n, a in self.tool_calls],
            "finish_reasons": list(self.finish_reasons),
            "refusal": self.refusal,
            "usage": None
            if self.usage is None
            else {"input": self.usage[0], "output": self.usage[1]},
            "end_claimed_from_byte": claimed,
            "end_proven_from_byte": proven,
            "host": self.host,
            "content_type": self.content_type,
        }
        if self.texts:
            row["texts_by_choice"] = {str(i): text for i, text in enumerate(self.texts)}
        if self.error is not None:
            kind, code, retryable = self.error
            row["error"] = {"type": kind, "code": code, "retryable": retryable}
        return row | self.notes


def js(value: Any, *, escaped: bool = False) -> str:
    """Return compact JSON; `escaped` writes all but ASCII as \\u escapes, as many servers do."""
    return json.dumps(value, ensure_ascii=escaped, separators=(",", ":"))


def sse(payload: str | Json, event: str = "", *, end: str = "\n", escaped: bool = False) -> bytes:
    """Return one SSE block."""
    data = payload if isinstance(payload, str) else js(payload, escaped=escaped)
    head = f"event: {event}{end}" if event else ""
    return f"{head}data: {data}{end}{end}".encode()
