"""Every integration test is a leak test, and what it signs is signed once more by others."""

from __future__ import annotations

from tests.leak_hooks import leaks_are_searched_for, pytest_runtest_makereport
from tests.signature_hooks import pytest_report_header, signatures_are_noted, signatures_are_verified

__all__ = [
    "leaks_are_searched_for",
    "pytest_report_header",
    "pytest_runtest_makereport",
    "signatures_are_noted",
    "signatures_are_verified",
]
