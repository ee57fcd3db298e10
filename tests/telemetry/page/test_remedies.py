"""Every kind of fault has a cause and a remedy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from unbroken.core.course import Course
from unbroken.core.faults import FaultKind
from unbroken.telemetry.page.remedies import GIVEN_UP, REMEDIES, remedy_for, title_of


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_is_explained(kind: FaultKind) -> None:
    cause, remedy = REMEDIES[kind]
    for text in (cause, remedy):
        assert text[0].isupper() or text[0].isdigit()
        assert text.endswith(".")
        assert 20 < len(text) < 220
    assert remedy_for(kind.value) is REMEDIES[kind]


def test_an_unknown_kind_has_something_too() -> None:
    assert remedy_for("ValueError").remedy


def test_what_the_core_gave_up_is_not_the_providers_fault() -> None:
    outlet = SimpleNamespace(diverged="it wrote text where a tool call was delivered", refused="")
    broke = Course._diverged(SimpleNamespace(_outlet=outlet))  # type: ignore[arg-type]
    assert broke is not None
    kind, detail = broke.fault.kind.value, broke.fault.detail
    assert remedy_for(kind, detail) is GIVEN_UP
    assert title_of(kind, detail) == "protocol-violation (continuation thrown away)"
    assert remedy_for(kind, "a finish came twice") is REMEDIES[FaultKind.PROTOCOL_VIOLATION]
    assert title_of(kind, "a finish came twice") == kind
    assert not any("provider" in text.lower() for text in GIVEN_UP)
