"""The four phases of the CIFAR-10 re-implementation, as published and as made to learn."""

import copy
import json
from pathlib import Path

import pytest
import torch

from onceforall.configuration import compose
from onceforall.errors import ConfigError
from onceforall.space import create_space
from onceforall.supernets import create_supernet
from onceforall.train import Objective, Schedule, create_recipe, train, train_step
from onceforall.train.config import OptimizerConfig, PhaseConfig, RecipeConfig, TrainConfig
from onceforall.train.optimizer import create_optimizer

SPACE = create_space("cifar_kdw", num_classes=10)


def config(*words: str) -> TrainConfig:
    return compose("train", TrainConfig, words)


def schedule(composed: TrainConfig, batch_size: int = 128) -> Schedule:
    return Schedule(
        create_recipe(composed.recipe, SPACE),
        SPACE,
        steps_per_epoch=45_000 // batch_size,
        epochs=255,
        base_learning_rate=composed.optimizer.base_learning_rate or 0,
        batch_size=batch_size,
        seed=0,
    )


def peaks(planned: Schedule) -> list[float]:
    return [planned._peak(phase) for phase in planned.recipe.phases]


def test_the_verbatim_phases_are_those_published(shared: Path):
    published = json.loads((shared / "golden" / "seed003.json").read_text())["phases"][:4]
    composed = config("experiment=cifar10/kdw_verbatim")
    phases = composed.recipe.phases
    assert [(name, phase.epochs, phase.learning_rate) for name, phase in phases.items()] == [
        (phase["name"], phase["epochs"], phase["lr"]) for phase in published
    ]
    assert composed.optimizer.momentum == published[0]["momentum"]
    assert composed.optimizer.weight_decay == published[0]["weight_decay"]
    assert [phase.trains for phase in phases.values()] == ["all", "kernel_transforms", "all", "all"]
    assert peaks(schedule(composed, 128)) == peaks(schedule(composed, 512)) == [2.6, 0.96, 0.08, 0.08]
    first = schedule(composed)
    assert first.learning_rate(0) == pytest.approx(2.6, rel=1e-3), "no warm-up"


def test_the_fixed_phases_differ_in_rates_warm_up_and_what_they_train():
    composed, verbatim = config("experiment=cifar10/kdw"), config("experiment=cifar10/kdw_verbatim")
    assert [(name, phase.epochs) for name, phase in composed.recipe.phases.items()] == [
        (name, phase.epochs) for name, phase in verbatim.recipe.phases.items()
    ]
    assert {phase.trains for phase in composed.recipe.phases.values()} == {"all"}
    small, large = schedule(composed, 128), schedule(composed, 512)
    assert peaks(large) == pytest.approx([4 * rate for rate in peaks(small)])
    for start, peak in zip(small.starts[:-1], peaks(small), strict=True):
        assert small.learning_rate(start) < 0.05 * peak, "every phase warms up"


@pytest.mark.parametrize("experiment", ["kdw", "kdw_verbatim"])
def test_each_phase_opens_one_more_choice(experiment: str):
    recipe = create_recipe(config(f"experiment=cifar10/{experiment}").recipe, SPACE)
    opened = [phase.open_space(SPACE) for phase in recipe.phases]
    assert [phase.sampling for phase in recipe.phases] == ["largest", "random", "random", "random"]
    assert [space.size for space in opened[1:]] == [2, 4, 8]
    kernel, depth, width = (space.stages[0] for space in opened[1:])
    assert (kernel.depths, kernel.expand_ratios) == ((3,), (4,))
    assert (depth.depths, depth.expand_ratios) == ((2, 3), (4,))
    assert (width.depths, width.expand_ratios) == ((2, 3), (2, 4))
    assert [phase.sort_channels for phase in recipe.phases] == [None, None, None, 0]


@pytest.mark.parametrize("kernel_size", [5, 7])
def test_matrices_alone_can_be_trained(kernel_size: int):
    """A network of the largest kernels uses no matrix, so such a step changes nothing at all."""
    supernet = create_supernet("cifar_kdw", num_classes=10).train()
    optimizer = create_optimizer(supernet, OptimizerConfig())
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    before = copy.deepcopy(dict(supernet.named_parameters()))
    images, labels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    arch = supernet.space.uniform(kernel_size)
    train_step(supernet, optimizer, images, labels, (arch,), Objective(), only=".transforms.")
    changed = {name for name, weight in supernet.named_parameters() if not torch.equal(weight, before[name])}
    matrices = {f"blocks.{position}.depthwise.transforms.7to5" for position in range(3)}
    assert changed == (matrices if kernel_size == 5 else set())


def test_plain_momentum_is_not_nesterov():
    weights = [torch.nn.Linear(1, 1, bias=False) for _ in range(2)]
    for layer, nesterov in zip(weights, (True, False), strict=True):
        layer.weight.data.fill_(1.0)
        optimizer = create_optimizer(layer, OptimizerConfig(nesterov=nesterov, weight_decay=0))
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
    assert [float(layer.weight.detach()) for layer in weights] == pytest.approx([1 - 0.1 * 1.9, 1 - 0.1])


def test_what_a_phase_trains_is_checked():
    phases = {"kernel": PhaseConfig(trains="matrices")}
    with pytest.raises(ConfigError, match="trains=matrices: must be one of all, kernel_transforms"):
        create_recipe(RecipeConfig(name="phases", phases=phases), SPACE)


def test_all_four_phases_train(tmp_path: Path):
    words = ["experiment=cifar10/kdw_verbatim", "data.source=digits", "space.resolutions=[8]", "epochs=0.1"]
    words += ["data.max_train=400", "data.max_test=50", "batch_size=8", "tensorboard=false", "log_every_steps=1"]
    words += ["evaluation.every_epochs=null", "evaluation.calibration_images=16", "evaluation.images=8"]
    words += [f"recipe.phases.{name}.learning_rate=0.05" for name in ("full", "kernel", "depth", "width")]
    words += [f"recipe.phases.{name}.epochs=1" for name in ("full", "kernel", "depth", "width")]
    supernet = train(config(*words), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    starts = [line["phase"] for line in lines if line["kind"] == "phase" and line["event"] == "start"]
    assert starts == ["full", "kernel", "depth", "width"]
    assert supernet.space.size == 8
