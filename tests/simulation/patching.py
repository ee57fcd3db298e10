"""How a core is broken by hand, and made whole again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["DIALECT_OF", "MUTATIONS", "Patcher", "broken", "mutation", "seen_in"]

_Patch = Callable[["Patcher"], None]
MUTATIONS: dict[str, _Patch] = {}
DIALECT_OF: dict[str, str] = {}


class Patcher:
    """Sets attributes, and puts them back."""

    def __init__(self) -> None:
        self._before: list[tuple[object, str, Any]] = []

    def set(self, owner: object, name: str, value: object) -> Any:
        before = vars(owner)[name]
        self._before.append((owner, name, before))
        setattr(owner, name, value)
        return before

    def undo(self) -> None:
        for owner, name, before in reversed(self._before):
            setattr(owner, name, before)


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the core in one way."""
    patcher = Patcher()
    try:
        MUTATIONS[name](patcher)
        yield
    finally:
        patcher.undo()


def mutation(patch: _Patch) -> _Patch:
    """Add a way to break the core."""
    MUTATIONS[patch.__name__.replace("_", "-")] = patch
    return patch


def seen_in(dialect: str) -> Callable[[_Patch], _Patch]:
    """Add one that only worlds of one dialect are sure to see."""

    def add(patch: _Patch) -> _Patch:
        DIALECT_OF[patch.__name__.replace("_", "-")] = dialect
        return mutation(patch)

    return add
