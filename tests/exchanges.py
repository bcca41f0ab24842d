"""Exchanges for tests: the real policy, catalogue and prices around one, a clock, and a watcher that knows the law.

Every command that an exchange gives in a test passes :meth:`Story.feed`, which fails the test at the first one that
breaks a rule: a body before its head, a second backend after the commit, an attempt that nobody wrote down.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from claude_failover.clock import FakeClock
from claude_failover.core import request as requests
from claude_failover.core.attempt import Attempt
from claude_failover.core.commands import (
    Abort,
    Announce,
    AttemptEnded,
    BodyReceived,
    ClientGone,
    ClientRequest,
    CloseAttempt,
    Command,
    Conclude,
    Event,
    Failure,
    Finish,
    HeadReceived,
    OpenAttempt,
    Record,
    SendBody,
    SendHead,
    Start,
    Translated,
    UpstreamRequest,
    Wakeup,
)
from claude_failover.core.counsel import Counsel
from claude_failover.core.decision import Decision, Go, Permit, RequestFacts, Try
from claude_failover.core.exchange import Exchange
from claude_failover.core.models import Catalog, Target
from claude_failover.core.policy import Policy
from claude_failover.core.prices import PriceTable
from claude_failover.core.repair import Denials
from claude_failover.core.reply import PING
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.spend import DayWindow, SpendBudget
from claude_failover.core.types import (
    AttemptRecord,
    BackendName,
    Epoch,
    ExchangeRecord,
    Headers,
    Instant,
    Kind,
    Reason,
    Seconds,
    Surface,
    Transition,
    Verdict,
)
from claude_failover.daemon.tables import read_table

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
MODEL: Final = "claude-opus-5-5"
OWN_LOGIN: Final[Headers] = (("authorization", "Bearer made-up-and-worth-nothing"),)
SSE: Final[Headers] = (("content-type", "text/event-stream; charset=utf-8"),)
JSON: Final[Headers] = (("content-type", "application/json"),)

PRICES: Final = PriceTable.build(read_table("prices"))
CATALOG: Final = Catalog.build(read_table("models"), {})


def event(name: str, **fields: Any) -> bytes:
    """A server-sent event as the Claude API writes it."""
    data = json.dumps({"type": name} | fields, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode()


def start(model: str = MODEL, tokens: int = 10) -> bytes:
    usage = {"input_tokens": tokens, "output_tokens": 1}
    return event("message_start", message={"id": "msg_1", "role": "assistant", "model": model, "usage": usage})


def delta(text: str = "Hello") -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


START: Final = start()
BLOCK: Final = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA: Final = delta()
BLOCK_END: Final = event("content_block_stop", index=0)
MESSAGE_DELTA: Final = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 20})
STOP: Final = event("message_stop")
ANSWER: Final = START + BLOCK + DELTA + BLOCK_END + MESSAGE_DELTA + STOP
OVERLOADED: Final = event("error", error={"type": "overloaded_error", "message": "Overloaded"})

WHOLE: Final = json.dumps(
    {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hello"}],
        "usage": {"input_tokens": 10, "output_tokens": 20},
    }
).encode()


def error(kind: str = "overloaded_error", message: str = "Overloaded") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


def plan_limit(now: Instant, seconds: float = 3600.0) -> Headers:
    """The head of a subscription's 429."""
    resets = str(int(now.wall + seconds))
    return (
        *JSON,
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
        ("anthropic-ratelimit-unified-5h-status", "rejected"),
        ("anthropic-ratelimit-unified-5h-reset", resets),
        ("anthropic-ratelimit-unified-reset", resets),
        ("retry-after", str(int(seconds))),
        ("request-id", "req_limit"),
    )


class Low(random.Random):
    """Dice that always show the least: retries after 0.75 s and 0.3 s."""

    def uniform(self, a: float, b: float) -> float:
        del b
        return a


def day(_: Epoch) -> DayWindow:
    return DayWindow("2026-11-18", Epoch(1_795_040_000.0))


class WatchedPolicy(Policy):
    """The policy, counting what becomes of its permits."""

    def __init__(self, settings: Settings, rng: random.Random, spend: SpendBudget | None) -> None:
        super().__init__(settings, rng, spend)
        self.given: list[Permit] = []
        self.observed: Counter[int] = Counter()
        self.settled: Counter[int] = Counter()

    def choose(self, facts: RequestFacts, tries: Sequence[Try], now: Instant) -> Decision:
        decision = super().choose(facts, tries, now)
        if isinstance(decision, Go):
            self.given.append(decision.permit)
        return decision

    def observe(self, permit: Permit, verdict: Verdict, now: Instant) -> list[Transition]:
        self.observed[permit.id] += 1
        return super().observe(permit, verdict, now)

    def settle(self, permit: Permit, cost_nusd: int, now: Instant) -> list[Transition]:
        self.settled[permit.id] += 1
        return super().settle(permit, cost_nusd, now)

    def all_came_back(self) -> bool:
        """Every permit was observed and settled exactly once."""
        once = Counter(permit.id for permit in self.given)
        return once == self.observed == self.settled and set(once.values()) <= {1}


