"""What a value must look like to be searched for everywhere, and the forms it may stand in."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

__all__ = ["forms_of", "looks_secret"]

_LEAST = 12
_LEAST_MIXED = 8
_SURE = 20
_WORDS = re.compile(r"[A-Z]?[a-z]+(?:[-_ .,/][A-Z]?[a-z]+)*[.!?]?\Z|[A-Z]+\Z")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]")
_IN_SCRIPTS = re.compile(r"[<>&='+]")
_MOST_FORMS_OF = 4096


def looks_secret(value: str, *, named: bool = False) -> bool:
    """Whether a value is so much of a secret that it may be overwritten wherever it stands.

    One that is a word would be found all over an answer that has nothing to do with it.

    Args:
        value: It.
        named: It stood under a name that only keys have.
    """
    if _WORDS.match(value) and not (named and value.isupper() and len(value) >= _LEAST_MIXED):
        return len(value) >= _SURE and " " not in value
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return len(value) >= (_LEAST_MIXED if named and mixed else _LEAST)


def forms_of(value: str) -> set[bytes]:
    """Return a value as it may stand in a body: as it is, escaped, and in base64."""
    if len(value) > _MOST_FORMS_OF:
        return {value.encode("utf-8", "surrogateescape")}
    texts = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        value.replace("/", "\\/"),
        _IN_SCRIPTS.sub(lambda found: f"\\u{ord(found[0]):04x}", value),
    }
    if value.isascii():
        for digits in ("04x", "04X"):
            texts.add(_NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):{digits}}", value))  # noqa: B023
    percent = quote(value, safe="", errors="surrogateescape")
    texts |= {percent, re.sub(r"%..", lambda found: found[0].lower(), percent)}
    found = {text.encode("utf-8", "surrogateescape") for text in texts}
    raw = value.encode("utf-8", "surrogateescape")
    if len(raw) >= _LEAST:
        for before in range(3):  # how many bytes stand before it in a group of three
            coded = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
            # The first and the last character also hold bits of what stands beside it.
            core = coded[(0, 2, 3)[before] : len(coded) - ((before + len(raw)) % 3 != 0)]
            found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return found
