"""The reorder buffer for streams that the user's own relay numbers.

One implementation serves here and under every stream: `unbroken.core.checks.ordering`. This
module says where an item's number is, what a gap means, and reads the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

from unbroken.core.checks.ordering import Gap, Ordering
from unbroken.core.errors import IncompleteStreamError
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome

__all__ = ["MissingEventError", "ReorderBuffer"]

T = TypeVar("T")

_MOST_FAULTS = 256
_SHOWN = 8


class MissingEventError(IncompleteStreamError):
    """An item that must come before others never came.

    Attributes:
        expected: The number that is absent.
        got: The next number that is there.
        held: The items that came behind it, in order. They were not given out.
    """

    def __init__(self, gap: Gap, numbers: list[int], held: list[Any], faults: list[Fault]) -> None:
        fault = _fault_of(gap, severity="fatal")
        outcome = Outcome(dialect="", status="failed", recoverable=True, faults=list(faults))
        super().__init__(outcome=outcome, fault=fault)
        shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if numbers[_SHOWN:] else "")
        message = (
            f"{fault.detail}; {len(numbers)} later items ({shown}) are in .held;"
            ' send the stream again, or let the gap be with missing="skip"'
        )
        self.args = (message,)
        self.expected, self.got, self.held = gap.first, gap.got, held
        self._made_of = (gap, numbers, held, faults)

    def __reduce__(self) -> tuple[object, ...]:
        return (MissingEventError, self._made_of)


class ReorderBuffer(Generic[T]):
    """Put the numbered items of a stream back into their order.

    An item that came too early waits for those before it; one that comes again is dropped. An
    item that is absent is awaited until `window` later ones are held, `timeout_s` are over, or
    the stream ends. Items without a number pass straight through.

        buffer = unbroken.ReorderBuffer(key="choices.0.index")
        for item in buffer.iter(source): ...

    `iter` and `aiter` read the clock. `push`, `next_timer`, `handle_timer` and `close` are for
    who has a clock and a loop of his own: they are given the time, and never wait.

    Args:
        key: Where an item's number is: a function of the item, or the name of a field, dotted
            for fields within fields (``"meta.seq"``); of mappings, objects and sequences. An
            item for which it gives None, or anything but a whole number, has no number.
        window: Most items held.
        timeout_s: Longest time, in seconds, that an item is awaited; None sets no limit.
        missing: What an item that never comes leads to: ``raise`` raises `MissingEventError`;
            ``skip`` goes on without it, with a fault.
        start: The first number. None: the first that is seen; then what comes before it later
            is taken for a repetition.

    Attributes:
        faults: What was put right, dropped or skipped (``out-of-order``, ``duplicate-event``,
            ``missing-event``), with numbers; the first 256.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range.
    """

    def __init__(
        self,
        *,
        key: str | Callable[[T], int | None],
        window: int = 64,
        timeout_s: float | None = 5.0,
        missing: Literal["raise", "skip"] = "raise",
        start: int | None = None,
    ) -> None:
        if not key or not (callable(key) or isinstance(key, str)):
            msg = f"key must be a function or the name of a field, not {key!r:.80}"
            raise TypeError(msg)
        _check_number("window", window, least=1, whole=True)
        if timeout_s is not None:
            _check_number("timeout_s", timeout_s, least=0)
        if start is not None:
            _check_number("start", start, whole=True)
        if missing not in ("raise", "skip"):
            msg = f'missing must be "raise" or "skip", not {missing!r:.80}'
            raise ValueError(msg)
        self.faults: list[Fault] = []
        self._number = key if callable(key) else _field(key)
        self._skips = missing == "skip"
        self._failed: MissingEventError | None = None
        self._ordering: Ordering[tuple[int, T]] = Ordering(
            window=window, wait_s=timeout_s, start=start
        )

    # With the time as an argument ---------------------------------------------------------

    def push(self, item: T, now: float) -> list[T]:
        """Take an item; return those whose turn has come.

        Args:
            item: The item.
            now: The time in seconds, of any clock that does not go back.

        Raises:
            MissingEventError: If one that is absent is given up. It comes again from every
                further call: the stream cannot go on.
        """
        self._go_on()
        number = self._number(item)
        if not isinstance(number, int) or isinstance(number, bool):
            return [item]
        ready = self._out(self._ordering.accept(number, (number, item), now=now))
        return ready + self.handle_timer(now)

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`, or None if nothing is awaited."""
        return self._ordering.next_timer()

    def handle_timer(self, now: float) -> list[T]:
        """Give up what has been awaited for too long; return the items behind it.

        Raises:
            MissingEventError: As `push` does.
        """
        self._go_on()
        return self._out(self._ordering.handle_timer(now))

    def close(self) -> list[T]:
        """The stream ended: return what still waits.

        Raises:
            MissingEventError: As `push` does.
        """
        self._go_on()
        return self._out(self._ordering.flush())

    def restart(self, start: int | None = None) -> list[T]:
        """Another numbering begins; return what still waited in the last one, as `close` does.

        A buffer cannot tell a new numbering from repeated items: say so, where a stream
        counts anew (several answers in one).
        """
        rest = self.close()
        self._ordering.restart(start)
        return rest

    def _go_on(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _out(self, found: list[tuple[int, T] | Gap]) -> list[T]:
        self._keep(self._ordering.take_faults())
        items: list[T] = []
        for at, each in enumerate(found):
            if not isinstance(each, Gap):
                items.append(each[1])
                continue
            if not self._skips:
                later = [other for other in found[at:] if not isinstance(other, Gap)]
                self._fail(each, later)
            self._keep([_fault_of(each, severity="warning")])
        return items

    def _fail(self, gap: Gap, later: list[tuple[int, T]]) -> None:
        held = later + self._ordering.held
        self._keep([_fault_of(gap, severity="fatal")])
        self._failed = MissingEventError(
            gap, [number for number, _ in held], [item for _, item in held], self.faults
        )
        raise self._failed

    def _keep(self, faults: list[Fault]) -> None:
        self.faults += faults[: max(0, _MOST_FAULTS - len(self.faults))]

    # With the clock -----------------------------------------------------------------------

    def iter(self, source: Iterable[T]) -> Iterator[T]:
        """Yield the items of a source in order.

        A source that blocks cannot be interrupted: that the time is over is noticed when its
        next item comes, or its end. The source stays the caller's to close.

        Raises:
            MissingEventError: As `push` does; what comes before the gap has been yielded.
        """
        for item in source:
            yield from self.push(item, time.monotonic())
        yield from self.close()

    async def aiter(self, source: AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield the items of an asynchronous source in order.

        On asyncio the time is kept while the source is silent; a read that is under way when
        the consumer leaves is cancelled. On trio the time is noticed when the next item comes.
        The source stays the caller's to close.

        Raises:
            MissingEventError: As `push` does; what comes before the gap has been yielded.
        """
        items = aiter(source)
        while True:
            try:
                if self.next_timer() is None or not _on_asyncio():
                    item = await anext(items)
                else:
                    reading = asyncio.ensure_future(anext(items))
                    try:
                        async for late in self._until(reading):
                            yield late
                        item = await reading
                    finally:
                        if not reading.done():
                            reading.cancel()
                            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                                await reading
            except StopAsyncIteration:
                break
            for each in self.push(item, time.monotonic()):
                yield each
        for each in self.close():
            yield each

    async def _until(self, reading: asyncio.Future[T]) -> AsyncIterator[T]:
        """Yield what is given up on while a read is under way; return when it is done."""
        while not reading.done():
            due = self.next_timer()
            wait_s = None if due is None else max(0.0, due - time.monotonic())
            await asyncio.wait([reading], timeout=wait_s)
            if not reading.done():
                for each in self.handle_timer(time.monotonic()):
                    yield each


def _fault_of(gap: Gap, *, severity: Literal["fatal", "warning"]) -> Fault:
    return Fault.of(FaultKind.MISSING_EVENT, gap.detail, severity=severity)


def _check_number(name: str, value: object, *, least: float = 0, whole: bool = False) -> None:
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool):
        msg = f"{name} must be a {'whole ' if whole else ''}number, not {value!r:.80}"
        raise TypeError(msg)
    if not value >= least:
        msg = f"{name} must be at least {least}, not {value}"
        raise ValueError(msg)


def _field(path: str) -> Callable[[Any], Any]:
    """Return a function that follows a dotted path, and gives None where it leads nowhere."""
    names = path.split(".")

    def follow(item: Any) -> Any:
        for name in names:
            if isinstance(item, Mapping):
                item = item.get(name)
            elif isinstance(item, list | tuple) and name.isdecimal():
                item = item[int(name)] if int(name) < len(item) else None
            else:
                item = getattr(item, name, None)
            if item is None:
                return None
        return item

    return follow


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
