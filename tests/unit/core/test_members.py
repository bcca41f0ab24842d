"""Enumerations whose members are plain attributes stay enumerations."""

from __future__ import annotations

import copy
import pickle
from enum import StrEnum

import pytest

from claude_failover.core.members import at_hand
from claude_failover.core.types import Outcome


@at_hand
class Colour(StrEnum):
    RED = "r"
    GREEN = "g"
    ALSO_RED = "r"

    @property
    def is_red(self) -> bool:
        return self is Colour.RED


def test_a_member_is_an_attribute_of_its_class_and_itself() -> None:
    assert vars(Colour)["RED"] is Colour.RED is Colour("r") is Colour["RED"]
    assert Colour.RED.is_red
    assert not Colour.GREEN.is_red


def test_an_alias_is_the_member_that_it_names() -> None:
    assert vars(Colour)["ALSO_RED"] is Colour("r")


def test_name_and_value_are_what_they_were() -> None:
    assert [(one.name, one.value, str(one)) for one in Colour] == [("RED", "r", "r"), ("GREEN", "g", "g")]
    assert repr(Colour.GREEN) == "<Colour.GREEN: 'g'>"


def test_members_still_cannot_be_set_or_taken_away() -> None:
    with pytest.raises(AttributeError):
        Colour.RED = "x"  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError):
        del Colour.RED
    with pytest.raises(AttributeError):
        Colour.RED.value = "x"  # type: ignore[misc]  # the point of the test


def test_copies_and_pickles_are_the_member_itself() -> None:
    assert copy.deepcopy(Outcome.CUT) is Outcome.CUT
    assert pickle.loads(pickle.dumps(Outcome.CUT)) is Outcome.CUT
