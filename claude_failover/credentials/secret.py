"""A secret: a value that cannot be printed.

Rule: the only way to the value is :meth:`Secret.reveal`, called where a request is signed or a
secret is stored, so that ``grep reveal`` is the audit. It has no ``__dict__``, is neither
formatted nor pickled nor copied into a dump, and two of them are compared in constant time.
Whatever becomes a Secret is registered with the log's masks, which are the second net.
"""

from __future__ import annotations

import hmac
from typing import NoReturn, final

from claude_failover.events.live_secrets import LIVE


@final
class Secret:
    """Holds a secret text.

    Args:
        value: The secret. Surrounding white space is no part of any secret we know.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value.strip()
        LIVE.register(self.__value)

    def reveal(self) -> str:
        """The value. Each call needs a reason."""
        return self.__value

    @property
    def tail(self) -> str:
        """The last four characters, to tell two secrets apart; nothing of a secret too short to spare them."""
        return self.__value[-4:] if len(self.__value) >= 20 else ""

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "Secret(…)"

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    __hash__ = None  # type: ignore[assignment]  # no dictionary, no set: their lookups would compare hashes

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled and not copied")
