"""Who holds a port."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from claude_failover.control import ports


def test_the_owner_of_a_port_is_named_by_pid_and_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = ports.owner(listener.getsockname()[1])
    assert found is not None
    assert found.startswith(f"pid {os.getpid()} (")
    assert Path(sys.executable).name in found or "pytest" in found


def test_a_free_port_has_no_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ports.owner(port) is None


def test_a_process_that_we_may_not_look_into_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text("head\n 0: 0100007F:2124 00000000:0000 0A 0:0 0:0 0 0 0 4242 1\n")
    (tmp_path / "17").mkdir()
    assert ports.owner(0x2124, tmp_path) == "a process that we may not look into"


def test_a_command_line_shows_no_more_than_the_programs_name(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp6").write_text("head\n 0: 0:2124 0:0 0A 0:0 0:0 0 0 0 4242 1\n\nshort line\n")
    (tmp_path / "17/fd").mkdir(parents=True)
    (tmp_path / "17/fd/3").symlink_to("socket:[4242]")
    (tmp_path / "17/fd/4").write_text("no link")
    (tmp_path / "17/cmdline").write_bytes(b"/usr/sbin/nginx\0--token\0secret\0")
    (tmp_path / "17/comm").write_text("nginx\n")
    assert ports.owner(0x2124, tmp_path) == "pid 17 (nginx)"


def test_a_kernel_thread_is_named_by_its_comm(tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(b"")
    (tmp_path / "comm").write_text("kworker\n")
    assert ports._command(tmp_path) == "kworker"
    assert ports._command(tmp_path / "gone") == "unknown"


def test_lsof_is_asked_where_there_is_no_proc(tmp_path: Path) -> None:
    program = tmp_path / "lsof"
    program.write_text("#!/bin/sh\nprintf 'p4711\\ncnginx\\n'\n")
    program.chmod(0o755)
    assert ports._ask_lsof(8484, str(program)) == "pid 4711 (nginx)"
    program.write_text("#!/bin/sh\nexit 1\n")
    assert ports._ask_lsof(8484, str(program)) is None
    assert ports._ask_lsof(8484, None) is None
    assert ports._ask_lsof(8484, str(tmp_path / "missing")) is None
