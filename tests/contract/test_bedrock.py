"""The real Anthropic client for Bedrock, over binary frames and signed requests.

The server is on this machine, but is asked under AWS's own name, and checks signatures.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import cache
from typing import Any

import httpx2
import pytest

import unbroken
from tests.contract.rig import options
from tests.docs.markdown import ROOT, blocks_of
from tests.support.aws import CONTENT_TYPE, bedrock_frames, exception_frame, wrong_signature
from tests.support.bodies import body
from tests.support.faults import STORY
from tests.support.faultserver import FaultServer, Reply
from tests.support.model import Model

pytest.importorskip("botocore", reason="botocore is not installed")
pytest.importorskip("boto3", reason="boto3 is not installed")

import anthropic
import botocore.auth

_KEY, _SECRET, _REGION = "AKIDEXAMPLE", "not-a-secret", "us-east-1"
_MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@cache
def _documented() -> Any:
    """The function of docs/how-to/bedrock.md: what readers copy is what is tested here."""
    page = (ROOT / "docs" / "how-to" / "bedrock.md").read_text("utf-8")
    (block,) = (block for block in blocks_of(page) if "def sign(" in block.code)
    namespace: dict[str, Any] = {"unbroken": unbroken}
    exec(block.code, namespace)
    return namespace["sign"]


def sign(request: unbroken.Request) -> unbroken.Request:
    return _documented()(request)


class _Bedrock:
    """A model behind Bedrock; `cut(number, frames)` may break the answer to a request."""

    def __init__(self, cut: Any = None) -> None:
        self.model = Model(dialect="anthropic-messages", answer=STORY, allow_trailing_space=False)
        self.signatures: list[str | None] = []
        self._cut = cut or (lambda number, frames: frames)

    def __call__(self, request: Any) -> Reply:
        self.signatures.append(wrong_signature(request, _SECRET))
        frames = self.model.frames(request)
        if isinstance(frames, Reply):
            return frames
        made = self._cut(len(self.model.attempts), bedrock_frames(frames))
        headers = {"content-type": CONTENT_TYPE}
        if isinstance(made, tuple):
            pieces, end = made
            return Reply(headers=headers, pieces=pieces, end=end)
        return Reply(headers=headers, pieces=made)


def _there(request: Any, port: int) -> Any:
    request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
    return request


class _Here(httpx2.HTTPTransport):
    """Leads every connection to the server; name and signature stay as they are."""

    port = 0

    def handle_request(self, request: Any) -> Any:
        return super().handle_request(_there(request, self.port))


class _AsyncHere(httpx2.AsyncHTTPTransport):
    port = 0

    async def handle_async_request(self, request: Any) -> Any:
        return await super().handle_async_request(_there(request, self.port))


def _settings(http_client: Any) -> dict[str, Any]:
    return {
        "aws_access_key": _KEY,
        "aws_secret_key": _SECRET,
        "aws_region": _REGION,
        "http_client": http_client,
        "max_retries": 0,
    }


_ASKED: dict[str, Any] = {
    "model": _MODEL,
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "Tell me the story."}],
    "stream": True,
}


class _Ask:
    """One question over one client; what came, and what was raised."""

    def __init__(self, bedrock: _Bedrock, opts: unbroken.Options | None, **asked: Any) -> None:
        self.text, self.events = "", 0
        self.error: Exception | None = None
        self.outcomes: list[unbroken.Outcome] = []
        self.raw: list[bytes] = []
        with FaultServer(bedrock) as server:
            transport = _Here()
            transport.port = server.port
            http_client = (
                httpx2.Client(transport=transport)
                if opts is None
                else unbroken.http_client(
                    options=opts, transport=transport, on_outcome=self.outcomes.append
                )
            )
            client = anthropic.AnthropicBedrock(**_settings(http_client))
            try:
                for event in client.messages.create(**(_ASKED | asked)):
                    self.events += 1
                    self.text += "".join(unbroken.iter_text([event]))
            except Exception as error:
                self.error = error
            http_client.close()
            assert server.wait_for_open(0, 1.0)
            self.requests = list(server.requests)

    @property
    def outcome(self) -> unbroken.Outcome:
        (only,) = self.outcomes
        return only


def _at(number: int, place: int, *, role: str = "text", rest: Any = ()) -> Any:
    """Cut the answer to the first request after so many frames of a role."""

    def cut(attempt: int, frames: Any) -> Any:
        if attempt > number:
            return frames
        places = [index for index, frame in enumerate(frames) if frame.role == role]
        return [*frames[: places[place]], *rest]

    return cut


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
def test_a_healthy_answer_is_as_without_us(mode):
    plain, ours = _Ask(_Bedrock(), None), _Ask(_Bedrock(), options(mode))
    assert plain.text == ours.text == STORY.text
    assert ours.events == plain.events
    assert ours.outcome.status == "complete"
    assert ours.outcome.usage is not None


@pytest.mark.parametrize("mode", ["heal", "raise", "observe"])
def test_the_sdk_s_signature_still_holds(mode):
    """We may touch nothing that was signed, or AWS refuses the request."""
    bedrock = _Bedrock()
    _Ask(bedrock, None)
    assert bedrock.signatures == [None]
    bedrock = _Bedrock()
    _Ask(bedrock, options(mode))
    assert bedrock.signatures == [None]


def test_every_byte_passes():
    raw = b"".join(bedrock_frames(body("anthropic-messages", STORY)))
    with FaultServer(_Bedrock()) as server:
        transport = _Here()
        transport.port = server.port
        url = f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{_MODEL}"
        with unbroken.http_client(options=options(), transport=transport) as client:
            asked = {"anthropic_version": "bedrock-2023-05-31", "messages": _ASKED["messages"]}
            with client.stream("POST", f"{url}/invoke-with-response-stream", json=asked) as got:
                assert b"".join(got.iter_raw()) == raw
            assert got.extensions["unbroken"].outcome.text == STORY.text


# ---------------------------------------------------------------- healed


def test_a_cut_before_content_is_sent_again_unchanged_while_its_signature_is_young():
    bedrock = _Bedrock(_at(1, 0))
    run = _Ask(bedrock, options())
    assert run.error is None
    assert run.text == STORY.text
    assert [record.rung for record in run.outcome.attempts] == ["first", "retry"]
    first, again = run.requests
    assert again.headers["authorization"] == first.headers["authorization"]
    assert again.body == first.body


def test_a_cut_before_content_is_signed_anew():
    bedrock = _Bedrock(_at(1, 0))
    run = _Ask(bedrock, options(authorize=sign))
    assert run.text == STORY.text
    assert [record.rung for record in run.outcome.attempts] == ["first", "retry"]
    assert bedrock.signatures[1] is None
    assert run.requests[0].headers["authorization"] != run.requests[1].headers["authorization"]


@pytest.mark.parametrize("end", ["clean", "rst", "half a frame"])
def test_a_cut_in_mid_answer_is_continued_by_prefill_and_signed_anew(end):
    def cut(attempt, frames):
        if attempt > 1:
            return frames
        whole = frames[:24]
        return (whole, "rst") if end == "rst" else [*whole, frames[24][: 40 * (end != "clean")]]

    bedrock = _Bedrock(cut)
    run = _Ask(bedrock, options(authorize=sign))
    assert run.error is None, run.error
    assert run.text == STORY.text
    assert [record.rung for record in run.outcome.attempts] == ["first", "prefill"]
    assert bedrock.signatures[1] is None
    assert bedrock.model.attempts[1].asked == "prefill"


def test_without_authorize_a_cut_in_mid_answer_is_an_honest_error():
    run = _Ask(_Bedrock(_at(1, 22)), options())
    assert isinstance(run.error, anthropic.APIConnectionError)
    outcome = unbroken.outcome_of(run.error)
    assert outcome is run.outcome
    assert outcome.status == "failed"
    assert outcome.text == run.text == "".join(STORY.tokens[:22])
    assert len(run.requests) == 1
    assert any("authorize" in skipped.why for skipped in outcome.skipped)


def test_an_old_signature_is_not_sent_again(monkeypatch):
    """The clock of the SDK's machine says that it was signed six minutes ago."""
    now = botocore.auth.get_current_datetime
    late = timedelta(minutes=6)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now() - late)
    run = _Ask(_Bedrock(_at(1, 0)), options())
    assert run.error is not None
    assert len(run.requests) == 1
    assert any("its signature is 36" in skipped.why for skipped in run.outcome.skipped)


