"""An upstream that keeps its answers, and gives the rest of one to who asks for it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.bodies import Style, encode
from tests.simulation.faults import break_reply, reads_of, refusal
from tests.simulation.replies import NEVER, Kept, Reply
from tests.simulation.requests import Resume

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["KEEPERS", "RESUMED", "Keeper"]

KEEPERS = {
    "openai-chat": "byte",
    "openai-completions": "byte",
    "openai-responses": "number",
    "gemini-interactions": "mark",
}
"""How each dialect's place in an answer is named."""
RESUMED = {
    "none": 45, "eof": 14, "reset": 12, "silence": 4, "pings": 3, "expired": 8, "http": 5,
    "connect": 3, "connect-hang": 1, "repeats": 6, "ignored": 7, "other": 9, "empty": 2, "lost": 2,
}  # fmt: skip
_NUMBER = re.compile(rb'"sequence_number": ?(\d+)')


class Keeper:
    """What the upstream remembers of the answers it began."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._answers: dict[str, Kept] = {}

    def keep(self, frames: list[bytes], reply: Reply, serial: int) -> None:
        """Remember an answer that was begun."""
        assert reply.truth is not None
        way = KEEPERS[self._world.dialect.name]
        # A conversation has one answer, the last; others have an id each.
        id_ = "conv-1" if way == "byte" else f"answer-{serial}"
        reply.kept = self._answers[id_] = Kept(id_, list(frames), reply.truth)

    def resume(self, number: int, resume: Resume) -> Reply:
        """Return how a request for the rest of an answer is met."""
        world, draw = self._world, self._world.draw
        way = KEEPERS[world.dialect.name]
        fault = draw.choices(list(RESUMED), list(RESUMED.values()))[0]
        if world.calm and draw.random() < 0.5:
            fault = "none"
        if way == "byte" and fault in ("repeats", "ignored", "other", "lost", "pings", "empty"):
            fault = "eof"  # what is kept is what was sent
        if way == "mark" and fault in ("repeats", "ignored", "lost"):
            fault = "reset"
        head_s = draw.choice((0.0, 0.05, 0.4, 2.0))
        kept = self._answers.get(resume.id)
        if fault in ("connect", "connect-hang"):
            return Reply(
                None, {}, NEVER if fault == "connect-hang" else head_s, fault=fault, resumes=True
            )
        if fault == "http":
            return replace(refusal(draw, head_s), resumes=True)
        if kept is None or fault == "expired":
            status = draw.choice((404, 400, 410))
            return Reply(status, {}, head_s, fault="expired", hopeless=True, resumes=True)
        reply = Reply(
            200, {"content-type": "text/event-stream", "x-request-id": f"req-{number}"}, head_s,
            truth=kept.truth, fault=fault, kept=kept, resumes=True, mid_frame=way == "byte",
            dialect=world.dialect.name,
        )  # fmt: skip
        reply.longest_frame = max(map(len, kept.frames))
        rest = self._rest(kept, resume.after, reply)
        if fault == "other":
            rest = self._another(number, reply)
        self._break(reply, rest)
        return reply

    def _rest(self, kept: Kept, after: str, reply: Reply) -> list[bytes]:
        draw = self._world.draw
        match KEEPERS[self._world.dialect.name]:
            case "byte":
                rest, skip = [], int(after)
                for frame in kept.frames:
                    rest.append(frame[min(skip, len(frame)) :])
                    skip -= min(skip, len(frame))
                return [frame for frame in rest if frame]
            case "number":
                number = int(after)
                if reply.fault == "repeats":
                    number -= draw.choice((1, 2, 5))
                elif reply.fault == "ignored":
                    number = -1
                reply.renumbered = number != int(after)
                return [
                    frame for frame in kept.frames
                    if (found := _NUMBER.search(frame)) and int(found[1]) > number
                ]  # fmt: skip
            case _:
                marks = [_mark_of(frame) for frame in kept.frames]
                return kept.frames[marks.index(after) + 1 :]

    def _another(self, number: int, reply: Reply) -> list[bytes]:
        """The server lost the answer, and begins another one."""
        world = self._world
        truth = world.fresh_truth()
        reply.truth, reply.kept, reply.resumes = truth, None, True
        reply.renumbered = True
        style = Style.of(world.draw, world.dialect.name, 700 + number, kept=True)
        return encode(world.draw, world.dialect, truth, style)

    def _break(self, reply: Reply, rest: list[bytes]) -> None:
        world = self._world
        if not rest:
            reply.reads, reply.whole = [], True
            return
        fault = reply.fault
        if fault in ("repeats", "ignored", "other"):
            reply.reads = reads_of(world.draw, b"".join(rest), rest)
            reply.whole = fault != "other"
            return
        if fault == "lost" and len(rest) < 4:
            reply.fault = "none"
        break_reply(world, reply, rest, dialect=world.dialect.name)
        if fault == "none":
            reply.whole = True


def _mark_of(frame: bytes) -> str:
    found = re.search(rb"data: ?(\{.*)", frame)
    return json.loads(found[1]).get("event_id", "") if found else ""
