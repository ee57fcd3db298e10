"""What a fault calls itself is what a careful reader of the body reports: ours, here.

The lab trusts nothing of Unbroken, so each is checked against the other.
"""

from __future__ import annotations

import pytest

from tests.lab.bodies import NAMES, TEXT
from tests.lab.injectors.playing import play
from unbroken.core.verdict import check
from unbroken.lab.injectors import INJECTORS, Injector

# Not to be seen in the bytes of a body alone: time, connection, coding of the transport.
UNSEEN = {
    "bad-framing", "drip", "endless", "gzip", "half-head", "http", "length", "refuse",
    "slow-head", "stall", "trailing",
}  # fmt: skip
# The answer is whole for whoever has room; whether there is, is the reader's limit.
LIMITS = {"oversized"}
# Fatal all the same, under another name: plain text is told from a cut event by its type only.
OTHERWISE = {("page", "text")}

CASES = [
    pytest.param(cls, how, id=f"{cls.name}{'.' if how else ''}{how}")
    for cls in INJECTORS.values()
    for how in cls.hows or ("",)
    if cls.name not in UNSEEN
]


@pytest.mark.parametrize(("cls", "how"), CASES)
def test_kind(cls: type[Injector], how: str) -> None:
    small = "@x300" if cls.name in LIMITS else ""
    fault = (f"{cls.name}.{how}" if how else cls.name) + small
    for dialect in NAMES:
        if how not in cls.hows_in(dialect):
            continue
        played = play(fault, dialect, call=cls.name == "tool-cut")
        reset = played.stop in ("rst", "fin") and cls.name != "early-close" and how != "close"
        outcome = check(
            played.body,
            dialect,
            "reset" if reset else "eof",
            content_type=played.head.headers.get("content-type", ""),
        )
        found = {str(fault.kind) for fault in outcome.faults}
        fatal = {str(fault.kind) for fault in outcome.faults if fault.fatal}
        kind = "" if cls.name in LIMITS else cls.kind_for(how, dialect)
        if (cls.name, how) in OTHERWISE:
            assert fatal, dialect
        elif kind:
            assert kind in found, dialect
        else:
            assert not fatal, dialect
            assert outcome.status == "complete", dialect
            whole = "".join(TEXT)
            assert (outcome.text == whole) != cls.is_hidden(how, dialect), dialect