class World:
    """What outlives a request: clock, policy, money, what was learned and remembered."""

    def __init__(self, settings: Settings | None = None, limit: int | None = None) -> None:
        self.clock = FakeClock()
        self.settings = settings or Settings()
        self.spend = SpendBudget(limit, None, day)
        self.policy = WatchedPolicy(self.settings, Low(), self.spend)
        self.counsel = Counsel(self.settings, self.policy, CATALOG, Denials(), PRICES)
        self.count = 0

    def body(self, *, stream: bool = True, model: str = MODEL, **more: Any) -> bytes:
        message = {"role": "user", "content": "Hello"}
        return json.dumps({"model": model, "max_tokens": 1024, "stream": stream, "messages": [message]} | more).encode()

    def story(
        self,
        *,
        headers: Headers = OWN_LOGIN,
        body: bytes | None = None,
        paid: Mapping[BackendName, bool] | None = None,
        **fields: Any,
    ) -> Story:
        """A new request, not started."""
        self.count += 1
        made = self.body(**fields) if body is None else body
        client = ClientRequest(f"cfr_{self.count}", "/v1/messages?beta=true", headers, made)
        kinds = {backend.name: backend.kind is Kind.BEDROCK for backend in self.settings.backends}
        return Story(self, client, kinds if paid is None else paid)

    def limit_primary(self, seconds: float = 3600.0) -> None:
        """The plan's limit strikes; that request is rescued."""
        story = self.story()
        story.start()
        story.head(429, plan_limit(self.clock.now(), seconds))
        story.body(error("rate_limit_error", "limit"))
        story.end()
        assert story.open is not None
        assert story.open.backend == BEDROCK
        story.answer()


