from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from claude_failover.core.commands import (
    AttemptEnded,
    BodyReceived,
    Failure,
    HeadReceived,
    OpenAttempt,
    UpstreamRequest,
)
from claude_failover.core.settings import Backend, Timeouts
from claude_failover.core.types import BackendName, Kind
from claude_failover.credentials.aws_chain import AwsKeys
from claude_failover.credentials.secret import Secret
from claude_failover.errors import ConfigError
from claude_failover.upstream.anthropic import AnthropicUpstream
from claude_failover.upstream.bedrock import BedrockUpstream
from claude_failover.upstream.tls import pin_of
from tests.sockets import listening

Key = ec.EllipticCurvePrivateKey
NOW = datetime.now(UTC)  # noqa: TID251 - certificates are checked by OpenSSL against the machine's clock


@dataclass
class Signed:
    """A key, and its certificate."""

    key: Key
    certificate: x509.Certificate

    @property
    def pin(self) -> str:
        return pin_of(self.certificate.public_bytes(serialization.Encoding.DER))

    def write(self, path: Path) -> Path:
        path.write_bytes(
            self.certificate.public_bytes(serialization.Encoding.PEM)
            + self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def signed(name: str, by: Signed | None = None, *, key: Key | None = None, days: int = 2) -> Signed:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if by is not None:
        host = x509.IPAddress(ip_address("127.0.0.1")) if name == "127.0.0.1" else x509.DNSName(name)
        builder = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
        )
    else:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Signed(key, builder.sign((by.key if by else key), hashes.SHA256()))


@dataclass
class Place:
    """A TLS server and what arrived there."""

    port: int
    heads: list[bytes]


@contextlib.asynccontextmanager
async def serving(folder: Path, identity: Signed, **versions: ssl.TLSVersion) -> AsyncIterator[Place]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.write(folder / "server.pem"))
    context.maximum_version = versions.get("maximum", ssl.TLSVersion.MAXIMUM_SUPPORTED)
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with listening(answer, context) as port:
        yield Place(port, heads)


@pytest.fixture
def authority(tmp_path: Path) -> Signed:
    made = signed("Test Authority")
    made.write(tmp_path / "ca.pem")
    return made


def backend(port: int, **settings: object) -> Backend:
    made = Backend(BackendName("claude"), Kind.ANTHROPIC, base_url=f"https://127.0.0.1:{port}", credential="client")
    return replace(made, **settings)  # type: ignore[arg-type]


async def asked(made: Backend, folder: Path, times: int = 1, **environ: str) -> bytes | AttemptEnded:
    certificates = {"SSL_CERT_FILE": str(folder / "ca.pem")} if "NODE_EXTRA_CA_CERTS" not in environ else {}
    claude = AnthropicUpstream(made, Timeouts(connect=5), environ={**certificates, **environ})
    answers: list[bytes] = []
    try:
        for _ in range(times):
            request = UpstreamRequest("GET", "/", (("authorization", "Bearer sk-ant-worth-nothing"),), b"")
            attempt = claude.open(OpenAttempt(0, made.name, made.kind, request))
            head = await attempt.head()
            if isinstance(head, AttemptEnded):
                return head
            body = await attempt.read()
            assert isinstance(body, BodyReceived)
            assert isinstance(await attempt.read(), AttemptEnded)
            answers.append(body.data)
        return answers[-1]
    finally:
        await claude.close()


def failure(answer: bytes | AttemptEnded) -> Failure | None:
    assert isinstance(answer, AttemptEnded), answer
    return answer.failure


async def test_a_server_whose_authority_is_known_is_spoken_to(tmp_path: Path, authority: Signed) -> None:
    async with serving(tmp_path, signed("127.0.0.1", authority)) as place:
        assert await asked(backend(place.port), tmp_path) == b"ok"


async def test_an_authority_that_claude_code_is_told_of_is_known_here_too(tmp_path: Path, authority: Signed) -> None:
    async with serving(tmp_path, signed("127.0.0.1", authority)) as place:
        assert await asked(backend(place.port), tmp_path, NODE_EXTRA_CA_CERTS=str(tmp_path / "ca.pem")) == b"ok"


async def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: .*ca\.pem: certificates cannot be read: No such file"):
        await asked(backend(1), tmp_path)
    (tmp_path / "ca.pem").write_text("junk")
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        await asked(backend(1), tmp_path)


@pytest.mark.parametrize("case", ["unknown authority", "wrong name", "expired"])
async def test_a_certificate_that_does_not_verify_is_refused_before_a_byte_is_sent(
    case: str, tmp_path: Path, authority: Signed
) -> None:
    identity = {
        "unknown authority": lambda: signed("127.0.0.1", signed("Another Authority")),
        "wrong name": lambda: signed("example.com", authority),
        "expired": lambda: signed("127.0.0.1", authority, days=-1),
    }[case]()
    async with serving(tmp_path, identity) as place:
        assert failure(await asked(backend(place.port), tmp_path)) is Failure.TLS
        assert place.heads == []


