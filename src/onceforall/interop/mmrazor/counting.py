"""What MMRazor's resource estimator calls flops."""

from collections.abc import Sequence

import numpy as np

from ...cost.analytic import HasSpace, space_of
from ...cost.structure import Part, network
from ...space import Arch, MobileLayout, SearchSpace

_COUNTED_ACTIVATIONS = ("relu", "relu6")


def mmrazor_flops(
    space_or_supernet: SearchSpace | HasSpace, archs: Sequence[Arch], dynamic_norm: bool = False
) -> np.ndarray:
    """MMRazor's "flops" of one image through each sub-network, exact: (n,) int64 from n architectures.

    Multiply-adds of convolutions and linear layers; besides, one per output of a convolution with bias, two per
    element of a batch norm, one per element of a ReLU or ReLU6, and one per input element of a pooling (MobileNetV3
    has a second one, on a single pixel, before its classifier). Other activations, additions and products are free.

    Args:
        dynamic_norm: count as for an elastic supernet, whose batch norms the estimator does not know.

    Raises:
        InvalidArch: a network that is not in the space, whatever its resolution.
    """
    space = space_of(space_or_supernet)
    for arch in archs:
        space.validate(arch, any_resolution=True)
    neck = space.layout.mix_width if isinstance(space.layout, MobileLayout) else 0
    totals = [sum(_flops(part, side, dynamic_norm) for part, side in network(space.layout, arch)) for arch in archs]
    return np.array(totals, dtype=np.int64) + neck


def _flops(part: Part, side: int, dynamic_norm: bool) -> int:
    sides = part.sides(side)
    total = part.macs(side)
    for operation, out in zip(part.operations, sides[1:], strict=True):
        outputs = operation.out_channels * out**2
        if operation.kind == "conv":
            total += outputs * (operation.bias + 2 * (operation.norm and not dynamic_norm))
        elif operation.kind in _COUNTED_ACTIVATIONS:
            total += outputs
        elif operation.kind.endswith("pool"):
            total += operation.in_channels * sides[operation.inputs[0]] ** 2
    return total
