"""A plain network as one ONNX file that says what it is, checked against the network it came from."""

import copy
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ExportError
from ..files import atomic_path, write_json
from .backends import INPUT, OUTPUT, PLAIN, Card, NetworkCard
from .fold import fold_batch_norm
from .verify import Agreement, compare

OPSET = 20  # the first with HardSwish and everything else these networks use that all runtimes of 2024 read


class DescribesItself(Protocol):
    """An `Arch`, for what is needed here."""

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What every record of an exported file says; written as JSON beside the file.

    Attributes:
        file: name of the exported file.
        test_transform: see `Card`.
        max_abs_difference, top1_agreement, images_compared: see `Agreement`; `real_images` tells whether the images
            were given (true) or random numbers.
        bytes, sha256: of the exported file.
    """

    file: str
    format: str
    opset: int
    name: str
    in_chans: int
    classes: list[str]
    mean: list[float]
    std: list[float]
    test_transform: str | None
    max_abs_difference: float
    top1_agreement: float
    images_compared: int
    real_images: bool
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ExportRecord(FileRecord):
    """What was exported and how well it agrees, of one network."""

    arch: dict[str, Any] | None
    resolution: int
    view: str


def export_onnx(
    module: nn.Module,
    path: str | Path,
    *,
    resolution: int,
    in_chans: int,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    test_transform: str | None = None,
    view: str = PLAIN,
    arch: DescribesItself | dict[str, Any] | None = None,
    name: str | None = None,
    verify_images: Tensor | np.ndarray | None = None,
    tolerance: float = 1e-3,
) -> ExportRecord:
    """Export a network to ONNX (opset 20, any batch size), and check the file before it takes its place.

    Batch norm is folded into the convolutions. Class names, normalisation, input size and architecture are kept in
    the file's metadata (see `NetworkCard`) and in `path` with suffix .json.

    Args:
        module: any classifier of NCHW images; it is not changed.
        path: ends in .onnx.
        resolution: height and width of the input in pixels.
        classes: names in the order of the logits.
        mean, std: per channel, of pixel values in 0..1.
        test_transform: kept with the file, see `Card`.
        view: kept with the file, see `NetworkCard`.
        arch: the architecture, kept with the file.
        name: kept with the file; default is the file's name.
        verify_images: normalised real images, NCHW at `resolution`; random numbers when None.
        tolerance: largest allowed difference of a logit, relative to the largest logit (at least 1).

    Raises:
        ExportError: the network cannot be exported, or the file disagrees with it; an earlier file stays.
        StorageError: the file could not be written; an earlier file stays.
    """
    path = onnx_path(path)
    described = arch if arch is None or isinstance(arch, dict) else arch.to_dict()
    card = NetworkCard(
        name=name or path.stem,
        resolution=resolution,
        in_chans=in_chans,
        classes=tuple(classes),
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        test_transform=test_transform,
        view=view,
        arch=described,
    )
    module = copy.deepcopy(module).cpu().eval()
    images = images_to_verify(verify_images, card, resolution)
    check_card(card, module, images)
    model = _to_onnx(fold_batch_norm(module, images[:1]), card)
    with atomic_path(path.with_suffix(".json")) as record_file, atomic_path(path) as file:
        file.write_bytes(model.SerializeToString())
        agreement = compare(file, module, images)
        _accept(agreement, tolerance, card)
        values = recorded(path.name, file, card, agreement, real_images=verify_images is not None)
        record = ExportRecord(**values, arch=described, resolution=resolution, view=view)
        write_json(record_file, asdict(record))
    return record


def onnx_path(path: str | Path) -> Path:
    """The path of an ONNX file. Raises ExportError unless it ends so."""
    path = Path(path)
    if path.suffix != ".onnx":
        raise ExportError(f"{path} must end in .onnx")
    return path


def images_to_verify(given: Tensor | np.ndarray | None, card: Card, resolution: int) -> Tensor:
    """Images to verify on: those given, or random numbers. Raises ExportError for images of another shape."""
    expected = (card.in_chans, resolution, resolution)
    if given is None:
        return torch.randn(16, *expected, generator=torch.Generator().manual_seed(0))
    images = torch.as_tensor(given).detach().cpu().float()
    if images.ndim != 4 or len(images) == 0 or tuple(images.shape[1:]) != expected:
        raise ExportError(
            f"images to verify {card.name} on have shape {tuple(images.shape)}, "
            f"not (N, {', '.join(map(str, expected))}) with N of at least 1"
        )
    return images


def check_card(card: Card, module: nn.Module, images: Tensor) -> None:
    """Raise ExportError unless the description fits the network."""
    try:
        with torch.no_grad():
            outputs = module(images[:1]).shape[-1]
    except RuntimeError as error:
        raise ExportError(f"{card.name} does not take images of shape {tuple(images.shape[1:])}: {error}") from error
    if len(card.classes) != outputs:
        raise ExportError(f"{card.name} has {outputs} outputs but {len(card.classes)} class names were given")
    if not len(card.mean) == len(card.std) == card.in_chans:
        raise ExportError(f"mean and std of {card.name} need {card.in_chans} values each, one per input channel")


def _to_onnx(module: nn.Module, card: NetworkCard) -> Any:
    """The network as an ONNX model that carries its description and nothing of the machine it was made on."""
    return to_model(module, {INPUT: card.resolution}, OUTPUT, card)


def to_model(module: nn.Module, inputs: dict[str, int], output: str, card: Card, as_list: bool = False) -> Any:
    """A module as an ONNX model that carries its description and nothing of the machine it was made on.

    Args:
        module: folded already; takes one image tensor for each input, in their order, all of the same batch size.
        inputs: resolution in pixels by name of the input.
        output: name of the only output.
        as_list: the module takes its images as one list.

    Raises:
        ExportError: the module is beyond the exporter, or a batch norm is left.
    """
    # a batch of 1 would be taken as fixed
    examples = [torch.zeros(2, card.in_chans, resolution, resolution) for resolution in inputs.values()]
    shapes = [{0: torch.export.Dim("batch")}] * len(examples)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the exporter's own code; what it cannot export, it raises
            program = torch.onnx.export(
                module,
                (examples,) if as_list else tuple(examples),
                dynamo=True,
                dynamic_shapes=(shapes,) if as_list else tuple(shapes),
                input_names=list(inputs),
                output_names=[output],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"{card.name} cannot be exported to ONNX: {reason[0]}") from error
    if left := [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]:
        raise ExportError(f"{card.name} has a batch norm that no convolution feeds ({left[0]}); it cannot be folded")
    _forget_origin(model)
    for key, value in card.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    return model


def _forget_origin(model: Any) -> None:
    """Drop source paths and stack traces, which the exporter attaches to every node and value."""
    graph = model.graph
    del model.metadata_props[:]
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


def _accept(agreement: Agreement, tolerance: float, card: NetworkCard) -> None:
    """Raise ExportError unless the difference is a number within the tolerance."""
    if not agreement.relative_difference <= tolerance:
        raise ExportError(
            f"the exported {card.name} differs from the network by {agreement.max_abs_difference:.3g} (largest logit "
            f"{agreement.max_abs_logit:.3g}, tolerance {tolerance:g} of it; best class equal on "
            f"{agreement.top1_agreement:.1%} of {agreement.images_compared} images); nothing was written"
        )


def recorded(file_name: str, file: Path, card: Card, agreement: Agreement, *, real_images: bool) -> dict[str, Any]:
    """The values of a `FileRecord`."""
    content = file.read_bytes()
    return {
        "file": file_name,
        "format": "onnx",
        "opset": OPSET,
        "name": card.name,
        "in_chans": card.in_chans,
        "classes": list(card.classes),
        "mean": list(card.mean),
        "std": list(card.std),
        "test_transform": card.test_transform,
        "max_abs_difference": agreement.max_abs_difference,
        "top1_agreement": agreement.top1_agreement,
        "images_compared": agreement.images_compared,
        "real_images": real_images,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
