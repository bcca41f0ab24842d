"""What one value may be, and the words with which it is refused."""

from __future__ import annotations

import zoneinfo

import pytest

from claude_failover import config_rules as rules
from claude_failover.config_rules import (
    Rule,
    Unfit,
    choice,
    is_loopback,
    listing,
    number,
    optional,
    secret,
    shown,
    switch,
    text,
    whole,
)
from claude_failover.config_yaml import Items, Scalar, Table, Tree, plain

PORT = whole(0, 65_535)
SECONDS = number(0, 3_600, above=True, unit="seconds")
LEVEL = choice("debug", "info")
PIN = "sha256/" + "A" * 43 + "="
"""The base64 of 32 zero bytes."""


def word(spelling: str) -> Scalar:
    """An unquoted value on line 7."""
    return Scalar(7, plain(spelling), spelling)


def quoted(spelling: str) -> Scalar:
    return Scalar(7, spelling, spelling, quoted=True)


TABLE = Table(7, {}, {})
LIST = Items(7, (word("env"), word("keyring")))


@pytest.mark.parametrize(
    ("rule", "tree", "value"),
    [
        (switch(), word("true"), True),
        (switch(), word("Off"), False),
        (switch(), word("yes"), True),
        (PORT, word("8484"), 8484),
        (PORT, word("0"), 0),
        (PORT, word("65535"), 65535),
        (SECONDS, word("0.5"), 0.5),
        (SECONDS, word("3600"), 3600.0),
        (number(0, 1), word("0"), 0.0),
        (LEVEL, word("info"), "info"),
        (choice("required", "off"), word("off"), "off"),
        (choice("1.2", "1.3"), word("1.3"), "1.3"),
        (choice("1.2", "1.3"), quoted("1.3"), "1.3"),
        (optional(PORT), word("null"), None),
        (optional(PORT), word("80"), 80),
        (optional(rules.PROFILE), quoted(""), None),
        (listing(choice("env", "keyring"), "x"), LIST, ("env", "keyring")),
        (listing(LEVEL, "x"), Items(7, ()), ()),
        (rules.HOST, word("127.0.0.1"), "127.0.0.1"),
        (rules.HOST, word("::1"), "::1"),
        (rules.HOST, word("localhost"), "localhost"),
        (rules.ORIGIN, word("https://api.anthropic.com"), "https://api.anthropic.com"),
        (rules.ORIGIN, word("http://127.0.0.1:9000/"), "http://127.0.0.1:9000/"),
        (rules.ORIGIN, word("http://[::1]:9000"), "http://[::1]:9000"),
        (rules.WEBHOOK, word("https://hooks.example/T0/B1"), "https://hooks.example/T0/B1"),
        (rules.WEBHOOK, word("http://localhost:9/x"), "http://localhost:9/x"),
        (rules.PIN, word(PIN), PIN),
        (rules.TIMEZONE, word("local"), "local"),
        (rules.TIMEZONE, word("Europe/Berlin"), "Europe/Berlin"),
        (rules.REGION, word("us-gov-west-1"), "us-gov-west-1"),
        (rules.REGION, word("eusc-de-east-1"), "eusc-de-east-1"),
        (rules.PROFILE, quoted("bedrock access"), "bedrock access"),
        (rules.COMMAND, quoted("notify-send 'x'"), "notify-send 'x'"),
        (rules.FILE, word("~/prices.yaml"), "~/prices.yaml"),
        (rules.MODEL, word("claude-opus-4-5-20251101[1m]"), "claude-opus-4-5-20251101[1m]"),
        (rules.BACKEND_NAME, word("bedrock-eu_1"), "bedrock-eu_1"),
    ],
)
def test_a_fit_value_is_taken_as_what_it_is(rule: Rule, tree: Tree, value: object) -> None:
    found = rule.read(tree)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("rule", "tree", "words"),
    [
        (switch(), word("1"), "expected true or false, not 1"),
        (switch(), quoted("yes"), 'expected true or false, not "yes" (text)'),
        (PORT, word("true"), "expected a whole number from 0 to 65,535, not true"),
        (PORT, quoted("80"), 'expected a whole number from 0 to 65,535, not "80" (text); take the quotes away'),
        (PORT, word("80.0"), "expected a whole number from 0 to 65,535, not 80.0"),
        (PORT, word("65536"), "expected a whole number from 0 to 65,535, not 65536"),
        (PORT, word("-1"), "expected a whole number from 0 to 65,535, not -1"),
        (PORT, word(""), "expected a whole number from 0 to 65,535, not nothing"),
        (PORT, TABLE, "expected a whole number from 0 to 65,535, not a table"),
        (SECONDS, word("0"), "expected a number above 0, up to 3,600 seconds, not 0"),
        (SECONDS, word("false"), "expected a number above 0, up to 3,600 seconds, not false"),
        (SECONDS, word(".nan"), "expected a number above 0, up to 3,600 seconds, not .nan"),
        (SECONDS, word(".inf"), "expected a number above 0, up to 3,600 seconds, not .inf"),
        (SECONDS, quoted("1.5"), "take the quotes away"),
        (SECONDS, LIST, "expected a number above 0, up to 3,600 seconds, not a list"),
        (number(0.5, 1), word("0.25"), "expected a number from 0.5 to 1, not 0.25"),
        (LEVEL, word("trace"), 'expected one of debug, info, not "trace" (text)'),
        (LEVEL, LIST, "expected one of debug, info, not a list"),
        (choice("only"), word("x"), 'expected only, not "x" (text)'),
        (optional(PORT), word("x"), 'expected a whole number from 0 to 65,535, or null, not "x" (text)'),
        (rules.PROFILE, word("123"), "not 123; put it in quotes if it is meant as text"),
        (rules.PROFILE, word(""), "expected the name of an AWS profile, not nothing"),
        (rules.PROFILE, quoted("a\x07"), "expected the name of an AWS profile"),
        (rules.COMMAND, quoted("a\0b"), "it holds a NUL"),
        (rules.COMMAND, quoted("notify 'x"), "no closing quotation"),
        (rules.COMMAND, quoted("  "), "expected a command and its arguments"),
        (rules.FILE, word("prices.yaml"), 'expected an absolute path (~ is your home), not "prices.yaml"'),
        (rules.HOST, word("example.com"), 'expected an IP address or localhost, not "example.com"'),
        (rules.ORIGIN, word("http://api.anthropic.com"), "plain http is allowed to loopback addresses only"),
        (rules.ORIGIN, word("ftp://x"), "it is not a URL"),
        (rules.ORIGIN, word("https://"), "it is not a URL"),
        (rules.ORIGIN, word("https://x:port"), "it is not a URL"),
        (rules.ORIGIN, word("https://[::1"), "it is not a URL"),
        (rules.ORIGIN, quoted("https://a b"), "it holds a space or a control character"),
        (rules.ORIGIN, quoted("https://a\\b"), "it holds a space or a control character"),
        (rules.ORIGIN, word("https://me:pw@x.com"), "must not carry a user or a password"),
        (rules.ORIGIN, word("https://x.com/v1"), "scheme, host and port only"),
        (rules.ORIGIN, word("https://x.com?a=1"), "scheme, host and port only"),
        (rules.PIN, word("sha256/short"), "expected sha256/ and the base64 of 32 bytes"),
        (rules.PIN, word(PIN.removeprefix("sha256/")), "expected sha256/ and the base64 of 32 bytes"),
        (rules.PIN, word("sha256/é"), "expected sha256/ and the base64 of 32 bytes"),
        (rules.TIMEZONE, word("Europe/Berlni"), "expected local or a time zone such as Europe/Berlin"),
        (rules.TIMEZONE, word("../etc/passwd"), "expected local or a time zone"),
        (rules.REGION, word("us-west-2.evil.com"), "expected an AWS region such as us-west-2"),
        (rules.REGION, quoted("us-west-2\n"), "expected an AWS region such as us-west-2"),
        (rules.MODEL, quoted("a b"), "expected a model id without spaces"),
        (rules.BACKEND_NAME, word("auto"), "force-backend auto means: no override"),
        (rules.BACKEND_NAME, word("Bedrock"), "expected a name of lower-case letters"),
    ],
)
def test_an_unfit_value_is_refused_with_what_is_allowed(rule: Rule, tree: Tree, words: str) -> None:
    with pytest.raises(Unfit) as caught:
        rule.read(tree)
    assert [line for line, _ in caught.value.wrong] == [7]
    assert words in caught.value.wrong[0][1]


