"""Settings of the answer, from a plan."""

from __future__ import annotations

import pytest

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model import AnswerSettings
from unbroken.lab.model.settings import HONOURS
from unbroken.lab.plan import parse_plan


def test_settings_of_a_plan() -> None:
    plan = parse_plan(
        "lab/ok;tokens=500;seed=7;say=tool;delta=token;ttft=200ms;tps=50;jitter=20%;burst=4"
        ";pings=15s;usage=off;variant=2;comments=3;recording=x;id=17"
    )
    assert AnswerSettings.from_plan(plan.settings, AnswerSettings()) == AnswerSettings(
        tokens=500, seed=7, say="tool", delta="token", ttft_s=0.2, tps=50.0, jitter=0.2, burst=4,
        pings_s=15.0, usage=False, variant=2, comments=3, recording="x",
    )  # fmt: skip


def test_what_is_not_said_stays() -> None:
    base = AnswerSettings(tokens=5, tps=3.0)
    assert AnswerSettings.from_plan({"delta": "7"}, base) == AnswerSettings(
        tokens=5, tps=3.0, delta=7
    )


@pytest.mark.parametrize(
    ("settings", "honours"),
    [
        ({}, HONOURS),
        ({"honours": "prefill-seed"}, {"prefill", "seed"}),
        ({"honours": "none"}, set()),
        ({"no": "cursor-seed"}, HONOURS - {"cursor", "seed"}),
        ({"honours": "prefill-seed", "no": "seed"}, {"prefill"}),
    ],
)
def test_honours(settings: dict[str, str], honours: set[str]) -> None:
    assert AnswerSettings.from_plan(settings, AnswerSettings()).honours == honours


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "5"), ("tokens", "0"), ("tokens", "many"), ("tokens", "1e9"), ("say", "loud"),
        ("delta", "0"), ("delta", "word"), ("ttft", "soon"), ("tps", "0"), ("tps", "x"),
        ("jitter", "2"), ("burst", "0"), ("pings", "0"), ("usage", "maybe"),
        ("honours", "wishes"), ("no", "thing"), ("variant", "-1"), ("seed", "x"),
    ],
)  # fmt: skip
def test_unknown_and_bad_settings_are_named(name: str, value: str) -> None:
    with pytest.raises(FaultError, match=name):
        AnswerSettings.from_plan({name: value}, AnswerSettings())


@pytest.mark.parametrize(
    "settings",
    [
        {"comments": "1001"},
        {"tokens": "100001", "delta": "token"},
        {"tokens": "40000"},
        {"tokens": "10000", "delta": "1"},
        {"text": "x" * 100_001, "delta": "1"},
        {"tps": "nan"},
        {"tps": "inf"},
        {"ttft": "9" * 400},
        {"burst": "9" * 400},
        {"seed": "²"},
    ],
)
def test_what_would_hold_up_the_server_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(FaultError) as caught:
        AnswerSettings.from_plan(settings, AnswerSettings())
    assert "\n" not in str(caught.value)


def test_large_answers_of_few_frames_are_taken() -> None:
    assert AnswerSettings(tokens=200_000, delta=1000).tokens == 200_000
    assert AnswerSettings(tokens=50_000, delta="token").tokens == 50_000
    assert AnswerSettings(tokens=20_000).tokens == 20_000  # the suites have such
    assert AnswerSettings(comments=1000).comments == 1000
