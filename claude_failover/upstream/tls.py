"""TLS towards a backend: the oldest version that is accepted, the authorities, and pinned keys.

Rule: a pin is an additional lock, never a replacement: the chain is verified as ever, and
besides one of its keys (the leaf's, or better an authority's, which outlives leaves) must be
among the pins. :class:`aiohttp.Fingerprint` is no pin in this sense: it switches verification
off (reliability-security.md 2.3, measured).

Source: a pin is ``sha256/`` and the Base64 of the SHA-256 of the DER SubjectPublicKeyInfo (RFC 7469, 2.4).
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final

from claude_failover.errors import ConfigError
from claude_failover.upstream.faults import PinMismatch

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_SEQUENCE: Final = 0x30
_VERSION_TAG: Final = 0xA0
_DER_ENCODING: Final = 2
"""``_ssl.ENCODING_DER``; needed before Python 3.13, where chains are objects and not bytes."""


def context(min_version: str, ca_file: str | None = None, *, also: str | None = None) -> ssl.SSLContext:
    """Build a verifying client context.

    Args:
        min_version: ``1.2`` or ``1.3``.
        ca_file: A file of authorities instead of the system's.
        also: A file of authorities besides.

    Raises:
        ConfigError: A file cannot be read.
    """
    made = ssl.create_default_context() if ca_file is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in filter(None, (ca_file, also)):
        try:
            made.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{path}: certificates cannot be read: {error.strerror}") from error
    made.minimum_version = _VERSIONS[min_version]
    made.set_alpn_protocols(["http/1.1"])
    return made


def told(min_version: str, environ: Mapping[str, str], *variables: str) -> ssl.SSLContext:
    """Build a context as the environment says.

    Args:
        min_version: As for :func:`context`.
        environ: Where *variables* are looked up.
        variables: Names of variables with a file of authorities; the first that is set replaces the system's.
            ``NODE_EXTRA_CA_CERTS``, which Claude Code takes too, adds to them.

    Raises:
        ConfigError: A file cannot be read; the message names the variable.
    """
    name = next((variable for variable in variables if environ.get(variable)), None)
    also = environ.get("NODE_EXTRA_CA_CERTS") or None
    try:
        return context(min_version, environ[name] if name is not None else None, also=also)
    except ConfigError as error:
        names = [variable for variable in (name, "NODE_EXTRA_CA_CERTS") if variable and environ.get(variable)]
        raise ConfigError(f"{' or '.join(names)}: {error}") from error


def check_pins(ssl_object: ssl.SSLObject | None, pins: frozenset[str]) -> None:
    """Compare the keys of a verified chain with the pins.

    Raises:
        PinMismatch: None of them is pinned, or there is no TLS at all.
    """
    if ssl_object is None:
        raise PinMismatch("the connection is not encrypted, and keys are pinned")
    seen = [pin_of(certificate) for certificate in _chain(ssl_object)]
    if pins.isdisjoint(seen):
        raise PinMismatch(f"none of the pinned keys is in the certificate chain; it has {', '.join(seen)}")


def _chain(ssl_object: ssl.SSLObject) -> Iterable[bytes]:
    leaf = ssl_object.getpeercert(binary_form=True)
    chain = {} if leaf is None else {leaf: None}
    public = getattr(ssl_object, "get_verified_chain", None)
    if public is not None:
        chain.update(dict.fromkeys(public()))
    else:
        inner = getattr(ssl_object, "_sslobj", None)
        verified: Iterable[Any] = getattr(inner, "get_verified_chain", tuple)()
        chain.update(dict.fromkeys(certificate.public_bytes(_DER_ENCODING) for certificate in verified))
    return chain


def pin_of(certificate: bytes) -> str:
    """Give the pin of a DER certificate's public key."""
    return "sha256/" + base64.b64encode(hashlib.sha256(_public_key_info(certificate)).digest()).decode()


def _public_key_info(certificate: bytes) -> bytes:
    """Cut the SubjectPublicKeyInfo out of a DER certificate (RFC 5280, 4.1).

    It is the seventh member of the TBSCertificate: version, serial number, signature, issuer, validity,
    subject come before it; the version is absent in certificates of version 1.
    """
    _, at, _ = _element(certificate, 0)  # the certificate
    _, at, _ = _element(certificate, at)  # its TBSCertificate
    tag, _, end = _element(certificate, at)
    if tag == _VERSION_TAG:
        at = end
    for _ in range(5):
        _, _, at = _element(certificate, at)
    tag, _, end = _element(certificate, at)
    if tag != _SEQUENCE:
        raise PinMismatch("a certificate of the chain cannot be read")
    return certificate[at:end]


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Read the head of a DER element at *at*: its tag, where its content begins, and where it ends."""
    try:
        tag, length, begin = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[begin : begin + size], "big")
            begin += size
    except IndexError as error:
        raise PinMismatch("a certificate of the chain cannot be read") from error
    return tag, begin, begin + length
