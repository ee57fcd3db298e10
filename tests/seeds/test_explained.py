"""What the seeds call a failure, explained: by their own words, and by the message that is real."""

from __future__ import annotations

import json

import openai
import pytest

import unbroken
from tests.seeds.scenes import breaks, plain, protected, read
from tests.support.faults import Break
from tests.support.faultserver import FaultServer


def _record(what: str | BaseException) -> str:
    found = unbroken.explain(what)
    assert found.record is not None, what
    return found.record.id


@pytest.mark.seed("000-order-message")
def test_an_order_mismatch_is_explained() -> None:
    said = "Error: streaming response chunk order mismatch - expected index 5 but got 7"
    assert _record(said) == "llm/streaming-chunk-order-mismatch"
    assert _record("Chunk order mismatch, expected index 5 but got 7") == (
        "llm/streaming-chunk-order-mismatch"
    )


@pytest.mark.seed("001-incomplete-message")
def test_an_incomplete_stream_is_explained() -> None:
    said = (
        "Error: Incomplete stream response - expected more data but connection closed unexpectedly."
    )
    assert _record(said) == "llm/truncated-response-in-streaming-mode"
    with FaultServer(breaks(*[Break("cut_clean", at=12)] * 2)) as server:
        with (
            protected(server, "raise") as (sdk, _),
            pytest.raises(openai.APIConnectionError) as raised,
        ):
            read(sdk)
    assert _record(raised.value) == "llm/truncated-response-in-streaming-mode"


@pytest.mark.seed("002-message")
def test_a_missing_content_field_is_explained() -> None:
    wanted = "llm/streaming-chunk-missing-content-field"
    assert _record("KeyError: 'content' in streaming response chunk") == wanted
    with pytest.raises(KeyError) as raised:
        json.loads('{"delta": {}}')["delta"]["content"]
    assert _record(raised.value) == wanted


@pytest.mark.seed("003-quick-closed")
def test_a_closed_readable_stream_is_explained() -> None:
    assert _record('"ReadableStream closed"') == "sdk/readable-stream-closed"


@pytest.mark.seed("001-incomplete-message")
def test_what_the_plain_sdk_says_of_a_reset_is_explained() -> None:
    with FaultServer(breaks(*[Break("cut_rst", at=12)] * 2)) as server:
        with plain(server) as sdk, pytest.raises(openai.APIConnectionError) as raised:
            read(sdk)
    assert _record(raised.value) in ("sdk/httpx-read-error", "sdk/openai-api-connection-error")
