"""The page of benchmarks: what is reached is computed from what was measured, and what is missing says so."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import page
from tests.benchmarks.contest import FORWARDER, HEALTHY, OVER_MESSAGES
from tests.benchmarks.measure import percentile, percentiles
from tests.benchmarks.parts import PARTS
from tests.benchmarks.results import FOLDER, kept, rounded, save
from tests.benchmarks.sustained import growth
from tests.benchmarks.targets import TARGETS, Target


def row(what: str, results: dict[str, Any]) -> list[str]:
    return next(target for target in TARGETS if target.what.startswith(what)).row(results)


def saturation(ours: float, bare: float) -> dict[str, Any]:
    return {"saturation": {FORWARDER: {"throughput": bare}, HEALTHY: {"throughput": ours, "errors": 0}}}


def test_the_page_in_the_docs_is_what_the_kept_results_say() -> None:
    assert page.DOCUMENT.read_text(encoding="utf-8") == page.text(kept())


def test_kept_results_name_neither_paths_nor_hosts() -> None:
    for path in FOLDER.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(home|root|tmp|work|Users)\b", text), path.name
        assert set(json.loads(text)) == {"machine", "disturbed", "data"}


def test_a_target_that_is_reached_says_yes() -> None:
    wanted = ["throughput, streaming, of the forwarder's", ">= 0.75x", "0.80x", "yes"]
    assert row("throughput, streaming", saturation(800.0, 1000.0)) == wanted


def test_a_target_that_is_missed_says_no() -> None:
    assert row("throughput, streaming", saturation(400.0, 1000.0))[2:] == ["0.40x", "**no**"]


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert row("throughput, streaming", {})[2:] == ["not measured", "unknown"]
    assert all(target.row({})[3] == "unknown" for target in TARGETS if not target.what.startswith("errors"))


def test_a_value_that_is_no_number_reaches_nothing() -> None:
    assert not Target("x", 1.0, "", lambda _: math.nan).reached(math.nan)
    assert not Target("x", 1.0, "", lambda _: math.nan, least=True).reached(math.nan)


def test_errors_of_all_parts_are_added_and_those_of_others_are_not() -> None:
    results = {
        "saturation": {FORWARDER: {"errors": 7}, HEALTHY: {"errors": 1}},
        "burst": {OVER_MESSAGES: {"errors": 2, "again": 3}},
        "sustained": {"errors": 4, "requests": 60_000},
    }
    assert row("errors that a client saw", results)[2:] == ["10", "**no**"]


def test_a_gateway_that_cannot_do_the_work_is_no_yardstick() -> None:
    results = {"peers": {HEALTHY: {"throughput": 900.0}, "LiteLLM": {"why": "it ended"}}}
    assert row("throughput, of LiteLLM's proxy", results)[3] == "unknown"


def test_every_part_has_its_place_on_the_page_measured_or_not() -> None:
    text = page.text({})
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Targets",
        *(part.title for part in PARTS.values()),
    ]
    assert text.count("Not measured yet") == len(PARTS)


def test_a_disturbed_measurement_is_told(tmp_path: Path) -> None:
    data = {"python -c pass": {"ms": 20.0}, "start": {"ms": 500.0}}
    save("commands", data, tmp_path, disturbed=True)
    assert "Other work was going on" in page.text(kept(tmp_path))
    save("commands", data, tmp_path)
    assert "Other work was going on" not in page.text(kept(tmp_path))


def test_growth_is_from_the_end_of_the_warm_up_to_the_end() -> None:
    curve = [(0.0, 50.0), (10.0, 70.0), *((20.0 + n, 72.0) for n in range(10)), *((30.0 + n, 73.5) for n in range(10))]
    assert growth(curve, 20.0) == 1.5


def test_growth_without_samples_is_not_a_number() -> None:
    assert math.isnan(growth([(0.0, 50.0)], 20.0))


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentiles_of_one_to_a_hundred(share: float, wanted: float) -> None:
    assert percentile(range(1, 101), share) == wanted


def test_percentiles_of_nothing_are_not_numbers() -> None:
    assert math.isnan(percentiles([])["p99"])


def test_six_digits_are_kept() -> None:
    assert rounded({"a": [0.123456789, 3], "b": "text"}) == {"a": [0.123457, 3], "b": "text"}
