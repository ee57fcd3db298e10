"""The reference pages say what the code says."""

from __future__ import annotations

import re

from scripts import option_table
from tests.docs.markdown import ROOT
from unbroken.core.faults import Fault, FaultKind


def test_options_page_is_up_to_date() -> None:
    assert option_table.PAGE.read_text("utf-8") == option_table.page(), "run `make docs`"


def test_faults_page_lists_every_kind_with_its_severity() -> None:
    text = (ROOT / "docs" / "reference" / "faults.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", text, re.MULTILINE))
    assert listed == {kind.value: Fault.of(kind, "").severity for kind in FaultKind}
