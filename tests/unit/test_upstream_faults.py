from __future__ import annotations

import errno
import ssl

import aiohttp
import pytest

from claude_failover.core.commands import Failure
from claude_failover.errors import ConfigError, CredentialError
from claude_failover.upstream.faults import PinMismatch, before_head, in_body
from claude_failover.upstream.tls import check_pins, pin_of


@pytest.mark.parametrize(
    ("error", "reused", "failure", "detail"),
    [
        (CredentialError("none"), False, Failure.CREDENTIALS, "none"),
        (CredentialError("none", hint="do this"), False, Failure.CREDENTIALS, "none (do this)"),
        (ConfigError("AWS_CA_BUNDLE: x"), False, Failure.LOCAL, "AWS_CA_BUNDLE: x"),
        (PinMismatch("wrong key"), False, Failure.PIN, "host:1: wrong key"),
        (TimeoutError(), False, Failure.CONNECT, "no connection to host:1 in time"),
        (
            aiohttp.ServerDisconnectedError(),
            False,
            Failure.RESET_BEFORE_HEAD,
            "host:1 closed the connection before it answered",
        ),
        (
            aiohttp.ClientOSError(errno.ECONNRESET, "reset"),
            True,
            Failure.STALE_CONNECTION,
            "host:1 had closed the pooled connection",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate"), False, Failure.LOCAL, "this machine: Cannot allocate"),
        (OSError(errno.EIO, "odd"), False, Failure.INTERNAL, "OSError while sending to host:1"),
        (ZeroDivisionError("secret"), False, Failure.INTERNAL, "ZeroDivisionError while sending to host:1"),
    ],
)
def test_what_is_raised_before_the_head_is_named_by_its_class(
    error: BaseException, reused: bool, failure: Failure, detail: str
) -> None:
    assert before_head(error, reused=reused, where="host:1") == (failure, detail)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (aiohttp.ClientPayloadError("x"), Failure.CUT),
        (aiohttp.ClientOSError(errno.ECONNRESET, "reset"), Failure.CUT),
        (TimeoutError(), Failure.CUT),
        (ZeroDivisionError("secret"), Failure.INTERNAL),
    ],
)
def test_what_is_raised_after_the_head_is_named_by_its_class(error: BaseException, failure: Failure) -> None:
    found, detail = in_body(error, "host:1")
    assert found is failure
    assert "secret" not in detail


def test_no_tls_at_all_is_no_pinned_key() -> None:
    with pytest.raises(PinMismatch, match="not encrypted"):
        check_pins(None, frozenset({"sha256/x"}))


@pytest.mark.parametrize("certificate", [b"", b"\x30", b"\x30\x82\x01", b"\x30\x0c\x30\x0a" + b"\x02\x00" * 6])
def test_a_certificate_that_cannot_be_read_is_no_pinned_key(certificate: bytes) -> None:
    with pytest.raises(PinMismatch, match="cannot be read"):
        pin_of(certificate)


def test_ssl_without_a_peer_has_no_pinned_key() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unconnected = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x")
    with pytest.raises((PinMismatch, ValueError)):
        check_pins(unconnected, frozenset({"sha256/x"}))
