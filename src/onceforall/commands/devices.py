"""`ofa search devices=[...]`: one supernet, several devices, the best network for each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InfeasibleConstraint
from ..files import write_json
from ..run import Run, check_file_name
from ..space import Arch
from .scoring import costs_of, covered_space
from .screen import console, millions, milliseconds, percent, table
from .search import ConstraintConfig, SearchConfig, search_one

if TYPE_CHECKING:
    from ..cost import LatencyModel
    from ..search import SearchResult


def search_devices(config: SearchConfig) -> "SearchResult":
    """Search for every device, print one table, write search/<name>-<device>.json each and devices/<name>.json.

    All devices share the measured accuracies. Each is searched twice: what was measured for one may be the best for
    another, and the second time nothing new is measured.

    Raises:
        ConfigError: no devices, a device twice, or another number of limits. RunError: a device that is not measured.
        InfeasibleConstraint: no network meets the limits of a device.
    """
    run = Run.open(config.run)
    devices = list(config.devices or ())
    if not devices or len(set(devices)) < len(devices):
        raise ConfigError(f"devices={devices}: name different measured devices, for example devices=[phone,laptop]")
    limits = config.latency_limits or [config.constraint.latency_ms] * len(devices)
    if len(limits) != len(devices):
        raise ConfigError(f"latency_limits has {len(limits)} values for {len(devices)} devices; give one for each")
    models = {device: run.load_latency(device) for device in devices}
    name = config.name or "devices"
    check_file_name(name)
    for device, limit in zip(devices, limits, strict=True):
        _check_feasible(run, device, models[device], replace(config.constraint, latency_ms=limit), config)
    results: dict[str, SearchResult] = {}
    for again in (False, True):
        for device, limit in zip(devices, limits, strict=True):
            constraint = replace(config.constraint, latency_ms=limit)
            alone = replace(config, devices=None, latency_limits=None, device=device, constraint=constraint)
            alone = replace(alone, front_cost=config.front_cost or "latency_ms", name=f"{name}-{device}")
            results[device] = search_one(alone, quiet=True, notes=not again)
    found = {
        "name": name,
        "devices": {
            device: _described(result, models, limit)
            for (device, result), limit in zip(results.items(), limits, strict=True)
        },
    }
    write_json(run.devices_path(name), found)
    _show(run, found)
    return results[devices[-1]]


def _check_feasible(
    run: Run, device: str, model: "LatencyModel", constraint: ConstraintConfig, config: SearchConfig
) -> None:
    """Raise InfeasibleConstraint, naming the device, before the search for any of them begins."""
    from ..search import require_feasible
    from ..search.proposals import Goal

    space, _ = covered_space(run, model)
    goal = Goal.of(costs_of(space, model), constraint.limits(), config.front_cost or "latency_ms")
    try:
        require_feasible(space, goal.constraints, config.seed)
    except InfeasibleConstraint as error:
        raise InfeasibleConstraint(f"{device}: {error}") from error


def _described(result: "SearchResult", models: "Mapping[str, LatencyModel]", limit: float | None) -> dict[str, Any]:
    """The chosen network of a device, with its latency on all of them."""
    chosen = result.chosen or max(result.front, key=lambda member: member.top1)
    return {
        "limit_ms": limit,
        "front": len(result.front),
        "chosen": chosen.to_dict()
        | {"latencies_ms": {name: _on(model, chosen.arch) for name, model in models.items()}},
    }


def _on(model: "LatencyModel", arch: Arch) -> float | None:
    return float(model.predict([arch])[0]) if arch.resolution in model.resolutions else None


def _show(run: Run, found: dict[str, Any]) -> None:
    out = console()
    devices = found["devices"]
    rows = [
        (
            device,
            "-" if entry["limit_ms"] is None else milliseconds(entry["limit_ms"]),
            entry["chosen"]["name"],
            percent(entry["chosen"]["top1"], entry["chosen"]["top1_error"]),
            *(milliseconds(entry["chosen"]["latencies_ms"][other]) for other in devices),
            millions(entry["chosen"]["macs"]),
            entry["front"],
        )
        for device, entry in devices.items()
    ]
    columns = ("device", "limit", "network", "top-1", *(f"on {device}" for device in devices), "MACs", "front")
    out.print(table(f"{run.folder}: the best network for each device", columns, rows))
    out.print(f"written: {run.devices_path(found['name'])}; a network by name: ofa export run={run.folder} arch=NAME")
