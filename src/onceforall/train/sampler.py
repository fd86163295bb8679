"""Which sub-networks a step trains."""

from dataclasses import replace
from typing import Literal

import numpy as np

from ..space import Arch, SearchSpace

Sampling = Literal["largest", "random", "sandwich"]


def draw_archs(
    space: SearchSpace, sampling: Sampling, count: int, resolution: int, rng: np.random.Generator
) -> tuple[Arch, ...]:
    """Draw the architectures of one step, all at the same resolution, so that one batch of images serves all.

    Args:
        space: what is open.
        sampling: "largest": the largest alone; "random": `count` random ones (Cai et al., ICLR 2020); "sandwich": the
            largest first, then the smallest, then `count - 2` random ones (Yu and Huang, ICCV 2019).
        count: number of architectures for "random" and "sandwich".
        resolution: side of the images in pixels.
        rng: the source of randomness.
    """
    corners = {"largest": [space.largest], "random": [], "sandwich": [space.largest, space.smallest]}[sampling]
    drawn = 0 if sampling == "largest" else count - len(corners)
    archs = corners + (space.sample_many(drawn, rng) if drawn else [])
    return tuple(replace(arch, resolution=resolution) for arch in archs)
