"""Whether a recording still fails: by a command that is run against it, or by its fault."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from unbroken.core.checks.completeness import BodyEnd
from unbroken.core.faults import FaultKind
from unbroken.core.verdict import check
from unbroken.debugger.index import AttemptEntry
from unbroken.debugger.replaying import ReplayServer
from unbroken.debugger.replaying.running import Ran, run_watched
from unbroken.debugger.shrinking.sketch import Play, Sketch

__all__ = ["CommandTest", "FaultTest", "Test", "words_of"]

_ENDS: dict[str, BodyEnd] = {"eof": "eof", "left": "closed", "given-up": "closed"}
_CHECKED = frozenset(FaultKind) - {
    FaultKind.STALLED, FaultKind.SLOW_DRIP, FaultKind.CONNECT_FAILED, FaultKind.CANCELLED,
}  # fmt: skip


class Test(Protocol):
    """Something that fails, or does not."""

    def fails(self, sketch: Sketch) -> bool:
        """Whether it fails with this recording."""

    @property
    def said(self) -> str:
        """What the last run that failed said at its end, or ``""``."""


def words_of(command: str | Sequence[str]) -> list[str]:
    """Return a command's words.

    Raises:
        ValueError: If there are none, or a quote is not closed.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words:
        msg = "the test is an empty command"
        raise ValueError(msg)
    return words


class CommandTest:
    """A command that is run against a replay, and fails by its exit code.

    Args:
        command: Its words; ``{url}`` in one stands for the replay's address.
        expect: What its output must match to count as failing.
        timeout_s: After so long it is killed.
        hang_fails: To hang is to fail; else it is not.
        speed: Of the replay.
        repeat: How often it is run until it fails.

    Attributes:
        asked: It has sent a request to a replay.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        expect: str | None = None,
        timeout_s: float = 60.0,
        hang_fails: bool = False,
        speed: float = 1.0,
        repeat: int = 1,
    ) -> None:
        self.command = list(command)
        self.expect = expect
        self.timeout_s = timeout_s
        self.hang_fails = hang_fails
        self.speed = speed
        self.repeat = repeat
        self._pattern = re.compile(expect) if expect is not None else None
        self._folder = tempfile.TemporaryDirectory(prefix="unbroken-shrink-")
        self._refused = 0  # most requests of a failing run that were not in the recording
        self._first = True
        self.said = ""
        self.runs = 0
        self.asked = False

    def close(self) -> None:
        """Remove what was written."""
        self._folder.cleanup()

    def fails(self, sketch: Sketch) -> bool:
        """Whether the command fails against a recording.

        Raises:
            OSError: If it cannot be run.
        """
        path = Path(self._folder.name, "candidate.jsonl")
        path.write_bytes(sketch.encode())
        return any(self._run(path) for _ in range(self.repeat))

    def _run(self, path: Path) -> bool:
        self.runs += 1
        with ReplayServer(path, speed=self.speed) as server:
            words = [word.replace("{url}", server.url) for word in self.command]
            ran = run_watched(words, server.environment, timeout_s=self.timeout_s)
            refused = sum(served.ended == "refused" for served in server.served)
            self.asked = self.asked or bool(server.served)
        if not self._is_failure(ran):
            return False
        if self._first:
            self._first, self._refused = False, refused
        elif refused > self._refused:
            return False  # it fails for want of what we left out, which is another failure
        self.said = _last_line(ran.output)
        return True

    def _is_failure(self, ran: Ran) -> bool:
        failed = self.hang_fails if ran.hung else ran.code != 0
        return failed and (self._pattern is None or bool(self._pattern.search(ran.output)))


class FaultTest:
    """A fault that `unbroken.check` finds in an attempt's body.

    Args:
        kind: Its kind.

    Raises:
        ValueError: If there is no such kind, or no body shows it.
    """

    said = ""

    def __init__(self, kind: str) -> None:
        if kind not in set(_CHECKED):
            why = "is shown by no body" if kind in set(FaultKind) else "is no kind of fault"
            msg = f"{kind} {why}; the kinds are {', '.join(sorted(_CHECKED))}"
            raise ValueError(msg)
        self.kind = kind

    def fails(self, sketch: Sketch) -> bool:
        """Whether an attempt still shows the fault."""
        return any(self.shown_by(play) for play in sketch.plays)

    def shown_by(self, play: Play) -> bool:
        """Whether one attempt shows the fault."""
        if play.head is not None and play.head.status >= 400:
            return self.kind == FaultKind.HTTP_ERROR
        how = play.end.how if play.end is not None else ""
        dialect = AttemptEntry(0, 0, 0.0)
        dialect.request = play.request
        known = dialect.dialect
        headers = play.head.headers if play.head is not None else []
        outcome = check(
            play.body,
            known.name if known is not None else "auto",
            _ENDS.get(how, "reset"),
            content_type=next((v for n, v in headers if n.lower() == "content-type"), ""),
        )
        return any(fault.kind == self.kind for fault in outcome.faults)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
