import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onceforall.space import create_space
from onceforall.train.sampler import draw_archs

SPACE = create_space("mbv3_small", 10, resolutions=[24, 32])


@given(count=st.integers(2, 6), resolution=st.sampled_from(SPACE.resolutions), seed=st.integers(0, 99))
def test_the_sandwich_begins_with_both_corners(count, resolution, seed):
    archs = draw_archs(SPACE, "sandwich", count, resolution, np.random.default_rng(seed))
    assert len(archs) == count
    assert archs[0].stages == SPACE.largest.stages
    assert archs[1].stages == SPACE.smallest.stages
    assert all(arch in SPACE and arch.resolution == resolution for arch in archs)


def test_random_draws_all_and_largest_one():
    rng = np.random.default_rng(0)
    archs = draw_archs(SPACE, "random", 50, 32, rng)
    assert len(set(archs)) == 50
    assert [arch.stages for arch in draw_archs(SPACE, "largest", 4, 24, rng)] == [SPACE.largest.stages]
