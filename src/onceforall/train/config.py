"""The settings of a training run, as plain dataclasses that a YAML file or `key=value` words can fill."""

from dataclasses import dataclass, field
from typing import Any

from ..data.augment import AugmentConfig
from ..data.config import DataConfig


def _setting(default: Any, text: str) -> Any:
    """A field with what `ofa train --help` says about it."""
    return field(default=default, metadata={"help": text})


@dataclass
class SpaceConfig:
    """Which search space, and which of its values to keep (null: all)."""

    name: str = _setting("resnet_small", "search space; `ofa list` shows all")
    resolutions: list[int] | None = _setting(None, "image sides in pixels to train for; null: those of the space")
    kernel_sizes: list[int] | None = _setting(None, "kernel sizes to keep; null: all of the space")
    expand_ratios: list[float] | None = _setting(None, "expand ratios to keep; null: all of the space")
    depths: list[int] | None = _setting(None, "blocks per stage to keep; null: all of the space")
    dropout: float = _setting(0.0, "dropout before the classifier while training, 0 to 1")


@dataclass
class RecipeConfig:
    """Which phases training has and how long each is."""

    name: str = _setting("progressive_shrinking", "progressive_shrinking or sandwich")
    label_smoothing: float = _setting(0.1, "weight of the uniform distribution in the label targets, 0 to 1")
    kd_ratio: float = _setting(1.0, "weight of the loss against the teacher's soft output")
    label_ratio: float = _setting(1.0, "weight of the loss against the labels for sub-networks that have a teacher")
    loss_reduction: str = _setting("mean", "mean or sum of the losses of one step")
    learning_rate_warmup: float = _setting(
        0.05, "share of each cosine (or of the first phase) with rising learning rate"
    )

    full_share: float = _setting(0.5, "progressive_shrinking: relative length of training the largest network alone")
    kernel_share: float = _setting(0.1, "progressive_shrinking: relative length of opening the kernel sizes")
    depth_share: float = _setting(0.2, "progressive_shrinking: relative length of opening the depths")
    expand_share: float = _setting(0.2, "progressive_shrinking: relative length of opening the expand ratios")
    kernel_subnets: int = _setting(1, "progressive_shrinking: sub-networks per step while opening kernel sizes")
    depth_subnets: int = _setting(2, "progressive_shrinking: sub-networks per step while opening depths")
    expand_subnets: int = _setting(4, "progressive_shrinking: sub-networks per step while opening expand ratios")
    shrink_learning_rate: float = _setting(
        0.3, "progressive_shrinking: peak learning rate after the first phase, relative"
    )

    warmup_share: float = _setting(0.3, "sandwich: share of the run that trains the largest network alone first")
    random_subnets: int = _setting(2, "sandwich: random sub-networks per step beside the largest and the smallest")


@dataclass
class OptimizerConfig:
    """How weights follow gradients. The learning rate is base_learning_rate * batch_size / 256, whatever the batch."""

    name: str = _setting("sgd", "sgd (Nesterov momentum) or adamw")
    base_learning_rate: float | None = _setting(
        None, "peak learning rate at 256 images per step; null: 0.2 for sgd, 0.001 for adamw, fine-tuning a tenth"
    )
    momentum: float = _setting(0.9, "sgd: momentum, 0 to 1")
    weight_decay: float = _setting(5e-4, "decay of weights and kernel matrices; norms and biases have none")
    clip_gradient_norm: float | None = _setting(None, "largest gradient norm; null: no clipping")


@dataclass
class EvaluationConfig:
    """What is looked at during training; the weights do not depend on it."""

    every_epochs: float | None = _setting(1.0, "epochs between evaluations; null: only at the end")
    images: int | None = _setting(2000, "hold-out images per evaluation; null: all of them")
    calibration_images: int = _setting(2000, "training images for batch-norm statistics before an evaluation")
    random_subnets: int = _setting(2, "random sub-networks evaluated beside the largest and the smallest")
    batch_size: int = _setting(200, "images per batch of evaluation and calibration")


@dataclass
class TrainConfig:
    """Everything `train` needs to know."""

    name: str = _setting("supernet", "name of the run")
    run: str | None = _setting(None, "folder of the run; null: runs/<name>")
    seed: int = _setting(0, "every random choice follows from this number, 0 or greater, and the step")
    epochs: float = _setting(30.0, "passes over the training images, all phases together")
    batch_size: int = _setting(128, "images per step, all processes together")
    precision: str = _setting("fp32", "fp32, or bf16 for mixed precision")
    channels_last: bool = _setting(True, "keep images as height x width x channel in memory: faster on CPU and GPU")
    ema_decay: float | None = _setting(
        None, "decay of the moving average of weights that is evaluated and saved; null: off"
    )
    checkpoint_minutes: float = _setting(5.0, "minutes between checkpoints; one is also written after every phase")
    log_every_steps: int = _setting(10, "steps between lines of metrics.jsonl")
    threads: int | None = _setting(None, "CPU threads of this process; null: as the machine gives")
    device: str = _setting("auto", "cpu, cuda, cuda:1, ...; auto: a GPU when there is one")
    tensorboard: bool = _setting(True, "write TensorBoard files too")
    space: SpaceConfig = field(default_factory=SpaceConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass
class FinetuneConfig:
    """How one chosen sub-network is trained a little longer."""

    epochs: float = _setting(5.0, "passes over the training images")
    batch_size: int = _setting(128, "images per step")
    seed: int = _setting(0, "order and augmentation of images follow from this number, 0 or greater")
    distill: bool = _setting(True, "also learn from the largest network of the supernet")
    kd_ratio: float = _setting(1.0, "weight of the loss against the teacher's soft output")
    label_smoothing: float = _setting(0.1, "weight of the uniform distribution in the label targets, 0 to 1")
    learning_rate_warmup: float = _setting(0.05, "share of the steps with rising learning rate")
    precision: str = _setting("fp32", "fp32, or bf16 for mixed precision")
    calibration_images: int = _setting(2000, "training images for batch-norm statistics before and after")
    workers: int = _setting(-1, "processes that decode photos; 0 = none, -1 = one per core, at most 8")
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


_FREE = frozenset(
    {"name", "run", "checkpoint_minutes", "log_every_steps", "threads", "device", "tensorboard"}
    | {"data.root", "data.workers", "data.download"}
    | {"evaluation.every_epochs", "evaluation.images", "evaluation.random_subnets"}
)


def may_change(key: str) -> bool:
    """Whether a setting, by dotted name, may differ when a run continues: its final weights do not depend on it."""
    return key in _FREE
