"""What the tests of the two Bedrock dialects share: messages by hand, and botocore's parser."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from unbroken.core.wire import AWSEventStreamDecoder, encode_aws_event_stream

HOST = "https://bedrock-runtime.us-east-1.amazonaws.com"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
QUOTED = CLAUDE.replace(":", "%3A")


def event(name: str, **value: Any) -> bytes:
    return encode_aws_event_stream(json.dumps(value).encode(), event=name)


def exception(name: str, **value: Any) -> bytes:
    return encode_aws_event_stream(json.dumps(value).encode(), event=name, failure=True)


def chunk(value: Any) -> bytes:
    held = base64.b64encode(json.dumps(value).encode()).decode()
    return event("chunk", bytes=held, p="abcd")


def values(body: bytes) -> list[tuple[str, Any]]:
    """Return name and value of each message; fail if the body is not whole messages."""
    decoder = AWSEventStreamDecoder()
    frames = decoder.feed(body)
    assert (decoder.pending, decoder.faults) == (b"", [])
    return [(frame.event, json.loads(frame.payload)) for frame in frames]


def botocore_reads(body: bytes, shape: str) -> list[dict[str, Any]]:
    """Return what botocore, which boto3 is made of, gives an application of a body.

    Args:
        body: The body.
        shape: The output of the operation in botocore's model of the service.
    """
    why = "botocore, whose reading this is compared with, is not here"
    eventstream = pytest.importorskip("botocore.eventstream", reason=why)
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.parsers import EventStreamJSONParser

    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(body)
    parser = EventStreamJSONParser()
    return [parser.parse(each.to_response_dict(), model.shape_for(shape)) for each in buffer]
