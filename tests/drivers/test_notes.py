"""An exception of ours carries what the knowledge base says of it, and nothing of the answer."""

from __future__ import annotations

import traceback
from pathlib import Path

import openai
import pytest

import unbroken
from tests.drivers.test_taping import _sync, both
from tests.seeds.scenes import breaks
from tests.seeds.scenes import options as healing
from tests.support.faults import STORY, Break, reply
from tests.support.faultserver import FaultServer
from unbroken.knowledge.evidence import Evidence


@both
@pytest.mark.parametrize(
    ("fault", "record"),
    [
        ("cut_rst", "llm/stream-connection-reset"),
        ("cut_clean", "llm/truncated-response-in-streaming-mode"),
        ("bad_json", "llm/stream-malformed-json"),
    ],
)
def test_a_traceback_says_why_and_what_not_to_try(read, fault: str, record: str) -> None:  # type: ignore[no-untyped-def]
    with FaultServer(reply(fault, "openai-chat", at=12)) as server:
        with pytest.raises(openai.APIConnectionError) as raised:
            read(server.url, options=unbroken.Options(mode="raise"))
    cause = raised.value.__cause__
    assert cause is not None
    (note,) = cause.__notes__
    why, avoid, do, more = note.split("\n")
    assert why.startswith("why: ")
    assert avoid.startswith("do not ")
    assert do.startswith("do: ")
    assert more == f"more: unbroken explain {record}"
    shown = "".join(traceback.format_exception(raised.value))
    assert note in shown, "where people meet it"
    assert STORY.text[:16] not in note


def test_without_an_sdk_it_hangs_on_the_error_itself() -> None:
    with FaultServer(reply("cut_rst", "openai-chat", at=12)) as server:
        options = unbroken.Options(mode="raise")
        with (
            pytest.raises(unbroken.IncompleteStreamError) as raised,
            unbroken.stream(
                "x", model="m", base_url=f"{server.url}/v1", api_key="k", options=options
            ) as stream,
        ):
            for _ in stream:
                pass
    assert "unbroken explain llm/stream-connection-reset" in raised.value.__notes__[0]


@both
def test_what_became_of_faults_is_counted_where_asked_for(
    read,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UNBROKEN_EVIDENCE", str(tmp_path / "evidence.db"))
    with FaultServer(breaks(Break("cut_rst", at=12))) as server:
        assert read(server.url, options=healing()) == STORY.text
    (count,) = Evidence(tmp_path / "evidence.db").counts()
    assert (count.record, count.fault) == ("llm/stream-connection-reset", "connection-reset")
    assert (count.healed, count.failed) == (1, 0)


def test_nothing_is_counted_where_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNBROKEN_EVIDENCE", raising=False)
    monkeypatch.chdir(tmp_path)
    with FaultServer(breaks(Break("cut_rst", at=12))) as server:
        assert _sync(server.url, options=healing()) == STORY.text
    assert not list(tmp_path.iterdir())
