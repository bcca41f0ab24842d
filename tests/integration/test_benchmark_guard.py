"""The guard against getting slower: it can fail, and noise of the machine does not make it."""

from __future__ import annotations

import math

from tests.benchmarks.guard import LIMITS, Judged, judge_cpu, judge_imports

LIMIT = {"streaming, healthy": 1.5}


def test_a_daemon_that_costs_more_than_its_limit_fails() -> None:
    judged = judge_cpu("streaming, healthy", [0.8, 0.8, 0.8], [0.5, 0.5, 0.5], LIMIT)
    assert (judged.measured, judged.good) == (1.6, False)


def test_a_daemon_at_its_limit_passes() -> None:
    judged = judge_cpu("streaming, healthy", [0.75, 0.75, 0.75], [0.5, 0.5, 0.5], LIMIT)
    assert (judged.measured, judged.good) == (1.5, True)


def test_one_disturbed_round_does_not_fail_it() -> None:
    judged = judge_cpu("streaming, healthy", [0.5, 5.0, 0.6], [0.5, 0.5, 0.5], LIMIT)
    assert (judged.measured, judged.good, judged.spread) == (1.2, True, "1.00 to 10.00")


def test_a_slow_machine_slows_both_and_is_not_blamed_on_the_daemon() -> None:
    judged = judge_cpu("streaming, healthy", [0.6, 6.0, 60.0], [0.5, 5.0, 50.0], LIMIT)
    assert judged.measured == 1.2


def test_a_measurement_that_is_no_number_fails() -> None:
    assert not Judged("CPU", math.nan, 2.0, "x").good


def test_a_heavy_import_fails_and_is_named() -> None:
    count, heavy = judge_imports("status", ["json", "aiohttp.client", "aiohttp"], {"status": 3})
    assert (count.good, heavy.good, heavy.spread) == (True, False, "aiohttp")


def test_one_module_too_many_fails() -> None:
    count, _ = judge_imports("status", ["json", "re", "os", "sys"], {"status": 3})
    assert not count.good


def test_the_status_line_may_not_load_what_draws_tables() -> None:
    _, heavy = judge_imports("statusline", ["rich.table", "typer", "json"], {"statusline": 9})
    assert (heavy.good, heavy.spread) == (False, "rich, typer")
    _, heavy = judge_imports("status", ["rich.table", "json"], {"status": 9})
    assert heavy.good


def test_streaming_or_not_and_healthy_or_not_are_all_guarded() -> None:
    assert {name.partition(", ")[2] for name in LIMITS} == {"healthy", "failing over"}
    assert {name.partition(", ")[0] for name in LIMITS} == {"streaming", "not streaming"}
