"""The exported files against the real promtool and a real Prometheus (Debian: ``apt install prometheus``).

A missing tool is a failure: what is shipped for Prometheus is tested with Prometheus.
"""

from __future__ import annotations

import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from claude_failover.clock import SystemClock, pause
from claude_failover.core.gauges import BackendGauges, Gauges, ModelGauges
from claude_failover.core.limits import Window
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Kind,
    Outcome,
    Reason,
    Seconds,
    Usage,
)
from claude_failover.events import Event, Level
from claude_failover.metrics import Metrics
from claude_failover.monitoring import FILES

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
KEY = "a-key-for-this-test"
CLOCK = SystemClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The exported files, and a client key beside them."""
    with as_file(files("claude_failover.monitoring")) as source:
        for name in FILES:
            shutil.copy(source / name, tmp_path / name)
    (tmp_path / "client-key").write_text(KEY)
    return tmp_path


def promtool(*arguments: str, cwd: Path, given: bytes | None = None) -> str:
    program = shutil.which("promtool")
    assert program, "promtool is not installed: apt install prometheus"
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def records(model: str = "claude-opus-5-5") -> tuple[tuple[AttemptRecord, ...], ExchangeRecord]:
    """A request that was rescued after a plan limit."""
    limited = AttemptRecord(
        exchange="cfr_1",
        attempt=0,
        backend=CLAUDE,
        kind=Kind.ANTHROPIC,
        model=model,
        upstream_model=model,
        surface=None,
        reason=Reason.PRIMARY,
        outcome=Outcome.PLAN_LIMIT,
        detail="",
        status=429,
        started=Epoch(0.0),
        ttfb=Seconds(0.1),
        ttft=None,
        duration=Seconds(0.1),
        usage=Usage(input=10, output=1),
        cost_nusd=1_000_000,
        list_cost_nusd=1_000_000,
    )
    broken = replace(limited, status=200, outcome=Outcome.CUT, ttft=Seconds(0.4), reason=Reason.RETRY)
    served = replace(
        limited,
        attempt=1,
        backend=BEDROCK,
        kind=Kind.BEDROCK,
        reason=Reason.PLAN_LIMIT,
        outcome=Outcome.SUCCESS,
        status=200,
        ttft=Seconds(0.7),
        duration=Seconds(3.0),
        usage=Usage(input=100, output=20, cache_read=3000, cache_write_5m=5, cache_write_1h=7),
        paid=True,
        cost_nusd=2_000_000_000,
        list_cost_nusd=1_500_000_000,
        price_estimated=True,
    )
    exchange = ExchangeRecord(
        exchange="cfr_1",
        started=Epoch(0.0),
        model=model,
        streaming=True,
        outcome="served",
        status=200,
        backend=BEDROCK,
        reason=Reason.PLAN_LIMIT,
        attempts=(limited, broken, served),
        steps=(),
        duration=Seconds(3.3),
        overhead=Seconds(0.002),
        ttft=Seconds(0.9),
        session=None,
        agent=None,
        request_class=None,
        failed_over=True,
    )
    return exchange.attempts, exchange


def read() -> Gauges:
    """Every gauge with something in it."""
    now = CLOCK.now().wall
    plan = (Window("5h", "rejected", 1.0, Epoch(now + 600)), Window("7d", "allowed", 0.5, Epoch(now + 90_000)))
    models = (ModelGauges("claude-opus-5-5", "open", Epoch(now + 60)),)
    return Gauges(
        at=now,
        backends=(
            BackendGauges(CLAUDE, False, "", 1, Epoch(now + 7200), models, plan),
            BackendGauges(BEDROCK, True, "", 2, Epoch(now + 7200)),
        ),
        active=BEDROCK,
        failover_since=Epoch(now - 60),
        streams=3,
        spent_usd=3.0,
        reserved_usd=0.5,
        limit_usd=100.0,
        alert_usd=80.0,
        refused={"host": 1},
        reloaded=Epoch(now - 60),
    )


class Daemon(http.server.ThreadingHTTPServer):
    """Serves ``/metrics`` as the data port does, and something happens before each scrape."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.metrics = Metrics(CLAUDE, ["claude-opus-5-5"], read, [CLAUDE, BEDROCK])
        self.scrapes = 0

    def happen(self) -> None:
        attempts, exchange = records()
        for attempt in attempts:
            self.metrics.attempted(attempt)
        self.metrics.concluded(exchange)
        self.metrics.concluded(replace(exchange, backend=CLAUDE, attempts=attempts[:1], outcome="passed_error"))
        for name in ("alert.raised", "credential.failed", "breaker.changed"):
            fields = {"backend": "claude", "alert": "cost", "to": "open"}
            self.metrics(Event(1, CLOCK.now().wall, name, Level.INFO, fields))


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Daemon

    def do_GET(self) -> None:
        allowed = self.headers.get("authorization") == f"Bearer {KEY}"
        self.server.happen()
        content_type, body = self.server.metrics.exposition(self.headers.get("accept"))
        body = body if allowed else b"no\n"
        self.send_response(200 if allowed else 401)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.scrapes += allowed

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    server = Daemon()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_rules_are_valid_and_fire_when_they_should(folder: Path) -> None:
    assert "20 rules found" in promtool("check", "rules", "rules.yml", cwd=folder)
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml", cwd=folder)


