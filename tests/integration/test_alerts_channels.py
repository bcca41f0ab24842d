"""The alert channels against real programs and a real HTTP server on loopback."""

from __future__ import annotations

import http.server
import json
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_failover.alerts import Command, Desk, Desktop, Failed, Webhook
from claude_failover.clock import SystemClock
from claude_failover.core.alert_rules import Severity
from claude_failover.core.conditions import Change, Notice
from claude_failover.core.gauges import Gauges
from claude_failover.core.settings import Alerts
from claude_failover.core.types import Epoch
from claude_failover.events import Hub, capture, use
from tests.leak_search import marked

AT = Epoch(1_795_000_000.0)
NOTICE = Notice("spend_limit", Change.RAISED, Severity.CRITICAL, "The limit is reached", "$100 spent", AT, AT)


class Hook(http.server.ThreadingHTTPServer):
    """Answers what it is told to, and keeps what it gets."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.got: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token=worth-nothing"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.open.wait(45)
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.server.paths.append(self.path)
        if 200 <= status < 300:
            self.server.got.append(json.loads(body))
        self.send_response(status)
        if status == 302:
            self.send_header("location", "http://127.0.0.1:9/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()
        self.server.arrived.release()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_webhook_gets_the_notice(hook: Hook) -> None:
    Webhook(hook.url).deliver(NOTICE)
    assert [(body["alert"], body["state"]) for body in hook.got] == [("spend_limit", "firing")]
    assert hook.paths == ["/hook?token=worth-nothing"]


@pytest.mark.parametrize("status", [400, 404, 500, 302])
def test_a_webhook_that_refuses_or_sends_us_elsewhere_has_failed(hook: Hook, status: int) -> None:
    hook.answers = [status]
    with pytest.raises(Failed, match=f"^the webhook answered {status}$"):
        Webhook(hook.url).deliver(NOTICE)


def test_a_webhook_that_is_not_there_has_failed_without_its_url_in_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Failed) as failed:
        Webhook(f"http://127.0.0.1:{port}/hook?token=worth-nothing").deliver(NOTICE)
    assert str(failed.value) == "the webhook cannot be reached (ConnectionRefusedError)"


def test_a_webhook_that_hangs_has_failed_after_its_time() -> None:
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = clock.now().monotonic
        with pytest.raises(Failed, match="cannot be reached"):
            Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", patience=0.2).deliver(NOTICE)
    assert clock.now().monotonic - began < 30


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://x", "", "http://[::bad/"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(Failed):
        Webhook(url).deliver(NOTICE)


def test_a_webhook_that_fails_does_not_hold_the_desk_up_and_gets_its_alert_later(hook: Hook) -> None:
    hook.answers = [503, 503]
    before = use(Hub(lambda: AT))
    clock = SystemClock()
    with capture() as seen:
        desk = Desk(Alerts(), [Webhook(hook.url, patience=40)], first_pause=0.01)
        hook.open.clear()
        began = clock.now().monotonic
        desk.tick(Gauges(AT, spent_usd=5.0, alert_usd=4.0))
        assert clock.now().monotonic - began < 20  # who waited for the webhook would be held up for 40
        hook.open.set()
        for _ in range(3):
            assert hook.arrived.acquire(timeout=30)
        desk.close()
    use(before)
    assert [body["alert"] for body in hook.got] == ["cost"]
    assert [event.name for event in seen] == ["alert.raised"]


def test_a_command_gets_json_on_its_input_and_no_credential_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    program = script(
        tmp_path / "on alert",
        "import json, os, sys\n"
        "found = [sys.argv[1:], json.load(sys.stdin), dict(os.environ)]\n"
        "json.dump(found, open(os.environ['HOME'] + '/out.json', 'w'))\n",
    )
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "ANTHROPIC_API_KEY": "sk-ant-api03-worth-nothing",
        "AWS_SECRET_ACCESS_KEY": "worth/nothing",
        "AWS_PROFILE": "work",
    }
    Command(f"'{program}' --flag 'two words'", environment=environment).deliver(NOTICE)
    arguments, body, seen = json.loads(out.read_text())
    assert arguments == ["--flag", "two words"]
    assert body["alert"] == "spend_limit"
    assert seen["CLAUDE_FAILOVER_ALERT"] == "spend_limit"
    assert seen["CLAUDE_FAILOVER_ALERT_STATE"] == "firing"
    assert seen["AWS_PROFILE"] == "work"
    assert not marked(out.read_bytes())


def test_a_command_is_not_run_by_a_shell(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot be run"):
        Command(f"no-such-program; touch {tmp_path}/made").deliver(NOTICE)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_or_hangs_has_failed(tmp_path: Path) -> None:
    failing = script(tmp_path / "failing", "raise SystemExit(3)")
    with pytest.raises(Failed, match=r"^the command ended with 3$"):
        Command(str(failing)).deliver(NOTICE)
    hanging = script(tmp_path / "hanging", "import threading; threading.Event().wait(60)")
    with pytest.raises(Failed, match=r"^the command took longer than 0\.3 s$"):
        Command(str(hanging), patience=0.3).deliver(NOTICE)
    with pytest.raises(Failed, match="empty"):
        Command("").deliver(NOTICE)


@pytest.mark.parametrize(("change", "urgency"), [(Change.RAISED, "critical"), (Change.RESOLVED, "normal")])
def test_the_desktop_is_told_by_notify_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, urgency: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    script(
        tmp_path / "notify-send",
        "import json, os, sys\njson.dump(sys.argv[1:], open(os.environ['HOME'] + '/shown', 'w'))\n",
    )
    desktop = Desktop(environment={"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert desktop.possible
    notice = Notice("spend_limit", change, Severity.CRITICAL, "-x", "$1", AT, AT)
    desktop.deliver(notice)
    shown = json.loads((tmp_path / "shown").read_text())
    assert shown[:6] == ["-a", "claude-failover", "-u", urgency, "--", "claude-failover"]


def test_a_mac_is_told_by_osascript_with_the_text_as_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    script(
        tmp_path / "osascript",
        "import json, os, sys\njson.dump(sys.argv[1:], open(os.environ['HOME'] + '/shown', 'w'))\n",
    )
    desktop = Desktop(environment={"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert desktop.possible
    desktop.deliver(NOTICE)
    shown = json.loads((tmp_path / "shown").read_text())
    assert shown[0] == "-e"
    assert shown[2:] == ["The limit is reached: $100 spent", "claude-failover"]
    assert "limit" not in shown[1]


def test_a_machine_without_a_desktop_is_left_alone(tmp_path: Path) -> None:
    desktop = Desktop(environment={"PATH": str(tmp_path)})
    assert not desktop.possible
    desktop.deliver(NOTICE)
