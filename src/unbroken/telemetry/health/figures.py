"""Figures: counters and histograms that can be added up over workers.

They are kept for each combination of provider, model, dialect and route, of which there is a
limited number: names of models come from callers, and each would be a time series for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from unbroken.telemetry.health.histogram import Histogram

__all__ = ["LOST", "OTHER", "Figures", "Group", "Groups", "Labels", "UsageTotals", "count_in"]

OTHER = "other"
"""The label of what came after the limit."""
LOST = "writer-lost"
"""The fault of a stream whose process died."""
_MOST_LABELS = 100
_MOST_MERGED = 1000
_MOST_ERRORS = 100

_encoder = msgspec.json.Encoder()


class Labels(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What figures are told apart by."""

    provider: str = ""
    model: str = ""
    dialect: str = ""
    route: str = ""

    @property
    def folded(self) -> Labels:
        """What they become where there are too many."""
        return Labels(provider=OTHER, model=OTHER, dialect=self.dialect, route=OTHER)


class UsageTotals(msgspec.Struct, kw_only=True):
    """Tokens as they are billed: of all attempts, of cut and cancelled streams too.

    Attributes:
        input: Of prompts.
        output: Of answers, thinking included where the provider counts it in.
        cached_input: The part of `input` that the provider had cached.
        reasoning: The part of `output` that was thinking.
        estimated_output: The part of `output` that we estimated: the provider said nothing.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning: int = 0
    estimated_output: int = 0

    def add(self, other: UsageTotals) -> None:
        """Add another's tokens."""
        self.input += other.input
        self.output += other.output
        self.cached_input += other.cached_input
        self.reasoning += other.reasoning
        self.estimated_output += other.estimated_output


