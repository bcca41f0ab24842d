"""What claude is told, what would make it talk past us, and how a shell is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from claude_failover.cli import environment as env
from claude_failover.errors import UsageError

ADDRESS = "http://127.0.0.1:8484"


def built(
    base: dict[str, str], key: str | None = "secret", backend: str | None = None, budget: float | None = None
) -> dict[str, str]:
    return env.claude_environment(base, ADDRESS, key, backend=backend, budget=budget)


def test_exactly_the_promised_variables_are_set() -> None:
    assert built({}) == {
        "ANTHROPIC_BASE_URL": ADDRESS,
        "ANTHROPIC_CUSTOM_HEADERS": "x-claude-failover-key: secret",
        "ENABLE_TOOL_SEARCH": "true",
        "CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1",
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        "NO_PROXY": "127.0.0.1",
        "CLAUDE_FAILOVER": "1",
    }


def test_a_token_is_never_set_whatever_is_there() -> None:
    changed = built({"ANTHROPIC_API_KEY": "sk-ant-x", "ANTHROPIC_AUTH_TOKEN": "t", "CLAUDE_CODE_OAUTH_TOKEN": "o"})
    assert not {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"} & set(changed)


def test_the_users_own_headers_are_kept_and_ours_come_after() -> None:
    changed = built({"ANTHROPIC_CUSTOM_HEADERS": "X-Team: blue\nX-Cost: 7\n"})
    assert changed["ANTHROPIC_CUSTOM_HEADERS"] == "X-Team: blue\nX-Cost: 7\nx-claude-failover-key: secret"


def test_a_second_time_replaces_instead_of_nesting() -> None:
    once = built({"ANTHROPIC_CUSTOM_HEADERS": "X-Team: blue", "NO_PROXY": "corp"}, backend="bedrock", budget=5)
    assert built(once, key="new")["ANTHROPIC_CUSTOM_HEADERS"] == "X-Team: blue\nx-claude-failover-key: new"
    assert built(once)["NO_PROXY"] == "corp,127.0.0.1"


def test_a_pinned_backend_and_a_budget_are_headers() -> None:
    changed = built({}, backend="bedrock", budget=2.50)
    assert changed["ANTHROPIC_CUSTOM_HEADERS"].splitlines() == [
        "x-claude-failover-key: secret",
        "x-claude-failover-force: bedrock",
        "x-claude-failover-budget: 2.5",
    ]


def test_a_daemon_without_a_key_gets_no_header() -> None:
    assert "ANTHROPIC_CUSTOM_HEADERS" not in built({}, key=None)


@pytest.mark.parametrize(
    ("existing", "expected"),
    [("", "127.0.0.1"), ("corp, other", "corp,other,127.0.0.1"), ("127.0.0.1,corp", "127.0.0.1,corp"), ("*", "*")],
)
def test_loopback_goes_past_the_proxy(existing: str, expected: str) -> None:
    assert built({"NO_PROXY": existing})["NO_PROXY"] == expected


def test_the_lower_case_name_is_amended_only_where_it_is_used() -> None:
    assert "no_proxy" not in built({"NO_PROXY": "corp"})
    changed = built({"no_proxy": "corp"})
    assert (changed["no_proxy"], changed["NO_PROXY"]) == ("corp,127.0.0.1", "corp,127.0.0.1")


def test_taking_it_back_leaves_what_the_user_had() -> None:
    base = {"ANTHROPIC_CUSTOM_HEADERS": "X-Team: blue", "NO_PROXY": "corp"}
    undone = env.without_ours({**base, **built(base)})
    assert undone["ANTHROPIC_CUSTOM_HEADERS"] == "X-Team: blue"
    assert undone["NO_PROXY"] == "corp"
    assert undone["ANTHROPIC_BASE_URL"] is None
    assert undone["CLAUDE_FAILOVER"] is None


def test_taking_it_back_unsets_what_the_user_had_not() -> None:
    assert set(env.without_ours(built({})).values()) == {None}


# --- bypasses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", env.OTHER_PROVIDERS)
def test_a_cloud_switch_in_the_environment_bypasses_us(name: str) -> None:
    (found,) = env.bypasses({name: "1"}, [], ADDRESS)
    assert (found.where, found.fix) == (name, f"unset {name}")


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_a_switch_that_is_off_is_none(value: str) -> None:
    assert list(env.bypasses({"CLAUDE_CODE_USE_BEDROCK": value}, [], ADDRESS)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANTHROPIC_BASE_URL", "https://elsewhere.example"),
        ("ANTHROPIC_AUTH_TOKEN", "sk-ant-oat01-x"),
        ("ANTHROPIC_API_KEY", "sk-ant-api03-x"),
        ("ANTHROPIC_CUSTOM_HEADERS", "X-Team: blue"),
        ("CLAUDE_CODE_USE_BEDROCK", 1),
        ("CLAUDE_CODE_USE_VERTEX", True),
    ],
)
def test_a_settings_file_that_overrides_us_is_named_with_the_variable(name: str, value: object) -> None:
    (found,) = env.bypasses({}, [("/h/.claude/settings.json", {"env": {name: value}})], ADDRESS)
    assert found.where == f"/h/.claude/settings.json: env.{name}"
    assert "/h/.claude/settings.json" in found.fix
    assert "sk-ant" not in found.why + found.fix


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"env": None},
        {"env": ["x"]},
        {"env": {"ANTHROPIC_BASE_URL": ADDRESS + "/"}},
        {"env": {"ANTHROPIC_CUSTOM_HEADERS": "X-Claude-Failover-Key: k"}},
        {"env": {"ANTHROPIC_MODEL": "opus", "ANTHROPIC_API_KEY": "", "CLAUDE_CODE_USE_BEDROCK": "0"}},
    ],
)
def test_a_settings_file_that_does_not_is_fine(tree: dict[str, object]) -> None:
    assert list(env.bypasses({}, [("settings.json", tree)], ADDRESS)) == []


def test_settings_are_looked_for_where_claude_code_reads_them() -> None:
    home, project = Path("/home/me"), Path("/srv/app")
    files = env.settings_files({}, home, project)
    assert files[-3:] == [
        project / ".claude/settings.local.json",
        project / ".claude/settings.json",
        home / ".claude/settings.json",
    ]
    assert env.settings_files({"CLAUDE_CONFIG_DIR": "/other"}, home, project)[-1] == Path("/other/settings.json")


def test_a_settings_file_that_is_not_there_or_not_json_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "good.json").write_text('{"env": {}}')
    names = [tmp_path / name for name in ("absent.json", "broken.json", "list.json", "good.json")]
    assert env.read_settings(names) == [(str(tmp_path / "good.json"), {"env": {}})]


def test_settings_on_claudes_command_line_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"env": {"A": "1"}}')
    words = ["-p", "--settings", "s.json", '--settings={"env": {"B": "2"}}', "--settings={broken", "--settings"]
    assert env.settings_argument(words, tmp_path) == [
        (str(tmp_path / "s.json"), {"env": {"A": "1"}}),
        ("--settings", {"env": {"B": "2"}}),
    ]
    assert env.settings_argument(["--", "--settings", "s.json"], tmp_path) == []


# --- shells --------------------------------------------------------------------------------------

NASTY = 'it\'s $HOME `id` \\ "x"; rm -rf / \nsecond: line\ttab !hist *'


@pytest.mark.parametrize("shell", [name for name in env.SHELLS if shutil.which(name)])
def test_whatever_the_value_the_shell_gets_it_unchanged(shell: str, tmp_path: Path) -> None:
    text = env.assignments({"CF_TEST": NASTY}, shell)
    done = subprocess.run(
        [shutil.which(shell) or shell, "-c", f"{text}\nprintenv CF_TEST"],
        capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout == NASTY + "\n"


@pytest.mark.parametrize("shell", [name for name in env.SHELLS if shutil.which(name)])
def test_unset_unsets(shell: str, tmp_path: Path) -> None:
    text = env.assignments({"CF_TEST": None}, shell)
    done = subprocess.run(
        [shutil.which(shell) or shell, "-c", f"{text}\nprintenv CF_TEST"],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CF_TEST": "x"},
    )  # fmt: skip
    assert done.stdout == ""


def test_fish_is_quoted_in_its_own_way() -> None:
    assert env.assignments({"A": "it's \\ x", "B": None}, "fish") == "set -gx A 'it\\'s \\\\ x';\nset -e B;"


def test_lines_survive_an_eval_of_unquoted_output() -> None:
    """``eval $(claude-failover env)`` without quotes joins the lines by blanks; the semicolons keep them apart."""
    text = env.assignments({"A": "1", "B": "2"}, "bash").replace("\n", " ")
    done = subprocess.run(
        ["bash", "-c", f"eval {json.dumps(text)}; echo $A$B"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "12\n"


@pytest.mark.parametrize(("given", "name"), [("bash", "bash"), ("/usr/bin/zsh", "zsh"), ("-fish", "fish")])
def test_a_shell_is_known_by_name_or_path(given: str, name: str) -> None:
    assert env.check_shell(given) == name


def test_another_shell_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="tcsh") as caught:
        env.check_shell("tcsh")
    assert caught.value.hint == "one of bash, zsh, fish"
