"""Server and client of the control channel over a real Unix socket."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from claude_failover.control import api, claim, server
from claude_failover.control.client import ControlClient
from claude_failover.control.server import ControlServer, Peer, peer_of
from claude_failover.core.types import Epoch, Seconds
from claude_failover.errors import AlreadyRunning, ConfigError, ControlError, DaemonNotRunning, UsageError
from tests.control_fakes import Costs, FakeDaemon, sample_status, serving, short_directory

Answer = TypeVar("Answer")


@pytest.fixture
def path() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory / "control.sock"


async def ask(path: Path, question: Callable[[ControlClient], Answer]) -> Answer:
    return await asyncio.to_thread(question, ControlClient(path, timeout=Seconds(30.0)))


async def listeners(daemon: FakeDaemon, count: int) -> None:
    async with asyncio.timeout(30):
        while daemon.feed.listeners != count:  # noqa: ASYNC110 - the feed has no business telling tests
            await asyncio.sleep(0.01)


def mode_of(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


async def raw(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_status_arrives_as_it_was_made(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        assert await ask(path, ControlClient.status) == daemon.now


async def test_ping_names_the_process(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        assert (await ask(path, ControlClient.ping)).pid == os.getpid()


async def test_stop_hands_over_drain_and_who_asked(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        result = await ask(path, lambda client: client.stop(api.StopRequest(5.0)))
    assert result.streams == 2
    assert daemon.asked == [(api.StopRequest(5.0), os.geteuid())]


async def test_reload_says_what_changed(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        assert (await ask(path, ControlClient.reload)).restart_needed == ("listen.port",)


async def test_force_sets_and_auto_ends_the_override(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        forced = await ask(path, lambda client: client.force(api.ForceRequest("bedrock", None, 60.0)))
        ended = await ask(path, lambda client: client.force(api.ForceRequest(None)))
    assert forced.override == api.Override("bedrock", None, daemon.now.now + 60)
    assert ended.override is None


async def test_an_error_of_the_daemon_arrives_as_the_same_exception(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        with pytest.raises(UsageError, match="no backend 'nowhere'") as caught:
            await ask(path, lambda client: client.force(api.ForceRequest("nowhere")))
    assert caught.value.hint == "one of claude, bedrock"


async def test_a_refused_configuration_is_a_config_error(path: Path) -> None:
    async with serving(FakeDaemon(fails=ConfigError("config.yaml:3: no")), path):
        with pytest.raises(ConfigError, match=r"config\.yaml:3"):
            await ask(path, ControlClient.reload)


async def test_a_bug_in_the_daemon_ends_one_answer_and_tells_nothing(path: Path) -> None:
    daemon = FakeDaemon(fails=RuntimeError("what only the log may say"))
    async with serving(daemon, path):
        with pytest.raises(ControlError, match="this is a bug") as caught:
            await ask(path, ControlClient.status)
        assert "what only" not in str(caught.value)
        daemon.fails = None
        assert await ask(path, ControlClient.status) == daemon.now


async def test_explain_finds_the_last_one_and_one_by_name(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        assert (await ask(path, ControlClient.explain)).exchange.exchange == "cfr_last"
        assert (await ask(path, lambda client: client.explain("cfr_7"))).exchange.exchange == "cfr_7"
        with pytest.raises(ControlError, match="cfr_unknown"):
            await ask(path, lambda client: client.explain("cfr_unknown"))


async def test_costs_pass_the_question_on(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        answer = await ask(path, lambda client: client.costs({"by": "day", "since": "5"}, Costs))
    assert answer == Costs(1.82, {"by": "day", "since": "5"})


async def test_models_are_refreshed_only_on_request(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        await ask(path, ControlClient.models)
        await ask(path, lambda client: client.models(refresh=True))
    assert daemon.asked == [("models", False), ("models", True)]


async def test_an_unknown_request_is_refused_by_name(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        with pytest.raises(ControlError, match="no such request: GET /v1/nothing"):
            await ask(path, lambda client: client.ask("GET", "/v1/nothing", api.Ping))


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: claude-failover\r\nOrigin: http://evil.example\r\n",
        b"Host: claude-failover\r\nReferer: http://evil.example/\r\n",
        b"Host: localhost\r\n",
        b"Host: evil.example\r\n",
    ],
    ids=["origin", "referer", "localhost", "foreign host"],
)
async def test_what_a_browser_could_send_is_refused(path: Path, lines: bytes) -> None:
    daemon = FakeDaemon()
    request = b"POST /v1/stop HTTP/1.1\r\n" + lines + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    async with serving(daemon, path):
        answer = await raw(path, request)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"evil" not in answer
    assert daemon.asked == []


@pytest.mark.parametrize("peer", [Peer(12345, 1), None], ids=["another user", "unknown"])
async def test_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, peer: Peer | None) -> None:
    monkeypatch.setattr(server, "peer_of", lambda transport: peer)
    daemon = FakeDaemon()
    async with serving(daemon, path, uid=1000):
        with pytest.raises(ControlError, match="another user"):
            await ask(path, lambda client: client.stop(api.StopRequest()))
    assert daemon.asked == []


@pytest.mark.parametrize("uid", [0, 1000])
async def test_the_owner_and_root_are_let_in(path: Path, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(server, "peer_of", lambda transport: Peer(uid, 1))
    daemon = FakeDaemon()
    async with serving(daemon, path, uid=1000):
        await ask(path, lambda client: client.stop(api.StopRequest()))
    assert daemon.asked == [(api.StopRequest(), uid)]


async def test_the_kernel_names_the_peer() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)

    class Transport(asyncio.BaseTransport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return one if name == "socket" else default

    peer = peer_of(Transport())
    one.close()
    other.close()
    assert peer is not None
    assert (peer.uid, peer.pid) == (os.geteuid(), os.getpid())


def test_a_transport_without_a_socket_has_no_peer() -> None:
    assert peer_of(asyncio.BaseTransport()) is None
    assert peer_of(None) is None


async def test_a_body_that_is_no_request_is_a_usage_error(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        with pytest.raises(UsageError, match="StopRequest"):
            await ask(path, lambda client: client.ask("POST", "/v1/stop", api.StopResult, body={"drain_s": "long"}))


async def test_a_huge_body_is_refused(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        with pytest.raises(ControlError, match="413"):
            await ask(path, lambda client: client.ask("POST", "/v1/stop", api.StopResult, body={"x": "y" * 100_000}))


async def test_the_socket_is_private_and_gone_afterwards(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        assert mode_of(path) == 0o600
    assert mode_of(path) is None


async def test_a_living_daemons_socket_is_not_taken(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        with pytest.raises(AlreadyRunning):
            await ControlServer(FakeDaemon(), path).start()
        assert await ask(path, ControlClient.status) == daemon.now


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(FakeDaemon(), path):
        assert (await ask(path, ControlClient.ping)).version


def test_no_socket_is_no_daemon_and_says_what_to_type(path: Path) -> None:
    with pytest.raises(DaemonNotRunning, match="no daemon answers on") as caught:
        ControlClient(path).ping()
    assert (caught.value.hint, caught.value.exit_code) == ("claude-failover start", 3)


def test_a_stale_socket_is_no_daemon(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(DaemonNotRunning):
        ControlClient(path).ping()


def test_a_daemon_that_runs_but_does_not_answer_is_told_from_none(path: Path) -> None:
    lock = claim.acquire(path.parent / "lock")
    with pytest.raises(DaemonNotRunning, match=f"a daemon runs \\(pid {os.getpid()}\\), but nobody answers") as caught:
        ControlClient(path, lock=path.parent / "lock").ping()
    assert caught.value.hint == "claude-failover restart"
    (path.parent / "lock").write_text("")
    with pytest.raises(DaemonNotRunning, match="just starting"):
        ControlClient(path, lock=path.parent / "lock").ping()
    lock.release()
    with pytest.raises(DaemonNotRunning, match="no daemon answers"):
        ControlClient(path, lock=path.parent / "lock").ping()


async def test_a_patient_client_waits_for_a_daemon_that_is_starting(path: Path) -> None:
    client = ControlClient(path, patience=Seconds(30.0))
    asking = asyncio.get_running_loop().create_task(asyncio.to_thread(client.ping))
    await asyncio.sleep(0.15)
    async with serving(FakeDaemon(), path):
        assert (await asking).pid == os.getpid()


def answer_once(path: Path, answer: bytes) -> threading.Thread:
    """A listener that says *answer* to its first caller and closes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_a_daemon_that_dies_before_it_answers_is_not_running(path: Path) -> None:
    answer_once(path, b"")
    with pytest.raises(DaemonNotRunning, match="went away"):
        ControlClient(path).ping()


