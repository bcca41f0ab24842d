"""Fixtures of the tests with real clients."""

from __future__ import annotations

import os

import pytest

from tests.real.clients import NEWEST, OLDER, ClaudeCode, installed
from tests.real.user_manager import may_run_one
from tests.signature_hooks import pytest_report_header, signatures_are_noted, signatures_are_verified

# In CI a machine that cannot do this is a failure; elsewhere it may be somebody's laptop.
collect_ignore = [] if may_run_one() or os.environ.get("CI") else ["test_service.py"]

__all__ = ["newest", "older", "pytest_report_header", "signatures_are_noted", "signatures_are_verified"]


@pytest.fixture(scope="session")
def newest() -> ClaudeCode:
    """The newest Claude Code that was measured."""
    return installed(NEWEST)


@pytest.fixture(scope="session")
def older() -> ClaudeCode:
    """An older Claude Code, for what has changed."""
    return installed(OLDER)
