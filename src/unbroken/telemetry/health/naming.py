"""What a stream is called in figures: who is asked, and which model."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from unbroken.core.request import Request

__all__ = ["names_of"]

# Gemini's end at a colon and may have slashes; Bedrock's end at a slash.
_IN_PATH = re.compile(r"/models/([^:?]+)|/model/([^/?]+)")


class _Asks(msgspec.Struct):
    model: str = ""


_asks = msgspec.json.Decoder(_Asks)


def names_of(request: Request) -> tuple[str, str]:
    """Return the provider (the host's name) and the model of a request; ``""`` if not told.

    The model stands in the body, or as with Gemini and Bedrock in the path. Nothing else of
    the body is built, however long the prompt is.
    """
    try:
        host = request.host
    except ValueError:  # half an IPv6 address
        host = ""
    model = ""
    if request.body:
        try:
            model = _asks.decode(request.body).model
        except msgspec.MsgspecError:
            model = ""
    if not model:
        found = _IN_PATH.search(request.url)
        model = unquote(found[1] or found[2]) if found else ""
    return host, model
