"""What doctor says about Bedrock's quotas, from what we know without asking AWS."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from claude_failover.cli.diagnosis import Finding, Level, Patient
from claude_failover.cli.doctor_quota import asked, check, console, quota_name, reserved, where
from claude_failover.cli.invocation import Invocation
from claude_failover.clock import FakeClock
from claude_failover.control.status import BackendStatus, ModelState, State
from claude_failover.core.models import Catalog, Target
from claude_failover.core.settings import Backend
from claude_failover.core.types import AttemptRecord, Epoch, Kind, Outcome, Usage
from claude_failover.daemon.tables import read_table
from tests.control_fakes import sample_status
from tests.ledger_records import AT_BEDROCK, BEDROCK, NOON, open_ledger

REGION = "us-east-1"
CATALOG = Catalog.build(read_table("models"), {})
SHAPES = Path(__file__).parents[2] / "real" / "shapes.json"


def backend(**more: object) -> Backend:
    return replace(Backend(BEDROCK, Kind.BEDROCK, region=REGION), **more)  # type: ignore[arg-type]  # tests name fields


def target(model: str, at: Backend | None = None) -> Target:
    found = CATALOG.resolve(model, at or backend())
    assert isinstance(found, Target)
    return found


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path / "cf"))
    return Patient(Invocation(clock=FakeClock(wall=NOON + 3600)), {}, tmp_path, tmp_path)


def throttled(number: int, **more: object) -> AttemptRecord:
    record = structs.replace(
        AT_BEDROCK, exchange=f"cfr_t{number}", outcome=Outcome.THROTTLED, usage=Usage(), cost_nusd=0,
        list_cost_nusd=0, committed=False, detail="ThrottlingException: Too many tokens, please wait",
    )  # fmt: skip
    return structs.replace(record, **more)


def remember(patient: Patient, *records: AttemptRecord) -> None:
    path = patient.invocation.paths.ledger
    path.parent.mkdir(parents=True)
    ledger = open_ledger(path)
    for record in records:
        ledger.record(record)
    assert ledger.close() == 0


def told(patient: Patient, at: Backend, *models: str) -> list[Finding]:
    found = check(patient, at, REGION, [target(model, at) for model in models])
    assert {one.check for one in found} == {"aws.quota"}
    return found


# --- what a request takes


def test_what_claude_code_asks_for_is_what_the_real_one_was_seen_to_ask_for() -> None:
    seen = {
        (request["model"], request["max_tokens"])
        for requests in json.loads(SHAPES.read_text("utf-8"))["situations"].values()
        for request in requests
        if request["max_tokens"] > 1
    }
    assert {(model, asked(target(model))) for model, _ in seen} == seen
    assert {tokens for _, tokens in seen} == {32_000, 64_000, 128_000}


def test_a_model_without_a_number_is_taken_for_a_new_one() -> None:
    assert asked(target("claude-mythos-preview")) == 128_000


@pytest.mark.parametrize(
    ("model", "cap", "tokens"),
    [
        ("claude-opus-5-5", None, 128_000),
        ("claude-opus-5-5", 8_000, 8_000),
        ("claude-opus-4-8", None, 64_000),
        ("claude-haiku-4-5", 48_000, 32_000),
    ],
)
def test_a_request_reserves_what_is_asked_for_unless_it_is_lowered(model: str, cap: int | None, tokens: int) -> None:
    assert reserved(target(model), backend(max_output_tokens=cap)) == tokens


def test_every_mapped_model_is_named_with_what_a_request_for_it_reserves(patient: Patient) -> None:
    (found,) = told(patient, backend(), "claude-opus-5-5", "claude-haiku-4-5", "claude-sonnet-5-5", "claude-opus-4-8")
    assert found.level is Level.NOTE
    assert found.title.splitlines()[2:] == [
        "128,000 for opus-5-5, sonnet-5-5",
        "64,000 for opus-4-8",
        "32,000 for haiku-4-5-20251001",
    ]
    assert found.fix.startswith("max_output_tokens: 32000 at the backend in config.yaml")
    assert found.fix.endswith("https://us-east-1.console.aws.amazon.com/servicequotas/home/services/bedrock/quotas")


def test_what_is_lowered_is_good(patient: Patient) -> None:
    (found,) = told(patient, backend(max_output_tokens=8_000), "claude-opus-5-5", "claude-haiku-4-5")
    assert found.level is Level.GOOD
    assert found.title.startswith("bedrock: max_tokens is lowered to 8,000; ")
    assert found.title.endswith("\n8,000 for opus-5-5, haiku-4-5-20251001")


def test_answers_as_long_as_the_cap_may_have_been_cut_by_it(patient: Patient) -> None:
    remember(patient, structs.replace(AT_BEDROCK, usage=Usage(input=1, output=8_000)))
    (found,) = told(patient, backend(max_output_tokens=8_000), "claude-opus-5-5")
    assert found.level is Level.NOTE
    assert "answers of claude-opus-5-5 were that long in the last 24 hours" in found.title
    (longer,) = told(patient, backend(max_output_tokens=8_001), "claude-opus-5-5")
    assert longer.level is Level.GOOD


# --- what was throttled


def test_what_was_throttled_is_counted_and_what_would_have_been_enough_is_said(patient: Patient) -> None:
    answered = [
        structs.replace(AT_BEDROCK, exchange=f"cfr_a{number}", usage=Usage(input=1, output=number * 1000))
        for number in (3, 9)
    ]
    remember(patient, *answered, throttled(1), throttled(2), throttled(3))
    _, found = told(patient, backend(), "claude-opus-5-5")
    assert found.level is Level.WARNING
    assert found.title == (
        "bedrock: 3 of the last 5 requests for claude-opus-5-5 were throttled (24 hours)\n"
        "each reserved 128,000 tokens of output; the longest answer had 9,000"
    )
    assert found.fix == (
        "max_output_tokens: 32000 at bedrock in config.yaml; or ask for more\n"
        'Service Quotas, Amazon Bedrock, us-east-1: "Global cross-region model inference tokens per minute for '
        'Anthropic Claude Opus 5.5 …"\n'
        "https://us-east-1.console.aws.amazon.com/servicequotas/home/services/bedrock/quotas"
    )


@pytest.mark.parametrize(
    ("longest", "cap", "advice"),
    [
        (32_000, None, "max_output_tokens: 32000"),
        (32_001, None, "max_output_tokens: 64000"),
        (64_001, None, "Service Quotas"),
        (100, 32_000, "Service Quotas"),
    ],
)
def test_a_cap_is_advised_only_if_it_lowers_something_and_would_have_cut_nothing(
    patient: Patient, longest: int, cap: int | None, advice: str
) -> None:
    remember(patient, structs.replace(AT_BEDROCK, usage=Usage(output=longest)), throttled(1))
    found = told(patient, backend(max_output_tokens=cap), "claude-opus-5-5")[-1]
    assert found.level is Level.WARNING
    assert found.fix.startswith(advice)


def test_a_quota_of_a_day_is_told_apart(patient: Patient) -> None:
    per_day = "ThrottlingException: Too many tokens per day, please wait before trying again."
    remember(patient, throttled(1, detail=per_day), throttled(2))
    _, found = told(patient, backend(), "claude-opus-5-5")
    assert "2 of the last 2 requests for claude-opus-5-5 were throttled (24 hours), 1 of them by a quota per day" in (
        found.title
    )
    assert '"tokens per day" may be 0' in found.fix


def test_only_the_last_day_and_the_own_backend_count(patient: Patient) -> None:
    remember(patient, throttled(1, started=Epoch(NOON - 86_400)), throttled(2, backend="bedrock-eu"))
    assert [one.level for one in told(patient, backend(), "claude-opus-5-5")] == [Level.NOTE]


def test_a_model_that_is_mapped_no_more_is_still_counted(patient: Patient) -> None:
    remember(patient, throttled(1, model="claude-opus-3"))
    found = told(patient, backend(), "claude-opus-5-5")[-1]
    assert found.title == "bedrock: 1 of the last 1 requests for claude-opus-3 were throttled (24 hours)"
    assert found.fix == "Service Quotas, Amazon Bedrock, us-east-1"


def test_a_ledger_that_cannot_be_read_is_said_and_the_rest_is_told_all_the_same(patient: Patient) -> None:
    path = patient.invocation.paths.ledger
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough for one to look at" * 10)
    broken, reservation = told(patient, backend(), "claude-opus-5-5")
    assert broken.level is Level.NOTE
    assert broken.title.startswith("bedrock: what was throttled of late is not known: ")
    assert "128,000 for opus-5-5" in reservation.title


def test_what_the_daemon_still_waits_for_is_said_with_its_reason(patient: Patient) -> None:
    now = patient.invocation.clock.now().wall
    waiting = (
        ModelState("claude-opus-5-5", State.COOLDOWN, now + 42, "Too many tokens"),
        ModelState("claude-fable-5-2", State.COOLDOWN, now + 60),
        ModelState("claude-sonnet-5-5", State.COOLDOWN, now - 1, "over"),
        ModelState("claude-haiku-5-5", State.OPEN, now + 10, "failing"),
    )
    claude = BackendStatus("claude", "anthropic", models=(ModelState("claude-opus-5-5", State.COOLDOWN, now + 9),))
    patient.status = sample_status(backends=(claude, BackendStatus("bedrock", "bedrock", models=waiting)))
    assert [one.title for one in told(patient, backend(), "claude-opus-5-5")][1:] == [
        "bedrock: the daemon sends none of claude-opus-5-5 for another 42 s: Too many tokens",
        "bedrock: the daemon sends none of claude-fable-5-2 for another 1 min",
    ]


# --- where to look

TOKENS = "model inference tokens per minute for Anthropic"


@pytest.mark.parametrize(
    ("model", "more", "name"),
    [
        ("claude-opus-4-8", {}, f"Global cross-region {TOKENS} Claude Opus 4.8"),
        ("claude-opus-5", {"scope": "us"}, f"Cross-region {TOKENS} Claude Opus 5"),
        ("claude-sonnet-5-5", {"scope": "none"}, f"On-demand {TOKENS} Claude Sonnet 5.5"),
        ("claude-haiku-4-5", {}, f"Global cross-region {TOKENS} Claude Haiku 4.5"),
        ("claude-mythos-preview", {}, f"Global cross-region {TOKENS} claude-mythos-preview"),
        ("claude-opus-5-5", {"surface": "mantle"}, "Bedrock Mantle input tokens per minute for Claude Opus 5.5"),
    ],
)
def test_a_quota_is_named_as_aws_names_it(model: str, more: dict[str, object], name: str) -> None:
    at = backend(**more)
    assert quota_name(target(model, at), at) == name


def test_the_quota_of_an_application_profile_is_that_of_the_profile_it_was_made_from() -> None:
    arn = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc"
    own = replace(target("claude-opus-5-5"), bedrock_id=arn)
    assert quota_name(own, backend()) == f"{TOKENS} Claude Opus 5.5"


@pytest.mark.parametrize(
    ("region", "address"),
    [
        ("eu-central-1", "https://eu-central-1.console.aws.amazon.com/servicequotas/home/services/bedrock/quotas"),
        ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/servicequotas/home/services/bedrock/quotas"),
        ("eusc-de-east-1", ""),
    ],
)  # fmt: skip
def test_the_console_is_that_of_the_region(region: str, address: str) -> None:
    assert console(region) == address
    told = where(target("claude-opus-5-5"), backend(), region)
    assert told.splitlines()[1:] == ([address] if address else [])
