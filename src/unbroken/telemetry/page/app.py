"""The live page as an ASGI application that can be put under any path.

| path | |
|---|---|
| ``/`` | the page |
| ``/feed`` | what it shows, once a second, as server-sent events |
| ``/figures.json`` | the report |
| ``/metrics`` | the same for Prometheus |
| ``/row`` | one stream, named by the header ``X-Unbroken-Stream`` |
| ``/static/...``, ``/plotly.js`` | files |
| ``/unbroken.js`` and the like | files of an addition that others may use too |

Every address in the page is relative, so that it does not matter where it is mounted.
"""

from __future__ import annotations

import contextlib
import html
import string
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from unbroken.telemetry.health.figures import Figures
from unbroken.telemetry.health.rows import FaultRow, StreamRow
from unbroken.telemetry.page.addition import Addition
from unbroken.telemetry.page.feed import Feed
from unbroken.telemetry.page.files import Files
from unbroken.telemetry.page.headers import ASK, FOREVER, NEVER, SECURITY
from unbroken.telemetry.page.snapshot import Snapshots, stream_part

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import FileResponse, RedirectResponse, Response
    from starlette.routing import Route
except ImportError as error:  # pragma: no cover - the message is tested by hand
    msg = 'the live page needs more packages: pip install "unbroken[gateway]"'
    raise ImportError(msg) from error

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from unbroken.telemetry.health import HealthMonitor
from unbroken.telemetry.plotly_script import plotly

__all__ = ["asgi_app"]

_STATIC = Path(__file__).parent / "static"


