"""The lab's connections: answers that are scripts, told by a timer.

Reading requests, keeping connections alive and ending them is `relay.serving`'s; what goes out is
`sending.py`'s, since a script is there before it is told and needs no task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from unbroken.lab.server.sending import Answer, Sending
from unbroken.relay import serving
from unbroken.relay.serving.connection import MOST_BODY_BYTES

__all__ = ["MOST_BODY_BYTES", "Connection", "Request", "Respond"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, whole.

    Attributes:
        method: In capitals.
        path: As it was sent, with the query.
        headers: By names in lower case; several of one name are joined by a comma.
        body: Its bytes, at most `MOST_BODY_BYTES`.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Respond: TypeAlias = Callable[[Request], Answer]
"""Makes the answer to a request at once; what takes time is in the answer's parts."""


class Connection(serving.Connection):
    """One client's connection, with one request after another.

    Args:
        respond: Makes the answers.
        open_connections: The set of all; a connection puts itself in, and out.
    """

    who: ClassVar[str] = "lab"
    server: ClassVar[str] = "unbroken-lab"

    def __init__(self, respond: Respond, open_connections: set[serving.Connection]) -> None:
        super().__init__(open_connections)
        self._respond = respond

    def begin(self, arrived: serving.Arrived) -> None:
        """Answer a request."""
        asked = arrived.request
        headers: dict[str, str] = {}
        for raw_name, value in asked.headers:
            name = raw_name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        request = Request(method=asked.method, path=asked.target, headers=headers, body=asked.body)
        try:
            answer = self._respond(request)
        except Exception:  # noqa: BLE001 - of a model or an injector; the server lives on
            _log.exception("the lab failed at %s", request.path.partition("?")[0])
            self.refuse(500, "the lab failed; its log says how")
            return
        sending = self._sender = Sending(
            answer,
            self.transport,
            is_http_10=arrived.is_http_10,
            head_only=request.method == "HEAD",
            keep_alive=arrived.keep_alive,
            done=self.sent,
        )
        sending.start()  # which may be over at once, and says so
