"""What the Responses tests share: frames, the real SDK over a body, and a grammar check."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai

from tests.core.dialects.helpers import decode
from unbroken.core.dialects.base import Answer, AnswerCall
from unbroken.core.dialects.openai_responses.dialect import OpenAIResponses
from unbroken.core.frames import Frame

DIALECT = OpenAIResponses()
URL = "https://api.openai.com/v1/responses"
WORDS = ("One ", "two ", "three, ", "four ", "five \N{GRINNING FACE} ", "six.")
CALLS = (
    AnswerCall(name="weather", arguments=('{"city":', '"Paris"}'), id="call_a"),
    AnswerCall(name="clock", arguments=("{}",), id="call_b"),
)


def frame(payload: Any, event: str = "message") -> Frame:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Frame(event, data, "", None, b"data: " + data + b"\n\n", 0)


def payloads(body: bytes) -> list[dict[str, Any]]:
    found = [json.loads(f.payload) for f in decode(DIALECT, body) if f.payload[:1] == b"{"]
    return [payload for payload in found if isinstance(payload, dict)]


def answer(tag: str, **more: Any) -> list[bytes]:
    return DIALECT.encode(Answer(**{"id": f"resp_{tag}", "text": WORDS, "usage": (7, 9), **more}))


def index_of(frames: list[bytes], mark: bytes) -> int:
    return next(i for i, raw in enumerate(frames) if mark in raw)


# What the SDK makes of a body --------------------------------------------------------------


def sdk(body: bytes) -> openai.OpenAI:
    def handler(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    transport = httpx2.MockTransport(handler)
    return openai.OpenAI(
        api_key="none", base_url="http://test/v1", max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )  # fmt: skip


def final(body: bytes) -> Any:
    """The response that `responses.stream` puts together; it checks ids and lifecycles."""
    snapshots: dict[tuple[int, int], str] = {}
    with sdk(body).responses.stream(model="m", input="hi") as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                place = (event.output_index, event.content_index)
                assert event.snapshot == snapshots.get(place, "") + event.delta
                snapshots[place] = event.snapshot
        response = stream.get_final_response()
    assert "".join(snapshots.values()) == response.output_text
    return response


def deltas(body: bytes) -> str:
    events = sdk(body).responses.create(model="m", input="hi", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def calls(response: Any) -> list[tuple[str, str, str]]:
    return [(c.call_id, c.name, c.arguments) for c in response.output if c.type == "function_call"]


def check(body: bytes, *, same_ids: bool = True) -> None:
    """Hold a whole body against the grammar of the dialect."""
    seen = payloads(body)
    assert [p["sequence_number"] for p in seen] == list(range(len(seen)))
    assert [p["type"] for p in seen].count("response.created") == 1
    assert seen[-1]["type"] in ("response.completed", "response.incomplete")
    items: dict[int, dict[str, Any]] = {}
    parts: dict[tuple[int, int], str] = {}
    texts: dict[tuple[int, int], str] = {}
    whole: dict[int, str] = {}
    done: dict[int, dict[str, Any]] = {}
    for p in seen:
        kind, at = p["type"], p.get("output_index")
        place = (at, p.get("content_index"))
        if kind == "response.output_item.added":
            assert at == len(items)
            items[at] = p["item"]
            continue
        if at is None:
            continue
        assert at in items, kind
        assert at not in done, kind
        if "item_id" in p and same_ids:
            assert p["item_id"] == items[at]["id"]
        if kind == "response.content_part.added":
            assert place not in parts
            assert place[1] == sum(1 for other in parts if other[0] == at)
            parts[place], texts[place] = "open", ""
        elif kind == "response.output_text.delta":
            assert parts[place] == "open"
            assert p["delta"]
            texts[place] += p["delta"]
        elif kind == "response.output_text.done":
            assert parts[place] == "open"
            parts[place] = "said"
            assert p["text"] == texts[place]
        elif kind == "response.content_part.done":
            assert parts[place] == "said"
            parts[place] = "closed"
            assert p["part"]["text"] == texts[place]
        elif kind == "response.function_call_arguments.done":
            assert at not in whole
            whole[at] = p["arguments"]
        elif kind == "response.output_item.done":
            done[at] = p["item"]
            assert p["item"].get("arguments") == whole.get(at)
            if same_ids:
                assert p["item"]["id"] == items[at]["id"]
            if p["item"]["type"] == "message":
                said = [part["text"] for part in p["item"]["content"]]
                assert said == [text for key, text in texts.items() if key[0] == at]
    assert done.keys() == items.keys()
    assert set(parts.values()) <= {"closed"}
    response = seen[-1]["response"]
    if same_ids:
        assert response["output"] == [done[at] for at in sorted(done)]
        assert response["id"] == seen[0]["response"]["id"]