def asgi_app(
    monitor: HealthMonitor,
    *,
    figures: Callable[[], Figures] | None = None,
    rows: Callable[[], Sequence[StreamRow]] | None = None,
    faults: Callable[[], Sequence[FaultRow]] | None = None,
    find: Callable[[str], StreamRow | None] | None = None,
    workers: Callable[[], int] | None = None,
    chat: Addition | None = None,
    page_token: str = "",
    max_readers: int = 32,
    title: str = "Unbroken",
) -> Starlette:
    """Return the live page of a monitor: a Starlette application to serve or to mount.

    Mount it where only you can reach it: it asks nobody for a password. It shows providers,
    models, counts and times, and nothing of prompts, answers or keys.

    ``app.state.feed.close()`` lets every reader go. Under uvicorn's own signals it happens by
    itself; a server that is stopped in another way waits for open readers unless it is called.

    Args:
        monitor: Whose streams to show.
        figures: Gives the figures of all workers, where there are several; else the page shows
            this worker's and says so.
        rows: Gives the active streams of all workers.
        faults: Gives the latest faults of all workers.
        find: Gives the row of one stream by its whole id; None: asks the monitor.
        workers: How many workers there are; with more than one and no `figures` the page says
            that it speaks of this worker only.
        chat: A section of somebody else's, such as the gateway's chat box.
        page_token: What the page shows in ``X-Unbroken-Page`` with its own POSTs.
        max_readers: Readers of the feed at once; a further one is told to come back.
        title: Heading of the page.

    Raises:
        ImportError: If Starlette is missing; it comes with ``unbroken[gateway]``.
    """
    snapshots = Snapshots(monitor, figures=figures, rows=rows, faults=faults, workers=workers)
    page = _Page(
        monitor=monitor,
        snapshots=snapshots,
        figures=figures or monitor.figures,
        find=find or monitor.stream,
        chat=chat,
        page_token=page_token,
        title=title,
        feed=Feed(snapshots, max_readers=max_readers),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        page.feed.start()
        try:
            yield
        finally:
            page.feed.close()

    app = Starlette(
        routes=[
            Route("/", page.index),
            Route("/feed", page.feed_endpoint),
            Route("/figures.json", page.report),
            Route("/metrics", page.metrics),
            Route("/row", page.row),
            Route("/plotly.js", page.plotly),
            Route("/static/{version}/{name}", page.static),
            *(Route(f"/{name}", page.public) for name in (chat.public if chat else ())),
        ],
        lifespan=lifespan,
    )
    app.state.feed = page.feed
    return app


class _Page:
    def __init__(
        self,
        *,
        monitor: HealthMonitor,
        snapshots: Snapshots,
        figures: Callable[[], Figures],
        find: Callable[[str], StreamRow | None],
        chat: Addition | None,
        page_token: str,
        title: str,
        feed: Feed,
    ) -> None:
        self._monitor = monitor
        self._snapshots = snapshots
        self._figures = figures
        self._find = find
        self._chat = chat
        self._page_token = page_token
        self._title = title
        self._files = Files([_STATIC, *([chat.static] if chat else [])])
        self._html: str | None = None
        self.feed = feed
        self.feed_endpoint = _FeedEndpoint(feed)

    async def index(self, request: Request) -> Response:
        # Relative addresses need the slash at the end of the page's own.
        if not request.url.path.endswith("/"):
            return RedirectResponse(request.url.path.rsplit("/", 1)[-1] + "/", 307)
        if self._html is None:
            self._html = await run_in_threadpool(self._write)
        return Response(self._html, media_type="text/html", headers={**SECURITY, **NEVER})

    def _write(self) -> str:
        script = plotly()
        static = f"static/{self._files.version}"
        chat = self._chat
        head = []
        if chat and chat.style:
            head.append(f'<link rel="stylesheet" href="{static}/{chat.style}">')
        if chat and chat.script:
            head.append(f'<script type="module" src="{static}/{chat.script}"></script>')
        guards = "".join(
            f'<i id="{each}" hidden></i>' for each in (script.guards if script else ())
        )
        template = string.Template((_STATIC / "index.html").read_text("utf-8"))
        return template.substitute(
            title=html.escape(self._title),
            token=html.escape(self._page_token),
            static=static,
            plotly=f"plotly.js?v={script.version}" if script else "",
            version=_version(),
            head="\n".join(head),
            chat=chat.section() if chat else "",
            guards=guards,
        )

    async def report(self, _request: Request) -> Response:
        body = msgspec.json.encode(
            {
                "scope": self._snapshots.scope(),
                "report": self._snapshots.report(),
            }
        )
        return Response(body, media_type="application/json", headers={**SECURITY, **NEVER})

    async def metrics(self, _request: Request) -> Response:
        from unbroken.telemetry import prometheus  # here: only where it is asked for

        media_type, body = await run_in_threadpool(prometheus.exposition, self._figures())
        return Response(body, headers={**SECURITY, **NEVER, "Content-Type": media_type})

    async def row(self, request: Request) -> Response:
        row = self._find(request.headers.get("x-unbroken-stream", ""))
        headers = {**SECURITY, **NEVER}
        if row is None:
            return Response(b"{}", 404, headers, "application/json")
        return Response(msgspec.json.encode(stream_part(row)), 200, headers, "application/json")

    async def static(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            return Response(b"no such file\n", 404, {**SECURITY, **NEVER}, "text/plain")
        # An address of another release gets what there is, but nobody keeps it.
        known = request.path_params["version"] == self._files.version
        return _packed(request, file.body, file.packed, file.media_type, headers=_kept(known))

    async def public(self, request: Request) -> Response:
        # The address has no version in it: whoever has the file asks whether it is still right.
        file = self._files.get(request.url.path.rsplit("/", 1)[-1])
        if file is None:
            return Response(b"no such file\n", 404, {**SECURITY, **NEVER}, "text/plain")
        headers = {**SECURITY, **ASK, "Vary": "Accept-Encoding", "ETag": file.etag}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return _packed(request, file.body, file.packed, file.media_type, headers=headers)

    async def plotly(self, request: Request) -> Response:
        script = await run_in_threadpool(plotly)
        if script is None:
            text = 'the charts need Plotly: pip install "unbroken[gateway]"\n'
            return Response(text, 404, {**SECURITY, **NEVER}, "text/plain")
        keep = request.query_params.get("v") == script.version
        if not _takes_gzip(request):
            return FileResponse(script.path, headers=_kept(keep), media_type="text/javascript")
        packed = await run_in_threadpool(script.packed)
        return _packed(request, b"", packed, "text/javascript; charset=utf-8", headers=_kept(keep))


class _FeedEndpoint:
    """A class, so that Starlette takes it for an ASGI application of its own."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._feed.serve(receive, send)


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _kept(keep: bool) -> dict[str, str]:
    return {**SECURITY, **(FOREVER if keep else NEVER), "Vary": "Accept-Encoding"}


def _packed(
    request: Request, body: bytes, packed: bytes, media_type: str, *, headers: dict[str, str]
) -> Response:
    headers = {**headers, "Content-Type": media_type}
    if _takes_gzip(request):
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(body, headers=headers)


def _version() -> str:
    try:
        return version("unbroken")
    except PackageNotFoundError:
        return ""
