"""Equations 1, 2 and 5 with their gradients in closed form, for image labels: what heads are trained with by hand.

Each gives the loss, as ``losses`` has it, and its gradient with respect to the logits. On 64 vectors autograd takes
two to four times as long, for its bookkeeping.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pslcore.losses import consensus, discrepancy, margin_loss, pairing

WithGradient = tuple[Tensor, Tensor]
"""A scalar loss, and its gradient with respect to the logits."""


def task(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> WithGradient:
    """Eq. 1 of the logits [1, N, C] of one network, as ``losses.task_loss``."""
    n, classes = logits.shape[1:]
    target = logits.new_full((n, classes), label_smoothing / classes)
    target[torch.arange(n, device=labels.device), labels] += 1 - label_smoothing
    log_p = logits.log_softmax(2)
    return -(target * log_p).sum() / n, (log_p.exp() - target) / n


def in_class(peers: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float) -> WithGradient:
    """Eq. 2 of logits [P, N, C], as ``losses.in_class_loss``."""
    n = len(labels)
    hard = F.one_hot(labels, peers.shape[2]).to(peers.dtype)
    log_p = peers.log_softmax(2)
    loss, gradient = -(1 - alpha) * (hard * log_p).sum(), (1 - alpha) * (log_p.exp() - hard)
    if alpha:
        soft, log_q = (teacher / temperature).softmax(1), (peers / temperature).log_softmax(2)
        loss = loss - alpha * temperature**2 * (soft * log_q).sum()
        gradient += alpha * temperature * (log_q.exp() - soft)
    return loss / n, gradient / n


def out_of_class(peers: Tensor, margin: float, ranking: str, generator: torch.Generator | None = None) -> WithGradient:
    """Eq. 5 of logits [P, N, C], as ``losses.out_of_class_loss``."""
    d = discrepancy(peers)
    disagree, agree, n_pairs = pairing(consensus(peers), generator)
    pairs = int(n_pairs)
    disagree, agree = disagree[:pairs], agree[:pairs]
    loss = margin_loss(d[disagree], d[agree], margin, ranking)
    total, gradient = loss.sum() / max(1, pairs), torch.zeros_like(peers)
    if not total:
        return total, gradient
    gap = d[disagree] - d[agree]
    sign = torch.where((gap > 0) | (ranking == "ordered"), -1.0, 1.0).where(loss > 0, 0).to(d.dtype) / pairs
    wanted = torch.zeros_like(d).index_add_(0, disagree, sign).index_add_(0, agree, -sign)
    # d = P sum_j <p_j - mean p, z_j - mean z>; through the softmax of each peer p_j * (v - <p_j, v>)
    p, apart = peers.softmax(2), peers - peers.mean(0)
    gradient = p - p.mean(0) + p * (apart - (p * apart).sum(2, keepdim=True))
    return total, len(peers) * wanted[:, None] * gradient
