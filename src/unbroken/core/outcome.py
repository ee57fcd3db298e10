"""The outcome: how a stream ended, with the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from unbroken.core.events import ProviderError
from unbroken.core.faults import Fault
from unbroken.core.received import Received, Usage
from unbroken.core.recording import Line

__all__ = [
    "AttemptRecord",
    "Guarantee",
    "Outcome",
    "Provenance",
    "Skipped",
    "Status",
    "ToolCallResult",
]

Status = Literal["complete", "limited", "filtered", "paused", "unconfirmed", "failed", "cancelled"]
Guarantee = Literal["byte-exact", "prefix-verified", "seam-verified", "unverified"]


class ToolCallResult(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call as received. `complete` is False for one that was cut."""

    index: int
    id: str
    name: str
    arguments: str
    complete: bool


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempt wrote which characters of the answer text, and how sure that is.

    Attributes:
        attempt: The attempt, from 1.
        start: First character, counted in code points of the text.
        end: One past the last character.
        rung: How the attempt came about: ``first``, ``cursor``, ``retry``, ``replay``,
            ``prefill``, ``user-turn``, ``target``.
        guarantee: What was verified before it was delivered.
        anchor: Graphemes that the attempt had to write again at the seam; 0 for none.
        target: Who wrote it, where it is not the request's own provider and model.
    """

    attempt: int
    start: int
    end: int
    rung: str
    guarantee: Guarantee
    anchor: int = 0
    target: str = ""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A rung that was not taken, and why."""

    rung: str
    why: str


class AttemptRecord(msgspec.Struct, kw_only=True):
    """One upstream request.

    Attributes:
        number: From 1.
        rung: See `Provenance.rung`.
        target: See `Provenance.target`.
        status: HTTP status, or None if none came.
        request_id: The provider's id for the request, or ``""``.
        fault: What ended it, or None.
        error: The provider's own error, if it sent one. Its message may quote the prompt:
            show it, never log it.
        usage: What the provider said it used; `Usage.estimated` where it said nothing.
        bytes: Body bytes received.
        started_at: Clock of the driver, seconds.
        ended_at: The same, or None while it runs.
        raw: The last frames before it failed, oldest first, without keys and as a rule without
            contents; only where ``log_raw`` asks for them.
    """

    number: int
    rung: str = "first"
    target: str = ""
    status: int | None = None
    request_id: str = ""
    fault: Fault | None = None
    error: ProviderError | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    bytes: int = 0
    started_at: float = 0.0
    ended_at: float | None = None
    raw: list[str] = []


class Outcome(msgspec.Struct, kw_only=True):
    """How a stream ended.

    Attributes:
        dialect: The dialect it was read as, or ``"unknown"``.
        status: One word for the end; only ``complete`` and ``limited``, ``filtered`` and
            ``paused`` (ends that the provider chose) are proven.
        complete: Every choice or block that was opened got its semantic finish.
        recoverable: The same request, retried, resumed or repaired, can give the whole answer.
        stop_reason: The provider's word for why choice 0 ended, or None.
        text: The answer text of choice 0.
        texts: The same for each choice.
        finished_choices: Choices that got their finish: their text and calls are whole, even
            where the stream failed.
        faults: In stream order, over all attempts.
        provenance: Who wrote what, in order.
        attempts: Every upstream request.
        skipped: Rungs that were not taken at the last failure, and why.
        overflowed: More than ``max_replay_bytes`` was received: `text`, `texts`, `reasoning` or
            `tool_calls` have only the beginning of what was delivered. `characters` counts all
            of the text.
        sink_error: Why the stream's sink failed, or ``""``; what it had got before is kept.
        flight: Of a stream that failed, what the flight recorder kept: the last reads with their
            times, as lines of a recording. It holds prompt and output, and no key.
        frames: Frames dispatched, over all attempts.
        bytes: Body bytes received, over all attempts.
        first_content_s: Seconds from the request to the first content, or None.
        duration_s: Seconds from the request to the end.
    """

    dialect: str = "unknown"
    status: Status = "failed"
    complete: bool = False
    recoverable: bool = False
    stop_reason: str | None = None
    text: str = ""
    texts: dict[int, str] = {}
    finished_choices: list[int] = []
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[ToolCallResult] = []
    usage: Usage = msgspec.field(default_factory=Usage)
    faults: list[Fault] = []
    provenance: list[Provenance] = []
    attempts: list[AttemptRecord] = []
    skipped: list[Skipped] = []
    overflowed: bool = False
    sink_error: str = ""
    flight: Sequence[Line] = ()
    frames: int = 0
    bytes: int = 0
    first_content_s: float | None = None
    duration_s: float = 0.0

    @property
    def recoveries(self) -> int:
        """Upstream requests beyond the first."""
        return max(0, len(self.attempts) - 1)

    @property
    def characters(self) -> int:
        """Characters of answer text that were delivered, over all choices."""
        return self.provenance[-1].end if self.provenance else 0

    @property
    def healed(self) -> bool:
        """Whether the stream broke and still came to an end that is not a failure."""
        return self.recoveries > 0 and self.status not in ("failed", "cancelled")

    @property
    def fault(self) -> Fault | None:
        """The first fatal fault, or None."""
        return next((fault for fault in self.faults if fault.fatal), None)

    @property
    def provider_error(self) -> ProviderError | None:
        """The last error that the provider put into words, with its message, or None."""
        errors = (attempt.error for attempt in reversed(self.attempts))
        return next((error for error in errors if error is not None), None)

    def take(self, received: Received) -> None:
        """Copy what was received."""
        self.texts = received.kept_texts
        self.finished_choices = sorted(c for c, f in received.finishes.items() if f.final)
        self.text = self.texts.get(0, "")
        self.overflowed = received.truncated
        self.reasoning = received.reasoning
        self.refusal = received.refusal
        self.usage = received.usage
        first = received.finishes.get(0) or next(iter(received.finishes.values()), None)
        self.stop_reason = first.reason if first is not None else None
        self.tool_calls = [
            ToolCallResult(
                index=call.index,
                id=call.id,
                name=call.name,
                arguments=call.arguments,
                complete=call.complete and not call.dropped,
            )
            for call in received.calls.values()
            if call.kind != "server"
        ]

    def to_dict(
        self, records_for: Callable[[Fault], list[str]] = lambda fault: []
    ) -> dict[str, Any]:
        """Return the object that ``unbroken check --json`` prints.

        Args:
            records_for: Gives the ids of the knowledge base's records for a fault, the best first.
        """
        usage = {k: v for k, v in msgspec.to_builtins(self.usage).items() if v is not None}
        usage.pop("estimated", None)
        return {
            "dialect": self.dialect,
            "status": self.status,
            "complete": self.complete,
            "recoverable": self.recoverable,
            "stop_reason": self.stop_reason,
            "text": self.text,
            "reasoning": self.reasoning,
            "tool_calls": [msgspec.to_builtins(call) for call in self.tool_calls],
            "usage": usage or None,
            "faults": [
                {
                    "kind": fault.kind.value,
                    "severity": fault.severity,
                    "at_byte": fault.at_byte,
                    "frame": fault.frame,
                    "detail": fault.detail,
                    "records": records_for(fault),
                }
                for fault in self.faults
            ],
            "frames": self.frames,
            "bytes": self.bytes,
        }
