"""The equations against a float64 NumPy reference that is written from the spec, one pixel and one pair at a time."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pslcore import losses

VOID = 255


# The reference


def log_softmax(z):
    z = np.asarray(z, dtype=np.float64)
    return z - z.max() - np.log(np.exp(z - z.max()).sum())


def kl(z, w):
    """KL(softmax(z) || softmax(w)) of two vectors of logits."""
    p, q = log_softmax(z), log_softmax(w)
    return sum(np.exp(p[c]) * (p[c] - q[c]) for c in range(len(p)))


def cross_entropy(z, target):
    return -sum(target[c] * log_softmax(z)[c] for c in range(len(target)))


def vectors(logits, n, valid=None):
    """For each pixel of image n that counts: the peers' vectors of logits [P, C]."""
    z = logits.double().numpy()
    for place in np.ndindex(*z.shape[3:]):
        if valid is None or valid[(n, *place)]:
            yield z[(slice(None), n, slice(None), *place)]


def reference_discrepancy(logits, valid=None):
    pairs = [(j, k) for j in range(len(logits)) for k in range(len(logits)) if j != k]
    return np.array([
        sum(kl(z[j], z[k]) for z in vectors(logits, n, valid) for j, k in pairs) for n in range(logits.shape[1])
    ])  # fmt: skip


def magnitude(logits, valid=None):
    """What rounding errors of the discrepancy are measured by: the sum of the sizes of all its terms."""
    return np.array([
        sum(
            ((np.exp(log_softmax(z[j])) + np.exp(log_softmax(z[k]))) * np.abs(z[j] - z[k])).sum()
            for z in vectors(logits, n, valid) for j in range(len(z)) for k in range(j)
        )
        for n in range(logits.shape[1])
    ])  # fmt: skip


def reference_consensus(logits, valid=None):
    found = []
    for n in range(logits.shape[1]):
        pixels = [[int(np.argmax(vector)) for vector in z] for z in vectors(logits, n, valid)]
        agree = [
            sum(answers[j] == answers[k] for answers in pixels) * 2 > len(pixels)
            for j in range(len(logits)) for k in range(j)
        ]  # fmt: skip
        found.append(any(agree))
    return found


def reference_entropy(logits, valid=None):
    values = []
    for n in range(len(logits)):
        each = [-(np.exp(log_softmax(z[0])) * log_softmax(z[0])).sum() for z in vectors(logits[None], n, valid)]
        values.append(sum(each) / max(1, len(each)))
    return np.array(values)


def reference_in_class(logits, teacher, labels, alpha, tau):
    counted, total = 0, 0.0
    for n in range(logits.shape[1]):
        for place in np.ndindex(*logits.shape[3:]):
            label = int(labels[(n, *place)])
            if label == VOID:
                continue
            counted += 1
            soft = np.exp(log_softmax(teacher[(n, slice(None), *place)].double().numpy() / tau))
            for z in logits[(slice(None), n, slice(None), *place)].double().numpy():
                total += (1 - alpha) * -log_softmax(z)[label] + alpha * tau**2 * cross_entropy(z / tau, soft)
    return total / max(1, counted)


def reference_margin(d_disagree, d_agree, margin, ranking):
    gap = d_disagree - d_agree
    return max(0.0, margin - (abs(gap) if ranking == "paper" else gap))


# Inputs

SCALES = (1e-6, 1e-3, 1.0, 10.0, 100.0, 1e4)


