"""The order of the page: its sections, what each is made of, and which command would fill it."""

from collections.abc import Callable
from dataclasses import dataclass

from .ensembles import ensembles
from .layout import Page
from .promises import devices, verification
from .reading import RunContents
from .sections import chosen, configuration, costs, data, files, front, latency, predictor, tests, training

HEADLINE_READS = ("supernet", "searches", "tests")
"""The fields of `RunContents` that the cards above all sections are made of."""


@dataclass(frozen=True)
class Section:
    """A heading, what stands under it, and the words shown instead when the run has nothing for it yet.

    `reads` are the fields of `RunContents` that it is made of.
    """

    key: str
    title: str
    body: Callable[[RunContents, Page], str]
    reads: tuple[str, ...]
    hint: str


def sections() -> list[Section]:
    """All sections in the order of the page; `{run}` in a hint is the run's folder."""
    searched = ("searches", "supernet")
    return [
        Section(
            "training", "Training", training, ("train", "supernet"), "No training yet: <code>ofa train run={run}</code>"
        ),
        Section("front", "Front", front, ("searches",), "No search yet: <code>ofa search run={run}</code>"),
        Section("chosen", "Chosen networks", chosen, searched, "Nothing chosen yet: <code>ofa search run={run}</code>"),
        Section(
            "devices",
            "Several devices",
            devices,
            ("devices",),
            "One device at a time: <code>ofa search run={run} devices=[…]</code>",
        ),
        Section(
            "costs",
            "Costs",
            costs,
            ("supernet", "searches", "tests"),
            "No trained supernet yet: <code>ofa train run={run}</code>",
        ),
        Section(
            "accuracy",
            "Test accuracy",
            tests,
            ("tests", "finetuned"),
            "Not evaluated yet: <code>ofa evaluate run={run}</code>",
        ),
        Section(
            "predictor",
            "Accuracy predictor",
            predictor,
            ("predictor",),
            "No predictor yet: <code>ofa predictor run={run}</code>",
        ),
        Section(
            "verification",
            "Predictions checked",
            verification,
            ("searches",),
            "Nothing predicted and checked: <code>ofa search run={run} score=predicted verify=true</code>",
        ),
        Section(
            "ensembles",
            "Ensembles",
            ensembles,
            ("ensembles", "votes"),
            "No ensembles yet: <code>ofa ensemble run={run}</code>",
        ),
        Section(
            "latency",
            "Latency model",
            latency,
            ("latency",),
            "No device measured yet: <code>ofa measure run={run}</code>",
        ),
        Section(
            "files",
            "Exported files",
            files,
            ("exports",),
            "Nothing exported yet: <code>ofa export run={run} arch=…</code>",
        ),
        Section(
            "data", "Data", data, ("supernet",), "No description of the data yet: it is written when training ends"
        ),
        Section("configuration", "Configuration", configuration, (), "This run has no config.yaml"),
    ]
