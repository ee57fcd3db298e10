"""Text beyond what memory may hold: kept in a spill, compared piece by piece."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.scripted import Reply, ask, frames, play, until
from unbroken.core import spill as spill_module
from unbroken.core.events import Reasoning, Text, ToolCall
from unbroken.core.options import Options
from unbroken.core.pieces import add_piece, join_pieces, mended
from unbroken.core.received import Received
from unbroken.core.recovery.seam import ReplayMatch

TEXT = "The sea is salt because rivers carry minerals from the rocks of the land. 🌊 " * 40


class MemorySpill:
    """A spill that may fail at a size, and counts what is asked of it."""

    def __init__(self, *, full_at: int = 1 << 40, lost: bool = False) -> None:
        self.data = bytearray()
        self.full_at, self.lost = full_at, lost
        self.closed = False
        self.largest_read = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def append(self, data: bytes) -> bool:
        if self.size + len(data) > self.full_at:
            return False
        self.data += data
        return True

    def read(self, start: int, size: int) -> bytes:
        self.largest_read = max(self.largest_read, size)
        return b"" if self.lost else bytes(self.data[start : start + size])

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write and read in steps of a few bytes, so that short texts have many."""
    monkeypatch.setattr(spill_module, "_WRITE_AT", 7)
    monkeypatch.setattr(spill_module, "_READ_BYTES", 5)


HALVES = st.sampled_from(["a", "é", "文", "🚀", "\ud83d", "\ude80", "word ", "🚀🚀 two"])
DELTAS = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 5]), HALVES), max_size=60)


@given(deltas=DELTAS, limit=st.integers(0, 40))
def test_what_is_read_back_is_what_was_written(deltas, limit):
    made: list[MemorySpill] = []

    def make() -> MemorySpill:
        made.append(MemorySpill())
        return made[0]

    got, whole = Received(limit_bytes=limit, spill=make), Received(limit_bytes=1 << 30)
    for choice, text in deltas:
        for received in (got, whole):
            received.add(None, [Text(text, choice)])
    assert got.characters == whole.characters
    assert not got.overflowed
    assert got.spilled == got.truncated == bool(made) == (got.characters > limit)
    for choice in {choice for choice, _ in deltas}:
        said = "".join(text for at, text in deltas if at == choice)
        assert "".join(got.pieces(choice)) == mended(said) == whole.text_of(choice)
        assert whole.text_of(choice).startswith(got.kept_texts.get(choice, ""))
    assert got.text_bytes >= got.characters
    got.release()
    assert all(spill.closed for spill in made)


@given(said=st.lists(HALVES, max_size=40), again=st.data(), limit=st.integers(0, 20))
def test_replay_is_compared_with_the_spill_however_both_are_cut(said, again, limit):
    got = Received(limit_bytes=limit, spill=MemorySpill)
    for text in said:
        got.add(None, [Text(text)])
    delivered = mended("".join(said))
    new = " and more 🚀"
    raw = (delivered + new).encode("utf-16-le")
    halves = [raw[at : at + 2] for at in range(0, len(raw), 2)]
    units = [half.decode("utf-16-le", "surrogatepass") for half in halves]
    cuts = sorted(again.draw(st.sets(st.integers(0, len(units)), max_size=9)) | {0, len(units)})
    matcher = ReplayMatch(got.pieces())
    fed = [matcher.feed("".join(units[a:b])) for a, b in pairwise(cuts)]
    assert matcher.matched
    assert mended("".join(fed)) == new


@pytest.mark.parametrize("at", [0, 3, 40, 79])
def test_replay_that_says_something_else_diverges(at):
    got = Received(limit_bytes=10, spill=MemorySpill)
    got.add(None, [Text("x" * 80)])
    matcher = ReplayMatch(got.pieces())
    assert matcher.feed("x" * at + "y" + "x" * 200) == ""
    assert matcher.diverged
    assert not matcher.matched


def test_replay_that_ends_early_diverges_at_its_end():
    got = Received(limit_bytes=10, spill=MemorySpill)
    got.add(None, [Text("x" * 80)])
    matcher = ReplayMatch(got.pieces())
    matcher.feed("x" * 79)
    assert not matcher.diverged
    matcher.finish()
    assert matcher.diverged


def test_text_of_which_only_the_beginning_is_in_memory_is_not_given_for_the_whole():
    got = Received(limit_bytes=10, spill=MemorySpill)
    got.add(None, [Text("begin"), Text("nings and more")])
    assert got.kept_text == "begin"
    for read in (lambda: got.text, lambda: got.texts, lambda: got.text_of(0)):
        with pytest.raises(ValueError, match="19 characters"):
            read()
    assert "".join(got.pieces()) == "beginnings and more"


