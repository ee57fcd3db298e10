"""One trial, so many times: each try in a thread, judged by the oracle, ended by a deadline."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from trials.dialects import Ask, Dialect, dialect_of
from trials.ways import BY_TIME, WAYS, App, counts
from unbroken.lab.model import AnswerSettings, numbered_for
from unbroken.lab.oracle import examine, examine_arguments
from unbroken.lab.server.app import LabServer

__all__ = ["Bench", "Ended", "Played", "Scene", "scene_of", "short_waits"]

Ended = Literal["right", "told", "silent", "hung"]
"""How an application ended: with the whole right text, with an exception, with another text that
it took for the answer, or not at all."""

DEADLINE_S = 5.0
_RECOVERS_S = 0.6  # after so long an overloaded provider has room again
_FEW_TOKENS = 40
_PASSES = re.compile(r"(http\.(?:408|409|429|5\d\d)[^,*]*)(?:\*[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a record's trials are played in.

    Attributes:
        id: The record's.
        plan: What happens to the stream.
        dialect: How it is asked for.
        tool: Whether the answer is a tool call.
        max_tokens: The limit that the application set, or None.
    """

    id: str
    plan: str
    dialect: Dialect
    tool: bool = False
    max_tokens: int | None = None

    @property
    def passing(self) -> str:
        """The plan of a trouble that lasts until it is over, or ``""``.

        An HTTP error that the scenario counts stands for one that goes away with time; one
        without end (``http.504*``) stays.
        """
        found = _PASSES.fullmatch(self.plan.split(";")[0].split(",")[0])
        return f"{found[1]}*" if found else ""


