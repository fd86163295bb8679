"""Every experiment of NNablaNAS: what our presets compose to, field by field against its own composed files."""

import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from onceforall.configuration import compose, groups_of
from onceforall.interop.nnablanas import arch_from_genotype, op_name, parse_op_candidates
from onceforall.interop.nnablanas.names import parameter_names
from onceforall.space import Block, create_space
from onceforall.supernets import create_supernet
from onceforall.train import create_recipe
from onceforall.train.config import TrainConfig
from onceforall.train.optimizer import parameter_groups
from onceforall.train.setup import build_schedule, resolutions_of
from onceforall.train.watched import arch_from_words

NAMES = [
    *(f"ofa/ofa_mbv3/imagenet_search_{stage}" for stage in ("fullnet", "kernel", "depth_phase1", "depth_phase2")),
    *(f"ofa/ofa_mbv3/imagenet_search_{stage}" for stage in ("expand_phase1", "expand_phase2")),
    *(f"ofa/ofa_mbv3/imagenet_search_{stage}" for stage in ("comp_phase1", "comp_phase2")),
    "ofa/ofa_mbv3/imagenet_train_subnet",
    *(f"ofa/ofa_resnet50/imagenet_search_{stage}" for stage in ("fullnet", "depth", "expand_phase1", "expand_phase2")),
    *(f"ofa/ofa_resnet50/imagenet_search_{stage}" for stage in ("width_phase1", "width_phase2")),
    "ofa/ofa_resnet50/imagenet_train_subnet",
]
IMAGES = 1_268_355  # 99 % of ImageNet's training images


@pytest.fixture(params=NAMES)
def pair(request, shared):
    """An experiment of theirs and ours of the same name, with the family they are in."""
    family = request.param.split("/")[1]
    theirs = experiments(shared, family)[request.param]
    ours = compose("train", TrainConfig, [f"experiment=classification/{request.param}"])
    return theirs, ours, family


@cache
def experiments(shared: Path, family: str):
    return json.loads((shared / "golden" / "nnablanas" / f"{family}.json").read_text())["experiments"]


def test_there_is_one_of_ours_for_each_of_theirs(shared):
    theirs = {
        f"classification/{name}" for family in ("ofa_mbv3", "ofa_resnet50") for name in experiments(shared, family)
    }
    assert theirs == {f"classification/{name}" for name in NAMES}
    assert theirs <= set(groups_of("train")["experiment"])


def schedule_of(config: TrainConfig):
    space = config.space
    whole = create_space(space.name, resolutions=resolutions_of(space), compound=space.compound)
    source = SimpleNamespace(train=range(IMAGES))
    return build_schedule(config, source, whole)  # pyright: ignore[reportArgumentType]


def tag(weights: str) -> str:
    """A path of theirs as the folder of our run."""
    return "runs/" + weights.removeprefix("log/").removesuffix("/checkpoint/weights.h5")


