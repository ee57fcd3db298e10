"""The command line's frame: version, help, colours."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tests.cli.conftest import Command

COMMANDS = ["demo", "ask", "check", "decode"]


def test_version(unbroken: Command) -> None:
    assert unbroken("--version").text == f"unbroken {version('unbroken')}\n"


def test_without_a_command_the_help_is_shown(unbroken: Command) -> None:
    ran = unbroken()
    assert ran.code == 2
    assert all(command in ran.text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_an_example(unbroken: Command, command: str) -> None:
    ran = unbroken(command, "--help")
    assert ran.code == 0
    assert "Example" in ran.text
    assert f"unbroken {command}" in ran.text.partition("Example")[2]
    options = ran.text.partition("Options")[2]
    for line in options.splitlines():
        if " --" in line and "--help" not in line:
            assert "UNBROKEN_" in options[options.index(line) :], line


def test_wrong_command_is_one_line(unbroken: Command) -> None:
    ran = unbroken("mend")
    assert ran.code == 2
    assert "mend" in ran.error_line


@pytest.mark.parametrize(
    ("arguments", "env", "coloured"),
    [
        ([], {"FORCE_COLOR": "1"}, True),
        (["--no-color"], {"FORCE_COLOR": "1"}, False),
        ([], {"UNBROKEN_NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ([], {}, False),
    ],
)
def test_colours(
    unbroken: Command, arguments: list[str], env: dict[str, str], coloured: bool
) -> None:
    ran = unbroken(*arguments, "check", "-", stdin=b"data: x\n\n", env=env)
    assert ("\x1b[" in ran.text) is coloured
