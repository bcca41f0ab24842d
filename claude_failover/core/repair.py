"""What Bedrock refused lately, so that it is not sent again: learned from its own answers, forgotten in time.

AWS's tables are stale and differ per model, surface and week, and one refused value fails the whole request. So
a 400 that names a beta, a field or a shape is mended once or twice, and the lesson is kept: a :class:`Denial`,
with an expiry, because what is refused today may be taken tomorrow. Translation asks :meth:`Denials.rules`; a
lesson changes requests by that and by nothing else, so equal requests stay equal while it holds.

Source: wire/bedrock.md 2.3 (self-healing), 2.4 (signatures), 4.4 (wordings).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from claude_failover.core.commands import Translated
from claude_failover.core.models import Target
from claude_failover.core.refusals import Finding, Remedy, Sent, findings, message_of
from claude_failover.core.request import UNREADABLE
from claude_failover.core.rules import Rules, Switch, parse_path
from claude_failover.core.types import Epoch, Instant, Outcome, Seconds, Surface, Transition, TransitionKind, Verdict

TTL: Final = Seconds(24 * 3600.0)
"""How long a lesson holds: what Bedrock takes changes within days (wire/bedrock.md 2.3)."""

DENIALS_MAX: Final = 512
"""Lessons kept; beyond that those that end first go."""

ANY_MODEL: Final = "*"
"""In place of a model: a lesson about the endpoint."""

_OF_A_CONVERSATION: Final = frozenset({Switch.STRIP_THINKING.value, Switch.STRIP_ALL_THINKING.value})
"""Lessons about one conversation's history; another's thinking is fine."""


@dataclass(frozen=True, slots=True)
class Denial:
    """One lesson: for a surface and a model, what not to do, and until when."""

    surface: Surface
    model: str
    """The canonical Claude id, or :data:`ANY_MODEL`."""
    remedy: Remedy
    value: str
    session: str | None
    """The only conversation that it is about, if it is about one."""
    why: str
    learned: Epoch
    expires: Epoch

    @property
    def key(self) -> tuple[Surface, str, Remedy, str, str | None]:
        """What makes two lessons the same."""
        return (self.surface, self.model, self.remedy, self.value, self.session)


@dataclass(frozen=True, slots=True)
class Repair:
    """What one refusal teaches. To send the request again, translate it again after :meth:`Denials.learn`."""

    surface: Surface
    model: str
    session: str | None
    findings: tuple[Finding, ...]


class Denials:
    """Everything learned, bounded, with an expiry each."""

    def __init__(self) -> None:
        self._denials: dict[tuple[Surface, str, Remedy, str, str | None], Denial] = {}

    def propose(
        self,
        status: int,
        body: bytes,
        verdict: Verdict,
        request: Translated,
        target: Target,
        surface: Surface,
        now: Instant,
    ) -> Repair | None:
        """Find what the refusal of *request* names and what could be changed; ``None``: nothing to mend."""
        self.expire(now)
        if verdict.outcome is Outcome.TOO_LONG or status >= 500:
            return None
        try:
            sent_body = msgspec.json.decode(request.request.body)
        except UNREADABLE:
            return None
        session = request.extra.get("session") or None
        sent = Sent(
            body=sent_body if isinstance(sent_body, dict) else {},
            betas=tuple(name for name in request.extra.get("betas", "").split(",") if name),
            model=request.upstream_model,
            forms=target.forms,
            caps=target.capabilities,
            rules=self.rules(surface, target.claude_model, session),
            other_surface=any(
                other is not surface and not self._avoided(other, target.claude_model) for other in target.surfaces
            ),
        )
        found = findings(message_of(body), sent)
        return Repair(surface, target.claude_model, session, found) if found else None

    def learn(self, repair: Repair, now: Instant) -> list[Transition]:
        """Keep what *repair* says; returns one transition for each new lesson."""
        self.expire(now)
        transitions = []
        expires = Epoch(now.wall + TTL)
        for finding in repair.findings:
            denial = Denial(
                surface=repair.surface,
                model=ANY_MODEL if finding.remedy is Remedy.SURFACE else repair.model,
                remedy=finding.remedy,
                value=finding.value,
                session=repair.session if finding.value in _OF_A_CONVERSATION else None,
                why=finding.why,
                learned=now.wall,
                expires=expires,
            )
            if denial.key not in self._denials:
                transitions.append(_transition(denial))
            self._denials.pop(denial.key, None)
            self._denials[denial.key] = denial
        while len(self._denials) > DENIALS_MAX:
            del self._denials[next(iter(self._denials))]
        return transitions

    def rules(self, surface: Surface, model: str, session: str | None) -> Rules:
        """What translation has to heed for *model* on *surface*, in the conversation *session*."""
        mine = [
            denial
            for denial in self._denials.values()
            if denial.surface is surface and denial.model == model and denial.session in {None, session}
        ]
        if not mine:
            return _NO_RULES
        limits = [int(denial.value) for denial in mine if denial.remedy is Remedy.MAX_OUTPUT]
        return Rules(
            betas=_values(mine, Remedy.BETA),
            paths=tuple(parse_path(value) for value in sorted(_values(mine, Remedy.PATH))),
            switches=frozenset(Switch(value) for value in _values(mine, Remedy.SWITCH)),
            max_output=min(limits, default=None),
            refused_ids=_values(mine, Remedy.ID),
        )

    def surface(self, target: Target, now: Instant) -> Surface:
        """The surface to use for *target*: its first whose route exists."""
        self.expire(now)
        for surface in target.surfaces:
            if not self._avoided(surface, target.claude_model):
                return surface
        return target.surfaces[0]

    def expire(self, now: Instant) -> None:
        """Forget what is over."""
        for key in [key for key, denial in self._denials.items() if denial.expires <= now.wall]:
            del self._denials[key]

    def entries(self, now: Instant) -> list[Denial]:
        """Everything that holds, for display."""
        self.expire(now)
        return sorted(self._denials.values(), key=lambda denial: (denial.surface, denial.model, denial.learned))

    def snapshot(self) -> dict[str, Any]:
        """Everything learned, as plain values."""
        return {"version": 1, "denials": [asdict(denial) for denial in self._denials.values()]}

    def restore(self, data: object, now: Instant) -> None:
        """Take up a snapshot; what is over, malformed, or would hold longer than a lesson may, is left."""
        listed = data.get("denials") if isinstance(data, dict) and data.get("version") == 1 else None
        for item in listed[:DENIALS_MAX] if isinstance(listed, list) else ():
            try:
                denial = msgspec.convert(item, Denial)
            except msgspec.ValidationError:
                continue
            if now.wall < denial.expires <= now.wall + TTL and _is_sound(denial):
                self._denials[denial.key] = denial

    def _avoided(self, surface: Surface, model: str) -> bool:
        return any((surface, name, Remedy.SURFACE, "", None) in self._denials for name in (model, ANY_MODEL))


_NO_RULES: Final = Rules()


def _values(denials: list[Denial], remedy: Remedy) -> frozenset[str]:
    return frozenset(denial.value for denial in denials if denial.remedy is remedy)


def _is_sound(denial: Denial) -> bool:
    """Whether the value is one that :meth:`Denials.rules` can read: a file may hold anything."""
    match denial.remedy:
        case Remedy.SWITCH:
            return denial.value in set(Switch)
        case Remedy.MAX_OUTPUT:
            return denial.value.isascii() and denial.value.isdigit() and 0 < int(denial.value) < 10**9
        case _:
            return True


def _transition(denial: Denial) -> Transition:
    return Transition(
        kind=TransitionKind.LEARNED,
        model=denial.model,
        detail=f"{denial.surface.value}: {denial.remedy.value} {denial.value}: {denial.why}".replace(" :", ":"),
        until=denial.expires,
        fields={"surface": denial.surface.value, "remedy": denial.remedy.value, "value": denial.value},
    )
