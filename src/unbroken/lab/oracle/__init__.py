"""Numbered text, and what it tells of a consumer: lost, repeated, reordered, invented, laundered.

Nothing of Unbroken is imported here: the oracle judges any client, ours too.
"""

from __future__ import annotations

from unbroken.lab.oracle.arguments import examine_arguments, text_of_arguments
from unbroken.lab.oracle.examine import Finding, Report, Verdict, examine
from unbroken.lab.oracle.numbered import Numbered

__all__ = [
    "Finding",
    "Numbered",
    "Report",
    "Verdict",
    "examine",
    "examine_arguments",
    "text_of_arguments",
]
