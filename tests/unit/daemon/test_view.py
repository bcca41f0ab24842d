"""What status is made of, worked out by hand from what each part knows."""

from __future__ import annotations

from dataclasses import replace

from claude_failover.control import status as api
from claude_failover.core.alert_rules import Severity
from claude_failover.core.conditions import Change, Notice
from claude_failover.core.gates import Gate
from claude_failover.core.models import Catalog
from claude_failover.core.policy import PolicyView
from claude_failover.core.prices import PriceTable
from claude_failover.core.refusals import Remedy
from claude_failover.core.repair import Denial
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import SpendView
from claude_failover.core.types import BackendName, Epoch, Instant, Kind, Monotonic, Reason, Seconds, Surface
from claude_failover.core.views import GateView, OverrideView
from claude_failover.credentials.view import CredentialView
from claude_failover.daemon import view
from claude_failover.daemon.history import History
from claude_failover.daemon.tables import read_table
from claude_failover.ledger import LedgerStatus

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
PRIMARY = Backend(CLAUDE, Kind.ANTHROPIC)
SECOND = Backend(BEDROCK, Kind.BEDROCK, region="us-east-1")
NOW = Instant(Epoch(10_000.0), Monotonic(10.0))
KEYS = CredentialView("env", "long-term keys", tail="0001", region="eu-west-1")
GONE = CredentialView("AWS", problem="no AWS credentials found", hint="aws configure")


def gate(backend: BackendName, model: str, state: Gate, until: float | None = None, why: str = "") -> GateView:
    reason = None if state is Gate.AVAILABLE else Reason.COOLDOWN
    end = None if until is None else Epoch(until)
    return GateView(backend, model, state, end, None, reason, why, 1, Seconds(0.0))


def policy(*gates: GateView, current: BackendName = CLAUDE, **more: object) -> PolicyView:
    blank = PolicyView(current, {}, gates, (), offline=False, conversations=0, in_flight=0, retry_tokens={})
    return replace(blank, **more)  # type: ignore[arg-type]  # the tests name real fields


def test_a_backend_shows_its_own_state_and_its_models() -> None:
    seen = policy(
        gate(CLAUDE, "*", Gate.COOLING, 10_060.0, "session limit used up"),
        gate(CLAUDE, "claude-opus-5-5", Gate.OPEN, 10_015.0, "overloaded"),
        gate(BEDROCK, "*", Gate.AVAILABLE),
    )
    shown = view.backend_status(PRIMARY, seen, History(), None, paid=False)
    assert (shown.state, shown.until, shown.why) == (api.State.COOLDOWN, 10_060.0, "session limit used up")
    assert shown.models == (api.ModelState("claude-opus-5-5", api.State.OPEN, 10_015.0, "overloaded"),)
    assert (shown.in_flight, shown.usable, shown.where) == (2, True, "https://api.anthropic.com")
    other = view.backend_status(SECOND, seen, History(), KEYS, paid=True)
    assert (other.state, other.paid, other.where) == (api.State.READY, True, "us-east-1, global")
    assert other.credential == "long-term keys …0001 from env"


def test_every_gate_has_a_word() -> None:
    words = {
        state: view.backend_status(PRIMARY, policy(gate(CLAUDE, "*", state)), History(), None, paid=False).state
        for state in Gate
    }
    assert words == {
        Gate.AVAILABLE: api.State.READY,
        Gate.READY: api.State.HALF_OPEN,
        Gate.PROBING: api.State.HALF_OPEN,
        Gate.COOLING: api.State.COOLDOWN,
        Gate.OPEN: api.State.OPEN,
        Gate.DENIED: api.State.BLOCKED,
        Gate.BLOCKED: api.State.BLOCKED,
    }