def test_a_daemon_that_dies_in_mid_answer_is_a_control_error(path: Path) -> None:
    answer_once(path, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    with pytest.raises(ControlError, match="went away"):
        ControlClient(path).ping()


def test_an_error_answer_that_is_not_ours_is_still_an_error(path: Path) -> None:
    answer_once(path, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!")
    with pytest.raises(ControlError, match="502"):
        ControlClient(path).ping()


def test_a_daemon_that_does_not_answer_in_time_is_a_control_error(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen(1)
        with pytest.raises(ControlError, match="did not answer within"):
            ControlClient(path, timeout=Seconds(0.05)).ping()


def test_another_release_is_warned_about_once(path: Path) -> None:
    body = b'{"version": "9.9", "pid": 1, "listen": "", "started": 0}'
    head = b"HTTP/1.1 200 OK\r\nclaude-failover-version: 9.9\r\nclaude-failover-api: 1\r\nContent-Length: %d\r\n\r\n"
    warnings: list[str] = []
    client = ControlClient(path, warn=warnings.append)
    for _ in range(2):
        answer_once(path, head % len(body) + body)
        client.ping()
        path.unlink()
    assert len(warnings) == 1
    assert "9.9" in warnings[0]
    assert "claude-failover restart" in warnings[0]


async def test_the_same_release_is_not_warned_about(path: Path) -> None:
    warnings: list[str] = []
    async with serving(FakeDaemon(), path):
        await asyncio.to_thread(ControlClient(path, warn=warnings.append).ping)
    assert warnings == []


async def test_a_subscriber_gets_the_window_and_then_each_event(path: Path) -> None:
    daemon = FakeDaemon()
    daemon.feed.publish("attempt.ended", {"n": 1}, Epoch(1.0))
    async with serving(daemon, path):
        events = ControlClient(path).events(since=0)
        first = await asyncio.to_thread(next, events)
        daemon.feed.publish("failover.happened", {"backend": "bedrock"}, Epoch(2.0))
        second = await asyncio.to_thread(next, events)
    assert (first.seq, first.name, second.seq, second.name) == (1, "attempt.ended", 2, "failover.happened")
    assert second.fields == {"backend": "bedrock"}
    await asyncio.to_thread(events.close)  # type: ignore[attr-defined]  # it is a generator


async def test_a_subscription_ends_with_the_daemon(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        events = ControlClient(path).events()
        reading = asyncio.get_running_loop().create_task(asyncio.to_thread(list, events))
        await listeners(daemon, 1)
        daemon.feed.end()
        assert await reading == []


async def test_closing_the_server_ends_a_subscription_within_its_limit(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        events = ControlClient(path).events()
        reading = asyncio.get_running_loop().create_task(asyncio.to_thread(list, events))
        await listeners(daemon, 1)
    async with asyncio.timeout(30):
        assert await reading == []


async def test_a_subscriber_that_leaves_is_let_go(path: Path) -> None:
    daemon = FakeDaemon()
    async with serving(daemon, path):
        connection = http.client.HTTPConnection(api.HOST)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        await asyncio.to_thread(connection.request, "GET", "/v1/events")
        await asyncio.to_thread(lambda: connection.getresponse().readline())
        assert daemon.feed.listeners == 1
        connection.close()
        await listeners(daemon, 0)


async def test_since_must_be_a_number(path: Path) -> None:
    async with serving(FakeDaemon(), path):
        with pytest.raises(UsageError, match="since"):
            await ask(path, lambda client: client.ask("GET", "/v1/events", api.Event, query={"since": "x"}))


async def test_many_clients_at_once_are_all_answered(path: Path) -> None:
    async with serving(FakeDaemon(sample_status(streams=5)), path):
        answers = await asyncio.gather(*(ask(path, ControlClient.status) for _ in range(50)))
    assert {answer.streams for answer in answers} == {5}