def test_lengths_batches_and_learning_rates(pair):
    theirs, ours, _ = pair
    hparams, optimizers = theirs["hparams"], theirs["optimizer"]
    schedule = schedule_of(ours)
    (phase,) = schedule.recipe.phases
    assert schedule.epochs == hparams["epoch"]
    assert schedule.batch_size == hparams["batch_size_train"]
    assert schedule.steps_per_epoch == IMAGES // hparams["batch_size_train"]
    assert schedule.total_steps == hparams["epoch"] * schedule.steps_per_epoch
    assert phase.micro_batch_size == hparams["mini_batch_train"]
    assert ours.evaluation.batch_size == hparams["mini_batch_valid"]
    peak, warmup = optimizers["train"]["lr"], hparams["cosine_warmup_epoch"] * schedule.steps_per_epoch
    assert schedule.peak_learning_rate == peak == optimizers["train_no_decay"]["lr"]
    assert schedule.learning_rate(warmup) == pytest.approx(peak)
    assert phase.warmup_learning_rate == hparams["warmup_lr"]
    if warmup:
        assert schedule.learning_rate(0) == pytest.approx(hparams["warmup_lr"], rel=0.01)
        assert schedule.learning_rate(warmup // 2) == pytest.approx((peak + hparams["warmup_lr"]) / 2, rel=0.01)
    half = (warmup + schedule.total_steps) // 2
    assert schedule.learning_rate(half) == pytest.approx(peak / 2, rel=0.01)
    assert schedule.learning_rate(schedule.total_steps - 1) < 1e-6 * peak


def test_optimizer_and_losses(pair):
    theirs, ours, _ = pair
    hparams, optimizers = theirs["hparams"], theirs["optimizer"]
    assert {one["name"] for one in optimizers.values()} == {"Nesterov"}
    assert {one["lr_scheduler"] for one in optimizers.values()} == {"CosineSchedulerWarmup"}
    assert ours.optimizer.name == "sgd"  # Nesterov wherever there is momentum
    assert ours.optimizer.momentum == optimizers["train"]["momentum"]
    assert ours.optimizer.weight_decay == optimizers["train"]["weight_decay"]
    assert optimizers["train_no_decay"]["weight_decay"] == 0
    (phase,) = schedule_of(ours).recipe.phases
    objective = phase.objective
    taught = {"none": 0, "teacher": objective.kd_ratio}[objective.distill]
    assert taught == hparams["lambda_kd"]
    assert (objective.label_smoothing, objective.label_ratio, objective.reduction) == (0.1, 1, "sum")
    if taught:
        (network,) = hparams["teacher_network"].values()
        assert ours.recipe.teacher == tag(network["weights"])
        assert ours.recipe.teacher_statistics == "batch"
    else:
        assert ours.recipe.teacher is None


def test_network_sizes_and_weights(pair):
    theirs, ours, family = pair
    (network,) = theirs["network"].values()
    hparams = theirs["hparams"]
    assert ours.name == theirs["name"].strip("/")
    assert ours.weights == (tag(network["weights"]) if "weights" in network else None)
    assert ours.space.name == {"ofa_mbv3": "mbv3_w1.0", "ofa_resnet50": "resnet50"}[family]
    assert ours.space.dropout == network["drop_rate"]
    assert ours.space.compound == network.get("compound", False)
    layout = create_space(ours.space.name).layout
    assert (layout.num_classes, layout.bn_eps) == (network["num_classes"], network["bn_param"][1])
    schedule = schedule_of(ours)
    if "train_image_size_list" in hparams:  # read as a continuous range in steps of 4
        sizes = hparams["train_image_size_list"]
        assert ours.space.resolutions == sizes
        assert schedule.space.resolutions == tuple(range(min(sizes), max(sizes) + 1, 4))
        assert ours.evaluation.resolutions == hparams["valid_image_size_list"]
    else:
        assert schedule.space.resolutions == (hparams["img_size"],)
    assert ours.evaluation.every_epochs == hparams["validation_frequency"]
    assert ours.evaluation.images is None
    assert ours.evaluation.at_start == (hparams.get("task") != "fullnet")


def test_data(pair):
    theirs, ours, _ = pair
    (loader,) = theirs["dataloader"].values()
    searches = theirs["args"]["search"]
    assert ours.data.holdout == (pytest.approx(1 - loader["train_portion"]) if searches else 0)
    assert ours.data.holdout_rule == "balanced"
    assert ours.evaluation.part == ("holdout" if searches else "test")
    assert loader["colortwist"]
    assert ours.augment.brightness == pytest.approx(32 / 255, abs=1e-5)
    assert (ours.augment.saturation, ours.augment.crop_scale) == (0.5, 0.08)
    assert ours.augment.crop_ratio == pytest.approx(4 / 3)
    assert ours.evaluation.calibration_images == 2000


def test_what_is_open_and_how_it_is_drawn(pair):
    theirs, ours, family = pair
    (network,) = theirs["network"].values()
    schedule = schedule_of(ours)
    (phase,) = schedule.recipe.phases
    if "genotype" in network:
        assert phase.sampling == "largest"
        assert ours.genotype == network["genotype"]
        assert ours.op_candidates == network.get("op_candidates", ours.op_candidates)
        return
    trained = schedule.trained_space
    if family == "ofa_mbv3":
        choices = trained.stages[0]
        assert len(set(trained.stages)) == 1
        drawn = {op_name(Block(kernel, ratio)) for kernel in choices.kernel_sizes for ratio in choices.expand_ratios}
        assert drawn == set(network["op_candidates"])
        assert choices.depths == tuple(network["depth_candidates"])
        if network.get("compound"):
            assert choices.expand_of_depth == (3, 4, 6)
    else:
        depths = network["depth_list"]
        assert trained.stages[1].depths == tuple(2 + depth for depth in depths)
        assert trained.stages[3].depths == tuple(4 + depth for depth in depths)
        assert trained.stages[0].depths == ((0, 1) if len(depths) > 1 else (1,))
        assert trained.stages[1].expand_ratios == tuple(network["expand_ratio_list"])
        assert set(trained.widths) == {tuple(network["width_mult_list"])}
    count = trained.size_per_resolution
    assert (phase.sampling, phase.subnets_per_step) == ("largest" if count == 1 else "random", 1)
    # What the official code does: it sorts before ratios or widths open, inside the groups already trained.
    ratios = 3 if network.get("compound") else len(trained.stages[1].expand_ratios)
    expected = {"expand": ratios - 2, "width": ratios - 1}.get(theirs["hparams"]["task"])
    if network.get("compound"):  # all three ratios at once: nothing is trained before, everything after the first phase
        expected = 0 if "phase1" in ours.name else ratios - 1
    assert phase.sort_channels == expected


def test_validated_genotypes(pair):
    theirs, ours, family = pair
    genotypes = theirs["hparams"].get("valid_genotypes")
    ((name, phase),) = ours.recipe.phases.items()
    space = create_space(ours.space.name)
    if genotypes is None:
        assert phase.archs is None
        return
    (network,) = theirs["network"].values()
    candidates = network.get("op_candidates", ())
    read = [arch_from_genotype(space, genotype, candidates or ours.op_candidates) for genotype in genotypes]
    assert [arch_from_words(space, words) for words in phase.archs] == read, name
    assert family != "ofa_mbv3" or len(parse_op_candidates(candidates)) == len(candidates)


@pytest.mark.parametrize("name", ["mbv3_w1.0", "resnet50"])
def test_parameters_without_decay_are_those_of_their_patterns(name, shared):
    family = {"mbv3_w1.0": "ofa_mbv3", "resnet50": "ofa_resnet50"}[name]
    patterns = [
        re.compile(pattern)
        for pattern in experiments(shared, family)[f"ofa/{family}/imagenet_search_fullnet"]["hparams"]["no_decay_keys"]
    ]
    supernet = create_supernet(name)
    plain, decayed = parameter_groups(supernet, 3e-5)
    by_identity = {id(parameter): key for key, parameter in supernet.named_parameters()}
    names = parameter_names(supernet)
    theirs = {
        key for key in by_identity.values() if any(p.search(spelling) for p in patterns for spelling in names[key])
    }
    assert {by_identity[id(parameter)] for parameter in plain["params"]} == theirs
    matrices = {key for key in by_identity.values() if "transforms" in key}
    assert matrices <= {by_identity[id(parameter)] for parameter in decayed["params"]}


@pytest.mark.parametrize("family", ["ofa_mbv3", "ofa_resnet50"])
def test_the_chain_has_the_phases_of_the_stages(family):
    chain = compose("train", TrainConfig, [f"experiment=classification/ofa/{family}/imagenet_progressive_shrinking"])
    stages = [name for name in NAMES if f"/{family}/" in name and "subnet" not in name and "comp" not in name]
    single = [compose("train", TrainConfig, [f"experiment=classification/{name}"]) for name in stages]
    assert list(chain.recipe.phases.items()) == [item for one in single for item in one.recipe.phases.items()]
    schedule = schedule_of(chain)
    assert schedule.epochs == sum(schedule_of(one).epochs for one in single)
    lengths = [end - start for start, end in zip(schedule.starts[:-1], schedule.starts[1:], strict=True)]
    for index, one in enumerate(single):
        alone = schedule_of(one)
        assert lengths[index] == alone.total_steps
        step, offset = alone.total_steps // 3, schedule.starts[index]
        assert schedule.plan(offset + step).batch_size == alone.batch_size
        assert schedule.learning_rate(offset + step) == pytest.approx(alone.learning_rate(step), rel=1e-9)
        assert schedule.recipe.phases[index].open_space(schedule.space) == alone.recipe.phases[0].open_space(
            alone.space
        )
    assert chain.recipe.teacher is None  # the largest network at the end of the first phase
    assert create_recipe(chain.recipe, schedule.space).phases[0].objective.distill == "none"
