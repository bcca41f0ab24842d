"""Phase: what the client of an exchange has seen, and so what may still be decided.

Rule: every transition is in :data:`PHASES`; the exchange has one setter.

========== ============================================ ==========================================
phase      the client has                               another backend may still take over
========== ============================================ ==========================================
waiting    nothing                                      yes, and the status is still ours to choose
opened     200, SSE headers and our own pings           yes, but errors are in-band now
committed  a backend's bytes                            never
done       everything it will get                       -
========== ============================================ ==========================================
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from claude_failover.core.members import at_hand


@at_hand
class Phase(StrEnum):
    """What the client has seen."""

    WAITING = "waiting"
    OPENED = "opened"
    COMMITTED = "committed"
    DONE = "done"


PHASES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.WAITING: frozenset({Phase.OPENED, Phase.COMMITTED, Phase.DONE}),
    Phase.OPENED: frozenset({Phase.COMMITTED, Phase.DONE}),
    Phase.COMMITTED: frozenset({Phase.DONE}),
    Phase.DONE: frozenset(),
}
