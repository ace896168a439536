"""An album on the server: its log, and the check of every message that is to stand in it."""

from pathlib import Path

import numpy as np

from pslcore import models, strategies
from pslcore.losses import VOID
from pslcore.recipe import Recipe
from psllab.remote import messages
from psllab.remote.log import Log
from psllab.remote.messages import Arrays, Message, Opening, Order, Pictures, Refused

_SIDE = 4096


class Album:
    """What the server knows of an album: what it received, and nothing about any other picture.

    Parameters
    ----------
    folder : path

    Raises
    ------
    DamagedLog
        If log or payloads are not what was written.
    """

    def __init__(self, folder: Path):
        self.log = Log(folder)
        self.ids: set[int] = set()
        self._size: tuple[int, ...] | None = None
        for line in self.log.lines:
            if line["kind"] in ("open", "labelled") and self.log.holds(line["id"]):
                self._know(*self.log.message(line["id"]))

    @property
    def _open(self) -> bool:
        return bool(self.log.lines) and self.log.holds(self.log.lines[0]["id"])

    def receive(self, name: str, body: bytes) -> bool:
        """Take a message in; whether it is new.

        Raises
        ------
        Refused
            If it is not what its name says, or does not fit the album; then nothing has changed.
        OSError
            If the disk is full; likewise.
        """
        if messages.name_of(body) != name:
            raise Refused(
                f"{len(body)} bytes that are not the message {name[:12]}...: they changed on the way, send them again."
            )
        if self.log.holds(name):
            return False
        message, arrays = messages.unpack(body)
        if isinstance(message, Opening):
            self._check_opening(message)
        elif not self._open:
            raise Refused("an album that was not opened (or was forgotten): send its opening first.", 409)
        elif isinstance(message, Order):
            self._check_order(message)
        elif message.kind == "plan":
            self._check_plan(arrays)
        else:
            self._check_pictures(message, arrays)
        rows = 0 if isinstance(message, Order) else next((len(array) for array in arrays.values()), 0)
        self.log.receive(name, body, message, rows)
        self._know(message, arrays)
        return True

    def _know(self, message: Message, arrays: Arrays) -> None:
        if isinstance(message, Opening):
            self._opening, self._recipe = message, Recipe.of(message.recipe)
        elif message.kind == "labelled":
            self.ids.update(arrays["ids"].tolist())
            self._size = arrays["images"].shape[2:]

    def _check_opening(self, message: Opening) -> None:
        if self._open:
            raise Refused("an album that was opened with other settings: open another.", 409)
        if message.protocol != messages.PROTOCOL:
            told = f"a client of protocol {message.protocol}, and this server speaks {messages.PROTOCOL}"
            raise Refused(f"{told}: install the same version on both.", 409)
        if message.code != messages.code(message.teacher, message.method):
            told = "a client whose code trains otherwise than this server's, so that its records would not be true"
            raise Refused(f"{told}: install the same version on both.", 409)
        recipe = Recipe.of(message.recipe)
        if recipe.precision == "auto":
            raise Refused("a recipe of precision 'auto': say which, float32 or bfloat16.")
        if message.method:
            strategies.get(message.method, message.options)

    def _check_pictures(self, message: Pictures, arrays: Arrays) -> None:
        images, opening = arrays["images"], self._opening
        size = images.shape[2:]
        if images.shape[1] != opening.channels or max(size) > _SIDE or size != (self._size or size):
            wanted = "" if self._size is None else f", {' x '.join(map(str, self._size))}"
            shape = " x ".join(map(str, images.shape[1:]))
            raise Refused(f"pictures of {shape}: this album takes {opening.channels} channels{wanted}.")
        if self._recipe.padding > min(size):
            raise Refused(f"padding = {self._recipe.padding} around pictures of {min(size)} pixels: lower it.")
        if message.kind == "unlabelled":
            return
        labels, pixels = arrays["labels"], models.for_pixel_labels(opening.teacher)
        if labels.shape[1:] != (size if pixels else ()):
            each = "pixel" if pixels else "picture"
            raise Refused(f"labels of shape {labels.shape} for pictures {images.shape}: send one a {each}.")
        wrong = labels[(labels < 0) | (labels >= opening.classes) & ~(pixels & (labels == VOID))]
        if wrong.size:
            raise Refused(f"the label {wrong[0]}: this album has the classes 0 to {opening.classes - 1}.")
        if message.kind == "labelled":
            ids = arrays["ids"].tolist()
            if min(ids) < 0 or len(set(ids)) != len(ids) or self.ids & set(ids):
                raise Refused("pictures whose ids are negative, or named twice, or were received with a label before.")

    def _check_plan(self, arrays: Arrays) -> None:
        recipe, most = self._recipe, 2 * self._recipe.padding
        if unknown := set(np.unique(arrays["ids"]).tolist()) - self.ids:
            raise Refused(f"a plan with {len(unknown)} pictures that were not received with a label: send them first.")
        if any(((arrays[name] < 0) | (arrays[name] > most)).any() for name in ("top", "left")):
            raise Refused(f"a plan with crops beyond the border of {recipe.padding} pixels: keep to the recipe.")
        bound = recipe.zoom * 1.0001
        zoomed, shift = arrays.get("zoom", np.ones(1)), arrays.get("shift", np.zeros(1))
        fits = ("zoom" in arrays) == (recipe.zoom != 1) and 1 / bound <= zoomed.min() <= zoomed.max() <= bound
        if not fits or np.abs(shift).max() > 1.0001:
            raise Refused(f"a plan whose zoom is not that of the recipe, {recipe.zoom}: keep to the recipe.")

    def _check_order(self, order: Order) -> None:
        held = {line["id"]: line for line in self.log.of("plan")}
        if missing := [plan for plan in order.plans if plan not in held or not self.log.holds(plan)]:
            raise Refused(f"an order by the plan {missing[0][:12]}..., which was not received: send it first.")
        epochs = sum(held[plan]["items"] for plan in order.plans)
        if epochs != self._recipe.epochs or order.steps < epochs:
            raise Refused(
                f"an order of {epochs} epochs and {order.steps} steps: the recipe says {self._recipe.epochs}."
            )
