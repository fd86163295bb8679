"""Networks that vote as one ONNX file, checked against the networks it came from."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ExportError
from ..files import atomic_path, write_json
from .backends import PLAIN
from .ensemble_file import VOTE, EnsembleCard, EnsembleInput, OnnxEnsemble
from .export import FileRecord, check_card, images_to_verify, onnx_path, recorded, to_model
from .fold import fold_batch_norm
from .verify import BATCH, Agreement


@dataclass(frozen=True)
class EnsembleMember:
    """A network and how it votes.

    Attributes:
        network: any classifier of NCHW images; it is not changed.
        resolution: height and width of its input in pixels.
        name, arch: kept with the file.
        weight: share of the vote; those of all members sum to one.
        temperature: its logits are divided by it before they become probabilities.
        view: what it is shown of an image; members of the same resolution and view read the same input.
    """

    network: nn.Module
    resolution: int
    name: str
    weight: float
    temperature: float = 1.0
    arch: dict[str, Any] | None = None
    view: str = PLAIN


@dataclass(frozen=True, kw_only=True)
class EnsembleRecord(FileRecord):
    """What was exported and how well its vote agrees, of an ensemble.

    Attributes:
        inputs: resolution in pixels and view by name of the input. members: see `EnsembleCard`.
    """

    members: list[dict[str, Any]]
    resolutions: list[int]
    inputs: dict[str, dict[str, Any]]


def export_ensemble_onnx(
    members: Sequence[EnsembleMember],
    path: str | Path,
    *,
    in_chans: int,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    test_transform: str | None = None,
    name: str | None = None,
    verify_images: Mapping[EnsembleInput, Tensor | np.ndarray] | None = None,
    tolerance: float = 1e-4,
) -> EnsembleRecord:
    """Export networks that vote as one ONNX file (opset 20, any batch size), and check it before it takes its place.

    The file has one output, `probabilities` (N, classes): the sum of weight * softmax(logits / temperature). It has an
    input for each resolution and view (`EnsembleCard.inputs`), as the same photo is cropped anew for each. Batch norm
    is folded into the convolutions. The description is kept in the file's metadata and in `path` with suffix .json.

    Args:
        path: ends in .onnx.
        classes: names in the order of the logits.
        mean, std: per channel, of pixel values in 0..1.
        test_transform: kept with the file, see `Card`.
        name: kept with the file; default is the file's name.
        verify_images: for each input, the same normalised real images, NCHW; random numbers when None.
        tolerance: largest allowed difference of a probability.

    Raises:
        ExportError: members that cannot vote together or be exported, or a file that disagrees; an earlier file stays.
        StorageError: the file could not be written; an earlier file stays.
    """
    path = onnx_path(path)
    card = EnsembleCard(
        name=name or path.stem,
        in_chans=in_chans,
        classes=tuple(classes),
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        test_transform=test_transform,
        members=tuple(
            {
                "name": member.name,
                "arch": member.arch,
                "resolution": member.resolution,
                "view": member.view,
                "weight": float(member.weight),
                "temperature": float(member.temperature),
            }
            for member in members
        ),
    )
    _check_vote(card)
    # A network that votes on several views has its weights in the file once.
    copies = {id(member.network): copy.deepcopy(member.network).cpu().eval() for member in members}
    networks = [copies[id(member.network)] for member in members]
    images = _images(verify_images, card)
    for network, member in zip(networks, card.members, strict=True):
        check_card(card, network, images[_shown(member)])
    model = _to_onnx(networks, card, images)
    with atomic_path(path.with_suffix(".json")) as record_file, atomic_path(path) as file:
        file.write_bytes(model.SerializeToString())
        agreement = compare_ensemble(file, networks, images)
        _accept(agreement, tolerance, card)
        record = EnsembleRecord(
            **recorded(path.name, file, card, agreement, real_images=verify_images is not None),
            members=list(card.members),
            resolutions=sorted({member.resolution for member in members}),
            inputs={name: shown._asdict() for name, shown in card.inputs.items()},
        )
        write_json(record_file, asdict(record))
    return record


def compare_ensemble(
    path: str | Path, networks: Sequence[nn.Module], images_NCHW: Mapping[EnsembleInput, Tensor]
) -> Agreement:
    """Run an exported ensemble and the vote of its eager networks (on the CPU, in eval mode) on normalised images.

    The eager networks run one by one and their probabilities are summed in float64, apart from what was exported.

    Args:
        networks: of the members, in the order of the file.
        images_NCHW: for each input.

    Raises:
        FileFormatError: the file cannot be opened.
    """
    exported = OnnxEnsemble(path)
    batches = {shown: images.split(BATCH) for shown, images in images_NCHW.items()}
    expected = torch.zeros(len(next(iter(images_NCHW.values()))), len(exported.card.classes), dtype=torch.float64)
    with torch.inference_mode():
        for network, member in zip(networks, exported.card.members, strict=True):
            logits_NC = torch.cat([network(batch) for batch in batches[_shown(member)]]).double()
            expected += member["weight"] * (logits_NC / member["temperature"]).softmax(1)
    parts = range(len(next(iter(batches.values()))))
    inputs = exported.card.inputs
    found = [
        exported.probabilities({name: batches[shown][part].numpy() for name, shown in inputs.items()}) for part in parts
    ]
    return Agreement.between(np.concatenate(found), expected.numpy())


class _Vote(nn.Module):
    """Members in one graph; `sources` is the number of the input that each of them reads."""

    def __init__(self, networks: Sequence[nn.Module], card: EnsembleCard) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        order = list(card.inputs.values())
        self.sources = [order.index(_shown(member)) for member in card.members]
        self.weights = [member["weight"] for member in card.members]
        self.temperatures = [member["temperature"] for member in card.members]

    def forward(self, images: list[Tensor]) -> Tensor:
        votes = [
            weight * (network(images[source]) / temperature).softmax(1)
            for network, source, weight, temperature in zip(
                self.networks, self.sources, self.weights, self.temperatures, strict=True
            )
        ]
        return reduce(torch.add, votes)


def _shown(member: Mapping[str, Any]) -> EnsembleInput:
    """What a member of a card is shown."""
    return EnsembleInput(member["resolution"], member["view"])


def _to_onnx(networks: Sequence[nn.Module], card: EnsembleCard, images: Mapping[EnsembleInput, Tensor]) -> Any:
    """The vote as an ONNX model that carries its description."""
    folded = {
        network: fold_batch_norm(network, images[_shown(member)][:1])
        for network, member in zip(networks, card.members, strict=True)
    }
    inputs = {name: shown.resolution for name, shown in card.inputs.items()}
    return to_model(_Vote([folded[network] for network in networks], card), inputs, VOTE, card, as_list=True)


def _check_vote(card: EnsembleCard) -> None:
    """Raise ExportError unless the members have a vote that can be counted."""
    weights, temperatures = ([member[key] for member in card.members] for key in ("weight", "temperature"))
    if not weights:
        raise ExportError(f"{card.name} has no members")
    if not all(weight >= 0 for weight in weights) or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise ExportError(f"{card.name} has weights {weights}; they must not be negative and sum to one")
    if not all(0 < temperature < math.inf for temperature in temperatures):
        raise ExportError(f"{card.name} has temperatures {temperatures}; they must be positive numbers")


def _images(
    given: Mapping[EnsembleInput, Tensor | np.ndarray] | None, card: EnsembleCard
) -> dict[EnsembleInput, Tensor]:
    """Images to verify on, for every input and equally many; random numbers where none were given."""
    needed = list(card.inputs.values())
    if given is not None and given.keys() != set(needed):
        wanted, found = (" and ".join(f"{size} px {view}" for size, view in some) for some in (needed, sorted(given)))
        raise ExportError(f"images to verify {card.name} on are needed as {wanted}, not {found or 'none'}")
    images = {
        shown: images_to_verify(None if given is None else given[shown], card, shown.resolution) for shown in needed
    }
    if len(counts := {len(some) for some in images.values()}) > 1:
        raise ExportError(f"images to verify {card.name} on must be the same for every input, not {sorted(counts)}")
    return images


def _accept(agreement: Agreement, tolerance: float, card: EnsembleCard) -> None:
    """Raise ExportError unless the difference is a number within the tolerance."""
    if not agreement.max_abs_difference <= tolerance:
        raise ExportError(
            f"the exported {card.name} differs from the vote of its networks by {agreement.max_abs_difference:.3g} "
            f"(tolerance {tolerance:g}; best class equal on {agreement.top1_agreement:.1%} of "
            f"{agreement.images_compared} images); nothing was written"
        )
