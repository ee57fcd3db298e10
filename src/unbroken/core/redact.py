"""Frames that can be shown: what a failure looked like, without keys and without contents.

A frame at which an attempt failed is kept only where the user asked for it (`Options.log_raw`),
and then as this module leaves it:

- **Keys** never stay: those of the request by their exact value, others by their looks, by the
  name they stand under, and also where they are escaped or in base64.
- **Contents** stay only if asked for. Else the frame's structure is left: names of fields,
  numbers, and the few values that say what a frame is (types, finish reasons, error codes).
  Every other text becomes its length. What is shown is a list of what is harmless, not what
  is hidden a list of what is not: a field that is not known here is hidden.

The JSON is read by a scanner of our own, not by a parser, since what is to be shown is often
what no parser takes: a frame cut in its middle, or one with something behind its end. It keeps
the places of what it replaces, and where the text stops being JSON it shows nothing more.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from typing import Literal

from unbroken.core.wire import Wire

__all__ = ["CONTAINERS", "IDS", "MAX_SHOWN_BYTES", "SHOWN_VALUES", "Redactor"]

MAX_SHOWN_BYTES = 4096
"""How much of one frame is looked at; of the rest only the size is told."""

_REMOVED = "[removed]"

# What keys look like -------------------------------------------------------------------------

_SECRET = re.compile(
    r"""
    (?:sk|pk|rk)[-_][A-Za-z0-9_-]{6,}           # OpenAI, Anthropic, OpenRouter, Stripe
    | (?:gsk|hf|r8|csk|fw|glpat|npm)[-_][A-Za-z0-9_-]{8,}
    | (?:xai|nvapi|pplx|tgp|lsv2|key|pat)[-_][A-Za-z0-9_-]{8,}
    | AIza[A-Za-z0-9_-]{16,} | ya29\.[A-Za-z0-9_-]{8,}
    | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,} | ABSK[A-Za-z0-9+/=]{16,}
    | bedrock-api-key-[A-Za-z0-9+/=_-]+
    | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{16,} | xox[abeprs]-[A-Za-z0-9-]{8,}
    | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?           # JWT
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ A-Z]*-----|\Z)
    | (?i:bearer|basic)(?:\s|%20)+[A-Za-z0-9._~+/=-]{6,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                                        # user:password@host
    """,
    re.VERBOSE,
)
_SECRET_NAMES = (
    r"(?:api|access|secret|private|auth|account|subscription)[-_ ]?(?:access[-_ ]?)?(?:key|token)"
    r"|aws_[a-z_]*(?:key|token)[a-z_]*|x-amz-security-token|client[-_]?secret"
    r"|authorization|secret|passw(?:or)?d|passphrase|credentials?|cookie|session[-_]?token"
)
_SECRET_NAME = re.compile(rf"(?i)(?:x-|x-goog-)?(?:{_SECRET_NAMES})\Z")
_NAMED = re.compile(
    rf"""(?i)(?P<name>(?:{_SECRET_NAMES}|[?&]key)[\s"'\\]*[:=][\s"'\\]*)"""
    r"""(?P<value>[^\s"'\\,;&}\]]{3,})"""
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_ESCAPE = re.compile(r"\\u00([0-7][0-9a-fA-F])")
_KEY_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
    | {"x-amz-security-token", "ocp-apim-subscription-key"}
)

# What says what a frame is, and nothing of what it says ---------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SHOWN_VALUES = _words(
    """type object role status code finish_reason native_finish_reason finishReason stop_reason
    stopReason done_reason blockReason reason event event_type error_type delta_type phase model
    model_version modelVersion service_tier modality category probability param"""
)
IDS = re.compile(r"(?:id|.*_id|.*Id|system_fingerprint)\Z")
_ID_PREFIX = re.compile(
    r"(?:chatcmpl|cmpl|msg|resp|call|toolu|srvtoolu|fc|rs|ctc|ws|gen|req|item|run|thread|fp)[-_]"
)
CONTAINERS = _words(
    """choices delta message messages error errors usage content parts part candidates candidate
    usageMetadata usage_metadata promptFeedback safetyRatings content_block content_blocks
    response item output outputs tool_calls tool_call function functionCall function_call logprobs
    content_filter_results prompt_filter_results promptTokensDetails candidatesTokensDetails
    cacheTokensDetails server_tool_use cache_creation annotations citations summary
    incomplete_details reasoning reasoning_details interaction step steps metrics
    details status_details text format tools start contentBlock messageStart messageStop
    contentBlockStart contentBlockDelta contentBlockStop tokens billed_units
    prompt_tokens_details completion_tokens_details input_tokens_details output_tokens_details
    iterations stats x_groq timings"""
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}\Z")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:/@-]{0,63}\Z")
_EVENT_NAME = re.compile(r"[a-z]+(?:[._-][a-z]+)*\Z")

# JSON ----------------------------------------------------------------------------------------

_BLANK = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"|\\?\Z)', re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,17}(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?(?![\w.+-])")
_LITERAL = re.compile(r"(?:true|false|null)(?!\w)")
_LINE_END = re.compile(r"(\r\n|\n|\r)")

