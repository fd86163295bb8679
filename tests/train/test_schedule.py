import json
import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onceforall.errors import ConfigError
from onceforall.space import create_space
from onceforall.train import Objective, Phase, Recipe, RecipeConfig, Schedule, cosine_learning_rate, create_recipe

SPACE = create_space("mbv3_small", 10, resolutions=[24, 32, 40])


def schedule(name="progressive_shrinking", steps_per_epoch=100, epochs=10.0, space=SPACE, seed=3, **settings):
    recipe = create_recipe(RecipeConfig(name=name, **settings), space)
    return Schedule(recipe, space, steps_per_epoch, epochs, base_learning_rate=0.2, batch_size=128, seed=seed)


def test_learning_rate_equals_the_official_one(shared):
    entries = json.loads((shared / "golden" / "lr_schedule_public.json").read_text())["entries"]
    assert len(entries) >= 10
    for entry in entries:
        warmup = entry["warmup_epochs"] * entry["n_batch"]
        ours = cosine_learning_rate(
            entry["epoch"] * entry["n_batch"] + entry["batch"],
            entry["n_epochs"] * entry["n_batch"] + warmup,
            peak=entry["base_lr"] * entry["n_gpus"],
            warmup_steps=warmup,
            warmup_start=entry["base_lr"],
        )
        assert ours == pytest.approx(float(entry["lr"]), rel=1e-12)


def test_a_plan_depends_on_seed_and_step_alone():
    one, again, other_seed = schedule(), schedule(), schedule(seed=4)
    steps = [999, 0, 600, 601]
    assert [one.plan(step) for step in steps] == [again.plan(step) for step in reversed(steps)][::-1]
    assert [one.plan(step).archs for step in range(600, 620)] != [
        other_seed.plan(step).archs for step in range(600, 620)
    ]


def test_all_archs_of_a_step_have_its_resolution_and_resolutions_are_uniform():
    plan = schedule("sandwich")
    drawn = Counter()
    for step in range(1000):
        planned = plan.plan(step)
        assert planned.resolution == plan.resolution(step)
        assert {arch.resolution for arch in planned.archs} == {planned.resolution}
        drawn[planned.resolution] += 1
    assert set(drawn) == {24, 32, 40}
    assert all(abs(count - 1000 / 3) < 5 * math.sqrt(1000 * 2 / 9) for count in drawn.values())


def test_phases_draw_from_what_they_opened():
    plan = schedule()
    for step in range(0, plan.total_steps, 7):
        planned = plan.plan(step)
        open_space = planned.phase.open_space(SPACE)
        assert all(arch in open_space for arch in planned.archs)
    full = plan.plan(0)
    assert full.archs == (replace(SPACE.largest, resolution=full.resolution),)


@given(
    shares=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8),
    extra=st.integers(0, 200),
    cosine=st.sampled_from(["phase", "run"]),
)
def test_phases_fill_the_run_without_gap(shares, extra, cosine):
    recipe = Recipe("any", tuple(Phase(str(i), share) for i, share in enumerate(shares)), cosine)
    plan = Schedule(recipe, SPACE, len(shares) + extra, 1.0, 0.1, 256, seed=0)
    assert plan.starts[0] == 0
    assert plan.starts[-1] == plan.total_steps
    assert all(later > earlier for earlier, later in zip(plan.starts[:-1], plan.starts[1:], strict=True))
    for index, start in enumerate(plan.starts[:-1]):
        assert plan.phase_index(start) == index
        assert plan.plan(start).begins_phase
        assert plan.plan(plan.starts[index + 1] - 1).ends_phase
    assert all(0 <= plan.learning_rate(step) <= 0.1 + 1e-12 for step in range(plan.total_steps))
    if extra > 50 and max(shares) < 3 * min(shares):
        wanted = shares[0] / sum(shares) * plan.total_steps
        assert abs(plan.starts[1] - wanted) <= 1


def test_learning_rate_is_proportional_to_the_batch():
    recipe = create_recipe(RecipeConfig(name="sandwich"), SPACE)
    rates = [Schedule(recipe, SPACE, 100, 3.0, 0.2, batch, 0).learning_rate(100) for batch in (64, 256)]
    assert rates[1] == pytest.approx(4 * rates[0])
    assert Schedule(recipe, SPACE, 100, 3.0, 0.2, 256, 0).peak_learning_rate == pytest.approx(0.2)


def test_progressive_shrinking_has_one_cosine_a_phase_and_the_sandwich_one_a_run():
    shrinking, one_run = schedule(), schedule("sandwich")
    for index, phase in enumerate(shrinking.recipe.phases):
        first, end = shrinking.starts[index], shrinking.starts[index + 1]
        peak = max(shrinking.learning_rate(step) for step in range(first, end))
        assert peak == pytest.approx(0.1 * phase.learning_rate_factor, rel=0.02)
        assert shrinking.learning_rate(end - 1) < 0.05 * peak
    rates = [one_run.learning_rate(step) for step in range(one_run.total_steps)]
    top = rates.index(max(rates))
    assert 0 < top < one_run.starts[1]
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_momentum_and_averages_begin_afresh_where_weights_jump():
    shrinking, one_run = schedule(), schedule("sandwich")
    for start in shrinking.starts[:-1]:
        assert shrinking.plan(start).updates == 0
    assert one_run.plan(one_run.starts[1]).updates == one_run.starts[1]
    phases = (Phase("full", 1.0), Phase("sorted", 1.0, "random", sort_channels=0))
    sorting = Schedule(Recipe("later", phases, "run"), SPACE, 10, 1.0, 0.1, 256, 0)
    assert sorting.plan(5).updates == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: schedule(epochs=0.02), "2 steps, fewer than the 6 phases"),
        (lambda: schedule(seed=-1), "seed=-1"),
        (lambda: Phase("a", 0.0), "share must be positive"),
        (lambda: Phase("a", 1.0, sampling="sandwich", subnets_per_step=1), "at least 2 sub-networks"),
        (lambda: Phase("a", 1.0, sampling="best"), "sampling=best: must be one of largest, random, sandwich"),
        (lambda: Objective(label_smoothing=1.5), "label_smoothing=1.5: must be from 0 to 1"),
        (lambda: Objective(reduction="max"), "loss_reduction=max"),
        (lambda: Objective("teacher", kd_ratio=0.0, label_ratio=0.0), "nothing would be learned"),
    ],
)
def test_impossible_schedules_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_steps_outside_the_schedule_are_refused():
    with pytest.raises(IndexError, match="step 1000"):
        schedule().plan(1000)
