"""Charts as plotly figures in plain dictionaries; colours are names of the page's style, resolved in the browser."""

from typing import Any

from .reading import Record, RunContents, measured_front, members_of, part_of
from .words import amount, milliseconds, percent, safe

Figure = dict[str, Any]

_SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)", "var(--series-5)")
_MOST_POINTS = 1500


def _axis(title: str, **more: Any) -> Figure:
    return {"title": {"text": title}, **more}


def _line(name: str, x: list[Any], y: list[Any], color: str, **more: Any) -> Figure:
    return {"type": "scatter", "name": safe(name), "x": x, "y": y, "line": {"color": color, "width": 2}, **more}


def _bands(contents: RunContents) -> Figure:
    """Alternating backgrounds of the phases; the page leaves out names that do not fit into their `room`."""
    if not contents.phases:
        return {}
    last = max(stop for _, _, stop in contents.phases) or 1
    shapes, names = [], []
    for index, (name, start, stop) in enumerate(contents.phases):
        if index % 2:
            shapes.append(
                {"type": "rect", "xref": "x", "yref": "paper", "x0": start, "x1": stop, "y0": 0, "y1": 1}
                | {"fillcolor": "var(--band)", "line": {"width": 0}, "layer": "below"}
            )
        names.append(
            {"x": (start + stop) / 2, "y": 1, "xref": "x", "yref": "paper", "yanchor": "bottom", "showarrow": False}
            | {"text": safe(name.replace("_", " ")), "font": {"size": 11}, "room": (stop - start) / last}
        )
    return {"shapes": shapes, "annotations": names}


