from __future__ import annotations

import msgspec
import pytest

from unbroken.telemetry.health.figures import OTHER, Figures, Group, Groups, Labels, count_in


def group(model: str, **values: int) -> Group:
    return Group(labels=Labels(provider="p", model=model), **values)


def test_json_gives_the_same_back() -> None:
    first = group("m", started=3, tokens=70)
    first.ttft_s.add(0.4)
    count_in(first.ended, "complete", 2)
    figures = Figures(groups=[first], internal_errors=1)
    assert Figures.from_json(figures.to_json()) == figures
    with pytest.raises(msgspec.MsgspecError):
        Figures.from_json(b"[1]")


def test_merging_adds_and_leaves_the_parts_alone() -> None:
    one, two = group("m", started=3, active=1), group("m", started=4)
    one.gap_s.add(0.5)
    two.gap_s.add(0.6)
    count_in(two.faults, "stalled")
    before = Figures(groups=[one]).to_json()
    merged = Figures.merge([Figures(groups=[one]), Figures(groups=[two, group("n", started=9)])])
    assert Figures(groups=[one]).to_json() == before
    assert {g.labels.model: g.started for g in merged.groups} == {"m": 7, "n": 9}
    whole = merged.total()
    assert (whole.started, whole.active, whole.gap_s.count) == (16, 1, 2)
    assert whole.faults == {"stalled": 1}
    assert merged.without_active().total().active == 0
    assert whole.active == 1


def test_every_field_of_a_group_is_merged() -> None:
    """A counter that is added later must not be forgotten in sums."""
    full = Group(labels=Labels(provider="p"))
    for name in Group.__struct_fields__:
        value = getattr(full, name)
        if isinstance(value, int | float):
            setattr(full, name, 3)
        elif isinstance(value, dict):
            value["x"] = 3
        elif name == "usage":
            for each in type(value).__struct_fields__:
                setattr(value, each, 3)
        elif name != "labels":
            value.add(3.0)
    copy = Group(labels=full.labels)
    copy.merge(full)
    assert copy == full


def test_labels_are_limited_and_nonsense_takes_only_half() -> None:
    groups = Groups(most=10)
    for number in range(50):
        groups.get(Labels(provider="p", model=f"made-up-{number}"), served=False).started += 1
    assert len(groups.all()) == 6  # five, and what came after
    assert groups.get(Labels(provider="p", model="real"), served=True).labels.model == "real"
    for number in range(50):
        groups.get(Labels(provider="p", model=f"served-{number}"), served=True).started += 1
    assert len(groups.all()) <= 12
    folded = groups.get(Labels(provider="p", model="served-49"), served=True)
    assert folded.labels.model == OTHER
    assert sum(each.started for each in groups.all()) == 100


def test_names_of_errors_are_limited() -> None:
    counts: dict[str, int] = {}
    for number in range(1000):
        count_in(counts, f"error {number}")
    assert len(counts) == 101
    assert counts[OTHER] == 900


def test_sums_by_label() -> None:
    figures = Figures(
        groups=[
            Group(labels=Labels(provider="a", model="1"), started=1),
            Group(labels=Labels(provider="a", model="2"), started=2),
            Group(labels=Labels(provider="b", model="1"), started=4),
        ]
    )
    assert {g.labels.provider: g.started for g in figures.by("provider")} == {"a": 3, "b": 4}
    assert len(list(figures.by("provider", "model"))) == 3
