"""What a person sees while training: the cost before it starts, then a bar with time left, or plain lines."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from .budget import TrainingCost
from .schedule import StepPlan

_FIRST_ESTIMATE = 20  # steps after which speed is worth extrapolating
_LINE_SECONDS = 30  # between lines when the output is not a terminal


class TrainingProgress:
    """Prints the progress of a run; time left is extrapolated by multiply-adds, since steps of phases differ in cost.

    Args:
        cost: of the whole schedule.
        start: steps completed before this process began.
        console: where to print; `Console(quiet=True)` prints nothing.

    As a context it first prints the cost, and takes the bar away at the end.
    """

    def __init__(self, cost: TrainingCost, start: int, console: Console) -> None:
        self.cost = cost
        self.start = start
        self.console = console
        self.seconds = 0.0
        self._last_line = time.perf_counter()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
                _Estimate(self),
                TextColumn("{task.fields[numbers]}"),
                console=console,
            )
            self._task = self._bar.add_task("training", total=cost.steps, completed=start, numbers="")

    def __enter__(self) -> "TrainingProgress":
        """Print what training will cost, and show the bar."""
        table = Table("phase", "steps", "sub-network passes", "multiply-adds", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for phase in self.cost.phases:
            table.add_row(phase.name, f"{phase.steps:,}", f"{phase.passes:,}", f"{phase.macs:.2e}")
        table.add_row("total", f"{self.cost.steps:,}", f"{self.cost.passes:,}", f"{self.cost.macs:.2e}")
        self.console.print(table)
        if self.start:
            self.say(f"continuing after step {self.start:,} of {self.cost.steps:,}")
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, plan: StepPlan, seconds: float) -> None:
        """Count one finished step that took `seconds`."""
        self.seconds += seconds
        done = plan.step + 1
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=plan.phase.name)
        if done - self.start == _FIRST_ESTIMATE and done < self.cost.steps:
            self.say(f"estimated training time: {_spoken(self.seconds_left(done) + self.seconds)}, evaluations aside")

    def numbers(self, plan: StepPlan, loss: float, images_per_second: float) -> None:
        """Show the newest loss and speed."""
        text = f"loss {loss:.3f}  lr {plan.learning_rate:.4f}  {images_per_second:,.0f} images/s"
        if self._bar is not None:
            self._bar.update(self._task, numbers=text)
        elif time.perf_counter() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.perf_counter()
            left = _spoken(self.seconds_left(plan.step + 1))
            self.say(f"step {plan.step + 1:,}/{self.cost.steps:,}  {plan.phase.name}  {text}  {left} left")

    def say(self, text: str) -> None:
        """Print one line, above the bar."""
        say(self.console, text)

    def seconds_left(self, done: int) -> float:
        """Seconds of training left after `done` steps, at the speed so far; NaN when nothing was timed yet."""
        macs = self.cost.macs_before(done) - self.cost.macs_before(self.start)
        return (self.cost.macs - self.cost.macs_before(done)) / macs * self.seconds if macs > 0 else float("nan")


def say(console: Console, text: str) -> None:
    """Print one line as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Estimate(ProgressColumn):
    """Time left by cost, not by steps."""

    def __init__(self, progress: TrainingProgress) -> None:
        super().__init__()
        self.progress = progress

    def render(self, task: Task) -> Text:
        left = self.progress.seconds_left(int(task.completed))
        return Text("" if left != left else f"{_spoken(left)} left")


def _spoken(seconds: float) -> str:
    """A duration as a person says it: 45 s, 12 min, 3 h 20 min."""
    if not seconds < 1e9:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
