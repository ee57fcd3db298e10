"""`Instead`: what answers in place of the model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from unbroken.lab.injectors.base import AtStart
from unbroken.lab.parts import Part, Stop

__all__ = ["Instead"]


class Instead(AtStart):
    """A fault that leaves nothing of the answer: its own body comes, and nothing else."""

    def begin(self) -> Iterable[Part]:
        """Send the body in the answer's place."""
        self.struck()
        yield from self.body()
        yield Stop("clean")

    @abstractmethod
    def body(self) -> Iterable[Part]:
        """Return what comes in place of the answer."""
