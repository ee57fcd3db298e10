"""What is tried, in which order, to make a recording smaller.

Large things go first, since each try costs a run of the test: all times at once, or else as many
gaps as can go, which makes the other tries fast; what a replay does not need, streams, attempts,
frames; then reads are joined, single times zeroed, texts shortened, headers dropped. It goes round
again as long as that helps.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from unbroken.debugger.shrinking.ddmin import fewest
from unbroken.debugger.shrinking.judging import Test
from unbroken.debugger.shrinking.sketch import Frame, Play, Sketch
from unbroken.debugger.shrinking.texts import EDITABLE, Spot, length_of, shortened, spots_of

__all__ = ["Progress", "Shrinker", "Size"]

_MOST_ROUNDS = 3
_MOST_HALVINGS = 6
_SHORT_S = 0.05
_MOST_SPOTS = 4000


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How large a recording is.

    Attributes:
        streams: How many streams.
        attempts: How many attempts of all.
        frames: How many frames of all.
        reads: In how many reads they came.
        body_bytes: How long their bodies are together.
        lasts_s: How long it takes at its own times.
        file_bytes: How large its file is.
    """

    streams: int
    attempts: int
    frames: int
    reads: int
    body_bytes: int
    lasts_s: float
    file_bytes: int

    @classmethod
    def of(cls, sketch: Sketch) -> Size:
        """Measure a recording."""
        plays = sketch.plays
        reads = [list(play.reads) for play in plays]
        return cls(
            streams=len({play.stream for play in plays}),
            attempts=len(plays),
            frames=sum(len(play.frames) for play in plays),
            reads=sum(map(len, reads)),
            body_bytes=sum(len(data) for of_play in reads for _, _, data in of_play),
            lasts_s=round(_lasts_s(sketch), 6),
            file_bytes=len(sketch.encode()),
        )


