"""Every exit code that a command's help names, brought about; none that cannot be."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from claude_failover.cli.lessons import LESSONS
from claude_failover.config_paths import Paths, find_paths
from claude_failover.control import api
from claude_failover.control.api import StopRequest
from claude_failover.control.server import Peer
from claude_failover.control.status import Health
from claude_failover.errors import (
    EXIT_DEGRADED,
    EXIT_LAUNCH,
    EXIT_OK,
    EXIT_SPEND_LIMIT,
    EXIT_USAGE,
    ControlError,
    FailoverError,
)
from tests.control_fakes import FakeDaemon, cli, cli_async, here_async, sample_status, serving, short_directory

ROOT = Path(__file__).parents[2]

SHOWN_ELSEWHERE = {
    ("start", 0): "test_start_answers_on_socket_and_port_and_stop_ends_it",
    ("stop", 0): "test_start_answers_on_socket_and_port_and_stop_ends_it",
    ("restart", 0): "test_restart_brings_up_another_process_and_starts_one_where_none_was",
    ("drill", 0): "test_the_drill_rescues_and_says_so_in_json",
    ("drill", 1): "test_a_drill_that_is_not_rescued_says_why",
    ("costs", 0): "test_it_works_while_the_daemon_is_stopped",
    ("doctor", 0): "test_a_good_machine_is_good",
    ("service status", 0): "test_the_manager_starts_it_sees_it_ready_and_brings_it_back_after_a_crash",
    ("service status", 3): "test_status_follows_what_is_the_case",
    ("service install", 0): "test_install_writes_the_unit_enables_and_starts_it",
    ("token set", 0): "test_a_token_kept_in_the_file_wins_until_it_is_cleared",
}
"""Brought about by a test that needs more than a line to do it."""


TOKEN = f"sk-ant-oat01-worth-nothing-{'x' * 60}"

LITELLM = """\
model_list:
  - {model_name: claude-opus-4-5-20251101, litellm_params: {model: anthropic/claude-opus-4-5-20251101}}
