"""The log of what a failure looked like, where the user asked for it (`Options.log_raw`)."""

from __future__ import annotations

import logging

from unbroken.core.outcome import AttemptRecord

__all__ = ["log_raw_frames"]

_log = logging.getLogger("unbroken")


def log_raw_frames(record: AttemptRecord) -> None:
    """Log the last frames of a failed attempt: one warning, the failing frame last.

    Keys were removed from them where they were taken, and contents unless asked for.
    """
    fault = record.fault
    _log.warning(
        "attempt %d failed (%s); its last frames, the failing one last:%s",
        record.number,
        "no fault" if fault is None else fault.kind.value,
        "".join(f"\n  {frame!r}" for frame in record.raw),
    )
