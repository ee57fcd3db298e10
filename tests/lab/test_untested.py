"""A test that tests nothing fails, and says why: by running such tests with the plugin."""

from __future__ import annotations

import builtins
import re

import pytest

from tests.lab.test_pytest_plugin import CHATBOT, run
from unbroken.lab.score.verdict import programming_error
from unbroken.lab.server.app import LabServer
from unbroken.lab.server.sessions import AttemptLog
from unbroken.lab.untested import BUGS, untested

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(chatbot=CHATBOT)
    pytester.syspathinsert()
    return pytester


def assert_all_fail(project: pytest.Pytester, said: dict[str, str], body: str) -> str:
    """Run tests that must all fail, each with its line; return all that was shown."""
    project.makepyfile(body)
    ran = run(project, "--tb=short", "-W", "error::pytest.PytestUnraisableExceptionWarning")
    ran.assert_outcomes(failed=len(said))
    shown = ran.stdout.str()
    parts = re.split(r"_{3,} (test_\w+) _{3,}", shown.partition(" FAILURES ")[2])
    of = dict(zip(parts[1::2], parts[2::2], strict=True))
    for name, line in said.items():
        assert f"AssertionError: {line}" in of[f"test_{name}"], of[f"test_{name}"]
    return shown


def test_what_is_no_text_is_no_answer(project: pytest.Pytester) -> None:
    said = {
        "none": "ask() returned None, and not the whole answer as text (a str)",
        "list": "ask() returned something of type list, and not the whole answer as text (a str)",
        "coroutine": "ask() returned a coroutine that nobody awaited: await it, or wrap it in",
        "generator": "ask() returned a generator: join its pieces, and return the whole answer",
        "given": "assert_survives was given a str, and not a function that asks",
        "whole": "assert_whole was given None, and not the whole answer as text (a str)",
        "honest": "assert_honest was given, in place of an exception, None, and not the whole",
        "said": "as said, assert_honest was given None, and not the whole answer",
    }
    body = """
        from chatbot import answer

        def test_none(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_survives(lambda: print(answer("Hi", fault.model)))

        def test_list(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_survives(lambda: [answer("Hi", fault.model)])

        def test_coroutine(llm_fault):
            fault = llm_fault("cut@0.5")
            async def ask():
                return answer("Hi", fault.model)
            fault.assert_survives(ask)

        def test_generator(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_survives(lambda: (text for text in answer("Hi", fault.model)))

        def test_given(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_survives(answer("Hi", fault.model))

        def test_whole(llm_fault):
            llm_fault("cut@0.5").assert_whole(None)

        def test_honest(llm_fault):
            llm_fault("cut@0.5").assert_honest(None)

        def test_said(llm_fault):
            llm_fault("cut@0.5").assert_honest(ValueError("no"), said=None)
    """
    assert "never awaited" not in assert_all_fail(project, said, body)


def test_a_request_that_did_not_come_for_the_stream(project: pytest.Pytester) -> None:
    said = {
        "url": "no request reached the lab: is the base URL hard-coded?",
        "before": "no request reached the lab: is the base URL hard-coded?",
        "out_of_nowhere": "no request reached the lab: is the base URL hard-coded?",
        "model": "the client asked for 'gpt-5', not for fault.model",
        "model_whole": "the client asked for 'gpt-5', not for fault.model",
        "path": "the lab refused the request (404): the lab has no POST /v1/chats",
    }
    body = """
        import os
        import urllib.request
        from chatbot import answer

        def test_url(llm_fault):
            fault = llm_fault("cut@0.5")
            closed = "http://127.0.0.1:9/v1"
            fault.assert_survives(lambda: answer("Hi", fault.model, base_url=closed))

        def test_before(llm_fault):
            def ask():
                raise ValueError("no such prompt")
            llm_fault("cut@0.5").assert_survives(ask)

        def test_out_of_nowhere(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_whole(fault.expected)

        def test_model(llm_fault):
            fault = llm_fault("cut@0.5")
            fault.assert_survives(lambda: answer("Hi"))

        def test_model_whole(llm_fault):
            other, fault = llm_fault("ok"), llm_fault("cut@0.5")
            other.assert_whole(answer("Hi", other.model))
            fault.assert_whole(answer("Hi"))

        def test_path(llm_fault):
            fault = llm_fault("cut@0.5")
            url = os.environ["OPENAI_BASE_URL"] + "/chats"
            fault.assert_survives(lambda: urllib.request.urlopen(url, b"{}").read().decode())
    """
    assert_all_fail(project, said, body)


