"""Amazon Bedrock as a server: its binary frames around Anthropic's events, and its signatures.

Written from the formats' descriptions, with `zlib` and `hmac`: tests must trust neither our codec
nor botocore's signer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
import zlib
from collections.abc import Iterable
from urllib.parse import quote

from tests.support.bodies import WireFrame
from tests.support.faultserver import Request

__all__ = ["CONTENT_TYPE", "aws_frame", "bedrock_frames", "exception_frame", "wrong_signature"]

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # type of a header's value


def aws_frame(payload: bytes, **headers: str) -> bytes:
    """One message: two lengths and their CRC, headers, payload, the CRC of it all."""
    packed = b""
    for name, value in headers.items():
        key, said = f":{name.replace('_', '-')}".encode(), value.encode()
        packed += struct.pack(">B", len(key)) + key
        packed += struct.pack(">BH", _STRING, len(said)) + said
    total = 4 + 4 + 4 + len(packed) + len(payload) + 4
    prelude = struct.pack(">II", total, len(packed))
    head = prelude + struct.pack(">I", zlib.crc32(prelude))
    whole = head + packed + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def bedrock_frames(frames: Iterable[WireFrame]) -> list[WireFrame]:
    """Wrap the SSE events of Anthropic's API as InvokeModelWithResponseStream does."""
    out = []
    for number, frame in enumerate(frames):
        event = frame.payload
        if event["type"] == "ping":
            continue
        if event["type"] == "message_stop":
            event["amazon-bedrock-invocationMetrics"] = {"inputTokenCount": 11}
        inside = base64.b64encode(json.dumps(event, ensure_ascii=False).encode()).decode()
        padded = {"bytes": inside, "p": "abcdefghij"[: number % 10]}
        kinds = {"event_type": "chunk", "content_type": "application/json", "message_type": "event"}
        out.append(WireFrame(aws_frame(json.dumps(padded).encode(), **kinds), frame.role))
    return out


def exception_frame(kind: str, message: str) -> bytes:
    """An error inside the stream."""
    headers = {"exception_type": kind, "content_type": "application/json"}
    return aws_frame(json.dumps({"message": message}).encode(), **headers, message_type="exception")


_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/(?P<scope>\S+), SignedHeaders=(?P<names>[^,]+),"
    r" Signature=(?P<signature>\w+)"
)


def wrong_signature(request: Request, secret: str) -> str | None:
    """Check a signature (Signature Version 4) over what arrived; None if it holds.

    The headers that were signed count as they came, as AWS does it.
    """
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        return "no signature"
    names = found["names"].split(";")
    canonical = [
        request.method,
        quote(request.path, safe="/~"),
        request.query,
        *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names),
        "",
        found["names"],
        hashlib.sha256(request.body).hexdigest(),
    ]
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    told = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], found["scope"], digest]
    key = f"AWS4{secret}".encode()
    for part in found["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, "\n".join(told).encode(), "sha256").hex()
    return None if signature == found["signature"] else f"signed {found['names']}"
