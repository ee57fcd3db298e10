"""What is asked of the proxy itself, for tests in any language.

    GET  /_lab/         what this is: upstream, plan, counts
    GET  /_lab/log      the last thousand requests, the oldest first
    PUT  /_lab/plan     the plan as plain text, or {"plan": ...}; attempts are counted anew
    POST /_lab/reset    forgets log and counts, and takes the first plan again
    GET  /_lab/events   the log as it grows, as server-sent events

Only clients on this machine are answered, and no web pages in its browsers. No body, query or
key is in any of it.
"""

from __future__ import annotations

import asyncio
import json
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from unbroken.core.wire import encode_sse
from unbroken.lab.injectors.base import FaultError
from unbroken.relay.messages import RelayRequest, ResponseHead

if TYPE_CHECKING:
    from unbroken.lab.proxy.app import FaultProxy
    from unbroken.lab.proxy.log import Entry
    from unbroken.relay.serving import Reply

__all__ = ["ROOT", "control"]

ROOT = "/_lab"
_HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?")
_BEAT_S = 15.0  # between comments, so that a listener that has left is noticed
_MOST_WAITING = 1000  # entries that a slow listener may be behind


async def control(proxy: FaultProxy, request: RelayRequest, reply: Reply) -> None:
    """Answer what is asked of the proxy itself."""
    if not reply.from_here:
        await _say(reply, 403, {"error": "only clients on this machine may ask this"})
        return
    if (why := _page(request, proxy.host)) is not None:
        await _say(reply, 403, {"error": why})
        return
    path = request.target.partition("?")[0].removeprefix(ROOT).rstrip("/")
    match request.method, path:
        case "GET", "":
            await _say(reply, 200, proxy.state())
        case "GET", "/log":
            await _say(reply, 200, {"requests": [entry.to_dict() for entry in proxy.log.entries()]})
        case "PUT", "/plan":
            try:
                proxy.set_plan(_plan_in(request.body))
            except (ValueError, OverflowError) as error:  # FaultError is one
                await _say(reply, 400, {"error": str(error)})
            else:
                await _say(reply, 200, proxy.state())
        case "POST", "/reset":
            proxy.reset()
            await _say(reply, 200, proxy.state())
        case "GET", "/events":
            await _events(proxy, reply)
        case _:
            known = "GET /_lab/, /_lab/log, /_lab/events, PUT /_lab/plan, POST /_lab/reset"
            await _say(reply, 404, {"error": f"the proxy itself has {known}"})


def _page(request: RelayRequest, configured: str) -> str | None:
    """Return why a request may come from a web page in a browser on this machine, or None."""
    if request.header("origin") is not None:
        return "web pages (requests with an Origin header) may not ask this"
    said = request.header("host")
    if said is None:  # HTTP/1.0; a browser always sends it
        return None
    found = _HOST.fullmatch(said.strip())
    host = (found["six"] or found["name"]).lower().rstrip(".") if found is not None else ""
    if host in ("localhost", configured.lower()) or host.endswith(".localhost"):
        return None
    try:
        if ip_address(host).is_loopback:
            return None
    except ValueError:
        pass
    # A page's own name may be made to point here (DNS rebinding).
    return "the Host header names neither this machine's loopback nor the proxy's own host"


def _plan_in(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return text
    try:
        plan = json.loads(text).get("plan")
    except (ValueError, RecursionError):
        plan = None
    if not isinstance(plan, str):
        msg = 'send the plan as text, such as cut@30t, or as {"plan": "cut@30t"}'
        raise FaultError(msg)
    return plan


async def _events(proxy: FaultProxy, reply: Reply) -> None:
    waiting: asyncio.Queue[Entry] = asyncio.Queue(_MOST_WAITING)

    def tell(entry: Entry) -> None:
        if not waiting.full():  # one that reads too slowly misses some; their numbers show it
            waiting.put_nowait(entry)

    stop = proxy.log.listen(tell)
    try:
        headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]
        await reply.start(ResponseHead(status=200, headers=headers, framing="chunked"))
        await reply.write(b": the log of unbroken lab proxy\n\n")
        while not reply.ended:
            try:
                entry = await asyncio.wait_for(waiting.get(), _BEAT_S)
            except TimeoutError:
                await reply.write(b": hb\n\n")
                continue
            data = json.dumps(entry.to_dict()).encode()
            await reply.write(encode_sse(data, event="request", id=str(entry.number)))
    finally:
        stop()


async def _say(reply: Reply, status: int, value: dict[str, Any]) -> None:
    await reply.answer(status, json.dumps(value).encode() + b"\n", "application/json")
