"""Another dialect's answer, told in the consumer's own.

A target of another dialect takes over only before content, so there is no seam to prove: its
events are written anew, by the home dialect's writer. What has no place there ends it, with
`diverged`: nothing is left out in silence but what a consumer cannot use (see the writers).

**The end.** The writer holds a finish until the target's last marker. A target without one, or
one that leaves it out, has ended only when its body has, and whoever judges that says so with
`finish`. So a target that is cut, or fails after its finish, never ends the consumer's stream.
"""

from __future__ import annotations

from unbroken.core.dialects.base import Dialect
from unbroken.core.dialects.writing import Writer
from unbroken.core.events import (
    End,
    Event,
    Finish,
    Other,
    ProviderError,
    Start,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Usage, merge_usage
from unbroken.core.recovery.written import OwnFrames, Piece
from unbroken.core.request import Request

__all__ = ["Translation"]

_NOT_ASKED = Request(method="POST", url="")


class Translation:
    """Turn the steps of a target's attempt into pieces in the consumer's dialect.

    Used in place of a `Splice`. `diverged` says that the answer cannot be told.

    Args:
        home: What the consumer speaks.
        target: What the attempt speaks.
        asked: The consumer's request, which may say how it wants the answer.
        model: The model's name, where the target does not say it.
        created: When the answer began, seconds since the epoch, for dialects that tell.
        limit_bytes: Most characters of an answer that are remembered for a dialect that says
            them again (Responses), or takes tool calls only whole (Gemini, Ollama).
    """

    def __init__(
        self,
        home: Dialect,
        target: Dialect,
        *,
        asked: Request | None = None,
        model: str = "",
        created: float = 0,
        limit_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self.diverged: str | None = None
        self.blocked = False  # no answer had begun that it could refuse to go on with
        self._home = home
        self._target = target
        self._asked = asked or _NOT_ASKED
        self._model = model
        self._created = int(created)
        self._limit_bytes = limit_bytes
        self._usage = Usage()
        self._writer: Writer | None = None
        self._wrote = False
        self._own = OwnFrames(home)

    @property
    def proven(self) -> bool:
        """Whether anything was written for the consumer."""
        return self._wrote

    def accept(self, frame: Frame, events: list[Event]) -> list[Piece]:
        """Take one step of the attempt; return what may be delivered."""
        if self.diverged is not None or not frame.dispatched:
            return []
        kept: list[Event] = []
        for event in events:
            match event:
                case Start(id=id_, model=model):
                    self._begin(id_ or "", model or "")
                    kept.append(event)
                case UsageReport():
                    kept.append(self._counted(event))
                case ProviderError():
                    return []  # what it says is not told: the stream fails or goes elsewhere
                case Other(content=True):
                    self._give_up("it sent something other than text and function calls")
                    return []
                case Finish(meaning=("pause" | "fault") as meaning):
                    self._give_up(f"it ended with a {meaning}")
                    return []
                case _:
                    kept.append(event)
        return self._write(kept) if kept else []

    def finish(self) -> list[Piece]:
        """The attempt's end is proven: return what waited for that.

        To be called once, after the last `accept`; an end that was written already is not
        written again.
        """
        if self.diverged is not None or self._writer is None:
            return []
        if self._target.last_marker is None:
            return self._write([End("")])
        return self._pieces(self._writer.close(), self._writer)

    def _begin(self, id_: str, model: str) -> None:
        if self._writer is None:
            self._writer = self._home.writer(
                id=id_ or f"{self._target.name}-{self._created}",
                model=model or self._model or "unknown",
                created=self._created,
                asked=self._asked,
            )

    def _write(self, events: list[Event]) -> list[Piece]:
        self._begin("", "")
        assert self._writer is not None
        return self._pieces(self._writer.write(events), self._writer)

    def _pieces(self, frames: list[bytes], writer: Writer) -> list[Piece]:
        pieces = self._own.pieces(frames)
        if writer.problem is not None:
            self._give_up(writer.problem)
        elif writer.held > self._limit_bytes:
            self._give_up(f"it said more than {self._limit_bytes} characters to remember")
        self._wrote = self._wrote or bool(pieces)
        return pieces

    def _give_up(self, why: str) -> None:
        self.diverged = f"{why}, which cannot be told in {self._home.name}"

    def _counted(self, report: UsageReport) -> UsageReport:
        """Return the figures as the home dialect counts them."""
        usage, home, target = self._usage, self._home, self._target
        merge_usage(usage, report)
        output = _moved(
            usage.output,
            usage.reasoning,
            out=home.output_has_reasoning,
            in_=target.output_has_reasoning,
        )
        given = _moved(
            usage.input, usage.cached_input, out=home.input_has_cached, in_=target.input_has_cached
        )
        return UsageReport(given, output, usage.cached_input, usage.reasoning)


def _moved(total: int | None, part: int | None, *, out: bool, in_: bool) -> int | None:
    """Return a total with its part, or without, where one side counts the part in it."""
    if total is None or out == in_:
        return total
    return total + (part or 0) if out else max(0, total - (part or 0))
