"""Methods in files of somebody's own, and everything that the contract refuses, each in one sentence."""

import numpy as np
import pytest

from pslcore import strategies
from pslcore.strategies import Strategy
from psllab.extend import contract
from psllab.extend.method_file import known_as, of_file

HEAD = """
import random
import numpy as np
import torch
from pslcore.strategies import Query, Strategy, top
"""
MARGIN = """
class Margin(Strategy):
    requires = ("logits",)

    def pick(self, query):
        ranked = np.sort(query.answers["logits"], axis=1)
        return top(query, ranked[:, -2] - ranked[:, -1])
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + text)
        return str(path)

    return write


def mine(body, declares="", before=""):
    """A file whose one method has this ``pick``."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return f"{before}\nclass Mine(Strategy):\n    {declares or 'pass'}\n\n    def pick(self, query):\n{lines}\n"


def test_a_good_file_is_found_named_and_kept(file):
    name = file(MARGIN)
    cls = of_file(name)
    assert of_file(f"{name}:Margin") is cls
    contract.check(cls())
    known = known_as(name, cls)
    assert known.startswith("Margin-")
    strategies.register(known, cls)
    strategies.register(known, cls)
    try:
        assert type(strategies.get(known)) is cls
        assert {path.name for path in strategies.sources(known)} == {"mine.py"}
    finally:
        del strategies._STRATEGIES[known]
    with pytest.raises(ValueError, match="'random' is that of another method already"):
        strategies.register("random", cls)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"defines no Strategy: write `class Mine\(Strategy\)`"),
        ("from pslcore.strategies import Random\n", "defines no Strategy"),
        (
            MARGIN + MARGIN.replace("Margin", "Other"),
            r"defines 2 strategies, Margin and Other: name one, such as .*:Mar",
        ),
        ("import bananas\n", "line 6: ModuleNotFoundError: No module named 'bananas'"),
        (mine("return 1", "width = 3"), "cannot be loaded .*annotat"),
    ],
)
def test_files_that_are_refused(file, text, said):
    with pytest.raises(ValueError, match=said) as caught:
        of_file(file(text))
    assert "\n" not in str(caught.value)


def test_a_class_that_is_not_there(file):
    with pytest.raises(ValueError, match=r"defines no Strategy 'Bananas': choose from Margin\."):
        of_file(f"{file(MARGIN)}:Bananas")


GOOD = "query.safe[:query.budget]"
RANDOM = "query.stream.choice(query.safe, query.budget, replace=False)"
BROKEN = [
    ("return None", "", "pick returned nothing from an ordinary pool: return an integer array"),
    (f"return {GOOD}.tolist()", "", "pick returned a list"),
    (f"return {GOOD}.astype(float)", "", "pick returned an array of float64 from an ordinary pool: return integers"),
    (f"return {GOOD} * np.nan", "", "an array of float64 that holds NaN"),
    (f"return {GOOD} > 0", "", "an array of bool"),
    ("return query.safe[:query.budget - 1]", "", "returned 9 images where 10 were asked for"),
    ("return query.safe[:query.budget + 1]", "", "returned 11 images where 10 were asked for"),
    (f"return {GOOD}[:, None]", "", r"an array of shape \(10, 1\) where 10"),
    ("return np.repeat(query.safe[:1], query.budget)", "", r"pick named image \d+ more than once"),
    ("return np.arange(query.budget)", "", r"protected or not there.*return `query.safe\[rows\]`"),
    ("return np.append(query.safe[1:query.budget], 10**6)", "", "named image 1000000, which is protected or not there"),
    ("return np.append(query.safe[1:query.budget], query.labelled[0])", "", r"image \d+, which is labelled already"),
    ("return np.random.default_rng().permutation(query.safe)[:query.budget]", "",
     "and then .* with the same seed: draw from `query.stream` only"),
    ("return np.random.permutation(query.safe)[:query.budget]", "", "global random numbers of NumPy"),
    ("np.random.seed(0)\nreturn np.random.permutation(query.safe)[:query.budget]", "", "random numbers of NumPy"),
    (f"random.random()\nreturn {GOOD}", "", r"global random numbers of Python \(`random`\)"),
    (f"torch.rand(1)\nreturn {GOOD}", "", "global random numbers of torch"),
    (f"query.safe[0] = 0\nreturn {GOOD}", "", "pick changed `query.safe` in place from an ord.*: work on a copy"),
    (f"query.safe.sort()\nquery.labels[:] = 0\nreturn {GOOD}", "", "pick changed `query.labels` in place"),
    (f"query.answers['logits'] -= 1\nreturn {RANDOM}", 'requires = ("logits",)', r'changed `query.answers\["logits'),
    (f"query.answers['mine'] = 1\nreturn {RANDOM}", "", "changed `query.answers` in place"),
    ("return top(query, query.answers['features'][:, 0])", "", "looks for 'features' .*which holds only what was"),
    ("return top(query, query.answers['logits'][:, 0] * np.nan)", 'requires = ("logits",)', "not a number"),
    ("return 1 / 0", "", "pick failed from an ordinary pool .line 11: ZeroDivisionError: division by zero"),
    ("raise SystemExit", "", "pick failed .*SystemExit"),
    (f"return {GOOD}", "", "takes .* other images of 10 when the same images stand under other numbers"),
    (f"return {RANDOM}", 'requires = ("logits")', r"requires = 'logits' must be a tuple of names"),
    (f"return {RANDOM}", 'requires = ("pixels",)', "requires names 'pixels': choose from logits, features"),
    (f"return {RANDOM}", 'requires = ("auxiliary",)', "names 'auxiliary', but the method has none"),
    ("self.calls = 1\nreturn query.safe[:query.budget]", "", "pick failed .*frozen"),
    ("self.seen.append(1)\nreturn np.roll(query.safe, len(self.seen))[:query.budget]",
     "seen: list = []", "and then .* with the same seed"),
    ("assert query.budget < len(query.safe)\nreturn " + RANDOM, "", "from a pool that is wanted whole"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "declares", "said"), BROKEN)
