"""The vendors' own SDKs through the gateway: healed, or an exception; never a short text.

The call styles of every SDK meet the faults, several at once: the whole answer once and in order,
or an honest error with nothing wrong before it. The lab's oracle judges. One call style of a
dialect takes every fault, the others a share each; with UNBROKEN_EVERY_FAULT=1 all take all.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.drives import DRIVES, SECOND_ROW, Drive, run, spec_of
from tests.support.gateway import Serving, config_for, serving
from unbroken.lab.injectors.base import INJECTORS, possible
from unbroken.lab.plan import parse_plan
from unbroken.lab.testing import Fault, Lab

NODE_CLIENTS = Path(__file__).parents[2] / "compare" / "node"

SDKS = ("openai", "anthropic", "google-genai", "ollama", "cohere", "mistralai", "groq")
DRIVEN = [name for name, spec in (DRIVES | SECOND_ROW).items() if spec.sdk in SDKS]

HEALTHY = ["ok", "split.bytes", "crlf", "drip@2ms"]
SILENT = "ok;ttft=0.5;tps=4"
"""Silent before the first word and between all of them, but not for as long as the clocks allow."""

ONCE = [
    "cut@0t", "cut@16t", "cut.fin@16t", "cut.rst@16t", "cut.close@16t", "cut.half-line@16t",
    "cut.half-utf8@16t", "stall@12t", "stall.ping@12t", "stall.comment@12t", "stall@0t",
    "error@12t", "error@0t", "empty", "empty.start", "http.503", "http.500", "page.html",
    "page.json", "page.disguised", "corrupt-json@12t", "missing.both", "missing.finish",
    "oversized@12t@x9M", "half-head", "refuse", "gzip.cut@12t", "bad-framing@12t",
    "slow-head@1500ms",
]  # fmt: skip
"""What breaks one attempt."""

ALWAYS = [
    "cut@16t*", "cut.rst@16t*", "cut.fin@16t*", "stall@12t*", "error@12t*", "empty*", "http.503*",
    "page.html*", "corrupt-json@12t*", "missing.both*", "refuse*",
]  # fmt: skip
"""What breaks every attempt; and the model goes on from nowhere, so that nothing can be healed."""

_CLOCKS = {
    "first_event_s": 1.0,
    "silence_s": 0.6,
    "progress_text_s": 0.6,
    "progress_slow_s": 1.0,
    "notice_s": 0.3,
}
_HEARTBEAT_S = 0.1
"""Far more often than anybody would have it: every stall is filled with them."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def gateway(lab: Lab) -> Iterator[Serving]:
    options = {"clocks": _CLOCKS, "max_recovery_s": 15.0}
    with serving(config_for(lab.url, options=options, heartbeat_s=_HEARTBEAT_S)) as running:
        yield running


def _plays(plan: str, dialect: str) -> bool:
    """Whether a fault can be in a dialect."""
    for attempt in parse_plan(plan).attempts:
        for spec in attempt:
            known = possible(INJECTORS[spec.name], dialect)
            if not known or (spec.how and spec.how not in known):
                return False
    return True


def _share(plans: list[str], name: str, sharing: list[str]) -> list[str]:
    """Return all plans for the first of those who share, and every sixth one for the others."""
    place = sharing.index(name)
    if not place or os.environ.get("UNBROKEN_EVERY_FAULT"):
        return plans
    return plans[place % 6 :: 6]


def _all_at_once(plans: list[str], judge: Callable[[str], str]) -> None:
    """Judge all plans, and fail with what is wrong with each."""
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        told = dict(zip(plans, pool.map(judge, plans), strict=True))
    wrong = {plan: said for plan, said in told.items() if said}
    assert not wrong, "\n\n".join(f"{plan}: {said}" for plan, said in wrong.items())


def _ask(gateway: Serving, fault: Fault, name: str) -> Drive:
    model = f"models/{fault.model}" if spec_of(name).dialect == "gemini" else fault.model
    more = {"model": model}
    return run(name, gateway.url, request=more, timeout_s=20.0)


def _judged(fault: Fault, text: str, error: BaseException | None, *, whole: bool) -> str:
    try:
        if error is None:
            fault.assert_whole(text)
        elif whole:
            return f"an error, where nothing is wrong: {type(error).__name__}: {error}"
        else:
            fault.assert_honest(error, said=text)
    except AssertionError as wrong:
        return str(wrong)
    return ""


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize("name", DRIVEN)
def test_a_healthy_answer_is_whole_for_every_sdk(lab: Lab, gateway: Serving, name: str) -> None:
    spec = spec_of(name)

    def judge(plan: str) -> str:
        fault = Fault(lab, plan, tokens=40)
        drive = _ask(gateway, fault, name)
        if not drive.error and not drive.finished:
            return f"no finish: {drive.finish}"
        if drive.final_text is not None and drive.final_text != drive.text:
            return "the SDK's own collected text is another one"
        return _judged(fault, drive.text, drive.error, whole=True)

    _all_at_once([plan for plan in HEALTHY if _plays(plan, spec.dialect)], judge)