_Expect = Literal["value", "item-or-end", "name", "name-or-end", "colon", "comma-or-end", "done"]


class Redactor:
    """Make frames fit to be kept and logged.

    Args:
        contents: Leave contents in, and remove keys only.
        secrets: Texts that must not stay, whatever they look like: the request's own keys.
    """

    def __init__(self, *, contents: bool = False, secrets: Iterable[str] = ()) -> None:
        self._contents = contents
        known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
        self._whole = known
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    @classmethod
    def for_request(
        cls, headers: Iterable[tuple[str, str]], url: str, *, contents: bool
    ) -> Redactor:
        """Return a redactor that knows the keys of a request."""
        secrets: list[str] = []
        for name, value in headers:
            if name.lower() in _KEY_HEADERS or _SECRET_NAME.match(name):
                secrets += [value, value.partition(" ")[2]]
        secrets += re.findall(r"[?&](?:key|api[-_]?key|token)=([^&#]+)", url)
        return cls(contents=contents, secrets=secrets)

    def frame(self, raw: bytes, wire: Wire = "sse", *, size: int | None = None) -> str:
        """Return what may be shown of a frame, or of the beginning of one.

        Args:
            raw: Its bytes, or the first of them; of an AWS event-stream message, its payload.
            wire: How it is framed.
            size: Its whole length, where that is more.
        """
        head = raw[:MAX_SHOWN_BYTES]
        size = len(raw) if size is None else size
        more = size - len(head)
        text = head.decode("utf-8", "replace")
        if more:
            text = text.rstrip("\ufffd")
        text = self._without_half_a_key(text)
        if head[:1] not in b"<" and sum(c < " " and c not in "\t\r\n" for c in text) > 2:
            return f"<{size} bytes, binary>"
        if wire == "sse" and not text.lstrip("\ufeff \t\r\n").startswith(("{", "[", "<")):
            shown = self._sse(text)
        else:
            shown = self._payload(text)
        if more:
            shown += f"<{more} bytes more>"
        return shown.encode("utf-8", "backslashreplace").decode()

    def _without_half_a_key(self, text: str) -> str:
        """Cut off the beginning of a known key with which a frame that is cut may end."""
        for secret in self._whole:
            for length in range(len(secret) - 1, 3, -1):
                if text.endswith(secret[:length]):
                    return text[:-length]
        return text

    # Framing ------------------------------------------------------------------------------

    def _sse(self, text: str) -> str:
        pieces = _LINE_END.split(text)
        lines, ends = pieces[::2], [*pieces[1::2], ""]
        data = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
        shown = iter(self._payload("\n".join(data)).split("\n") if data else ())
        out: list[str] = []
        for line, end in zip(lines, ends, strict=True):
            name, colon, value = line.partition(":")
            if name == "data" and colon:
                each = next(shown, None)  # of several lines that became one, the rest is empty
                out.append("data:" if each is None else f"data: {each}")
            elif not line:
                pass
            elif self._contents:
                out.append(self._clean(line))
            elif name == "event" and len(value) < 64 and _EVENT_NAME.match(value.strip()):
                out.append(line if not self._secret(value) else "event: " + _REMOVED)
            elif name == "retry" and value.strip().isdecimal() and len(value) < 12:
                out.append(line)
            elif name in ("event", "id", ""):
                out.append(f"{name}: {_size(value.strip())}")
            else:
                out.append(_size(line))
            out.append(end)
        return "".join(out)

    def _payload(self, text: str) -> str:
        bare = text.strip("\ufeff \t\r\n")
        if bare in ("", "[DONE]"):
            return text
        if bare[0] in "{[,]":
            return _Scan(self, text).run()
        if self._contents:
            return self._clean(text)
        looks = "HTML" if bare[0] == "<" else "text"
        return f"<{len(text.encode('utf-8', 'replace'))} bytes, {looks}>"

    # Texts --------------------------------------------------------------------------------

    def _secret(self, text: str) -> bool:
        return bool(_SECRET.search(text) or (self._known is not None and self._known.search(text)))

    def _clean(self, text: str) -> str:
        """Return text with the keys removed; nothing of it where a key hides in it."""
        if self._known is not None:
            text = self._known.sub(_REMOVED, text)
        text = _SECRET.sub(_REMOVED, text)
        text = _NAMED.sub(lambda found: found["name"] + _REMOVED, text)
        if self._hidden(text):
            return f"{_size(text)[:-1]}, a key among them>"
        return text

    def _hidden(self, text: str) -> bool:
        plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
        if plain != text and (self._secret(plain) or _NAMED.search(plain)):
            return True
        for run in _BASE64.findall(plain):
            for at in range(4):  # what stands before it may look like a part of it
                inner = _unbase64(run[at:])
                if inner and (self._secret(inner) or _NAMED.search(inner)):
                    return True
        return False

    def _string(self, raw: str, *, name: str | None, hidden: bool) -> str:
        """Return what to show in place of a string's bytes, quotes included where they are."""
        closed = len(raw) > 1 and raw.endswith('"')
        inner = raw[1:-1] if closed else raw[1:]
        quote = '"' if closed else ""
        value = _unescape(inner)
        if self._contents:
            if name is not None and _SECRET_NAME.match(name):
                return f'"{_REMOVED}{quote}'
            cleaned = self._clean(value)
            if cleaned == value and not self._hidden(inner):
                return raw
            return json.dumps(cleaned, ensure_ascii=False)[:-1] + quote
        if not value:
            return raw
        if name is not None and not hidden and closed:
            if name in SHOWN_VALUES and _WORD.match(value) and self._clean(value) == value:
                return raw
            if IDS.match(name):
                prefix = _ID_PREFIX.match(value)
                start = prefix[0] if prefix else ""
                return f'"{start}{_size(value[len(start) :])}"'
        return f'"{_size(value)}{quote}'

    def _name(self, raw: str, *, hidden: bool) -> str:
        if self._contents:
            return self._string(raw, name=None, hidden=hidden)
        closed = len(raw) > 1 and raw.endswith('"')
        if closed and not hidden and _NAME.match(raw[1:-1]) and not self._secret(raw):
            return raw
        return f'"{_size(_unescape(raw[1:-1] if closed else raw[1:]))}' + ('"' if closed else "")


