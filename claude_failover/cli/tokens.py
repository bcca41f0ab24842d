"""token set, status, clear: secrets that we keep, and which source of them wins.

Rule: a secret comes from a prompt that does not echo, or from standard input; never from an
argument, which every process of this machine could read. Nothing prints it; four characters of
its end tell it from another.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from typing import Annotated, Any, Final

import typer

from claude_failover import events
from claude_failover.cli import invocation as cli
from claude_failover.cli.durations import spell
from claude_failover.cli.invocation import Invocation, out, say
from claude_failover.cli.progress import waiting
from claude_failover.config_load import load
from claude_failover.config_paths import make_private_directory
from claude_failover.core.settings import Settings
from claude_failover.core.types import Epoch, Kind, Seconds
from claude_failover.credentials.anthropic import VARIABLES, AnthropicTokens
from claude_failover.credentials.aws import AwsProvider
from claude_failover.credentials.box import FILE, KEYRING, Box, shared_lock
from claude_failover.credentials.entry import ANTHROPIC, BEDROCK, ITEMS, parse
from claude_failover.credentials.kept import KeptTokens
from claude_failover.credentials.view import CredentialView, of_error
from claude_failover.errors import EXIT_FAILED, EXIT_OK, CredentialError, UsageError

app = typer.Typer(
    help="Keep a token for requests that bring none, or a Bedrock API key.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)

SCHEMA_VERSION: Final = 1

MAX_CHARACTERS: Final = 65_536
"""Of what is read: Claude Code's whole credentials file is some hundreds."""

_NONE: Final = "no Anthropic token is stored"
_NONE_THERE: Final = {
    "env": f"none of {', '.join(VARIABLES)} is set",
    "keyring": "nothing is kept; to keep a token: claude-failover token set anthropic",
    "claude": "nobody is logged in with claude",
}

