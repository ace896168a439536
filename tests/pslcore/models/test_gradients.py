"""The closed forms against the equations and autograd's gradients, in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore import losses
from pslcore.models import gradients


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def same(loss_and_gradient, loss, logits):
    """A closed form gives what a loss gives, and the gradient that autograd finds."""
    found, gradient = loss_and_gradient(logits)
    asked = logits.clone().requires_grad_()
    wanted = loss(asked)
    wanted.backward()
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, asked.grad, rtol=1e-10, atol=1e-12)


@st.composite
def cases(draw):
    """Logits [P, N, C] of peers, from nearly equal to far apart, and labels."""
    generator = seeded(draw(st.integers(0, 2**32)))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(2, 7)))
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * draw(st.sampled_from([0.01, 0.3, 3, 50]))
    return logits, torch.randint(shape[2], shape[1:2], generator=generator), generator


@given(cases(), st.sampled_from([0.0, 0.1]))
def test_equation_1(case, smoothing):
    logits, labels, _ = case
    same(
        lambda z: gradients.task(z, labels, smoothing),
        lambda z: losses.task_loss(z[0], labels, smoothing),
        logits[:1],
    )


@given(cases(), st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from([1.0, 4.0]))
def test_equation_2(case, alpha, temperature):
    logits, labels, generator = case
    given = torch.randn(logits.shape[1:], generator=generator, dtype=torch.float64), labels, alpha, temperature
    same(lambda z: gradients.in_class(z, *given), lambda z: losses.in_class_loss(z, *given), logits)


@pytest.mark.parametrize("ranking", losses.RANKINGS)
@given(cases(), st.sampled_from([0.01, 1.0, 30.0]), st.integers(0, 99))
def test_equation_5(ranking, case, margin, seed):
    logits = case[0]
    same(
        lambda z: gradients.out_of_class(z, margin, ranking, seeded(seed)),
        lambda z: losses.out_of_class_loss(z, margin, ranking, seeded(seed)),
        logits,
    )


@pytest.mark.parametrize("ranking", losses.RANKINGS)
def test_equation_5_where_a_pair_is_equal(ranking):
    """The paper's indicator is -1 there."""
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    logits[1, 1] -= logits[1, 1] - logits[0, 1] - torch.tensor([1.0, -1.0]) * 1e-3
    same(
        lambda z: gradients.out_of_class(z, 30.0, ranking, seeded(0)),
        lambda z: losses.out_of_class_loss(z, 30.0, ranking, seeded(0)),
        logits,
    )
