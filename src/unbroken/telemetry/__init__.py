"""What is told about streams: observers, their health, recordings, and the live page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbroken.telemetry.health import HealthMonitor, HealthReport, StreamHealth
from unbroken.telemetry.observer import Callbacks, Observer
from unbroken.telemetry.raw_frames import log_raw_frames

if TYPE_CHECKING:
    from unbroken.telemetry.page import asgi_app
    from unbroken.telemetry.recording import FlightRecorder, Recorder

__all__ = [
    "Callbacks",
    "FlightRecorder",
    "HealthMonitor",
    "HealthReport",
    "Observer",
    "Recorder",
    "StreamHealth",
    "asgi_app",
    "log_raw_frames",
]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the page stands on packages that streams do not need.
    if name == "asgi_app":
        from unbroken.telemetry.page import asgi_app

        return asgi_app
    if name in ("FlightRecorder", "Recorder"):
        from unbroken.telemetry import recording

        return getattr(recording, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
