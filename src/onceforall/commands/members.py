"""What is known about a network, in the one form that search results, evaluations and the report share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..cost import count_macs, count_params, peak_memory
from ..space import Arch, KdwLayout, SearchSpace
from .screen import amount, millions, milliseconds, percent

if TYPE_CHECKING:
    from ..cost import LatencyModel
    from ..train.evaluate import Evaluation

COLUMNS = ("network", "top-1", "latency", "MACs", "parameters", "peak memory", "resolution", "depths")


def describe(space: SearchSpace, archs: Sequence[Arch], latency: "LatencyModel | None" = None) -> list[dict[str, Any]]:
    """Name and costs of architectures; accuracy is added by whoever knows it.

    Units: `latency_ms` milliseconds predicted by `latency` (None without a model, or where it was not measured at the
    resolution), `macs`, `params`, `memory_bytes` peak activation bytes in float32 at batch 1.
    """
    if not archs:
        return []
    latencies = [_latency(arch, latency) for arch in archs]
    costs = zip(
        archs, count_macs(space, archs), count_params(space, archs), peak_memory(space, archs), latencies, strict=True
    )
    return [
        {
            "arch": arch.to_dict(),
            "name": arch.name,
            "top1": None,
            "top1_error": None,
            "latency_ms": ms,
            "macs": int(macs),
            "params": int(params),
            "memory_bytes": int(memory),
            "measured": False,
        }
        for arch, macs, params, memory, ms in costs
    ]


def _latency(arch: Arch, latency: "LatencyModel | None") -> float | None:
    if latency is None or arch.resolution not in latency.resolutions:
        return None
    return float(latency.predict([arch])[0])


def with_accuracy(member: dict[str, Any], evaluation: "Evaluation") -> dict[str, Any]:
    """The member with its measured accuracy (0 to 1) and standard error."""
    return {**member, "top1": evaluation.top1, "top1_error": evaluation.top1_error, "measured": True}


def short_form(space: SearchSpace, member: dict[str, Any]) -> str:
    """(kernel size, depth, width) where these three say everything, else nothing."""
    if not isinstance(space.layout, KdwLayout):
        return ""
    (blocks,) = Arch.from_dict(member["arch"]).stages
    return f"({blocks[0].kernel_size},{len(blocks)},{blocks[0].expand_ratio:g})"


def row(member: dict[str, Any], note: str = "") -> tuple[str, ...]:
    """The cells of `COLUMNS` for one member; the note follows its name."""
    arch = Arch.from_dict(member["arch"])
    return (
        f"{member['name']} {note}".rstrip(),
        percent(member["top1"], member["top1_error"]),
        milliseconds(member.get("latency_ms")),
        millions(member["macs"]),
        millions(member["params"]),
        amount(member["memory_bytes"]),
        f"{arch.resolution} px",
        "-".join(map(str, arch.depths)),
    )
