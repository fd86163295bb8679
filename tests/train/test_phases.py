"""Recipes of listed phases: their own batches, rates, teacher, evaluated networks; and training of one sub-network."""

import json
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

from onceforall.errors import ConfigError, InvalidArch
from onceforall.space import create_space
from onceforall.supernets import create_supernet
from onceforall.train import (
    EvaluationConfig,
    Objective,
    Phase,
    Recipe,
    RecipeConfig,
    Schedule,
    SpaceConfig,
    Start,
    World,
    create_recipe,
    load_finetuned,
    train,
    train_step,
)
from onceforall.train.config import PhaseConfig
from onceforall.train.setup import build_schedule, check_config, resolutions_of
from onceforall.train.state import TrainingState
from onceforall.train.watched import arch_from_words

QUIET = Console(quiet=True)
MOBILE = create_space("mbv3_w1.0")


def phases(**settings):
    """A run of a full phase and a taught one, with batches of their own."""
    listed = {
        "full": PhaseConfig(epochs=2, batch_size=32, sampling="largest", learning_rate=0.1),
        "open": PhaseConfig(epochs=1, batch_size=64, distill="teacher", learning_rate=0.05, sort_channels=0, depths=1),
    }
    return RecipeConfig(name="phases", phases=listed, **settings)


@pytest.fixture
def config(tiny_config):
    return lambda **changes: tiny_config(**{"recipe": phases(), "epochs": None, "batch_size": None} | changes)


def lines(run, kind):
    return [line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if line["kind"] == kind]


# ---- the schedule ---------------------------------------------------------------------------------------------------


