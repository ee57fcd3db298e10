"""Every kind of fault has a cause and a remedy."""

from __future__ import annotations

import pytest

from unbroken.core.faults import FaultKind
from unbroken.telemetry.page.remedies import REMEDIES, remedy_for


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
