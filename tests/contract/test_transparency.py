"""What is healthy passes as it came: each byte, each frame at once; what is no stream, too."""

import contextlib
import gzip
import json
import zlib
from pathlib import Path

import anyio
import httpx
import httpx2
import pytest

import unbroken
from tests.contract.rig import client_for, options, transport_for
from tests.support.bodies import ALL_DIALECTS, CONTENT_TYPES, body
from tests.support.faults import STORY
from tests.support.faultserver import FaultServer, Gate, Reply

_BODIES = Path(__file__).parents[1] / "bodies"
_INDEX = json.loads((_BODIES / "index.json").read_text("utf-8"))
# Ended, and in order: half a last frame is not delivered, and wrong numbers are put right.
# What is no text is not delivered either.
_NOT_AS_IT_CAME = {"out-of-order", "duplicate-event", "missing-event", "invalid-utf8"}
_HEALTHY = [
    row
    for row in _INDEX
    if row["status"] not in ("failed", "unconfirmed")
    and not _NOT_AS_IT_CAME & set(row["faults"])
    and row["file"] != "openai-chat/cut-in-usage.sse"
]
_PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "gemini": "/v1beta/models/test-model:streamGenerateContent?alt=sse",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
    "openai-completions": "/v1/completions",
    "openai-assistants": "/v1/threads/thread_1/runs",
    "gemini-array": "/v1beta/models/test-model:streamGenerateContent",
    "gemini-interactions": "/v1beta/interactions",
    "bedrock-converse": "/model/anthropic.claude-sonnet-4-5/converse-stream",
    "bedrock-invoke": "/model/anthropic.claude-sonnet-4-5/invoke-with-response-stream",
}
_TYPES = {
    "gemini-array": "application/json",
    "bedrock-converse": "application/vnd.amazon.eventstream",
    "bedrock-invoke": "application/vnd.amazon.eventstream",
}
_NOT_SSE = ("ollama", *_TYPES)
_ASKED = {"model": "m", "messages": [], "stream": True}


def _reply(dialect, pieces, **more):
    kind = CONTENT_TYPES.get(dialect) or _TYPES.get(dialect, "text/event-stream")
    headers = {"content-type": kind} | more.pop("headers", {})
    return Reply(headers=headers, pieces=pieces, **more)


@contextlib.contextmanager
def _client(library, mode="heal", **more):
    name = "openai-chat" if library is httpx2 else "ollama"
    with library.Client(transport=transport_for(name, options(mode)), timeout=5, **more) as client:
        yield client


def _sliced(raw, size):
    return [raw[at : at + size] for at in range(0, len(raw), size)]


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("row", _HEALTHY, ids=lambda row: row["file"])
def test_a_healthy_body_passes_byte_for_byte(row, mode):
    raw = (_BODIES / row["file"]).read_bytes()
    library = httpx if row["dialect"] == "ollama" else httpx2
    with _client(library, mode) as client:
        for pieces in ([raw], _sliced(raw, 7), raw.splitlines(keepends=True)):
            with FaultServer(_reply(row["dialect"], pieces)) as server:
                url = server.url + _PATHS[row["dialect"]]
                with client.stream("POST", url, json=_ASKED) as response:
                    assert b"".join(response.iter_raw()) == raw + _closing(row, raw, mode)
                assert response.extensions["unbroken"].outcome.text == row["text"]


def _closing(row, raw, mode):
    """The line ends that the last frame lacks; an SDK would drop it without them."""
    if mode == "observe" or row["dialect"] in _NOT_SSE:
        return b""
    if raw.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
        return b""
    return b"\n" if raw.endswith(b"\n") else b"\n\n"


