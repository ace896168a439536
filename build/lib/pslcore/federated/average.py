"""FedAvg, and what weights weigh."""

import torch
from torch import Tensor


def aggregate(states: list[dict[str, Tensor]], labelled: list[int]) -> dict[str, Tensor]:
    """FedAvg (McMahan et al. 2017): the mean of the clients' weights, each counted by its labelled images.

    Summed in float64 in the order given, then cast back. The running means and variances of batch norm are averaged
    with the same weights; whole numbers (how many batches a batch norm has seen) take the largest.

    Parameters
    ----------
    states : list of dict
        One state dict a client, of the same names, shapes and types.
    labelled : list of int
        Its labelled images, positive.

    Raises
    ------
    ValueError
        If there is no state, or a number is missing or not positive.
    """
    if not states or len(states) != len(labelled) or min(labelled) < 1:
        raise ValueError(f"{len(states)} states with {labelled} labelled images cannot be averaged: give one to each.")
    merged = {}
    for name, first in states[0].items():
        column = [state[name] for state in states]
        if first.is_floating_point():
            # Sum first, divide last: counts times float32 are exact in float64, so equal states stay what they are.
            weighted = [tensor.double() * count for tensor, count in zip(column, labelled, strict=True)]
            total = sum(weighted[1:], weighted[0])
            merged[name] = (total / sum(labelled)).to(first.dtype)
        else:
            merged[name] = torch.stack(column).amax(0)
    return merged


def size(weights: dict[str, Tensor]) -> int:
    """Bytes of all tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
