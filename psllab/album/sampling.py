"""Which pictures a round asks about, and which of the answers will be held out: drawn before any of them is known.

What is drawn at random goes by a number that a picture gets from seed, round and its content. So the draw is the same
whatever else lies in the folder: a damaged file that turns up late, or a new name, moves no other picture.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from pslcore.streams import derive, numpy_stream
from psllab.album.pictures import Picture

HELD_OUT = 5
"""One of so many pictures asked about is drawn at random, and its answer held out to estimate the accuracy."""


def in_order(
    askable: Iterable[int], ranking: Iterable[int], pictures: Sequence[Picture], seed: int, asks: int
) -> list[int]:
    """Most wanted first; what is not in the ranking (before the first training, that is all) follows at random.

    Parameters
    ----------
    askable : list of int
        Pictures that may be asked about.
    ranking : list of int
    pictures : list of Picture
        By number.
    seed : int
    asks : int
        Questions so far.
    """
    places = set(askable)
    first = [number for number in ranking if number in places]
    return first + _shuffled(places.difference(first), pictures, seed, "pools", asks)


def typical(vectors: np.ndarray, n: int, seed: int) -> list[int]:
    """Rows, most wanted first: the most typical of each of ``n`` clusters, those of the largest first.

    As TypiClust has it (Hacohen et al. 2022): clusters by k-means, typicality as one over the mean distance to the 20
    nearest of the same cluster.
    """
    from sklearn.cluster import KMeans
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # several threads add up in whatever order they finish
        kinds = KMeans(n, n_init=1, random_state=seed % 2**31).fit_predict(vectors)
        found = []
        for kind in np.unique(kinds):
            members = np.flatnonzero(kinds == kind)
            most = 0
            if len(members) > 1:
                near, _ = NearestNeighbors(n_neighbors=min(20, len(members) - 1)).fit(vectors[members]).kneighbors()
                most = near.mean(1).argmin()
            found.append((-len(members), int(members[most])))
    return [member for _, member in sorted(found)]


def draw(
    n: int, askable: Iterable[int], wanted: Iterable[int], pictures: Sequence[Picture], seed: int, asks: int
) -> tuple[list[int], list[int]]:
    """The pictures of a round, in the order of asking, and the places in it whose answers are held out.

    Those are drawn at random from all that may be asked about, so that they stand for the album and not for what a
    method finds worth asking; the others are the most wanted of what is left.
    """
    held = [at for at in range(n) if _holds_out(seed, asks + at)]
    drawn = _shuffled(askable, pictures, seed, "held-out-picture", asks)[: len(held)]
    out, places = set(drawn), set(held)
    spare, best = iter(drawn), (number for number in wanted if number not in out)
    return [next(spare if at in places else best) for at in range(n)], held


def _shuffled(numbers: Iterable[int], pictures: Sequence[Picture], seed: int, purpose: str, asks: int) -> list[int]:
    salt = str(derive(seed, purpose, asks))

    def place(number: int) -> tuple[bytes, str]:
        return hashlib.sha256(f"{salt} {pictures[number].digest}".encode()).digest(), pictures[number].path

    return sorted(numbers, key=place)


def _holds_out(seed: int, ask: int) -> bool:
    block, place = divmod(ask, HELD_OUT)
    return place == numpy_stream(seed, "held-out", block).integers(HELD_OUT)