def test_spill_that_fails_midway_costs_the_recovery_and_not_the_stream():
    spill = MemorySpill(full_at=30)
    got = Received(limit_bytes=10, spill=lambda: spill)
    for _ in range(4):
        got.add(None, [Text("12345678")])
    assert not got.overflowed
    for _ in range(10):
        got.add(None, [Text("12345678")])
    assert got.overflowed
    assert spill.closed
    assert got.characters == 14 * 8
    assert got.kept_text == "12345678"
    with pytest.raises(ValueError, match="112 characters"):
        next(got.pieces())


def test_spill_that_cannot_be_read_back_is_no_proof():
    got = Received(limit_bytes=10, spill=lambda: MemorySpill(lost=True))
    got.add(None, [Text("x" * 80)])
    matcher = ReplayMatch(got.pieces())
    matcher.feed("x" * 80)
    assert matcher.diverged
    assert not matcher.matched


def test_choices_that_take_turns_for_ever_are_given_up_and_do_not_fill_memory(monkeypatch):
    monkeypatch.setattr(spill_module, "_MOST_RANGES", 50)
    got = Received(limit_bytes=10, spill=MemorySpill)
    for number in range(1000):
        got.add(None, [Text("12345678", number % 2)])
    assert got.overflowed


def test_reasoning_beyond_the_limit_is_dropped_and_recovery_goes_on():
    got = Received(limit_bytes=100, spill=MemorySpill)
    for _ in range(300):
        got.add(None, [Reasoning("think ")])
    got.add(None, [Text("text")])
    assert (got.truncated, got.overflowed, got.spilled) == (True, False, False)
    assert got.text == "text"
    assert 90 < len(got.reasoning) <= 100


def test_arguments_beyond_the_limit_end_recovery():
    got = Received(limit_bytes=100, spill=MemorySpill)
    got.add(None, [ToolCall(0, name="f")])
    for _ in range(30):
        got.add(None, [ToolCall(0, "12345678")])
    assert got.overflowed
    assert got.calls[0, 0].dropped


def test_many_small_pieces_are_kept_as_a_few():
    pieces: list[str] = []
    for number in range(10_000):
        add_piece(pieces, f"{number} ")
    assert len(pieces) < 40
    assert join_pieces(pieces) == "".join(f"{number} " for number in range(10_000))


# Under a whole stream -------------------------------------------------------------------------

LIMITS = Options(max_replay_bytes=700)
CONFIG = {"generationConfig": {"temperature": 0}}
ASKED: dict[str, dict[str, object]] = {
    "openai-chat": {"temperature": 0},
    "openai-completions": {"temperature": 0},
    "anthropic-messages": {"temperature": 0},
    "gemini": CONFIG,
    "gemini-array": CONFIG,
    "ollama": {"options": {"temperature": 0}},
    "cohere": {"temperature": 0},
    "bedrock-converse": {"inferenceConfig": {"temperature": 0}},
    "bedrock-invoke": {"temperature": 0},
}


def made_spills() -> tuple[list[MemorySpill], object]:
    made: list[MemorySpill] = []

    def make() -> MemorySpill:
        made.append(MemorySpill())
        return made[-1]

    return made, make


@pytest.mark.seed("003-memory-limits")
@pytest.mark.parametrize("dialect", ASKED)
def test_long_answer_is_healed_by_replay_in_every_dialect(dialect):
    made, make = made_spills()
    whole = frames(TEXT, dialect=dialect)
    first = until(whole, TEXT[:2000], dialect=dialect)
    second = frames(TEXT, dialect=dialect, size=7)
    run = play(
        [Reply(first, end="reset"), Reply([b"".join(second[:50]), *second[50:]])],
        dialect=dialect, request=ask(dialect, **ASKED[dialect]), options=LIMITS, spill=make,
    )  # fmt: skip
    assert run.outcome.status == "complete"
    assert run.rungs == ["first", "replay"]
    assert [part.guarantee for part in run.outcome.provenance] == ["byte-exact", "prefix-verified"]
    assert run.outcome.overflowed
    assert TEXT.startswith(run.outcome.text)
    assert 650 < len(run.outcome.text) <= 700
    assert run.outcome.characters == len(TEXT)
    (spill,) = made
    assert len(spill.data) > len(TEXT) - 750
    assert spill.closed
    assert spill.largest_read == 5
    check = play([Reply([run.delivered])], dialect=dialect, options=Options())
    assert check.outcome.text == TEXT


def test_long_answer_is_healed_again_and_again():
    _, make = made_spills()
    whole = frames(TEXT)
    cuts = [Reply(until(whole, TEXT[:at]), end="reset") for at in (1000, 1700, 2600)]
    run = play([*cuts, Reply(whole)], request=ask(temperature=0), spill=make,
               options=Options(max_replay_bytes=700, max_added_input=99))  # fmt: skip
    assert run.rungs == ["first", "replay", "replay", "replay"]
    assert run.outcome.status == "complete"
    check = play([Reply([run.delivered])], options=Options())
    assert check.outcome.text == TEXT


