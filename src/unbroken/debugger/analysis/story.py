"""What is told of a stream while it is read: phases, moments, faults, notes, and the timeline."""

from __future__ import annotations

from unbroken.core.faults import Fault
from unbroken.debugger.analysis.timeline import Timeline
from unbroken.debugger.facts import Band, Entry, FaultMark, Mark, Tone
from unbroken.debugger.words import labelled

__all__ = ["Story"]

_MOST_BANDS = 400
_MOST_MARKS = 400
_MOST_FAULTS = 300
_MOST_NOTES = 20
_TONES: dict[str, Tone] = {"fatal": "bad", "warning": "warn"}


class Story:
    """Collect it; all of it is bounded.

    Attributes:
        timeline: Its lines.
        bands: Phases.
        marks: Moments.
        faults: As they were found.
        notes: What a reader of the report should know.

    Args:
        timeline: Where lines go.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.bands: list[Band] = []
        self.marks: list[Mark] = []
        self.faults: list[FaultMark] = []
        self.notes: list[str] = []
        self._lines: list[tuple[FaultMark, Entry]] = []

    def band(self, phase: str, at_s: float, attempt: int) -> None:
        """The stream is in this phase now."""
        bands = self.bands
        if bands:
            last = bands[-1]
            last.to_s = max(last.to_s, at_s)
            if last.phase == phase and last.attempt == attempt:
                return
        if len(bands) < _MOST_BANDS:
            bands.append(Band(phase=phase, from_s=at_s, to_s=at_s, attempt=attempt))

    def until(self, at_s: float) -> None:
        """The last phase lasted until then."""
        if self.bands:
            self.bands[-1].to_s = max(self.bands[-1].to_s, at_s)

    def mark(
        self,
        at_s: float,
        kind: str,
        text: str,
        attempt: int,
        tone: Tone = "",
        *,
        quiet: bool = False,
    ) -> None:
        """Something happened.

        Args:
            at_s: When.
            kind: See `Mark`.
            text: What, in words.
            attempt: In which attempt.
            tone: How it is meant.
            quiet: It gets no line in the timeline.
        """
        if len(self.marks) < _MOST_MARKS:
            self.marks.append(Mark(at_s=at_s, kind=kind, text=text, attempt=attempt))
        if not quiet:
            self.timeline.tell(at_s, kind, text, tone)

    def fault(self, fault: Fault, at_s: float, *, attempt: int, phase: str) -> None:
        """A fault was found."""
        self.add_fault(
            FaultMark(
                kind=fault.kind.value,
                severity=fault.severity,
                detail=fault.detail,
                at_s=at_s,
                at_byte=fault.at_byte,
                frame=fault.frame,
                attempt=attempt,
                phase=phase,
            )
        )

    def add_fault(self, mark: FaultMark) -> None:
        """A fault was found, or told of."""
        if len(self.faults) >= _MOST_FAULTS:
            self.note(f"more than {_MOST_FAULTS} faults: the later ones are left out")
            return
        self.faults.append(mark)
        entry = Entry(at_s=mark.at_s, kind="fault", tone=_TONES.get(mark.severity, "dim"))
        self._lines.append((mark, entry))
        self.timeline.add(entry)

    def name_faults(self) -> None:
        """Put the faults into their lines; what is known of them may have become more."""
        for mark, entry in self._lines:
            said = labelled(mark.kind, mark.detail)
            entry.text = said if mark.exact else f"{said} (when is not kept)"

    def note(self, text: str) -> None:
        """Tell the reader of the report something, once."""
        if text not in self.notes and len(self.notes) < _MOST_NOTES:
            self.notes.append(text)