def test_phases_of_other_batches_have_the_steps_of_their_epochs(config, digits):
    space = create_space("resnet_small", 10, 1, resolutions=[8])
    schedule = build_schedule(config(), digits, space)
    assert schedule.epochs == 3
    images = len(digits.train)
    assert schedule.starts == (0, 2 * (images // 32), 2 * (images // 32) + images // 64)
    assert [schedule.plan(step).batch_size for step in (0, schedule.starts[1])] == [32, 64]
    first, end = schedule.starts[1:]
    assert schedule.segments(0) == [(32, 0, first), (64, first, end)]
    assert schedule.segments(first + 1) == [(64, first + 1, end)]
    given = build_schedule(config(epochs=1.5, batch_size=16), digits, space)
    assert given.total_steps == round(1.5 * (images // 16))
    assert given.segments(0) == [(16, 0, given.total_steps)]


def test_a_rate_of_a_phase_is_taken_as_it_is():
    listed = {"one": PhaseConfig(epochs=10, learning_rate=0.24, warmup_epochs=5, warmup_learning_rate=0.03)}
    recipe = create_recipe(RecipeConfig(name="phases", phases=listed), MOBILE)
    for batch in (64, 2048):
        schedule = Schedule(recipe, MOBILE, 100, 10, base_learning_rate=7, batch_size=batch, seed=0)
        assert schedule.learning_rate(0) == pytest.approx(0.03 + 0.21 / 500)
        assert schedule.learning_rate(499) == pytest.approx(0.24)
        assert schedule.learning_rate(750) == pytest.approx(0.12)
    shorter = Schedule(recipe, MOBILE, 100, 1, base_learning_rate=7, batch_size=64, seed=0)
    assert shorter.learning_rate(49) == pytest.approx(0.24)  # the warm-up keeps its share


def test_official_rates_through_a_schedule(shared):
    entries = json.loads((shared / "golden" / "lr_schedule_public.json").read_text())["entries"]
    for entry in entries:
        epochs = entry["n_epochs"] + entry["warmup_epochs"]
        phase = PhaseConfig(
            epochs=epochs,
            learning_rate=entry["base_lr"] * entry["n_gpus"],
            warmup_epochs=entry["warmup_epochs"],
            warmup_learning_rate=entry["base_lr"],
        )
        recipe = create_recipe(RecipeConfig(name="phases", phases={entry["task"]: phase}), MOBILE)
        schedule = Schedule(recipe, MOBILE, entry["n_batch"], epochs, 1.0, 2048, seed=0)
        step = entry["epoch"] * entry["n_batch"] + entry["batch"]
        assert schedule.learning_rate(step) == pytest.approx(float(entry["lr"]), rel=1e-9)


def test_the_trained_space_is_what_phases_open():
    def trained(*listed, space=MOBILE):
        return Recipe("any", listed, "phase").trained_space(space)

    full = Phase("full", 1, sampling="largest")
    assert trained(full).size_per_resolution == 1
    kernel = Phase("kernel", 1, "random", depths=1, expand_ratios=1)
    assert trained(full, kernel) == MOBILE.restrict(depths=[4], expand_ratios=[6])
    assert trained(kernel, Phase("depth", 1, "random", depths=2, expand_ratios=1)) == MOBILE.restrict(
        depths=[3, 4], expand_ratios=[6]
    )
    assert trained(full, Phase("all", 1, "sandwich", 3)) == MOBILE
    wide = create_space("resnet50")
    assert {len(allowed) for allowed in trained(Phase("width", 1, "random", width_mults=2), space=wide).widths} == {2}


def test_compound_depths_bring_their_ratios():
    compound = create_space("mbv3_w1.0", compound=True)
    opened = Phase("compound 1", 1, "random", depths=2, expand_ratios=1).open_space(compound)
    assert {(stage.depths, stage.expand_of_depth) for stage in opened.stages} == {((3, 4), (4, 6))}
    recipe = create_recipe(RecipeConfig(), compound)
    assert [(phase.name, phase.sort_channels) for phase in recipe.phases] == [
        ("full", None),
        ("kernel", None),
        ("compound 1", 0),
        ("compound 2", 1),
    ]
    assert recipe.trained_space(compound) == compound


def test_widths_open_last():
    recipe = create_recipe(RecipeConfig(), create_space("resnet50"))
    assert [(phase.name, phase.sort_channels) for phase in recipe.phases] == [
        ("full", None),
        ("depth 1", None),
        ("depth 2", None),
        ("expand 1", 0),
        ("expand 2", 1),
        ("width 1", 2),
        ("width 2", 2),
    ]
    assert [phase.width_mults for phase in recipe.phases[-3:]] == [1, 2, None]


def test_sizes_in_steps():
    assert resolutions_of(SpaceConfig(resolutions=[128, 160, 192, 224], resolution_step=4)) == list(range(128, 225, 4))
    assert resolutions_of(SpaceConfig(resolutions=[8, 12])) == [8, 12]
    for wrong in (SpaceConfig(resolution_step=4), SpaceConfig(resolutions=[8], resolution_step=0)):
        with pytest.raises(ConfigError, match=r"space\.resolution_step"):
            resolutions_of(wrong)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": RecipeConfig(name="sandwich")}, "batch_size=null: only recipe.name=phases says it phase by phase"),
        ({"recipe": RecipeConfig(name="sandwich"), "batch_size": 32}, "epochs=null: only recipe.name=phases"),
        ({"recipe": RecipeConfig(name="phases", phases={"a": PhaseConfig()})}, "recipe.phases.a.batch_size=null"),
        ({"recipe": RecipeConfig(name="phases", phases={"a": PhaseConfig(batch_size=1)})}, "a.batch_size=1: must be 2"),
        ({"batch_size": 32, "micro_batch_size": 12}, "micro_batch_size=12: must divide the 32 images of batch_size"),
        ({"micro_batch_size": 24}, "micro_batch_size=24: must divide the 32 images of recipe.phases.full.batch_size"),
        ({"micro_batch_size": 0}, "micro_batch_size=0: must be positive"),
        ({"recipe": phases(teacher_statistics="old")}, "recipe.teacher_statistics=old: use running or batch"),
        ({"evaluation": EvaluationConfig(part="train")}, "evaluation.part=train: use holdout or test"),
    ],
)
def test_impossible_settings_are_named(config, changes, words):
    with pytest.raises(ConfigError, match=words):
        check_config(config(**changes), World())


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (PhaseConfig(warmup_epochs=2), "recipe.phases.a.warmup_epochs=2: must be from 0 to its 1 epochs"),
        (PhaseConfig(epochs=0), "phase a: its share must be positive"),
        (PhaseConfig(sampling="best"), "sampling=best"),
        (PhaseConfig(distill="self"), "distill=self"),
        (PhaseConfig(depths=0), "phase a: depths must be positive"),
        (PhaseConfig(learning_rate=-1.0), "phase a: learning_rate must be positive"),
        (PhaseConfig(warmup_learning_rate=-1.0), "warmup_learning_rate=-1"),
    ],
)
def test_impossible_phases_are_named(phase, words):
    with pytest.raises(ConfigError, match=words):
        create_recipe(RecipeConfig(name="phases", phases={"a": phase}), MOBILE)


