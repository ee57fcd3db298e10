"""How many tokens a continuation may have: the request's limit, less what was written.

The limit is on the whole answer, thinking included. What the provider said it had written is
believed where it said so after all that was delivered; Anthropic, for one, begins with a
figure of 1 and tells the rest at the end only. Else it is estimated, and the estimate is
leant on where that is harmless: it sets the new limit, but does not close a rung unless the
answer would have been at its limit with tokens half as long again.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from unbroken.core.received import Received

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "LEAST_TOKENS",
    "Written",
    "estimate_tokens",
    "room_for",
    "written",
]

CHARACTERS_PER_TOKEN = 4
LEAST_TOKENS = 16
"""Room for a few words, beside the anchor. OpenAI's Responses take no lower limit."""
_TOKEN_EACH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class Written(NamedTuple):
    """Tokens of the answer so far.

    Attributes:
        tokens: How many.
        estimated: The provider did not say.
    """

    tokens: int
    estimated: bool


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has: four characters each, an ideograph one."""
    alone = 0 if text.isascii() else len(_TOKEN_EACH.findall(text))
    return alone + math.ceil((len(text) - alone) / CHARACTERS_PER_TOKEN)


def written(delivered: Received, *, thinking_apart: bool) -> Written:
    """Return the tokens that the delivered part of an answer took.

    Args:
        delivered: What the consumer has.
        thinking_apart: The provider's count of the output leaves the thinking out.
    """
    arguments = "".join(call.arguments for call in delivered.calls.values())
    guess = estimate_tokens(delivered.text + delivered.reasoning + arguments)
    told = delivered.usage.output
    if told is not None and thinking_apart:
        told += delivered.usage.reasoning or 0
    # After a continuation the figure may be that of the last attempt alone.
    if told is not None and delivered.told_at == delivered.content_size and 2 * told >= guess:
        return Written(told, False)
    return Written(max(guess, told or 0), True)


def room_for(limit: int, so_far: Written, anchor: str) -> int | str:
    """Return the limit of a continuation that writes the anchor again, or why there is none.

    Args:
        limit: The request's own.
        so_far: What the answer took of it.
        anchor: Delivered text that is to be written again.
    """
    surely = so_far.tokens * 2 // 3 if so_far.estimated else so_far.tokens
    if surely >= limit:
        about = "about " if so_far.estimated else ""
        how = ", estimated" if so_far.estimated else ""
        return f"the answer was at its limit: {about}{so_far.tokens} of {limit} tokens{how}"
    return max(limit - so_far.tokens, LEAST_TOKENS) + estimate_tokens(anchor)
