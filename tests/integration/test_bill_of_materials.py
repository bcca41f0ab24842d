"""The bill of materials names what runs, and nothing that only tests."""

from __future__ import annotations

import re

from tests.bill_of_materials import bill, lock, needed


def test_the_bill_names_what_is_needed_at_run_time_and_no_tool() -> None:
    names = set(needed())
    assert {"claude-failover", "aiohttp", "botocore", "multidict", "keyring", "msgspec"} <= names
    assert not names & {"pytest", "hypothesis", "mypy", "ruff", "anthropic", "litellm", "keyrings-alt"}


def test_every_part_has_its_version_and_every_dependency_is_a_part() -> None:
    made = bill()
    assert made["metadata"]["component"]["name"] == "claude-failover"
    refs = {part["bom-ref"] for part in (*made["components"], made["metadata"]["component"])}
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9-]+@\S+", ref) for ref in refs)
    assert {ref for one in made["dependencies"] for ref in (one["ref"], *one["dependsOn"])} == refs


def test_the_lock_pins_what_was_downloaded_by_its_hash() -> None:
    wheel = {"archive_info": {"hashes": {"sha256": "ab" * 32}}}
    report = {
        "install": [
            {"download_info": wheel, "metadata": {"name": "PyYAML", "version": "6.0.3"}},
            {"download_info": {"dir_info": {}}, "metadata": {"name": "claude-failover", "version": "0.1.0"}},
        ]
    }
    assert lock(report) == f"pyyaml==6.0.3 --hash=sha256:{'ab' * 32}\n"
