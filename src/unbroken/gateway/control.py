"""What the gateway answers itself: probes, and the live page with its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from unbroken.gateway.flights import flight_routes
from unbroken.telemetry.recording.flight import Landed

__all__ = ["ROOT", "control_app", "owns"]

ROOT = "/_unbroken"


def owns(path: str) -> bool:
    """Whether a path is the gateway's own, and none of an upstream's."""
    return path in ("/healthz", "/readyz", ROOT) or path.startswith(f"{ROOT}/")


def control_app(
    *,
    ready: Callable[[], str],
    active: Callable[[], int],
    page: ASGIApp | None,
    flights: Callable[[], Sequence[Landed]],
) -> ASGIApp:
    """Return the application that answers them.

    Args:
        ready: Why no requests should be sent here now; ``""`` if they should.
        active: How many streams run.
        page: The live page; None serves none, and no flights either.
        flights: The latest streams that failed.
    """

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        why = ready()
        said = {"status": why or "ready", "streams": active()}
        return JSONResponse(said, status_code=503 if why else 200)

    routes: list[Route | Mount] = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if page is not None:
        routes += flight_routes(ROOT, flights)
        routes.append(Mount(ROOT, app=page))
    return Starlette(routes=routes)