"""


class Refusing(FakeDaemon):
    """Answers every command with an error."""

    error: FailoverError = ControlError("no")

    def status(self) -> object:  # type: ignore[override]  # never returns
        raise self.error

    async def stop(self, request: StopRequest, peer: Peer) -> api.StopResult:
        raise self.error

    async def reload(self, peer: Peer) -> api.ReloadResult:
        raise self.error

    async def force(self, request: api.ForceRequest, peer: Peer) -> api.ForceResult:
        raise self.error

    async def explain(self, exchange: str | None) -> api.Explain | None:
        raise self.error

    async def models(self, *, refresh: bool) -> api.Models:
        raise self.error


@dataclass
class Place:
    """Where a case is played."""

    home: Path
    paths: Paths
    stack: ExitStack

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.home / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def configure(self, text: str) -> None:
        self.write("cf/config.yaml", text)

    def keep_carelessly(self) -> None:
        cli("token", "set", "--store", "file", home=self.home, stdin=TOKEN)
        (self.paths.state_dir / "secrets.json").chmod(0o644)

    def take_a_port(self) -> None:
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.configure(f"listen: {{port: {listener.getsockname()[1]}}}\n")


@pytest.fixture
def place() -> Iterator[Place]:
    with short_directory() as home, ExitStack() as stack:
        paths = find_paths(environ={"CLAUDE_FAILOVER_HOME": str(home / "cf")})
        paths.prepare()
        yield Place(home, paths, stack)


Prepare = Callable[[Place], object]
Case = tuple[str, Prepare | None, FakeDaemon | None]
"""The words, what is done before, and who answers on the control socket."""


def cases() -> dict[tuple[str, int], Case]:
    """What brings each code about."""
    ended: dict[tuple[str, int], Case] = {
        ("start", 1): ("start", Place.take_a_port, None),
        ("stop", 1): ("stop", None, Refusing()),
        ("stop", 3): ("stop", None, None),
        ("restart", 1): ("restart", Place.take_a_port, None),
        ("restart", 2): ("restart", lambda place: place.configure("nonsense: 1\n"), None),
        ("reload", 0): ("reload", None, FakeDaemon()),
        ("status", 0): ("status", None, FakeDaemon()),
        ("status", 4): ("status --check", None, FakeDaemon()),
        ("status", 5): ("status --check", None, FakeDaemon(sample_status(health=Health.SPEND_LIMIT))),
        ("run", EXIT_LAUNCH): ("run -- --version", None, None),
        ("env", 0): ("env --unset", None, None),
        ("shell-init", 0): ("shell-init bash", None, None),
        ("force-backend", 0): ("force-backend auto", None, FakeDaemon()),
        ("force-backend", 2): ("force-backend nobody", None, FakeDaemon()),
        ("costs", 1): ("costs", None, None),
        ("logs", 0): ("logs", None, None),
        ("logs", 1): ("logs", lambda place: place.paths.log.mkdir(), None),
        ("explain", 0): ("explain last", None, FakeDaemon()),
        ("explain", 1): ("explain cfr_unknown", None, FakeDaemon()),
        ("drill", 2): ("drill nonsense", None, None),
        ("doctor", 1): ("doctor", None, None),
        ("models", 0): ("models", None, None),
        ("models", 3): ("models --refresh", None, None),
        ("config init", 2): ("config init", lambda place: place.configure(""), None),
        ("config check", 2): ("config check", lambda place: place.configure("nonsense: 1\n"), None),
        ("config show", 1): ("config show --claude-settings", None, Refusing()),
        ("config show", 3): (
            "config show --claude-settings",
            lambda place: place.configure("listen: {port: 0}\n"),
            None,
        ),
        ("config import", 0): ("config import litellm.yaml", lambda place: place.write("litellm.yaml", LITELLM), None),
        ("config import", 2): ("config import nowhere.yaml", None, None),
        ("token set", 1): ("token set anthropic", None, None),
        ("token status", 1): ("token status", Place.keep_carelessly, None),
        ("token clear", 1): ("token clear", Place.keep_carelessly, None),
        ("service install", 1): ("service install", None, None),
        ("service status", 1): ("service status", None, None),
        ("monitoring export", 0): ("monitoring export there", None, None),
        ("statusline", 0): ("statusline", None, None),
        ("completion", 0): ("completion zsh", None, None),
    }
    for path, lesson in LESSONS.items():
        for code in lesson.codes:
            if (path, code) in ended or (path, code) in SHOWN_ELSEWHERE:
                continue
            if code == EXIT_OK:
                ended[path, code] = (
                    f"{path} --help" if any(other.startswith(f"{path} ") for other in LESSONS) else path,
                    None,
                    None,
                )
            elif code == EXIT_USAGE:
                ended[path, code] = (f"{path} --no-such-option", None, None)
            else:
                words = {"force-backend": "force-backend auto", "explain": "explain last"}.get(path, path)
                ended[path, code] = (words, None, Refusing() if code == 1 else None)
    return ended


CASES = cases()


@pytest.mark.parametrize(("path", "code"), CASES, ids=str)
async def test_the_code_is_brought_about(place: Place, path: str, code: int) -> None:
    words, prepare, daemon = CASES[path, code]
    if prepare is not None:
        prepare(place)
    async with AsyncExitStack() as stack:
        if daemon is not None:
            await stack.enter_async_context(serving(daemon, place.paths.socket))
        # `run` turns into claude if there is one: not here, in the tests' own process.
        typed = cli_async if path in {"run", "token set"} else here_async
        done = await typed(*words.split(), home=place.home, **({"stdin": TOKEN} if path == "token set" else {}))
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert bool(done.stderr) or code in (EXIT_OK, EXIT_DEGRADED, EXIT_SPEND_LIMIT) or done.stdout


def test_no_code_is_named_that_nobody_brings_about_and_none_brought_about_that_is_not_named() -> None:
    named = {(path, code) for path, lesson in LESSONS.items() for code in lesson.codes}
    assert CASES.keys() | SHOWN_ELSEWHERE.keys() == named
    tests = "".join(file.read_text("utf-8") for file in sorted((ROOT / "tests").rglob("test_*.py")))
    assert [name for name in SHOWN_ELSEWHERE.values() if f"def {name}(" not in tests] == []