def test_a_fault_that_did_not_strike(project: pytest.Pytester) -> None:
    said = {
        "place": "the lab refused the plan, asked in openai-chat: cut@9999t: the answer has only",
        "variant": "the lab refused the plan, asked in openai-chat: stall.ping@0.5: openai-chat "
        "has no ping",
        "turn": "the fault never struck: ok,cut@0.5 is for request 2, and only 1 came",
        "left": "the fault never struck: the client left before its turn came",
        "provoked": "nothing went wrong, and the application raised an error",
    }
    body = """
        import openai
        from chatbot import answer

        def test_place(llm_fault):
            fault = llm_fault("cut@9999t")
            fault.assert_survives(lambda: answer("Hi", fault.model))

        def test_variant(llm_fault):
            fault = llm_fault("stall.ping@0.5")
            try:
                answer("Hi", fault.model)
            except openai.BadRequestError as error:
                fault.assert_honest(error)

        def test_turn(llm_fault):
            fault = llm_fault("ok,cut@0.5")
            fault.assert_survives(lambda: answer("Hi", fault.model))

        def test_left(llm_fault):
            fault = llm_fault("cut@0.9", tps=20)
            def ask():
                with openai.OpenAI(max_retries=0) as bot:
                    stream = bot.chat.completions.create(
                        model=fault.model, messages=[{"role": "user", "content": "Hi"}],
                        stream=True)
                    next(iter(stream))
                    stream.close()
                raise ValueError("enough")
            fault.assert_survives(ask)

        def test_provoked(llm_fault):
            fault = llm_fault("ok")
            def ask():
                answer("Hi", fault.model)
                raise ValueError("too long")
            fault.assert_survives(ask)
    """
    assert_all_fail(project, said, body)


def test_a_client_that_has_all_need_not_wait_for_what_strikes_behind_it() -> None:
    with LabServer() as lab:
        session = lab.session("trailing")
        session.attempts.append(AttemptLog(number=0, at_s=0.0, ended="left"))
        assert untested(session, others=(), whole=True) is None
        assert untested(session, others=(), whole=False) is not None
        session.attempts[0].ended = "whole"
        assert untested(session, others=(), whole=True) is not None


def test_what_a_suite_has_and_the_dialect_has_not_is_skipped(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest, unbroken
        from chatbot import answer

        @pytest.mark.llm_faults("core", only=["stall-behind-pings", "cut-clean"])
        def test_suite(llm_fault):
            fault = llm_fault(tokens=40)
            client = unbroken.http_client()
            fault.assert_survives(lambda: answer("Hi", fault.model, http_client=client))

        @pytest.mark.llm_faults(["stall.ping@0.5"])
        def test_plans(llm_fault):
            fault = llm_fault()
            fault.assert_survives(lambda: answer("Hi", fault.model))

        @pytest.mark.llm_faults("core", only="healthy")
        def test_by_hand(llm_fault):
            fault = llm_fault("stall.ping@0.5")
            fault.assert_survives(lambda: answer("Hi", fault.model))
    """)
    ran = run(project, "-rs")
    ran.assert_outcomes(passed=1, skipped=1, failed=2)
    ran.stdout.fnmatch_lines(["SKIPPED*the lab refused the plan*openai-chat has no ping*"])


@pytest.mark.parametrize("error", ["ImportError('x')", "NameError('x')", "KeyError('x')"])
def test_a_bug_is_no_honest_error(error: str) -> None:
    from unbroken.lab.testing import Fault, Lab

    lab = Lab()
    try:
        bug = eval(error)
        for ending in (bug, ExceptionGroup("tasks", [OSError("gone"), bug])):
            fault = Fault(lab, "cut@0.5")
            fault.session.attempts.append(
                AttemptLog(number=0, at_s=0.0, strikes=[(0.0, "cut")], ended="clean")
            )
            with pytest.raises(AssertionError, match="the application crashed"):
                fault.assert_honest(ending)
            fault.assert_honest(OSError("gone"))
    finally:
        lab.close()


def test_the_scorecard_and_the_plugin_call_the_same_a_bug() -> None:
    names = {name: one for name, one in vars(builtins).items() if isinstance(one, type)}
    bugs = {name: one for name, one in names.items() if programming_error(f"{name}: x")}
    assert len(bugs) > 5
    assert all(issubclass(one, BUGS) for one in bugs.values())