def test_a_list_tells_each_bad_entry_with_its_own_line() -> None:
    rule = listing(choice("env", "keyring"), "sources")
    tree = Items(1, (Scalar(1, "env", "env"), Scalar(2, "vault", "vault"), Scalar(3, "env", "env"), TABLE))
    with pytest.raises(Unfit) as caught:
        rule.read(tree)
    assert caught.value.wrong == (
        (2, 'expected one of env, keyring, not "vault" (text)'),
        (3, '"env" (text) stands in the list twice'),
        (7, "expected one of env, keyring, not a table"),
    )
    with pytest.raises(Unfit, match="expected a list of sources, not 3"):
        rule.read(word("3"))


@pytest.mark.parametrize("value", ["http://hooks.example/s3cret", "https://", "https://[s3cret", "s3cret"])
def test_a_webhook_that_is_refused_is_not_repeated(value: str) -> None:
    with pytest.raises(Unfit) as caught:
        rules.WEBHOOK.read(word(value))
    assert "s3cret" not in str(caught.value)
    assert "not shown" in str(caught.value)


def test_a_secret_rule_takes_variables_as_its_inner_rule_does() -> None:
    assert secret(PORT).read_text("80") == 80
    assert secret(text("anything")).read_text("80") == "80"


@pytest.mark.parametrize(
    ("rule", "held", "value"),
    [
        (PORT, "8484", 8484),
        (SECONDS, "2.5", 2.5),
        (switch(), "no", False),
        (choice("1.2", "1.3"), "1.3", "1.3"),
        (rules.PROFILE, "123", "123"),
        (optional(rules.PROFILE), "null", None),
        (optional(SECONDS), "null", None),
    ],
)
def test_a_variable_is_read_by_what_its_key_wants(rule: Rule, held: str, value: object) -> None:
    assert rule.read_text(held) == value


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.com", False),
        ("127.1", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_a_long_value_is_cut_in_a_message() -> None:
    assert shown(word("x" * 500)) == f'"{"x" * 80}" (text)'


def test_without_a_time_zone_database_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    with pytest.raises(Unfit, match="install tzdata"):
        rules.TIMEZONE.read(word("Nowhere/Atall"))
