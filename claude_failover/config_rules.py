"""What one value may be: small rules, each with the words that say what it allows.

Rule: a value is taken as what it is. ``true`` is not 1, ``"100"`` is not 100, and infinity is no
duration; nothing is converted behind the user's back. Only where the words leave no doubt is the
unquoted spelling taken too (``client_key: off``, ``tls_min_version: 1.3``, ``enabled: yes``).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
import shlex
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from claude_failover.config_yaml import Items, Scalar, Table, Tree, plain


class Unfit(ValueError):  # noqa: N818 - named for what is the case, as in errors.py
    """A value that its key cannot take: one sentence for each thing that is wrong, with its line."""

    def __init__(self, *wrong: tuple[int, str]) -> None:
        super().__init__("; ".join(text for _, text in wrong))
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class Rule:
    """How a key's value is read."""

    allowed: str
    """Completes "expected …"."""
    read: Callable[[Tree], object]
    """Raises :class:`Unfit`."""
    words: bool = False
    """Text is meant: a variable's value is taken as it stands, not as a number or a switch."""
    single: bool = True
    """One value, so that an environment variable can hold it."""

    def read_text(self, text: str) -> object:
        """Read what a variable or a flag holds."""
        return self.read(Scalar(0, text if self.words else plain(text), text, quoted=self.words))


def shown(tree: Tree) -> str:
    """Name a value as its writer would recognise it."""
    match tree:
        case Table():
            return "a table"
        case Items():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=str() as text):
            return f'"{text[:80]}" (text)'
        case Scalar(text=text):
            return text[:80]


def _unfit(tree: Tree, allowed: str, *, advice: str = "") -> Unfit:
    return Unfit((tree.line, f"expected {allowed}, not {shown(tree)}{advice}"))


def switch() -> Rule:
    """``true`` or ``false``."""
    allowed = "true or false"
    spellings: Final = {"yes": True, "on": True, "no": False, "off": False}

    def read(tree: Tree) -> object:
        match tree:
            case Scalar(value=bool() as value):
                return value
            case Scalar(value=str() as text, quoted=False) if text.lower() in spellings:
                return spellings[text.lower()]
            case _:
                raise _unfit(tree, allowed)

    return Rule(allowed, read)


def whole(low: int, high: int) -> Rule:
    """Accept an integer, both ends included."""
    allowed = f"a whole number from {low:_} to {high:_}".replace("_", ",")

    def read(tree: Tree) -> object:
        match tree:
            case Scalar(value=bool()):
                raise _unfit(tree, allowed)
            case Scalar(value=int() as value) if low <= value <= high:
                return value
            case _:
                raise _unfit(tree, allowed, advice=_unquote(tree))

    return Rule(allowed, read)


def _plainly(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def number(low: float, high: float, *, above: bool = False, unit: str = "") -> Rule:
    """Accept a finite number; *above*: the lower end itself is too low."""
    start = f"above {_plainly(low)}, up to" if above else f"from {_plainly(low)} to"
    allowed = f"a number {start} {_plainly(high)} {unit}".rstrip()

    def read(tree: Tree) -> object:
        match tree:
            case Scalar(value=bool()):
                raise _unfit(tree, allowed)
            case Scalar(value=int() | float() as value) if math.isfinite(value):
                if low < value <= high or (value == low and not above):
                    return float(value)
                raise _unfit(tree, allowed)
            case _:
                raise _unfit(tree, allowed, advice=_unquote(tree))

    return Rule(allowed, read)


def _unquote(tree: Tree) -> str:
    if isinstance(tree, Scalar) and tree.quoted and isinstance(plain(tree.text), int | float):
        return "; take the quotes away"
    return ""


def choice(*words: str) -> Rule:
    """Accept one of a few words; unquoted look-alikes (``off``, ``1.3``) are those words."""
    allowed = f"one of {', '.join(words)}" if len(words) > 1 else words[0]

    def read(tree: Tree) -> object:
        if isinstance(tree, Scalar) and tree.text in words:
            return tree.text
        raise _unfit(tree, allowed)

    return Rule(allowed, read, words=True)


def text(allowed: str, check: Callable[[str], str | None] = lambda _: None) -> Rule:
    """Accept words for which *check* has nothing to say; what it says comes after the value."""

    def read(tree: Tree) -> object:
        match tree:
            case Scalar(value=str() as value) if value:
                if (why := check(value)) is None:
                    return value
                raise Unfit((tree.line, f'expected {allowed}, not "{value[:80]}"{f": {why}" if why else ""}'))
            case Scalar(value=bool() | int() | float()):
                raise _unfit(tree, allowed, advice="; put it in quotes if it is meant as text")
            case _:
                raise _unfit(tree, allowed)

    return Rule(allowed, read, words=True)


def secret(rule: Rule) -> Rule:
    """Wrap a rule whose value may hold a secret, so that no message repeats it."""

    def read(tree: Tree) -> object:
        try:
            return rule.read(tree)
        except Unfit:
            raise Unfit((tree.line, f"expected {rule.allowed} (the value is not shown: it may be secret)")) from None

    return Rule(rule.allowed, read, words=rule.words)


def optional(rule: Rule) -> Rule:
    """Accept what *rule* does, or ``null``."""
    allowed = f"{rule.allowed}, or null"

    def read(tree: Tree) -> object:
        if isinstance(tree, Scalar) and (tree.value is None or (rule.words and tree.text in {"", "null"})):
            return None
        try:
            return rule.read(tree)
        except Unfit as unfit:
            raise Unfit(*((line, words.replace(rule.allowed, allowed, 1)) for line, words in unfit.wrong)) from None

    return Rule(allowed, read, words=rule.words, single=rule.single)


def listing(item: Rule, of: str) -> Rule:
    """Accept a list without repetitions."""
    allowed = f"a list of {of}"

    def read(tree: Tree) -> object:
        if not isinstance(tree, Items):
            raise _unfit(tree, allowed)
        wrong: list[tuple[int, str]] = []
        values: list[object] = []
        for entry in tree.items:
            try:
                value = item.read(entry)
            except Unfit as unfit:
                wrong += unfit.wrong
                continue
            if value in values:
                wrong.append((entry.line, f"{shown(entry)} stands in the list twice"))
            values.append(value)
        if wrong:
            raise Unfit(*wrong)
        return tuple(values)

    return Rule(allowed, read, single=False)


# --- the texts that we know ---------------------------------------------------------------------

_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}\Z")
"""``us-west-2``, ``us-gov-west-1``, ``eusc-de-east-1``. It becomes part of a host name: nothing else may get in."""

