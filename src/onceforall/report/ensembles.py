"""The section about ensembles: what networks that vote together reach, and what that gains over one alone."""

import numpy as np

from .ensemble_charts import accuracy_chart, gain_chart, member_chart, member_count_chart
from .gains import RULE_WORDS, best_within, gain_within, latencies_of, rules_of, told_on, verdict
from .layout import Page, differing, facts, table
from .reading import Record, RunContents, on_most_images, part_of
from .words import PART_WORDS, count, duration, milliseconds, percent, safe

_BUDGETS = 5
_HYPERVOLUME_COLUMNS = (
    "hypervolume, ms × percent",
    "reference point",
    "single networks, hold-out",
    "ensembles, hold-out",
    "single networks, test",
    "ensembles, test",
    "ensembles looked at",
    "time",
)
_HOW_TO_READ = (
    "<p>Summed latency: the members run one after the other. Maximal latency: they run side by side, and the slowest "
    "counts. Fronts were chosen on hold-out images, so that lines may fall on test images.</p>"
)
_PUBLISHED_SOURCE = (
    "<p>Published: OFA³ notebooks, NSGA-II with seed 1, ImageNet validation images (arXiv 1908.09791, 2303.13683), "
    "read from plots to ±0.06 points. They are the best of each front on the validation images themselves, and summed "
    "ensembles had at least two members there; data, networks and device are not those of this run.</p>"
)


def ensembles(contents: RunContents, page: Page) -> str:
    """Ensembles that `ofa ensemble` chose, one part per result, each with those that `ofa evaluate` measured."""
    votes = on_most_images(contents.votes, "result", "name", "networks", "part")
    shown = ""
    for record in contents.ensembles:
        own = [vote for vote in votes if _is_of(vote, record)]
        shown += _ensembles_of(record, page) + _evaluated(own)
        votes = [vote for vote in votes if vote not in own]
    return shown + (f"<h3>Evaluated, of other results</h3>{_evaluated(votes)}" if votes else "")


def _is_of(vote: Record, record: Record) -> bool:
    """Whether an evaluated ensemble is among those of a result, with the very same members."""
    entries = [entry for rule in rules_of(record).values() for entry in rule["ensembles"]["members"]]
    known = [entry["networks"] for entry in entries if entry["name"] == vote["name"]]
    return vote.get("result") == record["name"] and vote["networks"] in known


def _evaluated(votes: list[Record]) -> str:
    """What `ofa evaluate ensemble=...` measured."""
    rows = [
        (
            f"<code>{safe(vote['name'])}</code>",
            safe(part_of(vote)),
            percent(vote["top1"], vote.get("top1_error"), 2),
            count(vote["images"]),
            count(len(vote["networks"])),
            milliseconds(vote["latency_ms"]),
        )
        for vote in votes
    ]
    columns = ("evaluated ensemble", "part", "top-1", "images", "members", "promised latency")
    return differing(votes) + table(columns, rows, 2) if rows else ""


