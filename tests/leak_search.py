"""What a test leaves and says is searched for the made-up secrets that it worked with.

Each made-up secret holds one of :data:`MARKS`; ``tests/integration/test_leak_search.py`` sees to it. ``leak_hooks.py``
has every integration test searched:

* every file below a temporary directory, before the directory is removed or when the test is over: logs, audit, ledger
  with its write-ahead log, state, what was written to standard output and error;
* what a subprocess or the command line said, what the control channel and ``/metrics`` answered, and what pytest
  captured, tracebacks and log records among it;
* the command line of every process that was started, by whomever.

Looked for are the marks, and the client key that the daemon made, as they are and in base64, hexadecimal and so on.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from claude_failover.config_paths import Paths
from claude_failover.control import api
from claude_failover.control.client import ControlClient
from claude_failover.core import headers
from claude_failover.core.types import Seconds
from claude_failover.errors import FailoverError

MARKS: Final = ("worth-nothing", "worth/nothing")
"""One is in every made-up secret; the second because an AWS secret key may hold slashes."""

CLIENT_KEY: Final = re.compile(rb"cfk_[A-Za-z0-9_-]{43}")
"""As the daemon makes one."""

HOMES: Final = frozenset({
    "client.key",  # the daemon's
    "secrets.json",  # the file that the user chose instead of a keyring
    "credentials",  # ~/.aws
    ".credentials.json",  # Claude Code's
    "settings.json",  # Claude Code's: what a user wrote into its `env`
    "ee0bfd2552fbd840c02cc48b6e823320543c450f.json",  # ~/.aws/sso/cache: what the tests' SSO session is called
    "keyring.json",  # what plays the keyring
    "keys.json",  # what a `credential_process` of the tests says
})  # fmt: skip
"""Files that are there to hold a secret, by their exact names."""

LARGEST: Final = 256 << 20
"""Bytes of a file that are read."""

SOON: Final = Seconds(2.0)
"""For an answer of a daemon that is asked once more before its end; one that is stuck is not waited for."""


def spellings(secret: str) -> frozenset[bytes]:
    """How it may be written down, worked out apart from the program's own redaction."""
    data = secret.encode()
    found = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], secret.replace("/", "\\/")}
    found |= {data.hex(), data.hex().upper(), secret[::-1]}
    for pad in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Whatever stands before or after: only whole groups of three bytes are sure to look the same.
            found.add(encode(data[pad : len(data) - (len(data) - pad) % 3]).decode())
    return frozenset(spelling.encode() for spelling in found)


_SPELT: Final = tuple(sorted({spelling for mark in MARKS for spelling in spellings(mark)}))


def marked(data: bytes) -> bool:
    """Whether a made-up secret is in it."""
    return any(spelling in data for spelling in _SPELT)


def telling(words: Sequence[bytes]) -> list[int]:
    """Which words of a command line hold a secret."""
    return [number for number, word in enumerate(words) if marked(word) or CLIENT_KEY.search(word)]


class Search:
    """What one test leaves and says."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._meant: set[Path] = set()

    def meant_in(self, place: Path) -> None:
        """Take a file or directory as one where the test itself has put secrets: what is read, not what is written."""
        self._meant.add(place)

    def is_meant(self, path: Path) -> bool:
        """Whether secrets are there on purpose."""
        return any(path.is_relative_to(place) for place in tuple(self._meant))

    def said(self, where: str, what: bytes | str | None) -> None:
        """Search a text."""
        if marked(what.encode("utf-8", "surrogateescape") if isinstance(what, str) else what or b""):
            self._found.add(f"a made-up secret in {where}")

    def line(self, words: Sequence[bytes]) -> None:
        """Search a command line."""
        self._found |= {f"a secret is word {number} of the command line {words[0]!r} …" for number in telling(words)}

    def tree(self, root: Path) -> None:
        """Search everything below a directory, for the client keys that lie in it too."""
        files = [path for path in _files(root) if not self.is_meant(path)]
        keys: set[bytes] = set()
        for path in files:
            if path.name == "client.key" and CLIENT_KEY.fullmatch(data := _read(path).strip()):
                keys |= spellings(data.decode())
        for path in files:
            if path.name in HOMES:
                continue
            data = _read(path)
            if marked(data):
                self._found.add(f"a made-up secret in {path}")
            if any(key in data for key in keys):
                self._found.add(f"the client key in {path}")

    def taken(self) -> list[str]:
        """What was found, and begin anew."""
        found = sorted(self._found)
        self._found.clear()
        self._meant.clear()
        return found


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError:  # gone, or closed to us on purpose
        return b""


current: Final = Search()
"""Of the test that runs."""


def consult(address: str, paths: Paths) -> None:
    """Have a daemon that is about to be stopped tell what it tells, and search that."""
    control = ControlClient(paths.socket, timeout=SOON)
    for name, question in (("status", control.status), ("models", control.models), ("explain", control.explain)):
        with contextlib.suppress(FailoverError):
            current.said(name, api.encode(question()))
    host, _, port = address.removeprefix("http://").rpartition(":")
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        connection = http.client.HTTPConnection(host, int(port), timeout=SOON)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers={headers.KEY: _read(paths.client_key).decode().strip()})
            current.said("/metrics", connection.getresponse().read())
