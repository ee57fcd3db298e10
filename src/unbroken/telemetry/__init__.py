"""What is told about streams: the observer protocol."""

from __future__ import annotations

from unbroken.telemetry.observer import Callbacks, Observer

__all__ = ["Callbacks", "Observer"]
