"""Every integration test is a leak test."""

from __future__ import annotations

from tests.leak_hooks import leaks_are_searched_for, pytest_runtest_makereport

__all__ = ["leaks_are_searched_for", "pytest_runtest_makereport"]
