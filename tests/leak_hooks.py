"""Hooks that have every test searched by ``leak_search``; a ``conftest.py`` imports them for its folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from claude_failover.control import api
from claude_failover.drill.process import DaemonProcess
from tests.leak_search import consult, current, telling

LOOK_EVERY: Final = 0.02
"""Seconds between two looks at the processes; an interpreter that does nothing lives longer."""

_places: set[bytes] = set()
"""The temporary directories of this run: by them a process that has lost its parent is known as one of ours."""

_listening: list[Callable[[str, tuple[Any, ...]], None]] = []


def _words(command: Any) -> list[bytes]:
    """A command line as :class:`subprocess.Popen` takes it."""
    return [os.fsencode(word) for word in ([command] if isinstance(command, str | bytes | os.PathLike) else command)]


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Look at a directory before it is removed, and at a command line before it is run (PEP 578)."""
    if event == "shutil.rmtree":
        with contextlib.suppress(TypeError):  # by a file descriptor
            current.tree(Path(arguments[0]))
    elif event == "tempfile.mkdtemp":
        _places.add(os.fsencode(arguments[0]))
    elif event == "subprocess.Popen":
        current.line(_words(arguments[1]))


def _ours(pid: str) -> bool:
    """Whether a process was started by this run, and not by somebody else on this machine."""
    at = Path("/proc", pid)
    try:
        if any(place in (at / "environ").read_bytes() for place in tuple(_places)):
            return True
        while int(pid) > 1:
            if int(pid) == os.getpid():
                return True
            pid = Path("/proc", pid, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]
    except OSError:  # ended meanwhile
        return True
    return False


class Processes(threading.Thread):
    """Reads the command line of every process that appears, grandchildren and daemons among them (Linux)."""

    def __init__(self) -> None:
        super().__init__(name="leak-search", daemon=True)
        self._over = threading.Event()
        self._looks: dict[str, int] = {}
        self._looks = dict.fromkeys(self._running(), 2)

    def run(self) -> None:
        """Look, until told to stop."""
        while not self._over.wait(LOOK_EVERY):
            self._looks = {pid: self._looks.get(pid, 0) for pid in self._running()}
            for pid, looks in self._looks.items():
                # Twice: the first time it may still be the copy of its parent that it was forked as.
                if looks < 2:
                    self._looks[pid] += 1
                    with contextlib.suppress(OSError):
                        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
                        if telling(words) and _ours(pid):
                            current.line(words)

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()

    def _running(self) -> list[str]:
        try:
            return [place.name for place in Path("/proc").iterdir() if place.name.isdigit()]
        except OSError:  # a test that has used up every descriptor: nothing has ended, the next look sees what is new
            return list(self._looks)


def _overhear(patch: pytest.MonkeyPatch) -> None:
    """Hear what subprocesses and the control channel say to a test, and consult daemons before they end."""
    communicate, decode, stop = subprocess.Popen.communicate, api.decode, DaemonProcess.stop

    def communicated(process: subprocess.Popen[Any], *arguments: Any, **named: Any) -> tuple[Any, Any]:
        output, errors = communicate(process, *arguments, **named)
        words = _words(process.args)
        if not words or not current.is_meant(Path(os.fsdecode(words[0]))):  # a helper that hands out credentials
            current.said(f"the output of {process.args!r:.120}", output)
            current.said(f"the errors of {process.args!r:.120}", errors)
        return output, errors

    def decoded(data: bytes, kind: type[Any]) -> Any:
        current.said(f"a {kind.__name__} on the control channel", data)
        return decode(data, kind)

    async def stopped(daemon: DaemonProcess, patience: float = 40.0) -> int:
        await asyncio.to_thread(consult, daemon.address, daemon.paths)
        return await stop(daemon, patience)

    patch.setattr(subprocess.Popen, "communicate", communicated)
    patch.setattr(api, "decode", decoded)
    patch.setattr(DaemonProcess, "stop", stopped)


@pytest.fixture(scope="session", autouse=True)
def leaks_are_searched_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hear of every directory that is removed and every process that is started, while tests run."""
    _places.add(os.fsencode(tmp_path_factory.getbasetemp()))
    if not _listening:  # an audit hook can only be added
        sys.addaudithook(lambda event, arguments: [listen(event, arguments) for listen in _listening] and None)
    _listening.append(_heard)
    processes = Processes() if sys.platform == "linux" else None
    with pytest.MonkeyPatch.context() as patch:
        _overhear(patch)
        if processes is not None:
            processes.start()
        yield
        if processes is not None:
            processes.stop()
    _listening.remove(_heard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """When a test is over and cleaned up, fail it for what was found."""
    report = yield
    if call.when == "teardown":
        place = getattr(item, "funcargs", {}).get("tmp_path")
        if isinstance(place, Path):
            current.tree(place)
        for name, text in report.sections:
            current.said(f"what pytest captured ({name})", text)
        if found := current.taken():
            report.outcome = "failed"
            report.longrepr = "\n".join(found)
    return report
