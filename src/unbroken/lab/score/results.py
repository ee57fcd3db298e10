"""What is kept of a run: one card, with a result for each scenario, as JSON that lasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from unbroken.lab.score.verdict import VERDICTS, Facts, Request, Verdict

__all__ = ["FORMAT", "VERSION", "Card", "CardError", "Result", "Skipped", "kept"]

FORMAT = "unbroken-scorecard"
VERSION = 1
_STDOUT_KEPT = 2_000


class CardError(ValueError):
    """A file that is no scorecard; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One scenario's verdict, with what stands behind it.

    Attributes:
        scenario, plan, best, life, tags, undetectable: Of the scenario; see `Scenario`.
        model: The model's name that the client was given: enough to play it again.
        verdict: One of `VERDICTS`.
        ok: Healed, or an honest error where something had gone wrong; of an undetectable fault
            always.
        facts: Counts and times.
        requests: What reached the lab.
        exit_code, signal: How the client ended.
        stdout_end, stderr_end: The last that it printed.
        copies: How many clients ran it at the same time; this is the worst of them.
    """

    scenario: str
    plan: str
    verdict: Verdict
    ok: bool
    facts: Facts
    best: str = "whole"
    life: str = ""
    tags: tuple[str, ...] = ()
    undetectable: str | None = None
    model: str = ""
    requests: list[Request] = field(default_factory=list)
    exit_code: int | None = None
    signal: int | None = None
    stdout_end: str = ""
    stderr_end: str = ""
    copies: int = 1

    @property
    def fell_short(self) -> bool:
        """Whether an honest error is all that came of what could have been made whole."""
        return self.verdict == "honest error" and self.best == "whole" and not self.undetectable

    @property
    def severity(self) -> int:
        """0 for healed, higher for worse."""
        return VERDICTS.index(self.verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A scenario that was not run, and why.

    Attributes:
        scenario: Its name.
        why: The reason.
        mistake: The lab refused a plan that its user has written: the file is to be corrected.
    """

    scenario: str
    why: str
    mistake: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What one client, or gateway, made of a suite.

    Attributes:
        label: What it is called in tables.
        suite: The suite's name.
        dialect: What it spoke.
        command: How it was run; for a gateway its address.
        seed: Of the answers.
        started_at: Date and time in UTC, ISO 8601.
        duration_s: Of the whole run.
        results: In the order of the suite.
        skipped: What was not run.
        unbroken: The version that made the card.
        complete: False where the run was stopped; what had not ended by then is skipped.
    """

    label: str
    suite: str
    dialect: str
    command: tuple[str, ...]
    results: list[Result]
    skipped: list[Skipped] = field(default_factory=list)
    seed: int = 0
    started_at: str = ""
    duration_s: float = 0.0
    unbroken: str = ""
    complete: bool = True
    format: str = FORMAT
    version: int = VERSION

    @property
    def ok(self) -> bool:
        """Whether nothing was worse than an honest error.

        A run that was stopped, in which nothing was played, or whose file has a mistake does not
        tell, and is not.
        """
        if not self.complete or not self.results or any(skip.mistake for skip in self.skipped):
            return False
        return all(result.ok for result in self.results)

    def counts(self) -> dict[Verdict, int]:
        """Return how often each verdict was given, without undetectable faults."""
        counted = Counter(r.verdict for r in self.results if not r.undetectable)
        return {verdict: counted[verdict] for verdict in VERDICTS}

    def to_json(self) -> bytes:
        """Return the card as JSON, with a summary that needs no counting."""
        data = msgspec.to_builtins(self)
        damage = {
            kind: sum(getattr(r.facts, kind).count for r in self.results if not r.undetectable)
            for kind in ("lost", "repeated", "reordered", "invented")
        }
        data["ok"] = self.ok
        counts: dict[str, int] = {str(verdict): count for verdict, count in self.counts().items()}
        data["summary"] = {**counts, "skipped": len(self.skipped), **damage}
        return msgspec.json.format(msgspec.json.encode(data), indent=2)

    @classmethod
    def from_json(cls, raw: bytes, where: str = "the card") -> Card:
        """Read a card.

        Raises:
            CardError: If it is none, or of a later version.
        """
        try:
            head = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            head = None
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            msg = f"{where}: not a scorecard; write one with: unbroken lab score --json"
            raise CardError(msg)
        if head.get("version") != VERSION:
            msg = f"{where}: a scorecard of version {head.get('version')}; this reads {VERSION}"
            raise CardError(msg)
        try:
            return msgspec.convert(head, cls)
        except msgspec.ValidationError as error:
            msg = f"{where}: a damaged scorecard: {str(error)[:1].lower()}{str(error)[1:]}"
            raise CardError(msg) from None

    @classmethod
    def read(cls, paths: Iterable[str | Path]) -> list[Card]:
        """Read cards from files; raises `CardError`."""
        cards = []
        for path in paths:
            try:
                raw = Path(path).read_bytes()
            except OSError as error:
                msg = f"{path}: {(error.strerror or str(error)).lower()}"
                raise CardError(msg) from None
            cards.append(cls.from_json(raw, str(path)))
        return cards


def kept(text: str) -> str:
    """Return the end of an output, as much as is worth keeping."""
    return text if len(text) <= _STDOUT_KEPT else "..." + text[-_STDOUT_KEPT:]
