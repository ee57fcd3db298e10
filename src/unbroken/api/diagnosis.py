"""What is installed here, what of it is protected by which line, and what models can do."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from unbroken.api.asking import ask
from unbroken.core.dialects.base import Dialect, Place
from unbroken.core.events import Text
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import RUNGS, Mode, Options
from unbroken.core.received import Received
from unbroken.core.recovery.ladder import choose
from unbroken.core.recovery.situation import Broken, Situation
from unbroken.core.request import Request

__all__ = ["Diagnosis", "Finding", "ModelWays", "Package", "Sdk", "diagnose"]


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package; `version` is ``""`` where it is not installed."""

    name: str
    version: str = ""


class Sdk(msgspec.Struct, frozen=True, kw_only=True):
    """An SDK that is installed, and how it is protected.

    Attributes:
        name: The package.
        version: Its version.
        library: The HTTP library that it sits on.
        line: The line that protects it.
        async_line: The same for its async client.
        ready: Whether that library is here.
    """

    name: str
    version: str
    library: str
    line: str
    async_line: str
    ready: bool


class ModelWays(msgspec.Struct, frozen=True, kw_only=True):
    """By which rungs an answer of a model can be recovered.

    Attributes:
        model: The model.
        host: Where it was looked for.
        dialect: What it speaks there.
        before: Rungs that are open before any content, the first of them is taken.
        within: Rungs that are open in the middle of a long text.
        closed: For the middle of the text: the other rungs, and why they are closed.
    """

    model: str
    host: str
    dialect: str
    before: list[str]
    within: list[str]
    closed: dict[str, str]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at, and what to do about it."""

    severity: Literal["warning", "note"]
    text: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What `diagnose` found."""

    unbroken: str
    python: str
    platform: str
    mode: str
    packages: list[Package]
    sdks: list[Sdk]
    keys: dict[str, bool]
    proxies: dict[str, str]
    base_urls: dict[str, str]
    models: list[ModelWays]
    findings: list[Finding]


def _line(client: str, argument: str = "http_client") -> tuple[str, str]:
    """Return both lines for a client class; ``{}`` in them is the HTTP library's argument."""
    plain, _, name = client.rpartition(".")
    return (
        f"{client}({argument}=unbroken.http_client({{}}))",
        f"{plain}.Async{name}({argument}=unbroken.async_http_client({{}}))",
    )


_LINES: dict[str, tuple[str, str]] = {
    "openai": _line("openai.OpenAI"),
    "anthropic": _line("anthropic.Anthropic"),
    "google-genai": (
        'genai.Client(http_options={{"httpx_client": unbroken.http_client({})}})',
        'genai.Client(http_options={{"httpx_async_client": unbroken.async_http_client({})}})',
    ),
    "mistralai": (
        "Mistral(client=unbroken.http_client({}))",
        "Mistral(async_client=unbroken.async_http_client({}))",
    ),
    "groq": _line("groq.Groq"),
    "cohere": (
        "cohere.ClientV2(httpx_client=unbroken.http_client({}))",
        "cohere.AsyncClientV2(httpx_client=unbroken.async_http_client({}))",
    ),
    "ollama": ("unbroken.wrap(ollama.Client())", "unbroken.wrap(ollama.AsyncClient())"),
    "langchain-openai": ("unbroken.wrap(ChatOpenAI())", "unbroken.wrap(ChatOpenAI())"),
    "pydantic-ai-slim": (
        "OpenAIProvider(http_client=unbroken.async_http_client({}))",
        "OpenAIProvider(http_client=unbroken.async_http_client({}))",
    ),
    "instructor": (
        "instructor.from_openai(openai.OpenAI(http_client=unbroken.http_client({})))",
        "instructor.from_openai(openai.AsyncOpenAI(http_client=unbroken.async_http_client({})))",
    ),
    "litellm": (
        "litellm.completion(..., client=openai.OpenAI(http_client=unbroken.http_client({})))",
        (
            "litellm.acompletion(...,"
            " client=openai.AsyncOpenAI(http_client=unbroken.async_http_client({})))"
        ),
    ),
}
_THROUGH = {"langchain-openai": "openai", "instructor": "openai", "litellm": "openai"}
"""SDKs that send by another one."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_BASE_URLS = (
    "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OLLAMA_HOST",
)  # fmt: skip
_KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
_SPOKEN = {"claude-": "anthropic-messages", "gemini-": "gemini"}
"""What models speak at their vendors' addresses."""
_EXAMPLES = (
    ("openai-chat", "gpt-5"),
    ("openai-responses", "gpt-5"),
    ("anthropic-messages", "claude-sonnet-4-5"),
    ("anthropic-messages", "claude-opus-5"),
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-3.6-flash"),
    ("ollama", "llama3.3"),
)
_SPILL_ROOM_BYTES = 1 << 30


