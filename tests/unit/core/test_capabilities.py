from __future__ import annotations

import pytest

from claude_failover.core.capabilities import Binding, Capabilities, capabilities


def test_a_model_about_which_nothing_is_known_takes_the_least() -> None:
    unknown = capabilities()
    assert unknown == Capabilities()
    assert (unknown.adaptive, unknown.effort, unknown.system_role, unknown.binding) == (False, (), False, Binding.NONE)


def test_later_layers_win_and_lists_become_values() -> None:
    made = capabilities({"adaptive": True, "effort": ["low", "high"]}, {"effort": ["low"], "binding": "enforced"})
    assert (made.adaptive, made.effort, made.binding) == (True, ("low",), Binding.ENFORCED)
    assert capabilities({"refused_tools": ["computer_20250124"]}).refused_tools == ("computer_20250124",)


def test_a_name_that_is_no_capability_is_a_mistake_in_the_table() -> None:
    with pytest.raises(ValueError, match="no such capability: adaptable, effortless"):
        capabilities({"effortless": [], "adaptable": True})
