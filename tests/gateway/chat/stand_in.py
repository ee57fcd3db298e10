"""A stand-in for the gateway: it speaks the resume protocol, and does what the model's name says.

``plain`` answers; ``slow`` a word every 0.15 s; ``heal`` breaks after the third word and is
healed; ``fail`` ends in an error; ``drop`` loses the first reader's connection after three words.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.telemetry.page.traffic import cut, deliver, finish, reconnecting
from unbroken.gateway.chat import ChatSettings
from unbroken.telemetry.health import HealthMonitor, StreamHealth
from unbroken.telemetry.page import asgi_app

TOKEN = "page-token-of-this-process"
WORDS = ["Streams ", "break, ", "and ", "this 🙂 ", "one ", "was ", "read ", "to ", "its ", "end."]


@dataclass
class Stream:
    id: str
    model: str
    health: StreamHealth
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    log: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)  # offsets after each frame
    status: str = ""
    more: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def put(self, payload: str) -> None:
        self.log += f"data: {payload}\n\n".encode()
        self.ends.append(len(self.log))
        self._wake()

    def end(self, status: str) -> None:
        self.status = status
        self._wake()

    def _wake(self) -> None:
        self.more.set()
        self.more = asyncio.Event()


class Gateway:
    """What happened is kept, for the tests to look at."""

    def __init__(
        self, *, models: tuple[str, ...] = ("plain", "slow", "heal", "fail", "drop")
    ) -> None:
        self.monitor = HealthMonitor()
        self.streams: dict[str, Stream] = {}
        self.posts: list[dict[str, object]] = []
        self.reads: list[str | None] = []
        self.expired = False
        self._by_key: dict[str, Stream] = {}
        page = asgi_app(self.monitor, chat=ChatSettings(models=models), page_token=TOKEN)
        self.feed = page.state.feed
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.post, methods=["POST"]),
                Route("/streams/{id}", self.read, methods=["GET"]),
                Route("/streams/{id}", self.stop, methods=["DELETE"]),
                Mount("/_unbroken", page),
            ]
        )

    async def post(self, request: Request) -> Response:
        right = request.headers.get("x-unbroken-page") == TOKEN
        if not right or request.headers.get("content-type") != "application/json":
            return JSONResponse({"error": {"message": "refused"}}, 403)
        body = await request.json()
        self.posts.append(body)
        key = request.headers["idempotency-key"]
        if key in self._by_key:
            return self._answer(self._by_key[key], 0)
        stream_id = f"s_{secrets.token_urlsafe(16)}"
        health = self.monitor.start(stream_id, provider="stand-in", model=body["model"])
        stream = self.streams[stream_id] = self._by_key[key] = Stream(
            stream_id, body["model"], health
        )
        stream.task = asyncio.create_task(self._write(stream))
        return self._answer(stream, 0, drop_after=3 if stream.model == "drop" else None)

    async def read(self, request: Request) -> Response:
        position = request.headers.get("last-event-id")
        self.reads.append(position)
        stream = self.streams.get(request.path_params["id"])
        if stream is None or request.headers.get("x-unbroken-token") != stream.token:
            return JSONResponse({"error": {"message": "not known"}}, 404)
        if self.expired and position:
            return JSONResponse({"error": {"message": "not kept any more"}}, 410)
        return self._answer(stream, int(position.split("-")[1]) if position else 0)

    async def stop(self, request: Request) -> Response:
        stream = self.streams[request.path_params["id"]]
        if request.headers.get("x-unbroken-token") != stream.token:
            return Response(status_code=404)
        if stream.status:
            return Response(status_code=204)
        assert stream.task is not None
        stream.task.cancel()
        finish(stream.health, "cancelled")
        stream.end("cancelled")
        return Response(status_code=202)

    async def _write(self, stream: Stream) -> None:
        health = stream.health
        await asyncio.sleep(0.8 if stream.model == "heal" else 0)  # longer than the break will be
        for number, word in enumerate(WORDS):
            await asyncio.sleep({"slow": 0.15, "plain": 0.01}.get(stream.model, 0.05))
            if number == 3 and stream.model == "fail":
                error = {
                    "message": "connection-reset: the peer closed the connection after 900 bytes;"
                    " do not treat the answer as complete",
                    "type": "server_error",
                    "code": "connection-reset",
                }
                stream.put(json.dumps({"error": error}))
                finish(health, "failed", cut())
                stream.end("failed")
                return
            if number == 3 and stream.model == "heal":
                health.notice(reconnecting(cut()))
                await asyncio.sleep(0.6)
            stream.put(json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}))
            deliver(health, self.monitor.clock())
        stream.put(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        stream.put("[DONE]")
        healed = stream.model == "heal"
        seam_at = len("".join(WORDS[:3]))
        finish(health, "complete", cut() if healed else None, 2 if healed else 1, seam_at)
        stream.end("complete")

    def _answer(self, stream: Stream, offset: int, *, drop_after: int | None = None) -> Response:
        headers = {
            "X-Unbroken-Resume": "1",
            "X-Unbroken-Stream": stream.id,
            "X-Unbroken-Token": stream.token,
            "Cache-Control": "no-cache, no-transform",
        }
        body = self._frames(stream, offset, drop_after)
        return StreamingResponse(body, 200, headers, "text/event-stream")

    @staticmethod
    async def _frames(stream: Stream, offset: int, drop_after: int | None) -> AsyncIterator[bytes]:
        sent = 0
        while True:
            more = stream.more
            for end in [end for end in stream.ends if end > offset]:
                yield f"id: 0-{end}\n".encode() + bytes(stream.log[offset:end])
                offset, sent = end, sent + 1
                if sent == drop_after:
                    raise ConnectionError("dropped on purpose")
            if stream.status in ("failed", "cancelled"):
                raise ConnectionError("the log ends here without an end")
            if stream.status:
                return
            await more.wait()
