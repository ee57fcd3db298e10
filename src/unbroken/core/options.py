"""Options: what a user may set. Every default is safe in production."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from unbroken.core.request import Request
from unbroken.core.target import Target

__all__ = ["RUNGS", "Clocks", "Mode", "Options", "Rung"]

Mode = Literal["off", "observe", "raise", "heal"]
Rung = Literal["cursor", "retry", "replay", "prefill", "user-turn", "target"]
RUNGS: tuple[Rung, ...] = get_args(Rung)


def _must_be(name: str, value: object, kinds: type | tuple[type, ...], words: str) -> None:
    """Refuse a value of another type; True is no number here."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        msg = f"{name} must be {words}, not {value!r:.80}"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """When an attempt that does not move is given up. Seconds; None waits for ever.

    Attributes:
        connect_s: Opening a connection, for the attempts that Unbroken itself makes; their
            response head is under `first_event_s`. The SDK's own timeout rules its own request.
        first_event_s: From the request to the first event. Hosted reasoning is silent for
            minutes.
        silence_s: No byte at all.
        progress_text_s: No content while text was being written.
        progress_slow_s: No content before the first content, in thinking and in tool input.
        notice_s: When `on_stall` hears of missing progress; other clocks at a third.
        total_s: The whole stream, recoveries included.
        floor_chars_per_s: Least characters of content a second while text is written, over
            `floor_window_s`; slower is a ``slow-drip``. Thinking, tool input and the reader's
            own time do not count. None sets no floor.
        floor_window_s: Over how many seconds that is measured. None sets no floor.
    """

    connect_s: float | None = 10.0
    first_event_s: float | None = 600.0
    silence_s: float | None = 300.0
    progress_text_s: float | None = 120.0
    progress_slow_s: float | None = 600.0
    notice_s: float | None = 10.0
    total_s: float | None = None
    floor_chars_per_s: float | None = None
    floor_window_s: float | None = 30.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                _must_be(name, value, (int, float), "a number of seconds or None")
            if value is not None and not value > 0:
                msg = f"{name} must be more than 0 seconds or None, not {value}"
                raise ValueError(msg)


_LEAST: tuple[tuple[str, int, type], ...] = (
    ("max_attempts", 1, int),
    ("max_recovery_s", 0, float),
    ("max_added_input", 0, float),
    ("heal_share", 0, float),
    ("heals_always", 0, int),
    ("max_replay_bytes", 0, int),
    ("max_held_bytes", 0, int),
    ("max_held_s", 0, float),
    ("max_frame_bytes", 1, int),
    ("max_spill_bytes", 0, int),
    ("reorder_window", 1, int),
    ("reorder_wait_s", 0, float),
    ("breaker_failures", 0, int),
    ("breaker_open_s", 0, float),
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "profile": ("default", "interactive"),
    "tool_calls": ("hold", "stream"),
    "malformed": ("recover", "raise", "skip"),
    "empty_answer": ("accept", "recover", "raise"),
    "log_raw": ("never", "on-fault", "on-fault-with-contents"),
}
_DEFAULT = Clocks()
_INTERACTIVE = Clocks(notice_s=5.0, progress_text_s=20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How Unbroken treats a stream.

    Attributes:
        mode: ``heal`` recovers; ``raise`` gives typed errors without recovery; ``observe``
            only reports, bytes and errors being as without us; ``off`` is a true bypass.
        profile: ``interactive`` shortens the clocks for somebody who is watching.
        clocks: The clocks; None takes those of the profile.
        rungs: The ways to recover, of `RUNGS`; what proves more is always tried first.
        allow_resend: False never sends a prompt twice.
        retry_server_tools: True repeats a request with hosted tools even if they may
            have run.
        tool_calls: ``hold`` delivers a function call only when it is whole; ``stream`` as
            it comes.
        max_attempts: Upstream requests for one stream, the first included.
        max_recovery_s: Seconds that all recoveries of one stream may add.
        max_added_input: Input that recoveries may add, as a multiple of what one request
            of the prompt and the answer so far holds.
        heal_share: Further upstream requests that all streams of the process together may
            make, for each stream of the last minute.
        heals_always: Such requests a minute that are allowed in any case.
        max_replay_bytes: Most characters of one stream's text kept in memory, for recovery and
            the outcome; as much again of its reasoning, and of everything else. Text beyond it
            goes to a file (see `max_spill_bytes`), or can no longer be compared.
        max_spill_bytes: Most bytes of one stream remembered in a temporary file, which only
            this process can reach and which is written only where a replay may be compared with
            it; beyond it the stream can be resumed at most. 0 never writes one.
        spill_dir: The folder of those files; None takes the system's for temporary files.
        max_held_bytes: Most bytes held back, of a tool call or of what comes before the first
            content; beyond it they are released.
        max_held_s: Longest time that it is held, in seconds.
        max_frame_bytes: Largest frame.
        malformed: What a frame that is not JSON, or content with bytes that are no UTF-8,
            leads to: ``recover`` gives the attempt up and heals, ``raise`` fails the stream,
            ``skip`` leaves the frame out, with a warning, and what it held is lost; of
            undecodable bytes it lets the frame pass. In a tool call ``skip`` recovers.
            Behind the finish of every choice only ``raise`` minds it.
        empty_answer: What an answer with a normal finish, but without text, refusal or tool
            call leads to: ``accept`` passes it on with a warning, ``recover`` asks again,
            ``raise`` fails. Thinking alone is no answer.
        reorder_window: Most frames held while one with an earlier number is awaited.
        reorder_wait_s: Longest time that it is awaited, in seconds.
        breaker_failures: Failures in a row after which Unbroken sends a target (host and
            model) nothing more of its own; 0 sets no breaker. A break that was healed is none,
            and streams that break at one moment are one. The application's own requests always
            go out.
        breaker_open_s: Seconds after which one request tries it again; an answer that comes
            whole closes it at once.
        targets: Other models, keys or providers that may take over; see `Target`.
        log_raw: Whether the frame at which an attempt failed, and two before it, are kept in
            the outcome and logged as a warning: ``never``, ``on-fault`` with keys and contents
            removed, or ``on-fault-with-contents`` with keys removed.
        capabilities: Rows added before the built-in capability table.
        authorize: Signs or refreshes the headers of a request that Unbroken sends to the
            request's own host; a target elsewhere has its own key.
    """

    mode: Mode = "heal"
    profile: Literal["default", "interactive"] = "default"
    clocks: Clocks | None = None
    rungs: tuple[Rung, ...] = RUNGS
    allow_resend: bool = True
    retry_server_tools: bool = False
    tool_calls: Literal["hold", "stream"] = "hold"
    max_attempts: int = 5
    max_recovery_s: float = 120.0
    max_added_input: float = 3.0
    heal_share: float = 0.1
    heals_always: int = 10
    max_replay_bytes: int = 4 * 1024 * 1024
    max_held_bytes: int = 1024 * 1024
    max_held_s: float = 30.0
    max_frame_bytes: int = 32 * 1024 * 1024
    max_spill_bytes: int = 4 * 1024 * 1024 * 1024
    spill_dir: str | None = None
    malformed: Literal["recover", "raise", "skip"] = "recover"
    empty_answer: Literal["accept", "recover", "raise"] = "accept"
    reorder_window: int = 64
    reorder_wait_s: float = 5.0
    breaker_failures: int = 5
    breaker_open_s: float = 30.0
    targets: tuple[Target, ...] = ()
    log_raw: Literal["never", "on-fault", "on-fault-with-contents"] = "never"
    capabilities: tuple[Mapping[str, Any], ...] = field(default=())
    authorize: Callable[[Request], Request] | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                msg = f"{name} must be one of {', '.join(allowed)}, not {value!r:.80}"
                raise ValueError(msg)
        if self.clocks is not None:
            _must_be("clocks", self.clocks, Clocks, "of the class Clocks")
        _must_be("rungs", self.rungs, (tuple, list, set, frozenset), "a tuple of names")
        unknown = [rung for rung in self.rungs if rung not in RUNGS]
        if unknown:
            msg = f"unknown rungs {', '.join(map(repr, unknown))}; known are {', '.join(RUNGS)}"
            raise ValueError(msg)
        for name in ("allow_resend", "retry_server_tools"):
            _must_be(name, getattr(self, name), bool, "True or False")
        _must_be("capabilities", self.capabilities, (tuple, list), "a tuple of rows")
        for row in self.capabilities:
            _must_be("a row of capabilities", row, Mapping, "a mapping")
        _must_be("targets", self.targets, (tuple, list), "a tuple of Target")
        for target in self.targets:
            if not isinstance(target, Target):  # its value may hold a key
                msg = f"a target must be of the class Target, not {type(target).__name__}"
                raise TypeError(msg)
        if self.spill_dir is not None:
            _must_be("spill_dir", self.spill_dir, str, "a path or None")
        if self.authorize is not None and not callable(self.authorize):
            msg = f"authorize must be a function or None, not {self.authorize!r:.80}"
            raise TypeError(msg)
        for name, least, kind in _LEAST:
            value = getattr(self, name)
            if kind is int:
                _must_be(name, value, int, "a whole number")
            else:
                _must_be(name, value, (int, float), "a number")
            if not value >= least:
                msg = f"{name} must be at least {least}, not {value}"
                raise ValueError(msg)

    @property
    def timing(self) -> Clocks:
        """The clocks in force."""
        if self.clocks is not None:
            return self.clocks
        return _INTERACTIVE if self.profile == "interactive" else _DEFAULT

    def with_mode(self, mode: str) -> Options:
        """Return the same options in another mode.

        Raises:
            ValueError: If there is no such mode.
        """
        changed: Any = mode
        return replace(self, mode=changed)
