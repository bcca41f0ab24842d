"""The daemon as a process, between simulated backends: how it starts, serves, changes and ends."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import signal
import socket
import sqlite3
from collections.abc import Iterator

import pytest

from claude_failover.clock import SystemClock
from claude_failover.control import claim
from claude_failover.control.api import ForceRequest, StopRequest
from claude_failover.control.status import Health, State
from claude_failover.core.types import Outcome, Reason, Usage
from claude_failover.drill import claude_faults
from claude_failover.drill.script import Answer, Stall, Text, Wire
from claude_failover.errors import ConfigError, ControlError, UsageError
from claude_failover.ledger_query import CostReport
from tests.control_fakes import short_directory
from tests.daemons import ALONE, BOTH, PATIENCE, Home, at
from tests.fakes import held_claude, said, simulated_bedrock, simulated_claude, sse_events

PAUSED = Answer(blocks=(Text("one two three four five six seven eight", deltas=8),), wire=Wire(stall=Stall("content")))
"""An answer that falls silent behind its first word."""

ENDLESS = Answer(blocks=(Text("x" * 400, deltas=400),), gap=0.2)


@pytest.fixture
def home() -> Iterator[Home]:
    with short_directory() as directory:
        yield at(directory)


# --- to start, and not to --------------------------------------------------------------------------


async def test_it_says_its_address_and_what_each_backend_is_asked_with(home: Home) -> None:
    home.configure(BOTH.format(claude="http://127.0.0.1:9", bedrock="http://127.0.0.1:9"))
    async with home.running() as daemon:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", daemon.word.address)
        assert [note.partition(":")[0] for note in daemon.word.notes] == ["claude", "bedrock"]
        assert (await daemon.get("/healthz")).body == b'{"status":"ok"}'
        assert home.paths.pid.read_text() == f"{daemon.process.pid}\n"
        status = await daemon.until(lambda now: "env" in now.backends[1].credential)
        assert (status.health, status.needs_you) == (Health.PROTECTED, ())
    assert daemon.process.returncode == 0
    assert not home.paths.pid.exists()
    assert not home.paths.socket.exists()


async def test_a_second_one_says_that_the_first_runs(home: Home) -> None:
    home.configure(ALONE.format(claude="http://127.0.0.1:9"))
    async with home.running() as daemon:
        word = await home.word()
        assert (word.kind, word.exit_code) == ("AlreadyRunning", 0)
        assert str(daemon.process.pid) in word.error
        assert (await daemon.get("/healthz")).status == 200


async def test_a_taken_port_is_named_and_nothing_is_left_behind(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.configure(ALONE.format(claude="http://127.0.0.1:9").replace("port: 0", f"port: {port}"))
        word = await home.word()
    assert f"127.0.0.1:{port} is taken" in word.error
    assert (word.kind, word.exit_code) == ("DaemonFailed", 1)
    assert not home.paths.socket.exists()


async def test_a_wrong_configuration_is_refused_with_its_line(home: Home) -> None:
    home.configure("listen: {port: 0}\ntimeouts: {conect: 5}\n")
    word = await home.word()
    assert (word.kind, word.exit_code) == ("ConfigError", 2)
    assert "config.yaml:2" in word.error


async def test_an_endpoint_that_is_no_url_is_refused(home: Home) -> None:
    home.configure("listen: {port: 0}\n")
    word = await home.word(AWS_ENDPOINT_URL="somewhere")
    assert word.kind == "ConfigError"
    assert "somewhere" in word.error


async def test_a_state_directory_that_is_a_file_is_refused(home: Home) -> None:
    home.configure("listen: {port: 0}\n")
    (home.path / "cf/state").write_text("in the way")
    word = await home.word()
    assert word.kind == "ConfigError"
    assert "cf/state" in word.error


async def test_a_client_key_that_others_can_read_is_refused(home: Home) -> None:
    home.configure("listen: {port: 0}\n")
    home.paths.prepare()
    home.paths.client_key.write_text("k" * 43)
    home.paths.client_key.chmod(0o644)
    word = await home.word()
    assert word.kind == "CredentialError"
    assert "client.key" in word.error


async def test_a_ledger_of_a_newer_version_is_left_alone_and_refused(home: Home) -> None:
    home.configure(ALONE.format(claude="http://127.0.0.1:9"))
    home.paths.prepare()
    with sqlite3.connect(home.paths.ledger) as database:
        database.execute("CREATE TABLE later (x)")
        database.execute("PRAGMA user_version = 99")
    database.close()
    home.paths.ledger.chmod(0o600)
    word = await home.word()
    assert word.kind == "LedgerError"
    with sqlite3.connect(home.paths.ledger) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (99,)
    database.close()


async def test_state_that_cannot_be_read_is_set_aside(home: Home) -> None:
    home.configure(ALONE.format(claude="http://127.0.0.1:9"))
    home.paths.prepare()
    home.paths.state.write_bytes(b"{torn")
    async with home.running() as daemon:
        assert (await daemon.status()).health is Health.UNPROTECTED
    assert home.paths.state.with_suffix(".unreadable.json").read_bytes() == b"{torn"
    assert json.loads(home.paths.state.read_bytes())["version"] == 1
    assert any("set aside" in str(event.get("error")) for event in home.events())


async def test_a_damaged_ledger_is_set_aside_and_said(home: Home) -> None:
    home.configure(ALONE.format(claude="http://127.0.0.1:9"))
    home.paths.prepare()
    home.paths.ledger.write_bytes(b"this is no database" * 1000)
    home.paths.ledger.chmod(0o600)
    async with home.running() as daemon:
        status = await daemon.status()
        report = await daemon.ask(lambda client: client.costs({}, CostReport))
    assert [notice.code for notice in status.needs_you] == ["ledger-failing"]
    assert "set aside" in report.notes[0]


async def test_without_aws_credentials_it_serves_and_says_what_to_type(home: Home) -> None:
    home.environ = {}
    home.configure(BOTH.format(claude="http://127.0.0.1:9", bedrock="http://127.0.0.1:9"))
    async with home.running() as daemon:
        status = await daemon.until(lambda now: not now.backends[1].usable)
        assert status.health is Health.UNPROTECTED
        assert [(notice.code, "aws configure" in notice.hint) for notice in status.needs_you] == [
            ("credential-missing", True)
        ]
        await asyncio.sleep(6)  # an alert's tick: nothing was refreshed, so nothing has failed to be
        assert (await daemon.status()).needs_you == status.needs_you


# --- to serve, and to tell -------------------------------------------------------------------------


async def test_after_a_failover_everything_tells_of_it(home: Home) -> None:
    limit = claude_faults.plan_limit()
    async with simulated_claude(limit) as claude, simulated_bedrock() as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url))
        async with home.running() as daemon:
            reply = await daemon.post()
            assert (reply.status, reply.complete) == (200, True)
            assert reply.headers["x-claude-failover-backend"] == "bedrock"
            status = await daemon.status()
            assert status.health is Health.FAILED_OVER
            assert (status.current.name, status.current.reason) == ("bedrock", "cooldown")
            assert [(one.name, one.state) for one in status.backends] == [
                ("claude", State.COOLDOWN),
                ("bedrock", State.READY),
            ]
            assert ("5h", "rejected") in [(window.name, window.status) for window in status.plan]
            assert (status.totals.requests, status.totals.rescued, status.totals.failed) == (1, 1, 0)
            assert status.spend.today_usd > 0
            story = await daemon.ask(lambda client: client.explain())
            assert story.exchange.exchange == reply.headers["x-claude-failover-request-id"]
            assert [attempt.backend for attempt in story.exchange.attempts] == ["claude", "bedrock"]
            report = await daemon.ask(lambda client: client.costs({"since": "today"}, CostReport))
            assert (report.total.requests, report.total.rescued, report.limit_nusd) == (1, 1, 100_000_000_000)
            assert report.total.spent_nusd == report.today_spent_nusd > 0
            page = (await daemon.get("/metrics")).body.decode()
            assert 'claude_failover_failovers_total{from="claude",reason="plan_limit",to="bedrock"} 1.0' in page
            assert "claude_failover_failover_active 1.0" in page
            assert 'claude_failover_plan_rejected{backend="claude",window="5h"} 1.0' in page
            assert "process_open_fds" in page
    names = {event["event"] for event in home.events()}
    assert {"daemon.started", "failover.happened", "cooldown.started", "exchange.ended", "limit.changed"} <= names


async def test_subscription_traffic_is_notional(home: Home) -> None:
    async with simulated_claude() as claude:
        home.configure(ALONE.format(claude=claude.url))
        async with home.running() as daemon:
            assert (await daemon.post()).status == 200
            status = await daemon.status()
            assert status.spend.today_usd == 0.0
            notional = status.spend.notional_usd
            assert notional > 0
        async with home.running() as daemon:
            await daemon.until(lambda now: now.spend.notional_usd == notional)


async def test_questions_that_cannot_be_answered_are_errors_of_their_kind(home: Home) -> None:
    home.configure(ALONE.format(claude="http://127.0.0.1:9") + "cost_tracking: {enabled: false}\n")
    async with home.running() as daemon:
        with pytest.raises(UsageError, match="cost tracking is off"):
            await daemon.ask(lambda client: client.costs({}, CostReport))
        with pytest.raises(UsageError, match="there are: claude, auto"):
            await daemon.ask(lambda client: client.force(ForceRequest("nobody")))
        with pytest.raises(ControlError, match="no request yet"):
            await daemon.ask(lambda client: client.explain())
        assert (await daemon.status()).spend.limit_usd is None
    assert not home.paths.ledger.exists()


async def test_models_can_be_discovered_and_are_kept(home: Home) -> None:
    async with simulated_claude() as claude, simulated_bedrock() as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url))
        async with home.running() as daemon:
            before = await daemon.ask(lambda client: client.models())
            opus = next(one for one in before.entries if one.claude_id == "claude-opus-5-5")
            assert (opus.input_usd_per_mtok, opus.output_usd_per_mtok) == (4.0, 20.0)
            after = await daemon.ask(lambda client: client.models(refresh=True))
            assert {one.claude_id for one in after.entries} == {one.claude_id for one in before.entries}
            listed = json.loads((home.paths.state_dir / "models.json").read_bytes())["bedrock"]
            assert "global.anthropic.claude-opus-5-5" in listed["ids"]
            assert listed["region"] == "us-east-1"
            assert (await daemon.post(headers={"x-claude-failover-force": "bedrock"})).status == 200


async def test_a_price_file_is_in_force(home: Home) -> None:
    prices = home.path / "prices.yaml"
    prices.write_text("models: {claude-opus-5-5: {input: 7}}\n")
    prices.chmod(0o600)
    home.configure(
        BOTH.format(claude="http://127.0.0.1:9", bedrock="http://127.0.0.1:9")
        + f"cost_tracking: {{price_file: {prices}}}\n"
    )
    async with home.running() as daemon:
        answer = await daemon.ask(lambda client: client.models())
        opus = next(one for one in answer.entries if one.claude_id == "claude-opus-5-5")
        assert opus.input_usd_per_mtok == 7.0
        prices.write_text("models: {claude-opus-5-5: {input: free}}\n")
        with pytest.raises(ConfigError):
            await daemon.ask(lambda client: client.reload())
        assert "prices" in (await daemon.status()).config_error
        prices.write_text("models: {claude-opus-5-5: {input: 9}}\n")
        await daemon.ask(lambda client: client.reload())
        answer = await daemon.ask(lambda client: client.models())
        opus = next(one for one in answer.entries if one.claude_id == "claude-opus-5-5")
        assert opus.input_usd_per_mtok == 9.0
        assert (await daemon.status()).config_error == ""


async def test_an_alert_runs_the_owners_command(home: Home) -> None:
    told = home.path / "told"
    script = home.path / "alert.sh"
    script.write_text(f"#!/bin/sh\ncat >> {told}\n")
    script.chmod(0o700)
    more = f"alerts: {{command: {script}, desktop: false}}\ncost_tracking: {{alert_threshold: 0.0001}}\n"
    async with simulated_claude() as claude, simulated_bedrock() as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url) + more)
        async with home.running() as daemon:
            await daemon.post(headers={"x-claude-failover-force": "bedrock"})
            status = await daemon.until(lambda now: bool(now.needs_you))
            assert [notice.code for notice in status.needs_you] == ["cost"]
            async with asyncio.timeout(20):
                while not told.exists() or not told.read_bytes():  # noqa: ASYNC110 - another process's
                    await asyncio.sleep(0.1)
    assert b"alert threshold" in told.read_bytes()


# --- to change -------------------------------------------------------------------------------------


async def test_reload_under_load_drops_no_stream(home: Home) -> None:
    async with held_claude(*[PAUSED] * 8) as claude, simulated_bedrock() as bedrock:
        text = BOTH.format(claude=claude.url, bedrock=bedrock.url)
        home.configure(text)
        async with home.running() as daemon, asyncio.TaskGroup() as tasks:
            streams = [tasks.create_task(daemon.post()) for _ in range(8)]
            await daemon.until(lambda now: now.streams == 8)
            for retries in (2, 3, 4):
                home.configure(text + f"retry_policy: {{OverloadedError: {{retries: {retries}}}}}\n")
                result = await daemon.ask(lambda client: client.reload())
                assert result.changed == ("retry_policy.overloaded",)
            claude.go_on.set()
            replies = await asyncio.gather(*streams)
            assert [(reply.status, reply.complete, said(reply.body)) for reply in replies] == [
                (200, True, "one two three four five six seven eight")
            ] * 8
            assert (await daemon.status()).totals.requests == 8


async def test_reload_says_what_needs_a_restart_and_what_changed(home: Home) -> None:
    text = ALONE.format(claude="http://127.0.0.1:9")
    home.configure(text)
    async with home.running() as daemon:
        changed = text.replace("port: 0", "port: 1").replace(":9", ":10")
        home.configure(changed + "cost_tracking: {daily_limit: 90}\nmetrics: {enabled: false}\n")
        result = await daemon.ask(lambda client: client.reload())
        assert result.changed == (
            "listen.port",
            "backends.claude.base_url",
            "cost_tracking.daily_limit",
            "metrics.enabled",
        )
        assert result.restart_needed == ("listen.port",)
        assert (await daemon.get("/metrics")).status == 404
        assert (await daemon.status()).spend.limit_usd == 90.0


async def test_a_refused_reload_changes_nothing(home: Home) -> None:
    text = ALONE.format(claude="http://127.0.0.1:9")
    home.configure(text)
    async with home.running() as daemon:
        home.configure(text + "cost_tracking: {daily_limit: lots}\n")
        with pytest.raises(ConfigError, match=r"config\.yaml:4"):
            await daemon.ask(lambda client: client.reload())
        status = await daemon.status()
        assert status.spend.limit_usd == 100.0
        assert "config.yaml:4" in status.config_error
        assert "claude_failover_config_last_reload_successful 0.0" in (await daemon.get("/metrics")).body.decode()


async def test_cost_tracking_can_be_switched_on_and_off(home: Home) -> None:
    text = ALONE.format(claude="http://127.0.0.1:9")
    home.configure(text + "cost_tracking: {enabled: false}\n")
    async with home.running() as daemon:
        home.configure(text)
        await daemon.ask(lambda client: client.reload())
        assert (await daemon.status()).spend.limit_usd == 100.0
        assert home.paths.ledger.exists()
        home.configure(text + "cost_tracking: {enabled: false}\n")
        await daemon.ask(lambda client: client.reload())
        assert (await daemon.status()).spend.limit_usd is None


async def test_the_key_can_be_switched_off_by_a_reload(home: Home) -> None:
    async with simulated_claude() as claude:
        text = ALONE.format(claude=claude.url)
        home.configure(text)
        async with home.running() as daemon:
            assert (await daemon.post(headers={"x-claude-failover-key": "wrong"})).status == 401
            home.configure(text.replace("port: 0", 'port: 0, client_key: "off"'))
            await daemon.ask(lambda client: client.reload())
            assert (await daemon.post(headers={"x-claude-failover-key": "wrong"})).status == 200


RELOADED = """
import sys
from claude_failover.daemon import __main__, life, reloading

