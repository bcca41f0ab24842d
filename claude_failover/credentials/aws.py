"""AWS credentials for Bedrock: kept fresh ahead of their end, off the event loop.

Rule: a request never waits for what can be done before. The triple is cached; 15 minutes before
it ends a new one is got in the background while requests go on with the old; only without any
that is valid does a request wait, at most :data:`LIMIT`. One load at a time, however many
requests ask. A failure is remembered for a moment, and forgotten as soon as one of AWS's files
changes: after ``aws sso login`` the next request works.

Order: ``AWS_BEARER_TOKEN_BEDROCK``, a stored Bedrock API key, botocore's chain.
Region: config, ``AWS_REGION``, ``AWS_DEFAULT_REGION``, profile. botocore itself ignores the second
(bedrock.md 6.1, measured); Claude Code does not.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qs

from claude_failover import events
from claude_failover.clock import Clock, SystemClock
from claude_failover.core.types import Epoch
from claude_failover.credentials import aws_chain
from claude_failover.credentials.aws_chain import AwsKeys
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.threads import in_thread
from claude_failover.credentials.view import CredentialView, of_error
from claude_failover.errors import CredentialError
from claude_failover.events import EventName

LIMIT: Final = 20.0
"""Seconds that the chain may take before a request stops waiting for it."""

AHEAD: Final = 15 * 60.0
"""Seconds before their end at which keys are replaced in the background: botocore's advisory window."""

LAST_MOMENT: Final = 60.0
"""Keys that end sooner are not used: a request may take longer than that to be checked."""

CALM: Final = 10.0
"""Seconds between two forced refreshes, and after a failure: twenty requests refused at once are one refresh."""

GLANCE: Final = 0.5
"""Seconds that a status waits for a chain that nobody has asked before; ``start`` must not take longer than 1 s."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""

BEARER_VARIABLE: Final = "AWS_BEARER_TOKEN_BEDROCK"
_SHORT_TERM: Final = "bedrock-api-key-"


class StoredKey(Protocol):
    """A Bedrock API key that the user has stored, if any."""

    async def bedrock_key(self) -> Secret | None:
        """The key."""
        ...


class AwsProvider:
    """Gives the keys to sign with, and the region.

    Args:
        profile: From the configuration; ``None`` = botocore's rule (``AWS_PROFILE``, default).
        region: From the configuration.
        environ: For what we read ourselves; botocore reads the process's own environment.
        clock: The daemon's.
        store: Where a Bedrock API key may be stored.
        load: The chain; tests hand in their own.
    """

    def __init__(
        self,
        profile: str | None = None,
        region: str | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        *,
        store: StoredKey | None = None,
        load: Callable[[str | None], AwsKeys] = aws_chain.load,
    ) -> None:
        self.asked: Final = (profile, region)
        """Profile and region as configured: a provider of the same keeps what it has got over a reload."""
        self._profile = profile
        self._region = region
        self._environ = environ
        self._store = store
        self._clock = clock or SystemClock()
        self._load = load
        self._named: AwsKeys | None = None  # the environment does not change while we run
        self._keys: AwsKeys | None = None
        self._error: CredentialError | None = None
        self._loading: asyncio.Future[AwsKeys] | None = None
        self._started = 0.0
        self._loads = 0
        self._taken = 0
        """Which load the keys are of: a slower one that began before it knows less."""
        self._ended = float("-inf")
        self._files: tuple[object, ...] = ()
        self._looked = float("-inf")

    async def get(self, refresh: bool = False) -> AwsKeys:
        """The credential to use now; *refresh*: the last one was refused, read everything again.

        Raises:
            CredentialError: There is none; the message says what to type.
        """
        try:
            api_key = await self._api_key()
        except CredentialError as problem:  # a locked keyring, an expired key: the chain may still do
            return await self._or_else(problem, refresh=refresh)
        return api_key if api_key is not None else await self._of_chain(refresh=refresh)

    async def _or_else(self, problem: CredentialError, *, refresh: bool) -> AwsKeys:
        try:
            return await self._of_chain(refresh=refresh)
        except CredentialError as error:
            raise CredentialError(f"{problem}; {error}", hint=problem.hint) from error

    async def _of_chain(self, *, refresh: bool) -> AwsKeys:
        now = self._clock.now()
        changed = self._files_changed()
        just_asked = not changed and now.monotonic - self._ended < CALM
        if just_asked and self._error is None:
            refresh = False  # another request has just done it
        keys = self._keys
        if keys is not None and not changed and not refresh:
            left = float("inf") if keys.expires is None else keys.expires - now.wall
            if left <= AHEAD and not just_asked:
                self._begin()
            if left > LAST_MOMENT:
                return keys
        if just_asked and self._error is not None:
            raise self._error
        return await self._wait()

    async def region(self) -> str:
        """The region to call and to sign for.

        Raises:
            CredentialError: None is configured anywhere.
        """
        if self._region is None:
            named = self._environ.get("AWS_REGION") or self._environ.get("AWS_DEFAULT_REGION")
            if named:
                return named
            profile = self._profile
            self._region = await in_thread(lambda: aws_chain.load_region(profile), "aws-region")
        if self._region is None:
            raise CredentialError(
                "no AWS region is configured", hint="set region: us-east-1 in config.yaml, or AWS_REGION"
            )
        return self._region

    async def status(self) -> CredentialView:
        """What there is. Looks for it if nobody has, but waits only a moment for the answer."""
        region = ""
        try:
            async with asyncio.timeout(GLANCE):
                region = await self.region()
                keys = await self.get()
        except TimeoutError:
            return CredentialView("AWS", "being looked up", region=region)
        except CredentialError as error:
            return replace(of_error("AWS", error), region=region)
        if keys.expires is not None and keys.expires <= self._clock.now().wall:
            return CredentialView(keys.source, problem=f"{keys.source}: expired", region=region)
        warning = f"refresh failed: {self._error}" if self._error is not None and keys.api_key is None else ""
        return CredentialView(keys.source, keys.kind, keys.expires, keys.tail, warning=warning, region=region)

    async def _api_key(self) -> AwsKeys | None:
        if self._named is None and self._environ.get(BEARER_VARIABLE):
            self._named = _bearer(Secret(self._environ[BEARER_VARIABLE]), BEARER_VARIABLE)
        if self._named is not None:
            return _checked(self._named, self._clock)
        stored = await self._store.bedrock_key() if self._store is not None else None
        return None if stored is None else _checked(_bearer(stored, "stored Bedrock API key"), self._clock)

    # --- one load at a time

    def _begin(self) -> asyncio.Future[AwsKeys]:
        now = self._clock.now().monotonic
        if self._loading is None or now - self._started > LIMIT:
            load, profile = self._load, self._profile
            self._started = now
            self._loads += 1
            # The marks as they are before the files are read: what is written meanwhile is to be noticed.
            loaded = functools.partial(self._loaded, self._loads, _marks(_files()))
            self._loading = in_thread(lambda: load(profile), "aws-credentials", then=loaded)
        return self._loading

    def _loaded(self, number: int, read: tuple[object, ...], future: asyncio.Future[AwsKeys]) -> None:
        error = future.exception()
        # One that was given up may still bring keys (a chain that asks a person takes its time); if it fails, the one
        # that has begun since may not.
        if number < self._taken or (error is not None and future is not self._loading):
            return
        self._loading, self._taken = None, number
        self._ended = self._clock.now().monotonic
        # The caches as they are now: the chain itself writes them.
        self._files = (*read, *_marks(_caches()))
        if error is None:
            before, again, self._keys, self._error = self._keys, self._keys is not None, future.result(), None
            if before is not None and before.source != self._keys.source:
                events.emit("credential.moved", was=before.source, source=self._keys.source)
            name: EventName = "credential.refreshed" if again else "credential.loaded"
            events.emit(name, source=self._keys.source, kind=self._keys.kind, expires=self._keys.expires)
            return
        if not isinstance(error, CredentialError):
            error = CredentialError(f"AWS credentials could not be got: {type(error).__name__}")
        again, self._error = str(self._error) == str(error), error
        if not again:  # somebody without AWS would else read it every few minutes for ever
            events.emit("credential.failed", source="AWS", reason=str(error), hint=error.hint)

    async def _wait(self) -> AwsKeys:
        loading = self._begin()
        try:
            async with asyncio.timeout(LIMIT):
                await asyncio.shield(loading)
        except TimeoutError:
            if loading is self._loading:  # else another has brought what is known by now
                self._ended = self._clock.now().monotonic
                self._error = CredentialError(
                    f"AWS credentials did not come within {LIMIT:.0f} s", hint="aws sts get-caller-identity"
                )
        except Exception:  # noqa: BLE001, S110 - remembered by _loaded, which runs first
            pass
        if self._error is None and self._keys is not None:
            return self._keys
        if self._keys is not None and (self._keys.expires or float("inf")) - self._clock.now().wall > LAST_MOMENT:
            return self._keys  # the old ones are still good
        raise self._error or CredentialError("AWS credentials could not be got")

    def _files_changed(self) -> bool:
        """Whether a file of AWS's has changed since the last load; looks at most once a second."""
        now = self._clock.now().monotonic
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            if self._files and (*_marks(_files()), *_marks(_caches())) != self._files:
                self._files = ()
        return self._ended > float("-inf") and not self._files


