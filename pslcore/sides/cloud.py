"""The cloud side of Figure 1: the task learner and the images of ``D_L``; the client holds everything else.

The one way for an image of the training set into the cloud is ``Cloud.upload``.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from pslcore import models
from pslcore.data import ImageStore, Plan, SomeLabels, chunks
from pslcore.losses import VOID, entropy, task_loss
from pslcore.models import gradients
from pslcore.recipe import Descent, Recipe, answer, forward, fresh
from pslcore.sides.guard import as_indices, as_mask, refuse_protected
from pslcore.sides.ledger import Ledger


class AuxiliaryModule(nn.Module):
    """Base of a module that a method has trained with the task learner, on the cloud (LL4AL's loss prediction)."""

    def loss(
        self, network: models.Network, images: Tensor, labels: Tensor, progress: float, label_smoothing: float = 0.0
    ) -> Tensor:
        """The loss of both, scalar, on a batch of ``D_L``; ``progress`` in [0, 1) is the part of the steps done."""
        raise NotImplementedError

    def forward(self, maps: list[Tensor]) -> Tensor:
        """What it says of each image, [N], by the task learner's ``stage_maps``."""
        raise NotImplementedError


class Cloud:
    """The cloud side: the task learner and what was uploaded.

    Parameters
    ----------
    n : int
        Size of the training set; the indices of all uploads refer to it.
    protected : int array
        Indices, not images, that the door refuses.
    network : callable
        Builds a fresh task learner.
    recipe : Recipe
    device : torch.device
    """

    def __init__(
        self, n: int, protected: np.ndarray, network: Callable[[], models.Network], recipe: Recipe, device: torch.device
    ):
        self.ledger = Ledger(n)
        self._n = n
        self._protected = as_mask(protected, n, "protected")
        self._build, self._recipe, self._device = network, recipe, device
        self._store = ImageStore(n, recipe.padding, device)
        self._labelled = np.zeros(n, dtype=bool)
        self._inbox: list[np.ndarray] = []  # images
        self._last: tuple[Plan, Tensor] | None = None

    # The door

    def upload(self, indices: np.ndarray, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        """The only way in for an image of the training set.

        With labels the images join ``D_L``. Without, they wait to be scored by ``ask`` and are forgotten after it;
        the ledger counts them as unlabelled images seen by the cloud.

        Parameters
        ----------
        indices : int array, [B]
            Dataset indices of the images.
        images : uint8 array, [B, C, H, W]
        labels : int64 array, [B] or [B, H, W], optional

        Raises
        ------
        ProtectedDataError
            If one of the images is protected; nothing has been copied by then.
        ValueError
            If the arrays do not fit each other, or an image was labelled here before.
        """
        indices = as_indices(indices, self._n)
        refuse_protected(indices, self._protected, "uploaded")
        if len(images) != len(indices) or (labels is not None and len(labels) != len(indices)):
            told = f"an upload of {len(indices)} indices came with {len(images)} images"
            raise ValueError(f"{told}." if labels is None else f"{told} and {len(labels)} labels.")
        if self._labelled[indices].any():
            raise ValueError(f"image {indices[self._labelled[indices]][0]} was uploaded with its label before.")
        if labels is None:
            self._inbox.append(np.array(images))
            self.ledger.saw_unlabelled(indices)
            self.ledger.enter("up: unlabelled images", len(indices), images.nbytes)
            return
        self._labelled[indices] = True
        self._store.add(indices, np.array(images))
        self._store.tell(indices, labels)
        self.ledger.enter("up: labelled images", len(indices), images.nbytes)

    # What it does with what it has

    def restart(
        self, seed: int, cycle: int, steps: int, weights: dict | None = None,
        auxiliary: Callable[[models.Network], AuxiliaryModule] | None = None,
    ) -> None:  # fmt: skip
        """Begin a cycle: a fresh task learner (or, warm, the given weights), a fresh optimiser for ``steps`` steps.

        ``auxiliary`` builds the method's auxiliary module for that task learner, if it has one.
        """
        self._network = fresh(self._build, seed, "teacher-init", cycle, self._device)
        self._auxiliary = None
        if auxiliary is not None:
            self._auxiliary = fresh(lambda: auxiliary(self._network), seed, "companion-init", cycle, self._device)
        self._trained = nn.ModuleList(filter(None, [self._network, self._auxiliary]))
        if weights is not None:
            self._trained.load_state_dict(weights)
        heads = models.stacked([self._network]) if auxiliary is None and self._recipe.precision == "float32" else None
        self._heads, parameters = heads, self._trained.parameters() if heads is None else heads.parameters
        self._descent = Descent(parameters, self._recipe, steps)
        self._progress, self._steps = 0, steps

    def step(self, plan: Plan) -> None:
        """One training step of the task learner, Eq. 1, and of its auxiliary module."""
        images, labels, smoothing = self._batch(plan), self._store.labels(plan), self._recipe.label_smoothing
        if self._heads is not None:
            self._heads.step(self._descent.step, images, lambda logits: gradients.task(logits, labels, smoothing))
        elif self._auxiliary is None:
            self._descent.step(task_loss(forward(self._network, images, self._recipe), labels, smoothing))
        else:
            with self._recipe.autocast(images):
                loss = self._auxiliary.loss(self._network, images, labels, self._progress / self._steps, smoothing)
            self._descent.step(loss)
        self._progress += 1

    def check(self) -> None:
        """Raise ``FloatingPointError`` if the training diverged."""
        self._descent.check("task learner")

    @torch.no_grad()
    def teach(self, plan: Plan) -> Tensor:
        """The teacher's logits on a planned batch of ``D_L``, in eval mode: all that students get to see of it."""
        self._network.eval()
        logits = forward(self._network, self._batch(plan), self._recipe)
        self._network.train()
        self.ledger.enter("down: logits on labelled images", len(plan), logits.numel() * 4)
        return logits

    def ask(self, what: tuple[str, ...], labelled: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Score images with the task learner in eval mode, without augmentation.

        Parameters
        ----------
        what : tuple of str
            As of ``ask``.
        labelled : int array, optional
            Images of ``D_L`` to answer for. Without it, the images uploaded for scoring since the last call, in the
            order of their uploads; the cloud forgets them then.

        Returns
        -------
        dict
            One float32 array per answer, a row an image.
        """
        if labelled is not None:
            kind, count, batches = "labelled", len(labelled), self._store.plain(labelled)
        else:
            kind, count = "unlabelled", sum(len(images) for images in self._inbox)
            batches = (batch for images in self._inbox for batch in chunks(images, self._device))
        answers = ask(self._network, what, batches, self._auxiliary)
        if labelled is None:
            self._inbox.clear()
        self.ledger.enter(f"down: answers on {kind} images", count, sum(array.nbytes for array in answers.values()))
        return answers

    def head(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight [C, D] and bias [C] of the task learner's last layer, for methods that follow its gradient."""
        weight, bias = self._network.last_layer()
        self.ledger.enter("down: weights of the last layer", len(weight), weight.nbytes + bias.nbytes)
        return weight, bias

    def examine(self, images: np.ndarray, labels: SomeLabels, num_classes: int) -> np.ndarray:
        """Put the task learner to the test on images that belong to neither side.

        Parameters
        ----------
        images : uint8 array, [N, C, H, W]
        labels : int64 array, [N] or [N, H, W]
            Void pixels are left out.
        num_classes : int

        Returns
        -------
        int64 array, [C, C]
            Confusion matrix: true classes down, given ones across.

        Raises
        ------
        FloatingPointError
            If a weight is not finite.
        """
        if not all(torch.isfinite(tensor).all() for tensor in self._network.state_dict().values()):
            mend = "lower `lr`."
            raise FloatingPointError(f"the training of the task learner diverged (its weights are no numbers): {mend}")
        matrix = np.zeros((num_classes, num_classes), dtype=np.int64)
        self._network.eval()
        start = 0
        for batch in chunks(images, self._device):
            with torch.no_grad():
                given = self._network(batch).argmax(1).cpu().numpy()
            true = labels[start : start + len(given)]
            start += len(given)
            pairs = num_classes * true[true != VOID] + given[true != VOID]
            matrix += np.bincount(pairs, minlength=num_classes**2).reshape(matrix.shape)
        self._network.train()
        return matrix

    def weights(self) -> dict[str, Tensor]:
        """Weights and buffers of the task learner (``0.``) and its auxiliary module (``1.``), on the CPU."""
        return {name: tensor.cpu() for name, tensor in self._trained.state_dict().items()}

    def _batch(self, plan: Plan) -> Tensor:
        """The planned batch, made once for the step and the lesson that follow each other."""
        if self._last is None or self._last[0] is not plan:
            self._last = plan, self._store.batch(plan)
        return self._last[1]


def ask(
    network: models.Network, what: tuple[str, ...], batches: Iterator[Tensor], auxiliary: AuxiliaryModule | None = None
) -> dict[str, np.ndarray]:
    """What a network answers in eval mode, from one pass: one float32 array per answer, a row an image.

    ``logits`` [N, C]; penultimate ``features`` [N, D]; ``entropy`` of the answer [N]; whatever the method's
    ``auxiliary`` says [N], where it has one.

    Raises
    ------
    ValueError
        If something else is asked.
    """
    questions: dict[str, Callable[[list[Tensor], Callable[[], Tensor]], Tensor]] = {
        "logits": lambda maps, logits: logits(),
        "features": lambda maps, logits: network.pool(maps[-1]),
        "entropy": lambda maps, logits: entropy(logits()),
    }
    if auxiliary is not None:
        questions["auxiliary"] = lambda maps, logits: auxiliary(maps)
    unknown = set(what) - set(questions)
    if unknown:
        raise ValueError(f"the cloud cannot answer with {sorted(unknown)[0]!r}: ask for {' or '.join(questions)}.")

    def told(images: Tensor) -> tuple[Tensor, ...]:
        maps = network.stage_maps(images)
        logits = cache(lambda: network.from_maps(maps, images.shape[-2:]))
        return tuple(questions[name](maps, logits) for name in what)

    parts = answer(nn.ModuleList(filter(None, [network, auxiliary])), batches, told)
    return dict(zip(what, (part.numpy() for part in parts), strict=True))


def task_learner(name: str, num_classes: int, channels: int) -> Callable[[], models.Network]:
    """A builder for ``Cloud`` that makes the named network."""
    return lambda: models.build(name, num_classes, channels)
