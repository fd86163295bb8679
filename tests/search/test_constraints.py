import numpy as np
import pytest

from onceforall.errors import ConfigError, InfeasibleConstraint
from onceforall.search.constraints import Constraint, feasible_range, require_feasible, violations
from onceforall.search.operators import enumerate_codes
from onceforall.space import create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_small")
LAND = Landscape(SPACE)


def test_range_is_that_of_the_whole_space() -> None:
    space = create_space("resnet_small")
    weights = np.random.default_rng(1).normal(size=len(space.columns))

    def odd(codes: np.ndarray) -> np.ndarray:
        return codes @ weights

    values = odd(enumerate_codes(space))
    assert feasible_range(space, Constraint("odd", 0.0, odd)) == pytest.approx((values.min(), values.max()))
    low, high = feasible_range(SPACE, Constraint("macs", 1.0, LAND.macs))
    ends = LAND.macs(SPACE.encode([SPACE.smallest, SPACE.largest]))
    assert (low, high) == pytest.approx(tuple(ends))


def test_feasible_rows_meet_every_limit() -> None:
    limits = [Constraint("macs", LAND.middle(), LAND.macs), Constraint("latency_ms", 5.0, LAND.latency)]
    rows = require_feasible(SPACE, limits)
    assert len(rows)
    assert (violations(limits, rows) == 0).all()


def test_tight_but_feasible_limit_is_found_by_descent() -> None:
    """Nothing in a random sample is as small as the smallest network of an odd cost."""
    weights = np.random.default_rng(2).normal(size=len(SPACE.columns))
    cost = Constraint("odd", 0.0, lambda codes: codes @ weights)
    low, _ = feasible_range(SPACE, cost)
    tight = Constraint("odd", low + 1e-9, cost.cost)
    assert violations([tight], require_feasible(SPACE, [tight])).max() == 0


def test_impossible_limit_states_the_range() -> None:
    with pytest.raises(InfeasibleConstraint, match=r"latency_ms=0\.1 cannot be met: .* is \d\.\d+ to \d+"):
        require_feasible(SPACE, [Constraint("latency_ms", 0.1, LAND.latency), Constraint("macs", 1e12, LAND.macs)])


def test_contradiction_names_only_the_culprits() -> None:
    limits = [
        Constraint("params", 1e12, LAND.latency),
        Constraint("macs", LAND.middle() / 2, LAND.macs),
        Constraint("negative_macs", -LAND.middle(), lambda codes: -LAND.macs(codes)),
    ]
    with pytest.raises(InfeasibleConstraint, match=r"^macs=.* and negative_macs=.* contradict each other") as caught:
        require_feasible(SPACE, limits)
    assert "params" not in str(caught.value)


def test_costs_must_be_numbers() -> None:
    with pytest.raises(ConfigError, match="not a number"):
        Constraint("macs", float("nan"), LAND.macs)
    with pytest.raises(ConfigError, match=r"latency_ms is nan for \d+ of"):
        require_feasible(SPACE, [Constraint("latency_ms", 1.0, lambda codes: np.full(len(codes), np.nan))])
    with pytest.raises(ConfigError, match="returned shape"):
        require_feasible(SPACE, [Constraint("latency_ms", 1.0, lambda codes: np.zeros((len(codes), 2)))])
