"""What passed on the wire, recorded: to a file, or in a ring until a stream fails."""

from __future__ import annotations

from unbroken.telemetry.recording.flight import Flight, FlightRecorder, shared_flight_recorder
from unbroken.telemetry.recording.recorder import Recorder
from unbroken.telemetry.recording.saving import masked_lines, save_recording
from unbroken.telemetry.recording.tape import Tape, Tapes

__all__ = [
    "Flight",
    "FlightRecorder",
    "Recorder",
    "Tape",
    "Tapes",
    "masked_lines",
    "save_recording",
    "shared_flight_recorder",
]
