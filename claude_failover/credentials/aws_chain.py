"""botocore's credential chain, called from a thread: everything here blocks, and may take seconds.

Rule: one :func:`load` is one new botocore session, so that every file is read again: botocore
never re-reads static keys by itself, and after ``aws sso login`` only a new session sees the new
token. Instance metadata is asked only where something hints at a machine of EC2: elsewhere the
attempt costs seconds and finds nothing (bedrock.md 6.1).
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from claude_failover.core.types import Epoch
from claude_failover.credentials.secret import Secret
from claude_failover.errors import CredentialError

_EC2_SIGNS: Final = (
    (Path("/sys/class/dmi/id/sys_vendor"), "amazon ec2"),
    (Path("/sys/class/dmi/id/board_asset_tag"), "i-"),
    (Path("/sys/hypervisor/uuid"), "ec2"),
)
"""Files of the kernel, and how they begin on EC2 (AWS EC2 user guide, "Identify EC2 instances")."""

_SSO: Final = ("the AWS SSO login has expired{of}", "aws sso login{option}")
_CONSOLE: Final = ("the AWS console login has expired{of}", "aws login{option}")
_CONFIG: Final = ("the AWS configuration is wrong: {error}", "aws configure list{option}")
_SAID: Final = {
    "UnauthorizedSSOTokenError": _SSO,
    "SSOTokenLoadError": _SSO,
    "SSOError": _SSO,
    "TokenRetrievalError": _SSO,
    "LoginRefreshRequired": _CONSOLE,
    "LoginTokenLoadError": _CONSOLE,
    "LoginInsufficientPermissions": _CONSOLE,
    "LoginError": _CONSOLE,
    "MissingDependencyException": (
        "this kind of AWS login needs the AWS CRT library{of}",
        "pip install 'botocore[crt]'",
    ),
    "ProfileNotFound": ("the AWS profile {name!r} does not exist", "aws configure list-profiles"),
    "CredentialRetrievalError": (
        "AWS credentials could not be got from {provider}{of}",
        "aws sts get-caller-identity{option}",
    ),
    "PartialCredentialsError": _CONFIG,
    "InvalidConfigError": _CONFIG,
    "ConfigParseError": _CONFIG,
    "ConfigNotFound": _CONFIG,
}
"""botocore's exceptions by name -> what is said, what to type. Its own texts only where they name
settings: a helper process's output may hold anything."""


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """What a request is signed with: a frozen triple, or a Bedrock API key instead."""

    source: str
    access_key: str = ""
    secret_key: Secret | None = None
    session_token: Secret | None = None
    api_key: Secret | None = None
    expires: Epoch | None = None

    @property
    def kind(self) -> str:
        """In words, for people."""
        if self.api_key is not None:
            return "api key"
        return "temporary keys" if self.session_token is not None else "long-term keys"

    @property
    def tail(self) -> str:
        """Four characters that tell it from another; those of an access key's id are no secret."""
        return self.api_key.tail if self.api_key is not None else self.access_key[-4:]


def load(profile: str | None) -> AwsKeys:
    """Ask the chain. Blocks.

    Raises:
        CredentialError: It found nothing, or what it found cannot be used; with a hint.
    """
    session = _session(profile)
    if not _may_be_ec2():
        # Removing a provider is botocore's own way; a profile that names Ec2InstanceMetadata as its source still works.
        session.get_component("credential_provider").remove("iam-role")
    try:
        found = session.get_credentials()
        frozen = found.get_frozen_credentials() if found is not None else None
    except Exception as error:
        raise translated(error, profile) from error
    if frozen is None:
        raise CredentialError(
            f"no AWS credentials found{_of(profile)}",
            hint="aws configure, aws sso login, or claude-failover token set bedrock",
        )
    return AwsKeys(
        source=f"{found.method}{_of(profile)}",
        access_key=frozen.access_key,
        secret_key=Secret(frozen.secret_key),
        session_token=Secret(frozen.token) if frozen.token else None,
        expires=_expiry(found),
    )


def load_region(profile: str | None) -> str | None:
    """The profile's region; ``None`` if it names none. Blocks.

    Raises:
        CredentialError: There is no such profile, or the file does not parse.
    """
    try:
        found = _session(profile).get_scoped_config().get("region")
    except Exception as error:
        raise translated(error, profile) from error
    return str(found) if found else None


def _session(profile: str | None) -> Any:
    import botocore.session  # noqa: PLC0415 - 100 ms and 8 MB that a daemon which never fails over does not pay

    for name in ("botocore", "urllib3"):  # session tokens at debug level, tracebacks of what we report ourselves above
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        session = botocore.session.Session(profile=profile)
        session.get_scoped_config()
        named = os.environ.get("AWS_REGION")
        if named and session.get_config_variable("region") is None:
            # botocore ignores AWS_REGION (bedrock.md 6.1), and STS needs a region to be called in.
            session.set_config_variable("region", named)
    except Exception as error:
        raise translated(error, profile) from error
    return session


def _may_be_ec2() -> bool:
    if os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    for path, start in _EC2_SIGNS:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.read_text().strip().lower().startswith(start):
                return True
    return False


def _expiry(found: Any) -> Epoch | None:
    """When refreshable credentials end. botocore keeps it to itself; without it we would refresh when refused."""
    expires = getattr(found, "_expiry_time", None)
    return Epoch(expires.timestamp()) if isinstance(expires, datetime) else None


def _of(profile: str | None) -> str:
    name = profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    return f" (profile {name})" if name else ""


def translated(error: Exception, profile: str | None) -> CredentialError:
    """Say what went wrong and what to type."""
    if isinstance(error, CredentialError):
        return error
    name = profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    kind = type(error).__name__
    message, hint = _SAID.get(kind, ("{service}{of}", "aws sts get-caller-identity{option}"))
    words = {
        "of": _of(profile),
        "option": f" --profile {name}" if name else "",
        "name": name,
        "error": error,
        "provider": str(getattr(error, "kwargs", {}).get("provider", "its provider")),
        "service": _of_service(error, kind),
    }
    return CredentialError(message.format(**words), hint=hint.format(**words))


def _of_service(error: Exception, kind: str) -> str:
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return f"AWS credentials could not be got: {kind}"
    code = response.get("Error", {}).get("Code", kind)
    return f"AWS refused {getattr(error, 'operation_name', 'the request')}: {code}"
