"""What is handed to the selection functions: right, whatever its type; wrong, one sentence and never numpy's words."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore.losses import consensus, discrepancy, entropy
from pslcore.strategies.alfa_mix import alfa_mix
from pslcore.strategies.badge import badge
from pslcore.strategies.core_set import k_center_greedy

RNG = np.random.default_rng(0)
N, C, D = 9, 4, 5
GOOD = {
    badge: {"probabilities": RNG.dirichlet(np.ones(C), N), "features": RNG.normal(size=(N, D)), "budget": 3, "seed": 0},
    k_center_greedy: {"features": RNG.normal(size=(N, D)), "centers": RNG.normal(size=(3, D)), "budget": 3},
    alfa_mix: {
        "features": RNG.normal(size=(N, D)), "labelled_features": RNG.normal(size=(C, D)), "bias": RNG.normal(size=C),
        "weight": RNG.normal(size=(C, D)), "labelled_labels": np.arange(C), "budget": 3, "seed": 0,
    },
}  # fmt: skip
BREAK = {
    "NaN": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, np.nan, a),
    "infinity": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 1, -np.inf, a),
    "one dimension more": lambda a: a[..., None],
    "one dimension less": lambda a: a[0],
    "no columns": lambda a: a[:, :0] if a.ndim == 2 else a[:0],
    "text": lambda a: a.astype(str),
    "complex": lambda a: a + 1j,
    "ragged": lambda a: [[1.0, 2.0], [3.0]],
    "objects": lambda a: a.astype(object),
    "nothing": lambda a: None,
}


@pytest.mark.parametrize("how", BREAK)
@pytest.mark.parametrize(
    ("function", "name"),
    [(f, name) for f, held in GOOD.items() for name, value in held.items() if isinstance(value, np.ndarray)],
)
def test_what_is_no_array_of_numbers_of_the_right_shape_is_told_by_its_name(function, name, how):
    with pytest.raises(ValueError) as caught:
        function(**(GOOD[function] | {name: BREAK[how](GOOD[function][name])}))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert name in str(caught.value) or how in ("ragged", "no columns")  # which others may then not fit


@pytest.mark.parametrize("function", GOOD)
@pytest.mark.parametrize("budget", [-1, N + 1, 2.0, "3", None, np.nan])
def test_a_budget_that_cannot_be(function, budget):
    with pytest.raises(ValueError, match=r"^budget .*pass (an int|0 to 9)\.$"):
        function(**(GOOD[function] | {"budget": budget}))


@pytest.mark.parametrize("function", GOOD)
def test_an_empty_pool_gives_nothing_and_nothing_more_can_be_asked_of_it(function):
    given = {
        name: value[:0] if name in ("features", "probabilities") else value for name, value in GOOD[function].items()
    }
    assert function(**(given | {"budget": 0})).shape == (0,)
    with pytest.raises(ValueError, match=r"budget is 1 but there are 0 rows"):
        function(**(given | {"budget": 1}))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_softmax_of_any_precision_is_probabilities(dtype):
    logits = torch.randn(N, 1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert len(badge(logits.softmax(1), GOOD[badge]["features"], 3, 0)) == 3


@given(st.sampled_from([0.0, 0.5, 0.97, 1.03, 2.0, 100.0]), st.integers(0, N - 1))
def test_rows_that_do_not_sum_to_1_are_no_probabilities(factor, row):
    scores = GOOD[badge]["probabilities"].copy()
    scores[row] *= factor
    with pytest.raises(ValueError, match=rf"^row {row} of probabilities sums to {factor:.3g}, not to 1: pass"):
        badge(**(GOOD[badge] | {"probabilities": scores}))


@pytest.mark.parametrize("logits", [RNG.normal(size=(N, C)), np.abs(RNG.normal(size=(N, C))), np.ones((N, C))])
def test_logits_are_no_probabilities(logits):
    with pytest.raises(ValueError, match=r"pass softmax outputs, not (logits|scores)"):
        badge(**(GOOD[badge] | {"probabilities": logits}))


@pytest.mark.parametrize("step", [0, -1, np.nan, np.inf, 1e-9, "0.1", None])
def test_a_step_that_never_arrives_is_refused(step):
    with pytest.raises(ValueError, match=r"^cap_step is .*: pass a positive number, at least a millionth\.$"):
        alfa_mix(**(GOOD[alfa_mix] | {"cap_step": step}))


@pytest.mark.parametrize("function", [discrepancy, consensus, entropy])
@pytest.mark.parametrize(
    "logits",
    [RNG.normal(size=(2, N, C)), [[1.0]], None, torch.zeros(3), torch.zeros(2, N, 0), torch.zeros(N, 0)],
)
def test_logits_of_peers_are_tensors_of_a_known_shape(function, logits):
    with pytest.raises(ValueError, match=r"logits (have the shape|are (ndarray|list|NoneType), not a tensor)"):
        function(logits)
