"""Text to a tree with lines: what a settings file needs of YAML, and nothing more."""

from __future__ import annotations

import math

import pytest

from claude_failover.config_yaml import MAX_BYTES, Document, Items, Problem, Scalar, Table, bare, plain, read


def test_a_tree_knows_the_line_of_every_key_and_value() -> None:
    document = read(b"listen:\n  port: 8484\nsources:\n  - env\n  - 'x'\n")
    assert document.problems == []
    assert document.tree == Table(
        1,
        {
            "listen": Table(2, {"port": Scalar(2, 8484, "8484")}, {"port": 2}),
            "sources": Items(4, (Scalar(4, "env", "env"), Scalar(5, "x", "x", quoted=True))),
        },
        {"listen": 1, "sources": 3},
    )


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only a comment\n", b"\xef\xbb\xbf# with a byte order mark\n"])
def test_an_empty_file_is_no_tree_and_no_problem(data: bytes) -> None:
    assert read(data) == Document()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("off", "off"),
        ("yes", "yes"),
        ("8484", 8484),
        ("-3", -3),
        ("1_000", 1000),
        ("0.5", 0.5),
        (".5", 0.5),
        ("100.00", 100.0),
        ("1e3", 1000.0),
        ("1.5E-2", 0.015),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        ("2026-11-22", "2026-11-22"),
        ("1.2.3", "1.2.3"),
        ("us-west-2", "us-west-2"),
        ("9" * 400, math.inf),
    ],
)
def test_an_unquoted_word_means_what_a_person_reads(text: str, value: object) -> None:
    found = plain(text)
    assert (found, type(found)) == (value, type(value))


def test_not_a_number_is_a_number_of_yaml() -> None:
    found = plain(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        pytest.param(b"a: 1\nb: 2\na: 3\n", 3, 'duplicate key "a" (first on line 1)', id="duplicate-key"),
        pytest.param(b"a: &x 1\nb: *x\n", 1, "anchors (&) and aliases (*) are not supported", id="anchor"),
        pytest.param(b"a: 1\nb: *x\n", 2, "anchors (&) and aliases (*) are not supported", id="alias"),
        pytest.param(b"a:\n  b: !!str 1\n", 2, "tags (tag:yaml.org,2002:str) are not supported", id="tag"),
        pytest.param(b"a: !!python/object:os.system x\n", 1, "tags (", id="python-tag"),
        pytest.param(b"a: 1\n---\nb: 2\n", 2, "a second document (---)", id="second-document"),
        pytest.param(b"a: 1\nb:\n\tc: 2\n", 3, "a tab in the indentation", id="tab"),
        pytest.param(b"a: 1\nb: 'x\n", 3, "not YAML: ", id="open-quote"),
        pytest.param(b"a: b: c\n", 1, "not YAML: mapping values are not allowed here", id="two-colons"),
        pytest.param(b"a: 1\n? [x]\n: 1\n", 2, "a key must be one word", id="list-as-key"),
        pytest.param(b"a: 1\nb: \xff\n", 2, "this is not UTF-8 text", id="latin-1"),
        pytest.param(b"a: 1\nb: \x01\n", 2, "control character U+0001", id="control-character"),
        pytest.param(b"[" * 100_000, 1, "nested more than 12 deep", id="deep"),
        pytest.param(b"a" * (MAX_BYTES + 1), 1, f"the file has {MAX_BYTES + 1} bytes", id="large"),
        pytest.param(b"%YAML 9.9\n---\na: 1\n", 1, "not YAML: found incompatible YAML document", id="version"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(data: bytes, line: int, words: str) -> None:
    problems = read(data).problems
    assert [problem.line for problem in problems] == [line]
    assert words in problems[0].text


def test_after_a_duplicate_key_the_rest_is_still_read() -> None:
    document = read(b"a: 1\na: 2\nb: 3\n")
    assert document.tree == Table(1, {"a": Scalar(1, 1, "1"), "b": Scalar(3, 3, "3")}, {"a": 1, "b": 3})
    assert document.problems == [Problem(2, 'duplicate key "a" (first on line 1)')]


def test_block_text_counts_as_quoted() -> None:
    assert read(b"a: |\n  12\n").tree == Table(1, {"a": Scalar(1, "12\n", "12\n", quoted=True)}, {"a": 1})


def test_a_tree_without_its_lines_is_plain_values() -> None:
    tree = read(b"models:\n  claude-x: {input: 3.5, notes: [a, null]}\n").tree
    assert tree is not None
    assert bare(tree) == {"models": {"claude-x": {"input": 3.5, "notes": ["a", None]}}}