def _thinned(lines: list[Record]) -> list[Record]:
    step = -(-len(lines) // _MOST_POINTS)
    return lines[:: max(step, 1)]


def loss_chart(contents: RunContents) -> Figure:
    """Training loss by step over the bands of the phases."""
    lines = _thinned(contents.train)
    trace = _line("loss", [line["step"] for line in lines], [line["loss"] for line in lines], _SERIES[0])
    trace |= {
        "mode": "lines",
        "text": [safe(line.get("phase", "")) for line in lines],
        "hovertemplate": "step %{x:,}<br>loss %{y:.3f}<br>%{text}<extra></extra>",
    }
    layout = {"xaxis": _axis("step"), "yaxis": _axis("training loss"), "showlegend": False, **_bands(contents)}
    return {"data": [trace], "layout": layout}


def learning_rate_chart(contents: RunContents) -> Figure:
    """Learning rate by step."""
    lines = [line for line in _thinned(contents.train) if "learning_rate" in line]
    trace = _line("learning rate", [x["step"] for x in lines], [x["learning_rate"] for x in lines], _SERIES[3])
    trace |= {"mode": "lines", "hovertemplate": "step %{x:,}<br>learning rate %{y:.4g}<extra></extra>"}
    layout = {"xaxis": _axis("step"), "yaxis": _axis("learning rate"), "showlegend": False, **_bands(contents)}
    return {"data": [trace], "layout": layout}


def accuracy_chart(contents: RunContents) -> Figure:
    """Accuracy of the watched sub-networks at every evaluation that compares with the last."""
    watched = contents.watched
    labels = sorted({line["label"] for line in watched}, key=lambda label: (label.startswith("random"), label))
    traces = []
    for label in labels:
        lines = [line for line in watched if line["label"] == label]
        random = label.startswith("random")
        color = "var(--muted-line)" if random else _SERIES[labels.index(label) % len(_SERIES)]
        trace = _line(label, [line["step"] for line in lines], [100 * line["top1"] for line in lines], color)
        trace |= {
            "mode": "lines+markers",
            "marker": {"size": 5 if random else 7, "color": color},
            "text": [percent(line["top1"], line.get("top1_error")) for line in lines],
            "hovertemplate": "step %{x:,}<br>%{fullData.name} %{text}<extra></extra>",
        }
        traces.append(trace)
    layout = {"xaxis": _axis("step"), "yaxis": _axis(f"{part_of(watched[-1])} top-1, %"), **_bands(contents)}
    return {"data": traces, "layout": layout}


def _hover(member: Record) -> str:
    """One network in the box that follows the pointer: name, numbers, and a line per stage."""
    lines = [
        f"<b>{safe(member['name'])}</b>",
        f"top-1 {percent(member['top1'], member.get('top1_error'))}{'' if member.get('measured') else ' (predicted)'}",
        f"{milliseconds(member.get('latency_ms'))} · {amount(member.get('macs'))} MACs · "
        f"{amount(member.get('params'))} parameters",
        f"input {safe(member['arch']['resolution'])} px",
    ]
    for number, stage in enumerate(member["arch"]["stages"], start=1):
        blocks = zip(stage["kernel_sizes"], stage["expand_ratios"], strict=True)
        lines.append(f"stage {number}: " + ", ".join(safe(f"k{kernel} e{ratio:g}") for kernel, ratio in blocks))
    return "<br>".join(lines)


def _points(name: str, members: list[Record], cost: str, scale: float, **more: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [member[cost] * scale for member in members],
        "y": [100 * member["top1"] for member in members],
        "text": [_hover(member) for member in members],
        "hovertemplate": "%{text}<extra></extra>",
        **more,
    }


def front_chart(searches: list[Record], cost: str, title: str, scale: float = 1.0) -> Figure | None:
    """Accuracy against a cost: everything evaluated in grey, the front in colour, chosen networks as stars.

    Limits of the searches on this cost are dashed lines. None when no member has that cost.
    """
    known = members_of(searches)
    members = [member for member in known if member.get(cost) is not None and member.get("top1") is not None]
    if not members:
        return None
    measured = [member for member in members if member.get("measured")]
    predicted = [member for member in members if not member.get("measured")]
    front = measured_front(measured, cost)
    names = {member["name"] for member in front}
    traces = []
    if others := [member for member in measured if member["name"] not in names]:
        traces.append(_points("evaluated", others, cost, scale, marker={"color": "var(--muted-point)", "size": 7}))
    if predicted:
        marker = {"color": "var(--series-3)", "size": 7, "symbol": "circle-open"}
        traces.append(_points("predicted, not measured", predicted, cost, scale, marker=marker))
    if front:
        errors = [100 * (member.get("top1_error") or 0.0) for member in front]
        traces.append(
            _points("front", front, cost, scale)
            | {
                "mode": "lines+markers",
                "line": {"color": _SERIES[0], "width": 1.5, "shape": "hv"},
                "marker": {"color": _SERIES[0], "size": 9},
                "error_y": {"type": "data", "array": errors, "color": "var(--error-bar)", "thickness": 1, "width": 3},
            }
        )
    chosen = {search["chosen"]["name"]: search["chosen"] for search in searches if search.get("chosen")}
    if marked := [member for member in chosen.values() if member.get(cost) is not None]:
        line = {"color": "var(--surface)", "width": 1.5}
        marker = {"color": "var(--series-2)", "size": 17, "symbol": "star", "line": line}
        traces.append(_points("chosen", marked, cost, scale, marker=marker))
    limits: dict[float, list[str]] = {}
    for search in searches:
        if search["constraints"].get(cost) is not None:
            limits.setdefault(search["constraints"][cost] * scale, []).append(safe(search["name"]))
    shapes = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": limit, "x1": limit, "y0": 0, "y1": 1}
        | {"line": {"color": "var(--series-2)", "width": 1, "dash": "dash"}}
        for limit in limits
    ]
    names_of_limits = [
        {"x": limit, "y": 1, "xref": "x", "yref": "paper", "yanchor": "bottom", "showarrow": False}
        | {"text": ", ".join(searches_there), "font": {"size": 11}}
        for limit, searches_there in limits.items()
    ]
    layout = {"xaxis": _axis(title), "yaxis": _axis("hold-out top-1, %"), "hovermode": "closest"}
    layout |= {"shapes": shapes, "annotations": names_of_limits}
    return {"data": traces, "layout": layout}


def agreement_chart(pairs: list[tuple[float, float, str]], unit: str, scale: float = 1.0) -> Figure:
    """Predicted against measured values (measured, predicted, name) with the diagonal where they agree."""
    measured = [scale * pair[0] for pair in pairs]
    predicted = [scale * pair[1] for pair in pairs]
    low, high = min([*measured, *predicted]), max([*measured, *predicted])
    margin = 0.04 * (high - low) or 0.5
    span = [low - margin, high + margin]
    diagonal = {"type": "scatter", "mode": "lines", "x": span, "y": span, "hoverinfo": "skip"}
    diagonal |= {"line": {"color": "var(--muted-line)", "width": 1, "dash": "dot"}}
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": measured,
        "y": predicted,
        "text": [safe(pair[2]) for pair in pairs],
        "marker": {"color": _SERIES[0], "size": 8, "opacity": 0.8},
        "hovertemplate": f"%{{text}}<br>measured %{{x:.4g}} {unit}<br>predicted %{{y:.4g}} {unit}<extra></extra>",
    }
    layout = {
        "xaxis": _axis(f"measured, {unit}", range=span),
        "yaxis": _axis(f"predicted, {unit}", range=span),
        "showlegend": False,
    }
    return {"data": [diagonal, dots], "layout": layout}
