"""The AWS SDK for JavaScript as a second opinion on signatures and event streams, by its own code.

botocore signs for the product and judges the simulators in their own tests; here somebody else's code does the same
work again. Without node and npm whoever asks fails: a missing tool is no result.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from claude_failover.drill.script import Seen

NODE = Path(__file__).parent / "real" / "node"


def is_installed() -> bool:
    """Whether node and the packages are there already."""
    lock, installed = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    return shutil.which("node") is not None and installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime


def program() -> str:
    """The node executable, with the pinned packages installed beside the scripts."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.fail("node and npm are needed here: install Node.js 18 or later")
    lock, installed = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    with lock.open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=NODE,
                check=True,
                capture_output=True,
                timeout=300,
            )
    return found


def ask(node: str, script: str, question: object) -> Any:
    """Run one of the scripts."""
    done = subprocess.run(
        [node, str(NODE / script)], input=json.dumps(question).encode(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def question(request: Seen, secret: str, scope: str, signed: str) -> dict[str, Any]:
    """What ``sign.mjs`` wants to know to sign what arrived once more.

    Args:
        request: As it arrived.
        secret: The secret key; made up, in every test.
        scope: Day, region, service and the word at the end, of the request's authorization.
        signed: Names of the signed headers, with semicolons.
    """
    _, region, service, _ = scope.split("/")
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": request.headers,
        "body": b64encode(request.body).decode(),
        "region": region,
        "service": service,
        "secretAccessKey": secret,
        "signed": signed.split(";"),
    }


class Signer:
    """One node process that signs as long as it is asked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [program(), str(NODE / "sign.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def sign(self, questions: Sequence[dict[str, Any]]) -> list[str]:
        """The signatures that these requests have to carry."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for one in questions:
            self._process.stdin.write(json.dumps(one).encode() + b"\n")
        self._process.stdin.flush()
        answers = [self._process.stdout.readline().decode().strip() for _ in questions]
        assert all(answers), "the second signer has ended"
        return answers

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
