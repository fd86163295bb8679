"""`ofa report`: one page about a run."""

from dataclasses import dataclass
from pathlib import Path

from ..run import Run
from ..settings import setting
from .screen import console


@dataclass
class ReportConfig:
    """Which run, and where the page goes."""

    run: str | None = setting(None, "folder of a trained run")
    output: str | None = setting(None, "path of the page; null: report.html in the run folder")


def report(config: ReportConfig) -> Path:
    """Write one self-contained HTML page about everything the run folder holds; prints and returns its path.

    Raises:
        RunError: no run. StorageError: the page could not be written; an earlier page is intact.
    """
    from ..report import write_report

    run = Run.open(config.run)
    path = Path(config.output) if config.output else run.report_path
    write_report(run.folder, path)
    console().print(str(path), soft_wrap=True)
    return path
