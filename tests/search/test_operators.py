from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.errors import ConfigError
from onceforall.search.operators import (
    crossover_codes,
    enumerate_codes,
    mutate_codes,
    neighbour_codes,
    spread_codes,
    uniform_family_codes,
    unique_codes,
)
from onceforall.space import SearchSpace, create_space

SPACES = [
    create_space("mbv3_w1.0"),
    create_space("mbv3_small", resolutions=(32, 40, 48)),
    create_space("resnet_small"),
    create_space("mbv3_small", depths=(2,), kernel_sizes=(3,)),
    create_space("resnet50"),
    create_space("compound"),
    create_space("compound_elastic"),
    create_space("cifar_kdw"),
]
spaces = st.sampled_from(SPACES)
seeds = st.integers(0, 2**32 - 1)


def assert_codes(space: SearchSpace, codes: np.ndarray) -> None:
    """Rows decode to valid architectures and are the canonical rows of those."""
    assert codes.dtype == np.int64
    archs = space.decode(codes)
    for arch in archs:
        space.validate(arch)
    np.testing.assert_array_equal(space.encode(archs), codes)


@settings(deadline=None, max_examples=25)
@given(spaces, seeds, st.floats(0.01, 1.0))
def test_variation_gives_canonical_valid_codes(space: SearchSpace, seed: int, probability: float) -> None:
    rng = np.random.default_rng(seed)
    parents = space.sample_codes(20, rng)
    before = parents.copy()
    mutants = mutate_codes(space, parents, rng, probability)
    children = crossover_codes(space, parents, parents[::-1], rng)
    np.testing.assert_array_equal(parents, before)
    for codes in (mutants, children, spread_codes(space, 20, rng), neighbour_codes(space, parents[0])):
        assert_codes(space, codes)


@settings(deadline=None, max_examples=25)
@given(spaces, seeds)
def test_crossover_takes_every_gene_from_a_parent(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = space.sample_codes(30, rng), space.sample_codes(30, rng)
    child = crossover_codes(space, first, second, rng)
    from_a_parent = (child == first) | (child == second) | (child == 0)
    followers = [
        slot[0] + offset for slot in space.slots for offset in (0, 1) if slot[2] and space.stages[slot[1]].alike
    ]
    from_a_parent[:, followers] = True
    assert from_a_parent.all()


@settings(deadline=None, max_examples=15)
@given(spaces, seeds)
def test_neighbours_differ_in_one_choice(space: SearchSpace, seed: int) -> None:
    code = space.sample_codes(1, np.random.default_rng(seed))[0]
    around = neighbour_codes(space, code)
    depth_columns = [index for index, name in enumerate(space.columns) if name.endswith(".depth")]
    assert len(unique_codes(around, {code.tobytes()})) == len(around)
    for row in around:
        changed = np.flatnonzero(row != code)
        depths = [column for column in changed if column in depth_columns]
        leaders = {space.columns[c].rpartition(".")[2] if space.stages[0].alike else c for c in changed}
        assert len(leaders) == 1 or len(depths) == 1


def test_neighbours_connect_smallest_to_largest() -> None:
    space = create_space("resnet_small")
    reached = unique_codes(space.encode([space.smallest]))
    for _ in range(20):
        reached = unique_codes(np.concatenate([reached, *(neighbour_codes(space, row) for row in reached)]))
        if len(reached) == space.size:
            break
    assert len(reached) == space.size


def test_mutation_rate_and_reach() -> None:
    space = create_space("mbv3_w1.0")
    rng = np.random.default_rng(0)
    parents = np.repeat(space.encode([space.largest]), 4000, axis=0)
    mutants = mutate_codes(space, parents, rng, 0.1)
    changed_resolution = (mutants[:, 0] != parents[:, 0]).mean()
    assert changed_resolution == pytest.approx(0.1 * 24 / 25, abs=0.02)
    grown = mutate_codes(space, np.repeat(space.encode([space.smallest]), 4000, axis=0), rng, 0.1)
    slot = space.columns.index("stage1.block4.kernel_size")
    values = grown[grown[:, slot] > 0, slot]
    assert set(values) == {1, 2, 3}, "new blocks draw all kernel sizes"


def test_spread_reaches_both_ends() -> None:
    space = create_space("mbv3_w1.0")
    rng = np.random.default_rng(0)
    spread, uniform = spread_codes(space, 2000, rng), space.sample_codes(2000, rng)
    columns = [i for i, name in enumerate(space.columns) if name.endswith("expand_ratio")]
    totals = [codes[:, columns].sum(axis=1) for codes in (spread, uniform)]
    assert np.std(totals[0]) > 1.5 * np.std(totals[1])


def test_enumeration_is_complete_and_distinct() -> None:
    for space in (
        create_space("resnet_small"),
        create_space("mbv3_small", kernel_sizes=(3,), depths=(1, 2)),
        create_space("compound"),
        create_space("cifar_kdw"),
        create_space("resnet50", depths=(0, 1, 4, 6), expand_ratios=(0.2,), resolutions=(128,)),
    ):
        codes = enumerate_codes(space)
        assert len(codes) == space.size == len(unique_codes(codes))
        assert_codes(space, codes[:: max(1, len(codes) // 100)])
    with pytest.raises(ConfigError, match=r"networks; at most 1000 can be listed"):
        enumerate_codes(create_space("mbv3_w1.0"), 1000)


def test_uniform_family_is_alike_everywhere() -> None:
    space = create_space("mbv3_w1.0", resolutions=(160, 224))
    archs = space.decode(uniform_family_codes(space))
    assert len(archs) == 2 * 3 * 3 * 3
    for arch in archs:
        assert len(set(arch.depths)) == 1
        assert len({block for stage in arch.stages for block in stage}) == 1


def test_unique_keeps_the_first_in_order() -> None:
    codes = np.array([[1, 2], [0, 1], [1, 2], [3, 3]])
    np.testing.assert_array_equal(unique_codes(codes), [[1, 2], [0, 1], [3, 3]])
    np.testing.assert_array_equal(unique_codes(codes, {codes[1].tobytes()}), [[1, 2], [3, 3]])
    assert all(a.tobytes() != b.tobytes() for a, b in pairwise(unique_codes(codes)))
