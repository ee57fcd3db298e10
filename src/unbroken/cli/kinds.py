"""What kind of file somebody gave, so that a command it is not for can name the right one."""

from __future__ import annotations

import re

__all__ = ["better_for"]

_HEAD_BYTES = 64 * 1024
_RECORDING = re.compile(rb'\s*\{\s*"type"\s*:\s*"recording"')
_HAR = re.compile(rb'\s*\{\s*"log"\s*:\s*\{\s*"(?:version|creator|browser|pages|entries)"')
_FIELD = re.compile(rb"(?:data|event|id|retry)?:")


def better_for(name: str, head: bytes, *, bodies: bool = True) -> str:
    """Return in one line which command a file is for, or ``""`` where it may be a text.

    Args:
        name: What the file is called.
        head: How it begins; 64 KiB are enough.
        bodies: Tell of recorded bodies too.
    """
    head = head[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _RECORDING.match(head):
        return f"{name} is a recording; what broke in it, and why: unbroken report {name}"
    if _HAR.match(head):
        return f"{name} is a browser's HAR; what broke in it, and why: unbroken report {name}"
    if bodies and _is_body(head):
        return f"{name} is a recorded body; whether it is whole: unbroken check {name}"
    return ""


def _is_body(head: bytes) -> bool:
    """Whether these are frames of a stream and nothing else: a log may quote some."""
    lines = [line for line in head.splitlines() if line.strip()]
    if len(head) == _HEAD_BYTES:
        lines = lines[:-1]  # torn
    if not lines:
        return False
    if all(_FIELD.match(line) for line in lines):
        return any(line.startswith((b"data:", b"event:")) for line in lines)
    if len(lines) < 2 or not all(line.startswith(b"{") for line in lines):
        return False
    from unbroken.core.verdict import recognise  # loads the dialects

    return recognise(head) is not None
