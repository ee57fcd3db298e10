"""An HTTP/1.1 server of our own: what stands on a downstream's side of the relay.

    connection.py  one client's connection: requests read by h11, kept alive, ended by FIN or RST
    reply.py       one answer, written to as it comes: a `Downstream` of the pump
    service.py     listening, in a thread or in a running loop, and the end of it

A server that is to break what it sends, to send half a body, or to send each piece at its time,
cannot be built on one that will not let it. Lab, recorder and replay share this one. Needs h11
alone, never aiohttp.

    class Echo(ReplyService):
        async def answer(self, request: RelayRequest, reply: Reply) -> None:
            await reply.answer(200, request.body, "text/plain")

    with Echo(name="echo") as echo:
        print(echo.url)
"""

from unbroken.relay.serving.connection import Arrived, Connection, Sender, Then
from unbroken.relay.serving.reply import Reply, ReplyConnection, Serve
from unbroken.relay.serving.service import ReplyService, Service

__all__ = [
    "Arrived",
    "Connection",
    "Reply",
    "ReplyConnection",
    "ReplyService",
    "Sender",
    "Serve",
    "Service",
    "Then",
]
