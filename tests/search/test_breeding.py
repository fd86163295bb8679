import numpy as np
import pytest

from onceforall.search import breeding
from onceforall.search.breeding import Breeder
from onceforall.space import create_space

SPACES = {
    "mobile": create_space("mbv3_w1.0", resolutions=(160, 192, 224)),
    "compound": create_space("mbv3_w1.0", compound=True),
    "fixed kernels": create_space("compound_w1.0"),
    "elastic widths": create_space("resnet50"),
    "small": create_space("resnet_small"),
    "alike": create_space("cifar_kdw"),
}


def genes_changed(space, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Number of genes that differ, blocks that only one of the two runs left out."""
    kernels = space.slots[:, 0]
    scalars = np.setdiff1d(np.arange(len(space.columns)), np.concatenate([kernels, kernels + 1]))
    both = (before[:, kernels] > 0) & (after[:, kernels] > 0)
    differ = (before[:, kernels] != after[:, kernels]) | (before[:, kernels + 1] != after[:, kernels + 1])
    return (before[:, scalars] != after[:, scalars]).sum(axis=1) + (both & differ).sum(axis=1)


@pytest.mark.parametrize("name", SPACES)
def test_children_are_codes_of_the_space(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    first, second = space.sample_codes(300, rng), space.sample_codes(300, rng)
    for genes in (0, 1, 5):
        children = Breeder(space).children(first, second, rng, genes)
        space.decode(children)  # raises for a row that is not canonical
        np.testing.assert_array_equal(space.canonical(children), children)
    small = Breeder(space).children(first.astype(np.uint8), second.astype(np.uint8), rng)
    assert small.dtype == np.uint8
    space.decode(small.astype(np.int64))


@pytest.mark.parametrize("name", ["mobile", "elastic widths", "small"])
def test_one_or_two_genes_change(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(1)
    parents = space.sample_codes(2000, rng)
    changed = genes_changed(space, parents, Breeder(space).children(parents, parents, rng))
    assert changed.max() == 2
    assert 0.4 < (changed == 1).mean() < 0.9
    bolder = genes_changed(space, parents, Breeder(space).children(parents, parents, rng, genes=4))
    assert bolder.mean() > changed.mean() + 1
    assert bolder.max() <= 5


def test_every_network_can_be_reached() -> None:
    space, rng = SPACES["small"], np.random.default_rng(2)
    rows = space.encode([space.smallest])
    for _ in range(60):
        rows = np.unique(np.concatenate([rows, Breeder(space).children(rows, rows, rng)]), axis=0)
    assert len(rows) == space.size


def test_a_segment_comes_from_the_mate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breeding, "_TWO_GENES", 0.0)
    space, rng = create_space("mbv3_w1.0").restrict(depths=(4,)), np.random.default_rng(3)
    first, second = space.sample_codes(500, rng), space.sample_codes(500, rng)
    children = Breeder(space).children(first, second, rng, genes=0)
    crossed = 0
    for a, b, child in zip(first, second, children, strict=True):
        theirs = np.flatnonzero(child != a)
        if len(theirs):
            crossed += 1
            segment = slice(theirs[0], theirs[-1] + 1)
            np.testing.assert_array_equal(child[segment], b[segment])
    assert 300 < crossed < 400, "seven of ten children take a segment"
