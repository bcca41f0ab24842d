"""The file's tree: every key known, every value fit, or a complaint with its line."""

from __future__ import annotations

import pytest

from claude_failover.config_draft import Draft
from claude_failover.config_file import take_file
from claude_failover.config_yaml import read
from claude_failover.core.settings import Backend, Settings
from claude_failover.core.types import BackendName, Kind


def taken(text: str) -> Draft:
    document = read(text.encode())
    draft = Draft("config.yaml", document.problems)
    take_file(draft, document.tree)
    return draft


def settings(text: str) -> Settings:
    draft = taken(text)
    assert draft.problems == []
    return draft.build()


def complaints(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.text) for problem in taken(text).problems]


@pytest.mark.parametrize(
    "text",
    ["", "null\n", "{}\n", "listen:\nbackends:\nmodels:\nfallbacks:\nretry_policy:\n  RateLimitError:\nmetrics:\n"],
)
def test_nothing_said_means_the_defaults(text: str) -> None:
    assert settings(text) == Settings()


def test_every_part_of_the_file_is_read() -> None:
    found = settings("""
listen: {host: 127.0.0.1, port: 9000, client_key: off}
backends:
  - {name: sub, kind: anthropic, credential: client, tls_min_version: 1.2}
  - {name: west, kind: bedrock, region: us-west-2, scope: us, max_output_tokens: 8000}
models: {claude-opus-5-5: "arn:aws:bedrock:us-west-2:1:application-inference-profile/x"}
fallbacks:
  - {claude-opus-5-5: [west], claude-haiku-5-5: []}
  - claude-sonnet-5-5: [west]
retry_policy:
  OverloadedError: {retries: 0}
  ConnectionError: {max_wait: 2}
stream: {hold_max: 9}
credentials: {sources: [env]}
""")
    assert (found.listen.port, found.listen.client_key) == (9000, "off")
    assert found.backends == (
        Backend(BackendName("sub"), Kind.ANTHROPIC, credential="client", tls_min_version="1.2"),
        Backend(BackendName("west"), Kind.BEDROCK, region="us-west-2", scope="us", max_output_tokens=8000),
    )
    assert found.models == {"claude-opus-5-5": "arn:aws:bedrock:us-west-2:1:application-inference-profile/x"}
    assert found.fallbacks == {"claude-opus-5-5": ("west",), "claude-haiku-5-5": (), "claude-sonnet-5-5": ("west",)}
    assert found.retry_policy.overloaded.retries == 0
    assert found.retry_policy.overloaded.max_wait == 3.0
    assert found.retry_policy.connection.max_wait == 2.0
    assert found.stream.hold_max == 9.0
    assert found.credentials.sources == ("env",)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param("- x\n", 1, "expected keys such as listen: or backends:, not a list", id="list-on-top"),
        pytest.param("just words\n", 1, 'not "just words" (text)', id="text-on-top"),
        pytest.param("\nlisen: {}\n", 2, 'unknown key "lisen"; did you mean "listen"? (allowed: listen, ', id="typo"),
        pytest.param("port: 1\n", 1, '"port" belongs under listen', id="key-in-the-wrong-place"),
        pytest.param("zzz: 1\n", 1, 'unknown key "zzz" (allowed: ', id="no-guess"),
        pytest.param("<<: {}\n", 1, 'unknown key "<<"', id="merge-key"),
        pytest.param("listen: 3\n", 1, "listen: expected a table of keys, not 3", id="section-is-a-number"),
        pytest.param("listen:\n  - a\n", 2, "listen: expected a table of keys, not a list", id="section-is-a-list"),
        pytest.param(
            "listen:\n  hots: x\n",
            2,
            'listen: unknown key "hots"; did you mean "host"? '
            "(allowed: host, port, client_key, other_users, allow_remote)",
            id="typo-in-a-section",
        ),
        pytest.param("listen: {port: -1}\n", 1, "listen.port: expected a whole number", id="bad-value"),
        pytest.param("listen: {port: }\n", 1, "listen.port: expected a whole number", id="empty-value"),
        pytest.param("retry_policy: {retries: 1}\n", 1, 'retry_policy: unknown key "retries"', id="retry-key-too-high"),
        pytest.param(
            "retry_policy: {RateLimitError: {retires: 1}}\n",
            1,
            'retry_policy.RateLimitError: unknown key "retires"; did you mean "retries"?',
            id="typo-in-a-retry",
        ),
        pytest.param(
            "retry_policy: {RateLimitError: 3}\n", 1, "retry_policy.RateLimitError: expected a table", id="retry"
        ),
        pytest.param("backends: []\n", 1, "backends: at least one is needed", id="no-backend"),
        pytest.param("backends: {claude: x}\n", 1, "backends: expected a list (- name: ...)", id="backends-table"),
        pytest.param("backends:\n  - claude\n", 2, "backends: expected - name: ... and its keys", id="backend-word"),
        pytest.param(
            "backends:\n  - kind: bedrock\n",
            2,
            "backends: name is missing; expected a name of lower-case",
            id="no-name",
        ),
        pytest.param(
            "backends:\n  - name: a\n", 2, "backends: kind is missing; expected one of anthropic, bedrock", id="no-kind"
        ),
        pytest.param("backends:\n  - {name: A, kind: bedrock}\n", 2, "backends: name: expected a name", id="bad-name"),
        pytest.param("backends:\n  - {name: auto, kind: bedrock}\n", 2, "force-backend auto", id="reserved-name"),
        pytest.param("backends:\n  - {name: a, kind: vertex}\n", 2, "backends: kind: expected one of", id="bad-kind"),
        pytest.param(
            "backends:\n  - {name: a, kind: bedrock}\n  - name: a\n    kind: bedrock\n",
            3,
            'backends: duplicate name "a"',
            id="duplicate-backend",
        ),
        pytest.param(
            "backends:\n  - {name: a-b, kind: bedrock}\n  - {name: a_b, kind: bedrock}\n",
            3,
            'backends: "a-b" and "a_b" would share their variables',
            id="twin-backends",
        ),
        pytest.param(
            "backends:\n  - name: a\n    kind: bedrock\n    base_url: https://x\n",
            4,
            'backends.a: "base_url" is a key of kind anthropic, and this is of kind bedrock (allowed: name, ',
            id="key-of-the-other-kind",
        ),
        pytest.param(
            "backends:\n  - name: a\n    kind: bedrock\n    regionn: x\n",
            4,
            'backends.a: unknown key "regionn"; did you mean "region"?',
            id="typo-in-a-backend",
        ),
        pytest.param(
            "backends:\n  - {name: a, kind: bedrock, region: x}\n",
            2,
            "backends.a.region: expected an AWS region",
            id="region",
        ),
        pytest.param("models: [x]\n", 1, "models: expected a table of keys, not a list", id="models-list"),
        pytest.param("models: {claude-x: 3}\n", 1, "models.claude-x: expected a Bedrock model id", id="model-number"),
        pytest.param(
            "models: {'a b': x}\n", 1, 'models: expected a model id without spaces, not "a b"', id="model-key"
        ),
        pytest.param("fallbacks: {a: [b]}\n", 1, "fallbacks: expected a list of maps such as", id="fallbacks-table"),
        pytest.param(
            "fallbacks: [x]\n",
            1,
            'fallbacks: expected a list of maps such as - {claude-opus-5-5: [bedrock]}, not "x" (text)',
            id="word",
        ),
        pytest.param("fallbacks:\n  - {}\n", 2, "fallbacks: expected a list of maps", id="empty-map"),
        pytest.param(
            "fallbacks:\n  - {a: bedrock}\n", 2, "fallbacks.a: expected a list of backend names", id="chain-word"
        ),
        pytest.param("fallbacks:\n  - {a: [B]}\n", 2, "fallbacks.a: expected a name of lower-case", id="chain-name"),
        pytest.param(
            "fallbacks:\n  - {a: [b, b]}\n", 2, 'fallbacks.a: "b" (text) stands in the list twice', id="chain-twice"
        ),
        pytest.param(
            "fallbacks:\n  - {a: []}\n  - {a: [b]}\n", 3, 'fallbacks: "a" stands in the list twice', id="model-twice"
        ),
        pytest.param("fallbacks:\n  - {'a b': []}\n", 2, "fallbacks: expected a model id", id="fallback-key"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, words: str) -> None:
    found = complaints(text)
    assert [at for at, _ in found] == [line]
    assert words in found[0][1]


def test_a_backend_without_name_and_kind_is_told_both_and_its_typos() -> None:
    assert [line for line, _ in complaints("backends:\n  - regionn: x\n")] == [2, 2, 2]


def test_a_backend_of_an_unknown_kind_is_not_told_about_keys_of_either_kind() -> None:
    [(_, words)] = complaints("backends:\n  - {name: a, kind: azure, region: us-west-2, base_url: https://x}\n")
    assert words.startswith("backends: kind: expected one of anthropic, bedrock")


def test_a_file_whose_backends_are_all_bad_still_builds_the_rest() -> None:
    draft = taken("backends:\n  - {name: A, kind: b}\nlisten: {port: 1}\n")
    assert draft.build().listen.port == 1
    assert draft.build().backends == Settings().backends
