"""Frames in their turn: ordered by their numbers, with what was lost between them made good."""

from __future__ import annotations

from collections.abc import Iterator

from unbroken.core.checks.ordering import Gap, Ordering
from unbroken.core.checks.repair import Repair
from unbroken.core.checks.repeats import Repeats
from unbroken.core.dialects.base import Dialect, MalformedPayloadError, Mender, Reader
from unbroken.core.events import Event, ProviderError, Start
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame

__all__ = ["Turns"]


class Turns:
    """Give the frames of one attempt in the order in which they are to be read.

    What a frame means may depend on those before it, so it is read in its turn only. The
    methods that give frames are generators: read each frame before asking for the next.

    Attributes:
        faults: What was found; take them before each frame, and at the end.
        ahead: What frames mean that were put aside: they are a sign of progress.

    Args:
        dialect: The dialect, which numbers its frames.
        reader: The attempt's reader.
        repeats: What compares repeated texts, or None.
        window: Most frames held while one with an earlier number is awaited.
        wait_s: Longest time that it is awaited.
        max_held_bytes: Most bytes held.
        repair: Make good what was lost, where the dialect can.
        from_start: The first frame is known to be the answer's first.
    """

    def __init__(
        self,
        dialect: Dialect,
        reader: Reader,
        repeats: Repeats | None,
        *,
        window: int,
        wait_s: float,
        max_held_bytes: int,
        repair: bool,
        from_start: bool = False,
    ) -> None:
        self.faults: list[Fault] = []
        self.ahead: list[Event] = []
        self._dialect = dialect
        self._reader = reader
        self._repeats = repeats
        self._window = window
        self._wait_s = wait_s
        self._max_held_bytes = max_held_bytes
        self._ordering: Ordering[Frame] = Ordering(
            window=window, wait_s=wait_s, max_size=max_held_bytes
        )
        self._unbegun = from_start  # until the first frame came
        self._answer_id = ""  # of the answer whose rest was asked for
        self._mender: Mender | None = None
        if repair and repeats is not None:
            self._mender = dialect.mender(reader, repeats.said)
        self._repair = Repair(max_held_bytes=max_held_bytes, faults=self.faults)
        self._beside: list[Frame] = []  # without a number, behind frames that wait for one

    def fork(self, reader: Reader, repeats: Repeats | None) -> Turns:
        """Return an independent copy, over other copies of what reads the frames."""
        copy = Turns(
            self._dialect,
            reader,
            repeats,
            window=self._window,
            wait_s=self._wait_s,
            max_held_bytes=self._max_held_bytes,
            repair=self._mender is not None,
        )
        copy._unbegun, copy._answer_id = self._unbegun, self._answer_id
        copy.faults += self.faults
        copy._ordering = self._ordering.fork()
        copy._repair = self._repair.fork(faults=copy.faults)
        copy._beside = list(self._beside)
        return copy

    @property
    def waiting(self) -> bool:
        """Whether frames wait for earlier ones."""
        return self._ordering.waiting or self._repair.active

    @property
    def mended(self) -> bool:
        """Whether a frame of ours was given out."""
        return self._repair.mended

    def take_faults(self) -> list[Fault]:
        """Return the faults since the last call."""
        faults = list(self.faults)
        self.faults.clear()  # the list is shared with the repair
        return faults

    def next_timer(self) -> float | None:
        """Return when an absent number is given up, or None."""
        return self._ordering.next_timer()

    def go_on_after(self, number: int, *, answer_id: str = "") -> None:
        """The numbers go on after this one; what was held comes again.

        A provider that lost the answer may begin another one: its frames have the numbers of
        those that were read, and must not be taken for repetitions.
        """
        self._answer_id = answer_id
        self._ordering.go_on_after(number)
        self._repair.forget()
        self._beside.clear()

    # Inputs -------------------------------------------------------------------------------

    def passes(self, frame: Frame) -> bool:
        """Whether a frame is simply in its turn, as nearly all are; else `accept` takes it."""
        if self._unbegun or self.waiting:
            return False
        number = self._dialect.number(frame)
        return number is None or self._ordering.step(number)

    def accept(self, frame: Frame, now: float, *, count: int) -> Iterator[Frame]:
        """Take a frame; yield the frames whose turn has come.

        Args:
            frame: The frame.
            now: The time.
            count: Which frame of the attempt it is, from 0.
        """
        ordering, number = self._ordering, self._dialect.number(frame)
        if self._unbegun:
            self._unbegun = False
            if number is not None and number > 0 and not self._dialect.begins_numbering(frame):
                ordering.restart(0)
        if self.passes(frame):
            yield frame
            return
        events = self._meaning(frame)
        if self._is_another(events):
            self.faults.append(
                Fault.of(
                    FaultKind.PROTOCOL_VIOLATION,
                    "asked for the rest of an answer, the provider began another one",
                    frame=count,
                    at_byte=frame.offset,
                )
            )
            return
        if any(type(event) is ProviderError for event in events):
            yield frame  # never held back, whatever is absent before it: it says why
            return
        if number is None:
            self.ahead += events
            if len(self._beside) < self._window:
                self._beside.append(frame)
            else:
                yield frame
            return
        if self._mender is not None and self._repair.awaits(number):
            self._repair.fill(number, self._mender.note(frame))
            yield from self._release()
            return
        found = ordering.accept(
            number, frame, now=now, size=len(frame.raw), frame=count, at_byte=frame.offset
        )
        if found or ordering.holds(number):
            self.ahead += events
        yield from self._pass(found)

    def handle_timer(self, now: float, *, at_byte: int) -> Iterator[Frame]:
        """Give up what has been awaited for too long; yield what may be read then."""
        yield from self._pass(self._ordering.handle_timer(now, at_byte=at_byte))

    def close(self, *, at_byte: int) -> Iterator[Frame]:
        """The body ended: yield all that waits."""
        yield from self._pass(self._ordering.flush(at_byte=at_byte), ended=True)

    # Their work ---------------------------------------------------------------------------

    def _is_another(self, events: list[Event]) -> bool:
        ids = {event.id for event in events if type(event) is Start and event.id}
        return bool(self._answer_id) and bool(ids - {self._answer_id})

    def _meaning(self, frame: Frame) -> list[Event]:
        """Return what a frame would mean now, out of its turn."""
        try:
            return self._reader.fork().read(frame)
        except MalformedPayloadError:
            return []

    def _pass(self, found: list[Frame | Gap], *, ended: bool = False) -> Iterator[Frame]:
        self._tell()
        mender = self._mender
        for each in found:
            if isinstance(each, Gap):
                if mender is not None:
                    self._repair.lose(each)
                else:
                    detail = each.detail
                    self.faults.append(
                        Fault.of(FaultKind.MISSING_EVENT, detail, at_byte=each.at_byte)
                    )
            elif mender is not None and self._repair.active:
                self._repair.hold(mender.note(each))
            else:
                yield each
        yield from self._release(ended=ended)

    def _release(self, *, ended: bool = False) -> Iterator[Frame]:
        if self._mender is not None and self._repair.active:
            yield from self._repair.ready(self._mender, ended=ended)
        if not self.waiting or ended:
            beside, self._beside = self._beside, []
            yield from beside

    def _tell(self) -> None:
        self.faults += self._ordering.take_faults()
