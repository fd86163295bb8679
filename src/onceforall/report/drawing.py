"""A network as stages and blocks, drawn as inline SVG that follows the page's colours."""

from ..cost.structure import stage_sides
from ..space import Arch, BottleneckLayout, KdwLayout, Layout, SearchSpace
from .words import safe

_LABEL = 150  # pixels left for the stage's name
_CELL = 128  # widest block
_ROW = 34
_BAR = 24
_GAP = 8
_TOP = 26


def draw_arch(space: SearchSpace, arch: Arch) -> str:
    """Draw `arch` as one row per stage: width of a block is its expand ratio, colour its kernel size.

    Dashed outlines are the blocks of the largest network that this one leaves out; thin outlines show how wide a
    block could be. Returns an `<svg>` element; its colours are the classes `k3`, `k5`, `k7` of the page's style.
    """
    slots = max(choices.depths[-1] for choices in space.stages)
    width = _LABEL + slots * (_CELL + _GAP)
    height = _TOP + len(space.stages) * _ROW
    parts = [
        f'<svg class="arch" viewBox="0 0 {width} {height}" role="img" aria-label="{safe(arch)}">',
        f'<text class="stage-name" x="0" y="14">input {arch.resolution} × {arch.resolution}</text>',
    ]
    for index, (choices, blocks) in enumerate(zip(space.stages, arch.stages, strict=True)):
        channels, side = _output(space.layout, arch, index)
        y = _TOP + index * _ROW
        widest = choices.expand_ratios[-1]
        parts.append(
            f'<text class="stage-name" x="0" y="{y + 11}">stage {index + 1}</text>'
            f'<text class="stage-size" x="0" y="{y + 23}">{channels} ch, {side} × {side}</text>'
        )
        for slot in range(choices.depths[-1]):
            x = _LABEL + slot * (_CELL + _GAP)
            if slot >= len(blocks):
                parts.append(f'<rect class="ghost" x="{x}" y="{y}" width="{_CELL}" height="{_BAR}" rx="5"/>')
                continue
            block = blocks[slot]
            bar = _CELL * block.expand_ratio / widest
            parts.append(
                f'<rect class="room" x="{x}" y="{y}" width="{_CELL}" height="{_BAR}" rx="5"/>'
                f'<rect class="block k{block.kernel_size}" x="{x}" y="{y}" width="{bar:.1f}" height="{_BAR}" rx="5">'
                f"<title>stage {index + 1}, block {slot + 1}: kernel {block.kernel_size}, "
                f"expand ratio {block.expand_ratio:g}</title></rect>"
                f'<text class="block-name" x="{x + bar / 2:.1f}" y="{y + 16}">'
                f"{block.kernel_size}×{block.kernel_size} · {block.expand_ratio:g}</text>"
            )
    return "".join([*parts, "</svg>"])


def _output(layout: Layout, arch: Arch, stage: int) -> tuple[int, int]:
    """Channels and side in pixels of what a stage writes."""
    sides = stage_sides(layout, arch.resolution)
    if isinstance(layout, BottleneckLayout):
        channels = layout.width(stage + (stage > 0), arch.width_mults[stage + (stage > 0)])
        return channels, sides[stage + (stage > 0)]  # the first stage stands inside the stem, before its pooling
    if isinstance(layout, KdwLayout):
        return layout.width_after(len(arch.stages[stage]), arch.stages[stage][0].expand_ratio), sides[stage + 1]
    return layout.stages[stage].width, sides[stage + 1]


def kernel_legend(space: SearchSpace) -> str:
    """The colours of the kernel sizes a space has, as HTML."""
    sizes = sorted({size for choices in space.stages for size in choices.kernel_sizes})
    swatches = "".join(f'<span class="swatch"><i class="k{size}"></i>{size} × {size} kernel</span>' for size in sizes)
    return (
        f'<p class="legend">{swatches}<span class="swatch"><i class="ghost"></i>block left out</span>'
        "<span>The length of a block is its expand ratio.</span></p>"
    )
