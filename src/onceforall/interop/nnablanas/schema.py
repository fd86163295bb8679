"""The keys of NNablaNAS's Once-for-All experiments and their types; None stands for a key that a file leaves out."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Network:
    """What both networks have."""

    num_classes: int | None = None
    bn_param: list[float] | None = None
    drop_rate: float | None = None
    weight_init: str | None = None
    weights: str | None = None
    genotype: Any = None


@dataclass
class MobileNetwork(Network):
    """`ofa_mbv3`; candidates may be one value or a list."""

    base_stage_width: Any = None
    width_mult: float | None = None
    op_candidates: Any = None
    depth_candidates: Any = None
    compound: bool | None = None
    fixed_kernel: bool | None = None


@dataclass
class BottleneckNetwork(Network):
    """`ofa_resnet50`; its lists may be one value."""

    depth_list: Any = None
    expand_ratio_list: Any = None
    width_mult_list: Any = None


@dataclass
class Networks:
    """One network by the name of its family."""

    ofa_mbv3: MobileNetwork | None = None
    ofa_resnet50: BottleneckNetwork | None = None


@dataclass
class Optimizer:
    """One part of the parameters; rates per step, whatever the batch."""

    name: str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    momentum: float | None = None
    grad_clip: Any = None
    lr_scheduler: str | None = None


@dataclass
class Optimizers:
    """`train_no_decay` has the parameters that `no_decay_keys` name."""

    train: Optimizer = field(default_factory=Optimizer)
    train_no_decay: Optimizer = field(default_factory=Optimizer)


@dataclass
class Hparams:
    """How long, on how many images, and what is evaluated; sizes in pixels."""

    task: str | None = None
    train_image_size_list: list[int] | None = None
    valid_image_size_list: list[int] | None = None
    image_size_seg: int | None = None
    image_size_continuous: bool | None = None
    img_size: int | None = None
    valid_genotypes: list[Any] | None = None
    valid_ce_loss: bool | None = None
    validation_frequency: float | None = None
    input_shapes: Any = None
    target_shapes: Any = None
    no_decay_keys: Any = None
    lambda_kd: float | None = None
    teacher_network: Networks | None = None
    epoch: float | None = None
    cosine_warmup_epoch: float | None = None
    warmup_lr: float | None = None
    epoch_steps: Any = None
    step_decay_rate: Any = None
    loss_weights: Any = None
    batch_size_train: int | None = None
    batch_size_valid: int | None = None
    mini_batch_train: int | None = None
    mini_batch_valid: int | None = None
    print_frequency: Any = None


@dataclass
class ImageLoader:
    """Where images lie, and what is done to them."""

    datapath: str | None = None
    train_path: str | None = None
    train_file: str | None = None
    valid_path: str | None = None
    valid_file: str | None = None
    train_portion: float | None = None
    augment_valid: bool | None = None
    colortwist: bool | None = None
    transform: Any = None
    channel_last: Any = None
    type_config: Any = None


@dataclass
class Loaders:
    """One loader by its name."""

    imagenet: ImageLoader | None = None


@dataclass
class Arguments:
    """What older files leave to the flags of the command."""

    context: str | None = None
    device_id: Any = None
    type_config: Any = None
    search: bool | None = None
    algorithm: str | None = None
    output_path: str | None = None
    save_nnp: bool | None = None
    no_visualize: bool | None = None
    print_frequency: Any = None


@dataclass
class ExperimentValues:
    """A whole file. `regularizer` is for other algorithms; OFASearcher does not read it."""

    network: Networks = field(default_factory=Networks)
    hparams: Hparams = field(default_factory=Hparams)
    optimizer: Optimizers = field(default_factory=Optimizers)
    dataloader: Loaders = field(default_factory=Loaders)
    args: Arguments = field(default_factory=Arguments)
    name: str | None = None
    regularizer: Any = None
