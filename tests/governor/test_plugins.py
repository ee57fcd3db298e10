"""Packages that bring a dialect, installed as packages are: found, loaded once, or left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
import json

import unbroken
from unbroken.core.dialects.base import Dialect, MalformedPayloadError, PlainReader, parse_payload
from unbroken.core.events import End, Finish, Open, Start, Text

print("loaded")


class Reader(PlainReader):
    def read(self, frame):
        value = parse_payload(frame.payload)
        if "done" in value:
            return [Finish(value["done"], "stop"), End("done")]
        return [Text(value["say"])]


class Saying(Dialect):
    name = "saying"
    wire = "ndjson"
    content_types = ("application/x-ndjson",)
    last_marker = "done"

    def recognises_path(self, path):
        return path.endswith("/say")

    def recognises_frame(self, frame):
        return b'"say"' in frame.payload

    def reader(self):
        return Reader()
"""
BROKEN = {
    "no module": ("absent_module:Thing", ""),
    "no attribute": ("{name}:Absent", ""),
    "raises": ("{name}:Thing", "raise RuntimeError('while it was imported')"),
    "no dialect": ("{name}:Thing", "class Thing: pass"),
    "taken": ("{name}:Thing", GOOD + "\nclass Thing(Saying):\n    name = 'openai-chat'\n"),
    "says too little": ("{name}:Thing", "from unbroken import Dialect\nclass Thing(Dialect): pass"),
}
BODY = b'{"say":"Hi "}\n{"say":"there"}\n{"done":"end"}\n'
PROGRAM = """
import json, sys
import unbroken
from unbroken.core.dialects import recognise_request

body = sys.stdin.buffer.read()
outcomes = [unbroken.check(body), unbroken.check(body, "saying")] if {good} else []
said = b'data: {{"choices":[{{"delta":{{"content":"a"}},"finish_reason":"stop"}}]}}\\n\\n'
chat = unbroken.check(said)
asked = unbroken.Request(method="POST", url="http://x.example/v1/say", body=b'{{"stream":true}}')
found = recognise_request(asked)
from unbroken.governor.plugins import left_out
print(json.dumps({{
    "said": [[o.dialect, o.status, o.text] for o in outcomes], "chat": chat.status,
    "found": found and found.name, "left_out": left_out(),
}}))
"""


def package(folder: Path, name: str, value: str, code: str) -> None:
    """Install a package of one module, as an installer would leave it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        f"[unbroken.dialects]\n{name} = {value.format(name=name)}\n", "utf-8"
    )
    (folder / f"{name}.py").write_text(code, "utf-8")


def run(folder: Path, *, good: bool) -> tuple[dict[str, object], list[str], str]:
    """Run a program with these packages; return what it found, printed before, and logged."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(good=good)], input=BODY, capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}, check=False,
        timeout=60,
    )  # fmt: skip
    *before, last = ran.stdout.decode().splitlines() or [""]
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(last), before, ran.stderr.decode()


def test_an_installed_dialect_reads_streams(tmp_path):
    package(tmp_path, "saying", "{name}:Saying", GOOD)
    found, printed, logged = run(tmp_path, good=True)
    assert found == {
        "said": [["saying", "complete", "Hi there"]] * 2, "chat": "complete", "found": "saying",
        "left_out": {},
    }  # fmt: skip
    assert printed == ["loaded"]
    assert logged == ""


def test_an_instance_will_do_as_well(tmp_path):
    package(tmp_path, "saying", "{name}:dialect", GOOD + "\ndialect = Saying()\n")
    assert run(tmp_path, good=True)[0]["found"] == "saying"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_logged_once_and_the_others_work(tmp_path, name):
    value, code = BROKEN[name]
    package(tmp_path, "a_broken_one", value, code)
    package(tmp_path, "saying", "{name}:Saying", GOOD)
    found, _, logged = run(tmp_path, good=True)
    assert found["said"] == [["saying", "complete", "Hi there"]] * 2
    assert (found["chat"], found["found"]) == ("complete", "saying")
    (left,) = found["left_out"]  # type: ignore[misc]
    assert left.startswith("a_broken_one (")
    assert logged.count("is left out") == 1


def test_one_that_raises_in_service_is_logged_once_and_left_out(tmp_path):
    fails = "    def recognises_path(self, path):\n        raise RuntimeError('broken')\n"
    code = GOOD + f"\nclass Thing(Saying):\n    name = 'raising'\n{fails}"
    package(tmp_path, "raising", "{name}:Thing", code)
    found, _, logged = run(tmp_path, good=False)
    assert found == {
        "said": [], "chat": "complete", "found": None, "left_out": {"raising": "RuntimeError"},
    }  # fmt: skip
    assert logged.count("the dialect raising is left out") == 1


def test_nothing_is_loaded_before_a_dialect_is_looked_up(tmp_path):
    package(tmp_path, "saying", "{name}:Saying", GOOD)
    code = "import unbroken; unbroken.Options(); unbroken.SSEDecoder().feed(b'data: 1\\n\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    assert ran.stdout == ""
