"""An end that is said twice."""

from __future__ import annotations

from collections.abc import Iterable

from unbroken.lab.injectors.base import Injector, Scene, Spec, put
from unbroken.lab.parts import Part, Piece, Role

__all__ = ["Doubled"]


class Doubled(Injector):
    """Sends the last marker twice; where there is none, the finish. The answer is whole."""

    name = "doubled"
    summary = "the last marker comes twice; where there is none, the finish"

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._role: Role = "finish" if scene.dialect == "gemini" else "terminal"

    def feed(self, part: Part) -> Iterable[Part]:
        """Send it again."""
        yield part
        if isinstance(part, Piece) and part.role == self._role and part.frame is not None:
            self.struck()
            yield put(part.data, part.role)
