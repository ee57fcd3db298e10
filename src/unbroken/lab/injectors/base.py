"""What a fault is made of: an `Injector`, the `Scene` it plays in, and the table of all.

An injector sees the flow of one attempt, part by part, and gives back what goes on in its
place. Several are put one behind another. They are pure: chance comes from `Scene.random`, and
time is a `Pause`.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import time
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NoReturn

from unbroken.lab.injectors.spec import FaultError, Place, Spec, Unit
from unbroken.lab.parts import Head, Part, Pause, Piece, Role, Stop

__all__ = [
    "INJECTORS",
    "AtStart",
    "FaultError",
    "Injector",
    "Place",
    "Scene",
    "Spec",
    "Stage",
    "Unit",
    "check",
    "in_order",
    "injector_for",
    "load",
    "put",
    "run",
]

Stage = Literal["frames", "bytes", "coding", "pace", "framing"]
"""When an injector of several has its turn, whatever their order in the plan: those that need
whole frames come before those that take frames apart, and both before those about time."""

_STAGES: tuple[Stage, ...] = ("frames", "bytes", "coding", "pace", "framing")


@dataclass(slots=True, kw_only=True)
class Scene:
    """What an injector knows of the attempt it plays in.

    Attributes:
        dialect: Name of the dialect of the body.
        random: Chance, seeded for this attempt.
        healthy: All pieces of the healthy body; None where it is not known yet (a proxy).
        say_tool: The answer is a tool call.
        strikes: What was dealt out so far; `struck` adds to it.
        clock: Tells the time of day in seconds since 1970, for headers that hold a date.
    """

    dialect: str
    random: random.Random = field(default_factory=lambda: random.Random(0))
    healthy: list[Piece] | None = None
    say_tool: bool = False
    strikes: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.time

    def struck(self, what: str) -> None:
        """Note that a fault was really dealt out; the server adds the time."""
        self.strikes.append(what)

    def content(self) -> list[Piece]:
        """Return the content pieces of the healthy body, none where it is not known."""
        return [piece for piece in self.healthy or () if piece.role == "content"]


class Injector(ABC):  # noqa: B024  not one method must be written, but some will be
    """One fault. A subclass with a `name` is in the table as soon as its module is loaded.

    A `name` belongs to the class that writes it: a subclass of it is another fault only with a
    name of its own.

    Class attributes:
        name: As it is written in a plan.
        summary: What it does, in one line; `unbroken lab faults` lists it.
        kind: The fault kind that a careful reader of the stream would report, or ``""`` where
            the answer is whole all the same, or where nobody could know.
        kinds: The same by variant, where they differ.
        hidden: The answer is damaged, and nothing in the stream tells: see `is_hidden`.
        hows: Variants; the first is the default. Empty: there are none.
        takes: Which of ``place``, ``seconds`` and ``count`` it understands.
        dialects: In which dialects it can be done; None in all.
        place, seconds, count: Defaults of what it takes.
        stage: When it has its turn among others.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    kinds: ClassVar[Mapping[str, str]] = {}
    hidden: ClassVar[bool] = False
    hows: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[frozenset[str]] = frozenset()
    dialects: ClassVar[frozenset[str] | None] = None
    place: ClassVar[Place] = Place(unit="share", amount=0.5)
    seconds: ClassVar[float] = 1.0
    count: ClassVar[int] = 1
    stage: ClassVar[Stage] = "frames"

    def __init_subclass__(cls, **more: object) -> None:
        super().__init_subclass__(**more)
        if "name" in cls.__dict__:
            INJECTORS[cls.name] = cls

    def __init__(self, spec: Spec, scene: Scene) -> None:
        self.spec = spec
        self.scene = scene
        self.how = spec.how or self.default_how(scene.dialect)
        self.for_s = self.seconds if spec.seconds is None else spec.seconds
        self.times = self.count if spec.count is None else spec.count

    @classmethod
    def hows_in(cls, dialect: str) -> tuple[str, ...]:
        """Return the variants that can be done in a dialect; ``("",)`` if there are none."""
        if cls.dialects is not None and dialect not in cls.dialects:
            return ()
        return cls.hows or ("",)

    @classmethod
    def default_how(cls, dialect: str) -> str:
        """Return the variant that is meant where none is named: the first that can be done."""
        return next(iter(possible(cls, dialect)), "")

    @classmethod
    def kind_for(cls, how: str, dialect: str) -> str:
        """Return what a careful reader would report of a variant in a dialect; see `kind`."""
        return cls.kinds.get(how or cls.default_how(dialect), cls.kind)

    @classmethod
    def is_hidden(cls, how: str, dialect: str) -> bool:
        """Whether the answer is damaged and no reader of the stream could know."""
        return cls.hidden and not cls.kind_for(how, dialect)

    def head(self, head: Head) -> Head:
        """Return the head to send; called before any part."""
        return head

    def feed(self, part: Part) -> Iterable[Part]:
        """Return what takes the place of a part; it may be endless."""
        yield part

    def close(self) -> Iterable[Part]:
        """Return what comes after the last part, where the body ended by itself."""
        return ()

    def struck(self, what: str = "") -> None:
        """Say that the fault strikes now."""
        self.scene.struck(str(self.spec) + (f": {what}" if what else ""))

    def refuse(self, why: str) -> NoReturn:
        """Raise the error of a fault that cannot be done to this answer."""
        msg = f"{self.spec}: {why}"
        raise FaultError(msg)


