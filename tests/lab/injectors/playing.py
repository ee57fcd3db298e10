"""Play a fault against a healthy body, without sockets or clocks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.lab.bodies import pieces
from unbroken.lab.injectors import Scene, injector_for, run
from unbroken.lab.parts import Head, Part, Pause, Piece, Stop
from unbroken.lab.plan import parse_plan
from unbroken.lab.shapes import content_type

__all__ = ["MOST_PARTS", "Played", "play"]

MOST_PARTS = 12_000


@dataclass(kw_only=True)
class Played:
    """What came of it."""

    head: Head
    parts: list[Part]
    strikes: list[str]
    healthy: list[Piece] = field(default_factory=list)
    most: int = MOST_PARTS

    @property
    def sent(self) -> list[Piece]:
        return [part for part in self.parts if isinstance(part, Piece)]

    @property
    def pauses(self) -> list[float | None]:
        return [part.seconds for part in self.parts if isinstance(part, Pause)]

    @property
    def body(self) -> bytes:
        return b"".join(piece.data for piece in self.sent)

    @property
    def whole(self) -> bytes:
        return b"".join(piece.data for piece in self.healthy)

    @property
    def stop(self) -> str | None:
        last = self.parts[-1] if self.parts else None
        return last.how if isinstance(last, Stop) else None

    @property
    def endless(self) -> bool:
        return len(self.parts) == self.most


def play(
    fault: str,
    dialect: str = "openai-chat",
    *,
    call: bool = False,
    seed: int = 0,
    known: bool = True,
    body: Sequence[Piece] | None = None,
    most: int = MOST_PARTS,
) -> Played:
    """Play the faults of one attempt.

    Args:
        fault: As in a plan.
        dialect: Of the body.
        call: The answer is a tool call.
        seed: Of the attempt.
        known: The answer is known before it is sent, as a server's is and a proxy's is not.
        body: Other pieces than those of `tests.lab.bodies`.
        most: Parts that are taken; a flow that has more is called endless.
    """
    healthy = list(body) if body is not None else pieces(dialect, call=call)
    scene = Scene(
        dialect=dialect,
        random=random.Random(seed),
        healthy=healthy if known else None,
        say_tool=call,
        clock=lambda: 1_700_000_000.0,
    )
    before = [piece.data for piece in healthy]
    faults = parse_plan(fault).faults_of(0)
    injectors = [injector_for(spec, scene) for spec in faults]
    head = Head(headers={"content-type": content_type(dialect)})
    for injector in injectors:
        head = injector.head(head)
    assert not scene.strikes, "it struck before anything was sent"
    parts = list(itertools.islice(run(iter(healthy), injectors), most))
    assert [piece.data for piece in healthy] == before, "the healthy answer was changed"
    return Played(head=head, parts=parts, strikes=scene.strikes, healthy=healthy, most=most)
