"""Reading the configuration: what is taken, what is refused, and how that is told."""

from __future__ import annotations

import base64
import tomllib
from pathlib import Path

import pytest

from unbroken.gateway.config import ConfigError, Secret, load, read

CASES = tomllib.loads(Path(__file__).with_name("problems.toml").read_text("utf-8"))["case"]
KEY = base64.b64encode(bytes(range(32))).decode()


def written(folder, text, mode=0o600):
    file = folder / "gateway.toml"
    file.write_text(text, "utf-8")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_what_is_wrong_is_told_with_its_place_and_remedy(case, tmp_path):
    file = written(tmp_path, case["toml"])
    with pytest.raises(ConfigError) as raised:
        load(file, {"SHORT": "deadbeef"}, {})
    told = [str(each) for each in raised.value.problems if each.severity == "error"]
    assert len(told) == len(case["says"]), told
    for line, words in zip(sorted(told), sorted_like(told, case["says"]), strict=True):
        for word in words:
            assert word in line
    assert "hunter2" not in str(raised.value)
    assert "sk-live" not in str(raised.value)


def sorted_like(told, says):
    """Return the expectations in the order of the lines that their first words are in."""
    found = []
    for line in sorted(told):
        [words] = [each for each in says if each[0] in line]
        found.append(words)
    return found


def test_nothing_at_all_is_a_configuration():
    config = load(None, {}, {})
    assert config.listen == "127.0.0.1:8411"
    assert config.address == ("127.0.0.1", 8411)


def test_flags_come_before_environment_before_file(tmp_path):
    file = written(tmp_path, 'listen = "127.0.0.1:1"\ndrain_s = 1\n[limits]\nhead_s = 1\n')
    env = {"UNBROKEN_GATEWAY_LISTEN": "127.0.0.1:2", "UNBROKEN_GATEWAY_DRAIN_S": "2"}
    config = load(file, env, {"listen": "127.0.0.1:3", "workers": None})
    assert (config.listen, config.drain_s, config.limits.head_s) == ("127.0.0.1:3", 2.0, 1.0)


def test_the_environment_gives_each_kind_of_value(tmp_path):
    secret = tmp_path / "key"
    secret.write_text(f"{KEY}\n")
    secret.chmod(0o600)
    env = {
        "UNBROKEN_GATEWAY_WORKERS": "4",
        "UNBROKEN_GATEWAY_HOSTS": "a.example.com, b.example.com",
        "UNBROKEN_GATEWAY_ALLOW_ANONYMOUS": "yes",
        "UNBROKEN_GATEWAY_RESUME_ON_CONFLICT": "409",
        "UNBROKEN_GATEWAY_RESUME_SECRET": "x" * 32,
        "UNBROKEN_GATEWAY_JOURNAL_KIND": "redis",
        "UNBROKEN_GATEWAY_JOURNAL_URL": "redis://me:p%40ss@redis:6379/1",
        "UNBROKEN_GATEWAY_JOURNAL_KEY_FILE": str(secret),
        "UNBROKEN_GATEWAY_LIMITS_PER_CALLER_STREAMS": "9",
        "UNBROKEN_GATEWAY_LIMITS_PER_CALLER_REQUESTS_PER_MINUTE": "none",
    }
    config = load(None, env)
    assert config.workers == 4
    assert config.hosts == ("a.example.com", "b.example.com")
    assert config.allow_anonymous is True
    assert config.resume.on_conflict == "409"
    assert config.resume.secret == Secret("x" * 32)
    assert config.journal.url == "redis://me@redis:6379/1"
    assert config.journal.password == Secret("p@ss")
    assert config.journal.key == Secret(KEY)
    assert config.limits.per_caller.streams == 9
    assert config.limits.per_caller.requests_per_minute is None


