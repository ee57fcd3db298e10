"""The knowledge base: why streams fail, what not to try, and what to do.

    unbroken.explain(error).best.cause

One record an error, as JSON in ``data/``; more come from the folder that ``UNBROKEN_KNOWLEDGE``
names.
"""

from __future__ import annotations

from unbroken.knowledge.explain import Explanation, explain, explain_fault, records_for
from unbroken.knowledge.load import Base, KnowledgeError, base, read_records
from unbroken.knowledge.match import Match, Reason
from unbroken.knowledge.record import Record
from unbroken.knowledge.told import Related, Told, ToldDeadEnd, ToldWorkaround, in_language, told

__all__ = [
    "Base",
    "Explanation",
    "KnowledgeError",
    "Match",
    "Reason",
    "Record",
    "Related",
    "Told",
    "ToldDeadEnd",
    "ToldWorkaround",
    "base",
    "explain",
    "explain_fault",
    "in_language",
    "read_records",
    "records_for",
    "told",
]
