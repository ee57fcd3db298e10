"""The pytest plugin, by running real small test files with it, alone and under xdist."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

# A chatbot of somebody: it knows nothing of the lab.
CHATBOT = """
import openai

def answer(question, model="gpt-5", **client):
    bot = openai.OpenAI(max_retries=0, **client)
    stream = bot.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], stream=True)
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
"""


@pytest.fixture(autouse=True)
def _as_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI pytest's summary holds whole messages, and so a timeline twice."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(chatbot=CHATBOT)
    pytester.syspathinsert()
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers", *arguments)


def test_importing_it_loads_nothing_of_the_lab_and_no_http_library() -> None:
    code = (
        "import sys, json, pytest; before = set(sys.modules);"
        "import unbroken.lab.pytest_plugin; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(ran.stdout)
    ours = {name for name in loaded if name.startswith("unbroken.lab")}
    assert ours == {"unbroken.lab", "unbroken.lab.pytest_plugin"}
    others = {"h11", "httpx", "httpx2", "aiohttp", "openai", "asyncio", "unbroken.relay"}
    assert not others & set(loaded)


def test_a_run_that_uses_no_fixture_loads_nothing(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import sys
        def test_nothing():
            assert "unbroken.lab.pytest_plugin" in sys.modules  # by its entry point
            assert "unbroken.lab.server" not in sys.modules
            assert "unbroken.lab.testing" not in sys.modules
    """)
    run(project).assert_outcomes(passed=1)


def test_the_marker_is_registered(project: pytest.Pytester) -> None:
    run(project, "--markers").stdout.fnmatch_lines(["@pytest.mark.llm_faults(suite*"])


def test_llm_lab(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import urllib.request
        from chatbot import answer

        def test_whole(llm_lab):
            assert llm_lab.openai_url == llm_lab.url + "/v1"
            text = answer("Hi", llm_lab.model, base_url=llm_lab.openai_url, api_key="k")
            assert text.endswith("199.")

        def test_session(llm_lab):
            session = llm_lab.session("cut@0.5", tokens=40)
            text = answer("Hi", session.model, base_url=llm_lab.openai_url, api_key="k")
            assert session.numbered.tokens == 40
            assert session.numbered.text.startswith(text) and text != session.numbered.text
            assert session.attempts[0].ended == "clean"
            assert llm_lab.environment(session)["LAB_MODEL"] == session.model
            assert llm_lab.environment()["OPENAI_BASE_URL"] == llm_lab.openai_url

        def test_not_started_before_it_is_asked(llm_lab):
            assert llm_lab._server is None
    """)
    run(project).assert_outcomes(passed=3)


def test_llm_fault_sets_the_variables_and_takes_them_back(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import os
        import unbroken
        from chatbot import answer

        def test_a_plain_client_loses(llm_fault):
            fault = llm_fault("cut@0.5", tokens=50, seed=4)
            assert os.environ["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
            assert os.environ["LAB_MODEL"] == fault.model
            text = answer("Hi", fault.model)
            assert fault.expected.startswith(text)
            assert fault.struck and len(fault.attempts) == 1
            report = fault.report(text)
            assert (report.verdict, report.laundered, report.tokens) == ("truncated", True, 50)

        def test_protected(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_whole(answer("Hi", fault.model, http_client=unbroken.http_client()))
            assert len(fault.attempts) == 2

        def test_an_error_is_honest(llm_fault):
            fault = llm_fault("cut.rst@0.5*")
            try:
                answer("Hi", fault.model)
            except Exception as error:
                fault.assert_honest(error, said=fault.expected[:100])

        def test_survives(llm_fault):
            fault = llm_fault("cut.rst@0.5*")
            assert fault.assert_survives(lambda: answer("Hi", fault.model)) is None
            whole = llm_fault("")
            assert whole.assert_survives(lambda: answer("Hi", whole.model)) == whole.expected

        def test_gone():
            assert "OPENAI_BASE_URL" not in os.environ
    """)
    run(project).assert_outcomes(passed=5)


