"""What of a body's JSON stays: values that say what an event is, and nothing of what it says.

A list of what is harmless: what is not here is overwritten.
"""

from __future__ import annotations

import re

from unbroken.core.redact import CONTAINERS, SHOWN_VALUES

__all__ = ["ERRORS", "KNOWN", "REASONS", "TOLD", "stays"]

_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9_.:/-]{0,63}\Z")
_MODEL = re.compile(rb"[A-Za-z][A-Za-z0-9_.:/@+;=*-]{0,63}\Z")  # models have strange names
_CODE = re.compile(rb"[A-Za-z0-9_.-]{1,64}\Z")
_ID = re.compile(rb"[A-Za-z0-9_.:/+=-]{1,128}\Z")
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ][0-9:.]+(?:Z|[+-][0-9:]+)?\Z")

_SHOWN = frozenset(name.encode() for name in SHOWN_VALUES)
_MODELS = frozenset({b"model", b"model_version", b"modelVersion"})
# What these say is harmless only where a provider says it: `code` may be a program, elsewhere.
_OF_ERRORS = frozenset({b"code", b"param"})
_OF_REASONS = frozenset({b"reason", b"category", b"probability"})
ERRORS = frozenset({b"error", b"errors"})
"""What holds an error; `code` and `param` stay in these only."""
REASONS = ERRORS | frozenset(
    b"""incomplete_details status_details details promptFeedback safetyRatings
    content_filter_results prompt_filter_results""".split()
)
"""What holds the reason of something; `reason` and its like stay in these only."""
# Not every name that ends in `_id`: whom a `user_id` or a `patient_id` names is content.
_IDS = frozenset(
    b"""id item_id response_id message_id thread_id run_id step_id call_id tool_call_id tool_use_id
    request_id event_id conversation_id generation_id assistant_id interaction_id batch_id trace_id
    previous_response_id previous_interaction_id approval_request_id container_id chunk_id
    system_fingerprint responseId requestId messageId toolUseId conversationId
    generationId log_id""".split()
)
KNOWN = frozenset(name.encode() for name in CONTAINERS) | frozenset(
    b"""step_details function_call outputs input_token_details input_tokens_by_modality
    output_tokens_by_modality prompt_token_details amazon-bedrock-invocationMetrics meta
    toolUse text_delta logprob results""".split()
)
"""Names under which an object or array is looked into; in any other, all is overwritten."""
_TIMES = frozenset({b"created_at", b"createTime", b"create_time", b"createdAt", b"created"})
TOLD = _SHOWN | _IDS | _TIMES
"""Names whose values may stay."""


def stays(name: bytes, raw: bytes, *, of_error: bool, of_reason: bool) -> bool:
    """Return whether a value stays.

    Args:
        name: The name it stands under, in an object that is known.
        raw: It, as it stands between its quotes.
        of_error: It is part of an error.
        of_reason: It is part of an error, or of what tells why an answer ended.
    """
    if name in _IDS:
        return _ID.match(raw) is not None
    if name in _SHOWN:
        if name in _MODELS:
            return _MODEL.match(raw) is not None
        if name in _OF_ERRORS:
            return of_error and _CODE.match(raw) is not None
        if name in _OF_REASONS and not of_reason:
            return False
        return _WORD.match(raw) is not None
    return name in _TIMES and _TIME.match(raw) is not None
