"""Options are checked when they are made, and their defaults are those of the design."""

from __future__ import annotations

import dataclasses

import pytest

from unbroken.core.options import RUNGS, Clocks, Options

WRONG = [
    ({"mode": "fix"}, "mode must be one of off, observe, raise, heal"),
    ({"profile": "fast"}, "profile must be"),
    ({"tool_calls": "drop"}, "tool_calls must be"),
    ({"rungs": ("retry", "pray")}, "unknown rungs 'pray'; known are cursor, retry"),
    ({"max_attempts": 0}, "max_attempts must be at least 1"),
    ({"max_recovery_s": -1}, "max_recovery_s must be at least 0"),
    ({"max_added_input": -0.1}, "max_added_input"),
    ({"max_replay_bytes": -1}, "max_replay_bytes"),
    ({"max_held_bytes": -1}, "max_held_bytes"),
    ({"max_held_s": -1}, "max_held_s"),
    ({"max_frame_bytes": 0}, "max_frame_bytes must be at least 1"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_wrong_option_is_refused_by_name(wrong, words):
    with pytest.raises(ValueError, match=words):
        Options(**wrong)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Clocks)])
def test_clocks_are_more_than_nothing_or_none(name):
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} must be more than 0 seconds or None"):
            Clocks(**{name: wrong})
    assert getattr(Clocks(**{name: None}), name) is None


def test_defaults():
    options = Options()
    assert (options.mode, options.profile, options.tool_calls) == ("heal", "default", "hold")
    assert (
        options.rungs
        == RUNGS
        == (
            "cursor",
            "retry",
            "replay",
            "prefill",
            "user-turn",
            "target",
        )
    )
    assert options.allow_resend is True
    assert not options.retry_server_tools
    assert (options.max_attempts, options.max_recovery_s, options.max_added_input) == (
        5,
        120.0,
        3.0,
    )
    assert options.max_frame_bytes == 32 * 1024 * 1024
    assert (options.max_held_bytes, options.max_held_s) == (1024 * 1024, 30.0)


def test_profile_sets_the_clocks_and_own_clocks_win():
    assert Options().timing == Clocks()
    interactive = Options(profile="interactive").timing
    assert (interactive.notice_s, interactive.progress_text_s) == (5.0, 20.0)
    assert interactive.silence_s == Clocks().silence_s
    own = Clocks(silence_s=1.0)
    assert Options(profile="interactive", clocks=own).timing is own


def test_options_cannot_be_changed_and_only_be_named():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().mode = "off"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Options("off")  # type: ignore[misc]


def test_same_options_in_another_mode():
    options = Options(max_attempts=2)
    assert options.with_mode("raise") == Options(max_attempts=2, mode="raise")
    with pytest.raises(ValueError, match="mode must be"):
        options.with_mode("loud")
