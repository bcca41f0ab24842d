"""Other users of the machine, and other programs of the same user, against the real daemon.

Another user is played by a process that gives up root for him, so those tests are there only where the tests run as
root. CI makes a user for them and names him in ``CLAUDE_FAILOVER_OTHER_USER``; elsewhere it is a uid that nobody has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from claude_failover.control import api
from claude_failover.control.claim import holder
from claude_failover.drill.process import DaemonProcess, settings
from claude_failover.errors import FailoverError
from tests.control_fakes import short_directory

NOBODY = 54_321
"""A uid that is nobody's."""

NAME = os.environ.get("CLAUDE_FAILOVER_OTHER_USER")
OTHER, GROUP = (NOBODY, NOBODY) if NAME is None else (pwd.getpwnam(NAME).pw_uid, pwd.getpwnam(NAME).pw_gid)

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def daemon(home: Path, more: Mapping[str, Any] | None = None) -> DaemonProcess:
    return DaemonProcess(home, settings(NOWHERE, NOWHERE, more))


@contextlib.asynccontextmanager
async def running(home: Path, more: Mapping[str, Any] | None = None) -> AsyncIterator[DaemonProcess]:
    async with daemon(home, more) as process:
        yield process


async def refused(home: Path, more: Mapping[str, Any] | None = None) -> str:
    """Start it; what it said when it would not."""
    process = daemon(home, more)
    with pytest.raises(FailoverError) as error:
        await process.start()
    assert await process.wait() != 0
    with contextlib.suppress(FileNotFoundError):
        assert holder(process.paths.lock) is None
    return str(error.value)


# --- files ---------------------------------------------------------------------------------------


async def test_all_that_is_kept_is_its_owners_alone(home: Path) -> None:
    async with running(home) as process:
        process.control.reload()
        for directory in (process.paths.state_dir, process.paths.log_dir, process.paths.runtime_dir):
            assert directory.stat().st_mode & 0o7777 == 0o700, directory
        assert process.paths.socket.stat().st_mode & 0o777 == 0o600
    kept = [path for folder in ("state", "log", "run") for path in (home / folder).rglob("*")]
    assert {"client.key", "ledger.db", "daemon.log", "audit.log", "daemon.lock"} <= {path.name for path in kept}
    for path in kept:
        assert path.stat().st_mode & 0o777 == 0o600, path


