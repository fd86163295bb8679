import json
from pathlib import Path

import numpy as np
import pytest

from onceforall.interop.official import load_accuracy_predictor, load_latency_table
from onceforall.search import Objective, pareto_search
from onceforall.search.pymoo_bridge import PublishedVariation
from onceforall.space import create_space

SPACE = create_space("mbv3_w1.2", resolutions=(160, 176, 192, 208, 224))
KERNELS, RATIOS, DEPTHS = np.array([3, 5, 7]), np.array([3, 4, 6]), np.array([2, 3, 4])


def genotype(row: np.ndarray) -> list[int]:
    """The 46 values of the published program: kernel sizes, ratios, depths, resolution."""
    kernels = SPACE.slots[:, 0]
    parts = [KERNELS[row[kernels] - 1], RATIOS[row[kernels + 1] - 1], DEPTHS[row[SPACE.depth_columns]]]
    return [*np.concatenate(parts).tolist(), SPACE.resolutions[row[0]]]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_published_first_population(shared: Path, seed: int) -> None:
    """arXiv 2303.13683: the first generation of the published runs, to the rounding of their predictor."""
    expected = json.loads((shared / "golden/ofa2/initial_population_check.json").read_text())["seeds"][str(seed)]
    rows = PublishedVariation(SPACE, seed).first(100, np.random.default_rng(0))
    assert [genotype(row) for row in rows[:2]] == expected["first_two_genotypes"]
    predictor = load_accuracy_predictor(shared / "official/acc_predictor.pth", SPACE)
    table = load_latency_table(shared / "official/note10", SPACE)
    objectives = [
        Objective("latency_ms", table.predict),
        Objective("error", lambda codes: 100 - 100 * predictor.predict(codes)),
    ]
    codes = SPACE.canonical(rows)
    values = np.stack([objective.function(codes) for objective in objectives], axis=1)
    np.testing.assert_array_equal(values[:2, 0], np.array(expected["first_two_objectives"])[:, 0])
    np.testing.assert_allclose(values[:2, 1], np.array(expected["first_two_objectives"])[:, 1], atol=2e-5)
    for algorithm in ("ofa2_nsga2", "ofa2_smsemoa", "ofa2_spea2"):
        front = pareto_search(SPACE, objectives, algorithm, generations=1, seed=seed)
        assert front.hypervolume((100.0, 25.0)) == pytest.approx(expected["hv_ref_100_25"], abs=2e-4)


def test_published_variation() -> None:
    rng = np.random.default_rng(0)
    variation = PublishedVariation(SPACE, seed=5)
    rows = variation.first(100, rng)
    kernels = SPACE.slots[:, 0]
    assert (rows[:, kernels] > 0).all(), "blocks that do not run have genes as well"
    assert (SPACE.canonical(rows) != rows).any()
    first, second = variation.cross(rows[:50], rows[50:], rng)
    np.testing.assert_array_equal(np.sort([first, second], axis=0), np.sort([rows[:50], rows[50:]], axis=0))
    assert 0.4 < (first != rows[:50]).sum() / (rows[:50] != rows[50:]).sum() < 0.6
    many = np.repeat(rows, 50, axis=0)
    changed = (variation.mutate(many, rng) != many).mean()
    assert changed == pytest.approx(0.1 * (1 - (1 / np.array([5, *[3] * 45])).mean()), abs=0.003)


def test_widths_have_genes_too() -> None:
    space = create_space("resnet50")
    rows = PublishedVariation(space, seed=1).first(50, np.random.default_rng(0))
    space.decode(space.canonical(rows))
    assert (rows[:, space.width_columns].max(axis=0) == 2).all()
