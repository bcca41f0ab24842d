"""The live secrets: exact values that must never be written, in whatever spelling.

Whoever holds a credential registers it here when it is loaded and forgets it when it is replaced. The client's own
credential is never registered: it passes through unread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from claude_failover.core.redaction import MASK, forms
from claude_failover.events.event import Event, Value, clean

MAX_SECRETS: Final = 64
"""The oldest is forgotten first: refreshed tokens replace each other for as long as the daemon runs."""


class LiveSecrets:
    """Knows the spellings of the secrets in use, and masks them."""

    def __init__(self) -> None:
        self._forms: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._needles: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def register(self, secret: str) -> None:
        """Mask *secret* from now on; values too short to tell from words are not taken."""
        found = forms(secret)
        if not found:
            return
        with self._lock:
            self._forms[secret] = found
            self._forms.move_to_end(secret)
            while len(self._forms) > MAX_SECRETS:
                self._forms.popitem(last=False)
            self._rebuild()

    def forget(self, secret: str) -> None:
        """Stop looking for *secret*: it is no longer valid."""
        with self._lock:
            self._forms.pop(secret, None)
            self._rebuild()

    def mask(self, text: str) -> str:
        """Take every registered secret out of *text*."""
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, MASK)
        return text

    def _rebuild(self) -> None:
        # The longest first: a spelling may contain another.
        found = {form for one in self._forms.values() for form in one}
        self._needles = tuple(sorted(found, key=len, reverse=True))

    def __len__(self) -> int:
        return len(self._forms)

    def __repr__(self) -> str:
        return f"LiveSecrets({len(self._forms)})"


LIVE: Final = LiveSecrets()
"""The process's: credentials register here, every log handler masks with it."""


def shown(event: Event, secrets: LiveSecrets = LIVE) -> Mapping[str, Value]:
    """Give an event's fields for the control channel or a screen: cleaned and masked as on disk."""
    if event.plain is not None and secrets.mask(event.plain) == event.plain:
        return event.fields
    fields = {name: clean(name, value) for name, value in event.fields.items()}
    return {name: _masked(value, secrets) for name, value in fields.items()}


def _masked(value: Value, secrets: LiveSecrets) -> Value:
    if isinstance(value, str):
        return secrets.mask(value)
    return [secrets.mask(item) for item in value] if isinstance(value, list | tuple) else value
