"""The reference page and the schema are true."""

from __future__ import annotations

import base64
import json

import pytest

from scripts.config_table import PAGE, SCHEMA, page, schema_text
from tests.docs.markdown import blocks_of
from unbroken.gateway.config import load, read, schema
from unbroken.gateway.config.known import KNOWN, routes_of
from unbroken.gateway.config.load import variables
from unbroken.gateway.config.settings import GatewayConfig
from unbroken.gateway.routes import Routes

TEXT = PAGE.read_text("utf-8")
BLOCKS = [each for each in blocks_of(TEXT) if each.language == "toml"]


def test_the_tables_are_the_settings():
    assert page(TEXT) == TEXT, "run python scripts/config_table.py"


def test_the_schema_file_is_the_schema():
    assert SCHEMA.read_text("utf-8") == schema_text(), "run python scripts/config_table.py"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda each: f"line {each.line}")
def test_every_example_loads(block, tmp_path):
    secrets = tmp_path / "run"
    secrets.mkdir()
    for name in ("openai-key", "chat-team-key", "resume-secret", "redis-password", "journal-key"):
        (secrets / name).write_text(base64.b64encode(name.encode().ljust(32)).decode())
        (secrets / name).chmod(0o600)
    file = tmp_path / "gateway.toml"
    file.write_text(block.code.replace("/run/secrets/", "run/"), "utf-8")
    env = {f"{name}_API_KEY": "sk-1" for name in ("OPENAI", "ANTHROPIC", "GROQ")}
    loaded = read(file, env)
    assert loaded.problems == ()
    assert Routes(loaded.config).choose("POST", "/v1/chat/completions", None) is not None


def test_there_are_three_whole_examples():
    assert len(BLOCKS) == 3


def test_the_built_in_routes_are_those_of_the_page():
    for route in routes_of(GatewayConfig()):
        [row] = [line for line in TEXT.splitlines() if f"`{route.path}`" in line and "http" in line]
        assert f"`{route.upstream}`" in row
        assert f"`{KNOWN[route.upstream]}`" in row


def test_every_variable_is_on_the_page():
    for name in variables():
        assert name in TEXT or name.removesuffix("_FILE") in TEXT


def test_the_schema_knows_every_setting_and_refuses_others():
    made = schema()
    for name, part in made["$defs"].items():
        if name not in ("Secret", "Value") and "properties" in part:
            assert part["additionalProperties"] is False, name
    text = json.dumps(made)
    assert '"null"' not in text
    assert '"none"' in text


def test_the_schema_takes_the_examples_and_not_what_is_refused():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    import tomllib

    checker = jsonschema.Draft202012Validator(schema())
    for block in BLOCKS:
        checker.validate(tomllib.loads(block.code))
    for wrong in ({"listn": "x"}, {"workers": 0}, {"resume": {"secret": "written out"}},
                  {"routes": [{"path": "*"}]}):  # fmt: skip
        assert not checker.is_valid(wrong), wrong


def test_no_file_is_the_same_as_an_empty_one(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    assert load(tmp_path / "empty.toml", {}) == load(None, {}) == GatewayConfig()
