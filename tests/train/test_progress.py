import io
import math

import pytest
from rich.console import Console

from onceforall.cost import count_macs
from onceforall.space import create_space
from onceforall.train import RecipeConfig, Schedule, create_recipe, training_cost
from onceforall.train.progress import TrainingProgress

SPACE = create_space("resnet_small", 10, resolutions=[8, 16])


def schedule(name="sandwich", epochs=2.0, **settings):
    return Schedule(create_recipe(RecipeConfig(name=name, **settings), SPACE), SPACE, 50, epochs, 0.1, 64, seed=0)


def test_cost_counts_steps_passes_and_macs():
    cost = training_cost(schedule(warmup_share=0.4, random_subnets=2))
    assert [(phase.name, phase.steps, phase.passes) for phase in cost.phases] == [
        ("largest", 40, 40),
        ("sandwich", 60, 240),
    ]
    assert (cost.steps, cost.passes) == (100, 280)
    largest = count_macs(SPACE, [SPACE.largest])[0]
    assert 3 * 64 * 40 * largest / 4 < cost.phases[0].macs < 3 * 64 * 40 * largest
    assert cost.macs_before(0) == 0
    assert cost.macs_before(40) == pytest.approx(cost.phases[0].macs)
    assert cost.macs_before(70) == pytest.approx(cost.phases[0].macs + cost.phases[1].macs / 2)
    assert cost.macs_before(100) == pytest.approx(cost.macs)


def test_a_teacher_costs_a_forward_pass():
    alone = schedule("progressive_shrinking").plan(0)
    cost = training_cost(schedule("progressive_shrinking"))
    assert alone.phase.objective.distill == "none"
    depth = cost.phases[1]
    largest_small = count_macs(SPACE, [SPACE.uniform(resolution=8)])[0]
    assert depth.macs > 64 * depth.steps * largest_small


def run_through(console: Console, start: int = 0) -> None:
    plan = schedule()
    with TrainingProgress(training_cost(plan), start, console) as progress:
        for step in range(start, plan.total_steps):
            progress.step(plan.plan(step), seconds=0.5)
            progress.numbers(plan.plan(step), loss=1.25, images_per_second=128.0)
            done = step + 1
            if done == 60:
                left = progress.seconds_left(done)
                macs = progress.cost.macs
                done_macs = progress.cost.macs_before(done) - progress.cost.macs_before(start)
                assert left == pytest.approx(
                    (macs - progress.cost.macs_before(done)) / done_macs * 0.5 * (done - start)
                )
        progress.say("done [100 %]")


def test_without_a_terminal_there_are_plain_lines(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("onceforall.train.progress._LINE_SECONDS", 0)
    run_through(Console(file=out, width=100))
    text = out.getvalue()
    assert "sub-network passes" in text
    assert "estimated training time: " in text
    assert "step 50/100  sandwich  loss 1.250" in text
    assert "done [100 %]" in text
    assert "\x1b" not in text


def test_on_a_terminal_there_is_a_bar_with_time_left():
    out = io.StringIO()
    run_through(Console(file=out, width=120, force_terminal=True), start=30)
    text = out.getvalue()
    assert "continuing after step 30 of 100" in text
    assert "100/100 steps" in text
    assert "loss 1.250" in text


def test_time_left_is_unknown_before_the_first_step():
    progress = TrainingProgress(training_cost(schedule()), 0, Console(quiet=True))
    assert math.isnan(progress.seconds_left(0))
