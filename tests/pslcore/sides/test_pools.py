"""The sets of section 3.1, under any order of labelling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pslcore.sides import Pools, ProtectedDataError, protected_setting, standard_setting

SETS = ("labelled", "unlabelled", "safe", "protected")


def sets_of(pools):
    return {name: getattr(pools, name).tolist() for name in SETS}


class AnyOrder(RuleBasedStateMachine):
    """Pools beside a model of plain Python sets, through good and bad labelling."""

    @initialize(n=st.integers(1, 40), seed=st.integers(0, 1000))
    def start(self, n, seed):
        kind = np.random.default_rng(seed).integers(0, 3, n)
        self.everything = set(range(n))
        self.labelled = set(np.flatnonzero(kind == 1).tolist())
        self.protected = set(np.flatnonzero(kind == 2).tolist())
        self.pools = Pools(n, self.labelled, self.protected)

    def some(self, data, pool, least):
        return data.draw(st.lists(st.sampled_from(sorted(pool)), min_size=least, unique=True)) if pool else []

    @rule(data=st.data())
    def label(self, data):
        chosen = self.some(data, self.everything - self.labelled - self.protected, 0)
        self.pools.label(data.draw(st.sampled_from([list, set, np.array]))(chosen))
        self.labelled |= set(chosen)

    @rule(data=st.data())
    def refuse(self, data):
        """One bad index among good ones: all are refused."""
        good = self.some(data, self.everything - self.labelled - self.protected, 0)
        n = len(self.everything)
        bad, error, sentence = data.draw(
            st.sampled_from([
                (sorted(self.protected)[:1], ProtectedDataError, "protected image.* about to be labelled"),
                (sorted(self.labelled)[:1], ValueError, "is labelled already: pick from the safe pool only"),
                ([n], ValueError, f"holds {n}, but the training set has the indices 0 to {n - 1}"),
                ([-1], ValueError, "holds -1, but"),
                (good[:1], ValueError, "names an image more than once"),
            ])
        )  # fmt: skip
        if bad:
            place = data.draw(st.integers(0, len(good)))
            with pytest.raises(error, match=sentence):
                self.pools.label([*good[:place], *bad, *good[place:]])

    @invariant()
    def the_sets_are_those_of_the_spec(self):
        if not hasattr(self, "pools"):
            return
        unlabelled = self.everything - self.labelled
        wanted = (self.labelled, unlabelled, unlabelled - self.protected, self.protected)
        assert sets_of(self.pools) == {name: sorted(pool) for name, pool in zip(SETS, wanted, strict=True)}
        assert all(getattr(self.pools, name).dtype == np.int64 for name in SETS)
        assert self.pools.fingerprint() == Pools(len(self.everything), self.labelled, self.protected).fingerprint()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, stateful_step_count=12)


def test_what_one_holds_of_the_pools_cannot_change_them():
    pools = Pools(6, [1], [2])
    for name in SETS:
        getattr(pools, name)[:] = 0
    assert sets_of(pools) == {"labelled": [1], "unlabelled": [0, 2, 3, 4, 5], "safe": [0, 3, 4, 5], "protected": [2]}


def test_protected_is_refused_and_nothing_has_changed():
    pools = Pools(6, [1], [2, 3])
    before = pools.fingerprint()
    with pytest.raises(ProtectedDataError, match=r"2 protected image\(s\) were about to be labelled .*first is 2"):
        pools.label([0, 3, 5, 2])
    assert pools.fingerprint() == before
    with pytest.raises(ProtectedDataError, match="the first is 4"):
        Pools(6, [1, 4], [4])


@pytest.mark.parametrize(
    ("indices", "sentence"),
    [
        (np.zeros(6, dtype=bool), "got bool of shape .* pass dataset indices, not a mask"),
        ([True, False], "not a mask"),
        (np.array([[1], [2]]), "must be a flat list of whole numbers"),
        (np.array([1.0, 2.0]), "got float64"),
        (["1"], "whole numbers"),
        ([0, 6], "holds 6, but the training set has the indices 0 to 5"),
        (np.array([2**63], dtype=np.uint64), "holds 9223372036854775808"),
        ([-1], "holds -1"),
        ([0, 0], "more than once"),
    ],
)
def test_what_is_no_list_of_indices_is_refused_everywhere(indices, sentence):
    for refuse in (Pools(6, []).label, lambda wrong: Pools(6, wrong), lambda wrong: Pools(6, [], wrong)):
        with pytest.raises(ValueError, match=sentence):
            refuse(indices)


@pytest.mark.parametrize("n", [0, -3])
def test_no_images_no_pools(n):
    with pytest.raises(ValueError, match="cannot be split into pools: it needs at least one"):
        Pools(n, [])


def test_labelling_nothing_is_allowed():
    pools = Pools(3, [0])
    pools.label([])
    pools.label(np.empty(0))
    assert pools.labelled.tolist() == [0]


@given(st.integers(1, 12), st.data())
def test_fingerprints_are_equal_exactly_when_the_pools_are(n, data):
    def pools(size):
        kinds = data.draw(st.lists(st.sampled_from("ulp"), min_size=size, max_size=size))
        return Pools(size, *([i for i, kind in enumerate(kinds) if kind == wanted] for wanted in "lp"))

    one, two = pools(n), pools(data.draw(st.sampled_from([n, n + 1])))
    assert (one.fingerprint() == two.fingerprint()) == ((one.n, sets_of(one)) == (two.n, sets_of(two)))


def test_the_fingerprint_knows_the_number_of_images():
    assert Pools(3, [0]).fingerprint() != Pools(4, [0]).fingerprint()


@given(st.integers(1, 300), st.floats(0, 0.99), st.floats(0, 1), st.integers(0, 50))
def test_the_protected_setting(n, fraction, part, seed):
    n_protected = round(fraction * n)
    initial = int(part * (n - n_protected))
    pools = protected_setting(n, initial, fraction, seed)
    assert (pools.protected.size, pools.labelled.size) == (n_protected, initial)
    assert pools.safe.size == n - n_protected - initial
    assert pools.fingerprint() == protected_setting(n, initial, fraction, seed).fingerprint()
    none = protected_setting(n, 0, fraction, seed)
    assert np.array_equal(none.protected, pools.protected)  # whatever `initial` is
    smaller = protected_setting(n, initial // 2, fraction, seed)
    assert set(smaller.labelled) <= set(pools.labelled)


def test_the_standard_setting_protects_nothing():
    pools = standard_setting(50, 5, seed=3)
    assert (pools.protected.size, pools.labelled.size, pools.safe.size) == (0, 5, 45)
    assert pools.fingerprint() == standard_setting(50, 5, seed=3).fingerprint()


def test_seeds_draw_different_pools_and_all_images_alike():
    pools = [protected_setting(40, 4, 0.5, seed) for seed in range(400)]
    assert len({each.fingerprint() for each in pools}) == 400
    for name, expected in (("protected", 200), ("labelled", 40)):
        times = np.bincount(np.concatenate([getattr(each, name) for each in pools]), minlength=40)
        assert np.abs(times - expected).max() < 5 * np.sqrt(expected * (1 - expected / 400))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: protected_setting(10, 2, 0.9), "initial pool of 2 images cannot be drawn: 9 of 10 .* leaves 1"),
        (lambda: protected_setting(10, -1), "initial pool of -1 images"),
        (lambda: protected_setting(10, 1, 1.0), "protected fraction 1.0 is impossible"),
        (lambda: protected_setting(10, 1, -0.1), "protected fraction -0.1 is impossible"),
        (lambda: protected_setting(10, 1, float("nan")), "protected fraction nan is impossible"),
        (lambda: standard_setting(10, 11), "initial pool of 11 images cannot be drawn"),
    ],
)
def test_impossible_settings(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
