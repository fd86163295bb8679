"""The stages of the official training and of CompOFA: what the presets compose to, against the original numbers."""

import json
from types import SimpleNamespace

import pytest

from onceforall.configuration import compose
from onceforall.space import create_space
from onceforall.train.config import TrainConfig
from onceforall.train.schedule import Schedule
from onceforall.train.setup import build_schedule, resolutions_of

IMAGES = 1_281_167 - 10_000  # ImageNet's training images without the hold-out
STAGES = ("kernel", "depth1", "depth2", "expand1", "expand2")


def schedule(experiment: str) -> tuple[TrainConfig, Schedule]:
    config = compose("train", TrainConfig, [f"experiment={experiment}"])
    space = create_space(config.space.name, resolutions=resolutions_of(config.space))
    source = SimpleNamespace(train=range(IMAGES))
    return config, build_schedule(config, source, space)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("stage", STAGES)
def test_learning_rates_are_the_official_ones(shared, stage):
    _, plan = schedule(f"once_for_all/{stage}")
    entries = json.loads((shared / "golden" / "lr_schedule_public.json").read_text())["entries"]
    mine = [entry for entry in entries if entry["task"] == stage]
    assert mine
    for entry in mine:
        assert plan.total_steps == (entry["n_epochs"] + entry["warmup_epochs"]) * entry["n_batch"]
        step = entry["epoch"] * entry["n_batch"] + entry["batch"]
        assert plan.learning_rate(step) == pytest.approx(float(entry["lr"]), rel=1e-9)


@pytest.mark.parametrize(
    ("stage", "kernel_sizes", "expand_ratios", "depths", "subnets", "sorting"),
    [
        ("full", (7,), (6,), (4,), 1, None),
        ("kernel", (3, 5, 7), (6,), (4,), 1, None),
        ("depth1", (3, 5, 7), (6,), (3, 4), 2, None),
        ("depth2", (3, 5, 7), (6,), (2, 3, 4), 2, None),
        ("expand1", (3, 5, 7), (4, 6), (2, 3, 4), 4, 0),
        ("expand2", (3, 5, 7), (3, 4, 6), (2, 3, 4), 4, 1),
    ],
)
def test_stages_open_what_the_official_ones_open(stage, kernel_sizes, expand_ratios, depths, subnets, sorting):
    config, plan = schedule(f"once_for_all/{stage}")
    (phase,) = plan.recipe.phases
    for choices in plan.trained_space.stages:
        assert (choices.kernel_sizes, choices.expand_ratios, choices.depths) == (kernel_sizes, expand_ratios, depths)
    assert (phase.subnets_per_step, phase.sort_channels, phase.micro_batch_size) == (subnets, sorting, 64)
    assert (phase.objective.distill, phase.objective.reduction) == ("none" if stage == "full" else "teacher", "sum")
    assert plan.batch_size == 2048
    assert plan.space.resolutions == tuple(range(128, 225, 4))
    assert (config.data.holdout, config.data.holdout_rule, config.evaluation.resolutions) == (
        10000,
        "official",
        [160, 224],
    )
    before = {"kernel": "full", "depth1": "kernel", "depth2": "depth1", "expand1": "depth2", "expand2": "expand1"}
    assert config.weights == (None if stage == "full" else f"runs/once_for_all/{before[stage]}")


@pytest.mark.parametrize(("stage", "epochs", "rate"), [("phase1", 25, 0.08), ("phase2", 125, 0.24)])
def test_compound_stages(stage, epochs, rate):
    config, plan = schedule(f"compofa/{stage}")
    (phase,) = plan.recipe.phases
    assert plan.trained_space.size_per_resolution == 243
    assert (plan.epochs, plan.peak_learning_rate) == (epochs, rate)
    assert (phase.subnets_per_step, phase.sort_channels, phase.micro_batch_size) == (4, 0, 256)
    assert (config.evaluation.part, config.evaluation.resolutions, config.data.holdout) == ("test", [224], 0)
