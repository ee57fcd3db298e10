"""The facts on which healing stands, shown with the plain SDK on a real llama.cpp server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tests.lab.proxy import rig as raw
from tests.real.nginx import Nginx
from tests.real.plain import PREFILL_FLAGS, QUESTION, TOKENS, Answer, ask, base_of, dealt
from unbroken.lab.llama import LlamaServer, LlamaStartError
from unbroken.lab.proxy.app import FaultProxy

pytestmark = pytest.mark.real

TEN_CUTS = (1, 5, 10, 50, 100, 250, 333, 400, 500, 599)
ROLE_EVENT = 1  # the first event of an answer carries the role and no text


@pytest.fixture(scope="session")
def whole(llama_process: LlamaServer) -> Answer:
    """The greedy answer when nothing goes wrong."""
    return ask(llama_process.base_url)


def test_healthy_answer_is_whole_and_repeats_byte_for_byte(
    llama: LlamaServer, whole: Answer
) -> None:
    assert whole.error is None
    assert len(whole.pieces) == TOKENS  # one token, one word, one event
    assert len(set(whole.pieces)) > 100  # not a loop, in which a shifted text could hide
    assert whole.finish == "length"
    assert ask(llama.base_url).text == whole.text


def test_answers_written_side_by_side_do_not_disturb_each_other(
    llama: LlamaServer, whole: Answer
) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(llama.base_url), range(4)))
    assert [answer.text == whole.text for answer in answers] == [True] * 4


def test_answer_can_end_by_a_stop_word(llama: LlamaServer, whole: Answer) -> None:
    word = whole.pieces[40]
    answer = ask(llama.base_url, stop=[word])
    assert answer.finish == "stop"
    assert whole.text.startswith(answer.text)
    assert 0 < len(answer.pieces) <= 40


@pytest.mark.parametrize("cut", TEN_CUTS)
@pytest.mark.parametrize("flags", [PREFILL_FLAGS, {}], ids=["flags", "implicit"])
@pytest.mark.parametrize("cached", [True, False], ids=["warm", "cold"])
def test_greedy_answer_resumed_by_prefill_is_byte_identical(
    llama: LlamaServer, whole: Answer, cut: int, flags: dict[str, bool], cached: bool
) -> None:
    partial = "".join(whole.pieces[:cut])
    # A warm server still has the state in which it wrote the text; a cold one reads it.
    extra = flags | {"cache_prompt": cached}
    rest = ask(llama.base_url, prefill=partial, tokens=TOKENS - cut, extra_body=extra)
    assert rest.error is None
    assert partial + rest.text == whole.text  # exact, and the prefill is not echoed


def test_one_prefill_flag_without_the_other_is_refused(llama: LlamaServer) -> None:
    answer = ask(llama.base_url, prefill=" word", extra_body={"continue_final_message": True})
    assert isinstance(answer.error, openai.BadRequestError)


def test_prefill_is_echoed_where_the_answer_is_not_streamed(
    llama: LlamaServer, whole: Answer
) -> None:
    partial = "".join(whole.pieces[:10])
    assistant = {"role": "assistant", "content": partial}
    question = {"messages": [QUESTION, assistant], "max_tokens": 5, "temperature": 0}
    request = urllib.request.Request(
        f"{llama.base_url}/chat/completions",
        json.dumps(question | PREFILL_FLAGS).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        text = json.load(answer)["choices"][0]["message"]["content"]
    assert text == "".join(whole.pieces[:15])


def test_prefill_cut_inside_a_word_goes_on_in_another_way(
    llama: LlamaServer, whole: Answer
) -> None:
    partial = "".join(whole.pieces[:50])[:-2]
    rest = ask(llama.base_url, prefill=partial, tokens=20)
    assert not whole.text.startswith(partial + rest.text)


def test_sampled_answer_repeats_by_its_seed_but_cannot_be_resumed(llama: LlamaServer) -> None:
    sampled = [ask(llama.base_url, tokens=80, temperature=1, seed=seed) for seed in (7, 7, 8)]
    assert sampled[0].text == sampled[1].text != sampled[2].text
    partial = "".join(sampled[0].pieces[:40])
    rest = ask(llama.base_url, prefill=partial, tokens=40, temperature=1, seed=7)
    assert partial + rest.text != sampled[0].text


def test_cut_by_fin_raises(proxy: FaultProxy, whole: Answer) -> None:
    proxy.set_plan(f"cut.fin@{ROLE_EVENT + 25}f")
    answer = ask(base_of(proxy))
    assert isinstance(answer.error, openai.APIConnectionError)
    assert answer.pieces == whole.pieces[:25]
    assert dealt(proxy) == [f"cut.fin@{ROLE_EVENT + 25}f"]


def test_clean_end_truncates_in_silence(proxy: FaultProxy, whole: Answer) -> None:
    proxy.set_plan(f"cut.clean@{ROLE_EVENT + 25}f")
    answer = ask(base_of(proxy))
    assert answer.error is None
    assert answer.finish is None
    assert answer.pieces == whole.pieces[:25]


def test_fin_is_a_clean_end_to_who_speaks_http_1_0(proxy: FaultProxy) -> None:
    """Without chunks there is no end that could be missing: what nginx as shipped sees."""
    proxy.set_plan("cut.fin@3f")
    question = {"messages": [QUESTION], "stream": True, "max_tokens": 20}
    seen = raw.ask(proxy.port, version="1.0", body=question)
    assert not seen.header("transfer-encoding")
    assert (seen.wire.count(b"\n\n"), seen.ending) == (3, "fin")


def test_nginx_as_shipped_passes_a_healthy_answer(
    llama: LlamaServer, nginx: Callable[..., Nginx], whole: Answer
) -> None:
    answer = ask(nginx(llama.url).base_url)
    assert (answer.error, answer.text) == (None, whole.text)


def test_nginx_as_shipped_turns_a_crash_into_a_clean_end(
    proxy: FaultProxy, nginx: Callable[..., Nginx], whole: Answer
) -> None:
    proxy.set_plan(f"cut.fin@{ROLE_EVENT + 25}f")
    answer = ask(nginx(proxy.url).base_url)
    assert dealt(proxy) == [f"cut.fin@{ROLE_EVENT + 25}f"]
    assert answer.error is None
    assert answer.finish is None
    assert answer.pieces == whole.pieces[:25]


def test_nginx_that_speaks_http_1_1_upstream_does_not_hide_the_crash(
    proxy: FaultProxy, nginx: Callable[..., Nginx]
) -> None:
    proxy.set_plan(f"cut.fin@{ROLE_EVENT + 25}f")
    answer = ask(nginx(proxy.url, "proxy_http_version 1.1;").base_url)
    assert isinstance(answer.error, openai.APIConnectionError)


@pytest.mark.parametrize("cut", TEN_CUTS)
def test_killed_server_started_again_resumes_to_the_same_bytes(
    llama: LlamaServer, whole: Answer, cut: int
) -> None:
    def kill(answer: Answer) -> None:
        if len(answer.pieces) == cut:
            llama.kill()

    # Far more tokens than wanted: else all of them could be under way before the kill.
    partial = ask(llama.base_url, on_piece=kill, tokens=6000)
    port = llama.port
    llama.restart()
    assert isinstance(partial.error, openai.APIConnectionError)
    assert llama.port == port
    kept = "".join(partial.pieces[:cut])
    assert kept == "".join(whole.pieces[:cut])
    rest = ask(llama.base_url, prefill=kept, tokens=TOKENS - cut)
    assert kept + rest.text == whole.text


def test_a_dead_server_refuses_until_it_is_started_again(llama: LlamaServer) -> None:
    llama.kill()
    assert llama.pid is None
    assert isinstance(ask(llama.base_url, tokens=1).error, openai.APIConnectionError)
    llama.restart()
    assert ask(llama.base_url, tokens=1).error is None


def test_a_model_that_cannot_be_read_is_a_clear_error(llama: LlamaServer, tmp_path: Path) -> None:
    model = tmp_path / "no.gguf"
    model.write_bytes(b"this is no model")
    with pytest.raises(LlamaStartError, match=r"(?s)did not become healthy .* its log: .*no\.gguf"):
        LlamaServer(model)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_parent_dies(llama: LlamaServer, blow: signal.Signals) -> None:
    script = (
        "import time\n"
        "from unbroken.lab.llama import LlamaServer\n"
        "with LlamaServer() as server:\n"
        "    print(server.pid, server._folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        parent.send_signal(blow)
        parent.wait(timeout=10)
    deadline = time.monotonic() + 5
    while (_runs(int(pid)) or Path(folder).exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(int(pid))
    assert not Path(folder).exists()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that nobody has waited for is dead as well.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")
