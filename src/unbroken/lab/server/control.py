"""What is asked of the lab itself, rather than of its model.

    GET    /                    what this is
    GET    /_lab/sessions       the logs of all sessions; of one: /_lab/sessions/ID
    POST   /_lab/sessions       {"plan": ..., "settings": {...}, "id": ...} makes one, and answers
                                with its id, the model's name, and the variables for a client
    DELETE /_lab/sessions       forgets all; one: /_lab/sessions/ID

Pages of other sites get none of it: what has an Origin, or a Host that is neither loopback nor
the lab's own, is refused, for a browser would fetch it for them.

With it a test in any language can say what shall go wrong, and read what was dealt out.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from unbroken.lab.injectors import INJECTORS
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.parts import Head, Piece
from unbroken.lab.server.http import Request
from unbroken.lab.server.scenarios import word_of
from unbroken.lab.server.sending import Answer
from unbroken.relay.environment import base_urls

if TYPE_CHECKING:
    from unbroken.lab.server.app import LabServer

__all__ = ["PATHS", "control", "environment_of", "page", "simple"]

_SESSIONS = "/_lab/sessions"
_MOST_LISTED = 1_000
_EVERYWHERE = ("0.0.0.0", "::", "")  # it listens at addresses that are not said
_PROMPT = "Tell me a long story of numbered words."
_KEY = "lab-key"

PATHS: tuple[tuple[str, str], ...] = (
    ("OpenAI chat, and all that is compatible", "POST /v1/chat/completions"),
    ("OpenAI responses", "POST /v1/responses"),
    ("OpenAI completions, vLLM, llama.cpp", "POST /v1/completions"),
    ("Anthropic", "POST /v1/messages"),
    ("Gemini", "POST /v1beta/models/MODEL:streamGenerateContent"),
    ("Gemini Interactions", "POST /v1beta/interactions"),
    ("Ollama", "POST /api/chat, /api/generate"),
    ("Cohere", "POST /v2/chat"),
    ("Mistral", "POST /v1/chat/completions"),
    ("Bedrock", "POST /model/MODEL/converse-stream, /invoke-with-response-stream"),
    ("The lab", f"GET, POST, DELETE {_SESSIONS}"),
)
"""Where each provider's clients ask; `GET /` shows it."""


def control(lab: LabServer, request: Request) -> Answer | None:
    """Answer what is asked of the lab itself; None where it is not."""
    path = request.path.partition("?")[0]
    if path == "/" and request.method in ("GET", "HEAD"):
        return simple(200, page(lab.url).encode(), "text/plain; charset=utf-8")
    if path != _SESSIONS and not path.startswith(_SESSIONS + "/"):
        return None
    if why := _foreign(lab, request):
        return _json(403, {"error": why})
    id = unquote(path[len(_SESSIONS) + 1 :])
    match request.method:
        case "GET" | "HEAD":
            return _shown(lab, id)
        case "POST" if not id:
            return _made(lab, request.body)
        case "DELETE":
            gone = [id] if id else list(lab.sessions)
            return _json(200, {"forgotten": sum(lab.forget(one) for one in gone)})
    return _json(405, {"error": f"{request.method} {path}: not taken here"})


def _foreign(lab: LabServer, request: Request) -> str:
    """Return why a request may be another site's, sent by a browser; ``""`` if it is not."""
    if "origin" in request.headers:
        return "the lab's own pages are not for other sites (the request has an Origin)"
    host = _host_of(request.headers.get("host", ""))
    if not host or host == lab.host.lower() or host.split(".")[-1] == "localhost":
        return ""
    with contextlib.suppress(ValueError):  # else it is a name, which anyone may let point here
        address = ipaddress.ip_address(host)
        if address.is_loopback or lab.host in _EVERYWHERE:
            return ""
    return f"the lab's own pages are not served as {host!r}; ask by its address"


def _host_of(said: str) -> str:
    """Return the name or address in a Host, without port and brackets, in lower case."""
    said = said.strip().lower()
    if said.startswith("["):
        return said[1:].partition("]")[0]
    return said.partition(":")[0].rstrip(".")


def simple(status: int, body: bytes, content_type: str, **headers: str) -> Answer:
    """Return an answer that is no stream."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    head = Head(status=status, headers={"content-type": content_type, **named}, framing="length")
    return Answer(head=head, parts=iter([Piece(body)]))


def environment_of(url: str, model: str, *, say: str = "text") -> dict[str, str]:
    """Return the variables by which SDKs find the lab: the contract of clients under test."""
    return {
        **base_urls(url),
        "LAB_BASE_URL": url,
        **dict.fromkeys(
            ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "CO_API_KEY",
             "MISTRAL_API_KEY"), _KEY
        ),
        "LAB_MODEL": model,
        "LAB_PROMPT": _PROMPT,
        "LAB_SAY": "tool" if say == "tool" else "text",
    }  # fmt: skip


def page(url: str) -> str:
    """Return what this server is, for people."""
    width = max(len(who) for who, _ in PATHS)
    longest = max(len(name) for name in INJECTORS)
    paths = "\n".join(f"  {who:{width}}  {path}" for who, path in PATHS)
    faults = "\n".join(
        f"  {name:{longest}}  {cls.summary}" for name, cls in sorted(INJECTORS.items())
    )
    return f"""\
Unbroken lab: a scripted model that breaks its streams as it is told. Any key will do.

The model's name says what goes wrong; "ok", and any other name, is answered whole:
  lab/cut.rst@30t           the first attempt is reset after 30 tokens, the next is whole
  lab/stall@3s*2;id=17      two attempts stall; id= keeps this stream's attempts apart
  lab/ok;tokens=500;tps=50  a long, slow answer

Paths
{paths}

Faults (how to write them: unbroken lab faults)
{faults}

curl -N {url}/v1/chat/completions -d '{{"model":"lab/cut@30t","stream":true,"messages":[]}}'
"""


def _shown(lab: LabServer, id: str) -> Answer:
    now = {"now_s": time.monotonic()}
    if not id:
        every = list(lab.sessions.values())[-_MOST_LISTED:]
        return _json(200, {**now, "sessions": [session.to_dict() for session in every]})
    session = lab.sessions.get(id)
    if session is None:
        return _json(404, {"error": f"no session is called {id!r}"})
    return _json(200, {**now, **session.to_dict()})


def _made(lab: LabServer, body: bytes) -> Answer:
    try:
        said = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        unknown = set(said) - {"plan", "settings", "id"}
        plan, settings, id = said.get("plan", ""), said.get("settings", {}), said.get("id")
        if unknown or not isinstance(plan, str) or not isinstance(settings, Mapping):
            msg = 'send {"plan": "cut@30t", "settings": {"tokens": 120}, "id": "mine"}'
            raise FaultError(msg)
        words = {str(name): word_of(value) for name, value in settings.items()}
        read = AnswerSettings.from_plan(words, lab.settings)
        session = lab.session(plan, id=None if id is None else str(id), settings=read)
    except (msgspec.DecodeError, FaultError) as error:
        return _json(400, {"error": str(error)})
    made = {
        "id": session.id,
        "model": session.model,
        "plan": str(session.plan),
        "environment": lab.environment(session),
    }
    return _json(201, made)


def _json(status: int, value: Any) -> Answer:
    return simple(status, msgspec.json.encode(value) + b"\n", "application/json")
