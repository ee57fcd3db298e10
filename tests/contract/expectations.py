"""What is expected of each fault, in `heal` and in `raise` mode: the table, and its exceptions.

| word     | the SDK's user gets |
|----------|---------------------|
| `whole`  | the whole answer, of one request |
| `healed` | the whole answer, of more than one request |
| `fails`  | an exception that they catch already, with the fault's kind on it |
| `odd`    | what the plain SDK gives: nobody can tell, or nothing is lost by it (a warning) |
| `sdk`    | the exception of the SDK's own code that the plain SDK raises too |
| `before` | what the plain SDK gives: it failed before a 2xx, where the SDK does the retries |
| `refused` | an exception of the SDK's, which looks at the headers of what was healed |

The upstream is whole on the second request; so every fault that a repeated or continued
request can mend is `healed`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Literal

from tests.support.drives import DRIVES, spec_of
from tests.support.faults import FAULTS

__all__ = ["BEFORE", "FEWER", "Expected", "cases", "expected", "kinds_of"]

Expected = Literal["whole", "healed", "fails", "odd", "sdk", "before", "refused"]

# fault             heal    raise
_TABLE = """
ok                  whole   whole
cut_fin             healed  fails
cut_rst             healed  fails
cut_length          healed  fails
cut_clean           healed  fails
cut_close           healed  fails
cut_midline         healed  fails
cut_midchar         healed  fails
cut_no_blank        healed  fails
no_done             healed  fails
no_finish           healed  fails
bad_json            healed  fails
no_content          whole   whole
empty_choices       whole   whole
error_obj           healed  fails
error_nested        healed  fails
failed              healed  fails
error_done          healed  fails
error_field         healed  fails
error_choice        healed  fails
error_bare          healed  fails
stall               healed  fails
ka_stall            healed  fails
ka_dead             healed  fails
empty_dead          healed  fails
endless_comments    healed  fails
slow_drip           whole   whole
html200             healed  fails
json200             healed  fails
empty               healed  fails
start_only          healed  fails
gzip                whole   whole
gzip_cut            healed  fails
gzip_cut_clean      healed  fails
huge_line           healed  fails
dup                 odd     odd
reorder             odd     odd
missing             odd     odd
invalid_utf8        healed  fails
unopened            healed  fails
two_starts          healed  fails
after_finish        odd     odd
false_type          whole   whole
one_read            whole   whole
sliced              whole   whole
warm                whole   whole
close_delimited     whole   whole
cut_before          before  before
garbage             before  before
no_head             before  before
http400             before  before
http429             before  before
http500             before  before
http503             before  before
http529             before  before
"""

# Where a dialect, or the code of one SDK, makes it another.
_EXCEPTIONS = """
no_done        openai-chat         whole   whole    the finish was seen: the content is whole
no_done        anthropic-messages  whole   whole    the same
dup            openai-responses    whole   whole    its numbers tell
reorder        openai-responses    whole   whole    its numbers tell
missing        openai-responses    whole   fails    its numbers tell, and the repeated text has it
unopened       openai-responses    fails   fails    the repeated text shows a hole
unopened       openai-responses-helper        sdk  sdk  its accumulator wants the opening
unopened       openai-responses-helper-async  sdk  sdk  its accumulator wants the opening
after_finish   openai-responses    whole   whole    its finish is the end: what follows is left out
after_finish   ollama              whole   whole    the same
after_finish   cohere              whole   whole    the same
no_content     openai-responses-helper        sdk  sdk  its accumulator adds None to text
no_content     openai-responses-helper-async  sdk  sdk  its accumulator adds None to text
empty_choices  openai-responses-helper        sdk  sdk  its accumulator adds None to text
empty_choices  openai-responses-helper-async  sdk  sdk  its accumulator adds None to text
no_content     anthropic-helper        sdk  sdk  its accumulator adds None to text
no_content     anthropic-helper-async  sdk  sdk  its accumulator adds None to text
empty_choices  anthropic-messages      sdk  sdk  an event without what its type promises
empty_choices  ollama                  sdk  sdk  an event without what its type promises
"""

# Kinds by another name than the table of faults has, or besides it.
_KINDS: dict[str | tuple[str, str], set[str]] = {
    # A comment without a blank line is one frame that grows: whichever limit is met first.
    "endless_comments": {"stalled", "oversized-event"},
    # The error is one line, as any other of this dialect.
    ("json200", "ollama"): {"provider-error"},
    # The text that is repeated at the item's end lacks what went elsewhere.
    ("unopened", "openai-responses"): {"protocol-violation", "missing-event"},
    # Its SDK goes by the content type, and reads nothing of the page.
    ("html200", "cohere"): {"not-a-stream", "cancelled"},
    ("json200", "cohere"): {"not-a-stream", "cancelled"},
    # Nobody set a floor.
    "slow_drip": set(),
    # In Gemini text may follow a finish, and is the answer's.
    ("after_finish", "gemini"): set(),
}


def _rows() -> dict[str, tuple[str, str]]:
    rows = [line.split() for line in _TABLE.strip().splitlines()]
    return {fault: (heal, raised) for fault, heal, raised in rows}


def _exceptions() -> dict[tuple[str, str], tuple[str, str]]:
    rows = [line.split(maxsplit=4) for line in _EXCEPTIONS.strip().splitlines()]
    return {(fault, where): (heal, raised) for fault, where, heal, raised, _ in rows}


_ROWS, _OTHERS = _rows(), _exceptions()
BEFORE = tuple(fault for fault, row in _ROWS.items() if row[0] == "before")


def expected(name: str, fault: str, mode: str) -> Expected:
    """What the user of a drive gets."""
    row = _ROWS[fault]
    for where in (spec_of(name).dialect, name):
        row = _OTHERS.get((fault, where), row)
    word: Expected = row[0 if mode == "heal" else 1]  # type: ignore[assignment]
    return word


def kinds_of(name: str, fault: str) -> set[str]:
    """The kinds that the fault may be told as; empty where there is nothing to tell."""
    for key in (fault, (fault, spec_of(name).dialect)):
        if key in _KINDS:
            return _KINDS[key]
    kind = FAULTS[fault].kind_for(spec_of(name).dialect)
    return set() if kind is None else {kind}


# What an async helper adds to the async `create` is its accumulator, and that is the sync one's.
FEWER = tuple(name for name in DRIVES if not name.endswith("helper-async"))


def cases(*, drives: Iterable[str] = DRIVES, but: Container[str] = ()) -> list[tuple[str, str]]:
    """All (drive, fault) pairs that can be done."""
    return [
        (name, fault)
        for name, spec in ((name, spec_of(name)) for name in drives)
        for fault in _ROWS
        if fault not in but
        and spec.dialect in FAULTS[fault].dialects
        # A clock tells no `create` from a `.stream()`: one of the two will do.
        and not (fault in _TIMED and "helper" in name)
    ]


_TIMED = ("stall", "ka_stall", "ka_dead", "empty_dead", "slow_drip", "no_head")
assert _ROWS.keys() == FAULTS.keys(), _ROWS.keys() ^ FAULTS.keys()
