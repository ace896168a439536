"""Settings: whatever is given, a model comes out or one sentence that names the value and the place."""

import math
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import Field

from pslcore import strategies
from pslcore.federated import FederatedConfig
from pslcore.recipe import Recipe
from pslcore.runs import Config
from pslcore.settings import Real, Settings, Whole, short
from psllab.grid import config_of
from psllab.grid.params import Experiment, Scales


class Inner(Settings):
    count: Whole = Field(3, ge=1, le=9)
    rate: Real = Field(0.5, ge=0, lt=1)


class Outer(Settings):
    name: str
    kind: Literal["one", "two"] = "one"
    inner: Inner = Field(default_factory=Inner)
    on: bool = True


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "`name` is missing: say what it is."),
        ({"name": 3}, "name = 3 must be a valid string."),
        ({"name": "a", "nme": 3}, "unknown setting 'nme': choose from name, kind, inner, on."),
        ({"name": "a", "kind": "three"}, "kind = 'three' must be 'one' or 'two'."),
        ({"name": "a", "on": 1}, "on = 1 must be a valid boolean."),
        ({"name": "a", "inner": None}, "inner = None must be a valid dictionary."),
        ({"name": "a", "inner": {"count": 0}}, "inner.count = 0 must be greater than or equal to 1."),
        ({"name": "a", "inner": {"count": 10**30}}, f"inner.count = {10**30} must be less than or equal to 9."),
        ({"name": "a", "inner": {"count": 2.5}}, "inner.count = 2.5 must be a valid integer."),
        ({"name": "a", "inner": {"count": True}}, "inner.count = True must be a valid integer."),
        ({"name": "a", "inner": {"rate": math.nan}}, "inner.rate = nan must be a finite number."),
        ({"name": "a", "inner": {"rate": "5e-4"}}, "inner.rate = '5e-4' must be a valid number."),
        ({"name": "a", "inner": {"rate": 1}}, "inner.rate = 1 must be less than 1."),
        ({"name": "a", "inner": {"x": 1}}, "inner: unknown setting 'x': choose from count, rate."),
        (
            {"name": "a", "inner": {"rate": 0, 5: None}},  # a decimal comma in YAML
            "inner = {'rate': 0, 5: None}: 5 is no name of a setting: write `name: value` for each, and numbers with a "
            "point (0.5), not a comma.",
        ),
        ([1], "[1] must be a mapping of settings: write `name: value` for each."),
        (None, "None must be a mapping of settings: write `name: value` for each."),
    ],
)
def test_the_sentence(given, sentence):
    with pytest.raises(ValueError) as caught:
        Outer.of(given)
    assert str(caught.value) == sentence


def test_settings_are_frozen_and_keep_numbers_as_written():
    made = Outer(name="a", inner=Inner(count=4.0, rate=0))
    assert (made.inner.count, made.changed()) == (4, {"name": "a", "inner": {"count": 4, "rate": 0}})
    assert isinstance(made.inner.count, int)
    assert isinstance(made.inner.rate, int)  # 0 and 0.0 make two keys, as they always have
    with pytest.raises(ValueError, match="frozen"):
        made.name = "b"
    assert made.but(name="b").changed() == {"name": "b", "inner": {"count": 4, "rate": 0}}
    with pytest.raises(ValueError, match="kind = 'x' must be 'one' or 'two'"):
        made.but(kind="x")
    assert Outer(name="a").changed() == {"name": "a"}


def test_a_long_value_is_cut():
    assert short("x" * 200) == f"'{'x' * 76}..."


SOMETHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.integers(-(10**40), 10**40) | some.floats() | some.text()
    | some.binary(),
    lambda inner: some.lists(inner, max_size=3)
    | some.dictionaries(some.text(max_size=8) | some.integers(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
CLASSES = [Recipe, Config, FederatedConfig, Experiment, Scales, *(strategies.kind(name) for name in strategies.names())]


def one_sentence(make, given):
    """A model comes out, or a ``ValueError`` of one line that ends like a sentence."""
    try:
        made = make(given)
    except ValueError as error:
        kind, text = type(error), str(error)
    else:
        assert isinstance(made, Settings)
        return
    assert kind is ValueError
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 1000


@settings(max_examples=300)
@given(some.sampled_from(CLASSES), SOMETHING)
def test_anything_at_all_gives_a_model_or_one_sentence(cls, given):
    one_sentence(cls.of, given)


@pytest.mark.slow
@settings(max_examples=500)
@given(some.data())
def test_random_settings_give_a_model_or_one_sentence(data):
    """Known names with random values: the deepest checks are reached."""
    cls = data.draw(some.sampled_from(CLASSES))
    names = data.draw(some.lists(some.sampled_from([*cls.model_fields, "else"]), unique=True, max_size=6))
    good = {"dataset": "digits", "method": "psl"} if issubclass(cls, Config) else {}
    one_sentence(cls.of, good | {name: data.draw(SOMETHING) for name in names})


@pytest.mark.slow
@settings(max_examples=300)
@given(some.dictionaries(some.sampled_from([*FederatedConfig.model_fields]), SOMETHING, max_size=6))
def test_so_does_a_config_of_either_kind(given):
    one_sentence(config_of, {"dataset": "digits", "method": "psl"} | given)
    one_sentence(config_of, {"dataset": "digits", "method": "psl", "recipe": given, "options": given})