class Story:
    """One exchange, what it has said so far, and the law that it must keep."""

    def __init__(self, world: World, client: ClientRequest, paid: Mapping[BackendName, bool]) -> None:
        self.world = world
        self.client = client
        self.exchange = Exchange(client, requests.peek(client), world.counsel, paid)
        self.commands: list[Command] = []
        self.opened: list[OpenAttempt] = []
        self.records: list[AttemptRecord] = []
        self.head_sent: SendHead | None = None
        self.sent: list[bytes] = []
        self.conclusion: ExchangeRecord | None = None
        self.gone = False
        self.last_sent = world.clock.monotonic
        self._closed: set[int] = set()
        self._ended: set[int] = set()

    # --- what happens ---

    def feed(self, what: Event) -> list[Command]:
        """Let something happen; every command is checked against the law."""
        if isinstance(what, AttemptEnded):
            self._ended.add(what.attempt)
        if isinstance(what, ClientGone):
            self.gone = True
        whole = self.exchange.whole
        commands = list(self.exchange.handle(what, self.world.clock.now()))
        for command in commands:
            self._check(command)
        if whole and self.conclusion is not None and not self.gone:
            told = [command for command in commands if isinstance(command, SendHead | SendBody | Finish | Abort)]
            assert told == [Finish()], "a shell that gives a whole answer its end has said all that is to be said"
        return commands

    def start(self) -> list[Command]:
        return self.feed(Start())

    @property
    def index(self) -> int:
        return self.opened[-1].attempt

    def head(self, status: int = 200, headers: Headers = SSE) -> list[Command]:
        return self.feed(HeadReceived(self.index, status, headers))

    def body(self, data: bytes) -> list[Command]:
        return self.feed(BodyReceived(self.index, data))

    def end(self, failure: Failure | None = None, detail: str = "") -> list[Command]:
        return self.feed(AttemptEnded(self.index, failure, detail))

    def gone_away(self) -> list[Command]:
        return self.feed(ClientGone())

    def wake(self) -> list[Command]:
        """Let time pass until the exchange wants to be woken."""
        deadline = self.exchange.deadline
        assert deadline is not None
        self.world.clock.advance(max(0.0, deadline - self.world.clock.monotonic))
        return self.feed(Wakeup())

    def wake_until_open(self) -> OpenAttempt:
        """Let time pass until another attempt is opened."""
        before = len(self.opened)
        for _ in range(20):
            if len(self.opened) > before:
                return self.opened[-1]
            self.wake()
        raise AssertionError("no further attempt was opened")

    def answer(self, data: bytes = ANSWER, headers: Headers = SSE) -> None:
        """The open attempt answers."""
        self.head(200, headers)
        self.body(data)
        self.end()

    def refuse(self, status: int, body: bytes | None = None, headers: Headers = JSON) -> list[Command]:
        """The open attempt answers with an error."""
        self.head(status, headers)
        self.body(error() if body is None else body)
        return self.end()

    # --- what is known ---

    @property
    def open(self) -> OpenAttempt | None:
        """The attempt under way."""
        done = {record.attempt for record in self.records}
        return next((command for command in self.opened if command.attempt not in done), None)

    @property
    def status(self) -> int | None:
        return self.head_sent.status if self.head_sent is not None else None

    @property
    def bytes_sent(self) -> bytes:
        return b"".join(self.sent)

    @property
    def kinds(self) -> list[str]:
        return [type(command).__name__ for command in self.commands]

    @property
    def told(self) -> dict[str, Any]:
        """The error that the client got."""
        whole = self.bytes_sent
        found = json.loads(whole if whole.startswith(b"{") else whole.split(b"data: ")[-1])
        assert isinstance(found, dict)
        return found

    def header(self, name: str) -> str | None:
        assert self.head_sent is not None
        return next((value for key, value in self.head_sent.headers if key.lower() == name), None)

    def steps(self) -> list[tuple[str, str]]:
        assert self.conclusion is not None
        return [(step.what, step.backend) for step in self.conclusion.steps]

    # --- the law ---

    def _check(self, command: Command) -> None:
        assert self.conclusion is None, f"{command} after the conclusion"
        ended = any(isinstance(one, Finish | Abort) for one in self.commands)
        match command:
            case OpenAttempt():
                assert self.open is None, "two attempts at once"
                assert command.attempt == len(self.opened)
                assert not self.exchange.committed, "another backend after the commit"
                assert not ended
                self.opened.append(command)
            case CloseAttempt(attempt=index):
                assert index not in self._closed | self._ended, "closed twice"
                assert index == self.index
                self._closed.add(index)
            case SendHead():
                assert self.head_sent is None, "two heads"
                self.head_sent = command
            case SendBody(data=data):
                assert self.head_sent is not None, "a body before its head"
                assert not ended, "a body after the end"
                assert data, "an empty body"
                self.sent.append(data)
                self.last_sent = self.world.clock.monotonic
            case Finish() | Abort():
                assert self.head_sent is not None, "an end without a head"
                assert not ended, "two ends"
            case Record(record=record):
                assert record.attempt == len(self.records), "a record out of order"
                assert record.attempt < len(self.opened), "a record of an attempt that was not opened"
                self.records.append(record)
            case Announce():
                pass
            case Conclude(record=conclusion):
                self.conclusion = conclusion
                self._check_the_end(conclusion, ended=ended)
        self.commands.append(command)

    def _check_the_end(self, conclusion: ExchangeRecord, *, ended: bool) -> None:
        assert ended or self.gone, "neither finished nor aborted"
        assert len(self.records) == len(self.opened), "an attempt was not recorded"
        assert conclusion.attempts == tuple(self.records)
        assert {record.attempt for record in self.records} <= self._closed | self._ended, "an attempt was left open"
        assert self.exchange.deadline is None
        assert self.exchange.request is None, "the body is still held"
        assert self.world.policy.all_came_back(), "a permit was lost"
        assert conclusion.duration >= Seconds(0.0)
        assert conclusion.overhead >= Seconds(0.0)

    def without_pings(self) -> bytes:
        """What the client got but for our own pings."""
        return b"".join(data for data in self.sent if data != PING)


def an_attempt(
    backend: Backend | None = None, *, translated: Translated | None = None, stored: bool = False
) -> Attempt:
    """One attempt, opened at 1000 on the monotonic clock, for tests of what reads it."""
    now = FakeClock().now()
    where = backend or Settings().backends[0]
    permit = Permit(1, where.name, MODEL, "opus", "cfr_1", None, False, (), None, now)
    request = UpstreamRequest("POST", "/v1/messages", (), b"{}")
    bedrock = where.kind is Kind.BEDROCK
    target = CATALOG.resolve(MODEL, where) if bedrock else None
    return Attempt(
        0,
        where,
        MODEL,
        translated.upstream_model if translated is not None else MODEL,
        Reason.PRIMARY,
        permit,
        now,
        OpenAttempt(0, where.name, where.kind, request),
        stored=stored,
        surface=Surface.MESSAGES if bedrock else None,
        translated=translated,
        target=target if isinstance(target, Target) else None,
        heard=now.monotonic,
    )
