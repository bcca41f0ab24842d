"""The system's keyring, where it is one.

Rule: only backends that are known to protect what they hold; what was written is read back. The
``keyring`` library picks whatever is installed: with ``keyrings.alt`` that is a plaintext file, with
its null backend writing "succeeds" and keeps nothing (reliability-security.md 0, finding 12,
measured). No Secret Service is an expected case on a machine without a desktop: the message names
the file store, which must be chosen by name.

Everything here blocks, and may wait for a person to unlock: call it from a thread, with a limit.
"""

from __future__ import annotations

from typing import Any, Final

from claude_failover.errors import CredentialError

SERVICE: Final = "claude-failover"

TRUSTED: Final = frozenset(
    {
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.libsecret.Keyring",
        "keyring.backends.kwallet.DBusKeyring",
        "keyring.backends.kwallet.DBusKeyringKWallet4",
        "keyring.backends.macOS.Keyring",
        "keyring.backends.Windows.WinVaultKeyring",
    }
)
"""Classes by their full names; inside a chain too."""

FILE_HINT: Final = "claude-failover token set --store file"


class KeyringVault:
    """Keeps texts in the system's keyring.

    Args:
        backend: A backend instead of the one that the library picks.
        trusted: Class names that are accepted.
    """

    name = "keyring"

    def __init__(self, backend: Any = None, trusted: frozenset[str] = TRUSTED) -> None:
        self._backend = backend
        self._trusted = trusted
        self._checked = False

    def get(self, item: str) -> str | None:
        """What is kept under *item*.

        Raises:
            CredentialError: There is no keyring that can be used.
        """
        found = self._call("get_password", item)
        return None if found is None else str(found)

    def set(self, item: str, value: str) -> None:
        """Keep *value* under *item*, and see that it is there.

        Raises:
            CredentialError: There is no keyring that can be used, or it did not keep it.
        """
        self._call("set_password", item, value)
        if self._call("get_password", item) != value:
            raise CredentialError("the keyring did not keep what was written to it", hint=FILE_HINT)

    def delete(self, item: str) -> bool:
        """Forget *item*; whether there was one.

        Raises:
            CredentialError: There is no keyring that can be used.
        """
        if self.get(item) is None:
            return False
        self._call("delete_password", item)
        return True

    def _call(self, method: str, *arguments: str) -> Any:
        backend = self._chosen()
        try:
            return getattr(backend, method)(SERVICE, *arguments)
        except Exception as error:
            raise _said(error) from error

    def _chosen(self) -> Any:
        if not self._checked:
            found = self._backend if self._backend is not None else _pick()
            candidates = [found, *getattr(found, "backends", ())]
            for candidate in candidates:
                if _name_of(candidate) in self._trusted:
                    self._backend, self._checked = candidate, True
                    break
            else:
                raise CredentialError(_refusal(found), hint=FILE_HINT)
        return self._backend


def _pick() -> Any:
    import keyring  # noqa: PLC0415 - 75 ms and 15 MB that only those pay who keep something in it

    return keyring.get_keyring()


def _name_of(backend: Any) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _refusal(found: Any) -> str:
    name = _name_of(found)
    if name.startswith("keyring.backends.fail."):
        return "there is no keyring on this machine (no Secret Service answers)"
    return f"the keyring backend {name} does not protect what it holds"


def _said(error: Exception) -> CredentialError:
    kind = type(error).__name__
    if kind == "KeyringLocked":
        return CredentialError("the keyring is locked, and nobody unlocked it", hint=FILE_HINT)
    if kind == "InitError":
        return CredentialError("the keyring cannot be opened: it is locked, or does not answer", hint=FILE_HINT)
    if kind == "NoKeyringError":
        return CredentialError("there is no keyring on this machine (no Secret Service answers)", hint=FILE_HINT)
    return CredentialError(f"the keyring failed: {kind}", hint=FILE_HINT)