def test_no_phases_are_no_recipe():
    with pytest.raises(ConfigError, match=r"recipe\.name=phases needs recipe\.phases"):
        create_recipe(RecipeConfig(name="phases"), MOBILE)


# ---- micro-batches and the teacher ----------------------------------------------------------------------------------


def test_gradients_of_micro_batches_are_those_of_the_whole_batch():
    """With batch norm in eval mode, in float64, with a teacher and two sub-networks."""
    torch.manual_seed(0)
    space = create_space("resnet_small", 5, resolutions=[8])
    archs = [space.largest, space.smallest]
    images, labels = torch.randn(12, 3, 8, 8, dtype=torch.float64), torch.randint(5, (12,))
    taught = torch.randn(12, 5, dtype=torch.float64)
    gradients, losses = [], []
    for micro in (None, 12, 4, 5):
        supernet = create_supernet("resnet_small", 5, resolutions=[8])
        supernet.reset_parameters(0)
        supernet = supernet.double().eval()
        optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
        objective = Objective("teacher", reduction="sum")
        loss = train_step(
            supernet, optimizer, images, labels, archs, objective, teacher_logits_NC=taught, micro_batch_size=micro
        )
        losses.append(loss)
        gradients.append(torch.cat([p.grad.flatten() for p in supernet.parameters() if p.grad is not None]))
    assert torch.equal(gradients[0], gradients[1])
    for gradient, loss in zip(gradients[2:], losses[2:], strict=True):
        assert torch.allclose(gradient, gradients[0], atol=1e-12)
        assert torch.allclose(loss, losses[0], atol=1e-12)


def test_batch_norm_sees_micro_batches_alone():
    images, labels = torch.randn(8, 3, 8, 8), torch.randint(5, (8,))

    def statistics(micro):
        supernet = create_supernet("resnet_small", 5, resolutions=[8])
        supernet.reset_parameters(0)
        optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
        train_step(
            supernet.train(), optimizer, images, labels, [supernet.space.largest], Objective(), micro_batch_size=micro
        )
        return supernet.stem_bn.num_batches_tracked.item(), supernet.stem_bn.running_mean.clone()

    (once, whole), (twice, halves) = statistics(None), statistics(4)
    assert (once, twice) == (1, 2)
    assert not torch.allclose(whole, halves)


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_the_teacher_normalises_as_asked(config, statistics):
    """With batch statistics it sees the micro-batches of its pupils, drops nothing, and its weights never change."""
    settings = config(recipe=phases(teacher_statistics=statistics), micro_batch_size=4)
    space = create_space("resnet_small", 5, resolutions=[8])
    supernet = create_supernet("resnet_small", 5, resolutions=[8], dropout=0.5)
    state = TrainingState(supernet, settings, space)
    schedule = Schedule(create_recipe(settings.recipe, space), space, 4, 3, 0.1, 32, seed=0)
    plan = schedule.plan(schedule.starts[1])
    plan = replace(plan, phase=replace(plan.phase, micro_batch_size=4))
    images = torch.randn(8, 3, 8, 8) + torch.arange(8.0)[:, None, None, None]
    state.begin_phase(plan, [torch.randn(16, 3, 8, 8)])
    assert state.teacher is not None
    before = {key: value.clone() for key, value in state.teacher.state_dict().items()}
    said = state._taught(images, 4)
    own = create_supernet("resnet_small", 5, resolutions=[8]).extract(space.largest)
    own.load_state_dict(before)
    if statistics == "batch":
        own.train()
    expected = torch.cat([own(images[:4]), own(images[4:])])
    assert torch.equal(said, expected)
    changed = {key for key, value in state.teacher.state_dict().items() if not torch.equal(value, before[key])}
    assert not {key for key in changed if "running" not in key and "num_batches" not in key}
    assert bool(changed) == (statistics == "batch")


def test_a_given_teacher_teaches(config, tmp_path):
    asked = []

    class Constant(nn.Module):
        def forward(self, x_NCHW):
            return torch.zeros(len(x_NCHW), 10)

    def teacher(supernet):
        asked.append(supernet.space.name)
        return Constant()

    train(config(), tmp_path / "given", start=Start(teacher=teacher), console=QUIET)
    assert asked == ["resnet_small"]
    given, own = ([line["loss"] for line in lines(tmp_path / "given", "train")], [])
    train(config(), tmp_path / "own", console=QUIET)
    own = [line["loss"] for line in lines(tmp_path / "own", "train")]
    full = sum(line["phase"] == "full" for line in lines(tmp_path / "own", "train"))
    assert given[:full] == own[:full]
    assert given[full:] != own[full:]


