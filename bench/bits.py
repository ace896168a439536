"""Does a feature need more than 8 bits? Features of CIFAR-10 kept in three ways, learned from in two.

    python bench/bits.py [--pixels 128] [--data data] [--quick]

Of the first 3,000 training images so many are labelled; accuracy (%) on 2,000 other *training* images, mean of three
draws. 8 bits are square roots as `psllab.features` keeps them, 16 bits the same in more steps, 32 the roots themselves.
"""

import argparse

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pslcore import models
from pslcore.data import load
from pslcore.models import gradients
from pslcore.recipe import Descent, Recipe
from pslcore.streams import numpy_stream
from psllab.features import backbones

COUNTS, DRAWS, LARGEST = (50, 200, 1000, 3000), 3, 6.0


def kept(roots: Tensor, bits: int) -> Tensor:
    """What is left of square roots in [0, 1], normalised vector by vector."""
    steps = 2**bits - 1
    values = roots if bits == 32 else (roots * steps).round() / steps
    return torch.nn.functional.layer_norm(values, values.shape[1:])


def logistic(x: Tensor, y: Tensor, test: Tensor) -> Tensor:
    return torch.tensor(LogisticRegression(C=0.01, max_iter=300).fit(x.numpy(), y.numpy()).predict(test.numpy()))


def head(x: Tensor, y: Tensor, test: Tensor) -> Tensor:
    torch.manual_seed(0)
    network = models.build("mlp256", 10, x.shape[1])
    stack, recipe = models.stacked([network]), Recipe(lr=0.02)
    assert stack is not None
    parts = -(-len(x) // 64)
    descent = Descent(stack.parameters, recipe, 30 * parts)
    for _ in range(30):
        for rows in torch.randperm(len(x)).tensor_split(parts):
            stack.step(descent.step, x[rows][..., None, None], lambda z, rows=rows: gradients.task(z, y[rows]))
    with torch.no_grad():
        return network(test[..., None, None]).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--data", default="data", help="the folder of data sets")
    parser.add_argument("--quick", action="store_true", help="150 images and 100 to test on, to see that it runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    train = load("cifar10", given.data).train
    rows = np.r_[:150, -100:0] if given.quick else np.r_[:3000, 45_000:47_000]
    network, features = backbones.efficientnet_lite0(), []
    with torch.inference_mode():
        for part in np.array_split(rows, -(-len(rows) // 16)):
            images = torch.tensor(train.images[part]).float()
            scaled = torch.nn.functional.interpolate(images, (given.pixels,) * 2, mode="bicubic", antialias=True)
            features.append(network.embed(scaled.clamp_(0, 255).contiguous(memory_format=torch.channels_last)))
    roots = (torch.cat(features).clone() / LARGEST).clamp(0, 1).sqrt()
    labels = torch.tensor(train.labels[rows])
    n = len(roots) * 3 // 5
    for title, learn in (("logistic regression", logistic), ("mlp256", head)):
        for bits in (8, 16, 32):
            vectors, found = kept(roots, bits), []
            for count in COUNTS if not given.quick else (50,):
                picks = [numpy_stream(draw, "bits").permutation(n)[:count] for draw in range(DRAWS)]
                right = [
                    (learn(vectors[pick], labels[pick], vectors[n:]) == labels[n:]).float().mean() for pick in picks
                ]
                found.append(100 * float(np.mean(right)))
            print(f"{title:20} {bits:2} bits  " + "  ".join(f"{value:5.2f}" for value in found), flush=True)


if __name__ == "__main__":
    main()
