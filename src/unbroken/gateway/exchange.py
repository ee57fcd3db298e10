"""One request of a client's, from its head to the last byte of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unbroken.gateway.answers import http_error
from unbroken.gateway.asgi import AsgiDownstream, Receive, Scope, Send, headers_of, target_of
from unbroken.gateway.callers import Caller
from unbroken.relay.messages import Headers, ResponseHead, header_of

__all__ = ["Exchange"]


@dataclass(slots=True)
class Exchange:
    """What is known of a request while it is served.

    Attributes:
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        method: The HTTP method.
        path: The path, decoded.
        target: Path and query as they came.
        headers: The headers as they came.
        dialect: The name of the dialect that its path speaks; ``""`` for none.
        caller: Who asks, where that is known.
        downstream: Who is answered.
        more: Headers that every answer to it gets.
        facts: What its line in the access log says beside what is here.
    """

    scope: Scope
    receive: Receive
    send: Send
    dialect: str = ""
    caller: Caller | None = None
    method: str = field(init=False)
    path: str = field(init=False)
    target: str = field(init=False)
    headers: Headers = field(init=False)
    downstream: AsgiDownstream = field(init=False)
    more: Headers = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.method = self.scope["method"]
        self.path = self.scope["path"]
        self.target = target_of(self.scope)
        self.headers = headers_of(self.scope)
        self.downstream = AsgiDownstream(self.scope, self.receive, self.send, self.more)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by case-insensitive name."""
        return header_of(self.headers, name)

    async def answer(self, head: ResponseHead, body: bytes = b"") -> None:
        """Send a whole answer."""
        await self.downstream.start(head)
        if body and self.method != "HEAD":
            await self.downstream.write(body)
        await self.downstream.end()

    async def refuse(
        self, status: int, kind: str, message: str, headers: Headers | None = None
    ) -> None:
        """Send an error, in the shape of the dialect that the client reads.

        Args:
            status: The HTTP status.
            kind: A stable name of what went wrong.
            message: What happened and what to do.
            headers: Further headers.
        """
        self.facts["error"] = kind
        head, body = http_error(self.dialect, status, kind, message, headers=headers)
        await self.answer(head, body)

    @property
    def has_body(self) -> bool:
        """Whether the request announces a body."""
        length = self.header("content-length")
        return self.header("transfer-encoding") is not None or length not in (None, "0")
