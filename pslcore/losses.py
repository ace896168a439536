"""Equations 1 to 6 of the paper, for image labels and for pixel labels.

The logits of all peers are one tensor ``[P, N, C]``; for pixel labels ``[P, N, C, H, W]``. A teacher's logits are
``[N, C]`` or ``[N, C, H, W]``, labels ``[N]`` or ``[N, H, W]`` (int64). Everything is computed in float32 or better,
whatever the precision of the logits. Pixels labelled ``VOID`` take part in nothing.

| equation          | function                                          |
|-------------------|---------------------------------------------------|
| Eq. 1             | ``task_loss``                                     |
| Eq. 2             | ``in_class_loss``                                 |
| Eq. 3, 4          | ``consensus`` (``S_A``; the others are ``S_D``)   |
| Eq. 5             | ``out_of_class_loss``, its core ``margin_loss``   |
| d in Eq. 5, Eq. 6 | ``discrepancy``                                   |
| Eq. 6 with P = 1  | ``entropy``                                       |
"""

from functools import partial
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

VOID = 255
"""The label of pixels that take part in nothing."""

RANKINGS = ("paper", "ordered")

cross_entropies = partial(F.cross_entropy, ignore_index=VOID, reduction="none")
"""Of each image or pixel; 0 where it is void."""

_CHUNK = 1 << 17
"""Logits of one network that scores handle at a time when no gradient is wanted: they stay in the cache."""


def _peers(peer_logits: Tensor) -> Tensor:
    """The logits in float32 or better; refuses shapes that are not one of the two."""
    if not isinstance(peer_logits, Tensor):
        raise ValueError(f"peer logits are {type(peer_logits).__name__}, not a tensor: use torch.as_tensor first.")
    if peer_logits.ndim not in (3, 5) or not peer_logits.shape[0] or not peer_logits.shape[2]:
        mend = "stack the peers as [P, N, C] for image labels or [P, N, C, H, W] for pixel labels."
        raise ValueError(f"peer logits have the shape {tuple(peer_logits.shape)}: {mend}")
    return _float(peer_logits)


