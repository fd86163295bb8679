"""MACs, parameters and peak activation memory of whole arrays of architectures, exact, without building a network."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from ..space import Arch, SearchSpace
from .places import part_at
from .structure import Part
from .table import CostTable

_TABLES = 16  # spaces remembered; a table takes 20 ms to build, and a search asks for the same one thousands of times


class HasSpace(Protocol):
    """A supernet, for what is counted here."""

    @property
    def space(self) -> SearchSpace: ...


def space_of(space_or_supernet: SearchSpace | HasSpace) -> SearchSpace:
    """The search space itself, or that of a supernet."""
    return space_or_supernet if isinstance(space_or_supernet, SearchSpace) else space_or_supernet.space


def _counted_space(space_or_supernet: SearchSpace | HasSpace, archs: Sequence[Arch] | np.ndarray) -> SearchSpace:
    """The space, at the architectures' own resolutions where it lacks one: counting needs no training at that size."""
    space = space_of(space_or_supernet)
    if isinstance(archs, Arch):
        raise TypeError("several architectures are counted at once; write [arch] for one")
    if isinstance(archs, np.ndarray):
        return space
    sizes = {arch.resolution for arch in archs}
    return space if sizes <= set(space.resolutions) else replace(space, resolutions=tuple(sorted(sizes)))


def count_macs(space_or_supernet: SearchSpace | HasSpace, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
    """Multiply-adds of one image through each sub-network, exact: (n,) int64 from n architectures or (n, D) codes.

    Convolutions (those of squeeze-and-excite too) and linear layers count; batch norm, activations, pooling,
    additions and biases do not: the rule of the Once-for-All code, which calls the same number FLOPs. Architectures
    may have any resolution; codes have those of the space.

    Raises:
        InvalidArch: a network that is not in the space.
    """
    return macs_table(_counted_space(space_or_supernet, archs)).total(archs)


def count_params(space_or_supernet: SearchSpace | HasSpace, archs: Sequence[Arch] | np.ndarray) -> np.ndarray:
    """Trainable parameters of each extracted sub-network: (n,) int64 from n architectures or (n, D) codes.

    Weights, biases, and weight and bias of every batch norm; buffers do not count. Raises InvalidArch.
    """
    return params_table(_counted_space(space_or_supernet, archs)).total(archs)


def peak_memory(
    space_or_supernet: SearchSpace | HasSpace, archs: Sequence[Arch] | np.ndarray, bytes_per_element: int = 4
) -> np.ndarray:
    """Peak activation memory in bytes of each sub-network at batch 1: (n,) int64 from n architectures or (n, D) codes.

    The largest total of tensors alive at the same time while the extracted network runs one operation after another
    in inference. A tensor lives from the operation that writes it to the last one that reads it, so a block with a
    shortcut keeps its input to the end. Convolutions, linear layers and poolings write a new tensor; activations,
    the gate of squeeze-and-excite and additions overwrite an operand of the same size that nothing reads later; batch
    norm is folded into its convolution. The input image counts, weights and scratch space of a runtime do not.
    Raises InvalidArch.
    """
    return memory_table(_counted_space(space_or_supernet, archs)).largest(archs) * bytes_per_element


@lru_cache(_TABLES)
def macs_table(space: SearchSpace) -> CostTable:
    """MACs of every part; `.total(codes)` is `count_macs`."""
    return _table(space, Part.macs)


@lru_cache(_TABLES)
def params_table(space: SearchSpace) -> CostTable:
    """Parameters of every part; `.total(codes)` is `count_params`."""
    return _table(space, lambda part, side: part.params())


@lru_cache(_TABLES)
def memory_table(space: SearchSpace) -> CostTable:
    """Peak elements inside every part; `.largest(codes)` times the element size is `peak_memory`."""
    return _table(space, Part.peak_elements)


def _table(space: SearchSpace, cost: Callable[[Part, int], int]) -> CostTable:
    return CostTable.build(space, lambda place, values: cost(*part_at(space.layout, place, values)))