@pytest.mark.parametrize("mode", ["heal", "observe"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("dialect", ALL_DIALECTS)
def test_a_healthy_body_passes_in_an_event_loop(dialect, backend, mode):
    raw = b"".join(body(dialect, STORY))

    async def main(server):
        async with client_for("openai-chat-async", options(mode)) as client:
            request = client.build_request("POST", server.url + _PATHS[dialect], json=_ASKED)
            response = await client.send(request, stream=True)
            got = [piece async for piece in response.aiter_raw()]
            assert b"".join(got) == raw
            assert response.extensions["unbroken"].outcome.complete

    with FaultServer(_reply(dialect, _sliced(raw, 100))) as server:
        anyio.run(main, server, backend=backend)


@pytest.mark.seed("000-dead-end-no-streaming")
@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("dialect", ALL_DIALECTS)
def test_each_frame_is_delivered_as_soon_as_its_last_byte_came(dialect, mode):
    frames = body(dialect, STORY)
    first = next(number for number, frame in enumerate(frames) if frame.role == "text")
    half = len(frames[first + 2]) // 2
    gates = [Gate(), Gate(), Gate()]
    pieces = [
        *frames[: first + 1],
        gates[0],  # the first text is with the consumer before this opens
        frames[first + 1],
        gates[1],
        frames[first + 2][:half],
        gates[2],  # half a frame is not delivered, but held for its other half
        frames[first + 2][half:],
        *frames[first + 3 :],
    ]
    with (
        FaultServer(_reply(dialect, pieces)) as server,
        _client(httpx2, mode) as client,
        client.stream("POST", server.url + _PATHS[dialect], json=_ASKED) as response,
    ):
        got, arriving = b"", response.iter_raw()
        for gate, through in ((gates[0], first + 1), (gates[1], first + 2)):
            while len(got) < len(b"".join(frames[:through])):
                got += next(arriving)
            assert got == b"".join(frames[:through])
            gate.open()
        gates[2].open()
        assert got + b"".join(arriving) == b"".join(frames)


def test_frames_of_one_read_are_delivered_together():
    frames = body("openai-chat", STORY)
    with (
        FaultServer(_reply("openai-chat", [b"".join(frames)])) as server,
        _client(httpx2) as client,
    ):
        url = server.url + _PATHS["openai-chat"]
        with client.stream("POST", url, json=_ASKED) as response:
            assert len(list(response.iter_raw())) <= 2


# ---------------------------------------------------------------- through the SDKs' own doors


def test_raw_responses_of_the_sdks():
    import anthropic
    import openai

    raw = b"".join(body("openai-chat", STORY))
    with FaultServer(_reply("openai-chat", [raw])) as server:
        client = openai.OpenAI(
            api_key="k",
            base_url=server.url + "/v1",
            http_client=client_for("openai-chat", options()),
        )
        asked = client.chat.completions.with_streaming_response.create
        with asked(model="m", messages=[], stream=True) as response:
            assert b"".join(response.iter_bytes()) == raw
            assert response.http_response.extensions["unbroken"].outcome.complete
        client.close()
    raw = b"".join(body("anthropic-messages", STORY))
    with FaultServer(_reply("anthropic-messages", [raw])) as server:
        message = anthropic.Anthropic(
            api_key="k", base_url=server.url, http_client=client_for("anthropic", options())
        )
        write = message.messages.with_raw_response.create
        got = write(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}], stream=True
        )
        assert got.http_response.extensions["unbroken"].outcome is None
        assert b"".join(got.http_response.iter_raw()) == raw
        message.close()


# ---------------------------------------------------------------- what is no stream


