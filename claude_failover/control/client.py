"""The only client of the control channel: stdlib http.client over a Unix socket.

Light on purpose: ``status`` and its kin import neither aiohttp nor botocore nor keyring.
Every command is one call here. A refused or missing socket is :class:`DaemonNotRunning`,
an error answer becomes the same exception again, a daemon of another release is warned
about once.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

from claude_failover import __version__
from claude_failover.clock import Clock, SystemClock, pause
from claude_failover.control import api, claim
from claude_failover.core.types import Seconds
from claude_failover.errors import ControlError, DaemonNotRunning

TIMEOUT: Final = Seconds(10.0)
"""For an answer; a daemon that needs longer for a snapshot is stuck."""

_RETRY_EVERY: Final = Seconds(0.05)

Answer = TypeVar("Answer")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__(api.HOST, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(os.fspath(self._path))
        except OSError:
            self.sock.close()
            raise


class ControlClient:
    """Asks a running daemon.

    Args:
        path: The control socket.
        lock: The daemon's lock file; tells a daemon that runs but does not answer from none at all.
        timeout: For one answer.
        patience: How long to try again while nobody answers, for whoever races a daemon's start or restart.
        warn: Told once if the daemon is of another release.
        clock: For *patience*.
    """

    def __init__(
        self,
        path: Path,
        *,
        lock: Path | None = None,
        timeout: Seconds = TIMEOUT,
        patience: Seconds = Seconds(0.0),
        warn: Callable[[str], None] = lambda text: None,  # noqa: ARG005 - the default says nothing
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._lock = lock
        self._timeout = timeout
        self._patience = patience
        self._warn = warn
        self._warned = False
        self._clock = clock or SystemClock()

    def ping(self) -> api.Ping:
        """Ask whether it runs, and who it is."""
        return self.ask("GET", "/v1/ping", api.Ping)

    def status(self) -> api.Status:
        """Ask for everything that ``status`` shows."""
        return self.ask("GET", "/v1/status", api.Status)

    def stop(self, request: api.StopRequest) -> api.StopResult:
        """Begin the drain; returns at once."""
        return self.ask("POST", "/v1/stop", api.StopResult, body=request)

    def reload(self) -> api.ReloadResult:
        """Read configuration and credentials again.

        Raises:
            ConfigError: The new configuration is wrong; the old one stays in force.
        """
        return self.ask("POST", "/v1/reload", api.ReloadResult)

    def force(self, request: api.ForceRequest) -> api.ForceResult:
        """Set or end the override."""
        return self.ask("POST", "/v1/force", api.ForceResult, body=request)

    def explain(self, exchange: str | None = None) -> api.Explain:
        """Ask for one request's story; ``None`` = the last one's."""
        return self.ask("GET", f"/v1/explain/{quote(exchange or 'last', safe='')}", api.Explain)

    def models(self, *, refresh: bool = False) -> api.Models:
        """Ask for the model table; *refresh* discovers what the account has first."""
        return self.ask("GET", "/v1/models", api.Models, query={"refresh": "1"} if refresh else {})

    def costs(self, query: Mapping[str, str], kind: type[Answer]) -> Answer:
        """Ask the ledger; *kind* is the answer's dataclass."""
        return self.ask("GET", "/v1/costs", kind, query=query)

    def ask(
        self,
        method: str,
        path: str,
        kind: type[Answer],
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        """Ask for *path* and read a *kind* from the answer.

        Raises:
            DaemonNotRunning: Nobody answers.
            ControlError: The daemon refused, or died in mid-answer. Other kinds as the daemon raised them.
        """
        connection, response = self._request(method, path, query, body)
        try:
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(
                f"the daemon went away while it answered {path}", hint="claude-failover status"
            ) from error
        finally:
            connection.close()
        return api.decode(data, kind)

    def events(self, since: int | None = None) -> Iterator[api.Event]:
        """Subscribe: the events after *since* that are still in the window, then each as it happens.

        Ends when the daemon ends. Raises as :meth:`ask`.
        """
        query = {} if since is None else {"since": str(since)}
        # The server says something at least every few seconds, so a silence of this length is a dead daemon.
        connection, response = self._request("GET", "/v1/events", query, None)
        try:
            while line := response.readline():
                if line.startswith(b"data: "):
                    yield api.decode(line[len(b"data: ") :].strip(), api.Event)
        except TimeoutError as error:
            raise ControlError("the daemon fell silent", hint="claude-failover status") from error
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _request(
        self, method: str, path: str, query: Mapping[str, str] | None, body: object
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = f"{path}?{urlencode(query)}" if query else path
        payload = None if body is None else api.encode(body)
        headers = {"accept": "application/json"}
        if payload is not None:
            headers["content-type"] = "application/json"
        connection = self._connect()
        try:
            connection.request(method, target, body=payload, headers=headers)
            response = connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise ControlError(
                f"the daemon did not answer within {self._timeout:.0f} s", hint="claude-failover logs -n 50"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise DaemonNotRunning(f"the daemon on {self._path} went away") from error
        self._compare(response)
        if response.status >= 400:
            try:
                raise api.error_from(_error_body(response.status, path, response.read()))
            finally:
                connection.close()
        return connection, response

    def _connect(self) -> http.client.HTTPConnection:
        deadline = self._clock.now().monotonic + self._patience
        while True:
            connection = _UnixConnection(self._path, self._timeout)
            try:
                connection.connect()
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
                if self._clock.now().monotonic >= deadline:
                    raise self._nobody() from error
                pause(_RETRY_EVERY)
            except PermissionError as error:
                raise ControlError(f"{self._path}: not yours: {error.strerror}", hint=f"ls -l {self._path}") from error
            except OSError as error:
                raise DaemonNotRunning(f"no daemon answers on {self._path}: {error}") from error
            else:
                return connection

    def _nobody(self) -> DaemonNotRunning:
        """Say that nobody answers, and whether a daemon is there all the same."""
        holder = claim.holder(self._lock) if self._lock is not None else None
        if holder is None:
            return DaemonNotRunning(f"no daemon answers on {self._path}")
        who = f"a daemon runs (pid {holder})" if holder else "a daemon is just starting"
        return DaemonNotRunning(f"{who}, but nobody answers on {self._path}", hint="claude-failover restart")

    def _compare(self, response: http.client.HTTPResponse) -> None:
        theirs = response.getheader(api.VERSION_HEADER, "")
        spoken = response.getheader(api.API_HEADER, "")
        if self._warned or (theirs == __version__ and spoken == str(api.API_VERSION)):
            return
        self._warned = True
        self._warn(
            f"the running daemon is version {theirs or 'unknown'}, this command {__version__}: claude-failover restart"
        )


def _error_body(status: int, path: str, data: bytes) -> api.ErrorBody:
    """Read an error answer, whatever shape it has."""
    try:
        return api.decode(data, api.ErrorBody)
    except ControlError:
        return api.ErrorBody(f"the daemon answered {status} to {path}", hint="claude-failover logs -n 50")
