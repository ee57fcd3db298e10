"""`unbroken mcp`, by the SDK's own client over standard input and output."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.debugger.recordings import attempt, recording, whole

pytest.importorskip("mcp.server.mcpserver", reason="needs mcp (pip install 'unbroken[mcp]')")

import anyio
from mcp import Client, StdioServerParameters, stdio_client


def talk(act: Callable[[Client], Awaitable[Any]], *arguments: str) -> Any:
    command, *rest = COMMAND
    server = StdioServerParameters(
        command=command, args=[*rest, "mcp", *arguments], env=environment()
    )

    async def main() -> Any:
        with anyio.fail_after(60):
            async with Client(stdio_client(server)) as client:
                return await act(client)

    return anyio.run(main)


def test_it_offers_three_tools_that_only_read() -> None:
    async def act(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in talk(act)}
    assert set(tools) == {"explain", "check", "report"}
    for tool in tools.values():
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.open_world_hint is False
        assert tool.output_schema is not None
        assert tool.description
        for argument in tool.input_schema["properties"].values():
            assert argument["description"]


def test_answers_are_structured_and_errors_are_clear(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(whole("a secret text")[:1], how="reset"))

    async def act(client: Client) -> Any:
        return [
            await client.call_tool("explain", {"text": "incomplete chunked read"}),
            await client.call_tool("check", {"body": 'data: {"choices": []}\n\n'}),
            await client.call_tool("report", {"path": str(path)}),
            await client.call_tool("check", {}),
            await client.call_tool("report", {"path": "/dev/zero"}),
            await client.call_tool("explain", {"text": "x", "lang": "fr"}),
        ]

    explained, checked, reported, *refused = talk(act)
    assert explained.structured_content["matches"]
    assert checked.structured_content["status"] == "failed"
    found = reported.structured_content
    assert found["streams"][0]["faults"][0]["kind"] == "connection-reset"
    assert "a secret text" not in json.dumps(found)
    assert [answer.is_error for answer in refused] == [True] * 3
    assert "or the body itself: one" in refused[0].content[0].text
    assert "/dev/zero is no regular file" in refused[1].content[0].text


def test_the_root_bounds_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").write_text("data: x\n\n")

    async def act(client: Client) -> Any:
        return await client.call_tool("check", {"path": str(tmp_path / "outside")})

    answer = talk(act, "--root", str(tmp_path / "root"))
    assert answer.is_error
    assert "is outside of" in answer.content[0].text


def test_it_ends_with_its_input(unbroken: Command) -> None:
    ran = unbroken("mcp")
    assert (ran.code, ran.out, ran.error) == (0, b"", "")


def test_wrong_usage_is_one_line(unbroken: Command, tmp_path: Path) -> None:
    ran = unbroken("mcp", "--root", tmp_path / "none")
    assert (ran.code, ran.error_line) == (2, f"unbroken: {tmp_path / 'none'} is no folder")


def test_without_the_sdk_it_says_what_to_install(unbroken: Command, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class None_:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mcp' or name.startswith('mcp.'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, None_())\n"
    )
    ran = unbroken("mcp", env={"PYTHONPATH": f"{tmp_path}:{':'.join(filter(None, sys.path))}"})
    assert ran.code == 2
    assert "pip install 'unbroken[mcp]'" in ran.error_line
