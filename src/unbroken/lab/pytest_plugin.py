"""The lab as a pytest plugin: bad streams for the tests of any client.

    def test_my_chatbot(llm_fault):
        fault = llm_fault("cut@0.5")            # the client's base URL is set by monkeypatch
        fault.assert_survives(lambda: answer("Hello", model=fault.model))

    @pytest.mark.llm_faults("core")             # the same once for every scenario of a suite
    def test_my_chatbot_in_all_weathers(llm_fault):
        fault = llm_fault()
        fault.assert_survives(lambda: answer("Hello", model=fault.model))

pytest loads this module in every run of everybody who has Unbroken installed, so it imports
nothing of the lab until a test asks for it. docs/how-to/test-your-chatbot.md shows the whole way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from unbroken.lab.score.suite import Scenario
    from unbroken.lab.testing import Fault, Lab

__all__ = ["llm_fault", "llm_lab"]

_MARKER = (
    "llm_faults(suite, only=(), dialect=None, say='text', seed=0, undetectable=False): run the"
    " test once per scenario of a suite: 'core', 'full', a list of plans such as"
    " ['cut@0.5', 'stall'], or a TOML file beside the test; in the test, llm_fault() is the"
    " scenario."
)
_SCENARIO = "_llm_scenario"
_ARGUMENTS = ("suite", "only", "dialect", "say", "seed", "undetectable")
_dealt_out = pytest.StashKey["list[Fault]"]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the marker once per scenario."""
    marker = metafunc.definition.get_closest_marker("llm_faults")
    if marker is None:
        return
    if _SCENARIO not in metafunc.fixturenames:
        pytest.fail(
            f"{metafunc.definition.nodeid}: a test with llm_faults must use llm_fault: take it as"
            " an argument, and call llm_fault() for the scenario",
            pytrace=False,
        )
    why = _bad_arguments(marker)
    if why:
        pytest.fail(f"{metafunc.definition.nodeid}: llm_faults {why}", pytrace=False)
    from unbroken.lab.marked import scenarios_of

    try:
        scenarios = scenarios_of(
            *marker.args, beside=metafunc.definition.path.parent, **marker.kwargs
        )
    except (ValueError, TypeError) as error:
        pytest.fail(f"{metafunc.definition.nodeid}: llm_faults: {error}", pytrace=False)
    metafunc.parametrize(_SCENARIO, scenarios, ids=[one.name for one in scenarios], indirect=True)


def _bad_arguments(marker: pytest.Mark) -> str:
    """Return what is wrong with a marker's arguments, as names and kinds go; "" if nothing is."""
    takes = f"it takes {', '.join(_ARGUMENTS)}"
    unknown = [name for name in marker.kwargs if name not in _ARGUMENTS]
    if unknown:
        return f"has no argument {unknown[0]!r}; {takes}"
    if len(marker.args) + ("suite" in marker.kwargs) > 1:
        return f"takes one suite, and the rest by name; {takes}"
    suite = _suite_of(marker)
    plans = isinstance(suite, (list, tuple)) and all(isinstance(plan, str) for plan in suite)
    if not plans and not _is_suite(suite):
        return f"has no suite {suite!r}: give a suite's name, a TOML file, or plans in a list"
    return ""


def _suite_of(marker: pytest.Mark) -> object:
    return marker.args[0] if marker.args else marker.kwargs.get("suite", "core")


def _is_suite(suite: object) -> bool:
    return isinstance(suite, (str, Path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the timeline of a test that failed by itself, not in a helper that showed it."""
    report = yield
    if report.failed and call.when == "call":
        for fault in item.stash.get(_dealt_out, ()):
            if not fault.shown:
                report.sections.append(("what the LLM lab did", fault.timeline()))
    return report


@pytest.fixture(name=_SCENARIO)
def _llm_scenario(request: pytest.FixtureRequest) -> Scenario | None:
    """What the marker chose; None without it."""
    return getattr(request, "param", None)


@pytest.fixture
def llm_lab() -> Iterator[Lab]:
    """A mock server of every provider, on a free port, started when it is first asked for.

    Has `url`, `openai_url`, `environment()`, `session(plan, ...)`, `model` and `server`; see
    `unbroken.lab.testing.Lab`.
    """
    from unbroken.lab.testing import Lab

    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture
def llm_fault(
    llm_lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    _llm_scenario: Scenario | None,
) -> Callable[..., Fault]:
    """Break the next stream: `llm_fault("cut@0.5", tokens=100)` returns the `Fault`.

    It sets the variables in which SDKs look for their provider, so a client that the test makes
    after it talks to the lab. Without a plan it is the scenario that the marker `llm_faults`
    chose.
    """
    from unbroken.lab.testing import Fault

    marker = request.node.get_closest_marker("llm_faults")
    # A suite is for all dialects, and what cannot be in the client's is left out of it; a plan
    # that somebody wrote for this test is a mistake if it cannot be.
    by_suite = marker is not None and _is_suite(_suite_of(marker))
    dealt: list[Fault] = request.node.stash.setdefault(_dealt_out, [])

    def llm_fault(plan: str | None = None, **settings: Any) -> Fault:
        if plan is None and _llm_scenario is None:
            msg = "llm_fault() without a plan needs the marker: @pytest.mark.llm_faults('core')"
            raise TypeError(msg)
        scenario = _llm_scenario if plan is None else None
        fault = Fault(
            llm_lab,
            plan or "",
            scenario=scenario,
            name=request.node.nodeid,
            refused=pytest.skip if by_suite and scenario is not None else None,
            **settings,
        )
        for name, value in fault.environment().items():
            monkeypatch.setenv(name, value)
        for name in ("NO_PROXY", "no_proxy"):  # a proxy of the company does not reach loopback
            others = os.environ.get(name)
            monkeypatch.setenv(name, f"{others},127.0.0.1" if others else "127.0.0.1")
        dealt.append(fault)
        return fault

    return llm_fault
