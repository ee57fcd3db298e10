"""A pytest file that repeats what a small recording shows, and passes once it is mended."""

from __future__ import annotations

import os
from pathlib import Path

from unbroken.debugger.shrinking.judging import CommandTest, FaultTest

__all__ = ["INLINE_BYTES", "write_pytest"]

_MOST_SAID = 80
INLINE_BYTES = 8 * 1024
"""Up to this size the recording stands in the test itself."""


def write_pytest(
    path: Path, recording: bytes, test: CommandTest | FaultTest, *, said: str = ""
) -> list[Path]:
    """Write a test, and the recording beside it where it is too large to stand in it.

    Args:
        path: Of the test; pytest finds it by a name such as ``test_stream.py``.
        recording: The small recording.
        test: What fails with it.
        said: What the failing run said at its end.

    Returns:
        What was written.

    Raises:
        OSError: If it cannot be written.
    """
    written = [path]
    inline = len(recording) <= INLINE_BYTES and b'"""' not in recording
    beside = path.with_suffix(".jsonl")
    if not inline:
        if beside.exists():  # it may be what was shrunk
            beside = path.with_suffix(".recording.jsonl")
        beside.write_bytes(recording)
        written.append(beside)
    kept = recording.decode("utf-8") if inline else None
    if isinstance(test, CommandTest):
        text = _command_test(path, kept, beside.name, test, said)
    else:
        text = _fault_test(kept, beside.name, test)
    path.write_text(text, "utf-8")
    return written


def _command_test(path: Path, inline: str | None, beside: str, test: CommandTest, said: str) -> str:
    folder = os.path.relpath(Path.cwd(), path.resolve().parent)
    cwd = "Path(__file__).parent" + (f" / {_quoted(folder)}" if folder != "." else "")
    words = "".join(f"    {_quoted(word)},\n" for word in test.command)
    ended = f" It said:\n\n    {_for_docstring(said)}" if said else ""
    expect = f"EXPECT = {_quoted(test.expect)}\n" if test.expect is not None else ""
    if test.expect is not None:
        judged = (
            "    output = ran.stdout + ran.stderr\n"
            "    assert ran.returncode == 0 or not re.search(EXPECT, output), output\n"
        )
    else:
        judged = "    assert ran.returncode == 0, ran.stdout + ran.stderr\n"
    return f"""\
{_TRIPLE}Repeat a stream that a command did not survive; written by `unbroken shrink`.

This fails as long as the command fails against the recording.{ended}
{_TRIPLE}

from __future__ import annotations

import os
{"import re" + chr(10) if test.expect is not None else ""}import subprocess
from pathlib import Path

from unbroken.debugger import replay

COMMAND = [
{words}]
{expect}{_recording(inline)}

def test_recorded_stream({"tmp_path: Path" if inline is not None else ""}) -> None:
{_placed(inline, beside)}    with replay(recording, speed={test.speed:g}) as server:
        ran = subprocess.run(
            [word.replace("{{url}}", server.url) for word in COMMAND],
            check=False,
            env={{**os.environ, **server.environment}},
            cwd={cwd},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout={test.timeout_s:g},
        )
{judged}"""


def _fault_test(inline: str | None, beside: str, test: FaultTest) -> str:
    return f"""\
{_TRIPLE}Repeat a stream that shows a fault; written by `unbroken shrink`.

This fails if the fault is not found in the recording any more.
{_TRIPLE}

from __future__ import annotations

from pathlib import Path

from unbroken.debugger.shrinking import shows_fault
{_recording(inline)}

def test_recorded_fault({"tmp_path: Path" if inline is not None else ""}) -> None:
{_placed(inline, beside)}    assert shows_fault(recording, {_quoted(test.kind)})
"""


_TRIPLE = '"' * 3


def _recording(inline: str | None) -> str:
    # Quotes of JSON never stand three in a row, and a raw string keeps its backslashes.
    return "" if inline is None else f"\nRECORDING = r{_TRIPLE}{inline}{_TRIPLE}\n"


def _placed(inline: str | None, beside: str) -> str:
    if inline is None:
        return f"    recording = Path(__file__).with_name({_quoted(beside)})\n"
    return (
        '    recording = tmp_path / "recording.jsonl"\n'
        '    recording.write_text(RECORDING, "utf-8")\n'
    )


def _quoted(text: str) -> str:
    """Return a Python string as formatters write it: in double quotes, where that escapes less."""
    inside = repr("\"'" + text)[4:-1].replace("\\'", "'")
    if text.count('"') > text.count("'"):
        return "'" + inside.replace("'", "\\'") + "'"
    return '"' + inside.replace('"', '\\"') + '"'


def _for_docstring(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")[:_MOST_SAID]
