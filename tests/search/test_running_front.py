import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.search import Objective, non_dominated
from onceforall.search.running_front import RunningFront
from onceforall.space import create_space

from .synthetic import Landscape

SPACE = create_space("mbv3_small")
LAND = Landscape(SPACE)
OBJECTIVES = [Objective("top1", LAND.accuracy, maximise=True), Objective("macs", LAND.macs)]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_growing_batch_by_batch_is_the_front_of_everything(seed: int, batches: int) -> None:
    rows = np.unique(SPACE.sample_codes(120, np.random.default_rng(seed)), axis=0)
    running = RunningFront(SPACE, OBJECTIVES).score_all(np.array_split(rows, batches))
    values = np.stack([-LAND.accuracy(rows), LAND.macs(rows)], axis=1)
    best = non_dominated(values)
    assert running.evaluations == len(rows)
    assert {row.tobytes() for row in running.codes} == {row.tobytes() for row in rows[best]}
    front = running.front()
    assert front.maximised == (True, False)
    np.testing.assert_array_equal(np.sort(front.values[:, 0]), np.sort(-values[best, 0]))
    np.testing.assert_array_equal(front.values[:, 1], LAND.macs(SPACE.encode(front.archs)))


def test_evaluating_does_not_take_in() -> None:
    running = RunningFront(SPACE, OBJECTIVES)
    rows = SPACE.encode([SPACE.smallest, SPACE.largest])
    values = running.evaluate(rows)
    assert running.evaluations == 2
    assert len(running.front()) == 0
    running.add(rows[:1], values[:1])
    assert running.front().archs == [SPACE.smallest]
