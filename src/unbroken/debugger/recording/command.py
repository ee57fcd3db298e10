"""A command with the recording proxy between it and whom it asks.

Where its arguments name addresses, those are replaced by the proxy's. Else it is a program that
asks by an SDK, and finds the proxy in the variables that SDKs read.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from urllib.parse import urlsplit

from unbroken.relay.environment import BASE_URLS

__all__ = ["CommandError", "Ending", "Plan", "plan_command", "run_command"]

_URL = re.compile(r"(?:(?P<option>--?[A-Za-z][\w-]*)=)?(?P<url>https?://\S+)\Z", re.IGNORECASE)
# Of curl and its like: what stands behind these is no address that is asked.
_OF_ANOTHER = frozenset(
    {"-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--data-urlencode", "--json"}
    | {"-H", "--header", "-e", "--referer", "-A", "--user-agent", "-b", "--cookie", "-F", "--form"}
    | {"-x", "--proxy", "--preproxy", "--socks5", "--socks5-hostname", "--doh-url"}
    | {"-o", "--output", "-c"}
)
_NO_PROXY = ("NO_PROXY", "no_proxy")
_LOCAL = "127.0.0.1,localhost"
_NOT_FOUND, _NOT_RUN = 127, 126  # as shells say it


class CommandError(Exception):
    """A command that could not be run.

    Attributes:
        exit_code: What a shell would exit with.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a command is run.

    Attributes:
        upstreams: Whom it asks; the proxy is to stand before them.
        found: Whether its arguments name addresses.
    """

    upstreams: tuple[str, ...]
    found: bool
    _arguments: tuple[str, ...] = ()
    _places: Mapping[int, int] = field(default_factory=dict)
    _variables: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    def arguments(self, addresses: Sequence[str]) -> list[str]:
        """Return the command's words.

        Args:
            addresses: The proxy's, one for each of `upstreams`.
        """
        words = list(self._arguments)
        for at, number in self._places.items():
            found = _URL.match(words[at])
            assert found is not None
            start = found.start("url")
            rest = words[at][start + len(_root_of(found["url"])) :]
            words[at] = words[at][:start] + addresses[number] + (rest or "/")
        return words

    def environment(self, addresses: Sequence[str], now: Mapping[str, str]) -> dict[str, str]:
        """Return the command's environment: that of now, and where SDKs find the proxy."""
        made = dict(now)
        for name, (number, path) in self._variables.items():
            made[name] = addresses[number] + path
        for name in _NO_PROXY:
            made[name] = f"{now[name]},{_LOCAL}" if now.get(name) else _LOCAL
        return made


def plan_command(
    words: Sequence[str], upstream: str = "", environment: Mapping[str, str] | None = None
) -> Plan:
    """Find out whom a command asks.

    Args:
        words: The command and its arguments.
        upstream: Whom it asks; else its arguments tell, or what its SDKs ask by themselves.
        environment: Its variables; None takes those of the process.

    Raises:
        ValueError: If an address among them is none.
    """
    environment = os.environ if environment is None else environment
    given = upstream.rstrip("/")
    upstreams: list[str] = [given] if given else []
    places: dict[int, int] = {}
    for at, word in enumerate(words):
        found = _URL.match(word)
        if found is None or words[at - 1] in _OF_ANOTHER or found["option"] in _OF_ANOTHER:
            continue
        root = _root_of(found["url"])
        if given and _root_of(given) != root:
            continue
        places[at] = _place(upstreams, root)
    variables: dict[str, tuple[int, str]] = {}
    if given or not places:
        for variable in BASE_URLS:
            now = environment.get(variable.name, "")
            whom = given or (now if "://" in now else variable.usual)
            if given:
                path = variable.path.removesuffix("/v1") if given.endswith("/v1") else variable.path
                variables[variable.name] = (0, path)
                continue
            root = _root_of(whom)
            variables[variable.name] = (_place(upstreams, root), whom[len(root) :].rstrip("/"))
    return Plan(
        upstreams=tuple(upstreams),
        found=bool(places),
        _arguments=tuple(words),
        _places=places,
        _variables=variables,
    )


def _place(upstreams: list[str], root: str) -> int:
    if root not in upstreams:
        upstreams.append(root)
    return upstreams.index(root)


def _root_of(url: str) -> str:
    """Return scheme, host and port, as they stand in an address."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        msg = "a user or password in an address cannot be passed on; use -u or a header"
        raise ValueError(msg)
    return url[: url.index("://") + 3 + len(parts.netloc)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a command ended.

    Attributes:
        exit_code: What a shell would exit with.
        said: In words: ``exit 1``, ``signal 9 (SIGKILL)``.
    """

    exit_code: int
    said: str


def run_command(words: Sequence[str], environment: Mapping[str, str]) -> Ending:
    """Run a command to its end.

    Called in the main thread, signals that end programs are passed on to it; it alone decides
    what comes of them.

    Raises:
        CommandError: If there is no such command, or it cannot be run.
    """
    try:
        child = subprocess.Popen(words, env=environment)
    except FileNotFoundError:
        msg = f"there is no command {words[0]}"
        raise CommandError(msg, _NOT_FOUND) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        msg = f"cannot run {words[0]}: {why}"
        raise CommandError(msg, _NOT_RUN) from None

    def passed_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    def interrupted(number: int, _: FrameType | None) -> None:
        if not _in_foreground():  # else the terminal has told the command itself
            child.send_signal(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, interrupted),
            signal.SIGTERM: signal.signal(signal.SIGTERM, passed_on),
            signal.SIGHUP: signal.signal(signal.SIGHUP, passed_on),
        }
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code >= 0:
        return Ending(exit_code=code, said=f"exit {code}")
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        name = ""
    return Ending(exit_code=128 - code, said=f"signal {-code}{name}")


def _in_foreground() -> bool:
    """Whether Ctrl-C on a terminal goes to us, and to the command with us."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
