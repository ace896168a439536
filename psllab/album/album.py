"""A folder of pictures with a person in the loop: what to label next, the answers, the training, the report."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import torch

from pslcore.data import normalise
from psllab.album import training
from psllab.album.cache import Progress
from psllab.album.forecast import forecast
from psllab.album.labelling import Labelling
from psllab.album.report import Report, Step, Suggestion
from psllab.album.settings import learned_classes
from psllab.album.state import fingerprint, uploaded_bytes
from psllab.album.training import TaskLearner
from psllab.widgets.job import Stopped


class Album(Labelling):
    """A folder of pictures that people label, picture by picture, while networks learn from their answers.

    Every answer is on the disk when the method that takes it returns. Opened again, an album goes on where it was;
    what is not given then stays as it was. One process at a time may have it open.

    Parameters
    ----------
    folder : path
        Of pictures, with sub-folders. Nothing in it is ever written or changed.
    classes : list of str, optional
        At least two; needed the first time. More may be added at the end later.
    protect : Protect, mapping, path of a YAML file or list of pictures, optional
        Which pictures must never leave this machine; nothing, if it was never said. What was protected before stays
        so until ``release``.
    out : path, optional
        Where the album's own files go: a folder of its own where programs keep their data.
    learning : Learning or mapping, optional
        How networks learn.
    progress : callable, optional
        Told (files read, files to read) while new pictures are read. Of more than 500 new ones only content and EXIF
        are examined now; ``read`` or ``train`` decode them.
    new : bool
        Begin another album, though this machine knows one of these pictures; what that one protects stays protected.
    warn : bool
        Whether to warn (``ProtectionWarning``) of what ``preview().notices`` and ``rewritten`` tell.
    cloud : str, optional
        Address of a server that trains the task learner (see ``psllab.remote``); otherwise it trains here.

    Attributes
    ----------
    rewritten : list of str
        What was taken from files written before, because it is protected by now.

    Raises
    ------
    KnownPictures
        If these are pictures of another album, say of a folder that was copied or moved: go on with it?
    ValueError, OSError
        In one sentence: no such folder, no picture, all protected, bad rules, open elsewhere, disk full.
    """

    def train(
        self, progress: Progress | None = None, stop: Callable[[], bool] | None = None,
        reading: Progress | None = None,
    ) -> Report | None:  # fmt: skip
        """Upload the new answers with their pictures, train both sides, rank what is left. It ends the open round.

        Parameters
        ----------
        progress, stop : callables, optional
            Told (epochs done, epochs), and asked, after each epoch; stopped, the album stays as it was, but for the
            upload.
        reading : callable, optional
            Told (files read, files to read) before, while pictures are decoded that were not; what it raises ends it.

        Returns
        -------
        Report, or None if it was stopped; ``ValueError`` if fewer than two answers can be learned from.
        """
        self._alive()
        self._index.refresh(self._state.asked, reading, whole=True)
        self._rewrite()
        known = self._known()
        if len(known) < 2:
            raise ValueError(f"{len(known)} answers are too few to learn from: label two that are not held out.")
        if fingerprint(known) == self._state.learned:
            return self.report()
        labels, before, now, kept_back = self._index.sides(known, self._state, self.classes)
        sent = uploaded_bytes(self._state.ledger)

        def crossed(ledger: dict[str, Any]) -> None:
            named = [[key.path, key.digest, known[key]] for key in now.values()]
            shielded, n_bytes = len(set(now) & set(self._index.protected)), uploaded_bytes(ledger) - sent
            told = {"pictures": named, "bytes": n_bytes, "protected": shielded, "ledger": ledger}
            self._state.add(self._journal.add("uploaded", **told))

        try:
            done = training.train(
                self.learning, self._index.images(range(len(labels))), self.classes, labels, before,
                np.array(list(now), np.int64), kept_back, self._state.rounds,
                len(self._state.open) or len(known), self._state.ledger, crossed, progress, stop, self._cloud,
            )  # fmt: skip
        except Stopped:
            return None
        number = self._state.rounds + 1
        self._checkpoints.put(number, done, self._index.pictures)
        self._state.add(self._journal.add("trained", ledger=done.ledger, answers=fingerprint(known)))
        self._checkpoints.drop(number - 1)
        report = self.report()
        if report.right is None:
            return report
        step = Step(number, report.learned_from, report.held_out, report.right)
        self._state.add(self._journal.add("estimated", **asdict(step)))
        return replace(report, course=[*report.course, step])

    def task_learner(self) -> TaskLearner | None:
        """The task learner of the last training, here on the client; none before the first."""
        self._alive()
        if not self._state.rounds:
            return None
        weights = self._checkpoints.weights(self._state.rounds)
        return TaskLearner(self.learning, learned_classes(self._journal), weights)

    def suggestions(self, protected: bool = False) -> list[Suggestion]:
        """What the task learner would answer for every picture without an answer, asked on this machine.

        Parameters
        ----------
        protected : bool
            Protected pictures as well; for the person at this machine only.

        Returns
        -------
        list of Suggestion
            In the order of paths; empty before the first training.
        """
        learner, index = self.task_learner(), self._index
        if learner is None:
            return []
        if unread := index.unread():  # what cannot be decoded, or resembles a protected one, is found now
            index.read(self._state.asked, unread)
            self._rewrite()
        answered, hidden = self._state.answers(), () if protected else index.protected
        rest = [n for n in range(len(index.pictures)) if n not in hidden and index.asked_as(n) not in answered]
        found = zip(rest, learner.probabilities(index.images(rest)), strict=True)
        return [Suggestion(index.pictures[n], self.classes[row.argmax()], float(row.max())) for n, row in found]

    def ledger(self) -> dict[str, Any]:
        """What crossed: ``uploads`` (when, pictures, bytes, protected) one a time, ``crossed`` in all by kind."""
        return self._state.crossings()

    def report(self) -> Report:
        """How it stands; ``str`` of it says so in words."""
        self._alive()
        state, index, learner = self._state, self._index, self.task_learner()
        held, right = index.answers(state, held_out=True), None
        if learner is not None and held:
            given = learner.probabilities(index.images(index.at[key] for key in held)).argmax(1)
            right = sum(self.classes[at] == label for at, label in zip(given, held.values(), strict=True))
        last = Counter(each[-1].what for each in state.annotations.values())
        disagreements = {index.today(key).path: by for key, by in state.disagreements().items() if index.usable(key)}
        return Report(
            rounds=state.rounds,
            pictures=len(index.pictures),
            protected=len(index.protected),
            left_out=len(index.left_out),
            learned_from=len(self._known()),
            held_out=len(held),
            right=right,
            skipped=last["skip"],
            unsure=last["not sure"],
            waiting=len(self.waiting),
            left=self.left,
            untrained=self.untrained,
            gone=sum(key not in index.at for key in state.answers()),
            features=self.learning.features,
            forecast=self._forecast(),
            protected_since=sum(
                key.digest in self._protection.contents or index.at.get(key) in index.protected
                for key in state.uploaded
            ),
            people=state.people(),
            disagreements=disagreements,
            classes=dict(Counter(index.answers(state).values())),
            ledger=self.ledger(),
            course=[Step(**{each.name: event[each.name] for each in fields(Step)}) for event in state.estimates],
        )

    def _forecast(self) -> tuple[float, float, float] | None:
        """From answers on features; those that were drawn at random stand for the album."""
        answers, asked, learning = self._index.answers(self._state), self._state.asked, self.learning
        if not learning.features or not self._state.rounds or not answers:
            return None
        images = self._index.images(self._index.at[key] for key in answers)
        labels = np.array([self.classes.index(label) for label in answers.values()])
        at_random = [learning.start == "random", learning.method == "random"]
        fair = [asked[key].held_out or at_random[asked[key].round > 0] for key in answers]
        return forecast(normalise(torch.from_numpy(images.copy())).flatten(1).numpy(), labels, np.array(fair))
