"""Records of deadends.dev, nested or flat, become records of ours; what is dropped is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unbroken.knowledge import KnowledgeError, read_records
from unbroken.knowledge.importing import import_file, import_record, write_record

SEEDS = Path(__file__).with_name("seeds")

CANON: dict[str, Any] = {
    "schema_version": "1.0.0",
    "id": "api/gadget-timeout/gadget-api_2.x",
    "url": "https://deadends.dev/api/gadget-timeout/gadget-api_2.x",
    "error": {
        "signature": "GadgetTimeout: the gadget did not answer",
        "regex": "GadgetTimeout",
        "domain": "api",
        "category": "timeout",
        "first_seen": "2023-01-01",
        "last_confirmed": "2026-02-24",
    },
    "environment": {
        "runtime": {"name": "gadget", "version_range": ">=2.0,<3"},
        "os": "macos",
        "python": ">=3.9",
        "hardware": {"gpu": "none"},
    },
    "verdict": {
        "resolvable": "partial",
        "fix_success_rate": 0.6,
        "confidence": 0.8,
        "last_updated": "2026-02-24",
        "summary": "Two clocks are mixed up.",
    },
    "dead_ends": [
        {
            "action": "wait longer",
            "why_fails": "it is the other clock",
            "fail_rate": 0.8,
            "common_misconception": "there is one clock",
            "sources": ["https://example.com"],
        }
    ],
    "workarounds": [{"action": "Read the clock.", "success_rate": 0.9, "tradeoff": "slow"}],
    "transition_graph": {
        "leads_to": [
            {"error_id": "api/gadget-broken/any", "probability": 0.3, "condition": "often"}
        ],
        "preceded_by": [],
        "frequently_confused_with": [
            {"error_id": "api/gizmo/any", "distinction": "gizmos are blue"}
        ],
    },
    "metadata": {
        "generated_by": "somebody",
        "generation_date": "2026-02-24",
        "review_status": "human_reviewed",
        "evidence_count": 3,
        "last_verification": "2026-02-25",
        "page_views": 12,
    },
}


def test_a_nested_record_keeps_what_it_says() -> None:
    imported = import_record(CANON)
    made = imported.record
    assert made.id == "api/gadget-timeout-gadget-api-2.x"
    assert (made.signature, made.regex) == (CANON["error"]["signature"], "GadgetTimeout")
    assert made.root_cause == "Two clocks are mixed up."
    assert (made.confidence, made.fix_success_rate, made.resolvable) == (0.8, 0.6, "partial")
    assert (made.first_seen, made.last_confirmed) == ("2023-01-01", "2026-02-24")
    assert made.verification_tier == "sourced"
    assert made.evidence_count == 3
    assert [version.version for version in made.versions] == ["gadget>=2.0,<3", "python>=3.9"]
    assert list(made.os_specific) == ["darwin"]
    assert made.dead_ends[0].why_fails == "it is the other clock"
    assert made.workarounds[0].tradeoff == "slow"
    assert made.transition_graph.leads_to[0].error_id == "api/gadget-broken-any"
    assert made.transition_graph.frequently_confused_with[0].distinction == "gizmos are blue"
    assert made.sources == [CANON["url"]]


def test_what_has_no_place_is_said() -> None:
    assert import_record(CANON).dropped == [
        'dead_ends[0].common_misconception ("there is one clock")',
        'environment.hardware ({"gpu":"none"})',
        'metadata.generated_by ("somebody")',
        'metadata.generation_date ("2026-02-24")',
        "metadata.page_views (12)",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": None}, "id is not there"),
        ({"error": {}}, "error.signature is not there"),
        ({"error": 7}, "error. is no object"),
        ({"verdict": {"summary": 3}}, "verdict.summary is no text"),
        ({"dead_ends": [{"action": "x"}]}, "why_fails"),
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(KnowledgeError, match=told):
        import_record({**CANON, **change})


@pytest.mark.parametrize("seed", sorted(SEEDS.glob("*.txt")), ids=lambda path: path.stem[:3])
def test_the_flat_form_comes_through_unchanged(seed: Path) -> None:
    (imported,) = import_file(seed)
    assert [imported.record] == read_records(seed)
    assert imported.dropped == []


def test_it_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    source = tmp_path / "canon.json"
    source.write_text(json.dumps([CANON]))
    (imported,) = import_file(source)
    path = write_record(imported.record, tmp_path / "out")
    assert path == tmp_path / "out" / "api" / "gadget-timeout-gadget-api-2.x.json"
    assert read_records(path) == [imported.record]
    with pytest.raises(KnowledgeError, match="already"):
        write_record(imported.record, tmp_path / "out")
    assert write_record(imported.record, tmp_path / "out", replace=True) == path


def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    (seed,) = read_records(next(SEEDS.glob("000*")))
    import msgspec

    for id in ("../evil", "a/../../evil", "/etc/evil", "a", "a/b/c", ".a/b"):
        with pytest.raises(KnowledgeError, match="is not"):
            write_record(msgspec.structs.replace(seed, id=id), tmp_path / "out")
    assert list(tmp_path.rglob("*")) == []
