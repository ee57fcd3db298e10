"""The drivers of the published comparison: whole while healthy, healed behind Unbroken.

Those whose SDK is installed beside the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compare.rows import gateways, rows, variables
from tests.support.bodies import Answer, ToolCall
from tests.support.faults import STORY, Break, breaking
from tests.support.faultserver import FaultServer
from tests.support.model import Model

ROOT = Path(__file__).resolve().parents[2]
CALL = ToolCall(id="call_1", name="record", fragments=('{"text": ', '"came home, ', 'wörld"}'))

ROWS = {row.name: row for row in rows()}
HERE = sorted(
    {row.client for row in ROWS.values() if row.environment == "sdks" and not row.gateway}
)


def drive(name: str, url: str, *, say: str = "text") -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    asked = {"LAB_MODEL": "lab/ok;id=1", "LAB_PROMPT": "Go on.", "LAB_SAY": say}
    return subprocess.run(
        ROWS[name].argv(sys.executable),
        env={**keep, **variables(url), **asked, "LAB_PATIENCE_S": "24"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("client", HERE)
@pytest.mark.parametrize("variant", ["plain", "configured"])
def test_prints_the_whole_text_of_a_healthy_stream(client: str, variant: str) -> None:
    name = f"{client}.{variant}"
    with FaultServer(breaking(Model(dialect=ROWS[name].dialect, answer=STORY))) as server:
        done = drive(name, server.url)
    assert (done.returncode, done.stdout) == (0, STORY.text), done.stderr[-2000:]
    assert len(server.requests) == 1


@pytest.mark.parametrize("client", HERE)
def test_heals_a_clean_cut_behind_unbroken(client: str) -> None:
    name = f"{client}.unbroken"
    model = Model(dialect=ROWS[name].dialect, answer=STORY)
    with FaultServer(breaking(model, Break("cut_clean", at=9))) as server:
        done = drive(name, server.url)
    assert (done.returncode, done.stdout) == (0, STORY.text), done.stderr[-2000:]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "client", [name for name in HERE if "tool" not in ROWS[f"{name}.plain"].cannot]
)
def test_prints_the_arguments_of_a_tool_call_and_nothing_else(client: str) -> None:
    name = f"{client}.plain"
    answer = Answer(tokens=("Let me see. ",), tools=(CALL,))
    with FaultServer(breaking(Model(dialect=ROWS[name].dialect, answer=answer))) as server:
        done = drive(name, server.url, say="tool")
    assert (done.returncode, done.stdout) == (0, "".join(CALL.fragments)), done.stderr[-2000:]


def test_an_error_is_the_last_line_and_what_came_is_printed() -> None:
    model = Model(dialect="openai-chat", answer=STORY)
    with FaultServer(breaking(model, Break("cut_rst", at=9))) as server:
        done = drive("openai-chat.plain", server.url)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "APIConnectionError: Connection error."
    assert done.stdout
    assert STORY.text.startswith(done.stdout)


def test_every_row_is_whole_and_its_files_are_there() -> None:
    for row in ROWS.values():
        assert row.variant in ("plain", "configured", "unbroken"), row.name
        assert row.notes.strip(), row.name
        assert row.gateway is None or row.gateway in gateways(), row.name
        for word in row.argv("python"):
            assert "{" not in word, row.name
            ours = word.startswith(str(ROOT)) and "node_modules" not in word  # npm brings those
            assert not ours or Path(word).exists(), word
    for gateway in gateways().values():
        assert gateway.config is None or (ROOT / "compare" / gateway.config).exists()
