"""Real processes against the real lab: each kind of client gets its verdict, and nothing stays."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator

import pytest

from tests.lab.score.clients import command
from unbroken.lab.oracle import Numbered
from unbroken.lab.score import Card, Scenario, Suite, SuiteError
from unbroken.lab.score.command import CommandPlayer
from unbroken.lab.score.player import CannotPlayError
from unbroken.lab.score.runner import Options, Played, score_suite
from unbroken.lab.server.app import LabServer

CUT = Scenario(name="cut", plan="cut@0.5", settings={"tokens": "40"}, patience_s=20)
FINE = Scenario(name="fine", plan="ok", settings={"tokens": "40"}, patience_s=20)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


def run(lab: LabServer, client: str | list[str], *scenarios: Scenario, **options: object) -> Card:
    words = command(client) if isinstance(client, str) else client
    known = {"label": str(client), "command": tuple(words), "jobs": 2, **options}
    suite = Suite(name="test", title="Test", scenarios=scenarios or (FINE, CUT))
    return asyncio.run(
        score_suite(CommandPlayer(words), suite, lab, Options(**known))  # type: ignore[arg-type]
    )


def words_of(card: Card) -> dict[str, str]:
    return {result.scenario: result.verdict for result in card.results}


@pytest.mark.parametrize(
    ("client", "verdict"),
    [
        ("naive", "truncated silently"),
        ("careful", "honest error"),
        ("doubling", "corrupted"),
        ("patient", "healed"),
        ("buggy", "crashed"),
        ("killed", "crashed"),
    ],
)
def test_each_client_gets_its_verdict(lab: LabServer, client: str, verdict: str) -> None:
    card = run(lab, client)
    assert words_of(card) == {"fine": "healed", "cut": verdict}
    assert card.ok == (verdict in ("healed", "honest error"))
    assert card.dialect == "openai-chat"


def test_facts_of_one_that_heals(lab: LabServer) -> None:
    fine, cut = run(lab, "patient").results
    assert fine.facts.harmless
    assert (fine.facts.requests, fine.facts.time_to_detect_s) == (1, None)
    assert not cut.facts.harmless
    assert cut.facts.requests == 2
    assert cut.facts.tokens_bought > fine.facts.tokens_bought
    detect_s, heal_s = cut.facts.time_to_detect_s, cut.facts.time_to_heal_s
    assert detect_s is not None  # it may be 0.0, in milliseconds
    assert heal_s is not None
    assert 0 <= detect_s <= heal_s < 5
    assert [request.ended for request in cut.requests] == ["clean", "whole"]
    assert cut.requests[0].strikes
    assert cut.model.startswith("lab/cut@0.5;tokens=40")


def test_a_hanging_client_is_ended_with_its_patience(lab: LabServer) -> None:
    began = time.monotonic()
    card = run(lab, "stuck", CUT, patience_s=1.5)
    (cut,) = card.results
    assert cut.verdict == "hung"
    assert cut.exit_code is None
    assert 1.4 <= cut.facts.duration_s < 3
    assert time.monotonic() - began < 8


def test_what_a_client_leaves_running_is_ended_too(lab: LabServer) -> None:
    (fine,) = run(lab, "parent", FINE).results
    assert fine.verdict == "healed"
    assert fine.facts.duration_s < 5  # its child, which holds the pipe, is not waited for
    child = int(fine.stderr_end)
    for _ in range(50):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if _state(child) == "Z":  # ended, and not yet collected by whoever inherits it
            return
        time.sleep(0.05)
    pytest.fail(f"child {child} still runs")


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


class TestBeforeTheSuite:
    @pytest.mark.parametrize(
        ("client", "said"),
        [
            ("silent", "made no request"),
            ("absent", "made no request; it said: ModuleNotFoundError: no module named openai"),
            (["/no/such/program"], "cannot run /no/such/program: no such file"),
        ],
    )
    def test_a_client_that_cannot_read_is_told_at_once(
        self, lab: LabServer, client: str, said: str
    ) -> None:
        with pytest.raises(CannotPlayError, match=said) as caught:
            run(lab, client)
        assert "\n" not in str(caught.value)

    def test_with_keep_going_it_is_scored_and_no_credit_given(self, lab: LabServer) -> None:
        card = run(lab, "absent", keep_going=True)
        assert words_of(card) == {"fine": "honest error", "cut": "honest error"}
        assert all(result.facts.unprovoked for result in card.results)
        assert not card.ok

    def test_tool_calls_are_left_out_for_who_has_none(self, lab: LabServer) -> None:
        tool = Scenario(name="tool", plan="cut@0.5", settings={"say": "tool", "tokens": "40"})
        text_only = [word.replace('delta.get("tool_calls")', "()") for word in command("patient")]
        card = run(lab, text_only, FINE, tool)
        assert words_of(card) == {"fine": "healed"}
        assert [(one.scenario, "LAB_SAY=tool" in one.why) for one in card.skipped] == [
            ("tool", True)
        ]

    def test_a_wrong_name_is_told_before_anything_runs(self, lab: LabServer) -> None:
        with pytest.raises(SuiteError, match="did you mean fine"):
            run(lab, "absent", only=("fine2",))


def test_tool_arguments_are_judged_as_json(lab: LabServer) -> None:
    tool = Scenario(name="tool", plan="cut@0.5", settings={"say": "tool", "tokens": "40"})
    assert words_of(run(lab, "naive", tool)) == {"tool": "corrupted"}
    assert words_of(run(lab, "patient", tool)) == {"tool": "healed"}


def test_several_at_once_count_as_the_worst_and_have_words_of_their_own(lab: LabServer) -> None:
    both = Scenario(name="both", plan="ok", copies=3, settings={"tokens": "30"})
    (result,) = run(lab, "patient", both).results
    assert (result.verdict, result.copies) == ("healed", 3)
    cut = Scenario(name="cut", plan="cut@0.5", copies=2, settings={"tokens": "30"})
    (result,) = run(lab, "naive", cut).results
    assert result.verdict == "truncated silently"


def test_each_copy_has_words_of_its_own() -> None:
    models: list[str] = []
    with LabServer(on_attempt=lambda _, log: models.append(log.model)) as lab:
        run(lab, "naive", Scenario(name="both", plan="ok", copies=3, settings={"tokens": "30"}))
    seeds = {model.split(";")[2] for model in models}
    assert len(seeds) == 4  # three copies, and the healthy answer before the suite


def test_an_answer_out_of_a_cache_is_no_answer(lab: LabServer) -> None:
    """A client, or a gateway, that gives what it was once asked for has not read this stream."""
    once = Scenario(name="once", plan="ok", settings={"tokens": "30"})
    again = Scenario(name="again", plan="cut@0.5", settings={"tokens": "30"})
    models = [run(lab, "naive", each).results[0].model for each in (once, again)]
    first, second = (Numbered(tokens=30, seed=int(model.split(";")[2][5:])) for model in models)
    assert not set(first) & set(second)


def test_a_plan_that_cannot_be_in_the_dialect_is_not_the_clients_fault(lab: LabServer) -> None:
    far = Scenario(name="far", plan="cut@100000t", settings={"tokens": "30"})
    card = run(lab, "careful", FINE, far)
    assert words_of(card) == {"fine": "healed"}
    assert card.skipped[0].scenario == "far"
    assert "only" in card.skipped[0].why


def test_in_ones_own_file_it_is_a_mistake(lab: LabServer) -> None:
    far = Scenario(name="far", plan="cut@100000t", settings={"tokens": "30"})
    suite = Suite(name="mine", title="", scenarios=(FINE, far), file="mine.toml")
    player = CommandPlayer(command("careful"))
    card = asyncio.run(score_suite(player, suite, lab, Options(label="x")))
    assert [(skip.scenario, skip.mistake) for skip in card.skipped] == [("far", True)]
    assert not card.ok


def test_what_no_client_can_know_does_not_count(lab: LabServer) -> None:
    drop = Scenario(name="drop", plan="drop@0.5", settings={"tokens": "40"})
    card = run(lab, "careful", drop)
    assert words_of(card) == {"drop": "corrupted"}
    assert card.results[0].undetectable
    assert card.ok


def test_progress_is_told_and_order_is_the_suites(lab: LabServer) -> None:
    words = command("naive")
    suite = Suite(name="test", title="", scenarios=(CUT, FINE))
    told: list[Played] = []
    card = asyncio.run(
        score_suite(CommandPlayer(words), suite, lab, Options(label="x", jobs=2), told.append)
    )
    assert [result.scenario for result in card.results] == ["cut", "fine"]
    assert [(played.done, played.total) for played in told] == [(1, 2), (2, 2)]


def _until_both_run(lab: LabServer) -> None:
    while (
        sum(s.model.startswith("lab/cut") and bool(s.attempts) for s in lab.sessions.values()) < 2
    ):
        time.sleep(0.02)


def test_cancelled_it_ends_the_clients(lab: LabServer) -> None:
    async def main() -> None:
        suite = Suite(name="test", title="", scenarios=(CUT, CUT))
        player = CommandPlayer(command("stuck"))
        running = asyncio.create_task(score_suite(player, suite, lab, Options(label="x", jobs=2)))
        await asyncio.wait_for(asyncio.to_thread(_until_both_run, lab), 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 10
    assert not lab.sessions


def test_cancelled_it_leaves_nothing_in_the_loop_and_tells_how_far_it_was(lab: LabServer) -> None:
    cards: list[Card] = []

    async def main() -> None:
        suite = Suite(name="test", title="", scenarios=(CUT, CUT))
        running = asyncio.create_task(
            score_suite(
                CommandPlayer(command("stuck")), suite, lab, Options(label="x", jobs=2),
                on_stopped=cards.append,
            )
        )  # fmt: skip
        await asyncio.wait_for(asyncio.to_thread(_until_both_run, lab), 20)
        transports = _transports()
        assert len(transports) == 2
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        # All before the loop ends, or they complain of a closed one when they are collected.
        assert all(one.get_returncode() is not None and one.is_closing() for one in transports)
        assert all(one.get_pipe_transport(1).is_closing() for one in transports)

    asyncio.run(main())
    assert not cards[0].complete
    assert [skip.scenario for skip in cards[0].skipped] == ["cut", "cut"]


def _transports() -> list[asyncio.SubprocessTransport]:
    every = (one for one in gc.get_objects() if isinstance(one, asyncio.SubprocessTransport))
    return [one for one in every if not one.is_closing()]


def test_options_are_checked() -> None:
    for bad in ({"jobs": 0}, {"patience_s": 0}, {"tokens": 0}):
        with pytest.raises(ValueError, match="must be"):
            Options(label="x", **bad)  # type: ignore[arg-type]