class Group(msgspec.Struct, kw_only=True):
    """The figures of one combination of labels.

    Attributes:
        labels: Which one.
        started: Streams that began.
        active: Streams that run now.
        ended: Streams that ended, by status.
        retries: Upstream requests after the first.
        bytes: Bytes that were delivered.
        frames: Frames that were delivered.
        tokens: Tokens of output that ended streams delivered ...
        active_tokens: ... and that running streams have delivered so far, as far as they can
            be counted.
        counted: Ended streams by how their tokens were counted: ``usage`` or ``deltas``.
        faults: Faults by kind.
        errors: Errors by type: kinds of fatal faults, and classes of exceptions.
        texts: Errors by what they say, numbers left out.
        recoveries: Further attempts by rung and guarantee, as ``rung guarantee``; the
            guarantee is ``none`` where nothing of it was delivered.
        wasted_tokens: Output that was bought and not delivered, as far as it is known.
        saved_tokens: Output delivered before a break that was not bought again.
        cost: Of all attempts of ended streams, by the price list that was given.
        stalls: Stall notices.
        buffered: Streams whose events something in the path held back.
        internal_errors: Bugs of Unbroken's.
        usage: Tokens as billed.
        duration_s: Of ended streams.
        size_bytes: Of ended streams.
        ttft_s: Time to the first content.
        gap_s: Waits between pieces of content; 0 for those that came together.
    """

    labels: Labels = msgspec.field(default_factory=Labels)
    started: int = 0
    active: int = 0
    ended: dict[str, int] = {}
    retries: int = 0
    bytes: int = 0
    frames: int = 0
    tokens: int = 0
    active_tokens: int = 0
    counted: dict[str, int] = {}
    faults: dict[str, int] = {}
    errors: dict[str, int] = {}
    texts: dict[str, int] = {}
    recoveries: dict[str, int] = {}
    wasted_tokens: int = 0
    saved_tokens: int = 0
    cost: float = 0.0
    stalls: int = 0
    buffered: int = 0
    internal_errors: int = 0
    usage: UsageTotals = msgspec.field(default_factory=UsageTotals)
    duration_s: Histogram = msgspec.field(default_factory=Histogram)
    size_bytes: Histogram = msgspec.field(default_factory=Histogram)
    ttft_s: Histogram = msgspec.field(default_factory=Histogram)
    gap_s: Histogram = msgspec.field(default_factory=Histogram)

    def merge(self, other: Group) -> None:
        """Add another group's figures; the labels stay."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _COUNTS:
            mine = getattr(self, name)
            for key, count in getattr(other, name).items():
                count_in(mine, key, count)
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        self.usage.add(other.usage)


_SUMS = (
    "started", "active", "retries", "bytes", "frames", "tokens", "active_tokens",
    "wasted_tokens", "saved_tokens", "cost", "stalls", "buffered", "internal_errors",
)  # fmt: skip
_COUNTS = ("ended", "counted", "faults", "errors", "texts", "recoveries")
_HISTOGRAMS = ("duration_s", "size_bytes", "ttft_s", "gap_s")


def count_in(counts: dict[str, int], key: str, count: int = 1) -> None:
    """Count under a name; once there are too many names, under ``other``."""
    if key not in counts and len(counts) >= _MOST_ERRORS:
        key = OTHER
    counts[key] = counts.get(key, 0) + count


class Figures(msgspec.Struct, kw_only=True):
    """All figures of a process, or of several.

    Attributes:
        version: Of the format.
        groups: By labels; at most about 100 of one process.
        internal_errors: Bugs of Unbroken's outside any stream.
    """

    version: int = 1
    groups: list[Group] = []
    internal_errors: int = 0

    @classmethod
    def merge(cls, several: Iterable[Figures]) -> Figures:
        """Return the sum of several processes' figures; what goes in stays as it is."""
        found: dict[Labels, Group] = {}
        merged = cls()
        for figures in several:
            merged.internal_errors += figures.internal_errors
            for group in figures.groups:
                labels = group.labels
                if labels not in found and len(found) >= _MOST_MERGED:
                    labels = labels.folded
                found.setdefault(labels, Group(labels=labels)).merge(group)
        merged.groups = list(found.values())
        return merged

    def total(self) -> Group:
        """Return the sum over all labels."""
        whole = Group()
        for group in self.groups:
            whole.merge(group)
        whole.internal_errors += self.internal_errors
        return whole

    def by(self, *names: str) -> Iterator[Group]:
        """Yield sums over the labels that are not named, such as one for each ``provider``."""
        found: dict[Labels, Group] = {}
        for group in self.groups:
            labels = Labels(**{name: getattr(group.labels, name) for name in names})
            found.setdefault(labels, Group(labels=labels)).merge(group)
        yield from found.values()

    def without_active(self, *, lost: bool = False) -> Figures:
        """Return the same with nothing running: what stays of a process that is gone.

        Args:
            lost: It died, and what ran died with it: those streams failed, by a fault
                ``writer-lost``. Their durations are not known.
        """
        ended = Figures.merge([self])
        for group in ended.groups:
            if lost and group.active > 0:
                count_in(group.ended, "failed", group.active)
                count_in(group.counted, "deltas", group.active)
                count_in(group.faults, LOST, group.active)
                count_in(group.errors, LOST, group.active)
                group.tokens += group.active_tokens
            group.active = group.active_tokens = 0
        return ended

    def to_json(self) -> bytes:
        """Return them as JSON, for `from_json`."""
        return _encoder.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> Figures:
        """Read what `to_json` gave.

        Raises:
            msgspec.MsgspecError: If it is something else.
        """
        return msgspec.json.decode(data, type=cls)


class Groups:
    """The groups of one process, under its limit of labels.

    A name takes a place for good. So that made-up models cannot use up all places, streams
    that deliver nothing may take only half of them.
    """

    def __init__(self, most: int = _MOST_LABELS) -> None:
        self._most = most
        self._found: dict[Labels, Group] = {}

    def get(self, labels: Labels, *, served: bool) -> Group:
        """Return the group for a stream.

        Args:
            labels: The stream's.
            served: It has delivered content.
        """
        group = self._found.get(labels)
        if group is None:
            if len(self._found) >= (self._most if served else self._most // 2):
                labels = labels.folded
            group = self._found.setdefault(labels, Group(labels=labels))
        return group

    def all(self) -> list[Group]:
        """Return all groups, in the order in which they appeared."""
        return list(self._found.values())
