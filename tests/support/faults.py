"""The table of faults: each one's name, the kind it is, and how the server does it.

    with FaultServer(reply("cut_clean", "gemini", at=4)) as server: ...

    model = Model(dialect="openai-chat", answer=STORY)
    with FaultServer(breaking(model, Break("cut_rst", at=9), Break("cut_clean", at=3))) as server:
        ...   # the first two requests break, all later ones are answered whole

`at` counts text frames (or those of another `role`): that many arrive before the fault.
Not here, since they are answers and not faults of a connection: broken tool arguments, the
length limit and filters; write those as an `Answer` (`fragments=('{"city": "Par',)`,
`finish="length"`). A refused connection is `unused_url()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tests.support.injectors  # noqa: F401  fills the table
from tests.support.bodies import Answer, WireFrame, body, tokens_of
from tests.support.faultserver import Reply, Request
from tests.support.model import Model
from tests.support.scene import FAULTS, Fault, Scene, error_frames, keepalive, numbered

__all__ = [
    "FAULTS",
    "STORY",
    "Break",
    "Fault",
    "breaking",
    "cases",
    "error_frames",
    "keepalive",
    "numbered",
    "reply",
]

# Long enough to be cut anywhere, with letters of two, three and four bytes in the second half.
STORY = Answer(
    tokens=tokens_of(
        "The lighthouse keeper counted ships every evening and wrote their names in a blue "
        "ledger. One night a naïve café owner — 東京 born — asked him why 🚢 he never sailed. "
        "Someone, he said, has to know that they came home."
    )
)


def reply(
    name: str,
    dialect: str,
    frames: Sequence[WireFrame] | None = None,
    *,
    at: int = 4,
    role: str = "text",
    **params: Any,
) -> Reply:
    """Return how the server answers with `frames` broken by a fault.

    Args:
        name: A name in `FAULTS`.
        frames: The healthy body; None takes that of `STORY`.
        at: The fault comes after this many frames of `role`; 0 is just before the first.
        params: What some faults let you set: `retry_after`, `every_s`, `for_s`, `size`,
            `keepalive` ... (see the fault), and `pace_s` and `framing` for most.
    """
    row = FAULTS[name]
    if frames is None:
        frames = body(dialect, STORY)
    if dialect not in row.dialects:
        raise ValueError(f"{name} cannot be done in {dialect}")
    places = [number for number, frame in enumerate(frames) if frame.role == role]
    if at > len(places):
        raise ValueError(f"only {len(places)} {role} frames; cannot break after {at}")
    index = 0 if not places else places[0] if at == 0 else places[at - 1] + 1
    return row.inject(Scene(dialect=dialect, frames=frames, index=index, params=params))


@dataclass(frozen=True, slots=True)
class Break:
    """One planned fault: the arguments of `reply` that go with it."""

    fault: str
    at: int = 4
    role: str = "text"
    params: Mapping[str, Any] = field(default_factory=dict)


def breaking(model: Model, *plan: Break | None) -> Callable[[Request], Reply]:
    """A script: the n-th request to `model` breaks as `plan` says; None, and later ones, do not.

    A `Break.at` counts the frames of its own attempt; one that is too short breaks at its end.
    """

    def script(request: Request) -> Reply:
        frames = model.frames(request)
        number = len(model.attempts) - 1
        planned = plan[number] if number < len(plan) else None
        if isinstance(frames, Reply):
            return frames
        if planned is None:
            return reply("ok", model.dialect, frames, at=0)
        texts = sum(frame.role == planned.role for frame in frames)
        at = min(planned.at, texts)
        return reply(
            planned.fault, model.dialect, frames, at=at, role=planned.role, **planned.params
        )

    return script


def cases(*names: str) -> list[tuple[str, str]]:
    """All (fault, dialect) pairs that can be done, for `parametrize`; of these names, or of all."""
    rows = [FAULTS[name] for name in names] if names else list(FAULTS.values())
    return [(row.name, dialect) for row in rows for dialect in row.dialects]
