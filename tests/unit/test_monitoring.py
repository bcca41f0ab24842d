"""The exported files, as far as that goes without Prometheus; ``tests/real/test_promtool.py`` has the rest."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from claude_failover.core.alert_rules import RULES
from claude_failover.core.gauges import BackendGauges, Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import BackendName, Epoch
from claude_failover.metrics import Metrics
from claude_failover.monitoring import FILES

FOLDER = files("claude_failover.monitoring")
DASHBOARD: dict[str, Any] = json.loads(FOLDER.joinpath("dashboard.json").read_text("utf-8"))
ALERTS: list[dict[str, Any]] = yaml.safe_load(FOLDER.joinpath("rules.yml").read_text("utf-8"))["groups"][0]["rules"]
TESTS: list[dict[str, Any]] = yaml.safe_load(FOLDER.joinpath("rules_test.yml").read_text("utf-8"))["tests"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in ALERTS]
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


def names() -> set[str]:
    """Every name that is on the page of a daemon, with the suffixes of histograms and counters."""
    one = BackendGauges(BackendName("claude"))
    metrics = Metrics(BackendName("claude"), ["m"], lambda: Gauges(Epoch(1.0), (one,)))
    found = set()
    for line in metrics.exposition()[1].decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return found


def test_everything_that_is_exported_is_there() -> None:
    assert all(FOLDER.joinpath(name).is_file() for name in FILES)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_that_is_asked_for_exists(expression: str) -> None:
    asked = set(re.findall(r"\b(?:claude_failover|process)_[a-z_]+", expression))
    assert asked <= names()
    assert asked or expression == 'up{job="claude-failover"} == 0'


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_panel_keeps_to_the_rules_of_a_good_dashboard(panel: dict[str, Any]) -> None:
    """The rules of grafana/dashboard-linter: title, description, unit, datasource, rate intervals, selectors."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        expression = target["expr"]
        for window in re.findall(r"\[([^\]]+)\]", expression):
            assert window in {"$__rate_interval", "$__range", "1h", "10m"}
        assert not re.search(r"rate\([^\[]*\[(?!\$__rate_interval)", expression)
        selectors = re.findall(r"\{([^}]*)\}", expression)
        assert selectors
        assert all('job=~"$job"' in one and 'instance=~"$instance"' in one for one in selectors)
        assert expression.count("(") == expression.count(")")


def test_panels_have_their_own_ids_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations(DASHBOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])


def test_the_dashboard_imports_anywhere() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"] == "claude-failover"
    assert 36 <= DASHBOARD["schemaVersion"] <= 39
    assert DASHBOARD["refresh"] == "30s"
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance", "backend"]


@pytest.mark.parametrize(
    "words",
    [
        ["Request rate: primary and failover"],
        ["Error rate by backend", "Limits (429) by kind", "Requests that failed"],
        ["Time to first content: P50, P95, P99", "Request duration: P50, P95, P99"],
        ["Hourly cost by model and backend"],
        ["Availability"],
        ["Plan windows", "Circuit breakers"],
    ],
)
def test_every_key_metric_of_the_plan_has_its_panel(words: list[str]) -> None:
    assert set(words) <= {panel["title"] for panel in PANELS}


def test_every_alert_says_how_bad_what_and_what_to_do() -> None:
    runbook = RUNBOOK.read_text("utf-8")
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].endswith(".")
        path, anchor = rule["annotations"]["runbook_url"].split("#")
        assert path == "docs/runbook.md"
        assert anchor == rule["alert"].lower()
        assert f"## {rule['alert']}\n" in runbook


def test_what_the_daemon_alerts_on_prometheus_alerts_on_with_the_same_severity() -> None:
    there = {rule["alert"]: rule["labels"]["severity"] for rule in ALERTS}
    for rule in RULES:
        name = "ClaudeFailover" + "".join(word.capitalize() for word in rule.code.split("_"))
        assert there[name] == rule.severity.value, name


def test_the_defaults_of_the_configuration_are_the_rules_thresholds() -> None:
    expressions = {rule["alert"]: rule["expr"] for rule in ALERTS}
    assert f"> {Alerts().fallback_rate:.2f}" in expressions["ClaudeFailoverFallbackRate"]
    assert f"> {Alerts().latency_p95:g}\n" in expressions["ClaudeFailoverLatency"]


def test_every_alert_has_a_firing_and_a_quiet_case() -> None:
    for rule in ALERTS:
        cases = [
            bool(case["exp_alerts"])
            for test in TESTS
            for case in test["alert_rule_test"]
            if case["alertname"] == rule["alert"]
        ]
        assert set(cases) == {True, False}, rule["alert"]
