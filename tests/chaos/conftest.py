"""Whatever fails here says with which seed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.chaos.laboratory import SEED
from tests.signature_hooks import pytest_report_header, signatures_are_noted, signatures_are_verified

__all__ = ["pytest_report_header", "pytest_runtest_makereport", "signatures_are_noted", "signatures_are_verified"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the seed to a failure."""
    report = yield
    if report.failed:
        report.sections.append(("seed", f"SEED={SEED} make chaos"))
    return report