def test_who_answers_next_is_told_with_the_reason() -> None:
    settings = Settings()
    assert view.current(policy(), settings) == api.Current("claude", "primary", "")
    cooling = policy(gate(CLAUDE, "*", Gate.COOLING, 10_060.0, "session limit used up"), current=BEDROCK)
    assert view.current(cooling, settings) == api.Current(
        "bedrock", "cooldown", "claude: session limit used up", 10_060.0
    )
    dwelling = policy(gate(CLAUDE, "*", Gate.AVAILABLE), current=BEDROCK)
    assert view.current(dwelling, settings).reason == "preferred"
    moved = policy(per_model={"claude-opus-5-5": BEDROCK, "claude-haiku-5-5": CLAUDE})
    assert view.current(moved, settings) == api.Current("claude", "primary", "but claude-opus-5-5: bedrock")


def test_an_order_goes_over_everything() -> None:
    ordered = policy(overrides=(OverrideView(BEDROCK, None, Epoch(11_000.0)),))
    assert view.current(ordered, Settings()) == api.Current("bedrock", "forced", "by force-backend", 11_000.0)
    assert view.override(ordered) == api.Override("bedrock", None, 11_000.0)
    for_one = policy(overrides=(OverrideView(BEDROCK, "claude-opus-5-5", None),))
    assert view.current(for_one, Settings()).reason == "primary"
    assert view.override(policy()) is None


def test_money_is_shown_in_dollars() -> None:
    seen = SpendView("2026-11-22", Epoch(1.0), "", 1_500_000_000, 250_000_000, 1, 2_000_000_000, None, 0, 0)
    shown = view.spend(seen, 3_000_000_000)
    assert (shown.today_usd, shown.reserved_usd, shown.limit_usd, shown.alert_usd) == (1.5, 0.25, 2.0, None)
    assert (shown.notional_usd, shown.reached) == (3.0, False)
    assert view.spend(replace(seen, spent=2_000_000_000), 0).reached
    assert view.spend(None, 0) == api.Spend()


def test_a_backend_is_usable_if_a_request_could_be_tried_there() -> None:
    stored = replace(PRIMARY, credential="stored")
    assert view.is_usable(PRIMARY, None)
    assert not view.is_usable(stored, None)
    assert view.is_usable(stored, CredentialView("keyring", "login token"))
    assert not view.is_usable(SECOND, GONE)


def test_the_note_of_a_start_says_what_to_type() -> None:
    assert view.note(SECOND, GONE) == "bedrock: not usable, no AWS credentials found (aws configure)"
    assert view.note(SECOND, KEYS) == "bedrock: ready, long-term keys …0001 from env"
    looking = CredentialView("AWS", view.LOOKING)
    assert (
        view.note(SECOND, looking) == "bedrock: the AWS credentials are still being looked up (claude-failover status)"
    )
    assert view.note(replace(PRIMARY, credential="client"), None) == "claude: ready, the client's own"


def test_an_end_is_told_only_of_what_nobody_renews() -> None:
    def end(kind: str, left: float, warning: str = "", backend: Backend = SECOND) -> Epoch | None:
        seen = CredentialView("source", kind, Epoch(NOW.wall + left), warning=warning)
        return view.ends(backend, seen, NOW.wall)

    assert end("api key", 5000.0) == 15_000.0
    assert end("temporary keys", 600.0) is None
    assert end("temporary keys", 239.0) == 10_239.0
    assert end("temporary keys", 600.0, warning="refresh failed") == 10_600.0
    assert end("login token", 60.0, backend=PRIMARY) is None
    assert end("login token", 60.0, backend=replace(PRIMARY, credential="stored")) == 10_060.0
    assert view.ends(SECOND, GONE, NOW.wall) is None
    assert view.ends(SECOND, KEYS, NOW.wall) is None


def notices(*states: api.BackendStatus, views: dict[BackendName, CredentialView]) -> list[tuple[str, str, str]]:
    settings = Settings(backends=(PRIMARY, SECOND)[: len(states)])
    found = view.notices(settings, states, views, NOW)
    return [(notice.code, notice.title, notice.hint) for notice in found]


