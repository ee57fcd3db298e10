"""What an answer without a stream says: whether to ask again, whom, and when."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from unbroken.core.dialects.base import Dialect
from unbroken.core.events import ProviderError
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.problems import error_in, short_words
from unbroken.core.recovery.backoff import may_retry, retry_after_s
from unbroken.core.recovery.situation import Plan

__all__ = ["Refusal", "read_refusal"]

_OF_A_CURSOR = (400, 401, 403, 404, 405, 409, 410, 416, 422)
_OF_A_PREFILL = (400, 422)
_ELSEWHERE = (401, 402, 403, 404, 429)
"""Statuses that speak of an account or a model: another one may answer."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer that is not 2xx.

    Attributes:
        fault: What it means for the stream.
        error: What the provider said, where it said it in a known shape.
        refused: The plan itself is no way here: its request, not the service, is at fault.
        wait_s: Seconds that the provider asks to wait, or None.
    """

    fault: Fault
    error: ProviderError | None
    refused: bool
    wait_s: float | None


def read_refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    dialect: Dialect,
    plan: Plan | None,
    wall_time: float | None,
) -> Refusal:
    """Return what a status that is not 2xx says.

    Args:
        status: The HTTP status.
        headers: With lower-case names.
        body: The body, or its beginning.
        dialect: What the stream speaks.
        plan: Of a later attempt; None for the first.
        wall_time: Seconds since the epoch, for dates in ``Retry-After``; None ignores them.
    """
    # Claude 4.6+ and others answer a prefill they do not take with 400; an answer that
    # the provider keeps no longer is a 404.
    known = _OF_A_CURSOR if plan is not None and plan.cursor is not None else _OF_A_PREFILL
    refused = plan is not None and status in known
    retryable = refused or may_retry(status, headers)
    error = error_in(body, final=dialect.final_errors)
    detail = f"the provider answered {status}"
    if error is not None:
        named = short_words([error.type, error.code])
        detail += f" ({named})" if named else ""
        # Some statuses say too little: 429 is also what an empty account gets.
        told = headers.get("x-should-retry", "").lower() == "true"
        retryable = retryable and (refused or told or error.retryable)
    elsewhere = status in _ELSEWHERE or (error is not None and error.elsewhere)
    return Refusal(
        fault=Fault.of(FaultKind.HTTP_ERROR, detail, retryable=retryable, elsewhere=elsewhere),
        error=error,
        refused=refused,
        wait_s=retry_after_s(headers, wall_time=wall_time),
    )
