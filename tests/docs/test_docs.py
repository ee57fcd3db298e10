"""Every command and example in the README and the docs runs, and every link leads somewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, anchors_of, blocks_of, links_of, pages
from tests.docs.run_page import ELSEWHERE, commands_of, compile_block

WAITING = [
    line
    for line in Path(__file__).with_name("waiting.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
UNWANTED = re.compile(r"\b(TODO|FIXME|TBD|XXX|lorem ipsum)\b|coming soon", re.IGNORECASE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


all_pages = pytest.mark.parametrize("page", pages(), ids=name_of)
written_pages = pytest.mark.parametrize(
    "page",
    [*pages(), *(ROOT / n for n in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))],
    ids=name_of,
)


@all_pages
def test_page_runs(page: Path) -> None:
    if name_of(page) in WAITING:
        pytest.skip("its code is not there yet (tests/docs/waiting.txt)")
    if not any(b.language in ("python", "console") for b in blocks_of(text_of(page))):
        return  # nothing to run, and a process costs a second
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("UNBROKEN_", "PYTEST_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_page", str(page)],
        cwd=ROOT, env=clean, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for line in ran.stderr.splitlines():
        if line.startswith("skipped "):
            warnings.warn(line, stacklevel=1)  # the rest of the page did run


@all_pages
def test_blocks_can_be_read(page: Path) -> None:
    for block in blocks_of(text_of(page)):
        if block.language == "python":
            compile_block(block, name_of(page))
        elif block.language == "console":
            assert commands_of(block.code)
        assert block.language, f"{name_of(page)}:{block.line}: say the block's language"


@written_pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in links_of(text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue  # other hosts are not the tests' business
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors_of(text_of(linked)), f"{name_of(page)} links to {target}"


@written_pages
def test_pages_promise_nothing_unwritten(page: Path) -> None:
    found = UNWANTED.search(text_of(page))
    assert found is None, f"{name_of(page)} says {found}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        for target in links_of(text_of(page)):
            linked = (page.parent / target.partition("#")[0]).resolve()
            if linked.suffix == ".md" and linked.exists() and linked not in seen:
                todo.append(linked)
    assert not [name_of(page) for page in pages() if page not in seen]


def test_waiting_pages_exist() -> None:
    assert not set(WAITING) - {name_of(page) for page in pages()}


@pytest.mark.parametrize(("command", "test"), ELSEWHERE.items(), ids=list(ELSEWHERE))
def test_what_is_covered_elsewhere_is(command: str, test: str) -> None:
    path, _, function = test.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    shown = [
        shown_command
        for page in pages()
        for block in blocks_of(text_of(page))
        if block.language == "console"
        for shown_command, _ in commands_of(block.code)
    ]
    assert command in shown, "no page shows this command any more"