class AtStart(Injector):
    """A fault that is there from the first part on, in the head or in all that follows."""

    def __init__(self, spec: Spec, scene: Scene) -> None:
        super().__init__(spec, scene)
        self._begun = False

    def feed(self, part: Part) -> Iterable[Part]:
        """Begin, if this is the first part, and hand it on."""
        yield from self._first()
        yield from self.each(part)

    def close(self) -> Iterable[Part]:
        """Begin, if there was no part at all."""
        yield from self._first()
        yield from self.last()

    def _first(self) -> Iterable[Part]:
        if not self._begun:
            self._begun = True
            yield from self.begin()

    def begin(self) -> Iterable[Part]:
        """Return what comes before the first part; says that the fault strikes."""
        self.struck()
        return ()

    def each(self, part: Part) -> Iterable[Part]:
        """Return what takes the place of a part."""
        yield part

    def last(self) -> Iterable[Part]:
        """Return what comes after the last part."""
        return ()


INJECTORS: dict[str, type[Injector]] = {}
"""All faults by name."""


def put(data: bytes, role: Role = "other", *, event: bool = True, pace_s: float = 0.0) -> Piece:
    """Return a piece of the lab's own: it is not of the healthy body, and nobody counts it."""
    return Piece(data, role, None, 0, pace_s, event)


def possible(cls: type[Injector], dialect: str) -> tuple[str, ...]:
    """Return `Injector.hows_in`, or all variants where the dialect is not known yet (``""``)."""
    return cls.hows_in(dialect) if dialect else cls.hows or ("",)


def injector_for(spec: Spec, scene: Scene) -> Injector:
    """Return the injector that a spec names, ready for one attempt.

    Raises:
        FaultError: If there is none, if it does not take what the spec gives it, or if the
            place is not in the answer.
    """
    check(spec)
    cls = INJECTORS[spec.name]
    known = possible(cls, scene.dialect)
    if not known:
        where = "" if cls.dialects is None else f"; in {', '.join(sorted(cls.dialects))}"
        msg = f"{spec}: {spec.name} cannot be done in {scene.dialect}{where}"
        raise FaultError(msg)
    if spec.how and spec.how not in known:
        msg = f"{spec}: {scene.dialect} has no {spec.how}; it has {', '.join(filter(None, known))}"
        raise FaultError(msg)
    return cls(spec, scene)


def check(spec: Spec) -> None:
    """Refuse a spec that no answer could be broken by; see `injector_for`."""
    cls = INJECTORS.get(spec.name)
    if cls is None:
        msg = f"no fault is called {spec.name!r}; the faults are {', '.join(sorted(INJECTORS))}"
        raise FaultError(msg)
    if spec.how and spec.how not in cls.hows:
        known = ", ".join(cls.hows) if cls.hows else "it has no variants"
        msg = f"{spec.name} has no variant {spec.how!r}: {known}"
        raise FaultError(msg)
    for what in ("place", "seconds", "count"):
        if getattr(spec, what) is not None and what not in cls.takes:
            known = " and ".join(sorted(cls.takes)) or "nothing"
            msg = f"{spec}: {spec.name} takes no {what}; it takes {known}"
            raise FaultError(msg)
    if spec.count == 0:
        msg = f"{spec}: x0 is no number of times"
        raise FaultError(msg)


def run(parts: Iterable[Part], injectors: Iterable[Injector]) -> Iterator[Part]:
    """Send parts through injectors, one behind another by stage; end at the first `Stop`."""
    for injector in in_order(injectors):
        parts = _through(parts, injector)
    for part in parts:
        yield part
        if isinstance(part, Stop) or (isinstance(part, Pause) and part.seconds is None):
            return


def in_order(injectors: Iterable[Injector]) -> list[Injector]:
    """Return injectors by stage, those of one stage as they came."""
    return sorted(injectors, key=lambda one: _STAGES.index(one.stage))


def _through(parts: Iterable[Part], injector: Injector) -> Iterator[Part]:
    for part in parts:
        yield from injector.feed(part)
        if isinstance(part, Stop):
            return
    yield from injector.close()


def load() -> None:
    """Load every module beside this one, so that the table is filled."""
    package = importlib.import_module("unbroken.lab.injectors")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"unbroken.lab.injectors.{module.name}")
