"""doctor: is everything as it must be, and if not, what to type.

Rule: in the order in which things depend on each other, quick, and nothing leaves the machine:
neither a credential nor a request, unless ``--online`` is given and its price was accepted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from claude_failover.cli import diagnosis, doctor_claude, doctor_credentials, doctor_machine
from claude_failover.cli import invocation as cli
from claude_failover.cli.diagnosis import Finding, Patient
from claude_failover.cli.invocation import coloured, out, say
from claude_failover.cli.progress import Progress, waiting
from claude_failover.errors import UsageError

Check = Callable[[Patient], Iterable[Finding]]

OFFLINE: Final[tuple[tuple[str, Check], ...]] = (
    ("config", doctor_machine.check_config),
    ("files", doctor_machine.check_files),
    ("daemon", doctor_machine.check_daemon),
    ("port", doctor_machine.check_port),
    ("claude", doctor_claude.check_claude),
    ("token", lambda patient: asyncio.run(doctor_credentials.check_token(patient))),
    ("aws", lambda patient: asyncio.run(doctor_credentials.check_aws(patient))),
)
"""In order: a wrong configuration explains a dead daemon, a dead daemon a stale shell."""


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask AWS, and send small paid requests to Bedrock; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --online: pay without being asked.")] = False,
) -> int:
    """Check the setup, in order, and say what to type for whatever is wrong.

    Nothing is changed, and without --online nothing is sent anywhere. With it, AWS is asked who you are and what you
    may use, and Bedrock gets one request of one token per mapped model and one with everything that Claude Code can
    send; what that costs at the most is said first. No request ever uses your Anthropic credential.
    """
    patient = Patient(cli.of(context), dict(os.environ), Path.home(), Path.cwd())
    found: list[Finding] = []

    def take(name: str, findings: list[Finding]) -> None:
        found.extend(findings)
        if not as_json and findings:
            out(diagnosis.render_section(name, findings, colour=coloured()) + "\n")
            sys.stdout.flush()

    for name, check in OFFLINE:
        with waiting(f"checking: {name}"):
            findings = list(check(patient))
        take(name, findings)
        if patient.lost:
            break
    consented = online and not patient.lost and _consent(patient, yes=yes)
    if consented or doctor_credentials.may_ask_who(patient):
        from claude_failover.cli import doctor_online  # noqa: PLC0415 - what talks to servers; most checks do not

        with Progress("asking AWS") as progress:
            answers = asyncio.run(doctor_online.check(patient, progress.tick, paid=consented))
        take("online", answers)
    take("machine", list(doctor_machine.check_machine(patient)))
    if as_json:
        out(diagnosis.render_json(found, online=consented))
    else:
        out(diagnosis.render_end(found))
    return diagnosis.exit_code(found)


def _consent(patient: Patient, *, yes: bool) -> bool:
    """Say what it will cost, and ask.

    Raises:
        UsageError: Nobody is there to ask.
    """
    from claude_failover.cli import doctor_online  # noqa: PLC0415 - as above

    plan = doctor_online.plan(patient)
    say(plan.text)
    if yes or not plan.requests:
        return True
    if not sys.stdin.isatty():
        raise UsageError("doctor --online: sends paid requests, and nobody is there to be asked", hint="add --yes")
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
