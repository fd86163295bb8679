"""How commands print: one console, plain tables, numbers with units a person reads at a glance."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 140  # logs and pipes have no width of their own; 80 would break every table


def is_main_process() -> bool:
    """Whether this process may print and write: rank 0 of torchrun, mpirun or srun, or a process on its own."""
    return rank() == "0"


def rank() -> str:
    """The number of this process among those that torchrun, mpirun or srun started; 0 on its own."""
    names = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
    return next((os.environ[name] for name in names if os.environ.get(name)), "0")


def console() -> "Console":
    """A console on the present stdout; silent on all but the first process of a distributed run."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False, quiet=not is_main_process())


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> "Table":
    """A table without frame; all columns but the first are right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def millions(count: float) -> str:
    """MACs or parameters: `4_210_000` as `4.21 M`."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f}"


def quantity(count: int) -> str:
    """An exact count below a billion, `2.18e19` above."""
    return f"{count:,}" if count < 10**9 else f"{count:.3g}".replace("e+", "e")


def percent(share: float | None, error: float | None = None) -> str:
    """`0.9731, 0.0031` as `97.3 ± 0.3 %`."""
    if share is None:
        return "-"
    return f"{100 * share:.1f} %" if error is None else f"{100 * share:.1f} ± {100 * error:.1f} %"


def milliseconds(value: float | None) -> str:
    """Three significant digits with the unit."""
    return "-" if value is None else f"{value:.3g} ms"


def amount(count: float) -> str:
    """Bytes in the units of the report: `184 kB`."""
    from ..report.words import size

    return size(count)
