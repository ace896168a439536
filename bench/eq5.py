"""How many pairs Eq. 5 moves: those whose discrepancies lie within the margin of each other, counted while peers study.

    python bench/eq5.py digits 4
    python bench/eq5.py features 4

Trains the peers of each curve of `choices` from the first labels on, at the first and the last number of labels, on so
many seeds. Prints the share of pairs with a gradient, the share of steps with such a pair, the share of pairs whose
image without consensus has the larger discrepancy already, and the median distance of a pair, in nats.
"""

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from pslcore import losses
from pslcore.runs import Config, Session, prepare_process, resolve
from pslcore.strategies import peers
from psllab import grid

PARAMS = Path(__file__).parents[1] / "params.yaml"


def counted(config: Config, data: str) -> np.ndarray:
    """Of each step with a pair: pairs, pairs with a gradient, pairs in order, the median distance."""
    steps = []

    def watch(plain):
        def out_of_class(logits, margin, ranking, generator=None):
            state = generator.get_state()
            d = losses.discrepancy(logits.detach())
            disagree, agree, n = losses.pairing(losses.consensus(logits.detach()), generator)
            generator.set_state(state)
            if n:
                gap = (d[disagree] - d[agree])[:n]
                active = losses.margin_loss(d[disagree], d[agree], margin, ranking)[:n] > 0
                steps.append((int(n), int(active.sum()), int((gap > 0).sum()), float(gap.abs().median())))
            return plain(logits, margin, ranking, generator)

        return out_of_class

    with (
        patch.object(peers, "out_of_class_loss", watch(losses.out_of_class_loss)),
        patch.object(peers.gradients, "out_of_class", watch(peers.gradients.out_of_class)),
    ):
        session = Session(resolve(config, root=data), prepare_process("cpu"))
        session.train(session.begin(0), 0)
    return np.array(steps)


def main(scale: str = "digits", seeds: str = "2", data: str = "data") -> None:
    torch.set_num_threads(1)
    print("| curve | labels | pairs with a gradient | steps with one | in order already | median distance |")
    print("|---|---|---|---|---|---|")
    cells = [cell for cell in grid.cells("choices", scale, PARAMS) if cell.config.seed < int(seeds)]
    for label in dict.fromkeys(cell.label for cell in cells):
        for count in (cells[0].config.initial, cells[0].config.final):
            runs = [cell.config.but(initial=count, final=count) for cell in cells if cell.label == label]
            rows = []
            for run in runs:
                pairs, active, ordered, distance = counted(run, data).T
                shares = active.sum() / pairs.sum(), (active > 0).mean(), ordered.sum() / pairs.sum()
                rows.append([*(100 * share for share in shares), np.median(distance)])
            *shares, nats = zip(*rows, strict=True)
            told = [f"{min(share):.1f} to {max(share):.1f} %" for share in shares]
            print(f"| {label} | {count} | {' | '.join(told)} | {min(nats):.2f} to {max(nats):.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
