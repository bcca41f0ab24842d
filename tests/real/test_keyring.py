"""A real keyring: gnome-keyring in a D-Bus session of its own, unlocked, locked, and absent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leak_search import marked

pytestmark = pytest.mark.skipif(
    shutil.which("gnome-keyring-daemon") is None or shutil.which("dbus-run-session") is None,
    reason="needs gnome-keyring and dbus (Debian: gnome-keyring, dbus-daemon)",
)

SCRIPT = """
import sys
from pathlib import Path
from claude_failover.credentials import shapes
from claude_failover.credentials.box import Box, FILE, KEYRING
from claude_failover.credentials.entry import ANTHROPIC, Entry
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError
from tests.leak_search import marked

box = Box(Path(sys.argv[1]), Path(sys.argv[1]) / "lock")
entry = Entry(shapes.API_KEY, Secret("sk-ant-api03-worth-nothing-kept-for-real"))
try:
    box.keep(ANTHROPIC, entry, KEYRING)
except CredentialError as error:
    print("refused:", error, "|", error.hint)
    box.keep(ANTHROPIC, entry, FILE)
found = box.read(ANTHROPIC)
everything = [path for path in Path(sys.argv[1]).parent.rglob("*") if path.is_file()]
print("readable in", [path.name for path in everything if marked(path.read_bytes())])
print("kept in", box.stores()[ANTHROPIC], found.access == entry.access, box.forget(ANTHROPIC), box.read(ANTHROPIC))
"""

UNLOCKED = "printf secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; exec "
LOCKED = "gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1; exec "


def run(tmp_path: Path, before: str | None, **environ: str) -> str:
    """Run the script, in a session of its own or (``None``) without any; give what it printed."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL"}}
    clean = {
        **kept,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_RUNTIME_DIR": str(runtime),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **environ,
    }
    command = [sys.executable, "-c", SCRIPT, str(state)]
    if before is not None:
        quoted = f"{before}{sys.executable} -c \"$SCRIPT\" '{state}'"
        command = ["dbus-run-session", "--", "sh", "-c", quoted]
        clean["SCRIPT"] = SCRIPT
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert not marked((done.stdout + done.stderr).encode())
    return done.stdout


def test_an_unlocked_keyring_keeps_and_forgets(tmp_path: Path) -> None:
    assert run(tmp_path, UNLOCKED).splitlines() == ["readable in []", "kept in keyring True True None"]
    assert list((tmp_path / "data/keyrings").glob("*.keyring"))


def test_a_locked_keyring_is_said_and_the_file_must_be_chosen(tmp_path: Path) -> None:
    refused, readable, kept = run(tmp_path, LOCKED).splitlines()
    assert refused.startswith("refused: the keyring")
    assert refused.endswith("| claude-failover token set --store file")
    assert (readable, kept) == ("readable in ['secrets.json']", "kept in file True True None")


def test_without_a_session_there_is_no_keyring(tmp_path: Path) -> None:
    refused, readable, kept = run(tmp_path, None, DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent").splitlines()
    assert refused.startswith("refused: there is no keyring on this machine")
    assert (readable, kept) == ("readable in ['secrets.json']", "kept in file True True None")
