"""The reference pages say what the code says."""

from __future__ import annotations

import re
from typing import get_args

import unbroken
from scripts import fault_table, knowledge_table, ladder_table, option_table
from tests.docs.markdown import ROOT
from unbroken.cli.app import app
from unbroken.core import events, outcome, recording
from unbroken.core.faults import Fault, FaultKind

REFERENCE = ROOT / "docs" / "reference"
HOW_TO = ROOT / "docs" / "how-to"


def text_of(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def code_in(text: str) -> set[str]:
    """Names that stand as code in prose and tables, and those that a call begins with."""
    return {re.split(r"\W", word)[0] for word in re.findall(r"`([^`\n]+)`", text)}


def test_options_page_is_up_to_date() -> None:
    assert option_table.PAGE.read_text("utf-8") == option_table.page(), "run `make docs`"


def test_ladder_page_is_up_to_date() -> None:
    up_to_date = ladder_table.PAGE.read_text("utf-8") == ladder_table.page()
    assert up_to_date, "run `python scripts/ladder_table.py`"


def test_lab_page_is_up_to_date() -> None:
    assert fault_table.PAGE.read_text("utf-8") == fault_table.page(), "run `make docs`"


def test_knowledge_page_and_schema_are_up_to_date() -> None:
    for path, text in (
        (knowledge_table.PAGE, knowledge_table.page()),
        (knowledge_table.SCHEMA, knowledge_table.schema_text()),
    ):
        assert path.read_text("utf-8") == text, "run `make docs`"


def test_faults_page_lists_every_kind_with_its_severity() -> None:
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", text_of("faults.md"), re.MULTILINE))
    assert listed == {kind.value: Fault.of(kind, "").severity for kind in FaultKind}


def test_api_page_has_every_public_name() -> None:
    text = text_of("api.md")
    tree = re.findall(r"^(?: \+- )?(\w+Error)  ", text, re.MULTILINE)
    named = code_in(text) | set(tree) | {"events"}
    assert not set(unbroken.__all__) - named
    assert (
        not set(events.__all__)
        - named
        - {"Block", "BlockKind", "Event", "Meaning", "Joined", "TextRun", "is_content"}
    )


def test_outcome_page_has_every_field_and_status() -> None:
    text = text_of("outcome.md")
    for status in get_args(outcome.Status):
        assert f"| `{status}` |" in text
    parts = (
        outcome.Outcome, outcome.AttemptRecord, outcome.Provenance, outcome.Skipped,
        outcome.ToolCallResult, Fault,
    )  # fmt: skip
    fields = {name for part in parts for name in part.__struct_fields__}
    fields |= {n for n, v in vars(outcome.Outcome).items() if isinstance(v, property)}
    assert not fields - code_in(text)


def test_commands_page_has_every_command() -> None:
    words = re.findall(r"unbroken ([a-z]+)(?: ([a-z]+))?", (HOW_TO / "cli.md").read_text("utf-8"))
    shown = {word for pair in words for word in pair}
    shown |= code_in((HOW_TO / "cli.md").read_text("utf-8"))
    commands = [command.name for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.name
        assert group.typer_instance
        commands += [group.name, *(c.name for c in group.typer_instance.registered_commands)]
    assert not set(commands) - shown


def test_recording_page_has_every_line_and_field() -> None:
    text = text_of("recording-format.md")
    assert f"version {recording.VERSION}." in text
    parts = dict(re.findall(r"^### `([a-z]+)`\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL))
    lines = {line.__struct_config__.tag: line for line in get_args(recording.Line)}
    assert set(parts) == set(lines)
    shared = {*recording.Sent.__struct_fields__}
    assert not shared - code_in(text.partition("## Lines")[0])
    for tag, line in lines.items():
        assert not set(line.__struct_fields__) - shared - code_in(parts[tag]), tag
        if issubclass(line, recording.WithBytes):
            assert "ytes" in parts[tag], tag
    assert not set(recording.FaultSeen.__struct_fields__) - code_in(parts["outcome"])
    words = {*get_args(recording.BodyEndHow), *get_args(recording.Contents)}
    assert not {word for word in words if f"`{word}`" not in text}
