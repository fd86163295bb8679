import re
from xml.etree import ElementTree

import pytest

from onceforall.cost.structure import network
from onceforall.report.drawing import draw_arch, kernel_legend
from onceforall.space import Arch, Block, create_space, list_spaces


def test_blocks_ghosts_and_lengths() -> None:
    space = create_space("mbv3_small")
    arch = Arch(32, ((Block(3, 2),), (Block(5, 4), Block(3, 3)), (Block(5, 4),) * 3))
    drawing = ElementTree.fromstring(draw_arch(space, arch))
    rectangles = [(item.get("class"), float(item.get("width") or 0)) for item in drawing.iter("rect")]
    blocks = [(kind, width) for kind, width in rectangles if kind and kind.startswith("block")]
    assert [kind for kind, _ in blocks] == ["block k3", "block k5", "block k3", "block k5", "block k5", "block k5"]
    assert blocks[0][1] * 2 == blocks[1][1], "half the expand ratio is half the length"
    assert sum(kind == "ghost" for kind, _ in rectangles) == 9 - 6
    texts = [item.text or "" for item in drawing.iter("text")]
    assert "input 32 × 32" in texts
    assert "24 ch, 16 × 16" in texts
    assert "96 ch, 4 × 4" in texts
    assert "3×3 · 2" in texts


def test_large_space_and_legend() -> None:
    space = create_space("mbv3_w1.0")
    drawing = draw_arch(space, space.smallest)
    assert drawing.count('class="ghost"') == 10
    assert "160 ch, 4 × 4" in drawing
    assert re.findall(r'class="(k\d)"', kernel_legend(space)) == ["k3", "k5", "k7"]


def sizes(space, arch) -> list[str]:
    drawing = ElementTree.fromstring(draw_arch(space, arch))
    return [item.text or "" for item in drawing.iter("text") if item.get("class") == "stage-size"]


def test_widths_are_those_of_the_network_drawn() -> None:
    space = create_space("cifar_kdw")
    assert sizes(space, space.smallest) == ["32 ch, 8 × 8"]
    assert sizes(space, space.largest) == ["512 ch, 8 × 8"]


def test_the_skippable_stem_block_and_elastic_widths() -> None:
    space = create_space("resnet50", resolutions=[224])
    largest, narrow = space.largest, space.smallest
    stages = ["256 ch, 56 × 56", "512 ch, 28 × 28", "1024 ch, 14 × 14", "2048 ch, 7 × 7"]
    assert sizes(space, largest) == ["32 ch, 112 × 112", *stages]
    assert sizes(space, narrow)[0] == "24 ch, 112 × 112"
    assert sizes(space, narrow)[-1] == "1328 ch, 7 × 7"
    assert draw_arch(space, narrow).count('class="ghost"') == 1 + 2 + 2 + 2 + 2


@pytest.mark.parametrize("name", list_spaces())
def test_every_family_can_be_drawn_with_the_map_it_really_has(name) -> None:
    space = create_space(name)
    for arch in (space.smallest, space.largest):
        head, side = list(network(space.layout, arch))[-1]
        assert sizes(space, arch)[-1] == f"{head.in_channels} ch, {side} × {side}"
