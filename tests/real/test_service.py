"""The service under a real ``systemd --user``: ready, brought back after a crash and a hang, and gone when told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from claude_failover.cli.service_units import UNIT
from tests.control_fakes import short_directory
from tests.real.user_manager import UserManager, until, user_manager

CONFIG = """\
listen: {port: 0}
alerts: {desktop: false}
credentials: {sources: [env]}
backends: [{name: claude, kind: anthropic, base_url: "http://127.0.0.1:9"}]
"""


@pytest.fixture
def manager() -> Iterator[UserManager]:
    with short_directory() as home:
        configure(home, CONFIG)
        with user_manager(home) as running:
            yield running


def configure(home: Path, text: str) -> None:
    config = home / "cf/config.yaml"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.write_text(text)
    config.chmod(0o600)


def healthy(address: str) -> bool:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(str(where.hostname), where.port or 0, timeout=40)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def running_as(manager: UserManager, other_than: str) -> dict[str, str]:
    """What the manager says once the service runs as another process."""

    def look() -> dict[str, str]:
        found = manager.show(UNIT)
        return found if found["SubState"] == "running" and found["MainPID"] not in {"0", other_than} else {}

    return until(look)


def test_the_manager_starts_it_sees_it_ready_and_brings_it_back_after_a_crash(manager: UserManager) -> None:
    done = manager.cli("service", "install")
    assert done.returncode == 0, done.stderr
    first = manager.show(UNIT)
    assert (first["ActiveState"], first["SubState"], first["Type"]) == ("active", "running", "notify")
    assert (first["NRestarts"], first["UnitFileState"]) == ("0", "enabled")
    assert healthy(first["StatusText"])
    told = manager.cli("service", "status", "--json")
    found = json.loads(told.stdout)
    assert (told.returncode, found["current"], found["active"]) == (0, True, "active")
    assert str(found["pid"]) == first["MainPID"]

    manager.systemctl("kill", "--signal=KILL", UNIT)
    second = running_as(manager, first["MainPID"])
    assert second["NRestarts"] == "1"
    assert healthy(second["StatusText"])
    assert manager.cli("status", "--short").returncode == 0

    done = manager.cli("service", "uninstall")
    assert done.returncode == 0, done.stderr
    assert manager.run("systemctl", "--user", "is-active", UNIT).stdout.strip() == "inactive"
    assert not healthy(second["StatusText"])
    assert manager.cli("service", "status").returncode == 1


def test_one_that_hangs_is_found_by_the_watchdog(manager: UserManager) -> None:
    patience = manager.home / f".config/systemd/user/{UNIT}.d/patience.conf"
    patience.parent.mkdir(parents=True)
    patience.write_text("[Service]\nWatchdogSec=2\n")
    assert manager.cli("service", "install").returncode == 0
    first = manager.show(UNIT)
    assert first["WatchdogUSec"] == "2s"
    manager.systemctl("kill", "--signal=STOP", UNIT)
    second = running_as(manager, first["MainPID"])
    assert second["NRestarts"] == "1"
    assert healthy(second["StatusText"])


def test_a_wrong_configuration_is_not_tried_again_and_again(manager: UserManager) -> None:
    configure(manager.home, "nonsense: 1\n")
    done = manager.cli("service", "install")
    assert done.returncode == 1
    assert "systemctl --user enable --now" in done.stderr
    found = manager.show(UNIT)
    assert (found["ActiveState"], found["ExecMainStatus"], found["NRestarts"]) == ("failed", "2", "0")


def test_one_that_was_started_by_hand_meanwhile_is_replaced(manager: UserManager) -> None:
    assert manager.cli("service", "install").returncode == 0
    manager.systemctl("stop", UNIT)
    assert manager.cli("start").returncode == 0
    by_hand = json.loads(manager.cli("service", "status", "--json").stdout)
    assert (by_hand["pid"] > 0, by_hand["active"]) == (True, "inactive")
    manager.systemctl("start", UNIT)
    found = manager.show(UNIT)
    assert (found["ActiveState"], found["NRestarts"]) == ("active", "0")
    assert json.loads(manager.cli("status", "--json").stdout)["pid"] == int(found["MainPID"]) != by_hand["pid"]


@pytest.mark.parametrize("variant", [(), ("--hardened",)], ids=["plain", "hardened"])
def test_a_restart_leaves_it_the_managers(manager: UserManager, variant: tuple[str, ...]) -> None:
    assert manager.cli("service", "install", *variant).returncode == 0
    first = manager.show(UNIT)
    done = manager.cli("restart")
    assert done.returncode == 0, done.stderr
    second = running_as(manager, first["MainPID"])
    assert (second["ActiveState"], second["NRestarts"]) == ("active", "0")
    assert healthy(second["StatusText"])
    assert second["StatusText"] in done.stderr
    stopped = manager.cli("stop")
    assert (stopped.returncode, manager.show(UNIT)["ActiveState"]) == (0, "inactive")
