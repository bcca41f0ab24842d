"""The sandbox of the hardened unit, as text."""

from __future__ import annotations

from pathlib import Path

from claude_failover.cli.service_hardening import DIRECTIVES, sandbox

HOME = Path("/home/me")


def test_our_places_and_botocores_caches_are_writable_and_nothing_else() -> None:
    text = sandbox((HOME / "state", HOME / "log"), HOME / "run", HOME)
    assert text.startswith(DIRECTIVES)
    assert text.removeprefix(DIRECTIVES).splitlines() == [
        "ReadWritePaths=/home/me/state",
        "ReadWritePaths=/home/me/log",
        "ReadWritePaths=/home/me/run",
        "ReadWritePaths=-/home/me/.aws/sso/cache",
        "ReadWritePaths=-/home/me/.aws/cli/cache",
        "ReadWritePaths=-/home/me/.aws/login/cache",
    ]


def test_what_a_logout_removes_is_made_by_systemd() -> None:
    text = sandbox((), Path("/run/user/1000/claude-failover"), HOME)
    assert "RuntimeDirectory=claude-failover\nRuntimeDirectoryMode=0700\nRuntimeDirectoryPreserve=yes\n" in text
    assert "ReadWritePaths=/run" not in text


def test_blanks_and_specifiers_are_text() -> None:
    text = sandbox((Path("/home/a b/100%"),), Path("/tmp/x"), HOME)
    assert 'ReadWritePaths="/home/a b/100%%"\n' in text
