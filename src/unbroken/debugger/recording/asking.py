"""Ask for one address, and record all that is heard of the answer."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from unbroken.debugger.recording.exchange import Recording, Result, codings_for
from unbroken.relay.messages import Headers, RelayRequest, UpstreamError
from unbroken.relay.upstream import UpstreamOptions
from unbroken.telemetry.recording.recorder import Recorder

__all__ = ["record_url"]


async def record_url(
    url: str,
    recorder: Recorder,
    *,
    method: str = "GET",
    headers: Headers | None = None,
    body: bytes = b"",
    timeout_s: float | None = None,
    verify: bool = True,
    cafile: str | Path | None = None,
    trust_env: bool = False,
    on_data: Callable[[bytes], None] | None = None,
) -> Result:
    """Ask for an address, read the answer as it comes, and record it.

    Args:
        url: Where; a user and password in it are sent as curl does.
        recorder: Where it is written.
        method: The HTTP method.
        headers: In order.
        body: The request's.
        timeout_s: For all of it; what came until then is recorded.
        verify: Whether a certificate must be good.
        cafile: Authorities to trust, in place of the system's.
        trust_env: Whether ``HTTPS_PROXY`` and its like are obeyed.
        on_data: Called with each read.

    Raises:
        ValueError: If the address is none.
    """
    parts = urlsplit(url)
    _, _, host = parts.netloc.rpartition("@")
    headers = list(headers or [])
    if "@" in parts.netloc and not any(name.lower() == "authorization" for name, _ in headers):
        user = unquote(parts.netloc.rpartition("@")[0])
        headers.append(("Authorization", "Basic " + base64.b64encode(user.encode()).decode()))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    options = UpstreamOptions(
        url=f"{parts.scheme.lower()}://{host}",
        connect_s=None,
        verify=verify,
        cafile=cafile,
        trust_env=trust_env,
        codings=codings_for(recorder.contents),
    )
    request = RelayRequest(method=method.upper(), target=target, headers=headers, body=body)
    async with Recording(options, recorder) as recording:
        exchange = recording.exchange(request)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await exchange.ask()
                try:
                    while data := await answer.read():
                        if on_data is not None:
                            on_data(data)
                finally:
                    answer.close()
        except TimeoutError:
            exchange.ended("deadline", f"not over after {timeout_s:g} s")
        except UpstreamError:
            pass  # told already
        finally:
            exchange.ended("left", "the recording was ended")
    return exchange.result