SEEDS = 40
WORDS = ("salt ", "sea\n", "🌊", "文字", "e\u0301 ")


@pytest.mark.parametrize("dialect", ASKED)
def test_whatever_is_cut_and_whatever_the_spill_does_no_character_is_lost_or_doubled(dialect):
    """Random answers, cuts, limits and spills; what was delivered is checked by a fresh reader."""
    healed = 0
    made: list[MemorySpill] = []
    for seed in range(SEEDS):
        draw = Random(f"{dialect} {seed}")
        text = "".join(
            draw.choices(("salt ", "sea\n", "🌊", "文字", "e\u0301 "), k=draw.randint(300, 900))
        )
        size = draw.randint(1, 9)
        whole = frames(text, dialect=dialect, size=size)
        fails = draw.choice([{}, {}, {}, {"full_at": draw.randint(0, 900)}, {"lost": True}])
        replies = []
        for _ in range(draw.randint(1, 3)):
            cut = draw.randint(3, len(whole) - 1)
            reads = frames(text, dialect=dialect, size=draw.randint(1, 9))[:cut]
            at = draw.randint(1, len(reads))
            reads = [b"".join(reads[:at]), *reads[at:]]
            replies.append(Reply(reads, end=draw.choice(("eof", "reset"))))
        run = play(
            [*replies, Reply(whole)], dialect=dialect, request=ask(dialect, **ASKED[dialect]),
            spill=lambda fails=fails: made.append(MemorySpill(**fails)) or made[-1],
            options=Options(max_replay_bytes=draw.randint(500, 1200), max_added_input=99,
                            rungs=("retry", "replay")),
        )  # fmt: skip
        note = f"seed {seed} of {dialect}"
        again = play([Reply([run.delivered])], dialect=dialect, options=Options(mode="observe"))
        if run.raised is None:
            assert again.outcome.text == text, note
            assert run.outcome.characters == len(text), note
            healed += run.outcome.healed
        else:
            assert text.startswith(again.outcome.text), note
            assert run.outcome.status == "failed", note
        assert text.startswith(run.outcome.text), note
    assert healed > SEEDS / 4
    assert sum(len(spill.data) > 100 for spill in made) > SEEDS / 4
    assert all(spill.closed for spill in made)


def test_long_answer_that_goes_on_in_other_words_fails_and_says_so():
    _, make = made_spills()
    whole = frames(TEXT)
    other = frames(TEXT[:1500] + "Something else." + TEXT[1500:])
    run = play([Reply(until(whole, TEXT[:2000]), end="reset"), Reply(other)],
               request=ask(temperature=0), options=LIMITS, spill=make)  # fmt: skip
    assert run.raised is not None
    assert run.outcome.status == "failed"
    for rung in ("prefill", "user-turn"):
        assert "too long to be sent again" in run.skipped(rung), rung


def test_answer_that_no_replay_can_follow_is_not_written_anywhere():
    made, make = made_spills()
    whole = frames(TEXT)
    run = play([Reply(until(whole, TEXT[:2000]), end="reset")], options=LIMITS, spill=make)
    assert run.raised is not None
    assert "max_replay_bytes" in run.skipped("all")
    assert not made


def test_short_answer_makes_no_spill():
    made, make = made_spills()
    play([Reply(frames("Short."))], request=ask(temperature=0), options=LIMITS, spill=make)
    assert not made


def test_spill_that_fills_up_ends_recovery_and_not_the_stream():
    whole = frames(TEXT)
    run = play([Reply(whole)], request=ask(temperature=0), options=LIMITS,
               spill=lambda: MemorySpill(full_at=500))  # fmt: skip
    assert run.delivered == b"".join(whole)
    assert run.outcome.status == "complete"
    assert run.outcome.overflowed
    run = play([Reply(until(whole, TEXT[:2000]), end="reset")], request=ask(temperature=0),
               options=LIMITS, spill=lambda: MemorySpill(full_at=500))  # fmt: skip
    assert run.raised is not None
    assert "max_replay_bytes" in run.skipped("all")


def test_spill_that_cannot_be_read_back_fails_honestly():
    whole = frames(TEXT)
    run = play([Reply(until(whole, TEXT[:2000]), end="reset"), Reply(whole)],
               request=ask(temperature=0), options=LIMITS,
               spill=lambda: MemorySpill(lost=True))  # fmt: skip
    assert run.raised is not None
    assert run.outcome.status == "failed"


def test_responses_says_the_whole_text_at_its_end_so_a_long_one_is_not_replayed():
    made, make = made_spills()
    whole = frames(TEXT, dialect="openai-responses")
    first = until(whole, TEXT[:2000], dialect="openai-responses")
    run = play([Reply(first, end="reset")], dialect="openai-responses", options=LIMITS, spill=make,
               request=ask("openai-responses", temperature=0, store=False))  # fmt: skip
    assert run.raised is not None
    assert not made
