"""What goes wrong in the demo, and when: chosen by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from unbroken.lab.cutting_proxy import Cut, How

__all__ = ["DEALT", "Script", "write_script"]

DEALT: dict[How, str] = {
    "clean": "clean end in mid-answer",
    "stall": "silence behind pings",
    "rst": "connection reset (RST)",
    "fin": "closed mid-body (FIN)",
}
"""What each fault of the proxy is, in the words of somebody who runs servers."""

_PLACES = (0.22, 0.45, 0.66, 0.85)  # as parts of the answer; four, for five attempts
_JITTER = 0.05
_STALL_S = 30.0
_PING_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The faults of one run.

    Attributes:
        plain: For the side without Unbroken: the first fault alone, since nothing comes
            after it there.
        healed: For the side with Unbroken: one fault an attempt.
    """

    plain: tuple[Cut, ...]
    healed: tuple[Cut, ...]


def write_script(*, seed: int, tokens: int) -> Script:
    """Choose where the answer breaks, and how.

    The clean end comes first: it is the fault that clients do not notice. The order of
    the others, and all places, are the seed's.

    Args:
        seed: The same seed gives the same faults.
        tokens: Tokens of the whole answer, one in each event.
    """
    pick = random.Random(seed)
    later: list[How] = ["stall", "rst", "fin"]
    pick.shuffle(later)
    order: list[How] = ["clean", *later]
    cuts = []
    for how, place in zip(order, _PLACES, strict=True):
        after = 1 + round(tokens * (place + pick.uniform(-_JITTER, _JITTER)))
        if how == "stall":
            cuts.append(Cut(how=how, after_events=after, stall_s=_STALL_S, ping_s=_PING_S))
        else:
            cuts.append(Cut(how=how, after_events=after))
    return Script(plain=tuple(cuts[:1]), healed=tuple(cuts))
