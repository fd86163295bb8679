"""`ofa ensemble`: subsets of a run's networks that vote, chosen on hold-out images, told on test images."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..files import atomic_path, write_json
from ..run import Run, check_file_name
from ..settings import setting
from .ensemble_screen import print_ensembles
from .scoring import MeasuringConfig, check_measuring
from .screen import console

if TYPE_CHECKING:
    from ..data import DataSource
    from ..search.ensemble.blocks import Block

Blocks = Callable[[], "Iterable[Block]"]

# What ensembles were chosen with, for the record; the networks tell their views themselves.
_SETTINGS = ("images", "per_class", "top", "at_least", "most", "lead", "algorithm", "evaluations", "seed")


@dataclass
class EnsembleConfig(MeasuringConfig):
    """Which networks may vote, how ensembles are chosen, and what is written."""

    name: str = setting("ensembles", "name of the result")
    search: str | None = setting(None, "search result whose networks vote; null: the newest")
    networks: int = setting(100, "most networks: the front of the search, then those next to it")
    views: list[str] | None = setting(
        None,
        "what networks can be shown, each as a member that costs the same: plain, mirrored, zoomed, zoomed-mirrored; "
        "null: plain and, with criterion=likelihood and no preset, what training showed (mirrored, parts of photos)",
    )
    per_class: int | None = setting(
        None, "hold-out images of each class to choose by, at most; null: all; another number predicts anew"
    )
    rule: str = setting("both", "latency of an ensemble: summed (one member after the other), maximal (side by side)")
    at_least: int = setting(1, "fewest members; 1: single networks compete with ensembles")
    most: int = setting(100, "ensembles to deliver, chosen by hypervolume; few leave gaps that nothing else fills")
    criterion: str = setting(
        "likelihood",
        "likelihood: of the true classes, with shares of the vote; holds best on new images | "
        "accuracy: most hold-out images right, equal shares; both look at all sets of up to three members",
    )
    lead: float | None = setting(
        None,
        "criterion=likelihood: standard errors by which an ensemble must be likelier than the network it replaces; "
        "null: 4 for summed, 1 for maximal latency",
    )
    temperature: bool | None = setting(
        None, "fit a temperature for every network on the hold-out images; null: with criterion=likelihood"
    )
    top: int | None = setting(None, "classes kept per image and network; null: all up to 256 classes, else 32")
    preset: str | None = setting(
        None,
        "a published search instead of ours, with top-5 votes: ofa3_summed (200 generations), ofa3_summed_1000, "
        "ofa3_max (2,000), ofa3_max_1500 (in place of nsga2 with seed 2)",
    )
    algorithm: str = setting("nsga2", "with preset: nsga2, smsemoa or spea2")
    evaluations: int | None = setting(None, "criterion=accuracy: most ensembles to count images for; null: no limit")
    seed: int = setting(
        0,
        "same seed, same predictions: same ensembles (by likelihood nothing is random); published runs of a preset: "
        "1, 2, 3",
    )
    write_csv: str | None = setting(None, "new folder for predictions as published: model_NN_class.csv, ..._prob.csv")
    holdout_csv: str | None = setting(None, "in place of run: folder of published files that ensembles are chosen on")
    test_csv: str | None = setting(None, "with holdout_csv: folder of published files that are counted at the end")
    holdout_images: int | None = setting(None, "with holdout_csv: how many images its files should have, if known")
    test_images: int | None = setting(None, "with test_csv: the same for its files")
    latencies: str | None = setting(None, "with holdout_csv: file of milliseconds, in the order of the networks")
    out: str | None = setting(None, "with holdout_csv: JSON file for the result")


def ensemble(config: EnsembleConfig) -> dict[str, Any]:
    """Choose ensembles of a run's networks; prints a table, writes ensembles/<name>.json.

    Predictions are kept in ensembles/predictions/ as they are made, so the command goes on where it was stopped. Test
    images are looked at once, when everything is chosen.

    Raises:
        RunError, ConfigError, DataError, FileFormatError, StorageError.
    """
    _check(config)
    if config.holdout_csv is not None:
        from .ensemble_csv import ensemble_of_csv

        return ensemble_of_csv(config)
    from ..data import VIEWS
    from ..search.ensemble.tables import blocks_together
    from .prediction_tables import calibrated_networks, candidates_of, collect_tables, voters

    run = Run.open(config.run)
    candidates = candidates_of(run, config.search, config.networks)
    source = run.load_data()
    views = _views(config, run, source)
    for view in views:
        VIEWS[view].cut_from(source.holdout)  # says at once which there are none of
    networks = calibrated_networks(
        run,
        source,
        config.compute,
        calibration_images=config.calibration_images,
        batch_size=config.batch_size,
    )
    out = console()
    with out.status("predicting") as status:

        def collect(part: Any, limit: int | None = None, per_class: int | None = None) -> Blocks:
            tables = collect_tables(
                run,
                part,
                candidates,
                source,
                networks,
                views=views,
                top=config.top,
                limit=limit,
                per_class=per_class,
                networks_at_once=config.networks_at_once,
                progress=lambda done, of: status.update(f"{part} images: {done} of {of} networks"),
            )
            return partial(blocks_together, tables)

        holdout = collect("holdout", config.images, config.per_class)
        found = {
            "name": config.name,
            "search": candidates.search,
            "device": candidates.device,
            "weights_digest": run.weights_digest(),
            "calibration_images": config.calibration_images,
            "batch_size": config.batch_size,
            "classes": len(source.classes),
            **select(
                config,
                holdout,
                voters(candidates.members, views),
                lambda: collect("test") if len(source.test) else None,
                status.update,
            ),
        }
    write_json(run.ensembles_path(config.name), found)
    if config.write_csv is not None:
        _write_csv(config.write_csv, run, ("holdout", "test") if len(source.test) else ("holdout",), views)
    print_ensembles(found, str(run.folder))
    out.print(f"written: {run.ensembles_path(config.name)}; page: ofa report run={run.folder}")
    return found


def select(
    config: EnsembleConfig,
    holdout: Blocks,
    members: list[dict[str, Any]],
    test_blocks: Callable[[], Blocks | None],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Choose by both rules on the hold-out images, then ask for the test images and count once.

    Single networks, which ensembles are compared with, are shown the images as they are.

    Returns:
        networks, holdout_images, test_images and rules, as ensembles/<name>.json has them.
    """
    import numpy as np

    from ..data.views import PLAIN
    from ..search.ensemble.delivery import counts_of, described, singles_front
    from ..search.ensemble.ensembles import reference_point
    from ..search.ensemble.likelihood import select_by_likelihood
    from ..search.ensemble.published import PRESETS, published_selection
    from ..search.ensemble.selection import select_ensembles
    from ..search.ensemble.temperature import fit_temperatures
    from ..search.ensemble.votes import VoteTable

    preset = None if config.preset is None else PRESETS[config.preset]
    latencies = np.array([member["latency_ms"] for member in members], dtype=np.float64)
    names = [member["name"] for member in members]
    alone = np.eye(len(names), dtype=bool)
    single = np.array([member["view"] == PLAIN for member in members])
    likeliest = preset is None and config.criterion == "likelihood"
    tempered = likeliest if config.temperature is None else config.temperature
    temperatures = fit_temperatures(holdout) if tempered else np.ones(len(names))

    def blocks_of(blocks: Blocks) -> "Iterable[Block]":
        return (block.tempered(temperatures) for block in blocks()) if tempered else blocks()

    def votes_of(blocks: Blocks) -> VoteTable:
        return VoteTable(blocks_of(blocks), top=None if preset is None else preset.top)

    votes = votes_of(holdout)
    given = np.concatenate([b.label_probabilities() for b in blocks_of(holdout)], axis=1) if likeliest else None
    fronts = {}
    for rule in _rules(config):
        say(f"choosing ensembles, {rule} latency")
        started = time.perf_counter()
        if given is not None:
            front = select_by_likelihood(
                votes,
                given,
                latencies,
                rule,
                single=single,
                at_least=config.at_least,
                most=config.most,
                lead=config.lead,
            )
        elif preset is None:
            front = select_ensembles(
                votes,
                latencies,
                rule,
                at_least=config.at_least,
                most=config.most,
                evaluations=config.evaluations,
                seed=config.seed,
            )
        else:
            front = published_selection(votes, latencies, preset, config.algorithm, config.seed)
        singles = singles_front(front, votes, latencies, alone[single])
        fronts[rule] = (front, singles, time.perf_counter() - started)
    test = test_blocks()
    test_votes = None if test is None else votes_of(test)
    images = 0 if test_votes is None else test_votes.images
    test_alone = None if test_votes is None else test_votes.correct(alone)
    rules = {}
    for rule, (front, singles, seconds) in fronts.items():
        if test_alone is not None:
            # One reference for both parts, so that networks which are worse on test images count there.
            on_test = reference_point(latencies, test_alone, images, front.rule)
            both = (front.reference[0], max(front.reference[1], on_test[1]))
            front, singles = replace(front, reference=both), replace(singles, reference=both)
        counts = [None if test_votes is None else counts_of(one, test_votes) for one in (singles, front)]
        rules[rule] = {
            "reference": list(front.reference),
            "evaluations": front.evaluations,
            "seconds": seconds,
            "singles": described(singles, names, "single", counts[0], images),
            "ensembles": described(front, names, rule, counts[1], images),
        }
    top1 = votes.correct(alone) / votes.images
    test_top1 = [None] * len(names) if test_alone is None else (test_alone / images).tolist()
    return {
        "criterion": "accuracy" if given is None else "likelihood",
        "preset": config.preset,
        "settings": {key: getattr(config, key) for key in _SETTINGS},
        "networks": [
            {key: member.get(key) for key in ("name", "arch", "latency_ms", "macs", "params", "memory_bytes", "view")}
            | {"temperature": temperature, "holdout_top1": on_holdout, "test_top1": on_test}
            for member, temperature, on_holdout, on_test in zip(
                members, temperatures.tolist(), top1.tolist(), test_top1, strict=True
            )
        ],
        "holdout_images": votes.images,
        "test_images": None if test_votes is None else images,
        "rules": rules,
    }


