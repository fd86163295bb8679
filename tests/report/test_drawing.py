import re
from xml.etree import ElementTree

from onceforall.report.drawing import draw_arch, kernel_legend
from onceforall.space import Arch, Block, create_space


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
