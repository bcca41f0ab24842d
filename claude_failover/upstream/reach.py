"""Whether a backend's origin can be reached: one ``HEAD /`` without any credential, with its TLS rules and pins."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from claude_failover.clock import Clock, SystemClock
from claude_failover.core.settings import Backend
from claude_failover.core.types import Seconds
from claude_failover.upstream import faults, tls
from claude_failover.upstream.aws_calls import LIMIT, Said, skew_of
from claude_failover.upstream.wire import Wire, proxy_for


async def reach(backend: Backend, environ: Mapping[str, str] = os.environ, clock: Clock | None = None) -> Said:
    """Connect to the Claude API of *backend* as its requests would; any answer is a good one."""
    clock = clock or SystemClock()
    parts = urlsplit(backend.base_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    context = await asyncio.to_thread(tls.told, backend.tls_min_version, environ, "SSL_CERT_FILE")
    wire = Wire(
        origin,
        connect_timeout=LIMIT,
        tls=context if parts.scheme == "https" else True,
        pins=frozenset(backend.pinned_spki),
        proxy=proxy_for(origin, environ),
    )
    try:
        async with asyncio.timeout(LIMIT):
            response = await wire.send("HEAD", "/", (("accept", "*/*"),), None)
            response.close()
            skew: Seconds | None = skew_of(response.headers.get("date", ""), clock.now().wall)
            return Said(response.status, skew=skew)
    except TimeoutError:
        return Said(problem=f"no answer within {LIMIT:.0f} s")
    except Exception as error:  # noqa: BLE001 - whatever a library raises is a fact about the way there
        return Said(problem=faults.before_head(error, reused=False, where=wire.where)[1])
    finally:
        await wire.close()
