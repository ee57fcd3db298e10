"""A tool call whose arguments are cut, and that is finished as if they were whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from unbroken.core.dialects import DIALECTS
from unbroken.core.faults import FaultKind
from unbroken.lab.framing import record_of
from unbroken.lab.injectors.at_place import AtPlace
from unbroken.lab.injectors.base import Scene, Spec
from unbroken.lab.parts import Part, Piece

__all__ = ["ToolCut"]

_WHOLE = {"gemini", "gemini-array", "ollama", "openai-completions"}  # calls come whole, or never


class ToolCut(AtPlace):
    """Leaves out the rest of a call's arguments; the finish comes as always.

    Where the provider repeats the arguments at the end, it repeats what is left of them.
    """

    name = "tool-cut"
    summary = "the rest of a tool call's arguments is left out, and the call is finished"
    kind = FaultKind.INVALID_TOOL_ARGUMENTS
    dialects = frozenset(DIALECTS) - _WHOLE
    between_frames = True

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        if scene.healthy is not None and not scene.say_tool:
            self.refuse("the answer is no tool call; ask for one with say=tool")
        self._kept = self._whole = ""
        self._cut = False

    def passed(self, piece: Piece) -> Piece:
        """Take note of the arguments that were sent."""
        if piece.role == "content":
            self._whole += self._said(piece)
            self._kept = self._whole
        return super().passed(piece)

    def strike(self, rest: Piece | None) -> Iterable[Part]:
        """Leave out what follows, from the next frame on."""
        if rest is not None:
            yield from self.after(rest)

    def after(self, piece: Piece) -> Iterable[Part]:
        """Leave out arguments, and cut those that are repeated."""
        if piece.role == "content":
            self._whole += self._said(piece)
            self._shift -= 1  # nobody is to see a gap
            if not self._cut:
                self._cut = True
                self.struck()
            return
        data = piece.data
        if self.scene.dialect == "openai-responses" and self._cut:
            data = data.replace(_quoted(self._whole), _quoted(self._kept))
        yield self.passed(replace(piece, data=data))

    def _said(self, piece: Piece) -> str:
        if self.scene.dialect != "openai-responses":
            return ""
        delta = record_of(self.scene.dialect, piece.data).get("delta")
        return delta if isinstance(delta, str) else ""


def _quoted(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()
