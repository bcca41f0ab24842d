"""The search that every integration test ends with: it finds what it is to find, and every secret is marked for it."""

from __future__ import annotations

import ast
import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.control_fakes import clean_environment
from tests.leak_hooks import pytest_runtest_makereport
from tests.leak_search import MARKS, current, marked

ROOT = Path(__file__).parents[2]

SECRET = "sk-ant-oat01-" + MARKS[0] + "-planted"

PLANTED = """
import asyncio, base64, contextlib, logging, sqlite3, subprocess, sys, tempfile, time
from pathlib import Path
from claude_failover.control import api
from claude_failover.errors import ControlError
from tests.control_fakes import here, short_directory

SECRET = "sk-ant-oat01-" + "worth-" + "nothing-planted"
KEY = "cfk_" + "Z" * 43

def test_in_a_log(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/daemon.log").write_text("{'token': '" + SECRET + "'}")
def test_in_base64(tmp_path):
    (tmp_path / "daemon.log").write_bytes(base64.b64encode(b"user:" + SECRET.encode()))
def test_in_hexadecimal(tmp_path):
    (tmp_path / "state.json").write_text(SECRET.encode().hex())
def test_in_the_write_ahead_log_of_a_ledger(tmp_path):
    ledger = sqlite3.connect(tmp_path / "ledger.db")
    ledger.execute("pragma journal_mode=wal")
    ledger.execute("create table attempt (detail text)")
    ledger.execute("insert into attempt values (?)", (SECRET,))
    ledger.commit()
    assert SECRET.encode() not in (tmp_path / "ledger.db").read_bytes()
    globals()["open_still"] = ledger
def test_in_a_directory_that_is_removed():
    with short_directory() as home:
        (home / "audit.log").write_text(SECRET)
def test_the_client_key_in_another_file(tmp_path):
    (tmp_path / "client.key").write_text(KEY)
    (tmp_path / "state.json").write_bytes(base64.b64encode(KEY.encode()))
def test_in_what_a_command_says():
    subprocess.run([sys.executable, "-c", "print('sk-worth-' + 'nothing')"], capture_output=True, check=True)
def test_in_what_a_command_says_of_an_error():
    process = subprocess.Popen([sys.executable, "-c", "exit('sk-worth-' + 'nothing')"], stderr=subprocess.PIPE)
    process.communicate()
def test_in_what_the_control_channel_says():
    with contextlib.suppress(ControlError):
        api.decode(b'{"message": "' + SECRET.encode() + b'"}', api.ErrorBody)
def test_on_standard_output():
    print(SECRET)
def test_in_the_traceback_of_a_log_record():
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("library").exception("failed")
def test_on_a_command_line():
    subprocess.run(["/bin/true", "--token", SECRET], check=True)
def test_the_client_key_on_a_command_line():
    subprocess.run(["/bin/true", "--key=" + KEY], check=True)
async def test_on_a_command_line_of_asyncio():
    await (await asyncio.create_subprocess_exec("/bin/true", SECRET)).wait()
"""

ON_LINUX = """
def test_on_the_command_line_of_a_grandchild():
    subprocess.run(["/bin/sh", "-c", 'sleep 2 # "$0" "$1"; exit', "sk-worth-", "nothing"], check=True)
    script = "import subprocess; subprocess.run(['/bin/sh', '-c', 'sleep 2; exit', 'sk-worth-' + 'nothing'])"
    subprocess.run([sys.executable, "-c", script], check=True)
def test_on_the_command_line_of_a_daemon(tmp_path):
    script = (
        "import os, subprocess; p = subprocess.Popen(['/bin/sh', '-c', 'sleep 3; exit', 'sk-worth-' + 'nothing'],"
        " start_new_session=True); print(p.pid); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env={"HOME": str(tmp_path)})
    time.sleep(2)
"""

CLEAN = """
def test_clean_nothing():
    pass
def test_clean_files(tmp_path):
    (tmp_path / "daemon.log").write_text("token status: login token …0042")
    (tmp_path / "client.key").write_text(KEY)
    (tmp_path / "secrets.json").write_text(SECRET)
def test_clean_on_purpose(tmp_path):
    from tests.leak_search import current
    (tmp_path / "identity").write_text(SECRET)
    current.meant_in(tmp_path / "identity")
def test_clean_command():
    subprocess.run([sys.executable, "-c", "print('worth', 'nothing')"], capture_output=True, check=True)
"""


HOOKS = "from tests.leak_hooks import leaks_are_searched_for, pytest_runtest_makereport\n"


def test_every_test_of_this_folder_is_searched(request: pytest.FixtureRequest) -> None:
    assert "leaks_are_searched_for" in request.fixturenames
    reporters = request.config.pluginmanager.hook.pytest_runtest_makereport.get_hookimpls()
    assert any(reporter.function is pytest_runtest_makereport for reporter in reporters)


