"""The sandbox of the hardened systemd unit: what the daemon may see and write. Pure.

A variant of its own, because a *user* manager may not be allowed the namespaces that most of this
needs: a kernel or a distribution that forbids them makes the service fail to start (status
226/NAMESPACE), and then the plain unit is the right one.

Everything is read-only but our own places and the two caches in which botocore keeps refreshed
logins. No ``PrivateTmp``: the control socket may have to live below ``/tmp``. No
``MemoryDenyWriteExecute``: it breaks callbacks of foreign functions on some builds
(reliability-security.md 2.5). Source of each directive: systemd.exec(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

DIRECTIVES: Final = """\
# A sandbox; needs user namespaces. If the service fails with 226/NAMESPACE: claude-failover service install
PrivateUsers=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""

AWS_CACHES: Final = (".aws/sso/cache", ".aws/cli/cache", ".aws/login/cache")
"""Below the home directory: botocore writes refreshed tokens there."""


def sandbox(writable: Sequence[Path], runtime: Path, home: Path) -> str:
    """Write the lines that a hardened unit has besides.

    Args:
        writable: Directories of ours; they must exist when the service starts.
        runtime: Where the control socket is. Below ``/run/user`` systemd makes it; it is gone after each logout.
        home: The user's.
    """
    paths = [str(path) for path in writable]
    optional = [f"-{home / cache}" for cache in AWS_CACHES]
    made = ""
    if runtime.parent.parent == Path("/run/user"):
        made = f"RuntimeDirectory={_word(runtime.name)}\nRuntimeDirectoryMode=0700\nRuntimeDirectoryPreserve=yes\n"
    else:
        paths.append(str(runtime))
    allowed = "".join(f"ReadWritePaths={_word(path)}\n" for path in (*paths, *optional))
    return DIRECTIVES + made + allowed


def _word(text: str) -> str:
    """Quote for a unit file: specifiers and blanks are text (systemd.syntax(7))."""
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{safe}"' if any(letter in safe for letter in " \t'\"\\;") else safe