@st.composite
def peer_logits(draw, peers=(1, 5), scales=SCALES, classes=(2, 12), dtype=torch.float32):
    """[P, N, C] or [P, N, C, H, W]; at the smallest scales the peers are nearly equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spatial = draw(st.sampled_from([(), (1, 1), (2, 3), (3, 2)]))
    shape = (draw(st.integers(*peers)), draw(st.integers(1, 4)), draw(st.integers(*classes)), *spatial)
    scale = draw(st.sampled_from(scales))
    common = rng.normal(0, 3, shape[1:]) if scale < 1 else 0
    return torch.tensor(rng.normal(0, scale, shape) + common, dtype=dtype)


@st.composite
def masks(draw, logits):
    """Valid pixels of such logits, and void images among them; None for image labels."""
    if logits.ndim == 3:
        return None
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    part = draw(st.sampled_from([0.0, 0.5, 1.0]))
    return torch.tensor(rng.random((logits.shape[1], *logits.shape[3:])) < part)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, scale=2.0, dtype=torch.float64):
    return (torch.randn(shape, generator=seeded(seed), dtype=torch.float64) * scale).to(dtype)


# Discrepancy


@given(st.data())
def test_discrepancy_is_the_sum_of_the_divergences_of_all_ordered_pairs(data):
    logits = data.draw(peer_logits())
    valid = data.draw(masks(logits))
    wanted, size = reference_discrepancy(logits, valid), magnitude(logits, valid)
    d = losses.discrepancy(logits, valid)
    assert d.shape == logits.shape[1:2]
    assert d.dtype == torch.float32
    assert (np.abs(d.numpy() - wanted) <= 4e-6 * size).all()
    assert (np.abs(losses.discrepancy(logits.double(), valid).numpy() - wanted) <= 1e-12 * size).all()


@given(peer_logits(peers=(2, 5), scales=(1.0, 10.0, 100.0)))
def test_discrepancy_is_accurate_to_a_millionth_or_six_digits(logits):
    np.testing.assert_allclose(losses.discrepancy(logits).numpy(), reference_discrepancy(logits), 5e-6, 1e-6)


@given(peer_logits(), st.booleans())
def test_discrepancy_is_finite_never_negative_and_differentiable(logits, extreme):
    if extreme:  # only +-1e4 itself
        logits = torch.where(logits > 0, 1e4, -1e4)
    logits.requires_grad_()
    d = losses.discrepancy(logits)
    assert torch.isfinite(d).all()
    assert (d >= 0).all()
    d.sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("peers", [2, 3, 4])
def test_discrepancy_of_peers_that_differ_by_a_rounding_is_not_negative(peers):
    logits = normal(1, 20_000, 10, scale=3.0) + normal(peers, 20_000, 10, seed=1, scale=1e-6)
    d = losses.discrepancy(logits.float())
    assert (d >= 0).all()
    assert d.max() < 1e-9


@given(st.data())
def test_discrepancy_and_consensus_do_not_know_the_order_of_the_peers(data):
    logits = data.draw(peer_logits())
    order = data.draw(st.permutations(range(len(logits))))
    assert torch.equal(losses.discrepancy(logits[order]), losses.discrepancy(logits))
    assert torch.equal(losses.consensus(logits[order]), losses.consensus(logits))


@given(peer_logits(), st.integers(2, 11))
def test_equal_peers_have_no_discrepancy_at_all(logits, peers):
    equal = logits[:1].expand(peers, *logits.shape[1:])
    assert torch.equal(losses.discrepancy(equal), torch.zeros(logits.shape[1]))
    assert losses.consensus(equal).all()


def test_a_single_peer_with_the_largest_logits_there_are():
    assert losses.discrepancy(torch.full((1, 2, 12), 3e38)).tolist() == [0, 0]


@given(peer_logits(peers=(1, 1)))
def test_a_single_peer_has_no_discrepancy_and_nobody_to_agree_with(logits):
    assert not losses.discrepancy(logits).any()
    assert not losses.consensus(logits).any()


@given(st.data())
def test_discrepancy_in_chunks_is_the_very_same(data):
    logits = data.draw(peer_logits())
    valid = data.draw(masks(logits))
    whole = losses.discrepancy(logits, valid)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        original = losses._discrepancy
        patch.setattr(losses, "_discrepancy", lambda *given: calls.append(1) or original(*given))
        patch.setattr(losses, "_CHUNK", 2 * logits[0, 0].numel())
        assert torch.equal(losses.discrepancy(logits, valid), whole)
    assert len(calls) == -(-logits.shape[1] // 2)


@pytest.mark.parametrize("peers", [2, 3, 4])
@pytest.mark.parametrize("spatial", [(), (2, 2)])
def test_gradient_of_the_discrepancy(peers, spatial):
    logits = normal(peers, 2, 3, *spatial).requires_grad_()
    assert torch.autograd.gradcheck(losses.discrepancy, logits)


def test_half_precision_is_computed_in_float32():
    logits = normal(2, 3, 5, dtype=torch.bfloat16)
    assert torch.equal(losses.discrepancy(logits), losses.discrepancy(logits.float()))
    assert losses.task_loss(logits[0], torch.tensor([0, 1, 2])).dtype == torch.float32


# Consensus


@given(st.data())
def test_consensus_is_that_of_any_pair(data):
    logits = data.draw(peer_logits())
    valid = data.draw(masks(logits))
    assert losses.consensus(logits, valid).tolist() == reference_consensus(logits, valid)


@given(st.integers(2, 4), st.integers(0, 10**6))
def test_more_peers_than_classes_always_agree(classes, seed):
    assert losses.consensus(normal(classes + 1, 6, classes, seed=seed)).all()


@pytest.mark.parametrize(("agreeing", "counted", "wanted"), [(2, 4, False), (3, 4, True), (2, 3, True), (0, 0, False)])
def test_more_than_half_of_the_pixels_must_agree(agreeing, counted, wanted):
    logits = torch.zeros(2, 1, 2, 2, 2)
    logits[0, :, 0] = 1  # the first peer says 0 everywhere
    logits[1, :, 1] = 1
    logits[1, :, :, :, :].flatten(2)[:, 0, :agreeing] = 2  # the second on so many pixels
    valid = (torch.arange(4) < counted).view(1, 2, 2)
    assert losses.consensus(logits, valid).tolist() == [wanted]
    if counted == 4:
        assert losses.consensus(logits).tolist() == [wanted]


def test_void_images_count_for_nothing():
    logits, nothing = normal(3, 2, 4, 2, 2), torch.zeros(2, 2, 2, dtype=torch.bool)
    assert losses.discrepancy(logits, nothing).tolist() == [0, 0]
    assert losses.entropy(logits[0], nothing).tolist() == [0, 0]
    assert losses.consensus(logits, nothing).tolist() == [False, False]


# Eq. 1 and 2


def labels_for(logits, seed=0, void=0.3):
    """Labels for logits [N, C, *]; some void ones among pixel labels."""
    rng = np.random.default_rng(seed)
    shape = logits.shape[:1] + logits.shape[2:]
    labels = rng.integers(0, logits.shape[1], shape)
    if len(shape) == 3:
        labels[rng.random(shape) < void] = VOID
    return torch.tensor(labels)


@given(peer_logits(), st.integers(0, 100))
def test_task_loss_is_the_mean_cross_entropy(logits, seed):
    labels = labels_for(logits[0], seed)
    each = [
        -log_softmax(z[0])[labels[(n, *place)]]
        for n in range(len(labels))
        for place, z in zip(np.ndindex(*labels.shape[1:]), vectors(logits[:1], n), strict=True)
        if labels[(n, *place)] != VOID
    ]
    np.testing.assert_allclose(losses.task_loss(logits[0], labels), sum(each) / max(1, len(each)), rtol=1e-5, atol=1e-6)


@given(peer_logits(), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from([1.0, 4.0, 20.0]), st.integers(0, 100))
def test_in_class_loss_is_eq_2(logits, alpha, tau, seed):
    teacher, labels = normal(*logits.shape[1:], seed=seed, dtype=torch.float32), labels_for(logits[0], seed)
    wanted = reference_in_class(logits, teacher, labels, alpha, tau)
    np.testing.assert_allclose(losses.in_class_loss(logits, teacher, labels, alpha, tau), wanted, rtol=1e-5, atol=1e-6)


def test_the_defaults_of_eq_2_and_5_are_the_papers():
    logits, teacher, labels = normal(2, 6, 3), normal(6, 3, seed=1), torch.tensor([0, 1, 2, 0, 1, 2])
    assert losses.in_class_loss(logits, teacher, labels) == losses.in_class_loss(logits, teacher, labels, 0.1, 4.0)
    near, far = torch.tensor(1.0), torch.tensor(1.004)
    assert losses.margin_loss(near, far) == losses.margin_loss(near, far, 0.01, "paper") > 0


@pytest.mark.parametrize("spatial", [(), (2, 2)])
def test_gradients_of_eq_1_and_2(spatial):
    logits = normal(2, 3, 4, *spatial).requires_grad_()
    teacher = normal(3, 4, *spatial, seed=1).requires_grad_()
    labels = labels_for(teacher)
    assert torch.autograd.gradcheck(lambda z: losses.task_loss(z[0], labels), logits)
    assert torch.autograd.gradcheck(lambda z: losses.in_class_loss(z, teacher, labels, 0.3, 2.0), logits)
    losses.in_class_loss(logits, teacher, labels).backward()
    assert teacher.grad is None
    assert logits.grad.abs().sum() > 0


def test_void_pixels_take_part_in_nothing():
    logits, teacher = normal(2, 2, 3, 2, 2), normal(2, 3, 2, 2, seed=1)
    labels = torch.tensor([[[0, VOID], [1, 2]], [[2, 1], [VOID, 0]]])
    before = losses.task_loss(logits[0], labels), losses.in_class_loss(logits, teacher, labels)
    void = (labels == VOID)[:, None].expand(-1, 3, -1, -1)
    changed, changed_teacher = logits.masked_fill(void, 9.0), teacher.masked_fill(void, -7.0)
    assert losses.task_loss(changed[0], labels) == before[0]
    assert losses.in_class_loss(changed, changed_teacher, labels) == before[1]
    logits.requires_grad_()
    losses.in_class_loss(logits, teacher, labels).backward()
    assert not logits.grad[void.expand(2, *void.shape)].any()


def test_a_batch_of_void_costs_nothing():
    logits = normal(2, 2, 3, 2, 2).requires_grad_()
    labels = torch.full((2, 2, 2), VOID)
    total = losses.task_loss(logits[0], labels) + losses.in_class_loss(logits, logits[0], labels)
    total.backward()
    assert total == 0
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda z: losses.task_loss(z[0], torch.zeros(4, dtype=torch.int64)), r"labels have the shape \(4,\), but"),
        (lambda z: losses.in_class_loss(z, z[0], torch.zeros(2, 3)), r"labels have the shape \(2, 3\), but"),
        (lambda z: losses.in_class_loss(z, z[0, :1], torch.zeros(2)), "must answer on the same batch"),
        (lambda z: losses.discrepancy(z[0]), r"peer logits have the shape \(2, 3\): stack the peers"),
        (lambda z: losses.consensus(z[:0]), "stack the peers"),
        (lambda z: losses.entropy(z), r"entropy takes \[N, C\] or \[N, C, H, W\]"),
        (lambda z: losses.out_of_class_loss(z, ranking="words"), "unknown ranking 'words': choose one of paper"),
        (lambda z: losses.margin_loss(z, z, ranking=""), "unknown ranking '': choose one of paper, ordered"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(torch.zeros(2, 2, 3))


# Eq. 5


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.sampled_from(losses.RANKINGS))
def test_margin_loss_against_the_formula(d_disagree, d_agree, margin, ranking):
    got = losses.margin_loss(
        torch.tensor([d_disagree], dtype=torch.float64), torch.tensor([d_agree], dtype=torch.float64), margin, ranking
    )
    np.testing.assert_allclose(got, [reference_margin(d_disagree, d_agree, margin, ranking)], atol=1e-12)


@pytest.mark.parametrize(
    ("ranking", "gap", "push"),  # push: sign of the gradient at d_D (at d_A the opposite); descent goes against it
    [
        ("paper", 0.05, -1),  # right way round: further apart
        ("paper", -0.05, 1),  # printed form: d_A >= d_D is pushed further the wrong way
        ("paper", 0.0, 1),  # its indicator is -1 where they are equal
        ("ordered", 0.05, -1),
        ("ordered", -0.05, -1),  # the words: d_D above d_A
        ("ordered", 0.0, -1),
        ("paper", 0.2, 0),  # beyond the margin
        ("paper", -0.2, 0),
        ("ordered", 0.2, 0),
        ("ordered", -0.2, -1),
    ],
)
def test_which_way_a_pair_is_pushed(ranking, gap, push):
    d_disagree, d_agree = torch.tensor([1 + gap], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    losses.margin_loss(d_disagree, d_agree, 0.1, ranking).sum().backward()
    assert (d_disagree.grad.item(), d_agree.grad.item()) == (push, -push)


def two_sided(n_disagree, n_agree, seed=0):
    """Logits [2, N, 3] of two peers who disagree on the first images and agree on the others."""
    logits = normal(2, n_disagree + n_agree, 3, seed=seed)
    logits += 10 * torch.eye(3, dtype=torch.float64)[0]
    logits[1, :n_disagree] += 20 * torch.eye(3, dtype=torch.float64)[1]
    assert losses.consensus(logits).tolist() == [False] * n_disagree + [True] * n_agree
    return logits


@pytest.mark.parametrize("ranking", losses.RANKINGS)
@pytest.mark.parametrize("sides", [(3, 2), (2, 3), (1, 4), (3, 3)])
def test_out_of_class_loss_is_the_mean_over_the_pairs_of_a_random_matching(ranking, sides):
    logits, margin = two_sided(*sides), 60.0
    d = reference_discrepancy(logits)
    disagree, agree = d[: sides[0]], d[sides[0] :]
    long, short = (disagree, agree) if sides[0] > sides[1] else (agree, disagree)
    turn = 1 if long is disagree else -1
    values = set()
    for order in permutations(long, len(short)):
        pairs = [(x, y)[::turn] for x, y in zip(order, short, strict=True)]
        values.add(round(np.mean([reference_margin(*pair, margin, ranking) for pair in pairs]), 9))
    drawn = [losses.out_of_class_loss(logits, margin, ranking, seeded(seed)).item() for seed in range(300)]
    assert {round(value, 9) for value in drawn} == values
    everyone = np.mean([reference_margin(x, y, margin, ranking) for x in disagree for y in agree])
    assert abs(np.mean(drawn) - everyone) <= 4 * np.std(drawn) / 300**0.5 + 1e-9


@pytest.mark.parametrize("ranking", losses.RANKINGS)
def test_gradient_of_eq_5_flows_through_both_discrepancies(ranking):
    logits = two_sided(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: losses.out_of_class_loss(z, 60.0, ranking, seeded(3)), logits)
    losses.out_of_class_loss(logits, 60.0, ranking, seeded(3)).backward()
    touched = logits.grad.abs().sum((0, 2)) > 0
    assert touched[:2].all()
    assert touched[2:].sum() == 2  # as many pairs as the smaller side has images


def test_eq_5_for_pixel_labels():
    logits = normal(2, 2, 3, 2, 2, seed=5)
    logits[1, 0] = logits[0, 0] + normal(3, 2, 2, seed=6, scale=0.1)
    assert losses.consensus(logits).tolist() == reference_consensus(logits) == [True, False]
    d_agree, d_disagree = reference_discrepancy(logits)
    wanted = reference_margin(d_disagree, d_agree, 500.0, "paper")
    np.testing.assert_allclose(losses.out_of_class_loss(logits, 500.0).item(), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    "logits",
    [two_sided(0, 4), two_sided(4, 0), normal(1, 4, 3), normal(4, 5, 3), normal(1, 2, 3, 2, 2)],
    ids=["all agree", "all differ", "one peer", "more peers than classes", "one peer, pixels"],
)
@pytest.mark.parametrize("ranking", losses.RANKINGS)
def test_without_a_pair_eq_5_is_zero_with_a_gradient(logits, ranking):
    logits = logits.clone().requires_grad_()
    loss = losses.out_of_class_loss(logits, 5.0, ranking, seeded())
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@given(peer_logits(scales=(100.0, 1e4)), st.sampled_from(losses.RANKINGS))
def test_eq_5_is_finite_for_any_finite_logits(logits, ranking):
    logits.requires_grad_()
    loss = losses.out_of_class_loss(logits, 1e6, ranking, seeded())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_a_generator_decides_the_pairs_and_nothing_else_does():
    logits = two_sided(5, 7)
    before = torch.get_rng_state()
    drawn = [losses.out_of_class_loss(logits, 60.0, generator=seeded(seed)).item() for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 2
    assert torch.equal(torch.get_rng_state(), before)


# Entropy


@given(st.data())
def test_entropy_against_the_formula(data):
    logits = data.draw(peer_logits())
    valid = data.draw(masks(logits))
    got = losses.entropy(logits[0], valid)
    np.testing.assert_allclose(got, reference_entropy(logits[0], valid), rtol=1e-5, atol=2e-6)
    assert ((got >= 0) & (got <= np.log(logits.shape[2]) + 1e-6)).all()


def test_entropy_of_certainty_and_of_none():
    logits = torch.tensor([[1e4, -1e4, -1e4], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(losses.entropy(logits), [0, np.log(3)], rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 10), (1, 1), (700, 3), (700, 100), (3, 4, 5, 6)])
def test_entropy_in_the_cache_has_the_bits_of_the_formula_and_its_gradient(monkeypatch, shape):
    monkeypatch.setattr(losses, "_CHUNK", 1 << 10)
    logits = 5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, with_gradient = logits.clone(), logits.clone().requires_grad_()
    assert torch.equal(losses.entropy(logits), losses.entropy(with_gradient).detach())
    assert torch.equal(logits, before)
    losses.entropy(with_gradient).sum().backward()
    assert torch.isfinite(with_gradient.grad).all()