def test_a_wrong_variable_is_named():
    with pytest.raises(ConfigError, match="environment variable UNBROKEN_GATEWAY_WORKERS: workers"):
        load(None, {"UNBROKEN_GATEWAY_WORKERS": "many"})
    with pytest.raises(ConfigError, match=r"flag --listen: listen: 0\.0\.0\.0 is reached"):
        load(None, {}, {"listen": "0.0.0.0:80"})


def test_an_unknown_variable_is_a_warning_but_for_those_of_kubernetes():
    env = {
        "UNBROKEN_GATEWAY_LISTEN_": "x",
        "UNBROKEN_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "UNBROKEN_GATEWAY_PORT": "tcp://10.0.0.1:8411",
        "UNBROKEN_GATEWAY_PORT_8411_TCP_ADDR": "10.0.0.1",
    }
    loaded = read(None, env)
    assert loaded.config is not None
    [problem] = loaded.problems
    assert problem.severity == "warning"
    assert "did you mean 'UNBROKEN_GATEWAY_LISTEN'?" in str(problem)


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_one_url_takes_everything_and_no_key_of_the_file(by, tmp_path):
    file = written(
        tmp_path, '[upstreams.openai]\nkey = { env = "K" }\n[[routes]]\nupstream = "openai"'
    )
    url = "http://127.0.0.1:9000/v1"
    env = {"K": "secret", "UNBROKEN_GATEWAY_UPSTREAM": "" if by == "flag" else url}
    config = load(file, env, {"upstream": url if by == "flag" else None})
    [(name, upstream)] = config.upstreams.items()
    assert (name, upstream.url, upstream.key) == ("127.0.0.1", url, None)
    assert [(each.path, each.upstream) for each in config.routes] == [("*", "127.0.0.1")]
    env |= {"UNBROKEN_GATEWAY_UPSTREAM": url, "UNBROKEN_GATEWAY_UPSTREAM_KEY": "other"}
    assert load(None, env).upstreams[name].key == Secret("other")


def test_the_mode_of_the_environment_overrides_all(tmp_path):
    file = written(tmp_path, 'mode = "heal"\n[[routes]]\nupstream = "openai"\nmode = "raise"')
    config = load(file, {"UNBROKEN_MODE": "observe"})
    assert (config.mode, config.routes[0].mode) == ("observe", None)


def test_a_secret_in_a_file_is_found_beside_the_configuration(tmp_path):
    (tmp_path / "openai-key").write_text("sk-live-1\n")
    (tmp_path / "openai-key").chmod(0o600)
    file = written(tmp_path, '[upstreams.openai]\nkey = { file = "openai-key" }')
    loaded = read(file, {})
    assert loaded.problems == ()
    assert loaded.config.upstreams["openai"].key.reveal() == "sk-live-1"
    assert "sk-live-1" not in repr(loaded.config)


def test_a_secret_that_everybody_can_read_is_pointed_out(tmp_path):
    (tmp_path / "openai-key").write_text("sk-live-1\n")
    (tmp_path / "openai-key").chmod(0o644)
    file = written(tmp_path, '[upstreams.openai]\nkey = { file = "openai-key" }')
    loaded = read(file, {})
    assert loaded.config is not None
    [problem] = loaded.problems
    assert "can be read by every user" in str(problem)
    assert problem.line == 2


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (
            '[upstreams.a]\nurl = "http://llm.internal/v1"\nkey = { env = "K" }',
            "without encryption",
        ),
        (
            f'[[callers]]\nteam = "t"\nkey_sha256 = "{"0" * 64}"\n[upstreams.openai]',
            "keys of callers are not sent to it",
        ),
        ('[[routes]]\nupstream = "openai"\n[[routes]]\nupstream = "ollama"', "nothing reaches it"),
    ],
    ids=["plain http", "no key", "unreachable"],
)
def test_warnings_do_not_refuse(toml, says, tmp_path):
    loaded = read(written(tmp_path, toml), {"K": "key"})
    assert loaded.config is not None
    [problem] = loaded.problems
    assert problem.severity == "warning"
    assert says in str(problem)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", {})
