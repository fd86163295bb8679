import numpy as np
import pytest

from onceforall.errors import ConfigError, InfeasibleConstraint
from onceforall.search import Constraint, Objective, random_search, uniform_family_codes, uniform_search
from onceforall.space import create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_w1.0", resolutions=(160, 192, 224))
LAND = Landscape(SPACE)
LIMIT = Constraint("macs", LAND.middle(), LAND.macs)


def objectives(land: Landscape, scored: list[bytes]) -> list[Objective]:
    def accuracy(codes: np.ndarray) -> np.ndarray:
        scored.extend(row.tobytes() for row in codes)
        return land.accuracy(codes)

    return [Objective("top1", accuracy, maximise=True), Objective("macs", land.macs)]


def test_random_search_scores_exactly_as_many_distinct_networks() -> None:
    scored: list[bytes] = []
    front = random_search(SPACE, objectives(LAND, scored), 2500, seed=1, constraints=[LIMIT])
    assert len(scored) == len(set(scored)) == 2500
    assert (front.values[:, 1] <= LIMIT.limit).all()
    assert front == random_search(SPACE, objectives(LAND, []), 2500, seed=1, constraints=[LIMIT])


def test_random_search_lists_a_small_space_and_gives_up_on_few_feasible_networks() -> None:
    space = create_space("resnet_small")
    land, scored = Landscape(space), []
    random_search(space, objectives(land, scored), 10**6)
    assert len(scored) == space.size
    smallest = float(LAND.macs(SPACE.encode([SPACE.smallest]))[0])
    scored.clear()
    limit = Constraint("macs", smallest, LAND.macs)
    random_search(SPACE, objectives(LAND, scored), 50, constraints=[limit])
    assert len(scored) <= 1


def test_uniform_search() -> None:
    scored: list[bytes] = []
    front = uniform_search(SPACE, objectives(LAND, scored), [LIMIT])
    family = uniform_family_codes(SPACE)
    assert len(scored) == (LAND.macs(family) <= LIMIT.limit).sum() > 10
    assert {row.tobytes() for row in SPACE.encode(front.archs)} <= {row.tobytes() for row in family}
    never = Constraint("macs", 0.0, LAND.macs)
    assert len(uniform_search(SPACE, objectives(LAND, []), [never])) == 0


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="evaluations=0"):
        random_search(SPACE, objectives(LAND, []), 0)
    with pytest.raises(ConfigError, match="two objectives"):
        random_search(SPACE, objectives(LAND, [])[:1], 5)
    with pytest.raises(InfeasibleConstraint, match="feasible range"):
        random_search(SPACE, objectives(LAND, []), 5, constraints=[Constraint("macs", 1.0, LAND.macs)])
