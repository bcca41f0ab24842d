"""Fixtures of the tests with real clients."""

from __future__ import annotations

import pytest

from tests.real.clients import NEWEST, OLDER, ClaudeCode, installed
from tests.signature_hooks import signatures_are_noted, signatures_are_verified

__all__ = ["newest", "older", "signatures_are_noted", "signatures_are_verified"]


@pytest.fixture(scope="session")
def newest() -> ClaudeCode:
    """The newest Claude Code that was measured."""
    return installed(NEWEST)


@pytest.fixture(scope="session")
def older() -> ClaudeCode:
    """An older Claude Code, for what has changed."""
    return installed(OLDER)
