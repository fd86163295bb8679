"""Charts of ensembles: accuracy, member counts, who votes with whom, and gains beside those published."""

from collections.abc import Sequence
from typing import Any

from .charts import Figure
from .gains import PUBLISHED, PUBLISHED_SLOWEST_MS, RULE_WORDS, gains_of, rules_of
from .reading import Record
from .words import PART_WORDS, milliseconds, percent, safe

_COLORS = {"summed": "var(--series-2)", "maximal": "var(--series-3)"}
_NAMED_MEMBERS = 10
_TICKS = 5


def _hover(entry: Record) -> str:
    """One ensemble in the box that follows the pointer: name, accuracies, and a line per member with its share."""
    names = entry["networks"]
    lines = [
        f"<b>{safe(entry['name'])}</b>",
        milliseconds(entry["latency_ms"]),
        f"hold-out top-1 {percent(entry['holdout_top1'], entry['holdout_top1_error'], 2)}",
        f"test top-1 {percent(entry['test_top1'], entry['test_top1_error'], 2)}",
    ]
    shares = [""] * len(names) if entry["weights"] is None else [f"{100 * share:.0f} % " for share in _shares(entry)]
    lines += [f"{share}{safe(name)}" for share, name in list(zip(shares, names, strict=True))[:_NAMED_MEMBERS]]
    if len(names) > _NAMED_MEMBERS:
        lines.append(f"and {len(names) - _NAMED_MEMBERS} more")
    return "<br>".join(lines)


def _shares(entry: Record) -> list[float]:
    """Every member's share of the vote; together they are one."""
    weights = [1.0] * len(entry["networks"]) if entry["weights"] is None else entry["weights"]
    return [weight / sum(weights) for weight in weights]


def _series(name: str, color: str, entries: list[Record], y: Sequence[float], **more: Any) -> Figure:
    return {
        "type": "scatter",
        "name": name,
        "x": [entry["latency_ms"] for entry in entries],
        "y": list(y),
        "text": [_hover(entry) for entry in entries],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": color, "size": 7},
        **more,
    }


def accuracy_chart(record: Record, part: str) -> Figure | None:
    """Top-1 on one part of the images against latency: single networks and the ensembles of each rule, in steps.

    The fronts are those of the hold-out images, so that lines may fall on others. None when nothing was counted.
    """
    rules = rules_of(record)
    fronts = [(f"ensembles, {RULE_WORDS[name]}", _COLORS[name], rule["ensembles"]) for name, rule in rules.items()]
    # Last, so that they are on top: a network that stands alone among ensembles has the same place.
    fronts += [("single networks", "var(--series-1)", rule["singles"]) for rule in list(rules.values())[:1]]
    traces = []
    for name, color, front in fronts:
        entries = [entry for entry in front["members"] if entry[f"{part}_top1"] is not None]
        if entries:
            line = {"color": color, "width": 1.5, "shape": "hv"}
            accuracies = [100 * entry[f"{part}_top1"] for entry in entries]
            traces.append(_series(name, color, entries, accuracies, mode="lines+markers", line=line))
    if not traces:
        return None
    layout = {"xaxis": _axis(_latency_title(record)), "yaxis": _axis(f"{PART_WORDS[part]} top-1, %")}
    return {"data": traces, "layout": layout | {"hovermode": "closest"}}


def member_count_chart(record: Record) -> Figure:
    """How many members vote, against latency."""
    traces = []
    for name, rule in rules_of(record).items():
        entries = rule["ensembles"]["members"]
        counts = [len(entry["networks"]) for entry in entries]
        traces.append(_series(RULE_WORDS[name], _COLORS[name], entries, counts, mode="markers"))
    layout = {"xaxis": _axis(_latency_title(record)), "yaxis": _axis("members", rangemode="tozero")}
    return {"data": traces, "layout": layout | {"showlegend": True, "hovermode": "closest"}}


