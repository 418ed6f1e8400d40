"""Registries: names are known without an import, and things are imported when they are asked for."""

import pytest

from autoprune.base.registry import Registry
from autoprune.errors import UserError

THINGS = Registry("thing", {"pi": "math:pi", "gone": "no_such_module:x"}, "autoprune.tests.things")


def test_names_are_known_without_an_import():
    assert list(THINGS) == ["pi", "gone"]
    assert len(THINGS) == 2
    assert "gone" in THINGS
    assert 3.1 < THINGS["pi"] < 3.2


@pytest.mark.parametrize(
    "name, message",
    [
        ("pie", "unknown thing 'pie': use pi$"),
        ("x", "unknown thing 'x': use pi, gone$"),
        (["pi"], "unknown thing .*pi.*: use pi, gone$"),
        (None, "unknown thing None: use pi, gone$"),
    ],
)
def test_an_unknown_name_is_refused_with_the_near_matches(name, message):
    assert name not in THINGS
    with pytest.raises(UserError, match=message):
        THINGS[name]


def test_an_import_that_fails_in_autoprune_itself_is_no_fault_of_the_user():
    with pytest.raises(ModuleNotFoundError):
        THINGS["gone"]
