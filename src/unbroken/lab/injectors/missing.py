"""An end that is not said: no last marker, no finish reason, or neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from unbroken.core.faults import FaultKind
from unbroken.lab.framing import is_array
from unbroken.lab.injectors.base import Injector, Scene, Spec, put
from unbroken.lab.parts import Part, Piece, Role

__all__ = ["Missing"]

_IN_ONE = ("openai-responses", "ollama")  # finish and last marker are one frame
_NO_MARKER = ("gemini",)
_MARKED_BEFORE = ("cohere", "gemini-interactions")
_FINISH_IS_END = ("bedrock-converse", "gemini-interactions")
_LOST: dict[str, tuple[Role, ...]] = {
    "terminal": ("terminal",),
    "finish": ("finish",),
    "both": ("finish", "terminal"),
}


class Missing(Injector):
    """Leaves out what says that the answer is over; all else is there."""

    name = "missing"
    summary = "the last marker is left out, or the finish reason, or both"
    kind = FaultKind.TRUNCATED_BETWEEN_EVENTS
    hows: ClassVar[tuple[str, ...]] = tuple(_LOST)
    kinds: ClassVar[Mapping[str, str]] = {
        "terminal": FaultKind.MISSING_TERMINATOR,
        "finish": FaultKind.MISSING_FINISH,
    }

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._begun = False

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Leave out what cannot be left out alone."""
        return ("both",) if dialect in (*_IN_ONE, *_NO_MARKER) else cls.hows

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Say which end is one: some dialects have two."""
        if how == "terminal" and dialect in _MARKED_BEFORE:
            return ""  # [DONE] comes behind what is the last marker already
        if how == "finish" and dialect in _FINISH_IS_END:
            return FaultKind.TRUNCATED_BETWEEN_EVENTS
        return super().kind_for(how, dialect)

    def feed(self, part: Part) -> Iterable[Part]:
        """Leave out such a frame."""
        if not isinstance(part, Piece):
            yield part
        elif part.role in _LOST[self.how]:
            self.struck()
            if is_array(self.scene.dialect) and not self._begun and part.role == "finish":
                yield put(b"[", event=False)  # an array of nothing is an array
        else:
            yield part
        self._begun = True