def test_what_the_contract_refuses(file, body, declares, said):
    strategy = of_file(file(mine(body, declares)))()
    with pytest.raises(contract.Broken, match=said) as caught:
        contract.check(strategy)
    assert "\n" not in str(caught.value)


def test_a_method_without_pick(file):
    with pytest.raises(contract.Broken, match="Mine has no `pick`"):
        contract.check(of_file(file("class Mine(Strategy):\n    pass\n"))())


def test_the_globals_are_put_back():
    before = contract._globals()
    with contract.other_globals():
        inside = contract._globals()
        np.random.rand()  # noqa: NPY002
    assert contract._globals() == before
    assert all(before[name] != inside[name] for name in before)


def test_nothing_stands_on_both_sides(file):
    """It could hold the client's images in one hand and the task learner in the other."""
    both = """
class Both(Strategy):
    has_auxiliary = True

    def learner(self, client, setup):
        self.client = client

    def auxiliary(self, network):
        self.network = network

    def pick(self, query):
        return query.safe[: query.budget]
"""
    told = "Both has an `auxiliary` module .* and a `learner` on the client: a method has one of the two"
    with pytest.raises(ValueError, match=told):
        of_file(file(both))
    scope = {"Strategy": Strategy}
    exec(both, scope)
    with pytest.raises(contract.Broken, match=told):
        contract.check(scope["Both"]())


def test_a_query_holds_what_was_declared_and_its_rows_belong_together():
    for name in strategies.names():
        strategy = strategies.get(name)
        for pool in contract.POOLS:
            query = contract.made(strategy, pool)
            assert set(query.answers) == set(strategy.requires)
            assert set(query.labelled_answers) == set(strategy.requires_labelled)
            assert (query.head is not None) == strategy.requires_head
            assert not set(query.safe) & set(query.labelled)
            assert (len(query.safe), len(query.labelled), query.budget) == (pool.safe, pool.labelled, pool.budget)
            if {"features", "logits"} <= set(strategy.requires) and query.head is not None:
                weight, bias = query.head
                logits = query.answers["features"] @ weight.T / 2 + bias
                np.testing.assert_allclose(query.answers["logits"], logits, rtol=1e-4, atol=1e-5)


def test_former_names_are_taken_and_the_new_ones_said(file):
    text = MARGIN.replace("    requires =", "    asks =")
    assert text != MARGIN
    with pytest.warns(FutureWarning, match="Margin: `asks` is now called `requires`"):
        cls = of_file(file(text + "# once"))
    assert cls.requires == ("logits",)
    contract.check(cls())
