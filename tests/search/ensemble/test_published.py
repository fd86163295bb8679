"""The published searches: their budgets, their start, their rules, and how our selection compares."""

from dataclasses import replace

import numpy as np
import pytest

from onceforall.errors import ConfigError
from onceforall.search.ensemble.blocks import array_blocks
from onceforall.search.ensemble.ensembles import latencies_of
from onceforall.search.ensemble.published import ALGORITHMS, PRESETS, published_selection
from onceforall.search.ensemble.selection import select_ensembles
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import front_like_table, made_table


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    table, labels = made_table(rng, 20, 500, 8, noise=0.8)
    return table, labels, np.sort(rng.uniform(5, 50, 20))


def test_budgets_are_the_published_ones(shared):
    """Every published number of generations has a preset, and its published number of ensembles."""
    import json

    runs = json.loads((shared / "golden/ofa2/ofa3_runs_summary.json").read_text())["runs"]
    runs = [run for run in runs if "latency" in run["run"]]  # without those of the older notebook
    counts = {(("sum" in run["run"]), run["generations"]): run["evaluations"] for run in runs}
    for preset in PRESETS.values():
        assert preset.evaluations == counts[preset.rule == "summed", preset.generations]
        assert preset.at_least == (2 if preset.rule == "summed" else 1)
    assert {(preset.rule == "summed", preset.generations) for preset in PRESETS.values()} == set(counts)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["ofa3_summed", "ofa3_max"])
def test_a_short_run_keeps_the_rules(made, name, algorithm):
    table, labels, latencies = made
    preset = replace(PRESETS[name], generations=12, population=20)
    votes = VoteTable(array_blocks(table, labels), top=preset.top)
    front = published_selection(votes, latencies, preset, algorithm, seed=1)
    assert front.evaluations == preset.evaluations == 1 + 20 * 11
    assert front.ensembles
    for one in front.ensembles:
        assert len(one.members) >= preset.at_least
        members = np.isin(np.arange(20), one.members)[None]
        assert one.correct == votes.correct(members)[0]
        assert one.latency_ms == pytest.approx(latencies_of(members, latencies, preset.rule)[0])
    assert front == published_selection(votes, latencies, preset, algorithm, seed=1)
    assert front != published_selection(votes, latencies, preset, algorithm, seed=2)


def test_the_first_generation_is_everyone_together(made):
    table, labels, latencies = made
    votes = VoteTable(array_blocks(table, labels), top=5)
    preset = replace(PRESETS["ofa3_summed"], generations=1)
    seen = []
    front = published_selection(votes, latencies, preset, progress=seen.append)
    assert [one.members for one in front.ensembles] == [tuple(range(20))]
    assert (front.evaluations, seen) == (1, [1])


@pytest.mark.parametrize("name", ["ofa3_summed", "ofa3_max"])
def test_our_selection_has_more_hypervolume_at_a_twentieth_of_the_evaluations(name):
    table, labels, latencies = front_like_table(np.random.default_rng(0), 60, 1000, 20)
    preset = replace(PRESETS[name], generations=150)
    votes = VoteTable(array_blocks(table, labels), top=preset.top)
    for algorithm in ALGORITHMS:
        theirs = published_selection(votes, latencies, preset, algorithm, seed=1)
        ours = select_ensembles(votes, latencies, preset.rule, evaluations=theirs.evaluations // 20)
        assert ours.evaluations <= theirs.evaluations / 20
        assert ours.hypervolume() > theirs.hypervolume(ours.reference)


def test_an_unknown_algorithm_is_refused(made):
    table, labels, latencies = made
    with pytest.raises(ConfigError, match="unknown algorithm 'nsga9'"):
        published_selection(VoteTable(array_blocks(table, labels)), latencies, PRESETS["ofa3_max"], "nsga9")


@pytest.mark.parametrize("name", ["ofa3_summed", "ofa3_max"])
def test_nothing_to_choose_is_refused(made, name):
    table, labels, latencies = made
    one = VoteTable(array_blocks(table[:1], labels), top=5)
    with pytest.raises(ConfigError, match="one network is no ensemble"):
        published_selection(one, latencies[:1], PRESETS[name])
    equal = VoteTable(array_blocks(np.repeat(table[:1], 3, axis=0), labels), top=5)
    with pytest.raises(ConfigError, match="all 3 networks and their votes are right on the same images"):
        published_selection(equal, latencies[:3], PRESETS[name])
