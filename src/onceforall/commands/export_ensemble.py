"""`ofa export ensemble=...`: networks that vote, as one file or as several that run side by side."""

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..files import atomic_path, read_json, write_json
from ..run import Run, check_file_name
from .ensemble_argument import VotingEnsemble, parse_ensemble
from .export import ExportConfig, test_images
from .prediction_tables import calibrated_networks
from .screen import amount, console, milliseconds, percent, table

if TYPE_CHECKING:
    import torch

    from ..data import DataSource
    from ..deploy import EnsembleInput, EnsembleMember

Record = dict[str, Any]


def export_ensemble(config: ExportConfig) -> Record:
    """Export an ensemble with the very statistics it was chosen with, and compare its latency with the promise.

    One file: deploy/<name>.onnx, which averages its members. Several: deploy/<name>/<network>.onnx. The record,
    deploy/<name>.json, holds weights and temperatures either way. What was exported under the name before is replaced.

    Returns:
        The record, also of an ensemble of several files.

    Raises:
        ExportError: a file does not agree with its networks; nothing is left behind, what was there before stays.
        RunError, ConfigError, DataError, FileFormatError, MeasurementError, StorageError.
    """
    _check(config)
    run = Run.open(config.run)
    description = run.description()  # says so when training has not finished
    found = parse_ensemble(run, config.ensemble or "")
    together = found.rule == "summed" if config.together is None else config.together
    name = config.name or found.name
    other = run.deploy_path(name, "" if together else ".onnx")
    replaced = other.exists()
    out = console()
    with out.status(f"exporting {name}"):
        record = _export(run, found, name, together, config.images, description)
        if config.measure:
            record |= _measured(run, found, record, together)
            write_json(run.deploy_path(name, ".json"), record)
    _show(run, found, record)
    if replaced:
        out.print(f"removed: {other}, which was exported as {name} before; name=OTHER keeps both", soft_wrap=True)
    return record


def _check(config: ExportConfig) -> None:
    if config.arch != ExportConfig.arch:
        raise ConfigError(f"arch={config.arch} and ensemble={config.ensemble}: give one of them")
    if config.finetuned:
        raise ConfigError("finetuned=true is for arch=...; an ensemble was chosen with the weights of the supernet")
    if config.name:
        check_file_name(config.name)


def _export(
    run: Run, found: VotingEnsemble, name: str, together: bool, images: int, description: dict[str, Any]
) -> Record:
    """Write the files and their record."""
    from ..deploy import EnsembleInput

    _check_folder(run, name)
    source = run.load_data()
    described = {key: description[key] for key in ("in_chans", "classes", "mean", "std")}
    described["test_transform"] = source.test.test_transform
    members = _members(run, found, source)
    shown = {EnsembleInput(arch.resolution, view) for arch, view in zip(found.archs, found.views, strict=True)}
    verify_images = {one: test_images(source, one.resolution, images, one.view) for one in sorted(shown)}
    kind = {
        "ensemble": found.name,
        "result": found.result,
        "rule": found.rule,
        "together": together,
        "device": found.device,
        "promised_latency_ms": found.latency_ms,
        "holdout_top1": found.record["holdout_top1"],
        "test_top1": found.record["test_top1"],
    }
    if together:
        from dataclasses import asdict

        from ..deploy import export_ensemble_onnx

        path = run.deploy_path(name, ".onnx")
        record = asdict(export_ensemble_onnx(members, path, name=name, verify_images=verify_images, **described)) | kind
        shutil.rmtree(run.deploy_path(name, ""), ignore_errors=True)
    else:
        record = _side_by_side(run, members, name, verify_images, described) | kind
    write_json(run.deploy_path(name, ".json"), record)
    return record


def _check_folder(run: Run, name: str) -> None:
    """Raise ConfigError where the folder of side-by-side files is not an earlier export, which may be replaced."""
    folder = run.deploy_path(name, "")
    if not folder.exists():
        return
    record = read_json(record_path) if (record_path := run.deploy_path(name, ".json")).is_file() else {}
    if record.get("file") != f"{name}/":
        raise ConfigError(f"{folder} is there but no earlier export of an ensemble; give another name=...")


