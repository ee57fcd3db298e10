"""Which plan a request goes by, how attempts are counted, and that it all stays bounded."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model import AnswerSettings
from unbroken.lab.server import sessions as module
from unbroken.lab.server.sessions import Finish, Session, Sessions


def attempt(session: Session, how: Finish = "whole") -> str:
    """Have one attempt, and return the faults it was to be given."""
    begun = session.begin()
    session.end(begun.log, how)
    return begun.log.faults


def test_a_session_is_known_by_its_id() -> None:
    known = Sessions()
    one = known.pick("lab/cut@30t;id=a")
    assert known.pick("lab/cut@30t;id=a") is one
    assert known.pick("lab/cut@30t;id=b") is not one
    assert set(known) == {"a", "b"}
    assert one.model == "lab/cut@30t;id=a"


def test_the_model_that_a_session_names_leads_to_it() -> None:
    known = Sessions()
    for plan in ("", "cut@0.5,ok*;tokens=12", "stall.ping@0.9@3s", ";seed=4"):
        made = known.make(plan, settings=AnswerSettings(text="Hello"))
        before = (str(made.plan), made.settings)
        assert known.pick(made.model) is made
        assert (str(made.plan), made.settings) == before, plan
        assert attempt(made) == "+".join(map(str, made.plan.faults_of(0)))


def test_settings_of_the_plan_go_before_those_of_the_session() -> None:
    made = Sessions(settings=AnswerSettings(seed=3)).make("ok;tokens=7")
    assert (made.settings.tokens, made.settings.seed) == (7, 3)
    assert made.numbered.tokens == 7


def test_attempts_with_an_id_are_counted_for_ever() -> None:
    session = Sessions().make("cut,stall", id="a")
    assert [attempt(session) for _ in range(4)] == ["cut", "stall", "", ""]


def test_attempts_without_an_id_begin_anew_once_all_is_well() -> None:
    session = Sessions().pick("lab/cut,stall")
    assert [attempt(session, "fin") for _ in range(2)] == ["cut", "stall"]
    assert attempt(session, "left") == ""  # the client left: not well yet
    assert attempt(session) == ""
    assert attempt(session) == "cut"


def test_a_whole_answer_before_the_plan_is_used_up_changes_nothing() -> None:
    session = Sessions().pick("lab/ok,cut")
    assert [attempt(session), attempt(session, "fin"), attempt(session)] == ["", "cut", ""]
    assert attempt(session) == ""
    assert attempt(session) == "cut"


def test_attempts_without_an_id_begin_anew_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    session = Sessions().pick("lab/cut,stall")
    assert attempt(session, "fin") == "cut"
    now[0] += 59
    assert attempt(session, "fin") == "stall"
    now[0] += 61
    assert attempt(session, "fin") == "cut"


def test_a_header_goes_before_the_models_name() -> None:
    known = Sessions(plan="stall")
    assert attempt(known.pick("gpt-5")) == "stall"
    assert attempt(known.pick("gpt-5", "cut@3f")) == "cut@3f"
    assert attempt(known.pick("lab/ok", "cut@3f;id=x")) == "cut@3f"
    assert "x" in known


def test_a_known_id_with_another_plan_begins_anew() -> None:
    known = Sessions()
    session = known.pick("lab/cut;id=a")
    attempt(session, "fin")
    assert attempt(known.pick("lab/stall;id=a")) == "stall"
    assert attempt(known.pick("lab/;id=a")) == ""  # names no plan: the second attempt


def test_scenarios_stand_for_plans() -> None:
    known = Sessions(scenarios={"bad-day": "cut@9f,stall;tokens=9"})
    session = known.pick("lab/bad-day;id=a;seed=2")
    assert str(session.plan) == "cut@9f,stall"
    assert (session.settings.tokens, session.settings.seed) == (9, 2)
    assert known.make("bad-day").settings.tokens == 9


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("nonsense", "no fault is called 'nonsense'"),
        ("cut;colour=red", "no setting is called 'colour'"),
        ("cut;tokens=many", "tokens=many"),
        ("cut;id=a/b", "id=a/b"),
        ("cut," * 1000, "4,... characters"),
    ],
)
def test_a_plan_that_cannot_be(plan: str, says: str) -> None:
    for way in (Sessions().make, lambda p: Sessions().pick(f"lab/{p}"), lambda p: Sessions(plan=p),
                lambda p: Sessions(scenarios={"x": p})):  # fmt: skip
        with pytest.raises(FaultError, match=says):
            way(plan)


def test_chance_is_seeded_by_seed_session_and_attempt() -> None:
    def draw(seed: int, id: str, skip: int) -> float:
        session = Sessions().make(f"ok;seed={seed}", id=id)
        for _ in range(skip):
            attempt(session)
        return session.begin().random.random()

    drawn = {draw(seed, id, skip) for seed in (1, 2) for id in "ab" for skip in (0, 1)}
    assert len(drawn) == 8
    assert draw(1, "a", 1) in drawn


def test_sessions_are_bounded_and_open_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_SESSIONS", 10)
    known = Sessions()
    known.make(id="open").begin()
    known.make(id="used")
    for number in range(30):
        known.make(id=f"n{number}")
        known.pick("lab/ok;id=used")
    assert len(known) == 10
    assert {"open", "used", "n29"} <= set(known)


def test_logs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ATTEMPTS", 5)
    session = Sessions().make(id="a")
    for _ in range(12):
        attempt(session)
    assert [log.number for log in session.attempts] == [7, 8, 9, 10, 11]
    log = session.begin().log
    scene = module.TimedScene(log, dialect="openai-chat")
    for _ in range(300):
        scene.struck("again")
    assert len(log.strikes) == module._MOST_STRIKES


def test_waiting_until_nothing_runs() -> None:
    session = Sessions().make()
    assert session.wait_idle(0)
    begun = session.begin()
    assert not session.wait_idle(0.01)
    session.end(begun.log, "whole")
    assert session.wait_idle(0)


def test_forgetting() -> None:
    known = Sessions()
    known.make(id="a")
    assert known.forget("a")
    assert not known.forget("a")
    assert not known


def test_numbers_do_not_take_ids_that_are_in_use() -> None:
    known = Sessions()
    mine: Any = known.make("cut", id="s1")
    assert known.make().id != "s1"
    assert known["s1"] is mine
