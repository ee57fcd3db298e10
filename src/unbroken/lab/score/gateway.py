"""Plays a gateway: the lab is its upstream, and a bare client of the lab stands behind it.

While nothing goes wrong the same answer is asked for twice, through the gateway and from the lab
itself, and what came is compared: events, text, ids, usage, and when each piece of content came.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from unbroken.lab.score.player import CannotPlayError, Kind, Turn
from unbroken.lab.score.raw_client import DIALECTS, Heard, ask
from unbroken.lab.score.verdict import Ran

__all__ = ["GatewayPlayer", "transparency"]


class GatewayPlayer:
    """Sends each turn through a gateway.

    Args:
        gateway: Its address, with or without ``/v1``.
        lab: The lab's address; the gateway must have it for its upstream.
        dialect: What to speak with it.
        model: How a model's name is written for the gateway; ``{model}`` stands for ours, as in
            ``openai/{model}``.
        key: The key that the gateway wants.

    Raises:
        CannotPlayError: If the bare client does not speak the dialect.
    """

    kind: Kind = "gateway"

    def __init__(
        self,
        gateway: str,
        *,
        lab: str,
        dialect: str = "openai-chat",
        model: str = "{model}",
        key: str = "lab-key",
    ) -> None:
        if dialect not in DIALECTS:
            msg = f"gateways are scored in {' or '.join(DIALECTS)}, not in {dialect}"
            raise CannotPlayError(msg)
        self._gateway, self._lab, self._dialect = gateway, lab, dialect
        self._model, self._key = model, key

    async def play(self, turn: Turn) -> Ran:
        """Ask through the gateway; where nothing is to go wrong, compare with the lab itself."""
        started_s = time.monotonic()
        heard = Heard()
        hung = False
        try:
            await asyncio.wait_for(self._ask(turn, heard), turn.patience_s)
        except TimeoutError:
            hung = True
        ended_s = time.monotonic()
        more: dict[str, str | float | bool | None] = {
            "finish": heard.finish or None,
            "marker": heard.marker,
            "status": str(heard.status),
        }
        if turn.faultless and not hung and not heard.error:
            more |= await self._compared(turn, heard, started_s)
        return Ran(
            exit_code=None if hung else 1 if heard.error else 0,
            hung=hung,
            stdout=heard.text,
            stderr=heard.error,
            started_s=started_s,
            ended_s=ended_s,
            printed_s=tuple(heard.content_s),
            more=more,
        )

    async def _ask(self, turn: Turn, heard: Heard, *, straight: bool = False) -> None:
        # Straight to the lab it is a session of its own, or it would count as a second attempt.
        model = f"{turn.model}-direct" if straight else self._model.replace("{model}", turn.model)
        await ask(
            self._lab if straight else self._gateway,
            dialect=self._dialect,
            model=model,
            prompt=turn.prompt,
            say=turn.say,
            key=self._key,
            into=heard,
        )

    async def _compared(
        self, turn: Turn, heard: Heard, started_s: float
    ) -> dict[str, str | float | bool | None]:
        direct, direct_s = Heard(), time.monotonic()
        await asyncio.wait_for(self._ask(turn, direct, straight=True), turn.patience_s)
        return transparency(heard, direct, through_s=started_s, direct_s=direct_s)


def transparency(
    through: Heard, direct: Heard, *, through_s: float, direct_s: float
) -> dict[str, str | float | bool | None]:
    """Compare a healthy answer through a gateway with the same one from the lab itself.

    Args:
        through: What came through the gateway.
        direct: What the lab sends.
        through_s: When the one was asked for, by a monotonic clock.
        direct_s: When the other was.

    Returns:
        ``same_events`` (the JSON of each, but for the answer's id, time and model),
        ``same_text``, ``same_ids``, ``same_usage``; ``first_token_added_s`` and
        ``longest_held_s``: how much later the first piece of content, and the latest one, came
        than without the gateway. A gateway that collects an answer holds it for as long as the
        model writes it.
    """
    late = [
        (a - through_s) - (b - direct_s)
        for a, b in zip(through.content_s, direct.content_s, strict=False)
    ]
    return {
        "same_events": _events(through) == _events(direct),
        "same_text": through.text == direct.text,
        "same_ids": len(through.ids) == len(direct.ids) == 1,
        "same_usage": through.usage == direct.usage,
        "first_token_added_s": round(late[0], 3) if late else None,
        "longest_held_s": round(max(late), 3) if late else None,
    }


# The model too: it is asked for by another name, so that the lab keeps the two apart.
_OF_THE_ANSWER = {"id", "created", "system_fingerprint", "model"}


def _events(heard: Heard) -> list[Any]:
    """Return events without what differs from one answer to the next by itself."""
    return [_plain(data) for data in heard.frames]


def _plain(data: str) -> Any:
    try:
        event = json.loads(data)
    except ValueError:
        return data
    if not isinstance(event, dict):
        return data
    inner = event.get("message")
    if isinstance(inner, dict):
        event["message"] = {k: v for k, v in inner.items() if k not in _OF_THE_ANSWER}
    return {name: value for name, value in event.items() if name not in _OF_THE_ANSWER}