# ---- whole runs -----------------------------------------------------------------------------------------------------


def test_a_run_begins_from_weights_and_leaves_what_it_trained(config, tmp_path):
    train(config(), tmp_path / "first", console=QUIET)
    description = json.loads((tmp_path / "first" / "supernet.json").read_text())
    assert {tuple(stage["depths"]) for stage in description["space"]["stages"]} == {(2,)}  # no more was opened
    assert description["train"]["learning_rate"] == 0.1
    assert description["train"]["batch_size"] == {"full": 32, "open": 64}
    weights = str(tmp_path / "first" / "supernet")
    still = {"open": PhaseConfig(epochs=0.2, batch_size=32, learning_rate=1e-12)}
    second = config(weights=weights, recipe=RecipeConfig(name="phases", phases=still))
    trained = train(second, tmp_path / "second", console=QUIET)
    from onceforall.supernets import load_supernet

    ours, first = dict(trained.named_parameters()), dict(load_supernet(weights).named_parameters())
    assert all(torch.allclose(ours[name], first[name], atol=1e-6) for name in ours)
    fresh = train(replace(second, weights=None), tmp_path / "fresh", console=QUIET)
    assert not all(torch.allclose(tensor, first[name], atol=1e-3) for name, tensor in fresh.named_parameters())


