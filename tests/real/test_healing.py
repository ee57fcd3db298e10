"""The promise on a real server: greedy answers come out byte-identical, however they break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import openai
import pytest

import unbroken
from tests.real.nginx import Nginx
from tests.real.plain import QUESTION, TOKENS, Answer, ask, base_of, dealt
from unbroken.lab.llama import LlamaServer
from unbroken.lab.proxy.app import FaultProxy

pytestmark = pytest.mark.real

TEN_CUTS = (1, 2, 10, 50, 100, 250, 333, 400, 500, 599)
OPTIONS = unbroken.Options(heals_always=10_000)


@pytest.fixture(scope="session")
def whole(llama_process: LlamaServer) -> Answer:
    """The greedy answer when nothing goes wrong."""
    return ask(llama_process.base_url)


@pytest.fixture(scope="module")
def outcomes() -> list[unbroken.Outcome]:
    return []


@pytest.fixture(scope="module")
def client(outcomes: list[unbroken.Outcome]) -> Iterator[openai.OpenAI]:
    """The openai SDK with the one line changed."""
    http = unbroken.http_client(options=OPTIONS, on_outcome=outcomes.append)
    with openai.OpenAI(
        base_url="http://127.0.0.1", api_key="none", max_retries=0, http_client=http
    ) as made:
        yield made


def healed(client: openai.OpenAI, base_url: str, **settings: object) -> tuple[str, str | None]:
    settings = {"temperature": 0, "max_tokens": TOKENS, **settings}
    text, finish = "", None
    stream = client.with_options(base_url=base_url).chat.completions.create(
        model="any",
        messages=[QUESTION],
        stream=True,
        **settings,
    )
    for event in stream:
        for choice in event.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return text, finish


@pytest.mark.seed("003-test-interrupted")
@pytest.mark.parametrize("how", ["clean", "fin", "rst"])
@pytest.mark.parametrize("cut", TEN_CUTS)
def test_cut_answer_is_byte_identical(
    client: openai.OpenAI,
    proxy: FaultProxy,
    whole: Answer,
    outcomes: list[unbroken.Outcome],
    how: str,
    cut: int,
) -> None:
    proxy.set_plan(f"cut.{how}@{cut}f")
    assert healed(client, base_of(proxy)) == (whole.text, whole.finish)
    assert dealt(proxy) == [f"cut.{how}@{cut}f"]
    assert outcomes[-1].healed
    assert outcomes[-1].complete


def test_answer_cut_four_times_is_byte_identical(
    client: openai.OpenAI, proxy: FaultProxy, whole: Answer
) -> None:
    faults = ["cut.clean@20f", "cut.fin@150f", "cut.rst@300f", "cut.clean@450f"]
    proxy.set_plan(",".join(faults))
    assert healed(client, base_of(proxy)) == (whole.text, whole.finish)
    assert dealt(proxy) == faults


@pytest.mark.seed("001-cause-server-restart")
@pytest.mark.parametrize("cut", TEN_CUTS)
def test_killed_and_restarted_server_is_survived(
    client: openai.OpenAI, llama: LlamaServer, whole: Answer, cut: int
) -> None:
    """The server dies in mid-answer and comes back; the proxy holds the place of the cut."""
    with FaultProxy(llama.url, f"stall@{cut}f@1s") as proxy:

        def kill_and_restart() -> None:
            while not dealt(proxy):
                if done.wait(0.01):
                    return
            llama.kill()
            llama.restart()

        done = threading.Event()
        killer = threading.Thread(target=kill_and_restart)
        killer.start()
        try:
            assert healed(client, base_of(proxy)) == (whole.text, whole.finish)
        finally:
            done.set()
            killer.join()


def test_prefill_alone_goes_on_to_the_letter(proxy: FaultProxy, whole: Answer) -> None:
    """Rung 5 on its own: the begun turn goes on where a real server's answer was cut."""
    stop = next(word for word in whole.pieces if whole.pieces.index(word) > 450)
    truth = ask(base_of(proxy), stop=[stop]).text
    options = unbroken.Options(heals_always=10_000, rungs=("prefill",))
    outcomes: list[unbroken.Outcome] = []
    http = unbroken.http_client(options=options, on_outcome=outcomes.append)
    with openai.OpenAI(base_url=base_of(proxy), api_key="none", http_client=http) as client:
        for cut in (50, 200, 400):
            proxy.set_plan(f"cut.clean@{cut}f")
            # What was written is estimated, and this model's words are long: leave it room.
            text, _ = healed(client, base_of(proxy), stop=[stop], max_tokens=2 * TOKENS)
            assert text == truth
            assert [p.rung for p in outcomes[-1].provenance] == ["first", "prefill"]
            assert outcomes[-1].provenance[-1].guarantee == "seam-verified"


def test_sampled_answer_is_never_continued_unverified(proxy: FaultProxy) -> None:
    """With sampling on, the model writes something else each time: verified, or an error."""
    outcomes: list[unbroken.Outcome] = []
    http = unbroken.http_client(options=OPTIONS, on_outcome=outcomes.append)
    kept = 0
    with openai.OpenAI(base_url=base_of(proxy), api_key="none", http_client=http) as client:
        for cut in (5, 60, 120):
            proxy.set_plan(f"cut.clean@{cut}f")
            try:
                text, _ = healed(client, base_of(proxy), temperature=1.0, max_tokens=200)
            except openai.APIConnectionError as error:
                outcome = unbroken.outcome_of(error)
                assert outcome is not None
                assert outcome.status == "failed"
                assert outcome.text
            else:
                kept += 1
                assert text == outcomes[-1].text
                later = outcomes[-1].provenance[1:]
                assert {p.guarantee for p in later} <= {"prefix-verified", "seam-verified"}
    assert len(outcomes) == 3


@pytest.mark.seed("001-cause-proxy")
def test_nginx_that_hides_a_crash_is_seen_through(
    client: openai.OpenAI,
    nginx: Callable[..., Nginx],
    proxy: FaultProxy,
    whole: Answer,
    outcomes: list[unbroken.Outcome],
) -> None:
    """As shipped, nginx makes a clean end of an upstream's FIN: named a truncation, and healed."""
    front = nginx(proxy.url)
    proxy.set_plan("cut.fin@100f")
    assert healed(client, front.base_url) == (whole.text, whole.finish)
    assert [f.kind.value for f in outcomes[-1].faults][:1] == ["truncated-between-events"]