def test_a_failure_shows_the_timeline(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from chatbot import answer

        def test_helper(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_whole(answer("Hi", fault.model))

        def test_bare_assert(llm_fault):
            fault = llm_fault("cut@0.25")
            assert answer("Hi", fault.model) == fault.expected

        def test_corrupted_before_an_error(llm_fault):
            fault = llm_fault("cut@0.75")
            answer("Hi", fault.model)
            fault.assert_honest(ValueError("no"), said="something else")

        def test_hung(llm_fault):
            import time
            llm_fault("ok").assert_survives(lambda: time.sleep(30), patience_s=0.1)

        def test_crashed(llm_fault):
            llm_fault("ok").assert_survives(lambda: None.text)
    """)
    ran = run(project)
    ran.assert_outcomes(failed=5)
    shown = ran.stdout.str()
    assert "the answer is not whole" in shown
    ran.stdout.fnmatch_lines([
        "*plan      cut@0.5; 200 tokens, seed 0",
        "*request 1    POST /v1/chat/completions asks for the whole answer, streamed",
        "*request 1    struck by cut*",
        "*request 1    ended early, as if it were done; * content frames and * bytes sent",
        "*application  ended with * characters of text",
        "*oracle    truncated: ends*after * of 200 tokens; taken for a success",
        "*what the LLM lab did*",
        "*plan      cut@0.25; *",
        "*what was shown before the error is corrupted*",
        "*application  ended with ValueError: no, after 14 characters of text",
        "*the application hung: nothing after 0.1 s",
        "*the application crashed: *",
    ])  # fmt: skip
    assert shown.count("plan      cut@0.5; ") == 1, "a timeline is shown once"


MARKED = """
    import pytest, unbroken
    from chatbot import answer

    @pytest.mark.llm_faults(["cut@0.3", "cut.rst@0.5", "ok"])
    def test_protected(llm_fault):
        fault = llm_fault(tokens=60)
        client = unbroken.http_client()
        assert fault.assert_survives(lambda: answer("Hi", fault.model, http_client=client))

    @pytest.mark.llm_faults("mine.toml")
    def test_plain(llm_fault):
        fault = llm_fault()
        fault.assert_survives(lambda: answer("Hi", fault.model))
"""
SUITE = """
title = "mine"
[[scenario]]
name = "cut-clean"
plan = "cut@0.5"
life = "A proxy dies."
[[scenario]]
name = "a-tool-call"
plan = "cut@0.5"
settings = { say = "tool" }
[[scenario]]
name = "reset"
plan = "cut.rst@0.5"
[[scenario]]
name = "nobody-can-know"
plan = "ok"
undetectable = true
reason = "it is like a good one"
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_the_marker_runs_a_test_once_per_scenario(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    project.makepyfile(test_marked=MARKED)
    (project.path / "mine.toml").write_text(SUITE)
    ran = run(project, "-v", *workers)
    ran.assert_outcomes(passed=4, failed=1)
    ran.stdout.fnmatch_lines_random([
        "*test_protected[[]cut@0.3[]]*",
        "*test_protected[[]cut.rst@0.5[]]*",
        "*test_protected[[]ok[]]*",
        "*FAILED*test_plain[[]cut-clean[]]*",
        "*test_plain[[]reset[]]*",
        "*scenario  cut-clean: A proxy dies.",
    ])  # fmt: skip


def test_a_suite_that_comes_with_the_lab(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest

        @pytest.mark.llm_faults("core")
        def test_all(llm_fault): ...

        @pytest.mark.llm_faults("core", only="cut-*", dialect="openai-chat")
        def test_some(llm_fault): ...
    """)
    ran = run(project, "--collect-only", "-q")
    assert ran.ret == 0
    names = [line for line in ran.outlines if "::" in line]
    some = [name for name in names if "test_some" in name]
    assert 0 < len(some) < len(names) - len(some)
    assert all("[cut-" in name for name in some)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ('"corr"', "no such suite; the suites are core"),
        ('["cutt@0.5"]', "no fault is called 'cutt'"),
        ('"core", only="no-such"', "no scenario of suite core is called 'no-such'"),
        (
            '"core", oly="x"',
            "llm_faults has no argument 'oly'; it takes suite, only, dialect, say,",
        ),
        ('"core", "full"', "llm_faults takes one suite, and the rest by name; it takes suite,"),
        ("5", "llm_faults has no suite 5: give a suite's name, a TOML file, or plans in a list"),
        ('"gone.toml"', "no such file"),
    ],
)
def test_a_marker_that_cannot_be_gives_one_line(
    project: pytest.Pytester, marker: str, said: str
) -> None:
    project.makepyfile(f"""
        import pytest
        @pytest.mark.llm_faults({marker})
        def test_it(llm_fault): ...
    """)
    ran = run(project)
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines([f"*test_it: *{said}*"])


def test_a_marked_test_must_use_the_fixture(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        @pytest.mark.llm_faults("core")
        def test_it(): ...
    """)
    ran = run(project)
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*a test with llm_faults must use llm_fault*"])


def test_llm_fault_without_plan_or_marker_says_what_to_do(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(llm_fault): llm_fault()")
    ran = run(project)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*llm_fault() without a plan needs the marker*"])