def test_an_interrupted_run_with_teacher_and_micro_batches_continues_to_the_same_bits(config, tmp_path, monkeypatch):
    settings = config(recipe=phases(teacher_statistics="batch"), micro_batch_size=16, checkpoint_minutes=0.0)

    def teacher(supernet):
        torch.manual_seed(3)
        other = create_supernet("resnet_small", 10, 1, resolutions=[8])
        return other.extract(other.space.largest)

    start = Start(teacher=teacher)
    whole = train(settings, tmp_path / "whole", start=start, console=QUIET)
    from onceforall.train import trainer

    log, stop_after = trainer.Trainer.log, 18  # inside the second phase

    def interrupted(self, plan, losses):
        if plan.step == stop_after:
            raise KeyboardInterrupt
        return log(self, plan, losses)

    monkeypatch.setattr(trainer.Trainer, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken", start=start, console=QUIET)
    monkeypatch.setattr(trainer.Trainer, "log", log)
    continued = train(settings, tmp_path / "broken", start=start, console=QUIET)
    for (name, tensor), other in zip(whole.state_dict().items(), continued.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name


def test_the_listed_networks_are_evaluated_at_every_size_and_before_the_first_step(config, tmp_path):
    recipe = phases()
    recipe.phases["open"].archs = [{"expand_ratio": 0.5, "depth": [1, 2, 1]}, {"depth": 2}]
    recipe.phases["full"].archs = [{"depth": 2}]
    evaluation = EvaluationConfig(
        every_epochs=None, at_start=True, images=40, resolutions=[8, 12], calibration_images=32, random_subnets=0
    )
    settings = config(recipe=recipe, evaluation=evaluation)
    train(settings, tmp_path / "run", console=QUIET)
    found = lines(tmp_path / "run", "eval")
    at_start = [line for line in found if line["step"] == 0]
    assert [line["label"] for line in at_start] == ["k3-e1-d222@8", "k3-e1-d222@12"]
    assert {(line["part"], line["images"]) for line in at_start} == {("test", 40)}
    last = [line for line in found if line["step"] == max(line["step"] for line in found)]
    assert {line["part"] for line in last} == {"holdout"}
    assert [line["label"] for line in last] == [
        "k3-e0.5-d121@8",
        "k3-e0.5-d121@12",
        "k3-e1-d222@8",
        "k3-e1-d222@12",
    ]
    assert [line["arch"]["resolution"] for line in last] == [8, 12, 8, 12]


def test_one_sub_network_is_trained_alone_and_continues(config, tmp_path, monkeypatch):
    """As the plain network it is; the run keeps it, and the supernet it came from."""
    supernet = create_supernet("resnet_small", 10, 1, resolutions=[8])
    supernet.save(tmp_path / "weights")
    arch = supernet.space.smallest
    listed = {"subnet": PhaseConfig(epochs=2, batch_size=32, sampling="largest", learning_rate=0.05)}
    settings = config(
        weights=str(tmp_path / "weights"),
        recipe=RecipeConfig(name="phases", phases=listed),
        evaluation=EvaluationConfig(every_epochs=1, part="test", images=60, calibration_images=64),
        checkpoint_minutes=0.0,
    )
    start = Start(load=lambda net: net.load_state_dict(supernet.state_dict()), arch=arch)
    single = train(settings, tmp_path / "run", start=start, console=QUIET)
    network, found, description = load_finetuned(tmp_path / "run" / "finetune" / arch.name)
    assert found == arch
    assert description["classes"] == [str(digit) for digit in range(10)]
    x = torch.randn(2, 1, 8, 8)
    assert torch.allclose(network(x), single(x), atol=1e-5)
    assert not torch.equal(network(x), supernet.extract(arch)(x))
    from onceforall.supernets import load_supernet

    kept = load_supernet(tmp_path / "run" / "supernet")
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), supernet.parameters(), strict=True))
    labels = {line["label"] for line in lines(tmp_path / "run", "eval")}
    assert labels == {arch.name}
    assert all(math.isfinite(line["loss"]) for line in lines(tmp_path / "run", "train"))

    from onceforall.train import trainer

    log = trainer.Trainer.log

    def interrupted(self, plan, losses):
        if plan.step == 9:
            raise KeyboardInterrupt
        return log(self, plan, losses)

    monkeypatch.setattr(trainer.Trainer, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken", start=start, console=QUIET)
    monkeypatch.setattr(trainer.Trainer, "log", log)
    again = train(settings, tmp_path / "broken", start=start, console=QUIET)
    assert all(
        torch.equal(a, b) for a, b in zip(single.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_a_genotype_needs_the_command(config, tmp_path):
    with pytest.raises(ConfigError, match="a genotype is read by `ofa train`"):
        train(config(genotype=[0] * 20), tmp_path / "run", console=QUIET)


def test_divergence_names_the_rate_of_the_phase(config, tmp_path):
    from onceforall.errors import RunError

    wild = {"fast": PhaseConfig(epochs=1, batch_size=32, sampling="largest", learning_rate=1e9)}
    with pytest.raises(RunError, match=r"a lower recipe\.phases\.fast\.learning_rate than 1e\+09"):
        train(config(recipe=RecipeConfig(name="phases", phases=wild)), tmp_path / "run", console=QUIET)


# ---- architectures in words -----------------------------------------------------------------------------------------


def test_architectures_in_words():
    assert arch_from_words(MOBILE, {}) == MOBILE.largest
    assert arch_from_words(MOBILE, {"kernel_size": 3, "expand_ratio": 4, "depth": 2}) == MOBILE.uniform(3, 4, 2)
    mixed = arch_from_words(MOBILE, {"depth": [2, 2, 3, 2, 2], "kernel_size": [3, [5, 7], 3, 3, 3]})
    assert mixed.depths == (2, 2, 3, 2, 2)
    assert [block.kernel_size for block in mixed.stages[1]] == [5, 7]
    assert arch_from_words(MOBILE, {"stages": mixed.to_dict()["stages"]}) == mixed
    wide = create_space("resnet50")
    arch = arch_from_words(wide, {"expand_ratio": 0.25, "depth": [0, 2, 2, 4, 2], "width_mult": 0.8})
    assert set(arch.width_mults) == {0.8}
    assert {block.expand_ratio for stage in arch.stages for block in stage} == {0.25}
    assert arch_from_words(wide, {"expand_ratio": 0.25}).stages[0][0].expand_ratio == 1  # the stem has no choice


@pytest.mark.parametrize(
    ("words", "error", "complaint"),
    [
        ("largest", ConfigError, "an architecture is a mapping of kernel_size, expand_ratio, depth, width_mult"),
        ({"kernel": 3}, ConfigError, "an architecture has no 'kernel'"),
        ({"depth": [2, 2]}, InvalidArch, r"depth \[2, 2\] has 2 values; 5 are needed, or a single one"),
        ({"kernel_size": [[3, 3], 3, 3, 3, 3]}, InvalidArch, r"a stage \[3, 3\] has 2 values; 4 are needed"),
        ({"kernel_size": 9}, InvalidArch, "stage 1, block 1 has kernel size 9"),
        ({"width_mult": [1, 1]}, InvalidArch, "width_mult"),
    ],
)
def test_wrong_words_are_named(words, error, complaint):
    with pytest.raises(error, match=complaint):
        arch_from_words(MOBILE, words)
