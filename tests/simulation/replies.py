"""How an upstream answers one attempt."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.speech import Truth

__all__ = ["NEVER", "Kept", "Reply"]

NEVER = float("inf")


@dataclass
class Kept:
    """An answer that the upstream goes on to hold.

    Attributes:
        frames: Of the whole, healthy body.
        truth: What it says.
    """

    id: str
    frames: list[bytes]
    truth: Truth

    @property
    def body(self) -> bytes:
        return b"".join(self.frames)


@dataclass
class Reply:
    """One attempt's answer: a head, then reads, then an end.

    Attributes:
        status: HTTP status; None where no head comes.
        headers: Of the head.
        head_s: Seconds until the head, or until the connection fails.
        reads: (Seconds after the one before, bytes).
        end: ``eof``, ``reset`` or ``hang``.
        end_s: Seconds from the last read to the end.
        truth: What the model says, whole; None where it never speaks.
        fault: What goes wrong.
        problem: The body, where the status is no 2xx.
        whole: All of the healthy body is sent.
        longest_frame: Bytes of the largest frame.
        wait_s: How long it asks to wait.
        again_at: The time before which it asks not to come again.
        hopeless: The same request would fail again, and the reply says so.
        renumbered: Numbered frames were swapped, repeated or lost: what came in between waits.
        holed: A frame of the answer was garbled; `truth` is what is left.
        kept: The answer, if the upstream goes on to hold it.
        resumes: It goes on with an answer that the upstream kept.
        mid_frame: It goes on at a byte; else with a whole frame.
        dialect: What it speaks.
    """

    status: int | None
    headers: dict[str, str]
    head_s: float
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    end: str = "eof"
    end_s: float = 0.0
    truth: Truth | None = None
    fault: str = "none"
    problem: bytes = b""
    whole: bool = False
    renumbered: bool = False
    holed: bool = False
    longest_frame: int = 0
    wait_s: float = 0.0
    again_at: float = 0.0
    hopeless: bool = False
    kept: Kept | None = None
    resumes: bool = False
    mid_frame: bool = False
    dialect: str = ""