# ---------------------------------------------------------------- errors of the provider


def test_throttling_in_mid_answer_is_healed():
    throttled = exception_frame("throttlingException", "Too many requests")
    bedrock = _Bedrock(_at(1, 22, rest=[throttled]))
    run = _Ask(bedrock, options(authorize=sign))
    assert run.error is None, run.error
    assert run.text == STORY.text
    assert run.outcome.attempts[0].fault.kind == "provider-error"


def test_a_refusal_in_mid_answer_is_the_sdk_s_own_error():
    refused = exception_frame("validationException", "Malformed input request")
    cut = _at(9, 22, rest=[refused])
    plain, run = _Ask(_Bedrock(cut), None), _Ask(_Bedrock(cut), options(authorize=sign))
    assert type(run.error) is type(plain.error)
    assert str(run.error) == str(plain.error)
    assert len(run.requests) == 1


def test_raise_mode_raises_what_users_catch():
    run = _Ask(_Bedrock(_at(1, 22)), options("raise"))
    assert isinstance(run.error, anthropic.APIConnectionError)
    assert run.outcome.fault.kind == "truncated-between-events"
    assert _Ask(_Bedrock(_at(1, 22)), None).error is None  # without us: short, and no error


# ---------------------------------------------------------------- async


@pytest.mark.parametrize("place", [0, 22])
def test_async(place):
    bedrock = _Bedrock(_at(1, place))

    async def main(server):
        transport = _AsyncHere()
        transport.port = server.port
        http_client = unbroken.async_http_client(
            options=options(authorize=sign), transport=transport
        )
        client = anthropic.AsyncAnthropicBedrock(**_settings(http_client))
        stream = await client.messages.create(**_ASKED)
        text = "".join([text async for text in unbroken.aiter_text(stream)])
        await client.close()
        return text

    with FaultServer(bedrock) as server:
        assert asyncio.run(main(server)) == STORY.text
        assert len(server.requests) == 2
    assert bedrock.signatures[1] is None
