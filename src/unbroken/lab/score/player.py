"""What plays a scenario: a command, or the lab's own client through a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from unbroken.lab.score.verdict import Ran

__all__ = ["CannotPlayError", "Kind", "Player", "Turn"]

Kind: TypeAlias = Literal["command", "gateway"]
"""What is played; messages call it so."""


class CannotPlayError(Exception):
    """Nothing can be learnt from this client or gateway; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One client's part in one scenario.

    Attributes:
        model: The model's name to ask for; it holds the plan.
        environment: The variables of the client contract.
        say: ``text``, ``tool`` or ``thinking``.
        prompt: What to ask.
        patience_s: How long it may take, in seconds.
        faultless: Nothing goes wrong in it.
    """

    model: str
    environment: Mapping[str, str]
    say: str = "text"
    prompt: str = ""
    patience_s: float = 30.0
    faultless: bool = False


class Player(Protocol):
    """Plays turns, several at the same time."""

    kind: Kind

    async def play(self, turn: Turn) -> Ran:
        """Play one turn to its end.

        Raises:
            CannotPlayError: If it cannot even begin.
        """
        ...