def _views(config: EnsembleConfig, run: Run, source: "DataSource") -> list[str]:
    """What networks are shown: by default what training showed them, where many votes are worth their while."""
    from ..data import PLAIN, VIEWS, EncodedImages

    if config.views is not None:
        return [view for view in VIEWS if view in config.views]
    if config.preset is not None or config.criterion != "likelihood":
        return [PLAIN]
    trained = run.read_config().augment
    flip = source.train.mirror if trained.flip is None else trained.flip
    parts = isinstance(source.train, EncodedImages) and trained.crop_scale < 1
    return [view for view in VIEWS if (flip or "mirrored" not in view) and (parts or "zoomed" not in view)]


def _rules(config: EnsembleConfig) -> list[str]:
    from ..search.ensemble.published import PRESETS

    if config.preset is not None:
        return [PRESETS[config.preset].rule]
    return ["summed", "maximal"] if config.rule == "both" else [config.rule]


def _check(config: EnsembleConfig) -> None:
    from ..search.ensemble.ensembles import RULES
    from ..search.ensemble.published import ALGORITHMS, PRESETS

    check_file_name(config.name)
    for name, value, known in (
        ("rule", config.rule, ("both", *RULES)),
        ("preset", config.preset, (None, *PRESETS)),
        ("algorithm", config.algorithm, ALGORITHMS),
        ("criterion", config.criterion, ("likelihood", "accuracy")),
    ):
        if value not in known:
            raise ConfigError(f"{name}={value}: use {', '.join(word for word in known if word)}")
    _check_views(config.views)
    least = {"networks": 2, "at_least": 1, "most": 1, "top": 1, "per_class": 1, "holdout_images": 1, "test_images": 1}
    check_measuring(config, **least, lead=0, seed=0)
    if config.holdout_csv is not None and (config.run is not None or not config.latencies or not config.out):
        raise ConfigError("holdout_csv needs latencies=FILE and out=FILE, and no run")
    _check_misplaced(config)
    if config.preset is not None and config.top is not None and config.top < PRESETS[config.preset].top:
        raise ConfigError(f"top={config.top}: preset={config.preset} votes with {PRESETS[config.preset].top} classes")
    if config.write_csv is not None:
        _check_write_csv(config)


