"""The drivers of the published comparison: whole while healthy, healed behind Unbroken.

Those whose SDK is installed beside the tests, and behind the gateway those of Node, where
`npm --prefix compare/node install` was run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compare.rows import gateways, rows, running, variables
from tests.support.bodies import Answer, ToolCall
from tests.support.faults import STORY, Break, breaking
from tests.support.faultserver import FaultServer
from tests.support.model import Model
from unbroken.lab.server.app import LabServer

ROOT = Path(__file__).resolve().parents[2]
CALL = ToolCall(id="call_1", name="record", fragments=('{"text": ', '"came home, ', 'wörld"}'))

ROWS = {row.name: row for row in rows()}
HERE = sorted(
    {row.client for row in ROWS.values() if row.environment == "sdks" and not row.gateway}
)
NODE = ROOT / "compare" / "node" / "node_modules" / ".bin" / "node"
BEHIND = sorted(
    name
    for name, row in ROWS.items()
    if row.gateways == ["unbroken.configured"] and row.environment in ("sdks", "node")
)


def drive(
    name: str, url: str, *, say: str = "text", model: str = "lab/ok;id=1"
) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    asked = {"LAB_MODEL": model, "LAB_PROMPT": "Go on.", "LAB_SAY": say}
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


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(lab: LabServer) -> Iterator[str]:
    """Unbroken's gateway as the comparison starts it, before the lab."""
    pytest.importorskip("aiohttp")
    pytest.importorskip("uvicorn")
    ours = gateways()["unbroken.configured"]
    with running(ours, lab.url, patience_s=24, python=Path(sys.executable)) as url:
        yield url


@pytest.mark.parametrize("name", BEHIND)
def test_heals_behind_the_gateway(lab: LabServer, gateway: str, name: str) -> None:
    if ROWS[name].environment == "node" and not NODE.exists():
        pytest.skip("the clients of compare/node are not installed")
    session = lab.session("cut@30t")
    done = drive(name, gateway, model=session.model)
    assert (done.returncode, done.stdout) == (0, session.numbered.text), done.stderr[-2000:]
    assert len(session.attempts) == 2


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
        assert row.variant in ("plain", "configured", "unbroken", "gateway"), row.name
        assert row.notes.strip(), row.name
        assert set(row.gateways) <= gateways().keys(), row.name
        ours = any(name.startswith("unbroken.") for name in row.gateways)
        assert ours == (row.variant == "gateway" or row.package == "unbroken"), row.name
        for word in row.argv("python"):
            assert "{" not in word, row.name
            ours = word.startswith(str(ROOT)) and "node_modules" not in word  # npm brings those
            assert not ours or Path(word).exists(), word
    for gateway in gateways().values():
        assert gateway.config is None or (ROOT / "compare" / gateway.config).exists()
