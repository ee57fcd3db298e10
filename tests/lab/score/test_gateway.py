"""Gateways: a transparent one, one that collects, and one that lies, against the real lab."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar

import pytest

from unbroken.lab.score import Card, Scenario, Suite
from unbroken.lab.score.gateway import GatewayPlayer
from unbroken.lab.score.player import CannotPlayError
from unbroken.lab.score.raw_client import Heard, Reading
from unbroken.lab.score.runner import Options, score_suite
from unbroken.lab.server.app import LabServer

Pass = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def as_it_comes(upstream: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
    while data := await upstream.read(65536):
        down.write(data)
        await down.drain()


async def collected(upstream: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
    down.write(await upstream.read(-1))


async def laundered(upstream: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
    """End well, however the upstream ended."""
    ended = False
    with contextlib.suppress(ConnectionError):
        while data := await upstream.read(65536):
            down.write(data)
            ended = ended or data.endswith(b"0\r\n\r\n")
    if not ended:
        down.write(b"0\r\n\r\n")


@contextlib.asynccontextmanager
async def gateway(lab: LabServer, how: Pass) -> AsyncIterator[str]:
    """A gateway on the level of bytes, which is enough to be a good or a bad one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, up = await asyncio.open_connection("127.0.0.1", lab.port)

        async def request() -> None:
            while data := await reader.read(65536):
                up.write(data)

        asking = asyncio.create_task(request())
        try:
            await how(upstream, writer)
        except ConnectionError:
            writer.transport.abort()
        finally:
            asking.cancel()
            writer.close()
            up.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def run(how: Pass, *plans: str, dialect: str = "openai-chat", **settings: str) -> Card:
    async def main() -> Card:
        with LabServer() as lab:
            async with gateway(lab, how) as url:
                scenarios = tuple(
                    Scenario(
                        name=f"s{number}", plan=plan, settings={"tokens": "60", **settings},
                        patience_s=10,
                    )
                    for number, plan in enumerate(plans)
                )  # fmt: skip
                player = GatewayPlayer(f"{url}/v1", lab=lab.url, dialect=dialect)
                suite = Suite(name="test", title="", scenarios=scenarios)
                return await score_suite(player, suite, lab, Options(label="gw", jobs=4))

    return asyncio.run(main())


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic-messages"])
def test_a_transparent_gateway_is_as_good_as_the_stream(dialect: str) -> None:
    card = run(
        as_it_comes, "ok", "cut@0.5", "cut.rst@0.5", "error@0.5", "http.503", "page.html",
        dialect=dialect,
    )  # fmt: skip
    assert [result.verdict for result in card.results] == [
        "healed", "truncated silently", "honest error", "honest error", "honest error",
        "truncated silently",
    ]  # fmt: skip
    healthy = card.results[0].facts.more
    assert healthy["same_events"] is True
    assert healthy["same_text"] is True
    assert healthy["same_ids"] is True
    assert healthy["same_usage"] is True
    assert healthy["marker"] is True
    assert card.results[0].facts.requests == 1  # the comparison is a session of its own
    assert card.results[1].facts.more["finish"] is None


def test_pace_tells_who_collects() -> None:
    fast, slow = (run(how, "ok", tps="60").results[0] for how in (as_it_comes, collected))
    assert fast.verdict == slow.verdict == "healed"
    assert _seconds(fast.facts.more["longest_held_s"]) < 0.5
    assert _seconds(slow.facts.more["first_token_added_s"]) > 0.5


def _seconds(value: object) -> float:
    assert isinstance(value, float)
    return value


def test_who_ends_well_after_a_reset_launders() -> None:
    (result,) = run(laundered, "cut.fin@0.5").results
    assert (result.verdict, result.facts.laundered) == ("truncated silently", True)


def test_a_gateway_that_is_not_there_is_told() -> None:
    async def main() -> None:
        with LabServer() as lab:
            player = GatewayPlayer("http://127.0.0.1:9", lab=lab.url)
            suite = Suite(name="t", title="", scenarios=(Scenario(name="a", plan="ok"),))
            await score_suite(player, suite, lab, Options(label="gw"))

    with pytest.raises(CannotPlayError, match="ConnectError"):
        asyncio.run(main())


def test_other_dialects_are_refused() -> None:
    with pytest.raises(CannotPlayError, match="openai-chat or anthropic-messages"):
        GatewayPlayer("http://x", lab="http://y", dialect="ollama")


def heard(dialect: str, *events: object, say: str = "text") -> Heard:
    """Read events that arrive byte by byte."""
    reading = Reading(dialect, Heard(), say)
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        for byte in f"data: {data}\n\n".encode():
            reading.feed(bytes([byte]), 1.0)
    reading.close()
    return reading.heard


class TestTheBareClient:
    CONTENT: ClassVar = {"id": "x", "choices": [{"delta": {"content": "hé"}}]}
    FINISH: ClassVar = {
        "id": "x",
        "choices": [{"delta": {}, "finish_reason": "stop"}],
        "usage": {"n": 1},
    }

    def test_chat(self) -> None:
        said = heard("openai-chat", self.CONTENT, self.FINISH, "[DONE]")
        assert (said.text, said.finish, said.marker, said.error) == ("hé", "stop", True, "")
        assert (said.ids, said.usage, said.content_s) == ({"x"}, {"n": 1}, [1.0])

    def test_anthropic(self) -> None:
        said = heard(
            "anthropic-messages",
            {"type": "message_start", "message": {"id": "m"}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"n": 2}},
            {"type": "message_stop"},
        )
        assert (said.text, said.finish, said.marker, said.ids) == ("a", "end_turn", True, {"m"})

    def test_tool_arguments(self) -> None:
        call = {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}
        assert heard("openai-chat", call, say="tool").text == "{}"
        delta = {"type": "input_json_delta", "partial_json": "{}"}
        event = {"type": "content_block_delta", "delta": delta}
        assert heard("anthropic-messages", event, say="tool").text == "{}"

    @pytest.mark.parametrize(
        "event",
        [
            {"error": {"message": "no"}},
            {"type": "error", "message": "no"},
            "{half",
            {"choices": [3]},
        ],
    )
    def test_errors_in_the_stream(self, event: object) -> None:
        said = heard("openai-chat", self.CONTENT, event, self.CONTENT)
        assert said.error
        assert said.text == "hé"

    def test_nothing_is_read_behind_the_marker(self) -> None:
        assert heard("openai-chat", self.CONTENT, "[DONE]", self.CONTENT).text == "hé"

    def test_what_is_no_event_is_nothing(self) -> None:
        reading = Reading("openai-chat", Heard())
        reading.feed(b"<html>data: no</html>\n: ping\n\nevent: x\ndata: [", 1.0)
        reading.close()
        assert (reading.heard.frames, reading.heard.error) == ([], "")
