from __future__ import annotations

import ast
import json
from importlib.metadata import version

import pytest

from tests.cli.conftest import Command
from unbroken.api.diagnosis import diagnose


def test_it_shows_the_line_for_each_sdk(unbroken: Command) -> None:
    ran = unbroken("doctor")
    assert f"openai {version('openai')}  on httpx2" in ran.text
    assert "openai.AsyncOpenAI(http_client=unbroken.async_http_client())" in ran.text
    assert "mode heal" in ran.text
    assert "claude-opus-5" in ran.text


def test_json_is_one_line_and_holds_everything(unbroken: Command) -> None:
    ran = unbroken("doctor", "--json")
    assert ran.out.count(b"\n") == 1
    found = json.loads(ran.out)
    assert {sdk["name"] for sdk in found["sdks"]} >= {"openai", "anthropic", "google-genai"}
    assert found["packages"][0] == {"name": "httpx2", "version": version("httpx2")}


def test_every_line_is_python() -> None:
    for sdk in diagnose().sdks:
        for line in (sdk.line, sdk.async_line):
            ast.parse(line)
            assert "unbroken." in line
            assert ('library="httpx"' in line) == (sdk.library == "httpx" and "wrap(" not in line)


@pytest.mark.parametrize(
    ("dialect", "model", "within"),
    [
        ("anthropic-messages", "claude-sonnet-4-5", ["prefill", "user-turn"]),
        ("anthropic-messages", "claude-opus-5", ["user-turn"]),
        ("openai-chat", "gpt-5", ["user-turn"]),
    ],
)
def test_it_says_what_a_model_can_do(
    unbroken: Command, dialect: str, model: str, within: list[str]
) -> None:
    ran = unbroken("doctor", "--dialect", dialect, "--model", model, "--json")
    (ways,) = json.loads(ran.out)["models"]
    assert ways["within"] == within
    assert ways["before"][0] == "retry"
    assert "replay" in ways["closed"]
    shown = unbroken("doctor", "--dialect", dialect, "--model", model).text
    assert ways["closed"]["replay"] in shown.replace("\n", " ")


def test_names_and_passwords_of_proxies_are_not_shown(unbroken: Command) -> None:
    env = {"HTTPS_PROXY": "http://me:secret@proxy.example:3128", "OPENAI_API_KEY": "sk-secret"}
    for arguments in (("doctor",), ("doctor", "--json")):
        ran = unbroken(*arguments, env=env)
        assert "proxy.example:3128" in ran.text
        assert "secret" not in ran.text + ran.error
        assert "me:" not in ran.text


def test_what_needs_mending_is_said_and_counted(unbroken: Command) -> None:
    ran = unbroken("doctor", env={"UNBROKEN_MODE": "haul", "UNBROKEN_MODUS": "1"})
    assert ran.code == 1
    assert "UNBROKEN_MODE is 'haul', which is no mode" in ran.text
    assert "nothing reads the variable UNBROKEN_MODUS" in ran.text
    assert unbroken("doctor").code == 0


def test_a_mode_from_the_environment_is_pointed_out(unbroken: Command) -> None:
    ran = unbroken("doctor", env={"UNBROKEN_MODE": "observe"})
    assert ran.code == 0
    assert "UNBROKEN_MODE=observe overrides the mode in the code" in ran.text


def test_unknown_dialect_is_one_line(unbroken: Command) -> None:
    ran = unbroken("doctor", "--dialect", "klingon", "--model", "k")
    assert ran.code == 2
    assert "no dialect is called 'klingon'" in ran.error_line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-url", "nonsense", "--model", "m"], "'nonsense' is no address"),
        (["--base-url", "nonsense"], "'nonsense' is no address"),
        (["--base-url", "ftp://x/", "--model", "m"], "is no address"),
        (["--base-url", "http://127.0.0.1:9/v1"], "give it too (--model NAME)"),
        (["--dialect", "gemini"], "a dialect but no model: give it too (--model NAME)"),
    ],
)
def test_half_a_question_is_refused(unbroken: Command, arguments: list[str], said: str) -> None:
    ran = unbroken("doctor", *arguments)
    assert ran.code == 2
    assert said in ran.error_line


def test_variables_of_other_commands_are_no_question(unbroken: Command) -> None:
    env = {"UNBROKEN_BASE_URL": "http://127.0.0.1:9/v1", "UNBROKEN_DIALECT": "gemini"}
    assert unbroken("doctor", env=env).code == 0


@pytest.mark.parametrize(
    ("model", "more", "dialect"),
    [
        ("claude-opus-5", (), "anthropic-messages"),
        ("gemini-2.5-flash", (), "gemini"),
        ("gpt-5", (), "openai-chat"),
        ("claude-opus-5", ("--base-url", "http://127.0.0.1:9/v1"), "openai-chat"),
        ("claude-opus-5", ("--dialect", "openai-chat"), "openai-chat"),
    ],
)
def test_a_vendors_model_speaks_its_dialect(
    unbroken: Command, model: str, more: tuple[str, ...], dialect: str
) -> None:
    (ways,) = json.loads(unbroken("doctor", "--json", "-m", model, *more).out)["models"]
    assert ways["dialect"] == dialect


def test_it_says_which_keys_are_set_and_why_rungs_are_closed(unbroken: Command) -> None:
    ran = unbroken("doctor", "-m", "gpt-5", env={"GEMINI_API_KEY": "a-secret"})
    assert "OPENAI_API_KEY no, ANTHROPIC_API_KEY no, GEMINI_API_KEY yes" in ran.text
    assert "a-secret" not in ran.text + ran.error
    assert "closed in mid-text:" in ran.text
