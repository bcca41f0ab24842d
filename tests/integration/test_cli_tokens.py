"""token set, status, clear as a user types them: what is kept, what is shown, what is never shown."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.control_fakes import clean_environment, cli, here, short_directory

TOKEN = "sk-ant-oat01-" + "made-up-and-worth-nothing-0042"
KEY = "sk-ant-api03-" + "made-up-and-worth-nothing-0043"
BEDROCK = "ABSK" + "made-up-and-worth-nothing-0044"


@pytest.fixture
def home() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def status(home: Path, **more: str) -> dict[str, Any]:
    done = cli("token", "status", "--json", home=home, **more)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["schema_version"] == 1
    return found


def everything_below(directory: Path) -> str:
    return "\n".join(path.read_text("utf-8", "replace") for path in directory.rglob("*") if path.is_file())


def test_without_a_keyring_nothing_is_kept_and_the_file_is_named_as_the_choice(home: Path) -> None:
    done = cli("token", "set", home=home, stdin=TOKEN)
    assert done.returncode == 1
    assert "there is no keyring on this machine" in done.stderr
    assert "hint: claude-failover token set --store file" in done.stderr
    assert TOKEN not in everything_below(home)


def test_a_token_kept_in_the_file_wins_until_it_is_cleared(home: Path) -> None:
    done = cli("token", "set", "--store", "file", home=home, stdin=TOKEN + "\n")
    assert done.returncode == 0
    assert "kept: login token …0042" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    secrets = home / "cf/state/secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    sources = {one["source"]: one for one in status(home)["anthropic"]}
    assert sources["keyring"]["wins"]
    assert (sources["keyring"]["tail"], sources["keyring"]["where"]) == ("0042", str(secrets))
    shown = cli("token", "status", home=home)
    assert "* keyring  login token …0042" in shown.stdout
    assert cli("token", "clear", home=home).returncode == 0
    assert not secrets.exists()
    assert "nothing was kept" in cli("token", "clear", home=home).stderr


def test_the_environment_wins_over_what_is_kept(home: Path) -> None:
    cli("token", "set", "--store", "file", home=home, stdin=TOKEN)
    sources = {one["source"]: one for one in status(home, ANTHROPIC_API_KEY=KEY)["anthropic"]}
    assert (sources["env"]["wins"], sources["keyring"]["wins"]) == (True, False)
    assert (sources["env"]["kind"], sources["env"]["where"]) == ("api key", "ANTHROPIC_API_KEY")


def test_every_change_is_audited_without_the_value(home: Path) -> None:
    cli("token", "set", "bedrock", "--store", "file", home=home, stdin=BEDROCK)
    cli("token", "clear", "bedrock", home=home)
    audit = home / "cf/log/audit.log"
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["event"], line["action"], line["item"], line["store"]) for line in lines] == [
        ("token.changed", "set", "bedrock", "file"),
        ("token.changed", "clear", "bedrock", "file"),
    ]
    assert lines[0]["uid"] == os.getuid()
    assert "worth-nothing" not in audit.read_text()


def test_a_bedrock_key_is_shown_as_what_signs(home: Path) -> None:
    cli("token", "set", "bedrock", "--store", "file", home=home, stdin=BEDROCK)
    bedrock = status(home)["bedrock"][0]
    assert (bedrock["kind"], bedrock["tail"], bedrock["wins"]) == ("api key", "0044", True)


@pytest.mark.parametrize(
    ("words", "stdin", "says"),
    [
        (["anthropic"], BEDROCK, "is a Bedrock API key; it belongs to: claude-failover token set bedrock"),
        (["anthropic"], "sk-ant-ort01-worth-nothing-xxxxxx", "is a refresh token"),
        (["anthropic"], "two words", "holds white space"),
        (["bedrock"], TOKEN, "is no Bedrock API key"),
        (["anthropic"], "", "nothing was given"),
        (["anthropic"], "x" * 70_000, "more than any token"),
        (["--store", "plain"], TOKEN, "'plain' is not known"),
    ],
)
def test_what_is_no_secret_is_refused_with_the_reason(home: Path, words: list[str], stdin: str, says: str) -> None:
    done = cli("token", "set", *words, home=home, stdin=stdin)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert "hint:" in done.stderr or "refresh token" in says or "white space" in says or "belongs to" in says
    assert TOKEN not in done.stderr
    assert not (home / "cf/state/secrets.json").exists()


def test_a_secret_in_the_place_of_a_name_is_not_repeated(home: Path) -> None:
    """In this process: whoever types it so has it in the process list, and in the shell's history, for good."""
    done = here("token", "set", TOKEN, home=home)
    assert done.returncode == 2
    assert "that is no name of a secret" in done.stderr
    assert TOKEN not in done.stderr


def test_a_kept_token_that_can_no_longer_be_used_is_an_error_of_status(home: Path) -> None:
    cli("token", "set", "--store", "file", home=home, stdin=TOKEN)
    (home / "cf/state/secrets.json").chmod(0o644)
    done = cli("token", "status", home=home)
    assert done.returncode == 1
    assert "other users can read" in done.stdout


def test_the_prompt_does_not_echo(home: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-P", "-m", "claude_failover", "token", "set", "--store", "file"],
        env=clean_environment(home),
        cwd=str(home),
        encoding="utf-8",
        timeout=20,
    )
    child.expect("Anthropic token \\(not shown\\): ")
    child.sendline(TOKEN)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "kept: login token" in child.before
    assert TOKEN not in child.before
