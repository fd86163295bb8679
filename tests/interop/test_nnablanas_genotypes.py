"""Genotypes: all that the experiments hold, strict and as the original reads them, and every mistake by its stage."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.cost import count_macs, count_params
from onceforall.errors import ConfigError, InvalidArch
from onceforall.interop.nnablanas import OP_CANDIDATES, arch_from_genotype, genotype_from_arch, parse_op_candidates
from onceforall.space import Block, create_space

MBV3 = create_space("mbv3_w1.0")
RESNET = create_space("resnet50")
FULL = [8] * 20


@pytest.fixture(scope="module")
def golden(shared):
    def read(name):
        return json.loads((shared / "golden" / "nnablanas" / name).read_text())["genotypes"]

    return read


def with_stage(stage, numbers):
    genotype = list(FULL)
    genotype[4 * stage - 4 : 4 * stage] = numbers
    return genotype


def blocks_of(reading):
    """The blocks that run, from lists of 20 kernel sizes and ratios and five depths."""
    pairs = list(zip(reading["ks"], reading["e"], strict=True))
    return tuple(
        tuple(Block(*pair) for pair in pairs[4 * stage : 4 * stage + depth]) for stage, depth in enumerate(reading["d"])
    )


def test_every_genotype_of_the_experiments_is_read_and_written_and_costs_the_same(golden):
    entries = golden("genotypes_mbv3.json")
    assert len(entries) == 59
    for entry in entries:
        candidates = entry["op_candidates"]
        space = create_space("mbv3_w1.0", depths=entry["depth_candidates"])
        arch = arch_from_genotype(space, entry["genotype"], candidates)
        assert arch.stages == blocks_of(entry["strict"])
        as_stock = arch_from_genotype(space, entry["genotype"], candidates, strict=False)
        assert as_stock.stages == blocks_of(entry["decoded_like_nnablanas"])
        assert genotype_from_arch(arch, candidates) == entry["genotype"]
        sizes = sorted(map(int, entry["macs"]))
        at_sizes = [arch_from_genotype(space, entry["genotype"], candidates, resolution=size) for size in sizes]
        assert count_macs(space, at_sizes).tolist() == [entry["macs"][str(size)] for size in sizes]
        assert count_params(space, [arch]).tolist() == [entry["params"]]


def test_every_genotype_of_resnet50_is_read(golden):
    entries = golden("genotypes_resnet50.json")
    assert len(entries) == 35
    for entry in entries:
        genotype = entry["genotype"]
        arch = arch_from_genotype(RESNET, genotype)
        RESNET.validate(arch)
        if isinstance(genotype, list):
            depth, ratio, width = genotype
            assert arch.depths == (depth // 2, 2 + depth, 2 + depth, 4 + depth, 2 + depth)
            assert {block.expand_ratio for stage in arch.stages[1:] for block in stage} == {ratio}
            assert set(arch.width_mults) == {width}
        else:
            assert arch.depths == (0, 4, 3, 6, 2)
            assert [block.expand_ratio for block in arch.stages[2]] == [0.25, 0.25, 0.2]
            assert arch.width_mults == (0.65, 0.65, 1, 0.65, 0.8, 1)


def test_the_example_of_the_tutorial(golden):
    entry = next(e for e in golden("genotypes_mbv3.json") if "train_subnet" in e["where"])
    arch = arch_from_genotype(MBV3, entry["genotype"])
    assert arch.depths == (2, 4, 3, 2, 4)
    assert arch.stages[1] == (Block(3, 6), Block(5, 4), Block(7, 3), Block(5, 3))


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_writing_and_reading_gives_the_same_network(seed):
    rng = np.random.default_rng(seed)
    for space in (MBV3, RESNET, create_space("compound"), create_space("mbv3_w1.2")):
        arch = space.sample(rng)
        assert arch_from_genotype(space, genotype_from_arch(arch), resolution=arch.resolution) == arch
        if not arch.width_mults and min(arch.depths) > 1:  # what both readings agree on
            assert arch_from_genotype(space, genotype_from_arch(arch), strict=False).stages == arch.stages


@pytest.mark.parametrize(
    ("genotype", "complaint"),
    [
        ([8] * 19, "has 20 numbers.*this one has 19"),
        (with_stage(3, [8, 9, 8, 8]), r"stage 3 of the genotype, \[8, 9, 8, 8\], is no stage"),
        (with_stage(1, [9, 8, 8, 8]), "stage 1 .*has to begin with operators"),
        (with_stage(5, [9, 9, 9, 9]), "stage 5 .*has to begin"),
        (with_stage(4, [8, 9, 9, 9]), "stage 4 has depth 1; allowed in space mbv3_w1.0: 2, 3, 4"),
        (with_stage(2, [8, 8, 10, 8]), "stage 2 .*holds 10; with 9 op_candidates the numbers are 0 to 8, and 9 skips"),
        (with_stage(2, [8, -1, 8, 8]), "stage 2 .*holds -1"),
        (with_stage(2, [8, 1.5, 8, 8]), r"stage 2 .*holds 1\.5"),
        ({"d": {}}, "list of 20 numbers"),
    ],
)
def test_a_mistake_is_named_with_its_stage(genotype, complaint):
    with pytest.raises(InvalidArch, match=complaint):
        arch_from_genotype(MBV3, genotype)


@pytest.mark.parametrize("genotype", [5, None, 1.5, "0" * 20])
@pytest.mark.parametrize("space", [MBV3, RESNET], ids=["mbv3", "resnet50"])
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_list_is_said(space, genotype, strict):
    with pytest.raises(InvalidArch, match=f"a genotype of {space.name} is a list of numbers, not "):
        arch_from_genotype(space, genotype, strict=strict)


@pytest.mark.parametrize("number", ["x", None, [1], math.inf, math.nan, 1.5, -1, True, 10**20])
def test_no_reading_takes_what_is_no_whole_number(number):
    with pytest.raises(InvalidArch, match=r"stage 1 .* holds "):
        arch_from_genotype(MBV3, with_stage(1, [8, number, 8, 8]))
    with pytest.raises(InvalidArch, match=r"the genotype holds .*whole, from 0 to 9|stops with an index error"):
        arch_from_genotype(MBV3, with_stage(1, [8, number, 8, 8]), strict=False)
    assert arch_from_genotype(MBV3, with_stage(1, [8.0, 8, 8, 8])) == MBV3.largest


@pytest.mark.parametrize(
    ("genotype", "complaint"),
    [
        ([8] * 21, "stops at an assertion"),
        ([8] * 19 + [11], "stops with an index error: numbers go up to 9"),
        (with_stage(5, [8, 8, 9, 8]), r"index error: it reads 6 depths, \[4, 4, 4, 4, 2, 1\]"),
        (with_stage(5, [9, 9, 9, 8]), "stage 5 has depth 1"),
    ],
)
def test_where_the_original_parser_fails_the_error_says_how(genotype, complaint):
    with pytest.raises(InvalidArch, match=complaint):
        arch_from_genotype(MBV3, genotype, strict=False)


@pytest.mark.parametrize(
    ("genotype", "depths", "stage", "blocks"),
    [
        # A lone block joins the runs after it, whose borders move; the last run is never counted.
        (with_stage(1, [0, 9, 9, 9]), (4, 4, 4, 4, 4), 1, ((3, 3), (3, 4), (3, 4), (3, 4))),
        # A stage without blocks: all later depths move one stage to the left, the last keeps the largest.
        ([*with_stage(1, [9, 9, 9, 9])[:16], 8, 8, 9, 9], (4, 4, 4, 2, 4), 5, ((7, 6), (7, 6), (3, 4), (3, 4))),
        # Read as depth 2: the first two positions run, one of them skipped.
        (with_stage(2, [0, 9, 8, 9]), (4, 2, 4, 4, 4), 2, ((3, 3), (3, 4))),
        (with_stage(2, [9, 0, 8, 9]), (4, 2, 4, 4, 4), 2, ((3, 4), (3, 3))),
        # Counted like a run that crosses into the next stage.
        (with_stage(1, [8, 9, 8, 8]), (4, 4, 4, 4, 3), 1, ((7, 6), (3, 4), (7, 6), (7, 6))),
        (with_stage(2, [8, 8, 9, 8]), (4, 2, 4, 4, 4), 2, ((7, 6), (7, 6))),
    ],
)
def test_illegal_patterns_have_the_consequences_of_the_original_parser(genotype, depths, stage, blocks):
    with pytest.raises(InvalidArch):
        arch_from_genotype(MBV3, genotype)
    arch = arch_from_genotype(MBV3, genotype, strict=False)
    assert arch.depths == depths
    assert arch.stages[stage - 1] == blocks


@pytest.mark.parametrize("text", ["MB6 7x5", "MB5 3x3", "MB6 9x9", "MB6  7x7", "XP1 7x7 3", "mb6 7x7", ""])
def test_an_unknown_operator_is_named_with_the_grammar(text):
    with pytest.raises(ConfigError, match=f"unknown operator '{text}'; it is written MB<expand ratio> <k>x<k>"):
        parse_op_candidates(["MB6 7x7", text])


def test_candidates():
    assert parse_op_candidates("MB6 7x7") == (Block(7, 6),)
    assert set(parse_op_candidates(OP_CANDIDATES)) == {Block(k, e) for k in (3, 5, 7) for e in (3, 4, 6)}
    with pytest.raises(ConfigError, match="op_candidates is empty"):
        parse_op_candidates([])


def test_writing_refuses_what_the_candidates_cannot_say():
    with pytest.raises(InvalidArch, match="stage 1 needs 'MB6 7x7', but the op_candidates are MB6 5x5, MB6 3x3"):
        genotype_from_arch(MBV3.largest, ["MB6 5x5", "MB6 3x3"])
    with pytest.raises(InvalidArch, match="five stages"):
        genotype_from_arch(create_space("resnet_small").largest)


def mapping(**changed):
    """The largest ResNet-50, some parts otherwise."""
    widths = {"input_stem1": 1, "input_stem2": 1, "block": [1] * 4}
    return {"d": {"input_stem1": 2, "block": [2] * 4}, "e": {"block": [0.35] * 18}, "w": widths, **changed}


@pytest.mark.parametrize(
    ("genotype", "complaint"),
    [
        ([2, 0.35], "not a list of 2"),
        ([3, 0.35, 1.0], "depth 3 of the stem"),
        ([2, 0.3, 1.0], "expand ratio 0.3"),
        ([2, 0.35, 0.5], "width multiplier 0.5"),
        ([2, "wide", 1.0], "no number"),
        ({"d": {"block": [2] * 4}, "e": {"block": [0.35] * 18}}, "has no 'input_stem1' in 'd'"),
        (mapping(e=3), "has no 'block' in 'e'; its form is {d:"),
        (mapping(d={"input_stem1": 2, "block": 5}), "d.block of the genotype is 5, not a list; its form is {d:"),
        (
            mapping(w={"input_stem1": [1], "input_stem2": 1, "block": [1] * 4}),
            "w.input_stem1 .*, not one number",
        ),
        (mapping(d={"input_stem1": True, "block": [2] * 4}), "depth True of the stem"),
        (mapping(e={"block": [True] * 18}), "no number: True"),
        ([True, 0.35, 1.0], "depth True of the stem"),
        (
            {
                "d": {"input_stem1": 2, "block": [2] * 4},
                "e": {"block": [0.35] * 17},
                "w": {"input_stem1": 1, "input_stem2": 1, "block": [1] * 4},
            },
            "'e' of the genotype has 17 numbers, not 18",
        ),
    ],
)
def test_resnet50_mistakes(genotype, complaint):
    with pytest.raises(InvalidArch, match=complaint):
        arch_from_genotype(RESNET, genotype)


def test_spaces_without_genotypes():
    with pytest.raises(ConfigError, match="not of resnet_small"):
        arch_from_genotype(create_space("resnet_small"), FULL)
