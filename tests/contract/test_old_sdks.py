"""The newest of each older line of the SDKs, in environments of their own: the same law.

They sit on httpx, and let what a body raises through as it is.
"""

import json

import pytest

from tests.support.environments import environment
from tests.support.faults import STORY, reply
from tests.support.faultserver import FaultServer

_OPENAI = (
    "openai-chat",
    "openai-chat-async",
    "openai-chat-helper",
    "openai-responses",
    "openai-responses-helper-async",
)
_ANTHROPIC = ("anthropic", "anthropic-async", "anthropic-helper")
_DRIVES = {"openai-1": _OPENAI, "openai-2": _OPENAI, "anthropic-0": _ANTHROPIC}
_FAULTS = (
    "ok",
    "cut_fin",
    "cut_rst",
    "cut_clean",
    "cut_midline",
    "no_done",
    "no_finish",
    "bad_json",
    "error_obj",
    "failed",
    "html200",
    "json200",
    "empty",
    "gzip_cut",
    "dup",
    "reorder",
    "missing",
    "cut_before",
    "http503",
)
_STALLS = ("stall", "ka_dead")


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("env", _DRIVES)
def test_every_fault(env, mode):
    here = environment(env)
    faults = _FAULTS if mode == "observe" else (*_FAULTS, *_STALLS)
    job = {"drives": _DRIVES[env], "faults": faults, "modes": [mode]}
    out = here.run("-m", "tests.contract.matrix", stdin=json.dumps(job), timeout_s=110)
    assert json.loads(out.splitlines()[-1]) == []


@pytest.mark.parametrize(
    ("env", "name", "fault", "caught"),
    [
        ("openai-1", "openai-chat", "cut_rst", "openai.APIConnectionError"),
        ("openai-2", "openai-chat-async", "cut_clean", "openai.APIConnectionError"),
        ("openai-2", "openai-responses", "stall", "openai.APITimeoutError"),
        ("anthropic-0", "anthropic", "cut_clean", "anthropic.APIConnectionError"),
        ("anthropic-0", "anthropic-helper-async", "stall", "anthropic.APITimeoutError"),
    ],
)
def test_what_is_raised_is_caught_by_the_sdks_own_class(env, name, fault, caught):
    dialect = {"anthropic": "anthropic-messages"}.get(env.partition("-")[0]) or (
        "openai-responses" if "responses" in name else "openai-chat"
    )
    here = environment(env)
    client = {"factory": "unbroken:http_client", "kwargs": {"library": here.library}}
    if name.endswith("async"):
        client["factory"] = "unbroken:async_http_client"
    with FaultServer(reply(fault, dialect)) as server:
        drive = here.drive(
            name,
            server.url,
            http_client=client,
            timeout_s=0.4,
            headers={"x-unbroken-mode": "raise"},
        )
    bases = drive["errors"][0]["bases"]
    assert caught in bases
    assert {"httpx.RemoteProtocolError", "httpx.ReadTimeout"} & set(bases)
    assert "unbroken.StreamingError" in bases
    assert drive["text"] == "".join(STORY.tokens[:4])


# ---------------------------------------------------------------- the oldest that can be had

_OLDEST = {
    # openai 1.3 knows neither `.stream()` nor Responses.
    "openai-oldest": ("openai-chat", "openai-chat-async"),
    "httpx-oldest": ("openai-chat", "openai-chat-async"),
}


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
@pytest.mark.parametrize("env", _OLDEST)
def test_every_fault_under_the_oldest(env, mode):
    here = environment(env)
    faults = _FAULTS if mode == "observe" else (*_FAULTS, *_STALLS)
    job = {"drives": _OLDEST[env], "faults": faults, "modes": [mode]}
    out = here.run("-m", "tests.contract.matrix", stdin=json.dumps(job), timeout_s=110)
    assert json.loads(out.splitlines()[-1]) == []


def test_the_oldest_are_what_they_are_called():
    assert environment("openai-oldest").version("httpx") == "0.25.1"
    bare = environment("httpx-oldest")
    assert bare.version("httpx").startswith("0.24.")
    assert bare.version("openai") == "1.3.0"
