"""The doc tests' own tools: that they run what they should, and notice what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, anchors_of, blocks_of, links_of
from tests.docs.provider import ANSWER, rest_of_answer
from tests.docs.run_page import commands_of, same_output
from tests.support.environments import environment

STREAM = """
import openai
client = openai.OpenAI(max_retries=0)
stream = client.chat.completions.create(
    model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
print("".join(c.choices[0].delta.content or "" for c in stream if c.choices))
"""


def run(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", str(page)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def fenced(info: str, code: str) -> str:
    return f"```{info}\n{code.strip()}\n```\n\n"


def test_python_blocks_share_a_namespace_and_may_await(tmp_path: Path) -> None:
    page = (
        fenced("python", "import asyncio\nx = 1")
        + fenced("python", "await asyncio.sleep(0)\nprint(x + 1)")
        + fenced("text output", "2")
    )
    ran = run(tmp_path, page)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (fenced("python", "print(1)") + fenced("text output", "2"), "page.md:6: the page shows"),
        (fenced("python", "1 / 0"), "ZeroDivisionError"),
        ("<!-- docs-test: raises=KeyError -->\n" + fenced("python", "1"), "was to raise KeyError"),
        (fenced("console", "$ false"), "ended with 1"),
        ("<!-- docs-test: exit=3 -->\n" + fenced("console", "$ true"), "ended with 0"),
        ("<!-- docs-test: exit=1,1 -->\n" + fenced("console", "$ false"), "but 2 exit codes"),
        ("<!-- docs-test: exit=0,1 -->\n" + fenced("console", "$ true\n$ exit 2"), "with 2"),
        (fenced("console", "$ echo one\ntwo"), "but this came:\none"),
        (fenced("cobol", "STOP RUN."), "no rule for a block in 'cobol'"),
        (fenced("console", "no prompt"), "starts with a prompt"),
    ],
)
def test_what_is_not_true_fails(tmp_path: Path, page: str, said: str) -> None:
    ran = run(tmp_path, page)
    assert ran.returncode == 1
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("page", "code"),
    [
        ("<!-- docs-test: exit=1 -->\n" + fenced("console", "$ echo one; exit 1\none"), 0),
        ("<!-- docs-test: exit=0,2 -->\n" + fenced("console", "$ true\n$ exit 2"), 0),
        (fenced("console", "$ python -c 'print(1)'\n1\n$ echo 22 s\n... s"), 0),
        ("<!-- docs-test: file=a -->\n```text\nhi\n```\n```console\n$ cat a\nhi\n```\n", 0),
        ("<!-- docs-test: raises=KeyError -->\n" + fenced("python", "{}[0]"), 0),
        (fenced("toml", "a = 1"), 0),
    ],
)  # fmt: skip
def test_what_is_true_passes(tmp_path: Path, page: str, code: int) -> None:
    ran = run(tmp_path, page)
    assert ran.returncode == code, ran.stderr


def test_examples_talk_to_the_local_provider(tmp_path: Path) -> None:
    cut = ANSWER[: len(ANSWER) // 4]
    page = (
        fenced("python", STREAM)
        + fenced("text output", ANSWER)
        + "<!-- docs-test: provider=flaky -->\n"
        + fenced("python", STREAM + "cut = _")
        .replace("print(", "text = (")
        .replace("cut = _", f"assert text.startswith({cut!r}) and len(text) < {len(ANSWER)}")
        + fenced("python", STREAM)
        + fenced("text output", ANSWER)
    )
    ran = run(tmp_path, page)
    assert ran.returncode == 0, ran.stderr


def test_a_prefill_is_continued() -> None:
    said = ANSWER[:20]
    asked = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]}
    assert said + rest_of_answer(asked) == ANSWER
    parts = {"contents": [{"role": "model", "parts": [{"text": said}]}]}
    assert said + rest_of_answer(parts) == ANSWER


def test_output_patterns() -> None:
    assert same_output("a\n...\nz", "a\nb\nc\nz")
    assert same_output("took ... s", "took 0.3 s")
    assert not same_output("took ... s", "took\n0.3 s")
    assert not same_output("a", "a\nb")
    assert not same_output("a.b", "axb")


def test_commands() -> None:
    assert commands_of("$ a\n1\n2\n$ b \\\n> c\n") == [("a", "1\n2"), ("b \\\nc", "")]


def test_blocks_links_and_anchors() -> None:
    text = "# A `b` c!\n\n[x](y.md#z) ![i](p.png)\n\n- item\n"
    text += "  ```python\n  [a](b)\n  ```\n## A b c\n"
    (block,) = blocks_of(text)
    assert (block.language, block.code, block.line) == ("python", "[a](b)\n", 7)
    assert links_of(text) == ["y.md#z"]
    assert anchors_of(text) == {"a-b-c", "a-b-c-1"}


def test_a_block_whose_package_is_missing_is_left_out_and_says_so(tmp_path: Path) -> None:
    missing = "<!-- docs-test: needs=no-such-package -->\n"
    page = (
        missing
        + fenced("python", "import no_such_package")
        + fenced("text output", "its output is not looked for")
        + fenced("python", "print(1)")
        + fenced("text output", "1")
    )
    ran = run(tmp_path, page)
    assert ran.returncode == 0, ran.stderr
    assert "skipped page.md:3: no-such-package is not installed" in ran.stderr
    there = run(tmp_path, "<!-- docs-test: needs=openai -->\n" + fenced("python", "1 / 0"))
    assert "ZeroDivisionError" in there.stderr


def test_a_block_may_run_in_an_environment_of_its_own(tmp_path: Path) -> None:
    environment("litellm")  # skips where it cannot be made
    elsewhere = "<!-- docs-test: env=litellm -->\n"
    page = elsewhere + fenced("python", "import litellm\nprint(1)") + fenced("text output", "1")
    assert run(tmp_path, page).returncode == 0
    ran = run(tmp_path, elsewhere + fenced("python", "1 / 0"))
    assert "failed in the environment litellm" in ran.stderr
