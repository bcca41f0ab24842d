"""The command line's entry, and the one place that ends with an error.

An error of ours is a sentence, a hint and an exit code; anything else is a bug, shown with
its traceback (never its variables) and where to report it.

``status``, ``statusline``, ``costs``, ``logs``, ``start`` and ``run`` are typed often and must be quick: in their
plain forms they are answered before the parser, which costs more than they do, is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable

from claude_failover import __version__
from claude_failover.cli import glance
from claude_failover.cli.invocation import PROGRAM, Invocation, coloured, say
from claude_failover.errors import EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INTERRUPTED, FailoverError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(words)
        sys.stdout.flush()
    except FailoverError as error:
        report(str(error), error.hint)
        return error.exit_code
    except BrokenPipeError:
        _silence()
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        say("")
        return EXIT_INTERRUPTED
    except SystemExit as error:
        # The parser's way to end completion requests, and a reader that has gone while it printed help.
        _silence()
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    except Exception:  # noqa: BLE001 - the end of the line: what is not ours is a bug, and shown as one
        return _bug()
    return code


def _run(words: list[str]) -> int:
    quick = _quick(words)
    if quick is not None:
        return quick()
    from claude_failover.cli.tree import NoCommandError, parse_and_run  # noqa: PLC0415 - what the quick ones do without

    try:
        return parse_and_run(words)
    except NoCommandError as nothing:
        sys.stdout.write(f"{nothing}\n")
        return nothing.exit_code


def _quick(words: list[str]) -> Callable[[], int] | None:
    """Recognise the plain forms of what is typed most; everything else is the parser's."""
    if _completing():
        return None
    match words:
        case ["statusline"]:
            return lambda: glance.show_statusline(Invocation())
        case ["status", *flags] if set(flags) <= {"--check", "--short", "--json"}:
            return lambda: glance.show_status(
                Invocation(), check="--check" in flags, short="--short" in flags, json="--json" in flags
            )
        case ["start"]:
            from claude_failover.cli import presence  # noqa: PLC0415 - not for a glance

            return lambda: presence.start_in_background(Invocation())
        case ["run"] | ["run", "--", *_]:
            from claude_failover.cli import become  # noqa: PLC0415 - not for a glance

            return lambda: become.run_claude(Invocation(), words[2:])
        case _:
            return _record(words)


def _record(words: list[str]) -> Callable[[], int] | None:
    """Recognise the plain forms of what reads what is on record."""
    if words[:1] not in (["costs"], ["logs"]):
        return None
    from claude_failover.cli import logbook  # noqa: PLC0415 - not for a glance

    match words:
        case ["costs"]:
            # By name: the ledger's reader is behind it, and those who only glance must not seem to import it.
            bill = importlib.import_module("claude_failover.cli.bill")
            return lambda: int(bill.show_costs(Invocation(), bill.TODAY))
        case ["logs"] | ["logs", "-f"]:
            return lambda: logbook.show_logs(Invocation(), following="-f" in words)
        case ["logs", "-n", count] if count.isascii() and count.isdigit():
            return lambda: logbook.show_logs(Invocation(), count=int(count))
        case _:
            return None


def _completing() -> bool:
    return f"_{PROGRAM}_COMPLETE".replace("-", "_").upper() in os.environ


def report(message: str, hint: str | None) -> None:
    """Print an error: what and where; and under it what to type."""
    red, plain = ("\x1b[31m", "\x1b[0m") if coloured(sys.stderr) else ("", "")
    say(f"{red}error:{plain} {message}")
    if hint:
        say(f"\nhint: {hint}")


def _bug() -> int:
    sys.stderr.write(traceback.format_exc())
    say(
        f"\nThis is a bug in {PROGRAM} {__version__} (Python {sys.version.split()[0]}, {sys.platform}). "
        "Please report it to the project's issue tracker with the lines above; they hold no request and no credential."
    )
    return EXIT_FAILED


def _silence() -> None:
    """Keep the interpreter from complaining about a stdout that nobody reads when it flushes at exit."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
