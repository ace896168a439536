"""Which pictures a round asks about, and which of the answers will be held out: drawn before any of them is known."""

import numpy as np

from pslcore.streams import numpy_stream

HELD_OUT = 5
"""One of so many pictures asked about is drawn at random, and its answer held out to estimate the accuracy."""


def in_order(askable: list[int], ranking: list[int], seed: int, asks: int) -> list[int]:
    """Most wanted first; what is not in the ranking (before the first training, that is all) follows at random.

    Parameters
    ----------
    askable : list of int
        Pictures that may be asked about.
    ranking : list of int
    seed : int
    asks : int
        Questions so far.
    """
    places = set(askable)
    first = [number for number in ranking if number in places]
    rest = np.array([number for number in askable if number not in set(first)], np.int64)
    return first + numpy_stream(seed, "pools", asks).permutation(rest).tolist()


def draw(n: int, askable: list[int], wanted: list[int], seed: int, asks: int) -> tuple[list[int], list[int]]:
    """The pictures of a round, in the order of asking, and the places in it whose answers are held out.

    Those are drawn at random from all that may be asked about, so that they stand for the album and not for what a
    method finds worth asking; the others are the most wanted of what is left.
    """
    held = [at for at in range(n) if _holds_out(seed, asks + at)]
    drawn = numpy_stream(seed, "held-out-picture", asks).choice(askable, len(held), replace=False).tolist()
    spare, best = iter(drawn), iter([number for number in wanted if number not in set(drawn)])
    return [next(spare if at in set(held) else best) for at in range(n)], held


def _holds_out(seed: int, ask: int) -> bool:
    block, place = divmod(ask, HELD_OUT)
    return place == numpy_stream(seed, "held-out", block).integers(HELD_OUT)