def diagnose(
    *,
    model: str | None = None,
    base_url: str | None = None,
    dialect: str | None = None,
    options: Options | None = None,
    environ: Mapping[str, str] | None = None,
    known_variables: Iterable[str] = (),
) -> Diagnosis:
    """Look at this environment. Sends nothing, and shows no key.

    Args:
        model: A model to look up; None shows some examples.
        base_url: Where it is; None takes the vendor's address.
        dialect: What it speaks; None takes openai-chat, or without `base_url` what the
            vendor of a Claude or Gemini model speaks.
        options: The options in force; None takes the defaults.
        environ: The environment; None takes the process's.
        known_variables: ``UNBROKEN_*`` variables that are read; others are pointed out.

    Raises:
        ValueError: If there is no such dialect, the base URL is no address, or there is a
            dialect or a base URL without a model.
    """
    _check_question(model, base_url, dialect)
    environ = os.environ if environ is None else environ
    options = options or Options()
    speaks = dialect or _dialect_of(model or "", base_url)
    asked = [(speaks, model)] if model else list(_EXAMPLES)
    sdks = [sdk for name in _LINES if (sdk := _sdk(name)) is not None]
    return Diagnosis(
        unbroken=_version("unbroken"),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        mode=environ.get("UNBROKEN_MODE") or options.mode,
        packages=[
            Package(name=name, version=_version(name))
            for name in ("httpx2", "httpx", "aiohttp", "msgspec")
        ],
        sdks=sdks,
        keys={name: bool(environ.get(name)) for names in _KEYS.values() for name in names},
        proxies={
            name: _without_secrets(value)
            for each in _PROXIES
            for name in (each, each.lower())
            if (value := environ.get(name))
        },
        base_urls={
            name: _without_secrets(value) for name in _BASE_URLS if (value := environ.get(name))
        },
        models=[_ways(speaks, name, base_url, options) for speaks, name in asked],
        findings=list(_findings(sdks, options, environ, set(known_variables))),
    )


def _check_question(model: str | None, base_url: str | None, dialect: str | None) -> None:
    if base_url is not None:
        try:
            parts = urlsplit(base_url)
            fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        if not fine:
            msg = (
                f"the base URL {_without_secrets(base_url)!r:.200} is no address: it begins with"
                " https:// or http:// and a host"
            )
            raise ValueError(msg)
    given = [name for name, value in (("dialect", dialect), ("base URL", base_url)) if value]
    if given and not model:
        msg = f"there is a {' and a '.join(given)} but no model: give it too (--model NAME)"
        raise ValueError(msg)


def _dialect_of(model: str, base_url: str | None) -> str:
    if base_url is None:
        for beginning, dialect in _SPOKEN.items():
            if model.startswith(beginning):
                return dialect
    return "openai-chat"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _sdk(name: str) -> Sdk | None:
    found = _version(name)
    if not found:
        return None
    library = _library_of(_THROUGH.get(name, name))
    argument = "" if library == "httpx2" else f'library="{library}"'
    line, async_line = (each.format(argument) for each in _LINES[name])
    return Sdk(
        name=name,
        version=found,
        library=library,
        line=line,
        async_line=async_line,
        ready=bool(_version(library)),
    )