async def test_a_server_that_speaks_only_tls_1_2_is_refused(tmp_path: Path, authority: Signed) -> None:
    """A blocking server: asyncio's hangs up without the alert that real ones send."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed("127.0.0.1", authority).write(tmp_path / "server.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).read()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        assert failure(await asked(backend(listener.getsockname()[1]), tmp_path)) is Failure.TLS
        await serving


async def test_tls_1_2_is_spoken_where_it_is_allowed(tmp_path: Path, authority: Signed) -> None:
    async with serving(tmp_path, signed("127.0.0.1", authority), maximum=ssl.TLSVersion.TLSv1_2) as place:
        assert await asked(backend(place.port, tls_min_version="1.2"), tmp_path) == b"ok"


async def test_a_server_that_speaks_no_tls_is_a_failure_of_tls(tmp_path: Path, authority: Signed) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(plain) as port:
        assert failure(await asked(backend(port), tmp_path)) is Failure.TLS


async def test_a_server_that_hangs_up_in_the_handshake_is_unreachable(tmp_path: Path, authority: Signed) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    async with listening(rude) as port:
        assert failure(await asked(backend(port), tmp_path)) is Failure.CONNECT


async def test_the_key_of_the_leaf_or_of_its_authority_may_be_pinned(tmp_path: Path, authority: Signed) -> None:
    identity = signed("127.0.0.1", authority)
    async with serving(tmp_path, identity) as place:
        for pins in [(identity.pin,), (authority.pin,), ("sha256/old", identity.pin)]:
            assert await asked(backend(place.port, pinned_spki=pins), tmp_path, times=2) == b"ok"


async def test_a_renewed_certificate_of_the_same_key_is_still_pinned(tmp_path: Path, authority: Signed) -> None:
    first = signed("127.0.0.1", authority)
    renewed = signed("127.0.0.1", authority, key=first.key)
    async with serving(tmp_path, renewed) as place:
        assert await asked(backend(place.port, pinned_spki=(first.pin,)), tmp_path) == b"ok"


async def test_another_key_is_refused_before_a_byte_is_sent(tmp_path: Path, authority: Signed) -> None:
    async with serving(tmp_path, signed("127.0.0.1", authority)) as place:
        other = signed("127.0.0.1", authority)
        answer = await asked(backend(place.port, pinned_spki=(other.pin,)), tmp_path)
        assert failure(answer) is Failure.PIN
        assert place.heads == []


async def test_a_pin_does_not_replace_verification(tmp_path: Path, authority: Signed) -> None:
    identity = signed("127.0.0.1", signed("Another Authority"))
    async with serving(tmp_path, identity) as place:
        assert failure(await asked(backend(place.port, pinned_spki=(identity.pin,)), tmp_path)) is Failure.TLS


async def test_pins_are_refused_if_the_library_no_longer_lets_us_check_them(
    tmp_path: Path, authority: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check hangs on private methods of aiohttp: without them nothing may go out."""
    monkeypatch.delattr("claude_failover.upstream.wire.Connector._wrap_create_connection")
    identity = signed("127.0.0.1", authority)
    async with serving(tmp_path, identity) as place:
        assert failure(await asked(backend(place.port, pinned_spki=(identity.pin,)), tmp_path)) is Failure.PIN
        assert place.heads == []


async def test_bedrock_is_spoken_to_with_the_authorities_that_aws_s_own_tools_are_told_of(
    tmp_path: Path, authority: Signed
) -> None:
    class Provider:
        async def get(self, refresh: bool = False) -> AwsKeys:
            return AwsKeys("test", api_key=Secret("ABSKworth-nothing"))

        async def region(self) -> str:
            return "us-east-1"

    async with serving(tmp_path, signed("127.0.0.1", authority), maximum=ssl.TLSVersion.TLSv1_2) as place:
        made = Backend(BackendName("bedrock"), Kind.BEDROCK, endpoint_url=f"https://127.0.0.1:{place.port}")
        environ = {"AWS_CA_BUNDLE": str(tmp_path / "ca.pem"), "SSL_CERT_FILE": "/nonexistent"}
        bedrock = BedrockUpstream(made, Timeouts(), Provider(), environ)
        request = UpstreamRequest("POST", "/anthropic/v1/messages", (), b"")
        head = await bedrock.open(OpenAttempt(0, made.name, made.kind, request)).head()
        assert isinstance(head, HeadReceived), head
        await bedrock.close()


# --- through a proxy


@contextlib.asynccontextmanager
async def proxying(port: int, heads: list[bytes], answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> AsyncIterator[str]:
    """An HTTP proxy that connects to *port* wherever it is asked to."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        there, away = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, away), copy(there, writer))

    async with listening(tunnel) as at:
        yield f"http://me:secret@127.0.0.1:{at}"


async def test_tls_goes_through_the_proxy_and_its_pins_are_checked_there_too(tmp_path: Path, authority: Signed) -> None:
    identity = signed("api.test", authority)
    heads: list[bytes] = []
    async with serving(tmp_path, identity) as place, proxying(place.port, heads) as proxy:
        made = backend(place.port, base_url="https://api.test", pinned_spki=(identity.pin,))
        assert await asked(made, tmp_path, HTTPS_PROXY=proxy) == b"ok"
        wrong = replace(made, pinned_spki=(authority.pin.lower(),))
        assert failure(await asked(wrong, tmp_path, HTTPS_PROXY=proxy)) is Failure.PIN
    assert heads[0].startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in heads[0]  # me:secret
    assert b"sk-ant" not in heads[0]
    assert len(place.heads) == 1
    assert b"Proxy-Authorization" not in place.heads[0]


async def test_a_proxy_that_refuses_is_a_failure_to_connect(tmp_path: Path, authority: Signed) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with serving(tmp_path, signed("x", authority)) as place, proxying(place.port, [], refusal) as proxy:
        answer = await asked(backend(1, base_url="https://api.test"), tmp_path, HTTPS_PROXY=proxy)
    assert answer == AttemptEnded(0, Failure.CONNECT, "the proxy answered 407 to CONNECT api.test:443")
