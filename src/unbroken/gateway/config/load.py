"""Reading the configuration: flags before environment before file before what is built in."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import inspect

from unbroken.gateway.config.check import check
from unbroken.gateway.config.lines import line_of, lines_of
from unbroken.gateway.config.problems import ConfigError, Problem, did_you_mean
from unbroken.gateway.config.reading import FAILED, Given, Reading
from unbroken.gateway.config.settings import GatewayConfig

__all__ = ["PREFIX", "Loaded", "load", "read", "variables"]

PREFIX = "UNBROKEN_GATEWAY_"
"""What the names of the gateway's environment variables begin with."""

_OWN = ("UPSTREAM", "UPSTREAM_KEY", "UPSTREAM_KEY_FILE", "CONFIG")
_TABLES = ("upstreams", "routes", "callers")
# Kubernetes sets such variables in every container beside a service called unbroken-gateway.
_KUBERNETES = re.compile(r"(?:SERVICE_(?:HOST|PORT.*)|PORT(?:_\d+_(?:TCP|UDP).*)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came of reading a configuration.

    Attributes:
        config: The configuration, or None where a problem is an error.
        problems: All problems, errors and warnings.
    """

    config: GatewayConfig | None
    problems: tuple[Problem, ...]


def load(
    path: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> GatewayConfig:
    """Return the configuration, checked; warnings are left out (see `read`).

    Args:
        path: A TOML file, or None for none.
        env: The environment; None takes that of the process.
        flags: Settings by their path (``listen``, ``journal.kind``), and ``upstream``: a URL
            that takes everything. Those that are None are left out.

    Raises:
        ConfigError: If it cannot be used; all that is wrong is told at once.
    """
    loaded = read(path, env, flags)
    if loaded.config is None:
        raise ConfigError(loaded.problems)
    return loaded.config


def read(
    path: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    """Return the configuration with all that is wrong with it, or worth a second look.

    Takes what `load` takes; raises nothing.
    """
    environ = os.environ if env is None else env
    text, data, problems = _file(path)
    reading = Reading(environ, Path(path).parent if path is not None else Path())
    if not problems:
        _overlay(data, environ, flags or {}, reading)
        config = reading.read(GatewayConfig, data)
        problems = reading.problems
        if config is not FAILED:
            problems = [*problems, *check(config)]
    else:
        config = FAILED
    lines = lines_of(text) if text else {}
    sources = _sources(data)
    placed = tuple(_placed(each, path, lines, sources) for each in problems)
    failed = config is FAILED or any(each.severity == "error" for each in placed)
    return Loaded(config=None if failed else config, problems=placed)


def _file(path: str | Path | None) -> tuple[str, dict[str, Any], list[Problem]]:
    if path is None:
        return "", {}, []
    try:
        text = Path(path).read_text("utf-8-sig")
        return text, tomllib.loads(text), []
    except OSError as problem:
        why = f"it cannot be read ({problem.strerror})"
        found = Problem(key="", text=why, remedy="see that it is there", source=str(path))
    except UnicodeDecodeError:
        why = "it is not UTF-8"
        found = Problem(key="", text=why, remedy="save it as UTF-8", source=str(path))
    except tomllib.TOMLDecodeError as problem:
        at = re.search(r"at line (\d+)", str(problem))
        # The parser's words may quote what it found, but only one character of it.
        why = re.sub(r"\s*\(at .*\)$", "", str(problem))
        line = int(at[1]) if at else None
        remedy = "strings need quotes, and a table stands once"
        found = Problem(key="", text=f"it is not TOML: {why}", remedy=remedy, line=line)
        found = found.at(str(path), line)
    return "", {}, [found]


# Environment and flags ---------------------------------------------------------------------


def _scalars(info: Any, before: str = "") -> dict[str, inspect.Type]:
    """Return the settings that are one value, or a list of strings, by their path."""
    found: dict[str, inspect.Type] = {}
    for each in info.fields:
        path = f"{before}{each.name}"
        if isinstance(each.type, inspect.StructType):
            found |= _scalars(each.type, f"{path}.")
        elif path not in (*_TABLES, "journal.old_keys"):
            found[path] = each.type
    return found


_SETTINGS = _scalars(inspect.type_info(GatewayConfig))


def _is_secret(kind: inspect.Type) -> bool:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(each, inspect.CustomType) for each in members)


def variables() -> dict[str, str]:
    """Return the environment variables that set something, each with the setting's path."""
    found = {}
    for path, kind in _SETTINGS.items():
        name = PREFIX + path.replace(".", "_").upper()
        found[name] = path
        if _is_secret(kind):
            found[f"{name}_FILE"] = path
    return found


def _overlay(
    data: dict[str, Any], environ: Mapping[str, str], flags: Mapping[str, Any], reading: Reading
) -> None:
    """Put what environment and flags say in place of what the file says."""
    known = variables()
    for name, value in environ.items():
        if not name.startswith(PREFIX) or not value:
            continue
        source = f"environment variable {name}"
        if name in known:
            is_file = name.endswith("_FILE") and known.get(name[:-5]) == known[name]
            if is_file and environ.get(name[:-5]):
                continue  # the secret itself is there too
            _put(data, known[name], Given(value={"file": value} if is_file else value,
                                          source=source))  # fmt: skip
        elif name[len(PREFIX) :] not in _OWN and not _KUBERNETES.fullmatch(name[len(PREFIX) :]):
            remedy = did_you_mean(name, known, otherwise="see the reference, as for")
            if not remedy.startswith("did"):
                remedy = "see the reference of the configuration"
            reading.problems.append(
                Problem(
                    key="",
                    text="it sets nothing",
                    remedy=remedy,
                    severity="warning",
                    source=source,
                )
            )
    if mode := environ.get("UNBROKEN_MODE"):  # as everywhere in Unbroken: it overrides
        _put(data, "mode", Given(value=mode, source="environment variable UNBROKEN_MODE"))
        routes = data.get("routes")
        for route in routes if isinstance(routes, list) else ():
            if isinstance(route, dict):
                route.pop("mode", None)
    for path, value in flags.items():
        if value is not None and path != "upstream":
            _put(data, path, Given(value=value, source=_flag(path)))
    _one_upstream(data, environ, flags)
    _take_out_password(data)


def _flag(path: str) -> str:
    return "flag --" + path.replace(".", "-").replace("_", "-")


def _put(data: dict[str, Any], path: str, value: Given) -> None:
    *tables, name = path.split(".")
    for table in tables:
        inner = data.setdefault(table, {})
        if not isinstance(inner, dict):
            return  # told when it is read
        data = inner
    data[name] = value


def _one_upstream(
    data: dict[str, Any], environ: Mapping[str, str], flags: Mapping[str, Any]
) -> None:
    """Let one URL take everything; no key of the file's goes to it."""
    url, source = flags.get("upstream"), _flag("upstream")
    if url is None:
        url, source = environ.get(f"{PREFIX}UPSTREAM"), f"environment variable {PREFIX}UPSTREAM"
    if not url:
        return
    try:
        name = urlsplit(str(url)).hostname or "upstream"
    except ValueError:
        name = "upstream"
    upstream: dict[str, Any] = {"url": Given(value=url, source=source)}
    for end in ("_KEY_FILE", "_KEY"):  # the key itself wins
        if value := environ.get(f"{PREFIX}UPSTREAM{end}"):
            upstream["key"] = Given(
                value={"file": value} if end.endswith("FILE") else value,
                source=f"environment variable {PREFIX}UPSTREAM{end}",
            )
    data["upstreams"] = {name: upstream}
    data["routes"] = [{"upstream": name}]


def _take_out_password(data: dict[str, Any]) -> None:
    """Part a URL of Redis from its password where environment or flag gave it.

    Hosters hand out such URLs; in the file a password is refused, by `check`.
    """
    journal = data.get("journal")
    given = journal.get("url") if isinstance(journal, dict) else None
    if not isinstance(journal, dict) or not isinstance(given, Given):
        return
    try:
        parts = urlsplit(str(given.value))
    except ValueError:
        return  # told when it is checked
    if not parts.password:
        return
    user, _, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    bare = parts._replace(netloc=f"{name}@{place}" if name else place).geturl()
    journal["url"] = Given(value=bare, source=given.source)
    journal.setdefault("password", Given(value=unquote(parts.password), source=given.source))


# Places ------------------------------------------------------------------------------------


def _sources(data: Any, at: str = "") -> dict[str, str]:
    """Return where each value that is not the file's comes from, by path."""
    if isinstance(data, Given):
        return {at: data.source}
    found: dict[str, str] = {}
    if isinstance(data, dict):
        for name, value in data.items():
            found |= _sources(value, f"{at}.{name}" if at else name)
    return found


def _placed(
    problem: Problem, path: str | Path | None, lines: dict[str, int], sources: dict[str, str]
) -> Problem:
    if problem.source:
        return problem
    if problem.key in sources:
        return problem.at(sources[problem.key], None)
    if path is None:
        return problem
    return problem.at(str(path), line_of(lines, problem.key))
