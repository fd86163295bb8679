"""The settings of a training run, as plain dataclasses that a YAML file or `key=value` words can fill."""

from dataclasses import dataclass, field
from typing import Any

from ..data.augment import AugmentConfig
from ..data.config import DataConfig
from ..settings import setting


@dataclass
class SpaceConfig:
    """Which search space, and which of its values to keep (null: all)."""

    name: str = setting("resnet_small", "search space; `ofa list` shows all")
    resolutions: list[int] | None = setting(None, "image sides in pixels to train for; null: those of the space")
    resolution_step: int | None = setting(
        None, "train at every size in steps of this from the smallest to the largest of `resolutions`; null: only those"
    )
    kernel_sizes: list[int] | None = setting(None, "kernel sizes to keep; null: all of the space")
    expand_ratios: list[float] | None = setting(None, "expand ratios to keep; null: all of the space")
    depths: list[int] | None = setting(None, "blocks per stage to keep; null: all of the space")
    width_mults: list[float] | None = setting(None, "width multipliers to keep; null: all of the space")
    compound: bool = setting(False, "tie the expand ratio of every stage to its depth (CompOFA); mbv3 spaces")
    dropout: float = setting(0.0, "dropout before the classifier while training, 0 to 1")


@dataclass
class PhaseConfig:
    """One phase of recipe.name=phases."""

    epochs: float = setting(1.0, "length relative to the other phases, in passes over the training images")
    batch_size: int | None = setting(None, "images per step, all processes together; counts where batch_size=null")
    micro_batch_size: int | None = setting(
        None, "images of one process that pass at once; counts where micro_batch_size=null"
    )
    learning_rate: float | None = setting(
        None, "peak learning rate, whatever the batch; null: optimizer.base_learning_rate * images per step / 256"
    )
    learning_rate_factor: float = setting(1.0, "of optimizer.base_learning_rate, where learning_rate=null")
    warmup_epochs: float = setting(0.0, "part of `epochs` with linearly rising learning rate")
    warmup_learning_rate: float = setting(0.0, "where the learning rate begins to rise")
    sampling: str = setting("random", "largest: that network alone; random; sandwich: largest, smallest, then random")
    subnets: int = setting(1, "sub-networks per step, their gradients added")
    distill: str = setting("none", "none; teacher: also learn from the teacher; inplace: from the step's first network")
    kernel_sizes: int | None = setting(None, "how many kernel sizes are open, from the largest; null: all")
    expand_ratios: int | None = setting(None, "how many expand ratios are open, from the largest; null: all")
    depths: int | None = setting(None, "how many depths of every stage are open, from the largest; null: all")
    width_mults: int | None = setting(None, "how many width multipliers are open, from the largest; null: all")
    sort_channels: int | None = setting(
        None, "sort channels by importance first, inside the groups that so many smaller ratios trained; null: do not"
    )
    trains: str = setting("all", "all weights, or kernel_transforms: the matrices that shrink kernels")
    archs: list[Any] | None = setting(
        None,
        "sub-networks to evaluate: architectures in JSON, or {kernel_size, expand_ratio, depth, width_mult} with one "
        "value for all, one per stage, or one per block; null: the corners and evaluation.random_subnets random ones",
    )


@dataclass
class RecipeConfig:
    """Which phases training has and how long each is."""

    name: str = setting("progressive_shrinking", "progressive_shrinking, sandwich, or phases: those listed here")
    phases: dict[str, PhaseConfig] = setting({}, "phases: by name, in their order")
    teacher: str | None = setting(
        None, "weights of the network that teaches; null: the largest network at the end of its own phase"
    )
    teacher_statistics: str = setting(
        "running", "batch norm of the teacher: running = calibrated statistics, batch = those of every batch"
    )
    label_smoothing: float = setting(0.1, "weight of the uniform distribution in the label targets, 0 to 1")
    kd_ratio: float = setting(1.0, "weight of the loss against the teacher's soft output")
    label_ratio: float = setting(1.0, "weight of the loss against the labels for sub-networks that have a teacher")
    loss_reduction: str = setting("mean", "mean or sum of the losses of one step")
    learning_rate_warmup: float = setting(
        0.05, "share of each cosine (or of the first phase) with rising learning rate"
    )

    full_share: float = setting(0.5, "progressive_shrinking: relative length of training the largest network alone")
    kernel_share: float = setting(0.1, "progressive_shrinking: relative length of opening the kernel sizes")
    depth_share: float = setting(0.2, "progressive_shrinking: relative length of opening the depths")
    expand_share: float = setting(0.2, "progressive_shrinking: relative length of opening the expand ratios")
    width_share: float = setting(0.2, "progressive_shrinking: relative length of opening the width multipliers")
    kernel_subnets: int = setting(1, "progressive_shrinking: sub-networks per step while opening kernel sizes")
    depth_subnets: int = setting(2, "progressive_shrinking: sub-networks per step while opening depths")
    expand_subnets: int = setting(4, "progressive_shrinking: sub-networks per step while opening expand ratios")
    width_subnets: int = setting(4, "progressive_shrinking: sub-networks per step while opening width multipliers")
    shrink_learning_rate: float = setting(
        0.3, "progressive_shrinking: peak learning rate after the first phase, relative"
    )

    warmup_share: float = setting(0.3, "sandwich: share of the run that trains the largest network alone first")
    random_subnets: int = setting(2, "sandwich: random sub-networks per step beside the largest and the smallest")


