"""The channels: a desktop notification, a command, a webhook. Each delivers one notice, within a time limit.

Rule: a channel raises :class:`Failed` and nothing else, with a reason that names neither a URL nor an argument: both
can hold a secret. A webhook is not followed when it redirects; a command is run without a shell and sees only the
environment that it needs.
"""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, Final, Protocol

from claude_failover.alerts.notice import payload, sentence
from claude_failover.core.alert_rules import Severity
from claude_failover.core.conditions import Change, Notice

PATIENCE: Final = 10.0
"""Seconds for one delivery."""

_ENVIRONMENT: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "DISPLAY", "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "AWS_PROFILE", "AWS_REGION",
)  # fmt: skip
"""What a command may see: no credential that the daemon was started with."""


class Failed(Exception):  # noqa: N818 - it names what is the case
    """A delivery did not succeed; the message says why, for the log."""


class Channel(Protocol):
    """Delivers notices."""

    name: str
    """``desktop``, ``command`` or ``webhook``."""
    tries: int
    """How often a delivery is tried before it is given up."""

    def deliver(self, notice: Notice) -> None:
        """Deliver; raises :class:`Failed`. May wait up to the time limit: called in a thread."""
        ...


class Desktop:
    """``notify-send`` on Linux, ``osascript`` on macOS."""

    name = "desktop"
    tries = 1

    def __init__(self, patience: float = PATIENCE, environment: Mapping[str, str] | None = None) -> None:
        self._patience = patience
        self._environment = os.environ if environment is None else environment

    def deliver(self, notice: Notice) -> None:
        """Show it."""
        path = self._environment.get("PATH")
        if sys.platform == "darwin" and (program := shutil.which("osascript", path=path)):
            # The text is an argument of the script, never a part of it.
            script = "on run argv\ndisplay notification (item 1 of argv) with title (item 2 of argv)\nend run"
            arguments = [program, "-e", script, sentence(notice), "claude-failover"]
        elif program := shutil.which("notify-send", path=path):
            urgent = notice.severity is Severity.CRITICAL and notice.change is not Change.RESOLVED
            urgency = "critical" if urgent else "normal"
            arguments = [program, "-a", "claude-failover", "-u", urgency, "--", "claude-failover", sentence(notice)]
        else:
            # A server without a desktop: the default asks for it, so it is no failure worth a word.
            return
        _run(arguments, b"", self._patience, _allowed(self._environment))

    @property
    def possible(self) -> bool:
        """Whether there is a program that shows notifications."""
        name = "osascript" if sys.platform == "darwin" else "notify-send"
        return shutil.which(name, path=self._environment.get("PATH")) is not None


class Command:
    """The owner's own program: the notice as JSON on its standard input, its parts in the environment."""

    name = "command"
    tries = 3

    def __init__(self, line: str, patience: float = 30.0, environment: Mapping[str, str] | None = None) -> None:
        self._arguments = shlex.split(line)
        self._patience = patience
        self._environment = os.environ if environment is None else environment

    def deliver(self, notice: Notice) -> None:
        """Run it."""
        if not self._arguments:
            raise Failed("the command is empty")
        parts = {
            "CLAUDE_FAILOVER_ALERT": notice.code,
            "CLAUDE_FAILOVER_ALERT_STATE": "resolved" if notice.change is Change.RESOLVED else "firing",
            "CLAUDE_FAILOVER_ALERT_SEVERITY": notice.severity.value,
            "CLAUDE_FAILOVER_ALERT_TEXT": sentence(notice),
        }
        _run(self._arguments, payload(notice), self._patience, _allowed(self._environment) | parts)


class Webhook:
    """A POST of JSON to a URL."""

    name = "webhook"
    tries = 6

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self._url = url
        self._patience = patience
        self._opener = urllib.request.build_opener(_NoRedirect())

    def deliver(self, notice: Notice) -> None:
        """Post it; any 2xx is a success."""
        if not self._url.lower().startswith(("http://", "https://")):
            raise Failed("the webhook's URL is neither http nor https")
        headers = {"content-type": "application/json", "user-agent": "claude-failover"}
        try:
            request = urllib.request.Request(self._url, payload(notice), headers, method="POST")  # noqa: S310 - see above
            with self._opener.open(request, timeout=self._patience) as response:
                response.read(1024)
        except urllib.error.HTTPError as error:
            error.close()
            raise Failed(f"the webhook answered {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise Failed(f"the webhook cannot be reached ({type(reason).__name__})") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect becomes an error with its status: what was meant for one place does not go to another."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        """Do not."""
        del req, fp, code, msg, headers, newurl


def _allowed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in _ENVIRONMENT if name in environment}


def _run(arguments: list[str], given: bytes, patience: float, environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the owner's own command, without a shell
            arguments,
            input=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=patience,
            check=False,
            env=environment,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"the command took longer than {patience:g} s") from None
    except OSError as error:
        raise Failed(f"the command cannot be run ({error.strerror})") from None
    if done.returncode != 0:
        raise Failed(f"the command ended with {done.returncode}")
