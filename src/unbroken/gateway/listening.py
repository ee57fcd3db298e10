"""Sockets to listen on, and why there is none."""

from __future__ import annotations

import errno
import socket
import sys

from unbroken.gateway.config import GatewayConfig

__all__ = ["BACKLOG", "ListenError", "bind", "bind_group", "greeting"]

BACKLOG = 2048
"""Connections that wait to be taken."""


class ListenError(Exception):
    """The address cannot be listened on; the text says why and what to do."""


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: A name or an address.
        port: The port; 0 takes a free one.
        shared: Whether other sockets of ours listen on the same port.

    Raises:
        ListenError: If that is not possible.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (OSError, UnicodeError):
        msg = f"cannot listen on {host}: no such host; 127.0.0.1 is this machine alone"
        raise ListenError(msg) from None
    # `localhost` may mean ::1 first, where few clients look.
    family, kind, proto, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(_why_not(error, host, port)) from None
    return sock


def bind_group(host: str, port: int, workers: int) -> list[socket.socket]:
    """Return a listening socket for each worker.

    On Linux the kernel shares connections out evenly between sockets of one port, which workers
    that accept from one socket do not: whoever is awake takes all. Elsewhere it is one socket.

    Raises:
        ListenError: If that is not possible.
    """
    first = bind(host, port)
    if workers == 1 or not sys.platform.startswith("linux"):
        return [first] * workers
    # Bound alone first: sockets that share would also share with somebody else's.
    port = first.getsockname()[1]
    first.close()
    socks: list[socket.socket] = []
    try:
        socks.extend(bind(host, port, shared=True) for _ in range(workers))
    except ListenError:
        for sock in socks:
            sock.close()
        raise
    return socks


def _why_not(error: OSError, host: str, port: int) -> str:
    where = f"cannot listen on {_joined(host, port)}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"{where}: the port is in use; end what listens there, or take another: "
                f"--listen {_joined(host, 0)} takes a free one"
            )
        case errno.EACCES | errno.EPERM:
            return f"{where}: not allowed; take a port above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{where}: this machine has no such address; 127.0.0.1 is this machine alone"
        case _:
            why = error.strerror or str(error)
            return f"{where}: {why[:1].lower()}{why[1:]}"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def greeting(sock: socket.socket, config: GatewayConfig) -> str:
    """Return the line that says where the gateway listens."""
    host, port = sock.getsockname()[:2]
    line = f"listening on http://{_joined(host, port)}"
    if config.telemetry.page:
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        line += f" (live page: http://{_joined(reached, port)}/_unbroken/)"
    return line
