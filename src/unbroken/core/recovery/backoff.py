"""When to try again: what the provider asks for, else exponential with jitter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["backoff_s", "may_retry", "retry_after_s"]

_FIRST_S = 0.5
_MOST_S = 8.0
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 498, 499, 500, 502, 503, 504, 520, 524, 529})


def retry_after_s(headers: Mapping[str, str], *, wall_time: float | None) -> float | None:
    """Return the seconds that the provider asks to wait, or None.

    Reads ``retry-after-ms`` (milliseconds; OpenAI, Azure) before ``retry-after`` (seconds, or
    an HTTP date, RFC 9110 §10.2.3).

    Args:
        headers: Response headers with lower-case names.
        wall_time: Now, in seconds since the epoch, for the date form; None ignores dates.
    """
    if (millis := headers.get("retry-after-ms")) is not None:
        try:
            seconds = _sane(float(millis) / 1000)
        except ValueError:
            seconds = None
        if seconds is not None:
            return seconds
    if (value := headers.get("retry-after")) is None:
        return None
    try:
        return _sane(float(value))
    except ValueError:
        pass
    if wall_time is None:
        return None
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return _sane((at - datetime.fromtimestamp(wall_time, UTC)).total_seconds())


def _sane(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds == seconds and seconds < 86400 * 365 else None


def may_retry(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a request that was answered with this status may succeed if sent again.

    ``x-should-retry`` wins where the provider sends it (OpenAI, Anthropic).
    """
    told = headers.get("x-should-retry", "").lower()
    if told in ("true", "false"):
        return told == "true"
    return status in _RETRYABLE_STATUS


def backoff_s(tries: int, *, jitter: float) -> float:
    """Return the seconds to wait before a further try.

    Args:
        tries: Failures so far, from 1.
        jitter: A number from 0 to 1, drawn by the driver.
    """
    return min(_FIRST_S * 2.0 ** min(tries - 1, 16), _MOST_S) * (1.0 - 0.25 * jitter)