@pytest.mark.parametrize("folder", ["state", "log", "run"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
async def test_a_directory_that_others_can_write_to_is_refused(home: Path, folder: str, mode: int) -> None:
    (home / folder).mkdir()
    (home / folder).chmod(mode)
    said = await refused(home)
    assert f"{home / folder}: other users can write to it (mode {mode:04o})" in said


async def test_a_place_where_others_can_swap_the_directory_is_refused(home: Path) -> None:
    above = home / "shared"
    above.mkdir()
    above.chmod(0o777)
    said = await refused(above / "home")
    assert f"{above}: other users can write to it" in said


@pytest.mark.parametrize("mode", [0o666, 0o620])
async def test_settings_that_others_could_write_are_refused(home: Path, mode: int) -> None:
    process = daemon(home)
    config = home / "config.yaml"
    config.touch()
    config.chmod(mode)
    with pytest.raises(FailoverError, match="other users can write to it"):
        await process.start()
    await process.wait()


async def test_a_key_that_others_could_read_is_refused(home: Path) -> None:
    state = home / "state"
    state.mkdir(0o700)
    key = state / "client.key"
    key.write_text("cfk_" + "a" * 43)
    key.chmod(0o644)
    assert "client.key" in await refused(home)


async def test_files_left_open_to_others_are_closed_to_them(home: Path) -> None:
    for name in ("log/daemon.log", "log/audit.log", "state/state.json", "state/ledger.db", "run/daemon.pid"):
        path = home / name
        path.parent.mkdir(0o700, exist_ok=True)
        path.touch()
        path.chmod(0o666)
    async with running(home) as process:
        process.control.reload()
    for name in ("log/daemon.log", "log/audit.log", "state/state.json", "state/ledger.db"):
        path = home / name
        assert not path.exists() or path.stat().st_mode & 0o777 == 0o600, name


async def test_a_link_in_a_files_place_is_not_written_through(home: Path) -> None:
    """Whoever once could place a link must not have us write to what it names."""
    victim = home / "victim"
    victim.write_text("untouched")
    for name in ("log/daemon.log", "log/audit.log", "state/state.json"):
        path = home / name
        path.parent.mkdir(0o700, exist_ok=True)
        path.symlink_to(victim)
    async with running(home) as process:
        process.control.reload()
    assert victim.read_text() == "untouched"


async def test_a_link_in_the_locks_place_is_refused(home: Path) -> None:
    (home / "state").mkdir(0o700)
    (home / "state/daemon.lock").symlink_to(home / "victim")
    assert "daemon.lock" in await refused(home)
    assert not (home / "victim").exists()


# --- where it listens ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_beyond_loopback_it_listens_only_where_that_is_said(home: Path, host: str) -> None:
    assert "listen.host" in await refused(home, {"listen": {"host": host}})


async def test_beyond_loopback_the_key_cannot_be_switched_off(home: Path) -> None:
    said = await refused(home, {"listen": {"host": "0.0.0.0", "allow_remote": True, "client_key": "off"}})
    assert "client_key must be required" in said


async def test_it_listens_on_one_address_and_nowhere_else(home: Path) -> None:
    async with running(home) as process:
        port = int(process.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            pass
        for address in ("127.0.0.2", socket.gethostbyname(socket.gethostname())):
            if address != "127.0.0.1":
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address, port), timeout=1)


# --- other users ---------------------------------------------------------------------------------

AS_ANOTHER = """\
import encodings.idna, json, os, socket, sys
name, uid, group, paths, address = json.loads(sys.stdin.read())
os.initgroups(name, group) if name else os.setgroups([])
os.setgid(group); os.setuid(uid)
def attempt(what, *arguments):
    try:
        return what(*arguments)
    except OSError as error:
        return type(error).__name__
def over_socket(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(40)
        connection.connect(path)
        head = "POST /v1/stop HTTP/1.1", f"Host: {paths['host']}", "Content-Length: 2", "", "{}"
        connection.sendall("\\r\\n".join(head).encode())
        return connection.recv(4096).decode()
def over_port(path):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=40) as connection:
        key = f"x-claude-failover-key: {paths['key']}"
        head = f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", key, "x-api-key: made-up", "", ""
        connection.sendall("\\r\\n".join(head).encode())
        return int(connection.recv(4096).split()[1])
print(json.dumps({
    "socket": attempt(over_socket, paths["socket"]),
    "port": [attempt(over_port, path) for path in ("/v1/models", "/metrics", "/healthz")],
    **{path: attempt(lambda: str(open(path, "rb"))) for path in paths["files"]},
    **{path + " for writing": attempt(lambda: str(open(path, "ab"))) for path in paths["files"]},
    **{path: attempt(os.listdir, path) for path in paths["directories"]},
    "environ": attempt(lambda: open(f"/proc/{paths['pid']}/environ").read()),
    "memory": attempt(lambda: str(open(f"/proc/{paths['pid']}/mem", "rb"))),
}))
"""


def as_another(process: DaemonProcess, key: str = "") -> dict[str, Any]:
    """What another user gets when he tries everything; *key* is what he shows at the port."""
    paths = process.paths
    files = [paths.client_key, paths.ledger, paths.log, paths.audit, paths.lock, paths.pid, paths.socket]
    told = {
        "socket": str(paths.socket),
        "host": api.HOST,
        "files": [str(path) for path in files],
        "directories": [str(path) for path in (paths.state_dir, paths.log_dir, paths.runtime_dir)],
        "pid": process.pid,
        "key": key,
    }
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER], input=json.dumps([NAME, OTHER, GROUP, told, process.address]),
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seen_by_all(directory: Path) -> None:
    """Let others through, so that what lies in it must defend itself."""
    directory.chmod(0o755)


ALLOWED = {"listen": {"other_users": "allowed"}}

