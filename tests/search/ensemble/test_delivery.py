"""What a delivered front says, against sums made the plain way."""

import numpy as np

from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.delivery import counts_of, described, singles_front
from onceforall.search.ensemble.selection import select_ensembles
from onceforall.search.ensemble.votes import VoteTable
from onceforall.search.front import hypervolume

from .tables_of_numbers import dense_correct, front_like_table


def test_a_delivered_front_says_what_it_does_on_both_image_sets():
    table, labels, latencies = front_like_table(np.random.default_rng(5), 10, 600, 6)
    chosen, told = (
        VoteTable(array_blocks(table[:, ::2], labels[::2])),
        VoteTable(array_blocks(table[:, 1::2], labels[1::2])),
    )
    front = select_ensembles(chosen, latencies, "maximal")
    singles = singles_front(front, chosen, latencies, np.eye(chosen.members, dtype=bool))
    names = [f"network {number}" for number in range(10)]
    for one, label in ((front, "maximal"), (singles, "single")):
        counts = counts_of(one, told)
        found = described(one, names, label, counts, told.images)
        assert [entry["name"] for entry in found["members"]] == [f"{label}-{i:02d}" for i in range(len(one.ensembles))]
        right = [entry["test_top1"] for entry in found["members"]]
        dense = dense_correct(table[:, 1::2], labels[1::2], one.sets(10))
        np.testing.assert_allclose(right, np.array(dense) / 300)
        points = [(entry["latency_ms"], 100 - 100 * entry["test_top1"]) for entry in found["members"]]
        assert np.isclose(found["test_hypervolume"], hypervolume(np.array(points), front.reference))
        assert np.isclose(found["holdout_hypervolume"], one.hypervolume())
    assert all(len(one.members) == 1 for one in singles.ensembles)
    assert singles.hypervolume() <= front.hypervolume()
    few = select_ensembles(chosen, latencies, "maximal", most=1)
    alone = singles_front(few, chosen, latencies, np.eye(chosen.members, dtype=bool))
    assert alone.points.tolist() == singles.points.tolist()
    assert described(front, names, "maximal")["members"][0]["test_top1"] is None
