"""Where Bedrock is: the origin that requests go to, from settings and environment.

Rule: a configured endpoint wins over the environment, the environment over the rule; the signing
region never comes from a host name (VPC endpoints have none in it). A region goes into a host
name, so it is checked first: ``x@evil.example/`` is no region.

Source: the AWS SDKs' reference guide ("Service-specific endpoints", "Dual-stack and FIPS
endpoints"), botocore's order (bedrock.md 6.5). Only SDK clients read these variables by
themselves; we use none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from claude_failover.errors import ConfigError, CredentialError

RUNTIME: Final = "bedrock"
"""SigV4 service name of bedrock-runtime."""
MANTLE: Final = "bedrock-mantle"

_REGION = re.compile(r"[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}")
_VARIABLES: Final = {RUNTIME: "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", MANTLE: "AWS_ENDPOINT_URL_BEDROCK_MANTLE"}


def checked_region(region: str) -> str:
    """Give the region back if it looks like one.

    Raises:
        CredentialError: It does not; the message quotes it.
    """
    if not _REGION.fullmatch(region):
        raise CredentialError(
            f"{region!r} is no AWS region", hint="set region: us-east-1 at the backend in config.yaml"
        )
    return region


def configured(endpoint_url: str | None, service: str, environ: Mapping[str, str]) -> str | None:
    """The endpoint that somebody has set, or ``None``.

    Raises:
        ConfigError: It is no URL, or FIPS is asked for besides: nobody can say whether that endpoint is FIPS.
    """
    found, where = endpoint_url, "endpoint_url"
    if found is None and environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        for where in (_VARIABLES[service], "AWS_ENDPOINT_URL"):
            found = environ.get(where)
            if found:
                break
    if not found:
        return None
    if not found.startswith(("https://", "http://")):
        raise ConfigError(f"{where}: {found!r} is no URL")
    if _is_set(environ, "AWS_USE_FIPS_ENDPOINT"):
        raise ConfigError(f"{where}: a custom endpoint and AWS_USE_FIPS_ENDPOINT exclude each other")
    return found.rstrip("/")


def by_rule(region: str, service: str, environ: Mapping[str, str]) -> str:
    """The public endpoint of a service in a region.

    Raises:
        CredentialError: The region is none.
    """
    region = checked_region(region)
    if service == MANTLE:
        return f"https://bedrock-mantle.{region}.api.aws"
    name = "bedrock-runtime-fips" if _is_set(environ, "AWS_USE_FIPS_ENDPOINT") else "bedrock-runtime"
    if _is_set(environ, "AWS_USE_DUALSTACK_ENDPOINT"):
        return f"https://{name}.{region}.api.aws"
    domain = "amazonaws.eu" if region.startswith("eusc-") else "amazonaws.com"
    return f"https://{name}.{region}.{domain}"


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() == "true"
