"""All sources together: which wins, where it came from, and everything that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from claude_failover.config_load import load, parse, read_prices
from claude_failover.core.settings import Listen, Settings
from claude_failover.errors import ConfigError


def complaints(
    text: str = "", *, environ: dict[str, str] | None = None, flags: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), environ=environ, flags=flags)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which everything lies below a temporary directory."""
    return {"CLAUDE_FAILOVER_HOME": str(tmp_path)}


def test_an_absent_file_means_the_defaults(home: dict[str, str]) -> None:
    loaded = load(environ=home)
    assert loaded.settings == Settings()
    assert loaded.path is None
    assert loaded.warnings == ()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.origins["backends.bedrock.region"] == "default"


def test_a_file_that_was_named_must_be_there(home: dict[str, str], tmp_path: Path) -> None:
    missing = tmp_path / "gone.yaml"
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file") as caught:
        load(missing, environ=home)
    assert caught.value.hint == "claude-failover config init"
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        load(environ=home | {"CLAUDE_FAILOVER_CONFIG": str(missing)})


def test_a_file_is_loaded_from_its_default_place(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listen:\n  port: 9000\n")
    loaded = load(environ=home)
    assert loaded.settings.listen == Listen(port=9000)
    assert loaded.path == tmp_path / "config.yaml"
    assert loaded.origins["listen.port"] == "config.yaml:2"


def test_the_real_environment_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLAUDE_FAILOVER_HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE_FAILOVER_LISTEN_PORT", "9001")
    assert load().settings.listen.port == 9001


def test_a_file_that_others_can_write_to_is_refused(home: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="other users can write to it"):
        load(environ=home)


def test_a_file_that_cannot_be_opened_says_why(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Too many levels of symbolic links"):
        load(tmp_path / "loop.yaml", environ=home)


def test_errors_of_a_file_begin_with_its_path_and_line(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listen: {}\nprot: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(environ=home)
    assert str(caught.value).startswith(f'{tmp_path}/config.yaml:2: unknown key "prot"')
    assert caught.value.hint == "claude-failover config check"


def test_a_variable_wins_over_the_file_and_a_flag_over_both() -> None:
    text = b"listen: {port: 1001, host: '::1'}\nlogging: {level: debug}\n"
    environ = {"CLAUDE_FAILOVER_LISTEN_PORT": "1002", "CLAUDE_FAILOVER_LOGGING_LEVEL": "error"}
    loaded = parse(text, environ=environ, flags={"listen.port": "1003"})
    assert loaded.settings.listen == Listen(host="::1", port=1003)
    assert loaded.settings.logging.level == "error"
    assert loaded.origins["listen.host"] == "config.yaml:1"
    assert loaded.origins["listen.port"] == "flag"
    assert loaded.origins["logging.level"] == "env CLAUDE_FAILOVER_LOGGING_LEVEL"
    assert loaded.origins["logging.format"] == "default"


def test_variables_reach_every_depth() -> None:
    loaded = parse(
        b"backends:\n  - {name: claude, kind: anthropic}\n  - {name: aws-eu, kind: bedrock}\n",
        environ={
            "CLAUDE_FAILOVER_RETRY_POLICY_RATE_LIMIT_ERROR_RETRIES": "2",
            "CLAUDE_FAILOVER_BACKENDS_AWS_EU_REGION": "eu-west-1",
            "CLAUDE_FAILOVER_BACKENDS_CLAUDE_BASE_URL": "http://127.0.0.1:1",
            "CLAUDE_FAILOVER_COST_TRACKING_DAILY_LIMIT": "null",
            "CLAUDE_FAILOVER_LISTEN_CLIENT_KEY": "off",
            "CLAUDE_FAILOVER_METRICS_ENABLED": "false",
        },
    )
    assert loaded.settings.retry_policy.rate_limit.retries == 2
    assert loaded.settings.backends[1].region == "eu-west-1"
    assert loaded.settings.backends[0].base_url == "http://127.0.0.1:1"
    assert loaded.settings.cost_tracking.daily_limit is None
    assert loaded.settings.listen.client_key == "off"
    assert loaded.settings.metrics.enabled is False


def test_an_empty_variable_is_as_good_as_unset() -> None:
    assert parse(b"", environ={"CLAUDE_FAILOVER_LISTEN_PORT": ""}).settings == Settings()


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {
        "CLAUDE_FAILOVER": "1",
        "CLAUDE_FAILOVER_HOME": "/x",
        "CLAUDE_FAILOVER_CONFIG": "/y",
        "CLAUDE_FAILOVER_READY_FD": "3",
        "LISTEN_PORT": "x",
    }
    assert parse(b"", environ=environ).settings == Settings()


def test_a_bad_variable_is_named() -> None:
    assert complaints(environ={"CLAUDE_FAILOVER_LISTEN_PORT": "many"}) == [
        'CLAUDE_FAILOVER_LISTEN_PORT: listen.port: expected a whole number from 0 to 65,535, not "many" (text)'
    ]


def test_a_variable_of_a_section_that_sets_nothing_is_an_error_with_a_guess() -> None:
    assert complaints(environ={"CLAUDE_FAILOVER_LISTEN_PROT": "1"}) == [
        "CLAUDE_FAILOVER_LISTEN_PROT: no setting has this variable; did you mean CLAUDE_FAILOVER_LISTEN_PORT?"
    ]
    assert complaints(environ={"CLAUDE_FAILOVER_MODELS": "x"}) == [
        "CLAUDE_FAILOVER_MODELS: no setting has this variable; lists and tables are set in the file"
    ]


def test_a_key_of_the_other_kind_has_no_variable() -> None:
    [complaint] = complaints(environ={"CLAUDE_FAILOVER_BACKENDS_CLAUDE_REGION": "us-west-2"})
    assert complaint.startswith("CLAUDE_FAILOVER_BACKENDS_CLAUDE_REGION: no setting has this variable")


def test_a_bad_flag_is_named() -> None:
    assert complaints(flags={"listen.port": "70000", "listen.prot": "1", "zzz": "1"}) == [
        "flag listen.port: listen.port: expected a whole number from 0 to 65,535, not 70000",
        'flag listen.prot: no such setting; did you mean "listen.port"?',
        "flag zzz: no such setting",
    ]


def test_everything_that_is_wrong_is_told_at_once_by_line_and_then_by_source() -> None:
    text = 'timeouts:\n  connect: -1\nlisten: {port: "80"}\nprot: 1\n'
    found = complaints(text, environ={"CLAUDE_FAILOVER_LOGGING_LEVEL": "loud"}, flags={"listen.host": "x"})
    assert [complaint.split(": ")[0] for complaint in found] == [
        "config.yaml:2",
        "config.yaml:3",
        "config.yaml:4",
        "CLAUDE_FAILOVER_LOGGING_LEVEL",
        "flag listen.host",
    ]


def test_a_bad_secret_is_not_repeated() -> None:
    [complaint] = complaints(environ={"CLAUDE_FAILOVER_ALERTS_WEBHOOK": "http://hooks.example/s3cret"})
    assert "s3cret" not in complaint


def test_prices_of_ones_own_are_read_when_the_settings_name_them(home: dict[str, str], tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {claude-x: {input: 3.5}}\n")
    (tmp_path / "config.yaml").write_text(f"cost_tracking: {{price_file: {prices}}}\n")
    assert load(environ=home).settings.cost_tracking.price_file == str(prices)
    assert read_prices(str(prices)) == {"models": {"claude-x": {"input": 3.5}}}
    prices.write_text("")
    assert read_prices(str(prices)) == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"cost_tracking\.price_file: .*prices\.yaml: no such file"),
        ("a: 1\na: 2\n", r"prices\.yaml:2: duplicate key"),
        ("- a\n", r"prices\.yaml:1: expected keys such as models:"),
    ],
)
def test_a_price_file_that_is_wrong_is_found_with_the_settings(
    home: dict[str, str], tmp_path: Path, content: str | None, words: str
) -> None:
    prices = tmp_path / "prices.yaml"
    if content is not None:
        prices.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load(environ=home | {"CLAUDE_FAILOVER_COST_TRACKING_PRICE_FILE": str(prices)})
