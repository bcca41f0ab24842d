"""How findings are told, to people and to programs."""

from __future__ import annotations

import json

from claude_failover.cli.diagnosis import (
    SECTIONS,
    exit_code,
    failed,
    good,
    note,
    render_end,
    render_json,
    render_section,
    warning,
)

GOOD = good("files.state", "private")
NOTE = note("claude.shell", "goes direct", "claude-failover run")
WARNING = warning("files.disk", "little room\nfor the ledger", "df -h\nrm -i OLD")
FAILED = failed("aws.region", "none", "export AWS_REGION=us-east-1")


def test_a_section_is_a_heading_and_its_findings_with_what_to_type() -> None:
    assert render_section("files", [GOOD, WARNING]) == (
        "Files\n"
        "  ok    private\n"
        "  warn  little room\n"
        "        for the ledger\n"
        "        fix: df -h\n"
        "             rm -i OLD"
    )


def test_colour_marks_only_the_mark() -> None:
    assert render_section("aws", [FAILED], colour=True).splitlines()[1] == "  \x1b[31mFAIL\x1b[0m  none"


def test_only_a_failure_fails() -> None:
    assert exit_code([GOOD, NOTE, WARNING]) == 0
    assert exit_code([GOOD, FAILED]) == 1


def test_the_end_counts_what_needs_somebody() -> None:
    assert render_end([GOOD, NOTE]) == "All is well."
    assert render_end([WARNING]) == "1 warning."
    assert render_end([FAILED, FAILED, WARNING]) == "2 failures, 1 warning."


def test_programs_get_everything_and_a_version() -> None:
    tree = json.loads(render_json([GOOD, FAILED], online=True))
    assert (tree["schema_version"], tree["good"], tree["online"]) == (1, False, True)
    assert tree["findings"][1] == {
        "section": "aws",
        "check": "aws.region",
        "level": "failed",
        "title": "none",
        "fix": "export AWS_REGION=us-east-1",
    }


def test_every_finding_belongs_to_a_section() -> None:
    assert {one.section for one in (GOOD, NOTE, WARNING, FAILED)} <= set(SECTIONS)
