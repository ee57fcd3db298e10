"""What is told about streams: the observer protocol."""

from __future__ import annotations

from unbroken.telemetry.observer import Callbacks, Observer
from unbroken.telemetry.raw_frames import log_raw_frames

__all__ = ["Callbacks", "Observer", "log_raw_frames"]
