"""A partial answer as a turn of the request."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.dialects.partial import with_answer

USER = {"role": "user", "parts": [{"text": "Why?"}]}


def model(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": "model", "parts": [*parts], **more}


CASES = {
    "a turn of its own": ([USER], [USER, model({"text": "So"})]),
    "on in the last part": ([model({"text": "I say: "})], [model({"text": "I say: So"})]),
    "behind a part of another kind": (
        [model({"image": 1})],
        [model({"image": 1}, {"text": "So"})],
    ),
    "behind a text with more to it": (
        [model({"text": "a", "signature": "s"})],
        [model({"text": "a", "signature": "s"}, {"text": "So"})],
    ),
    "behind no part": ([model()], [model({"text": "So"})]),
    "with the turn's own fields": ([model({"text": ""}, n=1)], [model({"text": "So"}, n=1)]),
    "no turns": ([], None),
    "not turns": ("Why?", None),
    "no parts": ([{"role": "model", "parts": "a"}], None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_where_the_text_goes(case: str) -> None:
    turns, expected = CASES[case]
    before = repr(turns)
    assert with_answer(turns, "So", {}, role="model", parts="parts") == expected
    assert repr(turns) == before, "the request itself is not changed"


def test_more_fields_are_put_into_the_turn() -> None:
    for turns in ([USER], [USER, model({"text": ""})]):
        found = with_answer(turns, "So", {"prefix": True}, role="model", parts="parts")
        assert found is not None
        assert found[-1] == model({"text": "So"}, prefix=True)
