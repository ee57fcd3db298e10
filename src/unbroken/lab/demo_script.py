"""What goes wrong in the demo, and when: chosen by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from unbroken.lab.injectors.spec import Spec

__all__ = ["Script", "told", "write_script"]

_TOLD = {
    "cut.clean": "clean end in mid-answer",
    "stall.comment": "silence behind pings",
    "cut.rst": "connection reset (RST)",
    "cut.fin": "closed mid-body (FIN)",
}
_PLACES = (0.22, 0.45, 0.66, 0.85)  # as parts of the answer; four, for five attempts
_JITTER = 0.05
_STALL_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The faults of one run, as plans of the lab.

    Attributes:
        plain: For the side without Unbroken: the first fault alone, since nothing comes
            after it there.
        healed: For the side with Unbroken: one fault an attempt.
    """

    plain: str
    healed: str


def told(fault: Spec) -> str:
    """Return what a fault of the script is, in the words of somebody who runs servers."""
    return _TOLD[f"{fault.name}.{fault.how}"]


def write_script(*, seed: int, tokens: int) -> Script:
    """Choose where the answer breaks, and how.

    The clean end comes first: it is the fault that clients do not notice. The order of
    the others, and all places, are the seed's.

    Args:
        seed: The same seed gives the same faults.
        tokens: Tokens of the whole answer, one in each content frame.
    """
    pick = random.Random(seed)
    later = ["stall.comment", "cut.rst", "cut.fin"]
    pick.shuffle(later)
    faults = []
    for fault, place in zip(["cut.clean", *later], _PLACES, strict=True):
        after = round(tokens * (place + pick.uniform(-_JITTER, _JITTER)))
        lasts = f"@{_STALL_S}s" if fault.startswith("stall") else ""
        faults.append(f"{fault}@{after}t{lasts}")
    return Script(plain=faults[0], healed=",".join(faults))