@pytest.mark.seed("001-dead-end-no-streaming")
@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/v1/chat/completions", {"model": "m", "messages": []}),
        ("POST", "/v1/chat/completions", {"model": "m", "messages": [], "stream": False}),
        ("POST", "/v1/responses", {"model": "m", "input": '"stream": true'}),
        ("POST", "/v1/embeddings", {"model": "m", "input": "x", "stream": True}),
        ("POST", "/v1beta/models/m:generateContent", {"contents": []}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/chat/completions", None),
        ("DELETE", "/v1/responses/resp_1", None),
    ],
)
def test_other_requests_are_untouched(library, method, path, asked):
    answer = gzip.compress(b'{"object": "list"}')
    headers = {"content-type": "application/json", "content-encoding": "gzip", "x-own": "1"}
    script = Reply(headers=headers, pieces=[answer], framing="length")
    with FaultServer(script) as server:
        with _client(library) as client, library.Client(timeout=5) as plain:
            ours, theirs = (
                each.request(method, server.url + path, json=asked, headers={"x-own": "2"})
                for each in (client, plain)
            )
        for request in server.requests:
            assert request.headers == server.requests[0].headers
            assert request.body == server.requests[0].body
    assert ours.content == theirs.content == b'{"object": "list"}'
    assert dict(ours.headers) == dict(theirs.headers)
    assert "unbroken" not in ours.extensions


def test_a_refusal_with_a_body_is_the_sdks():
    error = {"error": {"message": "no such model", "code": "model_not_found"}}
    script = Reply(status=404, pieces=[json.dumps(error).encode()], framing="length")
    with FaultServer(script) as server, _client(httpx2) as client:
        response = client.post(server.url + _PATHS["openai-chat"], json=_ASKED)
    assert response.status_code == 404
    assert response.json() == error
    assert len(server.requests) == 1


def test_identity_is_asked_for_only_where_we_watch():
    raw = b"".join(body("openai-chat", STORY))
    with FaultServer(_reply("openai-chat", [raw])) as server, _client(httpx2) as client:
        for asked in (_ASKED, _ASKED | {"stream": False}):
            client.post(server.url + _PATHS["openai-chat"], json=asked)
        watched, other = server.requests
    assert watched.headers["accept-encoding"] == "identity"
    assert "gzip" in other.headers["accept-encoding"]


# ---------------------------------------------------------------- compressed all the same


def _raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


_PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "deflate, as some servers mean it": _raw_deflate,
}


@pytest.mark.parametrize("mode", ["heal", "observe"])
@pytest.mark.parametrize("encoding", _PACKERS)
def test_a_compressed_body_is_decoded(encoding, mode):
    raw = b"".join(body("openai-chat", STORY))
    packed = _PACKERS[encoding](raw)
    headers = {"content-encoding": encoding.partition(",")[0]}
    for pieces in ([packed], _sliced(packed, 50), _sliced(packed, 1)):
        script = _reply("openai-chat", pieces, headers=headers)
        with FaultServer(script) as server, _client(httpx2, mode) as client:
            url = server.url + _PATHS["openai-chat"]
            with client.stream("POST", url, json=_ASKED) as response:
                assert b"".join(response.iter_bytes()) == raw
            assert "content-encoding" not in response.headers
            assert response.extensions["unbroken"].outcome.complete


def test_a_cut_compressed_body_is_a_cut_stream():
    raw = b"".join(body("openai-chat", STORY))
    packed = gzip.compress(raw)
    script = _reply(
        "openai-chat", [packed[: len(packed) // 2]], headers={"content-encoding": "gzip"}
    )
    with (
        FaultServer(script) as server,
        _client(httpx2, "raise") as client,
        client.stream("POST", server.url + _PATHS["openai-chat"], json=_ASKED) as response,
    ):
        got = []
        with pytest.raises(httpx2.RemoteProtocolError) as caught:
            got.extend(response.iter_bytes())
    assert raw.startswith(b"".join(got))
    outcome = unbroken.outcome_of(caught.value)
    assert outcome is not None
    assert outcome.status == "failed"


def test_an_encoding_that_we_do_not_know_is_left_alone():
    packed = b"\x0b\x02\x80hello\x03"
    script = _reply("openai-chat", [packed], headers={"content-encoding": "zstd-of-tomorrow"})
    with (
        FaultServer(script) as server,
        _client(httpx2) as client,
        client.stream("POST", server.url + _PATHS["openai-chat"], json=_ASKED) as response,
    ):
        assert b"".join(response.iter_raw()) == packed
    assert response.headers["content-encoding"] == "zstd-of-tomorrow"
    assert "unbroken" not in response.extensions