@dataclass
class OptimizerConfig:
    """How weights follow gradients. The learning rate is base_learning_rate * batch_size / 256, whatever the batch."""

    name: str = setting("sgd", "sgd or adamw")
    base_learning_rate: float | None = setting(
        None, "peak learning rate at 256 images per step; null: 0.2 for sgd, 0.001 for adamw, fine-tuning a tenth"
    )
    momentum: float = setting(0.9, "sgd: momentum, 0 to 1")
    nesterov: bool = setting(True, "sgd: Nesterov's form of momentum")
    weight_decay: float = setting(5e-4, "decay of weights and kernel matrices; norms and biases have none")
    clip_gradient_norm: float | None = setting(None, "largest gradient norm; null: no clipping")


@dataclass
class EvaluationConfig:
    """What is looked at during training; the weights do not depend on it."""

    every_epochs: float | None = setting(1.0, "epochs between evaluations; null: only at the end")
    part: str = setting("holdout", "images to evaluate on: holdout or test")
    at_start: bool = setting(False, "also evaluate on the test images before the first step")
    images: int | None = setting(2000, "images per evaluation; null: all of them")
    resolutions: list[int] | None = setting(None, "image sides in pixels to evaluate at; null: those of the networks")
    calibration_images: int = setting(2000, "training images for batch-norm statistics before an evaluation")
    random_subnets: int = setting(2, "random sub-networks evaluated beside the largest and the smallest")
    batch_size: int = setting(200, "images per batch of evaluation and calibration")


@dataclass
class TrainConfig:
    """Everything `train` needs to know."""

    name: str = setting("supernet", "name of the run")
    run: str | None = setting(None, "folder of the run; null: runs/<name>")
    weights: str | None = setting(
        None, "weights to begin from: a run, or a file of ours, of Once-for-All or of NNablaNAS; null: new ones"
    )
    genotype: Any = setting(
        None, "train only this sub-network of the weights: 20 numbers of op_candidates, or [depth, expand ratio, width]"
    )
    op_candidates: list[str] = setting(
        [f"MB{ratio} {kernel}x{kernel}" for ratio in (3, 4, 6) for kernel in (3, 5, 7)],
        "what the numbers of a genotype stand for",
    )
    seed: int = setting(0, "every random choice follows from this number, 0 or greater, and the step")
    epochs: float | None = setting(
        30.0, "passes over the training images, all phases together; null: as long as recipe.phases say"
    )
    batch_size: int | None = setting(128, "images per step, all processes together; null: as recipe.phases say")
    micro_batch_size: int | None = setting(
        None, "images of one process that pass at once, gradients added up over the step; null: all, or recipe.phases"
    )
    precision: str = setting("fp32", "fp32, or bf16 for mixed precision")
    channels_last: bool = setting(True, "keep images as height x width x channel in memory: faster on CPU and GPU")
    ema_decay: float | None = setting(
        None, "decay of the moving average of weights that is evaluated and saved; null: off"
    )
    checkpoint_minutes: float = setting(5.0, "minutes between checkpoints; one is also written after every phase")
    log_every_steps: int = setting(10, "steps between lines of metrics.jsonl")
    threads: int | None = setting(None, "CPU threads of this process; null: as the machine gives")
    device: str = setting("auto", "cpu, cuda, cuda:1, ...; auto: a GPU when there is one")
    tensorboard: bool = setting(True, "write TensorBoard files too")
    space: SpaceConfig = field(default_factory=SpaceConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass
class FinetuneConfig:
    """How one chosen sub-network is trained a little longer."""

    epochs: float = setting(5.0, "passes over the training images")
    batch_size: int = setting(128, "images per step")
    seed: int = setting(0, "order and augmentation of images follow from this number, 0 or greater")
    distill: bool = setting(True, "also learn from the largest network of the supernet")
    kd_ratio: float = setting(1.0, "weight of the loss against the teacher's soft output")
    label_smoothing: float = setting(0.1, "weight of the uniform distribution in the label targets, 0 to 1")
    learning_rate_warmup: float = setting(0.05, "share of the steps with rising learning rate")
    precision: str = setting("fp32", "fp32, or bf16 for mixed precision")
    calibration_images: int = setting(2000, "training images for batch-norm statistics before and after")
    workers: int = setting(-1, "processes that decode photos; 0 = none, -1 = one per core, at most 8")
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


_FREE = frozenset(
    {"name", "run", "checkpoint_minutes", "log_every_steps", "threads", "device", "tensorboard"}
    | {"data.root", "data.workers", "data.download"}
    | {f"evaluation.{name}" for name in ("every_epochs", "part", "at_start", "images", "resolutions", "random_subnets")}
)


def may_change(key: str) -> bool:
    """Whether a setting, by dotted name, may differ when a run continues: its final weights do not depend on it."""
    return key in _FREE