def test_what_is_planted_is_found_and_nothing_else(tmp_path: Path) -> None:
    planted = PLANTED + (ON_LINUX if sys.platform == "linux" else "") + CLEAN
    current.meant_in(tmp_path)
    (tmp_path / "test_planted.py").write_text(planted)
    (tmp_path / "conftest.py").write_text(HOOKS)
    report = tmp_path / "report.txt"
    with report.open("wb") as file:  # it names what it found
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"),
             "--rootdir", str(tmp_path), "--basetemp", str(tmp_path / "base"), "-rA", str(tmp_path)],
            cwd=ROOT, env=clean_environment(tmp_path), stdout=file, stderr=file, check=False, timeout=50,
        )  # fmt: skip
    # Our own search, too, has seen the command lines there.
    assert (sys.platform == "linux") == any("of the command line" in one for one in current.taken())
    current.meant_in(tmp_path)
    said = report.read_text()
    names = re.findall(r"def (test_\w+)", planted)
    assert len(names) >= 18
    found = {name for name in names if re.search(rf"^ERROR .*::{name}$", said, re.MULTILINE)}
    assert found == {name for name in names if not name.startswith("test_clean")}, said
    assert {name for name in names if re.search(rf"^PASSED .*::{name}$", said, re.MULTILINE)} == set(names), said


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_is_found_however_it_is_written(mark: str) -> None:
    secret = f"made-up+{mark}/x"
    for before in (b"", b"x", b"xy"):
        data = before + secret.encode() + b"z"
        for written in (
            data, base64.b64encode(data), base64.urlsafe_b64encode(data), data.hex().encode(),
            data.hex().upper().encode(), quote(secret, safe="").encode(), json.dumps([secret]).encode(), data[::-1],
        ):  # fmt: skip
            assert marked(written), written
    assert not marked(b"worth nothing")


LOOKS_SECRET = (
    re.compile(r"sk-ant-(?!(?:api|oat|ort|admin|sid)\d\d-)[\w-]+|sk-ant-[a-z]{3,5}\d\d-[\w-]+"),
    re.compile(r"ABSK\S+"),
    re.compile(r"(?i)aws_secret_access_key ?= ?\S+"),
    re.compile(r"<(?:SecretAccessKey|SessionToken)>[^{}]+?<"),
)

NAMES_OF_SECRETS = {
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SecretAccessKey", "secretAccessKey", "SessionToken", "sessionToken",
    "Token", "accessToken", "refreshToken", "access_token", "refresh_token", "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK",
}  # fmt: skip
"""Keys of a dictionary, arguments, and elements whose value, where a string stands there, is a secret."""

MARKED_THEMSELVES = {"test_security_leaks.py", "test_leak_search.py"}
"""They bring their own marks, and search for them themselves."""


def texts(tree: ast.AST) -> Iterator[str]:
    """Strings as they come out, those made of constant pieces put together."""
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if node in inner:
            inner |= set(ast.iter_child_nodes(node))
        elif isinstance(node, ast.BinOp | ast.JoinedStr):
            inner |= set(ast.iter_child_nodes(node))
            yield "".join(
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def named(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Strings that stand where a secret does."""
    for node in ast.walk(tree):
        pairs: list[tuple[object, ast.AST | None]] = []
        if isinstance(node, ast.Dict):
            pairs = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            ]
        elif isinstance(node, ast.Call):
            pairs = [(word.arg, word.value) for word in node.keywords]
            if getattr(node.func, "attr", "") == "setenv" and isinstance(node.args[0], ast.Constant):
                pairs.append((node.args[0].value, node.args[1]))
            if getattr(node.func, "id", "") == "Secret":
                pairs += [("Token", argument) for argument in node.args]
        for name, value in pairs:
            if name in NAMES_OF_SECRETS and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield str(name), value.value


def unmarked(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [match[0] for text in texts(tree) for form in LOOKS_SECRET for match in form.finditer(text)]
    found += [value for _, value in named(tree)]
    return [secret for secret in found if secret and not marked(secret.encode())]


def test_every_made_up_secret_of_the_tests_is_marked() -> None:
    files = [*(ROOT / "tests/integration").glob("*.py"), *(ROOT / "tests").glob("*.py")]
    assert len(files) > 70
    found = {path.name: unmarked(path.read_text()) for path in files if path.name not in MARKED_THEMSELVES}
    assert {name: secrets for name, secrets in found.items() if secrets} == {}


def test_a_secret_that_is_not_marked_is_seen() -> None:
    for source in (
        'TOKEN = "sk-ant-oat01-" + "abcdef"', 'HEADER = b"x-api-key: sk-ant-secret"', 'KEY = f"ABSK{1}x"',
        'FILE = "aws_secret_access_key = s"', 'ENV = {"AWS_SESSION_TOKEN": "t"}', 'run(ANTHROPIC_API_KEY="k")',
        'monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")', 'Secret("refresh-0")',
        "X = '<SessionToken>t</SessionToken>'",
    ):  # fmt: skip
        assert unmarked(source), source
    assert unmarked('TOKEN = "sk-ant-oat01-" + "made-up-and-worth-nothing"; x = Secret(TOKEN)') == []
