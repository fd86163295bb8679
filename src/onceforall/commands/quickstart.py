"""`ofa quickstart`: the whole chain on images that come with the installation."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..configuration import check_least, compose
from ..errors import ConfigError
from ..run import Run
from ..settings import setting
from ..train.config import TrainConfig
from .evaluate import EvaluateConfig, evaluate
from .export import ExportConfig, export
from .measure import MeasureConfig, measure
from .report import ReportConfig, report
from .screen import console
from .search import ConstraintConfig, SearchConfig, search
from .train import train


@dataclass
class QuickstartConfig:
    """How much of everything; the defaults take a few minutes on two cores."""

    run: str = setting("runs/quickstart", "folder of the run; an interrupted one goes on")
    epochs: float | None = setting(None, "passes over the training images; null: those of experiment=digits")
    budget: int = setting(100, "networks evaluated by the search")
    rounds: int = setting(10, "how often every part is measured, 2 or more")
    latency_share: float = setting(
        0.5, "limit of the search between the fastest network's latency (0) and the slowest's (1)"
    )


def quickstart(config: QuickstartConfig) -> Path:
    """Train, evaluate, measure, search, export and report; the last line printed is the path of the report."""
    check_least(config, budget=1, rounds=2)
    if not 0 <= config.latency_share <= 1:
        raise ConfigError(f"latency_share={config.latency_share:g}: must be from 0 to 1")
    out = console()
    started = time.perf_counter()

    def step(title: str) -> None:
        out.print(f"\n[bold]{title}[/bold]  ({time.perf_counter() - started:.0f} s)")

    run = config.run
    step(f"1/6 train one supernet on 8x8 digits: ofa train experiment=digits run={run}")
    recipe = compose("train", TrainConfig, ["experiment=digits", f"run={run}"])
    train(recipe if config.epochs is None else replace(recipe, epochs=config.epochs))
    step(f"2/6 accuracy of its ends: ofa evaluate run={run} arch=largest,smallest")
    evaluate(EvaluateConfig(run=run, arch="largest,smallest"))
    step(f"3/6 latency on this machine: ofa measure run={run}")
    latency = measure(MeasureConfig(run=run, rounds=config.rounds))
    space = Run.open(run).space()
    fastest, slowest = latency.predict([space.smallest, space.largest])
    limit = float(f"{fastest + config.latency_share * (slowest - fastest):.2g}")
    limit = max(limit, float(f"{1.01 * fastest:.3g}"))  # rounding must not exclude the fastest
    command = f"ofa search run={run} constraint.latency_ms={limit:g} budget={config.budget}"
    step(f"4/6 the front and the best within a budget: {command}")
    search(SearchConfig(run=run, constraint=ConstraintConfig(latency_ms=limit), budget=config.budget))
    step(f"5/6 files for deployment: ofa export run={run} arch=chosen,largest,smallest")
    export(ExportConfig(run=run, arch="chosen,largest,smallest"))
    step(f"6/6 everything on one page: ofa report run={run}")
    return report(ReportConfig(run=run))