def test_what_needs_you_is_said_with_what_to_type() -> None:
    ready = api.BackendStatus("claude", "anthropic")
    missing = api.BackendStatus("bedrock", "bedrock", usable=False, credential="no AWS credentials found")
    assert notices(ready, missing, views={BEDROCK: GONE}) == [
        ("credential-missing", "bedrock: no AWS credentials found", "aws configure")
    ]
    blocked = replace(ready, state=api.State.BLOCKED, why="its certificate is not pinned")
    assert notices(blocked, views={}) == [
        (
            "backend-blocked",
            "claude is blocked: its certificate is not pinned",
            "claude-failover logs --audit; if it is mended: claude-failover reload",
        )
    ]
    fine = api.BackendStatus("bedrock", "bedrock")
    ending = replace(KEYS, kind="api key", expires=Epoch(NOW.wall + 600.0))
    assert notices(ready, fine, views={BEDROCK: ending}) == [
        ("credential-expiring", "bedrock: the credential expires in 10 min", "")
    ]
    warned = replace(KEYS, warning="others can read the file")
    assert notices(ready, fine, views={BEDROCK: warned}) == [
        ("credential-warning", "bedrock: others can read the file", "")
    ]


def test_an_alert_that_a_notice_tells_already_is_not_told_twice() -> None:
    disk = Notice("disk", Change.RAISED, Severity.WARNING, "Disk", "full", Epoch(1.0), Epoch(2.0))
    cost = Notice("spend_limit", Change.RAISED, Severity.CRITICAL, "Limit", "$1 of $1", Epoch(1.0), Epoch(2.0))
    status = LedgerStatus("ledger.db", True, "disk full", 7, 0, 1, 2, "ledger.db.damaged", 0)
    said = view.stores(status, "No space left", api.Store("daemon.log", ok=False, detail="No space left"))
    assert [notice.code for notice in said] == ["ledger-failing"] * 3 + ["state-unwritable", "log-unwritable"]
    assert said[0].title == "the ledger cannot be written (disk full); 7 rows wait in memory"
    assert view.raised((disk, cost), said) == [
        api.Notice("spend-limit", "Limit: $1 of $1", severity=api.Severity.CRITICAL)
    ]
    assert view.stores(None, "", api.Store()) == []


def test_a_line_of_models_has_the_price_of_this_backend() -> None:
    catalog, prices = Catalog.build(read_table("models"), {}), PriceTable.build(read_table("prices"))
    regional = replace(SECOND, scope="us")
    found = {entry.claude_model: entry for entry in catalog.entries(regional)}
    line = view.model_entry(found["claude-opus-5-5"], regional, prices, NOW.wall)
    # 4 and 20 USD per million tokens, and a tenth more for staying in a region.
    assert (line.upstream_id, line.source) == ("us.anthropic.claude-opus-5-5", "table")
    assert (line.input_usd_per_mtok, line.output_usd_per_mtok) == (4.4, 22.0)
    assert line.surfaces == ("messages", "invoke")


def test_a_model_that_is_not_there_says_why() -> None:
    catalog = Catalog.build(read_table("models"), {"claude-opus-5-5": "no such thing"})
    prices = PriceTable.build(read_table("prices"))
    entry = next(one for one in catalog.entries(SECOND) if one.claude_model == "claude-opus-5-5")
    line = view.model_entry(entry, SECOND, prices, NOW.wall)
    assert line.upstream_id == ""
    assert "no such thing" in line.note


def test_a_lesson_is_told_in_words() -> None:
    remedy = next(iter(Remedy))
    denial = Denial(Surface.MESSAGES, "claude-opus-5-5", remedy, "x", None, "said so", Epoch(1.0), Epoch(2.0))
    shown = view.learned(denial, BEDROCK)
    assert (shown.backend, shown.surface, shown.what, shown.until) == ("bedrock", "messages", f"{remedy.value} x", 2.0)
