"""Every exception that we raise on purpose, as one tree.

FailoverError                  exit 1
├── ConfigError                exit 2   a setting is wrong; *where* is ``file:line``, a flag or a variable
├── UsageError                 exit 2   a command was asked for something that cannot be
├── DaemonNotRunning           exit 3   nobody answers on the control socket
├── DaemonFailed               exit 1   the daemon did not start, or died while we waited
├── AlreadyRunning             exit 0   another daemon holds the lock
├── ControlError               exit 1   the daemon answered a command with an error
├── CredentialError            exit 1   a credential is missing, malformed, expired or refused
├── LedgerError                exit 1   the ledger cannot be read or written
└── LaunchError                exit 125 ``run`` could not start claude (the code of env(1), timeout(1), docker run)

A failure of an *upstream* is no exception: in the core it is an
:class:`~claude_failover.core.types.Outcome`. Expected things are values.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
"""LSB: "program is not running"."""
EXIT_DEGRADED = 4
EXIT_SPEND_LIMIT = 5
EXIT_LAUNCH = 125
EXIT_INTERRUPTED = 130
"""128 + SIGINT, the shell's convention."""
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of our output has gone."""


class FailoverError(Exception):
    """Something foreseeable went wrong; the message says what and where, *hint* what to type."""

    exit_code = EXIT_FAILED
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class ConfigError(FailoverError):
    """A setting is wrong. The message starts with *where*: ``file:line``, a flag, or a variable's name."""

    exit_code = EXIT_USAGE


class UsageError(FailoverError):
    """A command was asked for something that cannot be."""

    exit_code = EXIT_USAGE


class DaemonNotRunning(FailoverError):  # noqa: N818 - named for what is the case, as FileNotFoundError's kin are
    """Nobody answers on the control socket."""

    exit_code = EXIT_NOT_RUNNING
    hint = "claude-failover start"


class DaemonFailed(FailoverError):  # noqa: N818 - see DaemonNotRunning
    """The daemon did not start, or died while we waited for it."""

    hint = "claude-failover logs -n 50"


class AlreadyRunning(FailoverError):  # noqa: N818 - see DaemonNotRunning
    """Another daemon holds the lock of this state directory."""

    exit_code = EXIT_OK


class ControlError(FailoverError):
    """The daemon answered a command with an error."""


class CredentialError(FailoverError):
    """A credential is missing, malformed, expired or refused. Never carries the credential."""


class LedgerError(FailoverError):
    """The ledger cannot be read or written."""


class LaunchError(FailoverError):
    """``run`` could not start claude."""

    exit_code = EXIT_LAUNCH