def _library_of(package: str) -> str:
    """Return the HTTP library that a package asks for, httpx2 before httpx."""
    try:
        wanted = requires(package) or []
    except PackageNotFoundError:
        wanted = []
    names = {
        re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0].lower()
        for each in wanted
        if "extra ==" not in each
    }
    return "httpx2" if "httpx2" in names else "httpx"


def _without_secrets(value: str) -> str:
    """Return an address without the name and password in it."""
    address = value.partition("?")[0]
    scheme, separator, rest = address.rpartition("://")
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path


def _ways(dialect: str, model: str, base_url: str | None, options: Options) -> ModelWays:
    request, speaks = ask("A question.", model=model, dialect=dialect, base_url=base_url)
    before = Received()
    within = Received()
    within.add(None, [Text(_LONG)])
    closed: dict[str, str] = {}
    return ModelWays(
        model=model,
        host=request.host,
        dialect=dialect,
        before=_open(request, speaks, before, options, {}),
        within=_open(request, speaks, within, options, closed),
        closed=closed,
    )


_LONG = "An answer has to be so long that its last words can serve as an anchor for the next one."


def _open(
    request: Request,
    dialect: Dialect,
    delivered: Received,
    options: Options,
    closed: dict[str, str],
) -> list[str]:
    """Return the rungs that are open after a lost connection, each asked by itself."""
    found: list[str] = []
    for rung in (each for each in RUNGS if each in options.rungs):
        plan, skipped = choose(
            Situation(
                request=request,
                dialect=dialect,
                options=replace(options, rungs=(rung,)),
                delivered=delivered,
                fault=Fault.of(FaultKind.CONNECTION_RESET, "the connection was lost"),
                broken=Broken(dialect, request, Place(id="answer", number=1, mark="m", bytes=1)),
            )
        )
        if plan is not None:
            found.append(rung)
        else:
            closed.update({skip.rung: skip.why for skip in skipped if skip.rung == rung})
    return found


def _findings(
    sdks: list[Sdk], options: Options, environ: Mapping[str, str], known: set[str]
) -> Iterable[Finding]:
    mode = environ.get("UNBROKEN_MODE")
    if mode and mode not in get_args(Mode):
        words = ", ".join(get_args(Mode))
        yield Finding(
            severity="warning",
            text=f"UNBROKEN_MODE is {mode!r}, which is no mode: set it to one of {words}",
        )
    elif mode and mode != options.mode:
        yield Finding(severity="note", text=f"UNBROKEN_MODE={mode} overrides the mode in the code")
    for sdk in sdks:
        if not sdk.ready:
            yield Finding(
                severity="warning",
                text=f"{sdk.name} sits on {sdk.library}, which is not here:"
                f" pip install 'unbroken[{sdk.library}]'",
            )
    names = {sdk.name for sdk in sdks}
    if "google-genai" in names and _version("aiohttp"):
        yield Finding(
            severity="note",  # nothing to mend for who writes the line that is shown
            text="google-genai sends async calls by aiohttp, because that is installed; only with"
            " httpx_async_client (see its line) do they come by us",
        )
    for name in sorted(environ):
        if name.startswith("UNBROKEN_") and known and name not in known | {"UNBROKEN_MODE"}:
            yield Finding(severity="warning", text=f"nothing reads the variable {name}")
    folder = options.spill_dir or tempfile.gettempdir()
    try:
        room = shutil.disk_usage(folder).free
    except OSError:
        room = 0
    if options.max_spill_bytes and room < _SPILL_ROOM_BYTES:
        yield Finding(
            severity="warning",
            text=f"{folder} has {room >> 20} MiB free: answers over max_replay_bytes"
            f" ({options.max_replay_bytes >> 20} MiB) may not be healed (spill_dir)",
        )
