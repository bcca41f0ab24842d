"""What the libraries raise, as the facts that the core knows.

Rule: by class and error number, never by text. The sentences are for people and name the other
side by host and port only: no header, no query, no credential.

Source: reliability-security.md 1.3, measured with aiohttp 3.14.5; the tests raise each over a socket.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from http import HTTPStatus
from typing import Final

import aiohttp

from claude_failover.core.commands import Failure
from claude_failover.errors import CredentialError, FailoverError
from claude_failover.upstream.line import Garbled, Lost

_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENETDOWN, errno.EADDRNOTAVAIL})
"""Error numbers that say something about this machine and nothing about the other."""


class PinMismatch(Exception):  # noqa: N818 - named for what is the case
    """The certificate chain holds none of the pinned keys. Raised before a byte of the request was written."""


def before_head(error: BaseException, *, reused: bool, where: str) -> tuple[Failure, str]:
    """Name what ended an attempt before its response's head, and say it in one sentence.

    Args:
        error: What was raised.
        reused: The connection had carried a request before.
        where: The backend's host and port.
    """
    match error:
        case CredentialError():
            found = Failure.CREDENTIALS, f"{error} ({error.hint})" if error.hint else str(error)
        case FailoverError():
            found = Failure.LOCAL, str(error)
        case PinMismatch():
            found = Failure.PIN, f"{where}: {error}"
        case aiohttp.ClientHttpProxyError():
            found = Failure.CONNECT, f"the proxy answered {error.status} to CONNECT {where}"
        case aiohttp.ClientResponseError() | Garbled():
            found = Failure.PROTOCOL, f"{where} sent bytes that are not HTTP/1.1"
        case aiohttp.ClientConnectorCertificateError():
            found = Failure.TLS, f"{where}: the certificate is refused: {_why(error.certificate_error)}"
        case aiohttp.ClientConnectorDNSError():
            found = Failure.DNS, f"the name of {where} does not resolve"
        case aiohttp.ClientConnectorError():
            found = _connector(error.os_error, where)
        case TimeoutError():
            found = Failure.CONNECT, f"no connection to {where} in time"
        case Lost() | aiohttp.ServerDisconnectedError() | aiohttp.ClientConnectionError():
            found = _lost(error, reused=reused, where=where)
        case OSError() if error.errno in _OURS:
            found = Failure.LOCAL, f"this machine: {error.strerror}"
        case _:
            found = Failure.INTERNAL, f"{type(error).__name__} while sending to {where}"
    return found


def _connector(error: OSError, where: str) -> tuple[Failure, str]:
    """A connection that did not come about.

    A peer that hangs up in the handshake is unreachable; one that speaks another protocol, or none that
    we accept, is a failure of TLS.
    """
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Failure.TLS, f"{where}: the TLS handshake failed: {_why(error)}"
    if error.errno in _OURS:
        return Failure.LOCAL, f"this machine: {error.strerror}"
    return Failure.CONNECT, f"cannot connect to {where}: {error.strerror or type(error).__name__}"


def _lost(error: BaseException, *, reused: bool, where: str) -> tuple[Failure, str]:
    """A connection that broke before the head. With zero bytes of an answer on a reused one it was simply old."""
    if isinstance(error, Lost):
        began = error.began
    else:
        began = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)
    if began:
        return Failure.RESET_BEFORE_HEAD, f"{where} closed the connection in the middle of a response's head"
    if reused:
        return Failure.STALE_CONNECTION, f"{where} had closed the pooled connection"
    return Failure.RESET_BEFORE_HEAD, f"{where} closed the connection before it answered"


def in_body(error: BaseException, where: str) -> tuple[Failure, str]:
    """Name what ended an attempt after its head."""
    if isinstance(error, Garbled) or (isinstance(error, aiohttp.ClientPayloadError) and _is_garbage(error)):
        return Failure.PROTOCOL, f"{where} broke the framing of its own response"
    if isinstance(error, Lost | aiohttp.ClientError | OSError | asyncio.TimeoutError):
        return Failure.CUT, f"{where} closed the connection in the middle of the response"
    return Failure.INTERNAL, f"{type(error).__name__} while reading from {where}"


def _is_garbage(error: BaseException) -> bool:
    """Whether the parser choked (status 400 of its own) rather than ran out of bytes."""
    cause = error.__cause__
    return getattr(cause, "code", None) == HTTPStatus.BAD_REQUEST and "Not enough data" not in str(cause)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    return type(error).__name__