def _ensembles_of(record: Record, page: Page) -> str:
    part, rules = told_on(record), rules_of(record)
    test_images = record.get("test_images")
    views = list(dict.fromkeys(str(network["view"]) for network in record["networks"]))
    shown = facts(
        [
            ("networks", count(len(record["networks"]) // len(views))),
            ("each is shown", ", ".join(views) if len(views) > 1 else ""),
            ("search", str(record.get("search") or "")),
            ("device", str(record.get("device") or "")),
            ("hold-out images", count(record["holdout_images"])),
            ("test images", count(test_images) if test_images else ""),
            ("calibration images", count(record.get("calibration_images")) if "calibration_images" in record else ""),
            ("published search", _preset(record)),
        ]
    )
    drawn = [page.chart(accuracy_chart(record, "holdout"), "Hold-out images: what the choice was made on")]
    if test_images:
        drawn.append(page.chart(accuracy_chart(record, "test"), "Test images: counted once, after the choice"))
    drawn += [
        page.chart(member_count_chart(record), "How many members vote"),
        page.chart(gain_chart(record, part), "Gain over one network within the same latency, beside published ones"),
        *(
            page.chart(member_chart(record, rule), f"Who votes with whom, {RULE_WORDS[name]}")
            for name, rule in rules.items()
        ),
    ]
    limit = f"{PART_WORDS[part]} top-1 within a latency"
    return (
        f"<h3>{safe(record['name'])}</h3>{shown}<p>{safe(_findings(record, part))}</p>{_HOW_TO_READ}"
        f'<div class="charts">{"".join(drawn)}</div>{_PUBLISHED_SOURCE}'
        + table(_HYPERVOLUME_COLUMNS, [_hypervolume_row(name, rule) for name, rule in rules.items()])
        + table(
            (limit, "latency", "single network", "ensemble", "members", "points"),
            [row for name, rule in rules.items() for row in _budget_rows(name, rule, part)],
        )
    )


def _preset(record: Record) -> str:
    settings = record.get("settings")
    drawn = f", {settings['algorithm']}, seed {settings['seed']}" if settings else ""
    return f"{record['preset']}{drawn}" if record.get("preset") else ""


def _findings(record: Record, part: str) -> str:
    """What holds in this run, with what limits it."""
    said = [sentence for name, rule in rules_of(record).items() if (sentence := verdict(name, rule, part))]
    if part == "holdout":
        said.append("There are no test images: this is told on the images of the choice, which flatters ensembles.")
    else:
        said.append("Single networks and ensembles were chosen on hold-out images; these are points on test images.")
    if record.get("criterion") == "likelihood":
        said.append(
            "A single network has most hold-out images right, an ensemble is the likeliest: with few hold-out images a "
            "part of what ensembles gain is this choice and not the vote."
        )
    entries = [entry for rule in rules_of(record).values() for entry in rule["ensembles"]["members"]]
    if uncounted := sum(entry[f"{part}_top1"] is None for entry in entries):
        words = f"have no accuracy on {PART_WORDS[part]} images and are left out"
        said.append(f"{uncounted} of {len(entries)} ensembles {words}.")
    errors = [error for entry in entries if (error := entry[f"{part}_top1_error"]) is not None]
    if errors:
        said.append(
            f"One standard error of an accuracy is up to {100 * max(errors):.2f} points, and the largest of many "
            "differences owes something to luck."
        )
    return " ".join(said)


def _hypervolume_row(name: str, rule: Record) -> tuple[str, ...]:
    milliseconds_there, error = rule["reference"]
    volumes = [rule[kind][f"{part}_hypervolume"] for part in ("holdout", "test") for kind in ("singles", "ensembles")]
    return (
        RULE_WORDS[name],
        f"{milliseconds(milliseconds_there)}, {error:.2f} % wrong",
        *("–" if volume is None else f"{volume:,.2f}" for volume in volumes),
        count(rule["evaluations"]),
        duration(rule["seconds"]),
    )


def _budget_rows(name: str, rule: Record, part: str) -> list[tuple[str, ...]]:
    """The best of both kinds within a few latencies, spread evenly from the fastest to the slowest."""
    latencies = latencies_of(rule)
    rows = []
    for limit in np.linspace(latencies[0], latencies[-1], _BUDGETS).tolist() if latencies else []:
        single, ensemble = (best_within(rule[kind]["members"], limit, part) for kind in ("singles", "ensembles"))
        gain = gain_within(rule, limit, part)
        rows.append(
            (
                RULE_WORDS[name],
                f"≤ {milliseconds(limit)}",
                *(_accuracy(one, part) for one in (single, ensemble)),
                "–" if ensemble is None else count(len(ensemble["networks"])),
                "–" if gain is None else f"{gain.points:+.2f}",
            )
        )
    return rows


def _accuracy(entry: Record | None, part: str) -> str:
    return "–" if entry is None else percent(entry[f"{part}_top1"], entry[f"{part}_top1_error"], 2)