@pytest.mark.parametrize("name", DRIVEN)
def test_no_fault_makes_a_short_text_of_it(lab: Lab, gateway: Serving, name: str) -> None:
    dialect = spec_of(name).dialect
    plans = [plan for plan in ONCE + ALWAYS if _plays(plan, dialect)]
    sharing = [other for other in DRIVEN if spec_of(other).dialect == dialect]

    def judge(plan: str) -> str:
        unhealable = {"honours": ""} if plan.endswith("*") else {}
        fault = Fault(lab, plan, tokens=60, **unhealable)
        drive = _ask(gateway, fault, name)
        if unhealable and drive.error is None:
            return f"no exception; the text has {len(drive.text)} characters, odd: {drive.odd}"
        return _judged(fault, drive.text, drive.error, whole=False)

    _all_at_once(_share(plans, name, sharing), judge)


def test_heartbeats_break_no_sdk(lab: Lab, gateway: Serving) -> None:
    def judge(name: str) -> str:
        fault = Fault(lab, SILENT, tokens=5)
        drive = _ask(gateway, fault, name)
        return _judged(fault, drive.text, drive.error, whole=True)

    _all_at_once(DRIVEN, judge)


# ---------------------------------------------------------------- Node

NODE = [
    ("openai_chat.mjs", "openai", "openai-chat"),
    ("openai_responses.mjs", "openai", "openai-responses"),
    ("anthropic.mjs", "@anthropic-ai/sdk", "anthropic-messages"),
    ("ai_sdk.mjs chat", "ai", "openai-chat"),
    ("ai_sdk.mjs responses", "ai", "openai-responses"),
    ("ai_sdk.mjs anthropic", "ai", "anthropic-messages"),
]
NODE_PLANS = [
    SILENT, "cut@16t", "cut.rst@16t", "stall@12t", "error@12t", "http.503", "page.html",
    "cut@16t*", "cut.rst@16t*", "error@12t*", "empty*",
]  # fmt: skip


def _node() -> str:
    """Return a Node that is new enough for the SDKs."""
    own = NODE_CLIENTS / "node_modules" / ".bin" / "node"
    found = str(own) if own.exists() else shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found


@pytest.mark.parametrize(("driver", "package", "dialect"), NODE, ids=[row[0] for row in NODE])
@pytest.mark.parametrize("variant", ["--plain", "--configured"])
def test_no_fault_makes_a_short_text_of_it_in_node(
    lab: Lab, gateway: Serving, driver: str, package: str, dialect: str, variant: str
) -> None:
    node = _node()
    if not (NODE_CLIENTS / "node_modules" / package).exists():
        pytest.skip(f"{package} is not installed: npm --prefix compare/node install")
    if driver.startswith("ai_sdk") and variant == "--plain":
        pytest.skip("by default ai writes an error of the stream to the console and ends")
    file, *kind = driver.split()

    def judge(plan: str) -> str:
        unhealable = {"honours": ""} if plan.endswith("*") else {}
        fault = Fault(lab, plan, tokens=5 if plan == SILENT else 60, **unhealable)
        environment = {
            **os.environ,
            **fault.environment(),
            "OPENAI_BASE_URL": f"{gateway.url}/v1",
            "ANTHROPIC_BASE_URL": gateway.url,
            "LAB_PATIENCE_S": "40",  # its own limits are beyond those of the gateway
        }
        command = [node, str(NODE_CLIENTS / "drivers" / file), *kind, variant]
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        error = RuntimeError(ran.stderr.strip().splitlines()[-1:]) if ran.returncode else None
        if unhealable and error is None:
            return f"exit code 0, and {len(ran.stdout)} characters"
        return _judged(fault, ran.stdout, error, whole=plan.startswith("ok"))

    plans = [plan for plan in NODE_PLANS if _plays(plan, dialect)]
    _all_at_once(plans if variant == "--configured" else plans[::2], judge)


def test_the_node_clients_are_those_of_the_comparison() -> None:
    wanted = json.loads((NODE_CLIENTS / "package.json").read_text("utf-8"))["dependencies"]
    assert {package for _, package, _ in NODE} <= wanted.keys()
