"""The two sides of Figure 1, and the ledger of everything that crosses between them.

The cloud holds the task learner and the images of ``D_L``; the client holds everything else. The one way for an image
into the cloud is ``Cloud.upload``. The client answers to nobody for what it does with its own images.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from pslcore import models
from pslcore.data.batches import ImageStore, Plan, normalise
from pslcore.guard import as_indices, refuse_protected
from pslcore.losses import task_loss
from pslcore.oracle import Oracle
from pslcore.pools import Pools
from pslcore.recipe import Descent, Recipe, answer, forward, fresh

ANSWERS = ("logits", "features")
"""What the cloud can be asked about images: logits [N, C]; penultimate features [N, D]. Both float32."""


class Ledger:
    """Counts what crossed, by direction and kind, and remembers which images the cloud saw before they were labelled."""

    def __init__(self):
        self._items: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seen_unlabelled: set[int] = set()

    def enter(self, what: str, items: int, n_bytes: int) -> None:
        """Add a crossing: so many items of a kind, so many bytes."""
        self._items[what] += int(items)
        self._bytes[what] += int(n_bytes)

    def saw_unlabelled(self, indices: np.ndarray) -> None:
        """Remember dataset indices of unlabelled images that the cloud has seen."""
        self._seen_unlabelled.update(int(index) for index in indices)

    @property
    def unlabelled_seen(self) -> int:
        """How many different images the cloud saw while they were unlabelled."""
        return len(self._seen_unlabelled)

    def summary(self) -> dict[str, dict[str, int]]:
        """``{kind: {"items": ..., "bytes": ...}}`` of all crossings so far."""
        return {what: {"items": self._items[what], "bytes": self._bytes[what]} for what in sorted(self._items)}

    def state(self) -> dict:
        """All that it holds, for a checkpoint."""
        return {"crossings": self.summary(), "seen_unlabelled": sorted(self._seen_unlabelled)}

    def restore(self, state: dict) -> None:
        """Back to what ``state`` gave."""
        self._items = Counter({what: row["items"] for what, row in state["crossings"].items()})
        self._bytes = Counter({what: row["bytes"] for what, row in state["crossings"].items()})
        self._seen_unlabelled = set(state["seen_unlabelled"])


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
        self, n: int, protected: np.ndarray, network: Callable[[], nn.Module], recipe: Recipe, device: torch.device
    ):
        self.ledger = Ledger()
        self._n = n
        self._protected = as_indices(protected, n, "protected")
        self._build = network
        self._recipe = recipe
        self._device = device
        self._store = ImageStore(n, recipe.padding, device)
        self._labels: Tensor | None = None  # [n, ...], -1 until known
        self._labelled = np.zeros(n, dtype=bool)
        self._inbox: list[tuple[np.ndarray, np.ndarray]] = []
        self._network: nn.Module | None = None
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
            raise ValueError(
                f"an upload of {len(indices)} indices came with {len(images)} images"
                + ("." if labels is None else f" and {len(labels)} labels.")
            )
        if self._labelled[indices].any():
            raise ValueError(f"image {indices[self._labelled[indices]][0]} was uploaded with its label before.")
        if labels is None:
            self._inbox.append((indices, np.array(images)))
            self.ledger.saw_unlabelled(indices)
            self.ledger.enter("up: unlabelled images", len(indices), images.nbytes)
            return
        labels = torch.as_tensor(labels)
        if self._labels is None:
            self._labels = torch.full((self._n, *labels.shape[1:]), -1, dtype=torch.int64)
        self._labels[torch.as_tensor(indices)] = labels
        self._labelled[indices] = True
        self._store.add(indices, np.array(images))
        self.ledger.enter("up: labelled images", len(indices), images.nbytes)

    # What it does with what it has

    def restart(self, seed: int, cycle: int, steps: int, weights: dict | None = None) -> None:
        """Begin a cycle: a fresh task learner (or, warm, the given weights), a fresh optimiser for ``steps`` steps."""
        self._network = fresh(self._build, seed, "teacher-init", cycle, self._device)
        if weights is not None:
            self._network.load_state_dict(weights)
        self._descent = Descent(self._network.parameters(), self._recipe, steps)

    def step(self, plan: Plan) -> None:
        """One training step of the task learner, Eq. 1."""
        logits = forward(self._network, self._batch(plan), self._recipe)
        self._descent.step(task_loss(logits, self._labels[plan.indices].to(self._device)))

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
            From ``ANSWERS``.
        labelled : int array, optional
            Images of ``D_L`` to answer for. Without it, the images uploaded for scoring since the last call, in the
            order of their uploads; the cloud forgets them then.

        Returns
        -------
        dict
            One float32 array per answer, a row an image.
        """
        unknown = set(what) - set(ANSWERS)
        if unknown:
            raise ValueError(f"the cloud cannot answer with {sorted(unknown)[0]!r}: ask for {' or '.join(ANSWERS)}.")
        if labelled is None:
            batches, count = self._inbox_batches(), sum(len(indices) for indices, _ in self._inbox)
        else:
            batches, count = self._store.plain(labelled), len(labelled)
        head = self._network.head
        features = answer(self._network, batches, self._network.embed)
        answers = {}
        if "features" in what:
            answers["features"] = features.numpy()
        if "logits" in what:
            answers["logits"] = answer(head, features.to(self._device).split(4096), head).numpy()
        if labelled is None:
            self._inbox.clear()
        kind = "unlabelled" if labelled is None else "labelled"
        self.ledger.enter(f"down: answers on {kind} images", count, sum(array.nbytes for array in answers.values()))
        return answers

    def examine(self, images: np.ndarray) -> np.ndarray:
        """Classes that the task learner gives to test images (uint8 [N, C, H, W]), which belong to neither side."""
        batches = (normalise(torch.as_tensor(part).to(self._device)) for part in _chunks(images))
        return answer(self._network, batches, lambda x: self._network(x).argmax(1)).numpy()

    def weights(self) -> dict[str, Tensor]:
        """The task learner's weights and buffers, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self._network.state_dict().items()}

    def _batch(self, plan: Plan) -> Tensor:
        """The planned batch, made once for the step and the lesson that follow each other."""
        if self._last is None or self._last[0] is not plan:
            self._last = plan, self._store.batch(plan)
        return self._last[1]

    def _inbox_batches(self) -> Iterator[Tensor]:
        for _, images in self._inbox:
            for part in _chunks(images):
                yield normalise(torch.as_tensor(part).to(self._device))


class Client:
    """The client side: all raw images, the pools, the oracle.

    Parameters
    ----------
    images : uint8 array, [N, C, H, W]
        The whole training set, without labels: those are the oracle's.
    pools : Pools
    oracle : Oracle
    padding : int
        As in the recipe.
    device : torch.device
        Where the client's networks train.
    """

    def __init__(self, images: np.ndarray, pools: Pools, oracle: Oracle, padding: int, device: torch.device):
        self.pools = pools
        self.device = device
        self._images = images
        self._oracle = oracle
        self._padding = padding
        self._resident: ImageStore | None = None
        self._labels: Tensor | None = None

    @property
    def channels(self) -> int:
        return self._images.shape[1]

    @property
    def store(self) -> ImageStore:
        """All images, resident on the client's device from the first use on."""
        if self._resident is None:
            self._resident = ImageStore(len(self._images), self._padding, self.device)
            self._resident.add(np.arange(len(self._images)), self._images)
        return self._resident

    def labels(self, plan: Plan) -> Tensor:
        """The labels of a planned batch of ``D_L``."""
        return self._labels[plan.indices].to(self.device)

    def open(self, cloud: Cloud) -> None:
        """Have the initial pool labelled and hand it to the cloud."""
        self._share(cloud, self.pools.labelled)

    def annotate(self, cloud: Cloud, picked: np.ndarray) -> None:
        """Have picked images labelled by the oracle, move them to ``D_L``, and hand them to the cloud.

        Raises
        ------
        ProtectedDataError, ValueError
            As ``Pools.label`` and ``Oracle.ask``; then nothing has changed.
        """
        self.pools.label(picked)
        self._share(cloud, picked)

    def submit(self, cloud: Cloud) -> None:
        """Upload all of ``D_S`` for scoring, which is what baselines that score with the task learner need."""
        for part in _chunks(self.pools.safe):
            cloud.upload(part, self._images[part])

    def _share(self, cloud: Cloud, indices: np.ndarray) -> None:
        labels = self._oracle.ask(indices)
        if self._labels is None:
            self._labels = torch.full((len(self._images), *labels.shape[1:]), -1, dtype=torch.int64)
        self._labels[torch.as_tensor(indices)] = torch.as_tensor(labels)
        cloud.upload(indices, self._images[indices], labels)


def _chunks(array: np.ndarray, size: int = 512) -> Iterator[np.ndarray]:
    for start in range(0, len(array), size):
        yield array[start : start + size]


def task_learner(name: str, num_classes: int, channels: int) -> Callable[[], nn.Module]:
    """A builder for ``Cloud`` that makes the named network."""
    return lambda: models.build(name, num_classes, channels)
