"""The heal rate of each rung, against a model that does as it is told only sometimes."""

import pytest

from tests.contract.heal_rates import ROWS, measure, repeating

# Replay gives no instruction: a model that wrote something else once is not asked again.
_ASKED = {"prefill": "prefill", "user-turn": "anchor", "replay": "whole"}
_GOAL = {"prefill": 0.95, "user-turn": 0.95, "replay": 0.88, "all": 0.95}


@pytest.mark.parametrize("row", ROWS)
def test_a_model_that_obeys_nine_times_in_ten_is_healed(row):
    tally = measure(row, obeys=0.9, streams=200)
    assert tally.wrong == []
    assert tally.rate >= _GOAL[row], tally
    # A request that is not understood is answered anew, which may heal it by chance.
    assert row == "all" or set(tally.asked) == {_ASKED[row]}


@pytest.mark.parametrize("row", ["prefill", "user-turn"])
def test_the_same_through_the_openai_sdk(row):
    tally = measure(row, obeys=0.9, streams=40, sdk=True)
    assert tally.wrong == []
    assert tally.rate >= _GOAL[row], tally


@pytest.mark.parametrize("obeys", [0.5, 0.0])
@pytest.mark.parametrize("row", ROWS)
def test_nothing_is_spliced_wrongly_however_little_it_obeys(row, obeys):
    tally = measure(row, obeys=obeys, streams=50)
    assert tally.wrong == []
    assert tally.healed
    assert tally.failed


@pytest.mark.parametrize("row", ["prefill", "user-turn"])
def test_an_answer_that_repeats_itself_is_never_spliced_wrongly(row):
    tally = measure(row, obeys=0.7, streams=50, answer=repeating)
    assert tally.wrong == []
    assert tally.healed
