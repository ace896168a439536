"""What every method must do, whichever it is: asked of a pick, on made-up pools and in real runs.

A pick gives exactly ``budget`` different indices out of ``query.safe``, as an integer array; the same twice, whatever
the global generators of random numbers hold, which it leaves alone as it does its inputs; from odd pools too. The order
of the pool is of no account: a method that draws nothing picks the same images if they stand under other numbers.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any

import joblib
import numpy as np
import torch

from pslcore.data import Indices
from pslcore.settings import short
from pslcore.strategies.base import Query, Strategy
from pslcore.streams import derive, numpy_stream
from psllab import userfile
from psllab.extend.method_file import one_side

ANSWERS = ("logits", "features", "entropy", "auxiliary")


class Broken(ValueError):
    """A method does not keep the contract; says how in one sentence."""


@dataclass(frozen=True)
class Pool:
    """A made-up pool: its name for a sentence, and sizes.

    Attributes
    ----------
    name : str
    safe, labelled, budget, classes, width : int
        N, M, b, C and the number of features D.
    kinds : int
        Different images, each of which stands there several times; 0 where all differ.
    one_class : bool
        All that is labelled is of class 0.
    """

    name: str
    safe: int = 60
    labelled: int = 20
    budget: int = 10
    classes: int = 10
    width: int = 16
    kinds: int = 0
    one_class: bool = False


ORDINARY = Pool("an ordinary pool")
POOLS = (
    ORDINARY,
    Pool("a pool of which one image is wanted", budget=1),
    Pool("a pool that is wanted whole", safe=7, budget=7),
    Pool("a pool of one image", safe=1, budget=1),
    Pool("two classes", classes=2),
    Pool("more classes than images", safe=12, budget=5, classes=40),
    Pool("labels of one class only", one_class=True),
    Pool("a pool in which images stand twice", safe=40, labelled=10, budget=9, kinds=25),
)


def check(strategy: Strategy, begin: Callable[[str], None] = lambda what: None) -> None:
    """Hold a method to all of it, on made-up pools.

    Parameters
    ----------
    strategy : Strategy
    begin : callable
        Called with what is checked next.

    Raises
    ------
    Broken
        At the first thing that is not kept.
    """
    begin("what it declares")
    declared(strategy)
    for number, pool in enumerate(POOLS):
        begin(pool.name)
        if number == 0:
            with suppress(Exception, SystemExit):  # whatever its first pick imports may draw random numbers
                strategy.model_copy().pick(made(strategy, pool, number))
        picked = ask(strategy, made(strategy, pool, number), f"from {pool.name}")
        begin(f"{pool.name}, again")
        with other_globals():
            again = ask(strategy, made(strategy, pool, number), f"from {pool.name}")
        if not np.array_equal(picked, again):
            raise Broken(
                f"pick gave {short(picked.tolist(), 40)} and then {short(again.tolist(), 40)} from {pool.name} with "
                "the same seed: draw from `query.stream` only, and keep nothing from one pick to the next."
            )
    begin("the same images under other numbers")
    _in_any_order(strategy)


def declared(strategy: Strategy) -> None:
    """``Broken`` if what a class declares of itself cannot be meant."""
    cls = type(strategy)
    if cls.pick is Strategy.pick:
        raise Broken(f"{cls.__name__} has no `pick`: define `def pick(self, query)`.")
    try:
        one_side(cls)
    except ValueError as error:
        raise Broken(str(error)) from None
    for name in ("requires", "requires_labelled"):
        value = getattr(cls, name)
        if not isinstance(value, tuple):
            raise Broken(f'{name} = {short(value)} must be a tuple of names, such as ("logits",) with its comma.')
        for each in value:
            if each not in ANSWERS:
                raise Broken(f"{name} names {short(each)}: choose from {', '.join(ANSWERS)}.")
            if each == "auxiliary" and not cls.has_auxiliary:
                raise Broken(f"{name} names 'auxiliary', but the method has none: set `has_auxiliary = True`.")


Pick = Callable[[Strategy, Query], Indices]


def ask(strategy: Strategy, query: Query, where: str = "", pick: Pick | None = None) -> Indices:
    """One pick, held to the contract; ``where`` ends the sentences; ``pick`` is the class's own if it is not given.

    Raises
    ------
    Broken
        If it fails, changes what it must not, or gives what it must not.
    """
    before, state = _prints(query), _globals()
    where = f" {where}" if where else ""
    try:
        picked = strategy.pick(query) if pick is None else pick(strategy, query)
    except (Exception, SystemExit) as error:
        raise Broken(_failed(pick or type(strategy).pick, error, where)) from error
    for place, mark in _prints(query).items():
        if before.get(place) != mark:
            raise Broken(f"pick changed `{place}` in place{where}: work on a copy.")
    for owner, now in _globals().items():
        if state[owner] != now:
            raise Broken(f"pick used the global random numbers of {owner}{where}: draw from `query.stream`.")
    return given(picked, query, where)


def given(picked: object, query: Query, where: str = "") -> Indices:
    """What a pick returned, if it is what it must be."""
    if not isinstance(picked, np.ndarray):
        kind = type(picked).__name__
        raise Broken(f"pick returned {'nothing' if picked is None else f'a {kind}'}{where}: return an integer array.")
    if picked.dtype.kind not in "iu":
        holds = " that holds NaN" if picked.dtype.kind == "f" and np.isnan(picked).any() else ""
        raise Broken(
            f"pick returned an array of {picked.dtype}{holds}{where}: return integers, such as `query.safe[rows]`."
        )
    if picked.shape != (query.budget,):
        raise Broken(
            f"pick returned {picked.shape[0] if picked.ndim == 1 else f'an array of shape {picked.shape}'}"
            f"{' images' * (picked.ndim == 1)} where {query.budget} were asked for{where}: "
            "return exactly `query.budget` of them."
        )
    once, counts = np.unique(picked, return_counts=True)
    if len(once) < len(picked):
        raise Broken(f"pick named image {once[counts > 1][0]} more than once{where}: name each once.")
    outside = picked[~np.isin(picked, query.safe)]
    if outside.size:
        what = "is labelled already" if outside[0] in query.labelled else "is protected or not there"
        raise Broken(
            f"pick named image {outside[0]}, which {what}{where}: choose from `query.safe`"
            + (" (you may have returned rows: return `query.safe[rows]`)." if picked.max() < len(query.safe) else ".")
        )
    return picked


def made(strategy: Strategy, pool: Pool, seed: int = 0, order: Indices | None = None) -> Query:
    """A query on a made-up pool that holds what the method declared, and only that.

    Parameters
    ----------
    strategy : Strategy
    pool : Pool
    seed : int
        Of the images' answers, the pool, and the method's own stream.
    order : int array, [N], optional
        The image that stands in each row of ``safe``; in their own order without it.
    """
    rng = numpy_stream(seed, f"contract-{pool.name}")
    n, m, classes, width = pool.safe, pool.labelled, pool.classes, pool.width
    places = rng.permutation(4 * (n + m))
    safe, labelled = np.sort(places[:n]), np.sort(places[n : n + m])
    truth = rng.integers(1 if pool.one_class else classes, size=n + m)
    around = rng.standard_normal((classes, width))[truth] + 0.7 * rng.standard_normal((n + m, width))
    alike = np.arange(n + m) % (pool.kinds or n + m)
    features = np.maximum(around, 0).astype(np.float32)[alike]
    weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((classes, width), classes))
    logits = features @ weight.T / 2 + bias
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    one_each = rng.gamma(2.0, size=n + m)[alike]
    every = {
        "features": features, "logits": logits, "entropy": -(np.exp(log_p) * log_p).sum(1),
        "auxiliary": one_each.astype(np.float32),
    }  # fmt: skip
    rows = np.arange(n) if order is None else order
    scores = None
    if type(strategy).learner is not Strategy.learner and not strategy.at_home:
        scores = one_each[:n][rows]
    return Query(
        safe, labelled, pool.budget, np.random.default_rng(derive(seed, "contract-pick")),
        {name: every[name][:n][rows] for name in strategy.requires},
        {name: every[name][n:] for name in strategy.requires_labelled},
        head=(weight, bias) if strategy.requires_head else None, labels=truth[n:], scores=scores,
    )  # fmt: skip


def _in_any_order(strategy: Strategy) -> None:
    query = made(strategy, ORDINARY)
    fresh = query.stream.bit_generator.state
    straight = {int(row) for row in np.searchsorted(query.safe, strategy.pick(query))}
    if query.stream.bit_generator.state != fresh:
        return  # it draws lots, over images that now come in another order
    for turn in range(3):
        order = numpy_stream(turn, "contract-order").permutation(ORDINARY.safe)
        query = made(strategy, ORDINARY, order=order)
        turned = {int(order[row]) for row in np.searchsorted(query.safe, strategy.pick(query))}
        if turned != straight:
            raise Broken(
                f"pick takes {len(straight - turned)} other images of {ORDINARY.budget} when the same images stand "
                "under other numbers, and draws nothing from `query.stream`: the order of the pool must be of no "
                "account."
            )


def _failed(pick: Pick, error: BaseException, where: str) -> str:
    if isinstance(error, KeyError) and error.args and error.args[0] in ANSWERS:
        name = error.args[0]
        return (
            f"pick looks for {name!r} in the query{where}, which holds only what was declared: "
            f'name it in `requires = ("{name}",)`, or in `requires_labelled` for the labelled images.'
        )
    file = getattr(pick, "__code__", None)
    message = userfile.describe_error(error, file.co_filename if file else "")
    return f"pick failed{where} ({message}): mend the file."


def _prints(query: Query) -> dict[str, str]:
    """A mark of each array of the query; the stream is there to be used."""
    found: dict[str, str] = {}
    for field in fields(query):
        value, name = getattr(query, field.name), f"query.{field.name}"
        if isinstance(value, dict):
            found |= {name: joblib.hash(list(value))} | {f'{name}["{key}"]': joblib.hash(value[key]) for key in value}
        elif field.name != "stream":
            found[name] = joblib.hash(value)
    return found


_GENERATORS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[int], Any]]] = {
    "Python (`random`)": (random.getstate, random.setstate, random.seed),
    "NumPy (`numpy.random`)": (np.random.get_state, np.random.set_state, np.random.seed),
    "torch": (lambda: torch.get_rng_state().numpy(), lambda s: torch.set_rng_state(torch.tensor(s)), torch.manual_seed),
}
"""The global generators by their owners: what gives the state, what sets it, what seeds it."""


def _globals() -> dict[str, str]:
    """A mark of the state of each global generator, by its owner."""
    return {owner: joblib.hash(state()) for owner, (state, _, _) in _GENERATORS.items()}


@contextmanager
def other_globals() -> Iterator[None]:
    """Global generators that hold something else, put back afterwards."""
    kept = [state() for state, _, _ in _GENERATORS.values()]
    for number, (_, _, seed) in enumerate(_GENERATORS.values(), start=101):
        seed(number)
    try:
        yield
    finally:
        for before, (_, put_back, _) in zip(kept, _GENERATORS.values(), strict=True):
            put_back(before)