class Reloaded(life.Daemon):
    async def _listen(self, *how):
        text = self.paths.config_file.read_text()
        self.paths.config_file.write_text(text.replace('client_key: "off"', "client_key: required"))
        reloading.reload(self)  # as over the control channel, which answers already
        await super()._listen(*how)

life.Daemon = Reloaded
sys.exit(__main__.main(["--ready-fd", sys.argv[1]]))
"""


async def test_a_reload_in_the_midst_of_the_start_decides_about_the_key(home: Home) -> None:
    async with simulated_claude() as claude:
        home.configure(ALONE.format(claude=claude.url).replace("port: 0", 'port: 0, client_key: "off"'))
        async with home.running(code=RELOADED) as daemon:
            assert (await daemon.post(headers={"x-claude-failover-key": "wrong"})).status == 401
            assert (await daemon.status()).client_key_required


async def test_a_hangup_reloads(home: Home) -> None:
    text = ALONE.format(claude="http://127.0.0.1:9")
    home.configure(text)
    async with home.running() as daemon:
        home.configure(text + "cost_tracking: {daily_limit: 3}\n")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.until(lambda now: now.spend.limit_usd == 3.0)
        home.configure(text + "nonsense: 1\n")
        daemon.process.send_signal(signal.SIGHUP)
        status = await daemon.until(lambda now: bool(now.config_error))
        assert status.spend.limit_usd == 3.0


async def test_force_moves_everything_until_its_time_is_over_across_a_restart(home: Home) -> None:
    async with simulated_claude() as claude, simulated_bedrock() as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url))
        async with home.running() as daemon:
            result = await daemon.ask(lambda client: client.force(ForceRequest("bedrock", for_s=600.0)))
            assert result.override is not None
            until = result.override.until
            assert (await daemon.post()).headers["x-claude-failover-reason"] == Reason.FORCED.value
        async with home.running() as daemon:
            status = await daemon.status()
            assert status.override is not None
            assert status.override.until == pytest.approx(until)
            assert (await daemon.post()).headers["x-claude-failover-backend"] == "bedrock"
        state = json.loads(home.paths.state.read_bytes())
        state["policy"]["overrides"][0]["until"] = SystemClock().now().wall + 3.0
        home.paths.state.write_text(json.dumps(state))
        async with home.running() as daemon:
            await daemon.until(lambda now: now.override is None)
            assert (await daemon.post()).headers["x-claude-failover-backend"] == "claude"


async def test_a_kind_is_as_good_as_a_name_where_there_is_one_of_it(home: Home) -> None:
    text = BOTH.format(claude="http://127.0.0.1:9", bedrock="http://127.0.0.1:9")
    home.configure(text.replace("name: bedrock", "name: aws").replace("name: claude", "name: max"))
    async with home.running() as daemon:
        for said_name, meant in (("bedrock", "aws"), ("claude", "max"), ("aws", "aws")):
            found = await daemon.ask(lambda client, name=said_name: client.force(ForceRequest(name)))  # type: ignore[misc]
            assert found.override is not None
            assert found.override.backend == meant
        assert (await daemon.ask(lambda client: client.force(ForceRequest(None)))).override is None


async def test_pooled_connections_are_left_behind_by_a_reload(home: Home) -> None:
    async with simulated_claude() as claude:
        home.configure(ALONE.format(claude=claude.url))
        async with home.running() as daemon:
            for _ in range(3):
                assert (await daemon.post()).status == 200
                await daemon.ask(lambda client: client.reload())
            assert claude.connections == 3
            await claude.until(lambda: claude.open_connections == 0, PATIENCE)


# --- to be killed, and to end ----------------------------------------------------------------------


async def test_after_a_kill_it_knows_cooldowns_orders_spend_and_stories(home: Home) -> None:
    async with simulated_claude(claude_faults.plan_limit()) as claude, simulated_bedrock() as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url))
        async with home.running() as daemon:
            first = await daemon.post()
            await daemon.ask(lambda client: client.force(ForceRequest("bedrock", "claude-haiku-5-5")))
            spent = (await daemon.status()).spend.today_usd
            await daemon.until_booked()
            await daemon.until_saved(lambda policy: bool(policy["overrides"]))
            daemon.process.kill()
            await daemon.ended()
        assert home.paths.socket.exists()
        async with home.running() as daemon:
            status = await daemon.status()
            assert status.backends[0].state is State.COOLDOWN
            assert ("5h", "rejected") in [(window.name, window.status) for window in status.plan]
            assert status.spend.today_usd == pytest.approx(spent)
            assert status.override is not None
            assert (status.override.backend, status.override.model) == ("bedrock", "claude-haiku-5-5")
            story = await daemon.ask(lambda client: client.explain(first.headers["x-claude-failover-request-id"]))
            assert [attempt.backend for attempt in story.exchange.attempts] == ["claude", "bedrock"]
            assert story.exchange.steps
            last = await daemon.ask(lambda client: client.explain())
            assert last == story
            assert (await daemon.post()).headers["x-claude-failover-attempts"] == "1"


async def test_a_stop_lets_streams_finish_and_takes_nothing_new(home: Home) -> None:
    async with held_claude(PAUSED) as claude:
        home.configure(ALONE.format(claude=claude.url))
        async with home.running() as daemon, asyncio.TaskGroup() as tasks:
            stream = tasks.create_task(daemon.post())
            await daemon.until(lambda now: now.streams == 1)
            daemon.process.send_signal(signal.SIGTERM)
            await daemon.until(lambda now: now.draining)
            with pytest.raises(ConnectionRefusedError):
                await daemon.post()
            claude.go_on.set()
            reply = await stream
            assert (reply.status, reply.complete) == (200, True)
            assert said(reply.body) == "one two three four five six seven eight"
            assert await daemon.ended() == 0


async def test_streams_that_outlast_the_drain_are_cut_and_not_finished(home: Home) -> None:
    async with simulated_claude(ENDLESS) as claude:
        home.configure(ALONE.format(claude=claude.url))
        async with home.running() as daemon, asyncio.TaskGroup() as tasks:
            stream = tasks.create_task(daemon.post())
            await daemon.until(lambda now: now.streams == 1)
            result = await daemon.ask(lambda client: client.stop(StopRequest(drain_s=1.0)))
            assert result.streams == 1
            reply = await stream
            assert reply.status == 200
            assert not reply.complete
            assert "message_stop" not in [name for name, _ in sse_events(reply.body[: reply.body.rfind(b"\n\n") + 2])]
            assert await daemon.ended() == 0
        async with home.running() as daemon:
            story = await daemon.ask(lambda client: client.explain())
            assert story.exchange.outcome == "aborted"
            [attempt] = story.exchange.attempts
            assert (attempt.outcome, attempt.detail) == (Outcome.LOCAL, "the daemon was stopped")
        [line] = [line for line in home.events() if line["event"] == "exchange.ended"]
        assert (line["outcome"], line["level"]) == ("aborted", "warning")


HANGS = """
import asyncio, sys, threading
from claude_failover.credentials.threads import in_thread
from claude_failover.daemon import __main__, life

