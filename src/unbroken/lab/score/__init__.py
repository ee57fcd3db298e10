"""The scorecard: runs any client or gateway through bad streams, and says what became of each.

`suite` knows the scenarios, `runner` plays one client through them (`gateway` one gateway, by
the client of `raw_client`), `verdict` judges, `results` is what is kept, and the views show it.
"""

from __future__ import annotations

from unbroken.lab.score.results import Card, CardError, Result
from unbroken.lab.score.suite import BUILT_IN, Scenario, Suite, SuiteError, choose, load_suite
from unbroken.lab.score.verdict import VERDICTS, Verdict

__all__ = [
    "BUILT_IN",
    "VERDICTS",
    "Card",
    "CardError",
    "Result",
    "Scenario",
    "Suite",
    "SuiteError",
    "Verdict",
    "choose",
    "load_suite",
]
