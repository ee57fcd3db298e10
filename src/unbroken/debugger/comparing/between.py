"""What two recordings of one stream say of what stood between the places where they were made."""

from __future__ import annotations

from unbroken.debugger.comparing.compare import AttemptDiff
from unbroken.debugger.comparing.side import Figures

__all__ = ["said_between"]

_CUT = frozenset({"incomplete", "reset"})
_WHOLE = frozenset({"complete", "limited", "filtered", "paused"})
_ALIKE = 0.5
"""Share of the shorter text that two recordings of one answer have in common, at least."""
_CLUMPED_FRAMES = 4.0
_TIMES = 3.0
_LATE_S = 1.0
_MANY = 4


def said_between(found: AttemptDiff, *, paced: bool = True) -> list[str]:
    """Return what follows if A was taken before a middlebox, and B behind it.

    Before is on the provider's side. Each is one sentence; there is none where the two differ in
    nothing that a middlebox could do.

    Args:
        found: How they differ.
        paced: Both recordings know the times of single reads.
    """
    a, b = found.a, found.b
    if _unlike(found):
        counts = f"{_shared(found):,} of {_characters(a):,} and {_characters(b):,} characters"
        return [
            (
                f"are these the same answer? Their texts share little ({counts} from the start), so"
                " nothing follows for what stands between: record one request in both places"
            )
        ]
    said = [*_ends(found), *_head(a, b), *_pace(a, b, paced=paced), *_frames(found)]
    if b.verdict and a.verdict and not found.ends_differ:
        new = [kind for kind in dict.fromkeys(b.faults) if kind not in a.faults]
        if new and a.verdict == "complete" and not said:
            said.append(f"what is wrong in B ({', '.join(new)}) is not in A: it arises between")
    failed_alike = a.faults and a.faults == b.faults and not found.ends_differ
    if failed_alike and found.meaning is None:
        said.append(
            f"both have the same fault ({a.faults[0]}): it was there already where A was taken,"
            " so it comes from the provider, or from what is before A"
        )
    return said


def _unlike(found: AttemptDiff) -> bool:
    """Whether both have a text, and neither is the beginning of the other, or nearly so."""
    if found.meaning is None or not found.common:  # without contents nobody knows
        return False
    if "the end" in (found.meaning.a.what, found.meaning.b.what):
        return False
    shorter = min(_characters(found.a), _characters(found.b))
    return shorter > 0 and _shared(found) < _ALIKE * shorter


def _characters(side: Figures) -> int:
    return sum(side.characters.values())


def _shared(found: AttemptDiff) -> int:
    return sum(found.common.values())


def _ends(found: AttemptDiff) -> list[str]:
    a, b = found.a, found.b
    if b.verdict in _WHOLE:
        return _ends_of_whole(a, b)
    if a.ended in _CUT and b.ended == "eof":
        return [
            (
                f"the upstream body was cut ({a.ended}), and behind the middlebox it ends cleanly:"
                " the middlebox turns a failure into a good end, so no client behind it can see it"
            )
        ]
    if a.ended == "eof" and b.ended in _CUT:
        less = a.size_bytes - b.size_bytes
        how = b.ended + (f", {less:,} bytes short" if less > 0 else "")
        return [
            (
                f"the upstream body came whole, and behind the middlebox it is cut ({how}):"
                " the middlebox, or the connection behind it, breaks the stream"
            )
        ]
    if a.ended in _CUT and b.ended in _CUT and a.ended != b.ended:
        return [f"the cut is passed on in another way: {a.ended} before, {b.ended} behind"]
    if (
        a.ended == b.ended == "eof"
        and a.size_bytes > b.size_bytes
        and found.meaning is not None
        and found.meaning.b.what == "the end"
    ):
        return [
            (
                f"{a.size_bytes - b.size_bytes:,} bytes are lost between, and yet the end is clean:"
                " the middlebox cuts the body and hides it"
            )
        ]
    if b.status is None and a.status is not None:
        return ["the upstream answered, and nothing of it came out behind the middlebox"]
    return []


def _ends_of_whole(a: Figures, b: Figures) -> list[str]:
    """Of an answer that is whole behind the middlebox only the connection's end can tell."""
    if a.ended in _CUT and b.ended == "eof":
        return [
            (
                f"before the middlebox the connection broke ({a.ended}), behind it the answer is"
                " whole and ends cleanly"
            )
        ]
    if a.ended == "eof" and b.ended in _CUT:
        return [
            (
                f"the answer is whole in both places, and only behind the middlebox the connection"
                f" breaks at its end ({b.ended}): many clients do not see it, and some raise"
            )
        ]
    if a.ended in _CUT and b.ended in _CUT and a.ended != b.ended:
        return [f"the cut is passed on in another way: {a.ended} before, {b.ended} behind"]
    return []


def _head(a: Figures, b: Figures) -> list[str]:
    said: list[str] = []
    if a.status is not None and b.status is not None and a.status != b.status:
        said.append(
            f"the middlebox answers with another status: {a.status} before, {b.status} behind"
        )
    if b.encoding and not a.encoding:
        said.append(
            f"the middlebox compresses the stream ({b.encoding}), which makes it wait for more"
            " before it sends: turn compression off for text/event-stream"
        )
    kind_a, kind_b = (
        kind.partition(";")[0].strip().lower() for kind in (a.content_type, b.content_type)
    )
    if kind_a and kind_b and kind_a != kind_b:
        said.append(f"the content type is changed: {kind_a} before, {kind_b} behind")
    return said


def _pace(a: Figures, b: Figures, *, paced: bool) -> list[str]:
    said: list[str] = []
    if (
        paced
        and b.content_frames >= _MANY
        and b.frames_a_read >= _CLUMPED_FRAMES
        and b.frames_a_read >= _TIMES * max(1.0, a.frames_a_read)
    ):
        said.append(
            f"frames come in clumps behind the middlebox ({b.frames_a_read:.1f} a read, before it"
            f" {a.frames_a_read:.1f}): it buffers; turn its response buffering off"
        )
    if a.first_content_s is not None and b.first_content_s is not None:
        later = b.first_content_s - a.first_content_s
        if later >= _LATE_S and b.first_content_s >= 2 * a.first_content_s:
            said.append(f"the first content is held back for {later:.1f} s between the two places")
    if a.pings and not b.pings:
        said.append(
            f"{a.pings:,} keep-alive pings are taken out between the two places: what is behind"
            " sees silence, and its read timeout may fire"
        )
    elif b.pings and not a.pings:
        said.append(f"the middlebox adds {b.pings:,} keep-alive pings of its own")
    return said


def _frames(found: AttemptDiff) -> list[str]:
    if found.meaning is None and found.frame is not None and not found.a.unread:
        return ["frames are written anew between the two places; what they mean is the same"]
    return []
