"""A stored Anthropic token, as the adapter of the Claude API uses it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from claude_failover.core.types import Epoch
from claude_failover.credentials import shapes
from claude_failover.credentials.secret import Secret
from claude_failover.credentials.view import CredentialView


@dataclass(frozen=True, slots=True)
class StoredToken:
    """One token that can be used now."""

    secret: Secret
    kind: str
    """:data:`~claude_failover.credentials.shapes.LOGIN`, ``API_KEY`` or ``BEARER``."""
    source: str
    expires: Epoch | None = None
    warning: str = ""

    @property
    def bearer(self) -> bool:
        """It goes out as ``authorization: Bearer``, not as ``x-api-key``."""
        return self.kind != shapes.API_KEY

    @property
    def oauth(self) -> bool:
        """It is of a login, which needs a beta."""
        return self.kind == shapes.LOGIN

    def view(self) -> CredentialView:
        """What may be shown of it."""
        return CredentialView(self.source, self.kind, self.expires, self.secret.tail, warning=self.warning)


class Kept(Protocol):
    """A store of our own: the keyring, or the file that stands for it."""

    async def token(self, *, refused: Collection[object] = ()) -> StoredToken | None:
        """The token, refreshed when it needs to be; ``None`` if none is kept.

        Args:
            refused: Secrets that the API has answered 401 to: look again, and refresh what is one of them.

        Raises:
            CredentialError: There is one, and it cannot be used.
        """
        ...

    def last(self) -> StoredToken | None:
        """What :meth:`token` gave last, without asking anybody."""
        ...
