"""Fig. 7: every test image is in one group, and counted for what it is."""

import numpy as np

from pslcore.runs import Config
from psllab.analysis import consensus
from psllab.grid import Cell, Results


def made(*peers):
    """A run with each of these, seed by seed."""
    results = Results("fig0", "quick")
    for seed, one in enumerate(peers):
        config = Config.of({"dataset": "made-up", "method": "psl", "seed": seed})
        results.runs.append((Cell("PSL", config), {"data": {"name": "made-up"}, "peers": one}))
    return results


# ten test images; their order by discrepancy is 9 8 7 ... 0, with a tie between 0 and 1 that the index decides
PEERS = {
    "discrepancy": [9, 9, 7, 6, 5, 4, 3, 2, 1, 0],
    "consensus": [False, False, False, True, True, False, True, True, True, True],
    "correct": [False, True, False, True, False, True, True, True, True, True],
}


def test_buckets_by_hand():
    table = consensus.table(made(PEERS))
    there = table[table["images"] > 0][["group", "consensus", "correct", "images"]]
    assert {tuple(row) for row in there.itertuples(index=False)} == {
        (1, True, True, 2), (2, True, True, 2), (3, False, True, 1), (3, True, False, 1), (4, True, True, 1),
        (4, False, False, 1), (5, False, False, 1), (5, False, True, 1),
    }  # fmt: skip
    accuracy = consensus.accuracy(table).to_numpy().tolist()
    assert accuracy == [
        [1, "100.0", 2, "–", 0],
        [2, "100.0", 2, "–", 0],
        [3, "0.0", 1, "100.0", 1],
        [4, "100.0", 1, "0.0", 1],
        [5, "–", 0, "50.0", 2],
    ]


def test_buckets_are_five_equal_groups_of_every_run():
    rng = np.random.default_rng(0)
    peers = [
        {name: draw.tolist() for name, draw in
         {"discrepancy": rng.random(500), "consensus": rng.random(500) < 0.7, "correct": rng.random(500) < 0.6}.items()}
        for _ in range(3)
    ]  # fmt: skip
    results = made(*peers)
    table = consensus.table(results)
    assert (table.groupby(["seed", "group"])["images"].sum() == 100).all()
    assert table[table["correct"]]["images"].sum() == sum(sum(one["correct"]) for one in peers)
    assert table[table["consensus"]]["images"].sum() == sum(sum(one["consensus"]) for one in peers)
    accuracy = consensus.accuracy(table)
    assert (accuracy["images with consensus"] + accuracy["images without consensus"] == 300).all()

    bars = consensus.bars(results)
    heights = np.array([bar.y for bar in bars.data])
    np.testing.assert_allclose(heights.sum(0), 100)  # per group, of one run: the mean of the seeds
    for bar in bars.data:
        kind = (bar.name.startswith("consensus"), not bar.name.endswith("incorrect"))
        rows = table[(table["consensus"] == kind[0]) & (table["correct"] == kind[1])]
        np.testing.assert_allclose(bar.y, rows.groupby("group")["images"].mean())
    assert bars.layout.barmode == "stack"
    assert len({bar.marker.color for bar in bars.data}) == 4
    assert "mean of 3 seeds" in bars.layout.title.text
    assert bars.layout.xaxis.title.text == "group of test images, from least to most discrepancy"


def test_uneven_groups_lose_nothing():
    peers = {name: values[:7] for name, values in PEERS.items()}
    table = consensus.table(made(peers))
    assert table.groupby("group")["images"].sum().tolist() == [2, 2, 1, 1, 1]