def _home() -> Path:
    return Path(os.environ.get("HOME") or Path.home())


def _files() -> list[Path]:
    """The files that credentials come from and that others write."""
    named = [
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or _home() / ".aws" / "credentials").expanduser(),
        Path(os.environ.get("AWS_CONFIG_FILE") or _home() / ".aws" / "config").expanduser(),
    ]
    variables = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    return named + [Path(os.environ[variable]) for variable in variables if os.environ.get(variable)]


def _caches() -> list[Path]:
    """Those that a login writes, and the chain too."""
    found: list[Path] = []
    for cache in ("sso", "login"):
        with contextlib.suppress(OSError):
            found += sorted((_home() / ".aws" / cache / "cache").glob("*.json"))
    return found


def _marks(paths: list[Path]) -> tuple[object, ...]:
    """Names, times and sizes. Never empty."""
    marks: list[object] = ["aws"]
    for path in paths:
        with contextlib.suppress(OSError):
            stat = path.stat()
            marks.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(marks)


def _bearer(value: Secret, source: str) -> AwsKeys:
    return AwsKeys(source, api_key=value, expires=_end_of(value))


def _checked(keys: AwsKeys, clock: Clock) -> AwsKeys:
    if keys.expires is not None and keys.expires <= clock.now().wall:
        raise CredentialError(
            f"the Bedrock API key in {keys.source} has expired", hint="claude-failover token set bedrock"
        )
    return keys


def _end_of(key: Secret) -> Epoch | None:
    """Read when a short-term Bedrock API key ends: it is a presigned URL in Base64 (bedrock.md 6.2)."""
    text = key.reveal()
    if not text.startswith(_SHORT_TERM):
        return None
    try:
        packed = text.removeprefix(_SHORT_TERM)
        url = base64.b64decode(packed + "=" * (-len(packed) % 4)).decode()
        fields = parse_qs(url.partition("?")[2])
        begins = datetime.strptime(fields["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return Epoch(begins.timestamp() + int(fields["X-Amz-Expires"][0]))
    except (binascii.Error, UnicodeDecodeError, KeyError, ValueError):
        return None
