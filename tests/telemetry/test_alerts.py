"""Alert rules, dashboard and runbooks: they name what exists, and the rules fire."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from tests.docs.markdown import ROOT
from unbroken.core.faults import FaultKind
from unbroken.gateway.telling import _TROUBLE
from unbroken.telemetry.prometheus import METRICS

yaml = pytest.importorskip("yaml")

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "unbroken.json"
RUNBOOKS = ROOT / "docs" / "runbooks"
SCRAPERS_OWN = {"instance", "job", "le"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def names() -> dict[str, set[str]]:
    """The series that can be asked for, with their labels."""
    found: dict[str, set[str]] = {"up": set()}
    for metric in METRICS:
        labels = set(metric.all_labels)
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        found.update({metric.name + end: labels for end in ends})
    return found


def unknown(query: str) -> list[str]:
    """Return what a query names and nobody exposes: series, labels and labels' values."""
    known, wrong = names(), []
    labels: set[str] = set()
    for series in re.findall(r"\b(unbroken_\w+|up)\b", query):
        if series not in known:
            wrong.append(series)
        labels |= known.get(series, set())
    asked = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    asked += [name for by in re.findall(r"by \(([^)]*)\)", query) for name in re.split(r"\W+", by)]
    wrong += [label for label in asked if label not in labels | SCRAPERS_OWN]
    for pattern in re.findall(r'kind=~?"([^"]*)"', query):
        for each in pattern.split("|"):
            if not any(re.fullmatch(each, kind.value) for kind in FaultKind):
                wrong.append(each)
    return wrong


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs promtool (Debian: apt install prometheus)")
    return found


def test_a_wrong_query_would_be_seen() -> None:
    assert unknown('sum by (provder) (unbroken_stream_total{kind="stale"})') == [
        "unbroken_stream_total", "kind", "provder", "stale",
    ]  # fmt: skip


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_names_what_exists(rule: dict[str, Any]) -> None:
    assert not unknown(rule["expr"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    for named in re.findall(r'type=~?"([^"]*)"', rule["expr"]):
        kinds = {kind.value for kind in FaultKind} | {*_TROUBLE, "access-log-lost"}
        for each in named.split("|"):
            assert any(re.fullmatch(each, kind) for kind in kinds), each


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    linked = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules()}
    pages = {
        re.search(r"^Alert: `(\w+)`$", page.read_text("utf-8"), re.MULTILINE)[1]: page  # type: ignore[index]
        for page in RUNBOOKS.glob("*.md")
        if page.name != "index.md"
    }
    assert linked == {name: page.relative_to(ROOT).as_posix() for name, page in pages.items()}
    index = (RUNBOOKS / "index.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)` \| \[(.+)\]\((\S+)\) \|$", index, re.MULTILINE)
    assert {alert: f"docs/runbooks/{name}" for alert, _, name in listed} == linked
    for alert, title, _ in listed:
        assert pages[alert].read_text("utf-8").startswith(f"# {title}\n")


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("[!i]*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_somebody_at_night_must_know(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "What it means", "How to see what happens", "What to do", "What not to do",
    ]  # fmt: skip
    for series in re.findall(r"\bunbroken_\w+", text):
        assert series in names(), series
    assert len(text.splitlines()) < 60


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    subprocess.run([promtool(), "check", "rules", str(ALERTS)], check=True, capture_output=True)
    copy = tmp_path / "wrong.yml"
    copy.write_text(ALERTS.read_text("utf-8").replace("sum by (", "sum by ((", 1), "utf-8")
    assert subprocess.run(
        [promtool(), "check", "rules", str(copy)], capture_output=True, check=False
    ).returncode


def series(name: str, labels: str, values: str) -> dict[str, str]:
    return {"series": f"{name}{{{labels}}}", "values": values}


def test_the_rules_fire_and_do_not_fire(tmp_path: Path) -> None:
    """Two that fire (one of them from a series that has just appeared), and a healthy gateway."""
    lab = 'instance="a",provider="openai",model="m"'
    well = 'instance="a",provider="groq",model="m"'
    summaries = {rule["alert"]: rule["annotations"] for rule in rules()}
    tests = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    series("unbroken_streams_total", f'{lab},outcome="failed"', "0+10x30"),
                    series("unbroken_streams_total", f'{lab},outcome="complete"', "0+90x30"),
                    series("unbroken_streams_total", f'{well},outcome="failed"', "0+1x30"),
                    series("unbroken_streams_total", f'{well},outcome="complete"', "0+99x30"),
                    series(
                        "unbroken_errors_total", 'instance="a",type="access-log-lost"',
                        "_x19 3x30",
                    ),
                ],
                "alert_rule_test": [
                    {
                        "eval_time": "20m",
                        "alertname": "UnbrokenStreamsFailing",
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": "critical", "provider": "openai"},
                                "exp_annotations": {
                                    "summary": "10% of the streams from openai fail",
                                    "runbook_url": "docs/runbooks/streams-failing.md",
                                },
                            }
                        ],
                    },
                    {"eval_time": "5m", "alertname": "UnbrokenAccessLogFailing"},
                    {
                        "eval_time": "22m",
                        "alertname": "UnbrokenAccessLogFailing",
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": "warning", "instance": "a"},
                                "exp_annotations": {
                                    "summary": "a lost 3 lines of its access log in 10 minutes",
                                    "runbook_url": "docs/runbooks/access-log-failing.md",
                                },
                            }
                        ],
                    },
                    {"eval_time": "40m", "alertname": "UnbrokenAccessLogFailing"},
                    *(
                        {"eval_time": "20m", "alertname": name}
                        for name in summaries
                        if name not in ("UnbrokenStreamsFailing", "UnbrokenAccessLogFailing")
                    ),
                ],
            }
        ],
    }  # fmt: skip
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(tests), "utf-8")
    ran = subprocess.run(
        [promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_exists(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert not unknown(target["expr"])
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", target["expr"]), label


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(queries())
    assert not [metric.name for metric in METRICS if metric.name not in shown]


def test_the_dashboard_has_its_variables_and_no_panel_on_another() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    variables = {each["name"] for each in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text("utf-8")))
    assert {name for name in used if not name.startswith("__")} == variables
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def test_promtool_takes_the_dashboards_queries(tmp_path: Path) -> None:
    filled = [
        re.sub(r"\$__(rate_interval|range)", "5m", query).replace("$", "") for query in queries()
    ]
    found = [{"record": f"x:{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": found}]}), "utf-8")
    ran = subprocess.run(
        [promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
