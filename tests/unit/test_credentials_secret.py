from __future__ import annotations

import copy
import json
import pickle

import msgspec
import pytest

from claude_failover.credentials.secret import Secret

VALUE = "sk-ant-oat01-abcdefghijklmnop"


def test_the_value_is_got_by_name_only() -> None:
    assert Secret(f" {VALUE}\n").reveal() == VALUE


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{:>40}".format, "{!r}".format, lambda s: f"{[s]}"])
def test_no_way_of_showing_a_secret_shows_it(shown: object) -> None:
    assert callable(shown)
    assert VALUE not in shown(Secret(VALUE))


def test_a_secret_is_not_written_out_by_any_encoder() -> None:
    for encode in (pickle.dumps, json.dumps, msgspec.json.encode, msgspec.msgpack.encode, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            encode(Secret(VALUE))
        assert VALUE not in str(caught.value)


def test_a_secret_has_no_dictionary_to_dump() -> None:
    with pytest.raises(TypeError):
        vars(Secret(VALUE))


def test_secrets_compare_by_value_and_not_with_text() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("é")
    assert Secret(VALUE) != VALUE
    with pytest.raises(TypeError):
        hash(Secret(VALUE))


def test_four_characters_tell_two_secrets_apart_but_nothing_of_a_short_one() -> None:
    assert Secret(VALUE).tail == "mnop"
    assert Secret("short").tail == ""
    assert bool(Secret(" ")) is False
