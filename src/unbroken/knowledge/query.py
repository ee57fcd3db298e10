"""What is asked: a text, an exception, a fault or an outcome, read into facts to match by."""

from __future__ import annotations

from dataclasses import replace

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.knowledge.exceptions import exception_query
from unbroken.knowledge.facts import Line, Query
from unbroken.knowledge.outcomes import fault_query, outcome_query, phase_of
from unbroken.knowledge.texts import text_query

__all__ = ["Line", "Query", "phase_of", "query_of"]


def query_of(what: object, *, provider: str = "", phase: str = "") -> Query:
    """Return what a text, an exception, a fault, a fault kind or an outcome says.

    Args:
        what: One of these.
        provider: Who answered, where the caller knows.
        phase: Where in the answer, where the caller knows.

    Raises:
        TypeError: For anything else.
    """
    if isinstance(what, FaultKind):
        query = Query(kinds=(what.value,), live=True)
    elif isinstance(what, str):
        query = text_query(what)
    elif isinstance(what, BaseException):
        query = exception_query(what)
    elif isinstance(what, Fault):
        query = fault_query([what])
    elif isinstance(what, Outcome):
        query = outcome_query(what)
    else:
        kind = type(what).__name__
        msg = f"ask with a text, an exception, a fault or an outcome, not with {kind}"
        raise TypeError(msg)
    if provider:
        query = replace(query, providers=frozenset((provider,)), sure_provider=True)
    if phase:
        query = replace(query, phases=frozenset((phase,)))
    return query