def _float(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    expected = logits.shape[:1] + logits.shape[2:]
    if labels.shape != expected:
        told = f"labels have the shape {tuple(labels.shape)},"
        raise ValueError(f"{told} but logits of the shape {tuple(logits.shape)} need {tuple(expected)}.")


def _mean(losses: Tensor, labels: Tensor) -> Tensor:
    """Mean over what is not void; 0, with a valid gradient, where everything is."""
    valid = labels != VOID
    return losses.where(valid, 0).sum() / valid.sum().clamp_min(1)


def task_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Eq. 1: cross-entropy of the task learner on ``D_L``, averaged over the images or the pixels that are not void.

    The paper prints ``H(p, q) = q log p`` and puts the label first; *decision*: minus the label times log prediction.

    Parameters
    ----------
    logits : float tensor, [N, C] or [N, C, H, W]
    labels : int64 tensor, [N] or [N, H, W]
    label_smoothing : float
        The part of each label that is spread evenly over all classes (an option of the recipe; 0 in the paper).

    Returns
    -------
    Tensor
        Scalar, in nats.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    _check_labels(logits, labels)
    return _mean(cross_entropies(_float(logits), labels, label_smoothing=label_smoothing), labels)


def in_class_loss(
    peer_logits: Tensor, teacher_logits: Tensor, labels: Tensor, alpha: float = 0.1, temperature: float = 4.0
) -> Tensor:
    """Eq. 2: every peer learns from the labels and from the teacher's softened answers on the same labelled batch.

    ``sum_p (1-alpha) CE(student_p, label) + alpha tau^2 CE(softmax(student_p/tau), softmax(teacher/tau))``, averaged
    over the images or the pixels that are not void. No gradient reaches the teacher. With ``alpha=0`` the peers
    learn from the labels alone; that is "without in-class peer study" in Fig. 5a.

    *Decision*: both H are cross-entropies of the student, whatever the order of their arguments in print; the teacher
    answers in eval mode, on the very batch (same augmentation) that the students see: the caller sees to that.

    Parameters
    ----------
    peer_logits : float tensor, [P, N, C] or [P, N, C, H, W]
    teacher_logits : float tensor, [N, C] or [N, C, H, W]
    labels : int64 tensor, [N] or [N, H, W]
    alpha : float
        Weight of the teacher's answers, in [0, 1].
    temperature : float
        ``tau``; the larger, the softer.

    Returns
    -------
    Tensor
        Scalar, in nats, summed over the peers.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    students = _peers(peer_logits)
    teacher = _float(teacher_logits).detach()
    if teacher.shape != students.shape[1:]:
        told = f"the teacher's logits have the shape {tuple(teacher.shape)}, each peer's {tuple(students.shape[1:])}"
        raise ValueError(f"{told}: both must answer on the same batch.")
    _check_labels(teacher, labels)
    soft = (teacher / temperature).softmax(1)
    total = students.new_zeros(())
    for student in students:  # a loop over P networks beats one batched call on the CPU
        hard_term = cross_entropies(student, labels)
        soft_term = -(soft * (student / temperature).log_softmax(1)).sum(1)
        total = total + _mean((1 - alpha) * hard_term + alpha * temperature**2 * soft_term, labels)
    return total


def consensus(peer_logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """Eq. 3 and 4: true where any two peers agree (``S_A``), false where all pairs differ (``S_D``).

    Two peers agree on an image when their argmax is the same; for pixel labels when it is on *more than half* of the
    pixels (exactly half is no consensus). With more peers than classes two of them always agree on an image label.
    A single peer has nobody to agree with.

    Parameters
    ----------
    peer_logits : float tensor, [P, N, C] or [P, N, C, H, W]
    valid : bool tensor, [N, H, W], optional
        Pixels that count, where some are known to be void; without it all do.

    Returns
    -------
    Tensor
        bool, [N].

    Raises
    ------
    ValueError
        If the logits have another shape.
    """
    answers = _peers(peer_logits).argmax(2)
    agreed = torch.zeros(answers.shape[1], dtype=torch.bool, device=answers.device)
    for one, other in combinations(answers, 2):
        same = one == other
        if same.ndim == 3:
            counted = torch.ones_like(same) if valid is None else valid
            same = 2 * (same & counted).flatten(1).sum(1) > counted.flatten(1).sum(1)
        agreed |= same
    return agreed


def discrepancy(peer_logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """The discrepancy ``d`` of Eq. 5 and 6: the KL divergences of all ordered pairs of peers, summed.

    ``d(x) = sum_{j != k} KL(softmax(f_j(x)) || softmax(f_k(x)))``, natural logarithm; for pixel labels summed over
    the pixels. Because the log-normalisers cancel, ``KL(j||k) + KL(k||j) = sum_c (p_jc - p_kc)(z_jc - z_kc)`` on the
    raw logits z; summed over the pairs that is the closed form ``P sum_j sum_c (p_jc - mean_p_c)(z_jc - mean_z_c)``.
    *Decision*: summed pair by pair. That is finite up to logits of 1e37, never negative, exactly symmetric in the peers
    and exactly 0 where all are equal, which rounded means would not be; and up to some ten peers the softmax costs
    more than all pairs. One peer: 0.

    Parameters
    ----------
    peer_logits : float tensor, [P, N, C] or [P, N, C, H, W]
    valid : bool tensor, [N, H, W], optional
        Pixels that count, where some are known to be void; without it all do.

    Returns
    -------
    Tensor
        [N], in nats; differentiable.

    Raises
    ------
    ValueError
        If the logits have another shape.
    """
    logits = _peers(peer_logits)
    if logits.requires_grad or logits.numel() <= _CHUNK * len(logits):
        return _discrepancy(logits, valid)
    rows = max(1, _CHUNK // max(1, logits[0, 0].numel()))
    parts = logits.split(rows, dim=1)
    masks = [None] * len(parts) if valid is None else valid.split(rows)
    return torch.cat([_discrepancy(part, mask) for part, mask in zip(parts, masks, strict=True)])


def _discrepancy(logits: Tensor, valid: Tensor | None) -> Tensor:
    p = logits.softmax(2)
    pairs = [((p[j] - p[k]) * (logits[j] - logits[k])).sum(1) for j, k in combinations(range(len(logits)), 2)]
    if not pairs:
        return (0 * logits[0]).flatten(1).sum(1)  # with a valid gradient
    # Sorted, so that the rounding of the sum does not depend on the order of the peers; it can leave -1e-9.
    d = pairs[0] if len(pairs) == 1 else torch.stack(pairs).sort(0).values.sum(0)
    d = d.clamp_min(0)
    if d.ndim == 3:
        d = (d if valid is None else d.where(valid, 0)).flatten(1).sum(1)
    return d


def margin_loss(d_disagree: Tensor, d_agree: Tensor, margin: float = 0.01, ranking: str = "paper") -> Tensor:
    """The core of Eq. 5, per pair: a margin between the discrepancies of ``x_D`` and ``x_A``.

    The paper contradicts itself here. Its words want data without consensus above data with consensus; its indicator
    turns the sign round whenever ``d_A >= d_D``, which pushes such a pair further apart the wrong way. Either way a
    pair that lies further apart than ``margin`` has no gradient; as printed, with 0.01, that is most of them.
    *Decision*: ``ranking="paper"`` is the printed form ``max(0, margin - |d_D - d_A|)``, the default for all that is
    reproduced; ``ranking="ordered"``, ``max(0, margin - (d_D - d_A))``, does what the words say.

    Parameters
    ----------
    d_disagree, d_agree : float tensors of one shape
        Discrepancies, in nats. Gradients flow through both.
    margin : float
        ``xi``.
    ranking : {"paper", "ordered"}

    Returns
    -------
    Tensor
        Of the shape of the arguments.

    Raises
    ------
    ValueError
        If the ranking is unknown.
    """
    if ranking not in RANKINGS:
        raise ValueError(f"unknown ranking {ranking!r}: choose one of {', '.join(RANKINGS)}.")
    gap = d_disagree - d_agree
    if ranking == "paper":
        # Not `.abs()`, whose gradient at 0 is 0: the paper's indicator is -1 there.
        gap = torch.where(gap > 0, gap, -gap)
    return (margin - gap).clamp_min(0)


def out_of_class_loss(
    peer_logits: Tensor, margin: float = 0.01, ranking: str = "paper", generator: torch.Generator | None = None
) -> Tensor:
    """Eq. 5: peers learn from each other on an unlabelled batch, protected images included.

    The batch is split by ``consensus``; both sides are shuffled and paired off, as many pairs as the smaller side
    has images, and ``margin_loss`` is averaged over the pairs. Without a pair, and with a single peer, the loss is 0
    with a valid gradient. All shapes are static, so that a compiled step needs no synchronisation.

    Parameters
    ----------
    peer_logits : float tensor, [P, N, C] or [P, N, C, H, W]
    margin, ranking
        As for ``margin_loss``.
    generator : torch.Generator, optional
        Draws the pairs (on the CPU); torch's global generator if not given.

    Returns
    -------
    Tensor
        Scalar.

    Raises
    ------
    ValueError
        If the logits have another shape, or the ranking is unknown.
    """
    d = discrepancy(peer_logits)
    disagree, agree, n_pairs = pairing(consensus(peer_logits.detach()), generator)
    paired = torch.arange(len(d), device=d.device) < n_pairs
    losses = margin_loss(d[disagree], d[agree], margin, ranking)
    return losses.where(paired, 0).sum() / n_pairs.clamp_min(1)


def pairing(agreed: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Who is paired with whom in Eq. 5: rows of images of ``S_D`` and ``S_A``, [N] each, and how many pairs there are.

    Both are shuffled; a side's own images come first, the others behind them, beyond the pairs.
    """
    keys = torch.rand(2, len(agreed), generator=generator).to(agreed.device)  # in [0, 1)
    n_pairs = torch.minimum(agreed.sum(), (~agreed).sum())
    return (keys[0] + agreed).argsort(), (keys[1] + ~agreed).argsort(), n_pairs


def entropy(logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """Entropy ``-sum p log p`` of one network's answer; for pixel labels the mean over the pixels.

    It is the Entropy baseline's score and, for a single peer, the score that stands in for Eq. 6 (section 4.5).

    Parameters
    ----------
    logits : float tensor, [N, C] or [N, C, H, W]
    valid : bool tensor, [N, H, W], optional
        Pixels that count; an image without any has the entropy 0.

    Returns
    -------
    Tensor
        [N], in nats, between 0 and log C.

    Raises
    ------
    ValueError
        If the logits have another shape.
    """
    if not isinstance(logits, Tensor):
        raise ValueError(f"logits are {type(logits).__name__}, not a tensor: use torch.as_tensor first.")
    if logits.ndim not in (2, 4) or not logits.shape[1]:
        raise ValueError(f"logits have the shape {tuple(logits.shape)}: entropy takes [N, C] or [N, C, H, W].")
    if logits.ndim == 2 and logits.numel() > _CHUNK and not logits.requires_grad:
        return torch.cat([entropy(part) for part in logits.split(max(1, _CHUNK // logits.shape[1]))])
    log_p = _float(logits).log_softmax(1)
    p = log_p.exp()
    values = -(p * log_p if p.requires_grad else p.mul_(log_p)).sum(1)
    if values.ndim == 3:
        counted = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
        values = values.where(counted, 0).flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)
    return values.clamp_min(0)
