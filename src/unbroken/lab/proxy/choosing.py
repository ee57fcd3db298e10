"""Which plan a request goes by, and what is sent upstream for it.

From the strongest to the weakest: the header ``x-lab-plan``; a model's name
``lab/<plan>/<real model>``, such as ``lab/cut@30t/gpt-4o``; the plan that the proxy was started
with, or was given by its control API. No plan has a slash in it, so the first one after ``lab/``
ends it, whatever the real model is called (``lab/stall@12f@3s/meta-llama/llama-3``). Header and
prefix are taken off before the request is sent on. Wherever a plan is expected, the name of a
scenario does too.

The proxy's own plan goes for requests to models (a POST, or a GET that reads an answer on); the
other two for whatever names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Dialect
from unbroken.lab.injectors import INJECTORS
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.plan import PREFIX, Plan, parse_plan
from unbroken.relay.messages import RelayRequest

__all__ = ["HEADER", "Choice", "choose", "dialect_of", "read_plan"]

HEADER = "x-lab-plan"
_SETTINGS = frozenset({"id", "seed"})
_MODEL_IN_PATH = re.compile(r"(?<=/models/)(?P<model>[^?]+)(?=:\w+$)")  # Gemini


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen for one request.

    Attributes:
        request: What to send upstream.
        plan: The plan as it was said in a header or a model's name; None where nothing was.
        model: The real model's name; ``""`` where the request has none.
        dialect: That of the path, or None.
        of_a_model: Whether it is a request for an answer, which the proxy's own plan is for.
    """

    request: RelayRequest
    plan: str | None
    model: str
    dialect: Dialect | None
    of_a_model: bool


def choose(request: RelayRequest) -> Choice:
    """Choose the plan of a request, and take off what says it.

    Raises:
        FaultError: If a model's name has a plan and no real model.
    """
    plan, model, request = _model_of(request)
    if (said := request.header(HEADER)) is not None:
        plan = said
        kept = [pair for pair in request.headers if pair[0].lower() != HEADER]
        request = replace(request, headers=kept)
    dialect = dialect_of(request.target)
    reads_on = dialect is not None or _path(request).endswith("/v1/stream")  # llama.cpp's resume
    return Choice(
        request=request,
        plan=plan,
        model=model,
        dialect=dialect,
        of_a_model=request.method == "POST" or (request.method == "GET" and reads_on),
    )


def read_plan(text: str, scenarios: Mapping[str, str] | None = None) -> Plan:
    """Read a plan for a proxy, which does not know an answer before it has passed.

    Raises:
        FaultError: In one line.
    """
    name, semicolon, more = text.strip().removeprefix(PREFIX).partition(";")
    plan = parse_plan((scenarios or {}).get(name, name) + semicolon + more)
    for spec in (spec for attempt in plan.attempts for spec in attempt):
        injector = INJECTORS[spec.name]
        place = spec.place or injector.place
        if "place" in injector.takes and place.unit == "share":
            msg = (
                f"{spec}: a proxy does not know how long an answer will be, so @{place} is "
                f"nowhere; give a place such as {spec.name}@30t, @12f or @120"
            )
            raise FaultError(msg)
    if unknown := sorted(set(plan.settings) - _SETTINGS):
        msg = f"{text!r}: {unknown[0]} is a setting of the scripted model; a proxy has seed and id"
        raise FaultError(msg)
    return plan


def dialect_of(target: str) -> Dialect | None:
    """Return the dialect of a path (its query may be with it), or None."""
    path = target.partition("?")[0]
    return next((known for known in DIALECTS.values() if known.recognises_path(path)), None)


def _path(request: RelayRequest) -> str:
    return request.target.partition("?")[0]


def _model_of(request: RelayRequest) -> tuple[str | None, str, RelayRequest]:
    """Return the plan in a model's name, the real name, and the request with that one."""
    path, question, query = request.target.partition("?")
    if (found := _MODEL_IN_PATH.search(path)) is not None:
        plan, real = _split(unquote(found["model"]))
        if plan is not None:
            path = path[: found.start()] + quote(real) + path[found.end() :]
            request = replace(request, target=path + question + query)
        return plan, real, request
    if b'"model"' not in request.body:
        return None, "", request
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return None, "", request
    model = body.get("model") if isinstance(body, dict) else None
    if not isinstance(model, str):
        return None, "", request
    plan, real = _split(model)
    if plan is not None:
        request = replace(request, body=_with_model(request.body, body, real))
    return plan, real, request


def _with_model(raw: bytes, body: dict[str, object], real: str) -> bytes:
    """Return the body with another model, and all its other bytes as they are if that is safe."""
    body["model"] = real
    named = re.compile(rb'("model"\s*:\s*)"lab\\?/[^"\\]*(?:\\.[^"\\]*)*"')
    if len(named.findall(raw)) == 1:
        name = json.dumps(real).encode()
        changed = named.sub(lambda found: found[1] + name, raw)
        if json.loads(changed) == body:
            return changed
    return json.dumps(body).encode()


def _split(name: str) -> tuple[str | None, str]:
    if not name.startswith(PREFIX):
        return None, name
    plan, slash, real = name.removeprefix(PREFIX).partition("/")
    if not slash or not real:
        msg = f"{name!r} names no real model: write it as {PREFIX}{plan or 'cut@30t'}/gpt-4o"
        raise FaultError(msg)
    return plan, real