What = Annotated[str, typer.Argument(metavar="[anthropic|bedrock]", help="Which secret.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def box_of(invocation: Invocation) -> Box:
    """Our store, of these paths."""
    return Box(invocation.paths.state_dir, shared_lock(os.environ), clock=invocation.clock)


def check_item(what: str) -> str:
    """Accept the name of something that can be kept.

    Raises:
        UsageError: There is nothing of that name.
    """
    if what not in ITEMS:
        # Not quoted back: somebody may have typed the secret itself.
        raise UsageError("token: that is no name of a secret", hint=f"one of {', '.join(ITEMS)}")
    return what


@app.command("set")
def set_(
    context: typer.Context,
    what: What = ANTHROPIC,
    store: Annotated[
        str, typer.Option("--store", metavar="keyring|file", help="The system's keyring, or a file of mode 0600.")
    ] = KEYRING,
) -> int:
    """Keep a token, read from a prompt or from standard input.

    For anthropic: a token of `claude setup-token`, an API key, or a token endpoint's JSON with a refresh token, which
    is then refreshed ahead of its end. For bedrock: a Bedrock API key. It is never sent anywhere to be tried.
    """
    item = check_item(what)
    if store not in {KEYRING, FILE}:
        raise UsageError(f"--store: {store!r} is not known", hint=f"{KEYRING} or {FILE}")
    invocation = cli.of(context)
    entry = parse(item, _read(item), invocation.clock.now().wall)
    make_private_directory(invocation.paths.state_dir)
    box = box_of(invocation)
    box.keep(item, entry, store)
    _note(invocation, "set", item, store)
    tail = f" …{entry.access.tail}" if entry.access.tail else ""
    say(f"kept: {entry.kind}{tail} in {box.where(item)}" + _until(entry.expires, invocation.clock.now().wall))
    if store == FILE:
        say("  whoever can read this user's files can read it; a keyring would be safer where there is one")
    if entry.refresh is None and entry.expires is not None and item == ANTHROPIC:
        say("  it cannot be refreshed here; when it ends, set another")
    return EXIT_OK


def _read(item: str) -> str:
    """Read a secret from a person or a pipe.

    Raises:
        UsageError: Nothing came.
    """
    if sys.stdin.isatty():
        name = "Bedrock API key" if item == BEDROCK else "Anthropic token"
        try:
            text = getpass.getpass(f"{name} (not shown): ")
        except EOFError:
            text = ""
    else:
        text = sys.stdin.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise UsageError("token set: that is more than any token", hint="one token, or one JSON object")
    if not text.strip():
        raise UsageError("token set: nothing was given", hint="type it at the prompt, or pipe it: … | token set")
    return text


@app.command("status")
def status(context: typer.Context, as_json: Json = False) -> int:
    """Show every source of tokens, which one wins, what it is and until when it lasts; never the value.

    Requests that bring a credential of their own (Claude Code's login does) go out with that one, whatever is kept.
    """
    invocation = cli.of(context)
    settings = load(invocation.config).settings
    with waiting("asking every source"):
        found = asyncio.run(_survey(invocation, settings))
    if as_json:
        out(json.dumps({"schema_version": SCHEMA_VERSION, **found}, indent=2))
    else:
        out(_describe(found, invocation.clock.now().wall))
    broken = [one for one in found["anthropic"] if one["kept"] and one["problem"]]
    return EXIT_FAILED if broken else EXIT_OK


async def _survey(invocation: Invocation, settings: Settings) -> dict[str, Any]:
    kept = KeptTokens(box_of(invocation), invocation.clock)
    return {
        "anthropic": await survey(invocation, settings, kept),
        "bedrock": [await _bedrock(invocation, settings, kept)],
    }


async def survey(invocation: Invocation, settings: Settings, kept: KeptTokens) -> list[dict[str, Any]]:
    """Ask every source of Anthropic tokens by itself, and say which wins."""
    sources = []
    winner = ""
    for source in settings.credentials.sources:
        view = await AnthropicTokens((source,), os.environ, invocation.clock, kept).look()
        if view.problem.startswith(_NONE):
            view = CredentialView(source, problem=_NONE_THERE.get(source, "none"))
        if view.usable and not winner:
            winner = source
        wins = view.usable and winner == source
        ours = source == "keyring" and _keeps(invocation, ANTHROPIC)
        sources.append({"source": source, "wins": wins, "kept": ours, **_shown(view)})
    return sources


def _keeps(invocation: Invocation, item: str) -> bool:
    try:
        return item in box_of(invocation).stores()
    except CredentialError:
        return True  # asked for, it says what is wrong


async def _bedrock(invocation: Invocation, settings: Settings, kept: KeptTokens) -> dict[str, Any]:
    """The AWS side: the variable, then what is kept, then the chain of the first Bedrock backend."""
    backend = next((one for one in settings.backends if one.kind is Kind.BEDROCK), None)
    provider = AwsProvider(
        backend.profile if backend else None,
        backend.region if backend else None,
        os.environ,
        invocation.clock,
        store=kept,
    )
    try:
        keys = await provider.get()
        view = CredentialView(keys.source, keys.kind, keys.expires, keys.tail)
    except CredentialError as error:
        view = of_error("AWS", error)
    return {"source": view.source, "wins": view.usable, "kept": _keeps(invocation, BEDROCK), **_shown(view)}


def _shown(view: CredentialView) -> dict[str, Any]:
    return {
        "where": view.source,
        "kind": view.kind,
        "tail": view.tail,
        "expires": view.expires,
        "problem": view.problem,
        "warning": view.warning,
        "hint": view.hint,
    }


def _describe(found: dict[str, Any], now: Epoch) -> str:
    lines = ["Anthropic, for requests that bring no credential of their own:"]
    lines += [_line(one, now) for one in found["anthropic"]]
    lines += ["Bedrock:"]
    lines += [_line(one, now) for one in found["bedrock"]]
    return "\n".join(lines)


def _line(one: dict[str, Any], now: Epoch) -> str:
    mark = "*" if one["wins"] else " "
    if one["problem"]:
        hint = f" ({one['hint']})" if one["hint"] else ""
        return f"{mark} {one['source']:<8} {one['problem']}{hint}"
    tail = f" …{one['tail']}" if one["tail"] else ""
    where = "" if one["where"] == one["source"] else f" in {one['where']}"
    warning = f"; {one['warning']}" if one["warning"] else ""
    return f"{mark} {one['source']:<8} {one['kind']}{tail}{where}{_until(one['expires'], now)}{warning}"


def _until(expires: float | None, now: Epoch) -> str:
    if expires is None:
        return ""
    left = expires - now
    return f", for another {spell(Seconds(left))}" if left > 0 else ", expired"


@app.command("clear")
def clear(context: typer.Context, what: What = ANTHROPIC) -> int:
    """Forget what is kept. Tokens of the environment and of Claude Code are not ours to remove."""
    item = check_item(what)
    invocation = cli.of(context)
    box = box_of(invocation)
    where, store = box.where(item), box.stores().get(item, "")
    if not box.forget(item):
        say(f"nothing was kept for {item}")
        return EXIT_OK
    _note(invocation, "clear", item, store)
    say(f"forgotten: {item} in {where}")
    return EXIT_OK


def _note(invocation: Invocation, action: str, item: str, store: str) -> None:
    """Write the change into the audit log; a daemon that runs appends to the same file, line by line."""
    make_private_directory(invocation.paths.log_dir)
    journal = events.Journal(None, invocation.paths.audit, secrets=events.LIVE)
    journal.start()
    hub = events.Hub(lambda: invocation.clock.now().wall)
    hub.subscribe(journal)
    hub.emit("token.changed", {"action": action, "item": item, "store": store, "uid": os.getuid()})
    journal.close()