class _Scan:
    """One pass over a text that should be JSON, writing what may be shown of it."""

    def __init__(self, redactor: Redactor, text: str) -> None:
        self._redactor = redactor
        self._text = text
        self._at = 0
        self._out: list[str] = []
        self._open: list[tuple[str, bool]] = []  # bracket, hidden
        self._name: str | None = None
        self._expect: _Expect = "value"

    def run(self) -> str:
        lead = re.match(r"[\s\ufeff,\]]*", self._text)  # between the items of a JSON array
        if lead is not None:
            self._out.append(lead[0])
            self._at = lead.end()
        while True:
            blank = _BLANK.match(self._text, self._at)
            if blank is not None:
                self._out.append(blank[0])
                self._at = blank.end()
            if self._at >= len(self._text):
                break
            if not self._step(self._text[self._at]):
                self._out.append(self._rest())
                break
        return "".join(self._out)

    @property
    def _hidden(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def _rest(self) -> str:
        rest = self._text[self._at :]
        if self._redactor._contents:
            return self._redactor._clean(rest)
        return f"<{len(rest)} characters that are not JSON>"

    def _put(self, shown: str, length: int) -> bool:
        self._out.append(shown)
        self._at += length
        return True

    def _step(self, char: str) -> bool:
        """Take one token; False where the text is not JSON."""
        match self._expect:
            case "value" | "item-or-end":
                if char == "]" and self._expect == "item-or-end":
                    return self._close(char)
                return self._value(char)
            case "name" | "name-or-end":
                if char == "}" and self._expect == "name-or-end":
                    return self._close(char)
                return self._member(char)
            case "colon":
                self._expect = "value"
                return char == ":" and self._put(char, 1)
            case "comma-or-end":
                if char == ",":
                    self._expect = "name" if self._open[-1][0] == "{" else "value"
                    return self._put(char, 1)
                return self._close(char)
            case _:  # the items of a JSON array follow each other
                return char in ",]" and self._put(char, 1)

    def _close(self, char: str) -> bool:
        if not self._open or {"{": "}", "[": "]"}[self._open[-1][0]] != char:
            return False
        self._open.pop()
        self._valued()
        return self._put(char, 1)

    def _valued(self) -> None:
        self._name = None
        self._expect = "comma-or-end" if self._open else "done"

    def _member(self, char: str) -> bool:
        found = _STRING.match(self._text, self._at) if char == '"' else None
        if found is None:
            return False
        self._name = _unescape(found[0].strip('"'))
        self._expect = "colon"
        return self._put(self._redactor._name(found[0], hidden=self._hidden), len(found[0]))

    def _value(self, char: str) -> bool:
        if char in "{[":
            known = self._name is None or self._name in CONTAINERS
            self._open.append((char, self._hidden or not known))
            self._expect = "name-or-end" if char == "{" else "item-or-end"
            self._name = None
            return self._put(char, 1)
        if char == '"':
            found = _STRING.match(self._text, self._at)
            assert found is not None, "every quote begins a string, closed or not"
            shown = self._redactor._string(found[0], name=self._name, hidden=self._hidden)
            self._valued()
            return self._put(shown, len(found[0]))
        literal = _LITERAL.match(self._text, self._at)
        found = literal or _NUMBER.match(self._text, self._at)
        if found is None:
            return False
        # Numbers in a list may be the contents in numbers: tokens, bytes, an embedding.
        plain = self._name is not None and not self._hidden
        shown = found[0]
        if not plain and not self._redactor._contents:
            shown = "<literal>" if literal else "<number>"
        self._valued()
        return self._put(shown, len(found[0]))


def _size(text: str) -> str:
    return f"<{len(text)} characters>"


def _unescape(inner: str) -> str:
    """Return what a JSON string says; as it stands where that cannot be told."""
    try:
        return str(json.loads(f'"{inner}"', strict=False))
    except ValueError:
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), inner)


def _unbase64(run: str) -> str:
    run = run.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(run[: len(run) // 4 * 4]).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""
