"""A simulated Claude API: strict about what a client must send, honest about what it served.

Routes: ``POST /v1/messages`` (any query), ``POST /v1/messages/count_tokens``, ``HEAD`` and ``GET /api/hello``,
``GET /v1/models``. A request that breaks a rule is refused in the real API's words and uses up no step of
the script; everything else gets what :attr:`SimulatedClaude.script` deals.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from claude_failover.clock import Clock
from claude_failover.core.types import Headers
from claude_failover.drill import claude_rules
from claude_failover.drill.claude_faults import Plan, classic
from claude_failover.drill.claude_rules import Caller
from claude_failover.drill.messages import Identity, PromptCache, message, parts, sse
from claude_failover.drill.playback import Part, Reply
from claude_failover.drill.script import Answer, Drop, Garbage, Refusal, Script, Seen, Step
from claude_failover.drill.server import SimulatedServer

OAUTH_TOKEN = "sk-ant-oat01-simulated-and-worth-nothing"  # noqa: S105 - made up, for loopback only
API_KEY = "sk-ant-api03-simulated-and-worth-nothing"
"""What the simulator accepts unless it is told otherwise."""

MODELS = (
    "claude-fable-5-2", "claude-fable-5-1", "claude-fable-5", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8",
    "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5-20251101", "claude-sonnet-5-5", "claude-sonnet-5",
    "claude-sonnet-4-6", "claude-sonnet-4-5-20250929", "claude-haiku-5-5", "claude-haiku-4-5-20251001",
    "claude-mythos-5-2",
)  # fmt: skip
"""wire/claude.md 5."""

ALIASES = {
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}


class SimulatedClaude(SimulatedServer):
    """``async with SimulatedClaude() as claude: …`` then point a backend's ``base_url`` at ``claude.url``."""

    name = "claude"
    max_message_bytes = 32 << 20
    """Larger bodies are refused by the edge (wire/claude.md 3.1)."""

    def __init__(
        self,
        *steps: Step,
        clock: Clock | None = None,
        strict: bool = True,
        tokens: tuple[str, ...] = (OAUTH_TOKEN,),
        keys: tuple[str, ...] = (API_KEY,),
    ) -> None:
        super().__init__(clock)
        self.script = Script(*steps)
        self.count_script: Script | None = None
        """Steps for ``count_tokens``; ``None`` = it counts."""
        self.strict = strict
        """Whether bodies are checked; credentials always are."""
        self.tokens = set(tokens)
        """Bearer tokens that are accepted, as a subscription's."""
        self.keys = set(keys)
        """API keys that are accepted."""
        self.plan = Plan()
        """What 200s say about the subscription."""
        self.remaining = 40_000
        """What 200s say about the API key's tokens."""
        self._cache = PromptCache()
        self._answers = 0

    async def answer(self, request: Seen) -> Reply | Drop | Garbage:
        """Check, then do what the script says."""
        self.violations += claude_rules.leaks(request)
        if request.path == "/api/hello" and request.method in ("HEAD", "GET"):
            return Reply(200, (), (Part(b'{"message":"hello"}'),))
        caller = claude_rules.caller(request, self.tokens, self.keys)
        if isinstance(caller, Refusal):
            return self._refuse(caller, request)
        if request.method == "GET" and request.path == "/v1/models":
            return self._json(200, self._models(), request)
        if request.method != "POST" or request.path not in ("/v1/messages", "/v1/messages/count_tokens"):
            return self._refuse(Refusal(404, "not_found_error", "Not found"), request)
        return self._messages(request, caller, counting=request.path.endswith("/count_tokens"))

    def _messages(self, request: Seen, caller: Caller, *, counting: bool) -> Reply | Drop | Garbage:
        body = claude_rules.parse(request, self.max_message_bytes)
        if isinstance(body, Refusal):
            return self._refuse(body, request)
        if self.strict and (problem := claude_rules.check(request, body, caller, self._known, counting=counting)):
            return self._refuse(problem, request)
        script = self.count_script if counting else self.script
        step: Step = Answer() if script is None else script.deal(request)
        match step:
            case Drop() | Garbage():
                return step
            case Refusal():
                return self._refuse(step, request)
            case Answer() if counting:
                tokens = self._cache.usage(request.body, {}).prompt
                return replace(self._json(200, {"input_tokens": tokens}, request, step.headers), wire=step.wire)
            case Answer():
                return self._answered(step, request, body, caller)

    def _known(self, model: str) -> bool:
        return model in MODELS or model in ALIASES

    def _answered(self, answer: Answer, request: Seen, body: dict[str, Any], caller: Caller) -> Reply:
        self._answers += 1
        model = str(body.get("model", ""))
        identity = Identity(
            f"msg_01Sim{self._answers:017d}", "toolu_", ALIASES.get(model, model),
            f"Simulated Claude, answer {self._answers}.", pings=True,
        )  # fmt: skip
        prompt = self._cache.usage(request.body, body)
        headers = (*self._standing(request), *self._limits(caller), *answer.headers)
        if body.get("stream") is True:
            stream = parts(answer, identity, prompt, sse)
            return Reply(200, (("cache-control", "no-cache"), *headers), stream, answer.wire, stream=True,
                         content_type="text/event-stream; charset=utf-8")  # fmt: skip
        if answer.error is not None:
            # Without a stream there is no "inside a 200": the same trouble is a status.
            status = {"overloaded_error": 529, "rate_limit_error": 429, "invalid_request_error": 400}
            code = status.get(answer.error.error_type, 500)
            return self._refuse(Refusal(code, answer.error.error_type, answer.error.message, wire=answer.wire), request)
        whole, usage = message(answer, identity, prompt)
        data = json.dumps(whole, ensure_ascii=False).encode()
        return Reply(200, headers, (Part(data, "message_stop", usage=usage, last=True),), answer.wire)

    # --- shapes ---

    def _standing(self, request: Seen) -> Headers:
        return (
            ("request-id", f"req_01Sim{request.number:017d}"),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        )

    def _limits(self, caller: Caller) -> Headers:
        now = self.clock.now().wall
        return self.plan.headers(now) if caller is Caller.SUBSCRIPTION else classic(now, remaining=self.remaining)

    def _json(self, status: int, body: dict[str, Any], request: Seen, headers: Headers = ()) -> Reply:
        data = json.dumps(body, ensure_ascii=False).encode()
        return Reply(status, (*self._standing(request), *headers), (Part(data, "body"),))

    def _refuse(self, refusal: Refusal, request: Seen) -> Reply:
        now = self.clock.now().wall
        headers = (*refusal.headers, *(refusal.headers_at(now) if refusal.headers_at else ()))
        if refusal.body is not None:
            edge = (("server", "cloudflare"), *headers)
            return Reply(refusal.status, edge, (Part(refusal.body, "body"),), refusal.wire,
                         content_type=refusal.content_type)  # fmt: skip
        error: dict[str, Any] = {"type": refusal.error_type, "message": refusal.message}
        if refusal.details is not None:
            error["details"] = dict(refusal.details)
        request_id = f"req_01Sim{request.number:017d}"
        reply = self._json(
            refusal.status, {"type": "error", "error": error, "request_id": request_id}, request, headers
        )
        return replace(reply, wire=refusal.wire)

    @staticmethod
    def _models() -> dict[str, Any]:
        data = [
            {
                "type": "model",
                "id": name,
                "display_name": name.replace("-", " ").title(),
                "created_at": "2026-01-01T00:00:00Z",
            }
            for name in MODELS
        ]
        return {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