def member_chart(record: Record, rule: Record) -> Figure:
    """Which networks that vote (rows) are in which ensembles (columns), by latency; colour is the share of a vote."""
    voting = {name for entry in rule["ensembles"]["members"] for name in entry["networks"]}
    networks = [network for network in record["networks"] if network["name"] in voting]
    networks.sort(key=lambda network: network["latency_ms"])
    entries = sorted(rule["ensembles"]["members"], key=lambda entry: entry["latency_ms"])
    rows = {network["name"]: row for row, network in enumerate(networks)}
    shares: list[list[float | None]] = [[None] * len(entries) for _ in networks]
    for column, entry in enumerate(entries):
        for name, share in zip(entry["networks"], _shares(entry), strict=True):
            shares[rows[name]][column] = round(share, 3)
    columns, labels = (
        [
            f"{safe(one['name'])}, {milliseconds(one['latency_ms'])}, hold-out {percent(one['holdout_top1'])}"
            for one in a
        ]
        for a in (entries, networks)
    )
    cells = {
        "type": "heatmap",
        "x": columns,
        "y": labels,
        "z": shares,
        "zmin": 0,
        "zmax": 1,
        "hoverongaps": False,
        "colorscale": [[0, "var(--muted-point)"], [1, "var(--series-1)"]],
        "colorbar": {"thickness": 10, "tickformat": ".0%", "title": {"text": "share of the vote", "side": "right"}},
        "hovertemplate": "%{x}<br>%{y}<br>share of the vote %{z:.0%}<extra></extra>",
    }
    layout = {
        "xaxis": _axis("ensembles by latency, ms", **_ticks(columns, entries)),
        "yaxis": _axis("networks by latency, ms", **_ticks(labels, networks)),
    }
    return {"data": [cells], "layout": layout}


def gain_chart(record: Record, part: str) -> Figure:
    """Points gained over the best single network within the same latency, in units of the slowest network's latency.

    Beside the rules of this run stand the published ones for ImageNet.
    """
    slowest = max(network["latency_ms"] for network in record["networks"])
    traces = []
    for name, rule in rules_of(record).items():
        gains = gains_of(rule, part)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{RULE_WORDS[name]}, this run",
                "x": [gain.latency_ms / slowest for gain in gains],
                "y": [gain.points for gain in gains],
                "text": [_hover(gain.ensemble) for gain in gains],
                "line": {"color": _COLORS[name], "width": 2, "shape": "hv"},
                "hovertemplate": "%{y:+.2f} points within %{x:.2f} of the slowest<br>%{text}<extra></extra>",
            }
        )
    for name, points in PUBLISHED.items():
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{RULE_WORDS[name]}, published",
                "x": [latency / PUBLISHED_SLOWEST_MS for latency, _, _ in points],
                "y": [round(ensemble - single, 2) for _, single, ensemble in points],
                "line": {"color": _COLORS[name], "width": 1, "dash": "dot"},
                "marker": {"color": _COLORS[name], "size": 7, "symbol": "circle-open"},
                "hovertemplate": "%{y:+.2f} points within %{x:.2f} of the slowest<extra>%{fullData.name}</extra>",
            }
        )
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "layer": "below"}
    layout = {
        "xaxis": _axis("latency, in units of the slowest network"),
        "yaxis": _axis(f"gain in {PART_WORDS[part]} top-1, points"),
        "shapes": [zero | {"line": {"color": "var(--muted-line)", "width": 1}}],
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def _axis(title: str, **more: Any) -> Figure:
    return {"title": {"text": title}, **more}


def _latency_title(record: Record) -> str:
    return f"latency on {safe(record['device'])}, ms" if record.get("device") else "latency, ms"


def _ticks(labels: list[str], members: list[Record]) -> Figure:
    """A category axis with the latencies of a few of its members."""
    places = sorted({round(tick * (len(labels) - 1) / (_TICKS - 1)) for tick in range(_TICKS)}) if labels else []
    return {
        "type": "category",
        "showgrid": False,
        "tickmode": "array",
        "tickvals": [labels[place] for place in places],
        "ticktext": [f"{members[place]['latency_ms']:.3g}" for place in places],
    }
