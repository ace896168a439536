"""Rivals from a library: pool strategies of scikit-activeml, by name (extra ``.[rivals]``).

Those that can pick from features, labels and a classifier: what wants an ensemble or a regressor is refused.

Features, probabilities and labels are handed over as that library takes them: ``X`` are the penultimate features of
``D_L`` and ``D_S``, ``y`` the labels (missing for ``D_S``), and its classifier is the last layer of the network, which
is all that lies between those features and the probabilities.
"""

import inspect
from typing import Any

import numpy as np
from pydantic import Field

from pslcore.data import Indices
from pslcore.settings import short
from pslcore.strategies import Query, register
from pslcore.strategies.checks import as_matrix
from pslcore.strategies.sided import Sided


class ScikitActiveML(Sided):
    """A pool strategy of scikit-activeml on a network's features. In the cloud, uploads all of ``D_S``, every cycle.

    Attributes
    ----------
    query : str
        Its class in ``skactiveml.pool``, such as ``TypiClust``, ``ProbCover``, ``MaxHerding``, ``Falcun``, ``Clue``,
        ``DropQuery``, ``UncertaintySampling``.
    arguments : dict
        Of that class, such as ``{method: margin_sampling}``.
    """

    query: str = "TypiClust"
    arguments: dict[str, Any] = Field(default_factory=dict)

    requires = ("features",)
    requires_labelled = ("features",)
    requires_head = True
    pixels = False

    def ready(self) -> None:
        """``ValueError`` if the library is not there, or its strategy cannot pick from a made-up pool."""
        draw = np.random.default_rng(0)
        X, labels = draw.random((40, 4), dtype=np.float32), np.arange(10) % 3
        head = draw.random((3, 4), dtype=np.float32), np.zeros(3, dtype=np.float32)
        query = Query(np.arange(10, 40), np.arange(10), 3, draw, head=head, labels=labels)
        try:
            self._ask(query, X, np.concatenate([labels, np.full(30, np.nan)]), 3, 0)
        except (TypeError, AttributeError) as error:
            told = f"query = {self.query} of scikit-activeml cannot pick from features, labels and a classifier"
            raise ValueError(f"{told} ({type(error).__name__}: {error}): choose another, such as TypiClust.") from None

    def pick(self, query: Query) -> Indices:
        assert query.head is not None
        assert query.labels is not None
        features = [query.labelled_answers["features"], query.answers["features"]]
        seed, n = int(query.stream.integers(1 << 31)), len(query.labelled)
        X = as_matrix(np.concatenate(features), "features")
        y = np.concatenate([query.labels, np.full(len(query.safe), np.nan)])
        try:
            picked = self._ask(query, X, y, query.budget, seed)
        except Exception as error:  # TypiClust needs as many different images as are labelled and wanted
            different = np.sort(np.unique(X, axis=0, return_index=True)[1])
            budget = min(query.budget, int((different >= n).sum()))
            if len(different) == len(X):
                told = f"{self.query} of scikit-activeml could not pick {query.budget} of {len(query.safe)} images"
                raise ValueError(
                    f"{told} ({type(error).__name__}: {error}): lower `budget` or take another."
                ) from error
            picked = different[self._ask(query, X[different], y[different], budget, seed)] if budget else different[:0]
            copies = np.setdiff1d(np.arange(n, len(X)), picked)
            picked = np.append(picked, query.stream.choice(copies, query.budget - budget, replace=False))
        return query.safe[picked - n]

    def _ask(self, query: Query, X: np.ndarray, y: np.ndarray, budget: int, seed: int) -> Indices:
        """The rows that the library picks of those without a label, each once."""
        assert query.head is not None
        weight, bias = query.head
        strategy = _made(self.query, self.arguments, len(weight), seed)
        given: dict[str, Any] = {"X": X, "y": y, "batch_size": budget, "candidates": np.flatnonzero(np.isnan(y))}
        wanted = inspect.signature(strategy.query).parameters
        for name in {"clf", "estimator"} & set(wanted):
            given |= {name: _head(weight, bias, y), f"fit_{name}": False}
        picked = np.asarray(strategy.query(**given))
        if len(np.unique(picked)) < budget:
            raise ValueError(f"it named {picked.tolist()}, not {budget} different images")
        return picked


def _made(name: str, arguments: dict[str, Any], num_classes: int, seed: int) -> Any:
    """The strategy; ``ValueError`` if the library is not there, or does not know name or arguments."""
    try:
        from skactiveml import pool
        from skactiveml.base import SingleAnnotatorPoolQueryStrategy
    except ImportError as error:
        raise ValueError(
            f"the method 'skactiveml' needs scikit-activeml ({error}): install it with `pip install '.[rivals]'`."
        ) from None
    strategies = {
        one: cls for one in pool.__all__
        if inspect.isclass(cls := getattr(pool, one)) and issubclass(cls, SingleAnnotatorPoolQueryStrategy)
    }  # fmt: skip
    if name not in strategies:
        raise ValueError(
            f"query = {short(name)} is no pool strategy of the library: choose from {', '.join(strategies)}."
        )
    cls = strategies[name]
    known = inspect.signature(cls).parameters
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"arguments: {name} takes no {short(argument)}: choose from {', '.join(known)}.")
    clustering = {"random_state": seed}  # else k-means draws from the global generator
    own = {"random_state": seed, "n_classes": num_classes, "missing_label": np.nan, "cluster_algo_dict": clustering}
    try:
        return cls(**{key: value for key, value in own.items() if key in known} | arguments)
    except TypeError as error:
        raise ValueError(f"query = {name} of scikit-activeml cannot be made ({error}): choose another.") from None


def _head(weight: np.ndarray, bias: np.ndarray, labels: np.ndarray) -> Any:
    """The last layer as that library's classifier; it is trained already."""
    from scipy.special import softmax
    from skactiveml.base import SkactivemlClassifier

    class Head(SkactivemlClassifier):
        def __init__(self, classes: Any = None, missing_label: float = np.nan):
            super().__init__(classes=classes, missing_label=missing_label)

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Head":
            return self

        def predict_proba(self, X: Any) -> np.ndarray:
            return softmax(np.asarray(X, dtype=np.float64) @ weight.T + bias, axis=1)

        def predict(self, X: Any) -> np.ndarray:
            return self.predict_proba(X).argmax(1)

    head = Head(classes=np.arange(len(weight)))
    head.classes_ = np.arange(len(weight))
    return head


register("skactiveml", ScikitActiveML)
