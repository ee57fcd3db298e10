"""The public way in: explanations of real failures, and what stands beside a live stream."""

from __future__ import annotations

import json
import logging
import sys
import time

import msgspec
import pytest

import unbroken
from tests.knowledge.make import known, record
from unbroken.core.faults import Fault, FaultKind
from unbroken.knowledge import Explanation, base, explain, explain_fault, records_for, told

openai = pytest.importorskip("openai")
pytest.importorskip("aiohttp")

# what the lab does, and the record that explains what Unbroken raises of it
PLANS = [
    ("cut@12t", "llm/truncated-response-in-streaming-mode"),
    ("page.html", "llm/stream-is-not-a-stream"),
    ("corrupt-json@5t", "llm/stream-malformed-json"),
    ("missing.finish", "llm/stream-missing-finish-reason"),
    ("empty", "llm/stream-empty"),
]


@pytest.mark.parametrize(("plan", "expected"), PLANS, ids=[plan for plan, _ in PLANS])
def test_what_unbroken_raises_is_explained(plan: str, expected: str) -> None:
    from unbroken.lab.server.app import LabServer

    with LabServer() as lab:
        client = openai.OpenAI(
            api_key="none",
            base_url=f"http://127.0.0.1:{lab.port}/v1",
            http_client=unbroken.http_client(options=unbroken.Options(mode="raise")),
            max_retries=0,
        )
        with pytest.raises(openai.APIConnectionError) as caught, client:
            for _ in client.chat.completions.create(
                model=f"lab/{plan}", messages=[{"role": "user", "content": "go"}], stream=True
            ):
                pass
    explained = unbroken.explain(caught.value)
    assert explained
    assert explained.record is not None
    assert explained.record.id == expected
    assert explained.matches[0].why[0].kind == "fault"


def test_a_refused_connection_is_what_counts_not_its_wrapping() -> None:
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1:1/v1", max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            client.models.list()
    explained = unbroken.explain(caught.value)
    assert explained.record is not None
    assert explained.record.id == "proxy/connection-refused"


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_kind_has_a_record_by_every_way(kind: FaultKind) -> None:
    fault = Fault.of(kind, "what was seen, with numbers")
    found = explain_fault(fault)
    assert found is not None
    assert kind.value in found.structure.fault_kinds
    assert not found.structure.classes, "the general record is the one for a bare fault"
    assert records_for(fault)[0] == found.id
    assert unbroken.explain(kind).record == found
    assert unbroken.explain(kind.value).record == found


def test_explain_fault_is_fast_and_speaks_chinese() -> None:
    fault = Fault.of(FaultKind.STALLED, "no content moved for 9.0 s in phase text (clock progress)")
    chinese = explain_fault(fault, lang="zh")
    assert chinese is not None
    assert chinese.signature == base().by_id[chinese.id].signature_zh
    start = time.process_time()
    for _ in range(1000):
        explain_fault(fault, provider="anthropic-messages")
        explain_fault(fault, lang="zh")
    assert (time.process_time() - start) / 2000 < 200e-6  # 50 on a quiet machine


def test_it_never_raises(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("no base today")

    monkeypatch.setattr(sys.modules["unbroken.knowledge.explain"], "base", broken)
    fault = Fault.of(FaultKind.STALLED, "x")
    with caplog.at_level(logging.WARNING, "unbroken"):
        assert explain_fault(fault) is None
        assert records_for(fault) == []
    assert len(caplog.records) == 1  # told once


def test_nothing_is_an_explanation_too() -> None:
    nothing = explain("the cat sat upon the mat")
    assert not nothing
    assert nothing.best is None
    assert nothing.record is None
    assert nothing.to_dict() == {"lang": "en", "matches": [], "others": 0}


def test_the_limit_counts_the_others() -> None:
    many = known(*(record(f"a/r{n}") for n in range(7)))
    assert len(explain("the gadget lost its thread", records=many).matches) == 3
    assert explain("the gadget lost its thread", records=many).others == 4
    assert len(explain("the gadget lost its thread", limit=None, records=many).matches) == 7


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="lang"):
        explain("x", lang="fr")
    with pytest.raises(ValueError, match="limit"):
        explain("x", limit=0)


def test_an_explanation_is_one_json_object() -> None:
    explained = explain("stalled", lang="zh")
    raw = json.loads(msgspec.json.encode(explained.to_dict()))
    best = raw["matches"][0]
    assert best["id"] == "llm/stream-stalled"
    assert best["record"]["lang"] == "zh"
    assert best["record"]["dead_ends"]
    assert best["record"]["dead_ends"][0]["action"] != ""
    assert isinstance(explained, Explanation)


def test_dead_ends_and_workarounds_come_in_the_order_of_their_rates() -> None:
    measured = {"tries": 20, "worked": 18, "date": "2026-11-21"}
    one = record(
        dead_ends=[
            {"action": "a", "why_fails": "x", "fail_rate": 0.9},
            {"action": "b", "why_fails": "x", "fail_rate": 0.1,
             "measured": {**measured, "worked": 0}},
        ],
        workarounds=[
            {"action": "claimed", "success_rate": 0.99},
            {"action": "little", "success_rate": 0.5, "measured": {**measured, "worked": 2}},
            {"action": "much", "success_rate": 0.2, "measured": measured, "how": "much"},
        ],
        workarounds_zh=["声称", "很少", "很多"],
    )  # fmt: skip
    english, chinese = told(one), told(one, "zh")
    assert [end.action for end in english.dead_ends] == ["b", "a"]
    assert [way.action for way in english.workarounds] == ["much", "little", "claimed"]
    assert [way.action for way in chinese.workarounds] == ["很多", "很少", "声称"]
    assert english.workarounds[0].how == ""  # which would only repeat it


def test_no_field_of_the_form_is_idle() -> None:
    shown = set(told(record()).__struct_fields__)
    by_another_name = {
        "signature_zh": "signature", "root_cause": "cause", "root_cause_zh": "cause",
        "os_specific": "os_notes", "workarounds_zh": "workarounds",
        "transition_graph": "leads_to", "official_doc_url": "doc_url",
        "official_doc_section": "doc_section", "verification_tier": "tier",
    }  # fmt: skip
    only_for_matching = {"regex", "structure"}
    for name in record().__struct_fields__:
        assert name in only_for_matching or by_another_name.get(name, name) in shown


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_reason_has_a_label(lang: str) -> None:
    from typing import get_args, get_type_hints

    from unbroken.knowledge import Reason
    from unbroken.knowledge.told import labels

    kinds = get_args(get_type_hints(Reason)["kind"])
    assert len(kinds) > 9
    assert [kind for kind in kinds if not labels("en").get(kind) or kind not in labels(lang)] == []
    assert labels(lang).keys() == labels("en").keys()


def test_a_label_that_is_missing_costs_no_answer() -> None:
    from unbroken.knowledge.told import labels

    assert labels("zh")["not_yet_known"] == "not yet known"


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"workarounds": [{"action": "x", "success_rate": 0.9}]}, 0.9),
        ({"workarounds": [{"action": "x", "success_rate": n} for n in (0.2, 0.8)]}, 0.8),
        ({"workarounds": [{"action": "x", "success_rate": 0.9}], "fix_success_rate": 0.3}, 0.3),
        ({"workarounds": [{"action": "x", "success_rate": n} for n in (0.5, 0.8)]}, 0.5),
        ({"workarounds": []}, 0.5),
    ],
)
def test_how_often_workarounds_help_is_computed_where_it_is_not_said(
    fields: dict[str, object], rate: float
) -> None:
    assert told(record(**fields)).fix_success_rate == rate
