"""A token endpoint on loopback that honours each refresh token once, as the real one does."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class TokenEndpoint:
    """``with TokenEndpoint() as endpoint`` …; hands out ``…-N`` for ``…-refresh-N-1``.

    A refresh token that comes twice is a theft: the login is revoked, as RFC 9700 (4.14.2) has it.
    """

    def __init__(self, *, lives: float = 3600.0) -> None:
        self.lives = lives
        self.number = 0
        self.revoked = False
        self.requests: list[dict[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], bool] | None = None
        """Does something else instead; says whether it did."""
        self.delay = 0.0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint._lock:
                    endpoint.requests.append(body)
                time.sleep(endpoint.delay)  # noqa: TID251 - a slow server, in a thread of its own
                with contextlib.suppress(ConnectionError):  # who asked may have given up
                    if endpoint.answer is None or not endpoint.answer(self):
                        endpoint.play(self, body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/oauth/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def play(self, handler: BaseHTTPRequestHandler, body: dict[str, str]) -> None:
        """Answer as the real one."""
        with self._lock:
            good = not self.revoked and body.get("refresh_token") == f"worth-nothing-refresh-{self.number}"
            self.revoked = not good
            self.number += good
            pair = {
                "access_token": f"sk-ant-oat01-worth-nothing-{self.number:04}",
                "refresh_token": f"worth-nothing-refresh-{self.number}",
                "expires_in": self.lives,
                "token_type": "Bearer",
            }
        reply(handler, 200, pair) if good else reply(handler, 400, {"error": "invalid_grant"})


def reply(handler: BaseHTTPRequestHandler, status: int, body: object, **headers: str) -> bool:
    """Send JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)
    return True