def test_the_scrape_configuration_is_valid(folder: Path) -> None:
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", cwd=folder)


def test_a_rule_that_is_wrong_would_be_found(folder: Path) -> None:
    """The tests of the rules test something: with another threshold they fail."""
    rules = folder / "rules.yml"
    rules.write_text(rules.read_text().replace("> 0.10", "> 0.50"))
    with pytest.raises(AssertionError, match="ClaudeFailoverFallbackRate"):
        promtool("test", "rules", "rules_test.yml", cwd=folder)


def test_the_page_is_clean_in_the_eyes_of_the_linter(folder: Path, daemon: Daemon) -> None:
    daemon.happen()
    assert promtool("check", "metrics", cwd=folder, given=daemon.metrics.exposition()[1]) == ""


def test_a_real_prometheus_scrapes_us_and_every_query_of_the_dashboard_has_data(folder: Path, daemon: Daemon) -> None:
    configuration = yaml.safe_load((folder / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{daemon.server_address[1]}"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with running(folder) as ask:
        wait_until(lambda: daemon.scrapes >= 6)
        wait_until(lambda: ask("query", query="up")["result"][0]["value"][1] == "1")
        dashboard = json.loads((folder / "dashboard.json").read_text())
        empty = []
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                expression = concrete(target["expr"])
                if not ask("query", query=expression)["result"]:
                    empty.append((panel["title"], expression))
        assert empty == []
        (group,) = ask("rules")["groups"]
        assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
        assert not [rule["name"] for rule in group["rules"] if rule.get("lastError")]
        wait_until(
            lambda: "ClaudeFailoverTokenRefresh" in {one["labels"]["alertname"] for one in ask("alerts")["alerts"]}
        )
        for metric in {name for rule in group["rules"] for name in re.findall(r"claude_failover_\w+", rule["query"])}:
            assert ask("query", query=metric)["result"], metric


def concrete(expression: str) -> str:
    """Put values where Grafana would put them."""
    for name, value in (
        ("__rate_interval", "5s"),
        ("__range", "5s"),
        ("job", ".*"),
        ("instance", ".*"),
        ("backend", ".*"),
    ):
        expression = re.sub(rf"\${name}\b", value, expression)
    return re.sub(r"\[(?:1h|10m)\]", "[5s]", expression)


class running:  # noqa: N801 - reads as a phrase: with running(folder) as ask
    """A Prometheus of our own on loopback; answers a function that asks its API."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is not installed: apt install prometheus"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Callable[..., Any]:
        wait_until(self._ready)
        return self._ask

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(40)
        self._log.close()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=40) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None


def wait_until(holds: Callable[[], bool], patience: float = 40.0) -> None:
    deadline = CLOCK.now().monotonic + patience
    while not holds():
        assert CLOCK.now().monotonic < deadline, "it took too long"
        pause(Seconds(0.1))
