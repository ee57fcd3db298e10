"""The latest streams that failed, for who has nothing but the gateway's address.

    GET /_unbroken/flights            which they are
    GET /_unbroken/flights/ID.jsonl   one of them, as a recording: for `unbroken report`

They are this worker's, without keys and contents, and gone when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from unbroken.core.recording import encode_line
from unbroken.telemetry.access_log import stream_hash
from unbroken.telemetry.page.snapshot import shown_id
from unbroken.telemetry.recording import masked_lines
from unbroken.telemetry.recording.flight import Landed

__all__ = ["flight_routes"]

_TYPE = "application/jsonl"


def flight_routes(root: str, latest: Callable[[], Sequence[Landed]]) -> list[Route]:
    """Return the routes.

    Args:
        root: What their paths begin with.
        latest: The streams that failed, the newest last.
    """

    async def listed(_request: Request) -> Response:
        return JSONResponse(
            [
                {
                    "stream": stream_hash(each.name),  # as in the access log
                    "shown_as": shown_id(each.name),  # as on the page
                    "ended_at": round(each.at, 3),
                    "fault": each.fault,
                    "recording": f"{root}/flights/{stream_hash(each.name)}.jsonl",
                }
                for each in reversed(latest())
            ]
        )

    async def one(request: Request) -> Response:
        wanted = request.path_params["stream"]
        found = next((each for each in latest() if stream_hash(each.name) == wanted), None)
        if found is None:
            said = {"error": f"no such flight is kept; GET {root}/flights lists them"}
            return JSONResponse(said, status_code=404)
        last = found.flight[-1] if found.flight else None
        began = found.at - getattr(last, "at_s", 0.0)
        lines = masked_lines(found.flight, side="flight-recorder", started_at=began)
        return Response(b"".join(map(encode_line, lines)), media_type=_TYPE)

    return [
        Route(f"{root}/flights", listed),
        Route(f"{root}/flights/{{stream}}.jsonl", one),
    ]