def scene_of(record: dict[str, Any]) -> Scene | None:
    """Return the scene of a record's scenario, or None where the lab cannot play it."""
    scenario = str(record.get("scenario", "")).split()
    if not scenario or not scenario[0].startswith("lab/"):
        return None
    plan = scenario[0].removeprefix("lab/").rstrip(",")
    ways = [x.get("trial") for x in (*record["dead_ends"], *record["workarounds"])]
    return Scene(
        id=record["id"],
        plan=plan,
        dialect=dialect_of(record),
        tool="say=tool" in plan,
        # Where nothing else is wrong, the limit is what the record is about.
        max_tokens=_FEW_TOKENS if "more-tokens" in ways and plan.startswith("ok") else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A trial that was done.

    Attributes:
        way: Its name.
        ended: How each of its tries ended.
        errors: The exceptions' classes, counted.
        seconds: Of the slowest try.
    """

    way: str
    ended: list[Ended]
    errors: Counter[str]
    seconds: float

    @property
    def tries(self) -> int:
        """How often it was tried."""
        return len(self.ended)

    @property
    def worked(self) -> int:
        """How often it worked."""
        return sum(counts(self.way, ended) for ended in self.ended)

    @property
    def note(self) -> str:
        """How the tries ended, in one sentence."""
        said = {
            "right": "ended with the whole right answer",
            "told": "ended with an exception",
            "silent": "ended with a wrong text and no exception",
            "hung": f"had not ended after {DEADLINE_S:g} s",
        }
        parts = [f"{count} {said[ended]}" for ended, count in Counter(self.ended).most_common()]
        return "; ".join(parts)


class Bench:
    """A lab, and the applications that are run against it.

    Args:
        times: How often each trial is done, at the same time.
        deadline_s: When a try that has not ended counts as hung.
    """

    def __init__(self, *, times: int = 5, deadline_s: float = DEADLINE_S) -> None:
        self.times = times
        self.deadline_s = deadline_s
        self._lab = LabServer().start()
        self._count = 0

    def close(self) -> None:
        """Close the lab, and all connections to it."""
        self._lab.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The lab that runs now."""
        return self._lab.url

    def app(self, scene: Scene, *, seed: int = 0, by_time: bool = False) -> App:
        """Make an application for a fresh session of a scene."""
        self._count += 1
        id, settings = f"t{self._count}", AnswerSettings(seed=seed)
        passing = scene.passing if by_time else ""
        session = self._lab.session(passing or scene.plan, id=id, settings=settings)
        if passing:
            lab = self._lab
            timer = threading.Timer(_RECOVERS_S, self._recover, (lab, id, settings))
            timer.daemon = True
            timer.start()
        # By id alone: some plans hold what an SDK would not take in a model's name.
        ask = Ask(model=f"lab/;id={session.id}", max_tokens=scene.max_tokens, tool=scene.tool)
        say = ";say=tool" if scene.tool else ""
        other = self._lab.session(f"ok{say}", id=f"{id}o", settings=session.settings)
        return App(
            url=self._lab.url,
            dialect=scene.dialect,
            ask=ask,
            other=ask.but(model=f"lab/;id={other.id}"),
        )

    @staticmethod
    def _recover(lab: LabServer, id: str, settings: AnswerSettings) -> None:
        with contextlib.suppress(Exception):
            lab.forget(id)
            lab.session("", id=id, settings=settings)

    def play(self, scene: Scene, way: str, do: Callable[[App], str] | None = None) -> Played:
        """Do a trial, all tries at once, and judge each.

        Raises:
            KeyError: If there is no such trial.
        """
        do = do or WAYS[way]
        tries = [_Try(self, scene, do, seed=n, by_time=way in BY_TIME) for n in range(self.times)]
        began = time.monotonic()
        for one in tries:
            one.start()
        for one in tries:
            one.join(max(0.0, began + self.deadline_s - time.monotonic()))
        ended = [one.ended for one in tries]
        if "hung" in ended:  # closing the lab sets free who still waits for it
            self._lab.close()
            self._lab = LabServer().start()
        return Played(
            way=way,
            ended=ended,
            errors=Counter(one.error for one in tries if one.error),
            seconds=max((one.seconds for one in tries), default=0.0),
        )


class _Try(threading.Thread):
    """One application, once."""

    def __init__(
        self, bench: Bench, scene: Scene, do: Callable[[App], str], *, seed: int, by_time: bool
    ) -> None:
        super().__init__(daemon=True, name=f"trial {scene.id}")
        self._app = bench.app(scene, seed=seed, by_time=by_time)
        self._scene, self._do, self._seed = scene, do, seed
        self._over: Ended | None = None
        self.error = ""
        self.seconds = 0.0

    @property
    def ended(self) -> Ended:
        return self._over or "hung"

    def run(self) -> None:
        began = time.monotonic()
        try:
            text = self._do(self._app)
        except Exception as error:  # noqa: BLE001 - whatever an application may end with
            self.error, over = type(error).__name__, "told"
        else:
            over = "right" if self._right(text) else "silent"
        self.seconds = time.monotonic() - began
        self._over = over  # type: ignore[assignment]

    def _right(self, text: str) -> bool:
        settings = AnswerSettings(seed=self._seed)
        if own := re.search(r";tokens=(\d+)", self._scene.plan):
            settings = replace(settings, tokens=int(own[1]))
        numbered = numbered_for(settings)
        judge = examine_arguments if self._scene.tool else examine
        report = judge(text, numbered)
        return report.whole and report.whole_object is not False


@contextlib.contextmanager
def short_waits() -> Iterator[None]:
    """Make the pauses between the SDKs' own retries a tenth of what they are."""
    modules: list[Any] = [import_module(f"{sdk}._base_client") for sdk in ("openai", "anthropic")]
    kept = [(m.INITIAL_RETRY_DELAY, m.MAX_RETRY_DELAY) for m in modules]
    for module in modules:
        module.INITIAL_RETRY_DELAY, module.MAX_RETRY_DELAY = 0.05, 0.8
    try:
        yield
    finally:
        for module, (initial, most) in zip(modules, kept, strict=True):
            module.INITIAL_RETRY_DELAY, module.MAX_RETRY_DELAY = initial, most