def _members(run: Run, found: VotingEnsemble, source: "DataSource") -> "list[EnsembleMember]":
    """The networks, with the statistics that they were chosen with."""
    from ..deploy import EnsembleMember

    networks = calibrated_networks(
        run, source, "cpu", calibration_images=found.calibration_images, batch_size=found.batch_size
    )
    plain = {arch: networks.network(arch) for arch in found.archs}
    return [
        EnsembleMember(plain[arch], arch.resolution, name, weight, temperature, arch.to_dict(), view)
        for arch, name, weight, temperature, view in zip(
            found.archs, found.names, found.weights, found.temperatures, found.views, strict=True
        )
    ]


def _side_by_side(
    run: Run,
    members: "list[EnsembleMember]",
    name: str,
    verify_images: "dict[EnsembleInput, torch.Tensor]",
    described: dict[str, Any],
) -> Record:
    """Write one file for each member; all of them take their place at once."""
    from ..deploy import EnsembleInput, export_onnx

    folder = run.deploy_path(name, "")
    records = []
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        for member in members:
            records.append(
                export_onnx(
                    member.network,
                    fresh / f"{member.name}.onnx",
                    resolution=member.resolution,
                    arch=member.arch,
                    view=member.view,
                    name=member.name,
                    verify_images=verify_images[EnsembleInput(member.resolution, member.view)],
                    **described,
                )
            )
        run.deploy_path(name, ".json").unlink(missing_ok=True)  # it describes files that are replaced now
        run.deploy_path(name, ".onnx").unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
    return {
        "file": f"{name}/",
        "files": [f"{name}/{record.file}" for record in records],
        "format": "onnx",
        "name": name,
        "members": [
            {
                "name": member.name,
                "arch": member.arch,
                "resolution": member.resolution,
                "view": member.view,
                "weight": member.weight,
                "temperature": member.temperature,
                "file": f"{name}/{record.file}",
                "bytes": record.bytes,
                "sha256": record.sha256,
                "max_abs_difference": record.max_abs_difference,
                "top1_agreement": record.top1_agreement,
            }
            for member, record in zip(members, records, strict=True)
        ],
        "resolutions": sorted({member.resolution for member in members}),
        **described,
        "max_abs_difference": max(record.max_abs_difference for record in records),
        "top1_agreement": min(record.top1_agreement for record in records),
        "images_compared": records[0].images_compared,
        "real_images": True,
        "bytes": sum(record.bytes for record in records),
    }


def _measured(run: Run, found: VotingEnsemble, record: Record, together: bool) -> Record:
    """Latency in milliseconds on this machine, with threads and batch of the device it was promised for."""
    from ..cost import Timing, describe_machine, measure_latencies, measure_together

    timing = Timing(seconds_per_round=0.05)
    if found.device in run.devices():
        model = run.load_latency(found.device)
        timing = replace(timing, threads=model.threads, batch=model.batch)
    files = [run.folder / "deploy" / file for file in record.get("files", [record["file"]])]
    latency = measure_latencies(files, timing)[0] if together else measure_together(files, timing)
    return {
        "latency_ms": latency.estimate_ms,
        "threads": timing.threads,
        "batch": timing.batch,
        "cores": describe_machine()["usable_cores"],
    }


def _show(run: Run, found: VotingEnsemble, record: Record) -> None:
    out = console()
    rows = [
        (member["name"], f"{member['resolution']} px", f"{member['weight']:.3f}", f"{member['temperature']:.2f}")
        for member in record["members"]
    ]
    out.print(table(f"members of {found.name}", ("member", "input", "weight", "temperature"), rows))
    out.print(
        f"written: {run.folder / 'deploy' / record['file']}, {amount(record['bytes'])}; "
        f"compared on {record['images_compared']} images: largest difference "
        f"{record['max_abs_difference']:.1e}, same class {percent(record['top1_agreement'])}"
    )
    if "latency_ms" in record:
        _show_latency(found, record)
    if found.preset:
        out.print(
            f"chosen by {found.preset}, where each network votes for its five best classes only; the files count all"
        )


def _show_latency(found: VotingEnsemble, record: Record) -> None:
    ways = {True: "one after the other", False: "side by side"}
    device = f" on {found.device}" if found.device else ""
    cores, threads, members = record["cores"], record["threads"], len(record["members"])
    out = console()
    out.print(
        f"latency: promised {milliseconds(found.latency_ms)}{device} {ways[found.rule == 'summed']}, "
        f"measured here {milliseconds(record['latency_ms'])} {ways[record['together']]} ({cores} cores)"
    )
    if not record["together"] and cores < members * threads:
        out.print(
            f"{members} members with {threads} thread{'' if threads == 1 else 's'} each have {cores} cores only and "
            "wait for each other: side by side takes longer than the slowest member"
        )
