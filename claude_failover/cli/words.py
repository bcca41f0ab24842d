"""The status in words: the sentence that the screen starts with, and the short line. Pure, and imports no tables."""

from __future__ import annotations

from datetime import tzinfo

from claude_failover.cli.durations import clock_time, until
from claude_failover.control.status import Health, Spend, Status


def headline(status: Status, zone: tzinfo | None = None) -> str:
    """Say in one sentence whether requests are protected, who answers, why and until when."""
    primary = status.backends[0].name if status.backends else "the primary"
    others = [one for one in status.backends[1:] if one.usable]
    ends = f" until {until(status.current.until, status.now, zone)}" if status.current.until else ""
    why = f": {status.current.why}" if status.current.why else ""
    match status.health:
        case Health.PROTECTED:
            standby = f", {others[0].name} stands by" if others else ""
            return f"Protected: {status.current.name or primary} answers{standby}"
        case Health.FAILED_OVER:
            if status.current.name == primary:
                return f"Failed over for some models: {primary} answers the others{why}"
            return f"Failed over: {status.current.name} answers{ends}{why}"
        case Health.UNPROTECTED:
            return f"Not protected: {primary} answers, but nobody could take over"
        case Health.SPEND_LIMIT:
            limit = f" of ${status.spend.limit_usd:.2f}" if status.spend.limit_usd is not None else ""
            resets = f"; it resets {until(status.spend.resets, status.now, zone)}" if status.spend.resets else ""
            return f"Stopped by the spend limit: today's limit{limit} is reached{resets}"
        case Health.DOWN:
            return "Offline: no backend can be reached" if status.offline else f"Down: nobody can answer{ends}{why}"


def short(status: Status, zone: tzinfo | None = None) -> str:
    """One line for prompts and scripts: health, backend, until when, money."""
    parts = [status.health.value, status.current.name or "-"]
    if status.current.until:
        parts.append(f"until {clock_time(status.current.until, status.now, zone)}")
    parts.append(money(status.spend))
    if status.needs_you:
        parts.append(f"{len(status.needs_you)} need{'s' if len(status.needs_you) == 1 else ''} you")
    return " · ".join(parts)


def money(spend: Spend) -> str:
    """Today's spend against the limit: ``$1.82/$100``."""
    limit = "" if spend.limit_usd is None else f"/${spend.limit_usd:g}"
    return f"${spend.today_usd:.2f}{limit}"
