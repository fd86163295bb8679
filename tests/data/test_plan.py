import numpy as np
import pytest

from onceforall.data.plan import StepPlan, steps_per_epoch


def plan(part: slice = slice(None), seed: int = 0, steps: range = range(10)) -> StepPlan:
    return StepPlan(12, part, seed, steps, lambda _: 16, None)


def test_every_step_and_every_image_has_a_crop_seed_of_its_own():
    seeds = np.stack(
        [plan().crop_seeds(step) for step in range(20)] + [plan(seed=1).crop_seeds(step) for step in range(20)]
    )
    assert len(np.unique(seeds)) == seeds.size


def test_parts_are_cut_from_the_joint_batch():
    whole, part = plan(), plan(slice(4, 8))
    assert np.array_equal(whole.crop_seeds(3)[4:8], part.crop_seeds(3))
    assert np.array_equal(whole.draws(3, 2, True).shift_x[4:8], part.draws(3, 2, True).shift_x)
    for (step, everything), (same_step, some) in zip(whole.indices(100), part.indices(100), strict=True):
        assert step == same_step
        assert np.array_equal(everything[4:8], some)


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(100, 12, 8), (96, 12, 8), (11, 12, 1), (1, 12, 1)])
def test_incomplete_batches_are_dropped_but_there_is_always_one(images, batch_size, steps):
    assert steps_per_epoch(images, batch_size) == steps
