"""The page of hard content is true: every cell is played, and none is missing."""

from __future__ import annotations

import json

import pytest

from tests.core.hard_bodies import MARK
from tests.core.hard_content import CUTS, SCENES, cells, reasons, told, watch
from tests.core.scripted import ask
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.received import Received

CELLS = cells()
_EACH = [
    pytest.param(kind, dialect, place, repeats,
                 id=f"{kind}, {dialect}, {place}, {'repeats' if repeats else 'sampled'}")
    for (kind, dialect), scene in SCENES.items()
    for place in scene.places
    for repeats in (False, True)
]  # fmt: skip


def test_page_has_a_cell_for_every_scene_and_no_other():
    expected = {(*row, place) for row, scene in SCENES.items() for place in scene.places}
    assert set(CELLS) == expected


@pytest.mark.parametrize(("kind", "dialect", "place", "repeats"), _EACH)
def test_cell(kind, dialect, place, repeats):
    row = (kind, dialect)
    run, first = watch(row, place, repeats=repeats)
    assert told(run) == CELLS[kind, dialect, place][repeats]
    if run.outcome.status == "failed":
        # Nothing was made up, nothing more was paid for, and the reason is the page's.
        assert first.startswith(run.delivered)
        assert len(run.requests) == 1
        assert run.raised is not None
        assert run.raised.kind == "connection-reset"
        assert any(part in skip.why for part in reasons()[row] for skip in run.outcome.skipped)
        return
    scene, speaks = SCENES[row], dialect.split(",")[0]
    attempt, received = Attempt(by_name(speaks)), Received()
    for step in attempt.receive(run.delivered):
        received.add(step.frame, step.events)
    attempt.close("eof")
    assert attempt.faults == []
    said = received.text
    for extra in ("As it is written (see there)", " (see there) "):  # what was cited
        said = said.replace(extra, "", 1)
    assert said == scene.text
    # The hard part came, and came once.
    hard = received.text + received.refusal + received.reasoning
    hard += "".join(call.arguments for call in received.calls.values())
    assert hard.count(MARK) == 1 or (MARK not in hard and MARK.encode() in run.delivered)


def test_every_place_of_a_cut_is_a_column():
    assert all(place in CUTS for scene in SCENES.values() for place in scene.places)


def test_citations_of_a_continuation_are_counted_from_the_start_of_the_answer():
    run, _ = watch(("citation", "gemini"), CUTS[1], repeats=False)
    payloads = [
        json.loads(line[6:]) for line in run.delivered.split(b"\r\n") if line[:5] == b"data:"
    ]
    found = [
        source
        for payload in payloads
        for candidate in payload["candidates"]
        for source in candidate.get("citationMetadata", {}).get("citationSources", [])
    ]
    # The continuation began with its anchor, and cited its own first nine characters.
    two = run.outcome.provenance[1]
    begins = two.start - two.anchor
    assert [(each["startIndex"], each["endIndex"]) for each in found] == [(begins, begins + 9)]


@pytest.mark.parametrize(
    "field", ["guided_json", "guided_regex", "structured_outputs", "grammar", "json_schema", "ebnf"]
)
def test_grammars_of_local_servers_are_structured_output(field):
    assert by_name("openai-chat").facts(ask(**{field: {"type": "object"}})).structured
    assert not by_name("openai-chat").facts(ask(**{field: None})).structured