def _check_views(views: list[str] | None) -> None:
    """Raise ConfigError unless networks can be shown these, among them the images as they are."""
    from ..data.views import PLAIN, VIEWS

    if views is None:
        return
    if unknown := [view for view in views if view not in VIEWS]:
        raise ConfigError(f"views: {unknown[0]!r} is none; use {', '.join(VIEWS)}")
    if PLAIN not in views or len(set(views)) < len(views):
        raise ConfigError(f"views=[{','.join(views)}]: each once, {PLAIN} among them, as single networks see no other")


def _check_misplaced(config: EnsembleConfig) -> None:
    """Raise ConfigError for an option that would be ignored."""
    default = EnsembleConfig()
    predicted = ("search", "networks", "views", "per_class", "top", "write_csv")
    predicted += ("images", "calibration_images", "batch_size", "networks_at_once")
    own, files = config.preset is None, ("test_csv", "latencies", "out", "holdout_images", "test_images")
    for fits, names, where in (
        (config.holdout_csv is not None, files, "with holdout_csv=FOLDER"),
        (config.holdout_csv is None, predicted, "with run=FOLDER; published files are what they are"),
        (not own, ("algorithm",), "with preset"),
        (own, ("rule", "criterion", "at_least", "most"), "without preset, which brings its own"),
        (own and config.criterion == "likelihood", ("lead",), "with criterion=likelihood, and without preset"),
        (config.at_least == 1, ("lead",), "with at_least=1: it is over networks alone"),
        (own and config.criterion == "accuracy", ("evaluations",), "with criterion=accuracy, and without preset"),
    ):
        for name in names:
            value = getattr(config, name)
            if not fits and value != getattr(default, name):
                raise ConfigError(f"{name}={value}: only {where}")


def _check_write_csv(config: EnsembleConfig) -> None:
    """Raise ConfigError where predictions could not be written as published in the end."""
    from ..search.ensemble.published_checks import CLASSES_PER_ROW
    from ..search.ensemble.published_csv import check_new_folder

    assert config.write_csv is not None
    check_new_folder(config.write_csv)
    classes = len(Run.open(config.run).description()["classes"])
    if min(classes, config.top or classes) < CLASSES_PER_ROW:
        kept = f"top={config.top}" if classes >= CLASSES_PER_ROW else f"the run's {classes} classes"
        raise ConfigError(f"write_csv: the published files hold {CLASSES_PER_ROW} classes per image, not {kept}")


def _write_csv(folder: str, run: Run, parts: Sequence[str], views: Sequence[str]) -> None:
    from ..search.ensemble.published_csv import write_published
    from ..search.ensemble.tables import PredictionTable
    from .prediction_tables import predictions_path

    with atomic_path(folder) as temporary:
        for part in parts:
            tables = [PredictionTable(predictions_path(run, part, view)) for view in views]
            write_published(tables, temporary / part)
