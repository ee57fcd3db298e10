"""The demo's account: what was dealt out, what became of it, and whether it proves its point."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["DemoReport", "FaultMet", "SideReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMet:
    """One fault that the proxy really dealt to the healed side.

    Attributes:
        dealt: What the proxy did.
        after_words: After how many words of that attempt.
        kind: What Unbroken called it; ``""`` if it made no further attempt.
        rung: How it recovered.
        guarantee: What the text after it is worth; ``""`` if none of it was delivered.
    """

    dealt: str
    after_words: int
    kind: str
    rung: str
    guarantee: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReport:
    """What one side's application got.

    Attributes:
        words: Words of its text.
        bytes: Its length in UTF-8.
        equal: Whether it is the uninterrupted answer, to the byte.
        over: Whether the application's loop ended.
        raised: Name of the exception that it saw, or None.
        finish_reason: The last one that it saw, or None.
        seconds: How long it took.
    """

    words: int
    bytes: int
    equal: bool
    over: bool
    raised: str | None
    finish_reason: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """The whole account."""

    seed: int
    server: str
    client: str
    truth_words: int
    truth_bytes: int
    plain: SideReport
    healed: SideReport
    status: str
    faults: list[FaultMet]

    @property
    def proven(self) -> bool:
        """Whether the healed text is the truth, and the plain side was short in silence."""
        plain, healed = self.plain, self.healed
        whole = healed.over and healed.raised is None and healed.equal
        return whole and plain.over and plain.raised is None and not plain.equal

    @property
    def why_not(self) -> str:
        """One line on what went otherwise than it should, or ``""``."""
        plain, healed = self.plain, self.healed
        if not healed.over or not plain.over:
            late = "with" if not healed.over else "without"
            return f"the side {late} Unbroken was not over in time"
        if healed.raised is not None:
            return f"the side with Unbroken raised {healed.raised}"
        if not healed.equal:
            return f"the side with Unbroken got {healed.bytes} bytes that are not the answer's"
        if plain.raised is not None:
            return f"the side without Unbroken noticed: it raised {plain.raised}"
        return "the side without Unbroken got the whole answer" if plain.equal else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``unbroken demo --json`` prints."""
        return {**asdict(self), "proven": self.proven}