def _lasts_s(sketch: Sketch) -> float:
    return sum(
        play.head_gap_s + play.end_gap_s + sum(gap_s for _, gap_s, _ in play.reads)
        for play in sketch.plays
    )


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is.

    Attributes:
        phase: What is being left out.
        tries: How often the test was run.
        size: Of the smallest that still fails.
        smaller: The last try made it smaller.
    """

    phase: str
    tries: int
    size: Size
    smaller: bool


class Shrinker:
    """Make a recording smaller as long as a test fails with it.

    Args:
        sketch: The recording, with which the test is known to fail.
        test: It.
        on_progress: Called after each try.
        most_tries: Runs of the test after which it stops.
        until_s: Time of the monotonic clock at which it stops; None: never.

    Attributes:
        best: The smallest recording so far with which the test fails.
        tries: How often the test was run.
        stopped: A limit was reached before nothing more could be left out.
    """

    def __init__(
        self,
        sketch: Sketch,
        test: Test,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        most_tries: int | None = None,
        until_s: float | None = None,
    ) -> None:
        self.best = sketch
        self.tries = 0
        self.stopped = False
        self._test = test
        self._on_progress = on_progress
        self._most_tries = most_tries
        self._until_s = until_s
        self._known: dict[bytes, bool] = {}
        self._phase = ""
        self._size = Size.of(sketch)

    def run(self) -> None:
        """Try all that can be tried; may be interrupted, and `best` is true then too."""
        self._step("times", self._times)
        if _lasts_s(self.best) > _SHORT_S:
            # Time is of the failure: what can go of it goes first, since each try waits for it.
            self._step("gaps", self._gaps)
        self._step("what a replay does not need", self._beside)
        for _ in range(_MOST_ROUNDS):
            before = self.best.encode()
            self._step("streams", self._streams)
            self._step("attempts", self._attempts)
            self._step("frames", self._frames)
            self._step("reads", self._reads)
            self._step("gaps", self._gaps)
            self._step("texts", self._texts)
            self._step("headers", self._headers)
            if self.stopped or self.best.encode() == before:
                return

    def _step(self, phase: str, step: Callable[[], None]) -> None:
        if not self.stopped:
            self._phase = phase
            step()

    def _still(self, sketch: Sketch) -> bool:
        """Whether the test still fails; then this recording is the best so far."""
        if not sketch.plays:  # nothing that a client could ask for
            return False
        data = sketch.encode()
        key = hashlib.blake2b(data, digest_size=16).digest()
        known = self._known.get(key)
        if known is not None:
            if known:
                self.best = sketch
            return known
        if self._out_of_bounds():
            self.stopped = True
            return False
        self.tries += 1
        fails = self._known[key] = self._test.fails(sketch)
        if fails:
            self.best, self._size = sketch, Size.of(sketch)
        if self._on_progress is not None:
            said = Progress(phase=self._phase, tries=self.tries, size=self._size, smaller=fails)
            self._on_progress(said)
        return fails

    def _out_of_bounds(self) -> bool:
        if self._most_tries is not None and self.tries >= self._most_tries:
            return True
        return self._until_s is not None and time.monotonic() >= self._until_s

    # -- what can go -----------------------------------------------------------------------

    def _with_plays(self, plays: Iterable[Play]) -> Sketch:
        return msgspec.structs.replace(self.best, plays=tuple(plays))

    def _with(self, number: int, **changed: Any) -> Sketch:
        plays = list(self.best.plays)
        plays[number] = msgspec.structs.replace(plays[number], **changed)
        return self._with_plays(plays)

    def _times(self) -> None:
        self._still(
            self._with_plays(
                msgspec.structs.replace(
                    play.moved(-play.request.at_s), head_gap_s=0.0, gaps_s={}, end_gap_s=0.0
                )
                for play in self.best.plays
            )
        )

    def _beside(self) -> None:
        self._still(
            self._with_plays(
                msgspec.structs.replace(
                    play, beside=(), request=msgspec.structs.replace(play.request, headers=[])
                )
                for play in self.best.plays
            )
        )

    def _streams(self) -> None:
        plays = self.best.plays
        streams = list(dict.fromkeys(play.stream for play in plays))
        if len(streams) > 1:
            fewest(
                streams,
                lambda kept: self._still(self._with_plays(p for p in plays if p.stream in kept)),
            )

    def _attempts(self) -> None:
        plays = self.best.plays
        if len(plays) > 1:
            fewest(
                range(len(plays)),
                lambda kept: self._still(self._with_plays(plays[number] for number in kept)),
            )

    def _frames(self) -> None:
        plays = self.best.plays
        items = [(n, frame) for n, play in enumerate(plays) for frame in play.frames]

        def still(kept: list[tuple[int, Frame]]) -> bool:
            rows: list[list[Frame]] = [[] for _ in plays]
            for number, frame in kept:
                rows[number].append(frame)
            return self._still(
                self._with_plays(
                    msgspec.structs.replace(play, frames=tuple(row))
                    for play, row in zip(plays, rows, strict=True)
                )
            )

        fewest(items, still)

    def _reads(self) -> None:
        """Join reads; which cuts between two of them must stay."""
        plays = self.best.plays
        cuts = [(n, read) for n, p in enumerate(plays) for read, _, _ in list(p.reads)[1:]]

        def still(kept: Sequence[tuple[int, int]]) -> bool:
            stay = set(kept)
            gone: list[set[int]] = [set(play.joined) for play in plays]
            for number, read in cuts:
                if (number, read) not in stay:
                    gone[number].add(read)
            return self._still(
                self._with_plays(
                    msgspec.structs.replace(play, joined=frozenset(joined))
                    for play, joined in zip(plays, gone, strict=True)
                )
            )

        fewest(cuts, still)

    def _gaps(self) -> None:
        plays = self.best.plays
        gaps: list[tuple[int, int]] = []  # -1: before the head, -2: before the end
        for number, play in enumerate(plays):
            named = [(-1, play.head_gap_s), *play.gaps_s.items(), (-2, play.end_gap_s)]
            gaps += [(number, name) for name, gap_s in named if gap_s > 0]
        kept = fewest(gaps, lambda some: self._still(self._with_gaps(plays, some, {})))
        shorter: dict[tuple[int, int], float] = {}
        for number, name in kept:
            gap_s = _gap_of(plays[number], name)
            for _ in range(_MOST_HALVINGS):
                gap_s /= 2
                tried = {**shorter, (number, name): gap_s}
                if gap_s < _SHORT_S or not self._still(self._with_gaps(plays, kept, tried)):
                    break
                shorter = tried

    def _with_gaps(
        self,
        plays: Sequence[Play],
        kept: Iterable[tuple[int, int]],
        shorter: dict[tuple[int, int], float],
    ) -> Sketch:
        rows: list[dict[int, float]] = [{} for _ in plays]
        for number, name in kept:
            rows[number][name] = shorter.get((number, name), _gap_of(plays[number], name))
        return self._with_plays(
            msgspec.structs.replace(
                play,
                head_gap_s=row.pop(-1, 0.0),
                end_gap_s=row.pop(-2, 0.0),
                gaps_s=row,
            )
            for play, row in zip(plays, rows, strict=True)
        )

    def _texts(self) -> None:
        plays = self.best.plays
        spots: list[tuple[int, int, Spot]] = [
            (number, at, spot)
            for number, play in enumerate(plays)
            if play.wire in EDITABLE
            for at, frame in enumerate(play.frames)
            for spot in spots_of(frame)
        ][:_MOST_SPOTS]
        lengths = {item: length_of(plays[item[0]].frames[item[1]], item[2]) for item in spots}

        def still(counts: dict[tuple[int, int, Spot], int]) -> bool:
            return self._still(self._with_plays(_shortened(plays, spots, counts)))

        kept = fewest(spots, lambda some: still({item: lengths[item] for item in some}))
        counts = {item: lengths[item] for item in kept}
        for item in kept:
            low, high = 0, counts[item]  # with `low` it does not fail, with `high` it does
            while high - low > 1 and not self.stopped:
                middle = (low + high) // 2
                if still({**counts, item: middle}):
                    high = middle
                else:
                    low = middle
            counts[item] = high

    def _headers(self) -> None:
        for number, play in enumerate(self.best.plays):
            head = play.head
            if head is None or not head.headers:
                continue

            def still(kept: list[tuple[str, str]], number: int = number, head: Any = head) -> bool:
                changed = msgspec.structs.replace(head, headers=list(kept))
                return self._still(self._with(number, head=changed))

            fewest(head.headers, still)


def _gap_of(play: Play, name: int) -> float:
    if name == -1:
        return play.head_gap_s
    return play.end_gap_s if name == -2 else play.gaps_s[name]


def _shortened(
    plays: Sequence[Play],
    spots: Iterable[tuple[int, int, Spot]],
    counts: dict[tuple[int, int, Spot], int],
) -> list[Play]:
    changed = [list(play.frames) for play in plays]
    by_frame: dict[tuple[int, int], list[tuple[Spot, int]]] = {}
    for item in spots:
        number, at, spot = item
        by_frame.setdefault((number, at), []).append((spot, counts.get(item, 0)))
    for (number, at), keep in by_frame.items():
        changed[number][at] = shortened(plays[number].frames[at], keep)
    return [
        msgspec.structs.replace(play, frames=tuple(frames))
        for play, frames in zip(plays, changed, strict=True)
    ]
