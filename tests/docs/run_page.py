"""Run one page of the docs, top to bottom, as a reader would, in a process of its own.

    python -m tests.docs.run_page docs/tutorial/first-stream.md

- ``python`` blocks share one namespace; `await` at their top level works.
- ``console`` blocks: each ``$ command`` runs in a shell, in an empty folder; what follows it up to
  the next prompt is compared with what it printed. ``...`` in a line stands for anything, a
  line of only ``...`` for any lines; a command without output shown may print anything.
  ``<!-- docs-test: exit=1 -->`` above the block says with which exit code it must end (else 0);
  for several commands ``exit=1,0,2``, one for each.
- A ``text output`` block is compared in the same way with what the block above it printed.
- ``toml``, ``json``, ``yaml`` and other blocks are there to be read; a comment
  ``<!-- docs-test: file=NAME -->`` above one writes it to a file first.
- ``<!-- docs-test: provider=flaky -->`` above a block changes the provider's behaviour from there
  on (provider.py); ``<!-- docs-test: raises=NAME -->`` expects a Python block to raise.
- ``<!-- docs-test: needs=PACKAGE -->``: without that package the block, and the output shown below
  it, are left out, and a line on standard error says so. ``<!-- docs-test: env=NAME -->`` runs a
  Python block by itself in an environment of its own (tests/support/environments.py), where that
  can be made.
- Commands that cannot run inside a test are listed in elsewhere.json, each with its test.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.metadata
import inspect
import io
import json
import linecache
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tests.docs.markdown import ROOT, Block, blocks_of
from tests.docs.provider import DocsProvider, environment, redirect
from tests.support.environments import EnvironmentMissing, make

__all__ = ["PageError", "commands_of", "compile_block", "run_page", "same_output"]

COMMAND_LIMIT_S = 60
ELSEWHERE: dict[str, str] = json.loads(
    Path(__file__).with_name("elsewhere.json").read_text("utf-8")
)
READ_ONLY = {"toml", "json", "yaml", "text", "ini", "nginx", "javascript", "mermaid"}


class PageError(Exception):
    """What a page says is not what happens."""


def same_output(shown: str, printed: str) -> bool:
    """Whether the output shown in the docs describes what was printed."""
    pattern = re.escape(shown.strip())
    pattern = re.sub(r"(?:(?<=\n)|^)\\\.\\\.\\\.(?=\\\n|$)", r"(?:.*)", pattern)  # whole lines
    pattern = pattern.replace(r"\.\.\.", r"[^\n]*")
    lines = "\n".join(line.rstrip() for line in printed.strip().split("\n"))
    return re.fullmatch(pattern, lines, re.DOTALL) is not None


def commands_of(code: str) -> list[tuple[str, str]]:
    """Split a console block into commands and the output shown for each."""
    found: list[tuple[str, list[str]]] = []
    for line in code.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            found.append((line[2:].strip(), []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (found[-1][0] + "\n" + line[2:], [])
        elif found:
            found[-1][1].append(line)
        else:
            raise PageError(f"a console block starts with a prompt '$ ', not with {line!r}")
    return [(command, "\n".join(shown)) for command, shown in found]


def compile_block(block: Block, name: str) -> Any:
    """Compile a Python block; lines in tracebacks are those of the page."""
    source = "\n" * (block.line - 1) + block.code
    return compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


class _Page:
    def __init__(self, name: str, text: str, folder: Path, provider: DocsProvider) -> None:
        self.name, self.folder, self.provider = name, folder, provider
        self.blocks = list(blocks_of(text))
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.printed: str | None = ""  # None: the block above was left out
        self.behaviour = "ok"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)

    def run(self, runner: asyncio.Runner) -> None:
        for block in self.blocks:
            try:
                self._run_block(block, runner)
            except PageError as error:
                raise PageError(f"{self.name}:{block.line}: {error}") from error.__cause__

    def _run_block(self, block: Block, runner: asyncio.Runner) -> None:
        if "provider" in block.setup:
            self.behaviour = block.setup["provider"]
            os.environ.update(environment(self.provider.url, self.behaviour))
        if (needed := block.setup.get("needs")) is not None:
            try:
                importlib.metadata.version(needed)
            except importlib.metadata.PackageNotFoundError:
                self._leave_out(block, f"{needed} is not installed")
                return
            redirect(needed, self.provider.url, self.behaviour)
        if "file" in block.setup:
            (self.folder / block.setup["file"]).write_text(block.code, "utf-8")
        match block.language:
            case "python" if "env" in block.setup:
                self._elsewhere(block)
            case "python":
                self._python(block, runner)
            case "console":
                self._console(block)
            case "text" if "output" in block.words:
                if self.printed is not None:
                    self._compare(block.code, self.printed)
            case language if language not in READ_ONLY:
                raise PageError(f"no rule for a block in {language!r}")

    def _python(self, block: Block, runner: asyncio.Runner) -> None:
        printed = io.StringIO()
        expected, raised = block.setup.get("raises"), None
        with contextlib.redirect_stdout(printed):
            try:
                code = compile_block(block, self.name)
                if code.co_flags & inspect.CO_COROUTINE:
                    runner.run(eval(code, self.namespace))
                else:
                    exec(code, self.namespace)
            except BaseException as error:
                raised = error
        self.printed = printed.getvalue()
        if raised is not None and type(raised).__name__ != expected:
            trace = "".join(traceback.format_exception(raised))
            raise PageError(f"the example raised\n{trace}") from raised
        if raised is None and expected is not None:
            raise PageError(f"the example was to raise {expected} and did not")

    def _leave_out(self, block: Block, why: str) -> None:
        self.printed = None
        print(f"skipped {self.name}:{block.line}: {why}", file=sys.stderr)

    def _elsewhere(self, block: Block) -> None:
        name = block.setup["env"]
        try:
            python = make(name).python
        except EnvironmentMissing as missing:
            self._leave_out(block, f"environment {name} cannot be made: {missing}")
            return
        ran = subprocess.run(
            [str(python), "-c", block.code], cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise PageError(f"the example failed in the environment {name}:\n{ran.stderr}")
        self.printed = ran.stdout

    def _console(self, block: Block) -> None:
        commands = commands_of(block.code)
        codes = [int(code) for code in block.setup.get("exit", "").split(",") if code]
        if codes and len(codes) != len(commands):
            raise PageError(f"{len(commands)} commands, but {len(codes)} exit codes")
        for (command, shown), code in zip(commands, codes or [0] * len(commands), strict=True):
            if command in ELSEWHERE:
                continue
            ran = subprocess.run(
                command, shell=True, cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_LIMIT_S,
                check=False,
            )  # fmt: skip
            self.printed = ran.stdout
            if ran.returncode != code:
                raise PageError(f"$ {command}\nended with {ran.returncode}:\n{ran.stdout}")
            if shown:
                self._compare(shown, ran.stdout)

    def _compare(self, shown: str, printed: str) -> None:
        if not same_output(shown, printed):
            difference = f"the page shows:\n{shown.strip()}\n-- but this came:\n{printed.strip()}"
            raise PageError(difference)


def run_page(path: Path) -> None:
    """Run every block of a page.

    Raises:
        PageError: With page, line and the difference.
    """
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    with (
        tempfile.TemporaryDirectory(prefix="docs-") as folder,
        DocsProvider() as provider,
        asyncio.Runner() as runner,
    ):
        bin_folder = str(Path(sys.executable).parent)
        os.environ.update(environment(provider.url, "ok"))
        os.environ["PATH"] = bin_folder + os.pathsep + os.environ.get("PATH", "")
        os.environ["COLUMNS"], os.environ["NO_COLOR"] = "100", "1"
        os.environ.pop("CI", None)  # there pytest says more than on a terminal
        text = path.read_text("utf-8")
        os.chdir(folder)
        try:
            _Page(name, text, Path(folder), provider).run(runner)
        finally:
            os.chdir(ROOT)


def main() -> int:
    try:
        for argument in sys.argv[1:]:
            run_page(Path(argument).resolve())
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
