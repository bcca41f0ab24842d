"""A whole simulated AWS account on one origin: STS and model access beside the simulated Bedrock."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote

from claude_failover.drill.bedrock import SimulatedBedrock
from claude_failover.drill.playback import Part, Reply
from claude_failover.drill.script import Drop, Garbage, Seen, Step
from claude_failover.drill.server import SimulatedServer
from claude_failover.drill.sigv4 import Credential, verify

ARN = "arn:aws:sts::000000000000:assumed-role/Developer/somebody"

IDENTITY = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>{ARN}</Arn><UserId>AROASIMULATED:somebody</UserId><Account>000000000000</Account></GetCallerIdentityResult>
</GetCallerIdentityResponse>"""

ASSUMED = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result><Credentials>
<AccessKeyId>{1}</AccessKeyId><SecretAccessKey>{2}</SecretAccessKey><SessionToken>{3}</SessionToken>
<Expiration>{4}</Expiration></Credentials></{0}Result></{0}Response>"""

DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{}</Code><Message>refused, quoting what was asked</Message></Error></ErrorResponse>"""


class SimulatedAccount(SimulatedBedrock):
    """Point ``AWS_ENDPOINT_URL`` at its ``url``."""

    def __init__(self, *steps: Step, **options: object) -> None:
        super().__init__(*steps, **options)  # type: ignore[arg-type]  # the same options
        self.asked: list[str] = []
        """What STS was asked for, and about which models."""
        self.assumes: Credential | None = None
        """What ``AssumeRole`` and its kin hand out; known to Bedrock too."""
        self.assumed_until = "2030-01-01T00:00:00Z"
        self.tells_access = True
        self.not_agreed: set[str] = set()
        """FM ids whose agreement is missing."""

    async def answer(self, request: Seen) -> Reply | Drop | Garbage:
        """STS at ``/``, availability by its path, everything else as Bedrock does."""
        if request.path == "/" and request.method == "POST":
            return self._sts(request)
        if request.path.startswith("/foundation-model-availability/"):
            return self._availability(request)
        return await super().answer(request)

    def _sts(self, request: Seen) -> Reply:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        action = form["Action"]
        self.asked.append(action)
        if action != "AssumeRoleWithWebIdentity":
            problem = verify(request, self.account.credentials, self.region, "sts", self.clock.now().wall)
            if problem is not None:
                return self._xml(DENIED.format(problem.error_type.removesuffix("Exception")), request, 403)
        if action == "GetCallerIdentity":
            return self._xml(IDENTITY, request)
        if self.assumes is None:
            return self._xml(DENIED.format("AccessDenied"), request, 403)
        made = self.assumes
        self.account.credentials[made.access_key] = made
        return self._xml(
            ASSUMED.format(action, made.access_key, made.secret, made.session_token, self.assumed_until), request
        )

    def _availability(self, request: Seen) -> Reply:
        problem = self.account.check(request, "bedrock", self.clock.now().wall, keyed=False)
        if problem is not None:
            return self._refuse(problem, request)
        fm_id = unquote(request.path.rpartition("/")[2])
        self.asked.append(fm_id)
        if not self.tells_access:
            headers = (("x-amzn-ErrorType", "AccessDeniedException"),)
            return Reply(403, headers, (Part(b'{"message":"not allowed"}', "body"),))
        body = {
            "modelId": fm_id,
            "agreementAvailability": {"status": "NOT_AVAILABLE" if fm_id in self.not_agreed else "AVAILABLE"},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "NOT_AVAILABLE" if fm_id in self.denied else "AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }
        return Reply(200, self._standing(request), (Part(json.dumps(body).encode(), "body"),))

    def _xml(self, text: str, request: Seen, status: int = 200) -> Reply:
        return Reply(status, self._standing(request), (Part(text.encode(), "body"),), content_type="text/xml")


class ScriptedEndpoint(SimulatedServer):
    """A service that says what it is told to: SSO's portal and OIDC, instance metadata, a container's credentials."""

    name = "scripted"

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[tuple[str, str], tuple[int, str]] = {}
        """Method and beginning of the path -> status and body; the longest beginning counts."""

    async def answer(self, request: Seen) -> Reply:
        """The answer to the longest beginning that fits; 404 without one."""
        fitting = [key for key in self.says if key[0] == request.method and request.path.startswith(key[1])]
        status, body = self.says[max(fitting, key=lambda key: len(key[1]))] if fitting else (404, "{}")
        kind = "application/json" if body.startswith("{") else "text/plain"
        return Reply(status, (), (Part(body.encode(), "body"),), content_type=kind)
