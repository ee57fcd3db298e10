"""Every fault in every dialect that it can be done in: it strikes, and ends or is endless."""

from __future__ import annotations

import pytest

from tests.lab.bodies import NAMES, NO_CALLS
from tests.lab.injectors.playing import MOST_PARTS, Played, play
from unbroken.core.faults import FaultKind
from unbroken.lab.injectors import INJECTORS, Injector
from unbroken.lab.parts import Pause

# The joined bytes are those of the healthy body: only time, head or pieces differ.
BYTE_NEUTRAL = {"drip", "bandwidth", "burst", "split", "wrong-type", "retry-after"}
NEUTRAL_HOWS = {"stall.dead@1s", "gzip.plain", "early-close.rst", "early-close.fin"}
CALLS = {"tool-cut"}

CASES = [
    pytest.param(cls, how, id=f"{cls.name}{'.' if how else ''}{how}")
    for cls in INJECTORS.values()
    for how in cls.hows or ("",)
]
each = pytest.mark.parametrize(("cls", "how"), CASES)


def dialects(cls: type[Injector], how: str) -> list[str]:
    found = [d for d in NAMES if how in cls.hows_in(d)]
    return [d for d in found if not (cls.name in CALLS and d in NO_CALLS)]


SMALL = {"stall": "@1s", "oversized": "@x5k"}  # an end, and not much time


def fault_of(cls: type[Injector], how: str) -> str:
    return (f"{cls.name}.{how}" if how else cls.name) + SMALL.get(cls.name, "")


def most(cls: type[Injector]) -> int:
    return 200 if cls.name == "endless" else MOST_PARTS


def shape(played: Played) -> list[object]:
    """Everything that a socket could show."""
    return [played.head, *played.parts]


@each
def test_strikes(cls: type[Injector], how: str) -> None:
    fault = fault_of(cls, how)
    call = cls.name in CALLS
    for dialect in dialects(cls, how):
        played = play(fault, dialect, call=call, most=most(cls))
        healthy = play("ok", dialect, call=call)
        assert played.strikes, f"{dialect}: it never said that it struck"
        assert played.strikes[0].startswith(cls.name)
        assert shape(played) != shape(healthy), dialect
        assert played.endless == (cls.name == "endless"), dialect
        if cls.name in BYTE_NEUTRAL or fault in NEUTRAL_HOWS:
            assert played.body == healthy.body, dialect
        elif cls.name not in ("refuse", "slow-head", "length"):
            assert played.body != healthy.body, dialect


@each
def test_same_seed_same_flow(cls: type[Injector], how: str) -> None:
    fault = fault_of(cls, how) + ("@rand" if "place" in cls.takes else "")
    for dialect in dialects(cls, how):
        first, second = (
            play(fault, dialect, call=cls.name in CALLS, seed=3, most=most(cls)) for _ in range(2)
        )
        assert shape(first) == shape(second), dialect


@each
def test_kind_is_one_of_ours(cls: type[Injector], how: str) -> None:
    for dialect in dialects(cls, how):
        kind = cls.kind_for(how, dialect)
        assert kind == "" or kind in set(FaultKind)
        assert not (kind and cls.is_hidden(how, dialect))


@pytest.mark.parametrize("cls", INJECTORS.values(), ids=list(INJECTORS))
def test_described(cls: type[Injector]) -> None:
    assert cls.summary
    assert len(cls.summary) < 100
    assert not cls.summary.endswith(".")
    assert cls.name.replace("-", "").islower()
    assert any(cls.hows_in(dialect) for dialect in NAMES)
    assert {how for d in NAMES for how in cls.hows_in(d)} == set(cls.hows or ("",))


@pytest.mark.parametrize(
    "cls",
    [cls for cls in INJECTORS.values() if cls.name not in ("length", *CALLS)],
    ids=lambda cls: cls.name,
)
def test_an_answer_that_is_not_known_yet(cls: type[Injector]) -> None:
    """In a proxy: places in frames, bytes and tokens work, and no list of pieces is needed."""
    dialect = next(d for d in NAMES if cls.hows_in(d))
    places = ("@2t", "@3f", "@400b") if "place" in cls.takes else ("",)
    for place in places:
        played = play(
            fault_of(cls, cls.hows_in(dialect)[0]) + place, dialect, known=False, most=most(cls)
        )
        assert played.strikes


@each
def test_beside_a_stop(cls: type[Injector], how: str) -> None:
    """A body that was cut by another fault still ends, and says how."""
    for dialect in dialects(cls, how):
        fault = f"{fault_of(cls, how)}+cut.rst@3f"
        played = play(fault, dialect, call=cls.name in CALLS, most=most(cls))
        if not played.endless:
            last = played.parts[-1]
            forever = isinstance(last, Pause) and last.seconds is None
            assert played.stop is not None or forever, dialect