if sys.platform == "linux" and os.geteuid() == 0:

    async def test_another_user_gets_at_nothing(home: Path) -> None:
        seen_by_all(home)
        async with running(home) as process:
            got = await asyncio.to_thread(as_another, process)
        assert got.pop("port") == [401, 401, 200]
        assert set(got.values()) == {"PermissionError"}, got
        audit = process.paths.audit.read_text("utf-8")
        assert f'"event":"client.refused","why":"key","status":401,"uid":{OTHER}' in audit

    async def test_another_user_is_not_served_even_with_the_key(home: Path) -> None:
        """The kernel says whose connection it is. Metrics he may read with the key, as Prometheus does; and back."""
        async with running(home) as process:
            key = process.paths.client_key.read_text().strip()
            assert (await asyncio.to_thread(as_another, process, key))["port"] == [403, 200, 200]
            (home / "config.yaml").write_text(json.dumps(settings(NOWHERE, NOWHERE, ALLOWED)))
            process.control.reload()
            assert (await asyncio.to_thread(as_another, process, key))["port"] == [502, 200, 200]
            (home / "config.yaml").write_text(json.dumps(settings(NOWHERE, NOWHERE)))
            process.control.reload()
            assert (await asyncio.to_thread(as_another, process, key))["port"] == [403, 200, 200]
        audit = process.paths.audit.read_text("utf-8")
        assert f'"event":"client.refused","why":"uid","status":403,"uid":{OTHER}' in audit

    async def test_another_user_is_not_served_where_no_key_is_asked_for(home: Path) -> None:
        async with running(home, {"listen": {"client_key": "off"}}) as process:
            assert (await asyncio.to_thread(as_another, process))["port"] == [403, 403, 200]
        async with running(home, {"listen": {"client_key": "off", **ALLOWED["listen"]}}) as process:
            assert (await asyncio.to_thread(as_another, process))["port"] == [502, 200, 200]

    async def test_another_user_is_turned_away_although_the_socket_stands_open(home: Path) -> None:
        """Each door holds alone: here somebody opened the directory and the socket, and the kernel says who asks."""
        seen_by_all(home)
        async with running(home) as process:
            process.paths.runtime_dir.chmod(0o755)
            process.paths.socket.chmod(0o666)
            got = await asyncio.to_thread(as_another, process)
            assert got["socket"].startswith("HTTP/1.1 403 ")
            assert "belongs to another user" in got["socket"]
            assert process.control.ping().pid == process.pid
        audit = process.paths.audit.read_text("utf-8")
        assert f'"event":"client.refused","why":"uid","uid":{OTHER},' in audit

    @pytest.mark.parametrize("folder", ["state", "log", "run"])
    async def test_a_directory_of_another_user_is_refused(home: Path, folder: str) -> None:
        (home / folder).mkdir(0o700)
        os.chown(home / folder, OTHER, GROUP)
        assert f"belongs to another user (uid {OTHER})" in await refused(home)

    @pytest.mark.parametrize("folder", ["state", "log", "run"])
    async def test_a_directory_behind_another_users_link_is_refused(home: Path, folder: str) -> None:
        (home / "elsewhere").mkdir(0o700)
        (home / folder).symlink_to(home / "elsewhere")
        os.lchown(home / folder, OTHER, GROUP)
        assert f"is a link made by another user (uid {OTHER})" in await refused(home)

    DUMPABLE = """\
import ctypes, os, sys
from claude_failover.daemon.hardening import harden
def become():
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
told, hold = os.pipe(), os.pipe()
child = os.fork()
if not child:
    become()
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    if sys.argv[1] == "hardened":
        harden()
    os.write(told[1], b"x")
    os.read(hold[0], 1)
    os._exit(0)
os.read(told[0], 1)
become()
for name in ("environ", "mem", "maps"):
    try:
        open(f"/proc/{child}/{name}", "rb").read(1)
        print(name, "open")
    except PermissionError:
        print(name, "closed")
    except OSError:
        print(name, "open")
os.write(hold[1], b"x")
os.waitpid(child, 0)
"""

    @pytest.mark.parametrize(("how", "word"), [("plain", "open"), ("hardened", "closed")])
    def test_another_program_of_the_same_user_cannot_look_into_the_process(how: str, word: str) -> None:
        """Without hardening it can: else this test would show nothing."""
        done = subprocess.run(
            [sys.executable, "-c", DUMPABLE, how, str(OTHER)], capture_output=True, text=True, check=True, timeout=30,
            env={"VERY_SECRET": "value", "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert done.stdout.split("\n")[:2] == [f"environ {word}", f"mem {word}"]


if sys.platform == "linux":

    def of_process(process: DaemonProcess, name: str) -> str:
        return Path("/proc", str(process.pid), name).read_text("ascii")

    async def test_the_daemon_leaves_no_core_and_its_command_line_says_nothing(home: Path) -> None:
        async with running(home) as process:
            core = next(line for line in of_process(process, "limits").splitlines() if line.startswith("Max core file"))
            assert core.split()[4:6] == ["0", "0"]
            assert of_process(process, "cmdline").split("\0")[2:4] == ["-m", "claude_failover.daemon"]
