"""SDKs that cannot be installed beside the others, each in an environment of its own.

Older versions, and those that want other versions of what the newest ones want. Made once, and
kept in `.venvs/`.

    env = environment("openai-1")          # skips the test where it cannot be made
    drive = env.drive("openai-chat", server.url)
    assert drive["text"] == STORY.text
    drive = env.drive(
        "openai-chat",
        server.url,
        http_client={"factory": "unbroken:http_client", "kwargs": {"library": env.library}},
    )

The checkout is installed in each (editable), so they test the code at hand. Made by `uv`
where there is one, else by `venv` and `pip`; remade when what they should hold changes.
`python -m tests.support.environments` makes all of them, for a set-up step.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

__all__ = ["SPECS", "Environment", "EnvironmentMissing", "Spec", "environment", "make"]

_ROOT = Path(__file__).resolve().parents[2]
_HOME = _ROOT / ".venvs"
_MAKE_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Spec:
    """What an environment holds.

    Attributes:
        packages: What is asked for, beside this checkout.
        library: The HTTP library that the SDK takes.
        bare: Install the checkout without what it depends on: only so it goes together with
            releases that are older than that.
    """

    packages: tuple[str, ...]
    library: str
    bare: bool = False


SPECS: dict[str, Spec] = {
    # The newest of each older line.
    "openai-1": Spec(("openai<2", "httpx"), "httpx"),
    "openai-2": Spec(("openai<3", "httpx"), "httpx"),
    "anthropic-0": Spec(("anthropic<1", "httpx"), "httpx"),
    # The oldest that can be installed with what we depend on: before 1.3.9 openai wants an
    # older anyio than httpx2 does, before 0.25.1 httpx an older h11.
    "openai-oldest": Spec(("openai==1.3.9", "httpx==0.25.1"), "httpx"),
    # The oldest of all, and only without httpx2. (openai before 1.3 reads nothing after `[DONE]`
    # and leaves the response open, with or without us.)
    "httpx-oldest": Spec(("openai==1.3.0", "httpx==0.24.*", "msgspec"), "httpx", bare=True),
    # It wants an older jiter than openai 3.4 does, and brings aiohttp, by which google-genai
    # would then send.
    "instructor": Spec(("instructor",), "httpx2"),
    # It wants openai 2.
    "litellm": Spec(("litellm", "httpx"), "httpx"),
}


class EnvironmentMissing(Exception):
    """It could not be made; says what failed."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python with one SDK version and this checkout."""

    name: str
    python: Path
    library: str

    def run(self, *args: str, stdin: str = "", timeout_s: float = 60.0) -> str:
        """Run its Python at the root of the checkout and return stdout."""
        # UNBROKEN_*, proxies and keys of the developer's shell are no part of a test.
        keep = {"PATH", "HOME", "LANG", "TMPDIR", "UNBROKEN_MODE"}
        done = subprocess.run(
            [str(self.python), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=_ROOT,
            env={name: value for name, value in os.environ.items() if name in keep},
        )
        assert done.returncode == 0, f"{self.name}: {done.stderr[-3000:]}"
        return done.stdout

    def version(self, package: str) -> str:
        """The installed version of a package."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return self.run("-c", code).strip()

    def drive(
        self,
        name: str,
        base_url: str,
        *,
        http_client: Mapping[str, Any] | None = None,
        transport: Mapping[str, Any] | None = None,
        **wire: Any,
    ) -> dict[str, Any]:
        """Run one drive of `drives.DRIVES` there; return `Drive.as_json()`.

        Args:
            name: The drive; its SDK must be the environment's.
            base_url: A server of this process will do.
            http_client: How to make one there: ``{"factory": "package.module:function",
                "kwargs": {...}}``; the function is called inside the drive's event loop.
            transport: The same.
            wire: Fields of `Wire` that JSON can hold.
        """
        job = {
            "drive": name,
            "base_url": base_url,
            "http_client": http_client,
            "transport": transport,
            "wire": wire,
        }
        out = self.run("-m", "tests.support.drives", stdin=json.dumps(job))
        result: dict[str, Any] = json.loads(out.splitlines()[-1])
        return result


def environment(name: str) -> Environment:
    """Return an environment, made if need be; skips the test, naming what is missing."""
    try:
        return make(name)
    except EnvironmentMissing as missing:
        pytest.skip(f"environment {name} cannot be made: {missing}")


def make(name: str) -> Environment:
    """Return an environment, made if need be.

    Raises:
        EnvironmentMissing: It could not be made. Tried once a process.
    """
    result = _made(name)
    if isinstance(result, str):
        raise EnvironmentMissing(result)
    return result


@cache  # also a failure: a test run without a network must not wait for each test anew
def _made(name: str) -> Environment | str:
    spec = SPECS[name]
    home = _HOME / name
    python = home / "bin" / "python"
    # Remade when the wish or the project's own dependencies change.
    project = (_ROOT / "pyproject.toml").read_text()
    wish = json.dumps([spec.packages, spec.bare, sys.version_info[:2], project])
    stamp = home / "made-for.json"
    _HOME.mkdir(exist_ok=True)
    (_HOME / ".gitignore").write_text("*\n")
    with (_HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test workers may ask at once
        if stamp.exists() and stamp.read_text() == wish:
            return Environment(name, python, spec.library)
        shutil.rmtree(home, ignore_errors=True)
        try:
            _create(home, python, spec)
        except (OSError, subprocess.SubprocessError) as exc:
            said = getattr(exc, "stderr", None) or str(exc)
            return f"{' '.join(spec.packages)}: {said.strip()[-400:]}"
        stamp.write_text(wish)
    return Environment(name, python, spec.library)


def _create(home: Path, python: Path, spec: Spec) -> None:
    uv = shutil.which("uv")
    checkout = ("--editable", str(_ROOT))
    if uv is not None:
        _call(uv, "venv", "--quiet", "--python", sys.executable, str(home))
        install = (uv, "pip", "install", "--quiet", "--python", str(python))
    else:
        _call(sys.executable, "-m", "venv", str(home))
        install = (str(python), "-m", "pip", "install", "--quiet")
    if spec.bare:
        _call(*install, *spec.packages)
        _call(*install, "--no-deps", *checkout)
    else:
        _call(*install, *spec.packages, *checkout)


def _call(*command: str) -> None:
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=_MAKE_WITHIN_S, cwd=_ROOT
    )


def main() -> int:
    """Make all environments; 1 if one cannot be made."""
    failed = 0
    for name in SPECS:
        try:
            made = make(name)
        except EnvironmentMissing as missing:
            failed = 1
            print(f"{name}: {missing}")
        else:
            print(f"{name}: {made.python}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
