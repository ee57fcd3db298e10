"""The fault grammar: what is meant, what is refused, and that it can be written back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.lab.injectors import INJECTORS, FaultError, Place, Spec
from unbroken.lab.plan import parse_fault, parse_plan


def place(unit, amount=0.0):
    return Place(unit=unit, amount=amount)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("cut", Spec(name="cut")),
        ("cut.rst", Spec(name="cut", how="rst")),
        ("cut.half-utf8", Spec(name="cut", how="half-utf8")),
        ("cut@120", Spec(name="cut", place=place("bytes", 120))),
        ("cut@120b", Spec(name="cut", place=place("bytes", 120))),
        ("cut@2k", Spec(name="cut", place=place("bytes", 2000))),
        ("cut@1.5k", Spec(name="cut", place=place("bytes", 1500))),
        ("cut@12f", Spec(name="cut", place=place("frames", 12))),
        ("cut@30t", Spec(name="cut", place=place("tokens", 30))),
        ("cut@0.5", Spec(name="cut", place=place("share", 0.5))),
        ("cut@50%", Spec(name="cut", place=place("share", 0.5))),
        ("cut@100%", Spec(name="cut", place=place("share", 1))),
        ("cut@0", Spec(name="cut", place=place("bytes", 0))),
        ("cut@rand", Spec(name="cut", place=place("random"))),
        ("stall@3s", Spec(name="stall", seconds=3)),
        ("stall@250ms", Spec(name="stall", seconds=0.25)),
        ("stall@30t@3s", Spec(name="stall", place=place("tokens", 30), seconds=3)),
        ("stall.ping@3s@30t", Spec(name="stall", how="ping", place=place("tokens", 30), seconds=3)),
        ("duplicate@x5", Spec(name="duplicate", count=5)),
        ("oversized@x40M", Spec(name="oversized", count=40_000_000)),
        (" cut ", Spec(name="cut")),
    ],
)
def test_fault(text, spec):
    assert parse_fault(text) == spec


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no fault"),
        ("Cut", "is no fault"),
        ("cut rst", "is no fault"),
        ("tear", "no fault is called 'tear'; the faults are after-end, "),
        ("cut.gently", "no variant 'gently': clean, fin, rst"),
        ("bom.twice", "it has no variants"),
        ("cut@soon", "'soon' is no place"),
        ("cut@", "is no place"),
        ("cut@-3", "is no place"),
        ("cut@1.5t", "whole number"),
        ("duplicate@x1.5", "whole number"),
        ("duplicate@x3s", "whole number"),
        ("duplicate@x0", "x0 is no number"),
        ("cut@1.5", "from 0 to 1"),
        ("cut@101%", "from 0 to 1"),
        ("cut@3s", "cut takes no seconds; it takes place"),
        ("bom@30t", "bom takes no place; it takes nothing"),
        ("stall@x3", "stall takes no count; it takes place and seconds"),
        ("cut@3t@4t", "more than one place"),
        ("stall@1s@2s", "more than one seconds"),
        ("cut@" + "9" * 400, "at most 12 digits"),
        ("oversized@x" + "9" * 400, "at most 12 digits"),
        ("cut@0." + "1" * 400, "at most 12 digits"),
        ("cut@1234567890123", "is no place"),
        ("cut@²", "is no place"),
        ("cut@٣", "is no place"),
    ],
)
def test_refused(text, why):
    with pytest.raises(FaultError, match=why) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


def names(plan, attempt):
    return [spec.name for spec in plan.faults_of(attempt)]


def test_attempts():
    plan = parse_plan("lab/cut.rst@30t+split,ok,stall@3s*2;tokens=500;seed=7")
    assert [names(plan, n) for n in range(6)] == [
        ["cut", "split"],
        [],
        ["stall"],
        ["stall"],
        [],
        [],
    ]
    assert plan.settings == {"tokens": "500", "seed": "7"}
    assert not plan.for_ever


def test_for_ever():
    plan = parse_plan("ok,stall.ping*")
    assert [names(plan, n) for n in (0, 1, 99)] == [[], ["stall"], ["stall"]]


@pytest.mark.parametrize("text", ["", "lab/", "ok", "lab/ok", "lab/;", ";"])
def test_no_fault(text):
    if text.endswith(";"):
        with pytest.raises(FaultError, match="is no setting"):
            parse_plan(text)
    else:
        assert names(parse_plan(text), 0) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cut*,ok", "nothing can follow"),
        ("cut*0", "no number of attempts"),
        ("cut*many", "no number of attempts"),
        ("cut*²", "no number of attempts"),
        ("cut*" + "9" * 5000, "no number of attempts"),
        ("cut*1001", "no number of attempts"),
        ("cut,", "is no fault"),
        ("cut;tokens", "is no setting"),
        ("cut;=3", "is no setting"),
    ],
)
def test_refused_plan(text, why):
    with pytest.raises(FaultError, match=why):
        parse_plan(text)


@st.composite
def specs(draw):
    cls = draw(st.sampled_from(sorted(INJECTORS.values(), key=lambda one: one.name)))
    known = {}
    if "place" in cls.takes and draw(st.booleans()):
        unit = draw(st.sampled_from(["bytes", "frames", "tokens", "share", "random"]))
        amount = {"share": draw(st.integers(0, 1000)) / 1000, "random": 0.0}
        known["place"] = place(unit, amount.get(unit, float(draw(st.integers(0, 10**6)))))
    if "seconds" in cls.takes and draw(st.booleans()):
        known["seconds"] = draw(st.integers(0, 10**5)) / 1000
    if "count" in cls.takes and draw(st.booleans()):
        known["count"] = draw(st.integers(1, 10**7))
    return Spec(name=cls.name, how=draw(st.sampled_from(("", *cls.hows))), **known)


@given(st.lists(st.lists(specs(), max_size=3), min_size=1, max_size=4), st.booleans())
def test_written_back(attempts, for_ever):
    text = ",".join("+".join(map(str, attempt)) or "ok" for attempt in attempts)
    plan = parse_plan(text + "*" * for_ever)
    assert [list(attempt) for attempt in plan.attempts] == attempts
    again = parse_plan(str(plan))
    assert again.attempts == plan.attempts
    assert again.for_ever == plan.for_ever
