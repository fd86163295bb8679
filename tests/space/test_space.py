"""Search spaces: exact sizes, codes, drawing, validation."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.errors import ConfigError, InvalidArch
from onceforall.space import Arch, Block, SearchSpace, create_space, list_spaces

SPACES = {name: create_space(name) for name in list_spaces()}
names = st.sampled_from(list_spaces())
seeds = st.integers(0, 2**32 - 1)


def test_size_of_the_published_space_is_exact():
    space = create_space("mbv3_w1.0")
    assert space.size_per_resolution == (81 + 729 + 6561) ** 5
    assert space.size == 25 * space.size_per_resolution


def test_size_counts_every_architecture_once():
    space = create_space("resnet_small", expand_ratios=[0.5, 1], resolutions=[16, 32])
    stages = [blocks for depth in (1, 2) for blocks in itertools.product([Block(3, 0.5), Block(3, 1)], repeat=depth)]
    archs = [Arch(r, choice) for r in (16, 32) for choice in itertools.product(stages, repeat=3)]
    assert all(arch in space for arch in archs)
    assert len(set(archs)) == len(np.unique(space.encode(archs), axis=0)) == space.size


@given(names, seeds)
@settings(max_examples=30, deadline=None)
def test_codes_and_json_round_trip(name, seed):
    space = SPACES[name]
    archs = space.sample_many(5, np.random.default_rng(seed))
    codes = space.encode(archs)
    assert codes.shape == (5, len(space.columns))
    assert (codes < space.cardinalities).all()
    assert space.decode(codes) == archs
    assert [Arch.from_json(arch.to_json()) for arch in archs] == archs


@given(names, seeds, st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_mutation_and_crossover_stay_in_the_space(name, seed, p):
    space, rng = SPACES[name], np.random.default_rng(seed)
    a, b = space.sample_many(2, rng)
    space.validate(space.mutate(a, rng, p))
    space.validate(space.crossover(a, b, rng))
    assert space.mutate(a, rng, 0.0) == a
    assert space.crossover(a, a, rng) == a


def test_crossover_takes_every_choice_from_a_parent():
    space, rng = create_space("mbv3_w1.0"), np.random.default_rng(0)
    a, b = space.sample_many(2, rng)
    for _ in range(20):
        child = space.crossover(a, b, rng)
        for stage, blocks in enumerate(child.stages):
            for position, block in enumerate(blocks):
                parents = [p.stages[stage][position] for p in (a, b) if position < len(p.stages[stage])]
                assert block.kernel_size in {parent.kernel_size for parent in parents}
                assert block.expand_ratio in {parent.expand_ratio for parent in parents}


def test_sampling_is_uniform_over_depths_and_repeatable():
    space = create_space("mbv3_w1.0")
    codes = space.sample_codes(3000, np.random.default_rng(0))
    depths = codes[:, [i for i, name in enumerate(space.columns) if name.endswith("depth")]]
    assert np.abs(np.stack([(depths == k).mean(0) for k in range(3)]) - 1 / 3).max() < 0.05
    assert (codes == space.sample_codes(3000, np.random.default_rng(0))).all()


def test_inactive_blocks_do_not_exist():
    space = create_space("resnet_small")
    arch = space.smallest
    assert arch.depths == (1, 1, 1)
    assert space.encode([arch])[0].tolist() == [0] + [0, 1, 1, 0, 0] * 3


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (Arch(33, ((Block(3, 1),),) * 3), "resolution 33 .* allowed: 32"),
        (Arch(32, ((Block(3, 1),),) * 2), "has 3 stages, the architecture has 2"),
        (Arch(32, ((Block(3, 1),), (Block(3, 1),) * 3, (Block(3, 1),))), "stage 2 has depth 3; allowed .*: 1, 2"),
        (Arch(32, ((Block(3, 1),), (Block(3, 1), Block(5, 1)), (Block(3, 1),))), "stage 2, block 2 has kernel size 5"),
        (Arch(32, ((Block(3, 0.6),),) * 3), r"stage 1, block 1 has expand ratio 0.6; allowed .*: 0.5, 0.75, 1"),
        (Arch(32, ((Block(3, 1),),) * 3, (1, 1, 1)), "fixed stage widths"),
    ],
)
def test_validation_names_stage_block_value_and_choices(arch, message):
    space = create_space("resnet_small")
    assert arch not in space
    for check in (space.validate, lambda a: space.encode([a])):
        with pytest.raises(InvalidArch, match=message):
            check(arch)


@pytest.mark.parametrize("resolution", [0, -5, 32.5, None, "32"])
def test_any_resolution_is_one_that_an_image_can_have(resolution):
    space = create_space("resnet_small")
    space.validate(replace(space.smallest, resolution=40), any_resolution=True)
    with pytest.raises(InvalidArch, match=f"resolution {resolution!r} is no positive whole number of pixels"):
        space.validate(replace(space.smallest, resolution=resolution), any_resolution=True)


def test_codes_that_are_none_are_refused():
    space = create_space("resnet_small")
    code = space.encode([space.smallest])
    outside, ghost = code.copy(), code.copy()
    outside[0, 0] = 7
    ghost[0, 4] = 1
    for bad, message in (
        (outside, "column resolution holds 7"),
        (ghost, "stage1.block2.kernel_size"),
        (code[:, :3], "shape"),
        (code.astype(float), "integers"),
    ):
        with pytest.raises(InvalidArch, match=message):
            space.decode(bad)


def test_restriction_keeps_the_layout_and_names_foreign_values():
    space = create_space("mbv3_w1.0")
    small = space.restrict(kernel_sizes=[7], expand_ratios=[6], depths=[4], resolutions=[224])
    assert small.size == 1
    assert small.largest == space.largest
    assert small.layout == space.layout
    with pytest.raises(ConfigError, match=r"expand_ratios: 5 not in space .* 3, 4, 6"):
        space.restrict(expand_ratios=[5])
    with pytest.raises(ConfigError, match="depths is empty"):
        space.restrict(depths=[])


@pytest.mark.parametrize("name", list_spaces())
def test_descriptions_rebuild_the_space(name):
    space = create_space(name, num_classes=7, in_chans=1)
    assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert space.smallest in space
    assert space.uniform() == space.largest


def test_families_refuse_what_they_do_not_know():
    with pytest.raises(ConfigError, match="num_classes=0: must be 1 or greater"):
        create_space("mbv3_w1.0", num_classes=0)
    with pytest.raises(ConfigError, match="no space named 'mbv2'"):
        create_space("mbv2")
    with pytest.raises(ConfigError, match="unknown option 'depth'"):
        create_space("mbv3_w1.0", depth=3)
    with pytest.raises(ConfigError, match="resolutions"):
        create_space("mbv3_w1.0", resolutions=[3])
    assert create_space("mbv3_w0.5").layout.stages[0].width == 16


def test_compound_spaces_are_as_small_as_published():
    assert create_space("compound").size_per_resolution == 243
    assert create_space("compound_elastic").size_per_resolution == (3**2 + 3**3 + 3**4) ** 5
    assert create_space("mbv3_w1.0", compound=True).size == create_space("compound_elastic_w1.0").size
    published = {2: 3, 3: 4, 4: 6}
    for arch in create_space("compound").sample_many(50, np.random.default_rng(0)):
        for kernel_size, blocks in zip((3, 5, 3, 3, 5), arch.stages, strict=True):
            assert set(blocks) == {Block(kernel_size, published[len(blocks)])}


def test_compound_ratios_are_clipped_to_those_that_are_kept():
    space = create_space("mbv3_w1.0", compound=True, expand_ratios=[4, 6], depths=[2, 4])
    assert space.stages[0].expand_of_depth == (4, 6)
    assert space.restrict(depths=[4]).stages[0].expand_of_depth == (6,)
    with pytest.raises(ConfigError, match="depths imply the expand ratios"):
        space.restrict(expand_ratios=[6])
    with pytest.raises(ConfigError, match="compound=True needs depths 2, 3, 4"):
        create_space("resnet_small", compound=True)


def test_a_choice_that_does_not_follow_its_leader_is_refused():
    space = create_space("compound_elastic")
    wide = Arch(224, ((Block(3, 6),) * 2, *space.largest.stages[1:]))
    code = space.encode([space.largest])
    code[0, space.columns.index("stage1.block1.expand_ratio")] = 1
    with pytest.raises(InvalidArch, match=r"stage 1, block 1 has expand ratio 6; .* depth 2 implies 3"):
        space.encode([wide])
    with pytest.raises(InvalidArch, match=r"stage1\.block1\.expand_ratio holds 1; .* tied column"):
        space.decode(code)


def test_elastic_widths_are_named_counted_and_restricted():
    space = create_space("resnet50")
    stages = [2, 3**2 + 3**3 + 3**4, 3**2 + 3**3 + 3**4, 3**4 + 3**5 + 3**6, 3**2 + 3**3 + 3**4]
    assert space.size_per_resolution == np.prod(stages, dtype=object) * 3**6
    assert space.columns[-6:] == tuple(f"width.{name}" for name in space.layout.width_names)
    narrow = space.restrict(width_mults=[0.65], depths=[0, 1, 2, 4], expand_ratios=[0.2])
    assert narrow.largest.width_mults == (0.65,) * 6
    assert all(arch in space for arch in narrow.sample_many(20, np.random.default_rng(0)))
    largest = space.largest
    for widths, message in (
        ((1,) * 5, "needs 6 width multipliers .*stem_middle.* has 5"),
        ((1, 1, 1, 0.7, 1, 1), "width multiplier 0.7 of stage3 is not allowed .*: 0.65, 0.8, 1"),
    ):
        with pytest.raises(InvalidArch, match=message):
            space.validate(Arch(largest.resolution, largest.stages, widths))
    with pytest.raises(ConfigError, match=r"width_mults: 0\.5 not in space"):
        space.restrict(width_mults=[0.5])