class Hung(life.Daemon):
    async def close(self):
        await super().close()
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 300)
        in_thread(lambda: print("finished", threading.Event().wait(4), flush=True), "token-refresh", finish=True)

life.Daemon = Hung
sys.exit(__main__.main(["--ready-fd", sys.argv[1]]))
"""


async def test_a_name_that_is_being_looked_up_without_a_network_does_not_hold_the_end(home: Home) -> None:
    # For asyncio, and uvloop alike, that is a thread of a pool, whose end the end of the loop waits for.
    home.configure(ALONE.format(claude="http://127.0.0.1:9"))
    async with home.running(code=HANGS) as daemon:
        daemon.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await daemon.ended() == 0
        assert (home.path / "said").read_text() == "finished False\n"
        assert claim.holder(home.paths.lock) is None


@pytest.mark.parametrize("how", ["signal", "command"])
async def test_a_second_word_ends_the_drain(home: Home, how: str) -> None:
    async with simulated_claude(ENDLESS) as claude:
        home.configure(ALONE.format(claude=claude.url))
        async with home.running() as daemon:
            reader, writer = await daemon.connect()
            await reader.readuntil(b"\r\n\r\n")
            daemon.process.send_signal(signal.SIGTERM)
            await daemon.until(lambda now: now.draining)
            if how == "signal":
                daemon.process.send_signal(signal.SIGTERM)
            else:
                await daemon.ask(lambda client: client.stop(StopRequest(now=True)))
            async with asyncio.timeout(25):  # the drain would last for 30
                assert await daemon.ended() == 0
            writer.close()


async def test_what_happened_before_a_crash_is_counted_as_held_money(home: Home) -> None:
    async with simulated_claude() as claude, simulated_bedrock(ENDLESS) as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url))
        async with home.running() as daemon:
            reader, writer = await daemon.connect(headers={"x-claude-failover-force": "bedrock"})
            await reader.readuntil(b"\r\n\r\n")
            held = (await daemon.status()).spend.reserved_usd
            assert held > 0
            await daemon.until_booked()
            daemon.process.kill()
            await daemon.ended()
            writer.close()
        async with home.running() as daemon:
            assert (await daemon.status()).spend.today_usd == pytest.approx(held)


async def test_when_descriptors_run_out_it_lives_and_says_it_a_few_times(home: Home) -> None:
    async with simulated_claude() as claude:
        home.configure(ALONE.format(claude=claude.url))
        async with home.running() as daemon:
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (40, 40))
            writers = []
            for _ in range(60):
                try:
                    async with asyncio.timeout(1):
                        writers.append((await asyncio.open_connection("127.0.0.1", daemon.port))[1])
                except (OSError, TimeoutError):
                    break
            await asyncio.sleep(2)
            for writer in writers:
                writer.close()
            await asyncio.sleep(1)
            assert (await daemon.post()).status == 200
    assert len(home.events()) < 60


async def test_a_sessions_own_budget_holds_across_a_restart(home: Home) -> None:
    dear = Answer(usage=Usage(input=1000, output=10_000))
    session = {
        "x-claude-failover-force": "bedrock",
        "x-claude-failover-budget": "0.10",
        "x-claude-code-session-id": "5f0c0c2e-0000-4000-8000-000000000001",
    }
    async with simulated_claude() as claude, simulated_bedrock(dear) as bedrock:
        home.configure(BOTH.format(claude=claude.url, bedrock=bedrock.url))
        async with home.running() as daemon:
            assert (await daemon.post(headers=session)).status == 200
            assert (await daemon.status()).spend.today_usd > 0.10
        async with home.running() as daemon:
            await daemon.until(lambda now: now.backends[1].credential.startswith("long-term keys"))
            refused = await daemon.post(headers=session)
            assert refused.status >= 400
            assert b"this session's budget of $0.10" in refused.body
            other = {**session, "x-claude-code-session-id": "5f0c0c2e-0000-4000-8000-000000000002"}
            assert (await daemon.post(headers=other)).status == 200