_BACKEND_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,2047}\Z")
_PIN_BYTES: Final = 32


def is_loopback(host: str) -> bool:
    """Whether *host* can only be this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_host(value: str) -> str | None:
    if value == "localhost":
        return None
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ""
    return None


def _check_origin(value: str) -> str | None:
    """Say what is wrong with an origin to which credentials are going to be sent."""
    if any(character.isspace() or not character.isprintable() or character == "\\" for character in value):
        return "it holds a space or a control character"
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        return "it is not a URL"
    complaints = (
        (url.scheme not in {"http", "https"} or not host, "it is not a URL"),
        (url.username is not None or url.password is not None, "a settings file must not carry a user or a password"),
        (
            bool(url.query or url.fragment or url.path not in {"", "/"}),
            "scheme, host and port only; paths are the request's",
        ),
        (url.scheme == "http" and not is_loopback(host or ""), "plain http is allowed to loopback addresses only"),
    )
    return next((words for wrong, words in complaints if wrong), None)


def _check_webhook(value: str) -> str | None:
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        return ""
    return None if host and (url.scheme == "https" or (url.scheme == "http" and is_loopback(host))) else ""


def _check_pin(value: str) -> str | None:
    try:
        digest = base64.b64decode(value.removeprefix("sha256/"), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return None if value.startswith("sha256/") and len(digest) == _PIN_BYTES else ""


def _check_timezone(value: str) -> str | None:
    if value == "local":
        return None
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return "" if zoneinfo.available_timezones() else "this machine has no time zone database (install tzdata)"
    return None


def _check_command(value: str) -> str | None:
    if "\0" in value:
        return "it holds a NUL"
    try:
        return None if shlex.split(value) else ""
    except ValueError as error:
        return str(error).lower()


def _matches(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda value: None if pattern.match(value) else ""


HOST: Final = text("an IP address or localhost", _check_host)
ORIGIN: Final = text("an https URL (https://host[:port])", _check_origin)
WEBHOOK: Final = secret(text("an https URL", _check_webhook))
PIN: Final = text("sha256/ and the base64 of 32 bytes", _check_pin)
TIMEZONE: Final = text("local or a time zone such as Europe/Berlin", _check_timezone)
REGION: Final = text("an AWS region such as us-west-2", _matches(_REGION))
PROFILE: Final = text(
    "the name of an AWS profile", lambda value: None if value.isprintable() and not value.isspace() else ""
)
COMMAND: Final = text("a command and its arguments", _check_command)
FILE: Final = text("an absolute path (~ is your home)", lambda value: None if value.startswith(("/", "~/")) else "")
MODEL_CHECK: Final = _matches(_MODEL)
MODEL: Final = text("a model id without spaces", MODEL_CHECK)


def _check_name(value: str) -> str | None:
    if value == "auto":
        return "force-backend auto means: no override"
    return None if _BACKEND_NAME.match(value) else ""


BACKEND_NAME: Final = text("a name of lower-case letters, digits, - and _ that begins with a letter", _check_name)
