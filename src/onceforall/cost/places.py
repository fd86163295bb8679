"""Where the parts of networks stand, and which columns of a code decide what stands there."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ..space import BottleneckLayout, KdwLayout, Layout, SearchSpace
from . import structure


@dataclass(frozen=True)
class Place:
    """A place that one part of every network of a space fills, or leaves empty.

    Attributes:
        label: "stem", "neck" or "head"; for blocks "first" (of its stage) or "other", and "block2" where every position
            has widths of its own. Places of one label and stage are filled alike.
        stage: counts from 0; None where no stage is.
        columns: of a code; they decide what stands here: the resolution, then kernel size and expand ratio of a block,
            then the elastic widths it touches. The head of a `KdwLayout` has depth and expand ratio.
        position: of a block in its stage, from 0; of one among those filled alike.
    """

    label: str
    stage: int | None
    columns: tuple[int, ...]
    position: int = 0


def places(space: SearchSpace) -> tuple[Place, ...]:
    """All places, in the order their parts run."""
    elastic = isinstance(space.layout, BottleneckLayout)
    widths = [int(column) for column in space.width_columns]
    found = [Place("stem", None, (0, *widths[:1]))]
    for kernel_column, stage, position in space.slots.tolist():
        touched: tuple[int, ...] = ()
        if elastic:
            touched = tuple(dict.fromkeys(structure.in_out_widths(widths, stage, position)))
            if stage == 1 and position == 0:
                found.append(Place("neck", None, (0, *widths[:2])))
        label = "other" if position else "first"
        if isinstance(space.layout, KdwLayout):
            label = f"block{position + 1}"
        found.append(Place(label, stage, (0, kernel_column, kernel_column + 1, *touched), position))
    last = tuple(widths[-1:])
    if isinstance(space.layout, KdwLayout):
        last = int(space.depth_columns[0]), int(space.slots[0, 0]) + 1
    return (*found, Place("head", None, (0, *last)))


Values = tuple[float, ...]


def fillings(space: SearchSpace, place: Place) -> Iterator[tuple[tuple[int, ...], Values]]:
    """Everything that can stand at a place: entries of its columns in a code, and their values."""
    options = [
        [(code, value) for code, value in enumerate(space.column_values(column)) if value is not None]
        for column in place.columns
    ]
    for chosen in itertools.product(*options):
        codes, values = zip(*chosen, strict=True)
        yield codes, values


def part_at(layout: Layout, place: Place, values: Values) -> tuple[structure.Part, int]:
    """The part that stands at a place for these values of its columns, and the side of its input in pixels."""
    resolution = int(values[0])
    sides = structure.stage_sides(layout, resolution)
    if place.stage is not None:
        between = None
        if isinstance(layout, BottleneckLayout):
            indices = dict.fromkeys(
                structure.in_out_widths(range(len(layout.width_names)), place.stage, place.position)
            )
            channels = [layout.width(i, mult) for i, mult in zip(indices, values[3:], strict=True)]
            between = channels[0], channels[-1]
        side = structure.block_side(layout, place.stage, place.position, resolution)
        return structure.block(layout, place.stage, place.position, int(values[1]), values[2], between), side
    channels = []
    if isinstance(layout, BottleneckLayout):
        first = {"stem": 0, "neck": 0, "head": len(layout.width_names) - 1}[place.label]
        channels = [layout.width(first + offset, mult) for offset, mult in enumerate(values[1:])]
    elif isinstance(layout, KdwLayout) and place.label == "head":
        channels = [layout.width_after(int(values[1]), values[2])]
    if place.label == "neck":
        return structure.neck(*channels), sides[0]
    if place.label == "stem":
        return structure.stem(layout, *channels), resolution
    return structure.head(layout, *channels), sides[-1]
