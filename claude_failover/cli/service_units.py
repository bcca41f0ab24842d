"""The service definitions: a systemd user unit and a launchd agent, as text. Pure.

What is hardened is what needs no user namespace, since a *user* manager may not be allowed
one; and no ``PrivateTmp``, because the control socket may have to live below ``/tmp``
(:mod:`claude_failover.config_paths`). No secret is ever written: see :data:`KEPT`.
"""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

UNIT: Final = "claude-failover.service"
LABEL: Final = "claude-failover"

KEPT: Final = (
    "PATH",
    "CLAUDE_FAILOVER_HOME",
    "CLAUDE_FAILOVER_CONFIG",
    "CLAUDE_CONFIG_DIR",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
)
"""Variables of the installing shell that the service gets: a service manager knows none of them."""

SECRET: Final = (
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
)
"""Variables that the daemon would use and that are never written to a file; the user is told."""

STOP_PATIENCE: Final = 45
"""Seconds: the default drain of 30, and time to write what must be written."""


def kept(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose what the service gets. A proxy's URL with a password in it counts as a secret."""
    return {
        name: environ[name]
        for name in KEPT
        if environ.get(name) and not (name == "HTTPS_PROXY" and "@" in environ[name]) and "\n" not in environ[name]
    }


def left_out(environ: Mapping[str, str]) -> list[str]:
    """Name what this shell has and the service will not."""
    proxy = ["HTTPS_PROXY"] if "@" in environ.get("HTTPS_PROXY", "") else []
    return [name for name in SECRET if environ.get(name)] + proxy


def systemd_unit(command: Sequence[str], environ: Mapping[str, str], sandbox: str = "") -> str:
    """Write the user unit.

    Args:
        command: What to run in the foreground; the program by its absolute path.
        environ: From :func:`kept`.
        sandbox: Further lines, of :mod:`claude_failover.cli.service_hardening`.
    """
    # "$" expands in ExecStart= and means nothing in Environment= (systemd.exec(5)).
    words = " ".join(_systemd_word(word.replace("$", "$$")) for word in command)
    variables = "".join(f"Environment={_systemd_word(f'{name}={value}')}\n" for name, value in environ.items())
    return f"""\
[Unit]
Description=claude-failover: Claude Code keeps working when the Claude API does not
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={words}
ExecReload=/bin/kill -HUP $MAINPID
{variables}Restart=on-failure
RestartSec=1
# A wrong configuration does not mend itself.
RestartPreventExitStatus=2
WatchdogSec=30
TimeoutStopSec={STOP_PATIENCE}
LimitNOFILE=65536
LimitCORE=0
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# The kernel is asked over netlink whose connection it is.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
{sandbox}
[Install]
WantedBy=default.target
"""


def _systemd_word(word: str) -> str:
    """Quote for a unit file: specifiers, blanks and quotes are text (systemd.syntax(7))."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{safe}"' if not safe or any(letter in safe for letter in " \t'\"\\;") else safe


def launchd_agent(command: Sequence[str], environ: Mapping[str, str], log_dir: Path) -> bytes:
    """Write the agent's property list; arguments as for :func:`systemd_unit`. Source: launchd.plist(5)."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(command),
            "EnvironmentVariables": dict(environ),
            "RunAtLoad": True,
            # Again after a crash, not after `claude-failover stop`.
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 5,
            "ExitTimeOut": STOP_PATIENCE,
            "ProcessType": "Interactive",
            "Umask": 0o077,
            "SoftResourceLimits": {"NumberOfFiles": 65536, "Core": 0},
            "StandardOutPath": str(log_dir / "boot.log"),
            "StandardErrorPath": str(log_dir / "boot.log"),
        },
        sort_keys=False,
    )
