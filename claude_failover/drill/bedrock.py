"""A simulated Bedrock: bedrock-runtime (Messages and InvokeModel), its control plane, or bedrock-mantle.

It checks signatures and keys itself (:mod:`~claude_failover.drill.sigv4`), enforces per surface and model what
the real one is known to refuse (:mod:`~claude_failover.drill.bedrock_check`), in the real words and in both
shapes of error, and notes as a violation whatever of Anthropic's credentials or of the client's own headers
reaches it. What passes gets what :attr:`SimulatedBedrock.script` deals.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from claude_failover.clock import Clock
from claude_failover.core.types import Headers, Surface, Usage
from claude_failover.drill import bedrock_check, bedrock_control, frames
from claude_failover.drill.bedrock_access import ACCESS_KEY, API_KEY, SECRET_KEY, Account, leaks
from claude_failover.drill.bedrock_faults import CORAL
from claude_failover.drill.bedrock_models import Model, on_mantle, on_runtime, path_model
from claude_failover.drill.messages import Event, Identity, PromptCache, message, parts, sse
from claude_failover.drill.playback import Part, Reply
from claude_failover.drill.script import Answer, Drop, Garbage, Refusal, Script, Seen, Step
from claude_failover.drill.server import SimulatedServer
from claude_failover.drill.sigv4 import Credential, forbidden

_INVOKE = re.compile(r"/model/(?P<model>[^/]+)/(?P<operation>invoke|invoke-with-response-stream)\Z")


@dataclass(frozen=True, slots=True)
class _Call:
    """One request for an answer, understood."""

    request: Seen
    surface: Surface
    model_id: str
    stream: bool
    body: dict[str, Any]
    model: Model


class SimulatedBedrock(SimulatedServer):
    """``async with SimulatedBedrock() as bedrock: …`` then point a backend's ``endpoint_url`` at ``bedrock.url``."""

    name = "bedrock"
    max_message_bytes = 20 << 20
    """Larger bodies are refused (Anthropic's page on Bedrock, wire/bedrock.md 2.1)."""

    def __init__(
        self,
        *steps: Step,
        clock: Clock | None = None,
        strict: bool = True,
        region: str = "us-east-1",
        mantle: bool = False,
        credentials: tuple[Credential, ...] = (Credential(ACCESS_KEY, SECRET_KEY),),
        api_keys: tuple[str, ...] = (API_KEY,),
    ) -> None:
        super().__init__(clock)
        self.script = Script(*steps)
        self.strict = strict
        """Whether bodies and betas are checked; credentials and leaks always are."""
        self.mantle = mantle
        """Be bedrock-mantle instead of bedrock-runtime: another signing name, other ids, one route."""
        self.account = Account(region, {item.access_key: item for item in credentials}, set(api_keys))
        self.applications: dict[str, str] = {}
        """ARNs of application inference profiles -> FM id."""
        self.on_demand: set[str] = set()
        """FM ids that this region serves without a profile."""
        self.denied: set[str] = set()
        """FM ids that the account has no access to."""
        self.permits = bedrock_check.Permits()
        """What differs from the strict default: betas, old models on the Messages surface."""
        self.cache_in_delta = True
        """False: cache counts are missing from ``message_delta``, as in GovCloud (wire/bedrock.md 3)."""
        self._cache = PromptCache()
        self._answers = 0

    @property
    def region(self) -> str:
        """The endpoint's region."""
        return self.account.region

    async def answer(self, request: Seen) -> Reply | Drop | Garbage:
        """Check, then do what the script says."""
        self.violations += leaks(request)
        service = "bedrock-mantle" if self.mantle else "bedrock"
        keyed = request.path.startswith("/anthropic/")
        problem = self.account.check(request, service, self.clock.now().wall, keyed=keyed)
        if problem is not None:
            return self._refuse(problem, request)
        if request.method == "GET" and not self.mantle:
            listing = bedrock_control.answer(request, self.region, self.applications, self.denied)
            if listing is not None:
                return self._json(listing, request)
        surface, model_id, streaming = self._route(request)
        if surface is None:
            return self._unknown(request)
        call = self._understand(request, surface, model_id, streaming)
        return self._refuse(call, request) if isinstance(call, Refusal) else self._call(call)

    def _understand(self, request: Seen, surface: Surface, model_id: str | None, stream: bool) -> _Call | Refusal:
        if len(request.body) > self.max_message_bytes:
            return bedrock_check.too_large(surface)
        body = bedrock_check.parse(request, surface)
        if isinstance(body, Refusal):
            return body
        if model_id is None:
            model_id = str(body.get("model", ""))
            stream = body.get("stream") is True
        model = self._model(model_id)
        return model if isinstance(model, Refusal) else _Call(request, surface, model_id, stream, body, model)

    def _route(self, request: Seen) -> tuple[Surface | None, str | None, bool]:
        if request.method != "POST":
            return None, None, False
        if request.path == "/anthropic/v1/messages":
            return (Surface.MANTLE if self.mantle else Surface.MESSAGES), None, False
        match = None if self.mantle else _INVOKE.match(request.path)
        if match is None:
            return None, None, False
        return Surface.INVOKE, path_model(match["model"]), match["operation"] != "invoke"

    def _model(self, model_id: str) -> Model | Refusal:
        if self.mantle:
            model = on_mantle(model_id)
        else:
            model = on_runtime(model_id, self.region, self.applications, self.on_demand)
        if isinstance(model, Model) and model.id in self.denied:
            return Refusal(
                403, "AccessDeniedException", "You don't have access to the model with the specified model ID.",
                shape="aws",
            )  # fmt: skip
        return model

    def _unknown(self, request: Seen) -> Reply:
        if request.path == "/anthropic/v1/messages/batches":
            return self._refuse(
                forbidden("MissingAuthenticationTokenException", "Authorization header is missing"), request
            )
        if request.path.startswith("/anthropic/v1/") and not self.mantle:
            return Reply(200, self._standing(request), (Part(CORAL, "body"),))
        unknown = Refusal(404, "UnknownOperationException", "", shape="aws")
        return self._refuse(unknown, request)

    def _call(self, call: _Call) -> Reply | Drop | Garbage:
        if self.strict:
            problem = bedrock_check.check(call.surface, call.model, call.request, call.body, self.permits)
            if problem is not None:
                return self._refuse(problem, call.request)
        step = self.script.deal(call.request)
        match step:
            case Drop() | Garbage():
                return step
            case Refusal():
                return self._refuse(step, call.request)
            case Answer():
                return self._answered(step, call)

    # --- answers ---

    def _answered(self, answer: Answer, call: _Call) -> Reply:
        self._answers += 1
        identity = Identity(
            f"msg_bdrk_01Sim{self._answers:012d}", "toolu_bdrk_", call.model.claude_id,
            f"Simulated Bedrock, answer {self._answers}.", pings=False,
        )  # fmt: skip
        prompt = self._cache.usage(call.request.body, call.body)
        headers = (*self._standing(call.request), *answer.headers)
        framed = call.surface is Surface.INVOKE
        if not call.stream:
            return self._whole(answer, call, identity, prompt, headers)
        if framed:
            headers = (("X-Amzn-Bedrock-Content-Type", "application/json"), *headers)
        stream = parts(answer, identity, prompt, self._frame if framed else self._sse)
        content_type = frames.CONTENT_TYPE if framed else "text/event-stream; charset=utf-8"
        return Reply(200, headers, stream, answer.wire, stream=True, content_type=content_type)

    def _whole(self, answer: Answer, call: _Call, identity: Identity, prompt: Usage, headers: Headers) -> Reply:
        if answer.error is not None:
            code = frames.EXCEPTION_STATUS.get(answer.error.exception, 500)
            name = answer.error.exception[:1].upper() + answer.error.exception[1:]
            return self._refuse(Refusal(code, name, answer.error.message, wire=answer.wire), call.request)
        whole, usage = message(answer, identity, prompt)
        if call.surface is Surface.INVOKE:
            counts = {
                "Input-Token-Count": usage.input,
                "Output-Token-Count": usage.output,
                "Cache-Read-Input-Token-Count": usage.cache_read,
                "Cache-Write-Input-Token-Count": usage.cache_write_5m + usage.cache_write_1h,
                "Invocation-Latency": 321,
            }
            headers = (*headers, *((f"X-Amzn-Bedrock-{name}", str(count)) for name, count in counts.items()))
        data = json.dumps(whole, ensure_ascii=False).encode()
        return Reply(200, headers, (Part(data, "message_stop", usage=usage, last=True),), answer.wire)

    def _trimmed(self, event: Event) -> Event:
        """The event as this deployment spells it."""
        if event.name != "message_delta" or self.cache_in_delta:
            return event
        usage = {key: value for key, value in event.data["usage"].items() if not key.startswith("cache_")}
        return replace(event, data=event.data | {"usage": usage})

    def _sse(self, event: Event) -> bytes:
        return sse(self._trimmed(event))

    def _frame(self, event: Event) -> bytes:
        if event.error is not None:
            return frames.exception(event.error.exception, event.error.message, event.error.fields)
        event = self._trimmed(event)
        data = event.data
        if event.last and event.usage is not None:
            usage = event.usage
            data = data | {
                "amazon-bedrock-invocationMetrics": {
                    "inputTokenCount": usage.input,
                    "outputTokenCount": usage.output,
                    "invocationLatency": 321,
                    "firstByteLatency": 123,
                    "cacheReadInputTokenCount": usage.cache_read,
                    "cacheWriteInputTokenCount": usage.cache_write_5m + usage.cache_write_1h,
                }
            }
        # Lengths that vary like the real ones, yet are the same in every run.
        return frames.chunk(data, padding=len(event.name) * 7 % 41)

    # --- shapes ---

    def _standing(self, request: Seen) -> Headers:
        return (("x-amzn-requestid", str(UUID(int=request.number))),)

    def _json(self, body: dict[str, Any], request: Seen) -> Reply:
        return Reply(200, self._standing(request), (Part(json.dumps(body).encode(), "body"),))

    def _refuse(self, refusal: Refusal, request: Seen) -> Reply:
        now = self.clock.now().wall
        extra = (*refusal.headers, *(refusal.headers_at(now) if refusal.headers_at else ()))
        headers: Headers = (*self._standing(request), *extra)
        shape = refusal.shape
        if shape == "native":
            shape = "aws" if refusal.error_type.endswith("Exception") else "anthropic"
        if refusal.body is not None:
            data = refusal.body
        elif shape == "anthropic":
            request_id = f"req_bdrk_{request.number:012d}"
            error = {"type": refusal.error_type, "message": refusal.message}
            data = json.dumps({"type": "error", "request_id": request_id, "error": error}).encode()
            headers = (("request-id", request_id), *headers)
        else:
            key = "Message" if shape == "aws-capital" else "message"
            data = json.dumps({key: refusal.message}).encode()
            named = f"{refusal.error_type}:http://internal.amazon.com/coral/com.amazon.bedrock/"
            headers = (("x-amzn-ErrorType", named), *headers)
        return Reply(refusal.status, headers, (Part(data, "body"),), refusal.wire, content_type=refusal.content_type)
