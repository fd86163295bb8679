"""The sections of the page: each turns the contents of a run into HTML, empty when there is nothing for it yet."""

from dataclasses import replace
from typing import Any

from ..cost import count_macs, count_params, peak_memory
from ..errors import OnceForAllError
from ..space import Arch, SearchSpace
from .charts import accuracy_chart, agreement_chart, front_chart, learning_rate_chart, loss_chart
from .drawing import draw_arch, kernel_legend
from .layout import Page, differing, facts, table
from .reading import (
    Record,
    RunContents,
    comparable,
    images_of,
    measured_front,
    members_of,
    on_most_images,
    part_of,
)
from .words import PART_WORDS, amount, count, duration, listed, milliseconds, percent, safe, size

_COST_COLUMNS = ("network", "top-1", "latency", "MACs", "parameters", "peak memory", "input", "depths")
_SHOWN_CORRUPT = 20
_CHOSEN_CARDS = 4


def cards(contents: RunContents) -> str:
    """The headline of a run: data, space, accuracies of the corners, chosen networks, what training took."""
    made: list[tuple[str, str, str]] = []
    described = contents.supernet or {}
    trained = described.get("train", {})
    if described:
        images = f"{trained['training_images']:,} training images, " if "training_images" in trained else ""
        made.append(("data set", str(trained.get("data", "–")), f"{images}{len(described.get('classes', []))} classes"))
    if contents.space is not None:
        space = contents.space
        made.append(("search space", f"{count(space.size)} networks", f"{space.name}, {_pixels(space)}"))
        for label, arch in (("largest", space.largest), ("smallest", space.smallest)):
            if found := contents.accuracy_of(arch, label):
                record, source = found
                macs = amount(float(count_macs(space, [arch])[0])) + " MACs"
                made.append(
                    (f"{label} network", percent(record["top1"], record.get("top1_error")), f"{macs}; {source}")
                )
    for member, names in list(contents.chosen.values())[-_CHOSEN_CARDS:]:
        source = _hold_out(member, "hold-out part") if member.get("measured") else "predicted"
        times = [milliseconds(member["latency_ms"])] if member.get("latency_ms") is not None else []
        text = ", ".join([*times, f"{amount(member.get('macs'))} MACs"]) + f"; {source}"
        made.append((f"chosen: {', '.join(names)}", percent(member["top1"], member.get("top1_error")), text))
    if contents.seconds is not None:
        steps = trained.get("steps") or contents.train[-1]["step"] if contents.train else trained.get("steps", 0)
        recipe = f"{trained['recipe'].replace('_', ' ')}, " if "recipe" in trained else ""
        made.append(("training", duration(contents.seconds), f"{recipe}{steps:,} steps"))
    return "".join(
        f'<div class="card"><h3>{safe(title)}</h3><strong>{safe(value)}</strong><span>{safe(about)}</span></div>'
        for title, value, about in made
    )


def _pixels(space: SearchSpace) -> str:
    first, last = space.resolutions[0], space.resolutions[-1]
    return f"{first} px" if first == last else f"{len(space.resolutions)} resolutions, {first} to {last} px"


def training(contents: RunContents, page: Page) -> str:
    """Accuracy of the watched networks, loss, learning rate."""
    if not contents.train and not contents.evaluations:
        return ""
    trained = (contents.supernet or {}).get("train", {})
    speeds = sorted(line["images_per_second"] for line in contents.train if "images_per_second" in line)
    shown = facts(
        [
            ("recipe", str(trained.get("recipe", "")).replace("_", " ")),
            ("steps", count(trained.get("steps")) if "steps" in trained else ""),
            ("batch size", str(trained.get("batch_size", ""))),
            ("peak learning rate", f"{trained['learning_rate']:.3g}" if "learning_rate" in trained else ""),
            ("images per second", f"{speeds[len(speeds) // 2]:,.0f}" if speeds else ""),
            ("time", duration(contents.seconds)),
        ]
    )
    accuracy = _watched(contents, page) if contents.evaluations else ""
    if not contents.train:
        return shown + accuracy
    loss = page.chart(loss_chart(contents), "Loss")
    rate = page.chart(learning_rate_chart(contents), "Learning rate")
    return f'{shown}<div class="charts">{accuracy}{loss}{rate}</div>'


def _watched(contents: RunContents, page: Page) -> str:
    watched = contents.watched
    left_out = len(contents.evaluations) - len(watched)
    others = f"; left out: {left_out:,} evaluations on fewer images or another part" if left_out else ""
    told = f", {count(images)} {part_of(watched[-1])} images" if (images := images_of(watched[-1])) else ""
    return page.chart(accuracy_chart(contents), f"Sub-networks while training{told}{others}", wide=True)


def _hold_out(record: Record, words: str) -> str:
    """`words` and the number of hold-out images, where it is known."""
    return f"{words}, {count(images)} images" if (images := images_of(record)) else words


def front(contents: RunContents, page: Page) -> str:
    """Accuracy against latency, one chart per device, and against MACs."""
    if not contents.searches:
        return ""
    drawn = []
    devices = sorted({str(search["device"]) for search in contents.searches if search.get("device")})
    for device in devices:
        searches = [search for search in contents.searches if str(search.get("device")) == device]
        kept, told = _compared(searches)
        figure = front_chart(kept, "latency_ms", f"latency on {device}, ms")
        drawn.append(page.chart(figure, f"Latency, {device}{told}"))
    kept, told = _compared(contents.searches)
    drawn.append(page.chart(front_chart(kept, "macs", "million MACs", 1e-6), f"MACs{told}"))
    networks = members_of(contents.searches)
    measured = all(member.get("measured") for member in networks)
    score = "measured after calibration" if measured else "predicted where marked, measured elsewhere"
    return (
        f"<p>{len(networks):,} networks; accuracy {score}. Bars are one standard error. "
        "Point at a network to see its blocks.</p>"
        f'<div class="charts">{"".join(drawn)}</div>'
    )


def _compared(searches: list[Record]) -> tuple[list[Record], str]:
    """The searches whose accuracies compare, and the words about images that a title ends with."""
    kept, others = comparable(searches)
    told = f", {count(images)} hold-out images" if (images := images_of(kept[0])) else ""
    left_out = f"; left out, not on as many images: {', '.join(search['name'] for search in others)}" if others else ""
    return kept, told + left_out


def chosen(contents: RunContents, page: Page) -> str:
    """A drawing of every chosen network."""
    if contents.space is None or not contents.chosen:
        return ""
    drawn = []
    for member, names in contents.chosen.values():
        searches = [search for search in contents.searches if search["name"] in names]
        asked = "; ".join(_limits(search) for search in searches)
        numbers = facts(
            [
                (
                    "top-1" if member.get("measured") else "predicted top-1",
                    percent(member["top1"], member.get("top1_error")),
                ),
                ("hold-out images", count(member["images"]) if member["images"] and member.get("measured") else ""),
                ("latency", milliseconds(member.get("latency_ms"))),
                ("MACs", amount(member.get("macs"))),
                ("parameters", amount(member.get("params"))),
                ("peak memory", size(member.get("memory_bytes"))),
            ]
        )
        try:
            drawing = draw_arch(contents.space, Arch.from_dict(member["arch"]))
        except OnceForAllError as error:
            drawing = f"<p>{safe(error)}</p>"
        drawn.append(
            f'<article class="network"><h3>{safe(", ".join(names))}</h3>'
            f"<p>{safe(asked)} · <code>{safe(member['name'])}</code></p>{numbers}{drawing}</article>"
        )
    return f'{kernel_legend(contents.space)}<div class="networks">{"".join(drawn)}</div>'


def _limits(search: Record) -> str:
    words = {
        "latency_ms": lambda value: f"latency ≤ {milliseconds(value)}",
        "macs": lambda value: f"MACs ≤ {amount(value)}",
        "params": lambda value: f"parameters ≤ {amount(value)}",
        "memory_bytes": lambda value: f"memory ≤ {size(value)}",
    }
    limits = [
        words[name](limit) if name in words else f"{name} ≤ {limit:g}" for name, limit in search["constraints"].items()
    ]
    return ", ".join(limits) or "most accurate, no limit"


def costs(contents: RunContents, page: Page) -> str:
    """One line per network: the corners, and the front of all searches."""
    space = contents.space
    if space is None:
        return ""
    kept, others = comparable(contents.searches)
    contents = replace(contents, searches=kept)
    device = contents.search_devices[0] if len(contents.search_devices) > 1 else None
    members = {member["name"]: member for member in members_of(contents.searches, device)}
    cost = "latency_ms" if any(member.get("latency_ms") is not None for member in members.values()) else "macs"
    measured = [member for member in members.values() if member.get("measured")]
    rows = {member["name"]: member for member in measured_front(measured, cost)}
    rows |= {name: members.get(name, member) for (name, _), (member, _) in contents.chosen.items()}
    corners = {space.largest.name: ("largest", space.largest), space.smallest.name: ("smallest", space.smallest)}
    tags = {name: [label] for name, (label, _) in corners.items()}
    for name, (label, arch) in corners.items():
        if name not in rows and name in members:
            rows[name] = members[name]
        elif name not in rows:
            rows[name], source = _counted(contents, space, arch, label)
            tags[name] += [source] if source else []
    for (name, _), (_, searches) in contents.chosen.items():
        tags.setdefault(name, []).extend(searches)
    for name, member in rows.items():
        if member.get("measured") is False:
            tags.setdefault(name, []).append("predicted")
    ordered = sorted(rows.values(), key=lambda member: (member.get("macs") or 0, member["name"]))
    cells = [_cost_row(member, tags.get(member["name"], [])) for member in ordered]
    told = f" Latencies are those of {safe(device)}." if device is not None else ""
    if kept:
        images = f"the {count(images_of(kept[0]))} hold-out images" if images_of(kept[0]) else "the hold-out images"
        told += f" Top-1 is that on {images} of the searches, where no mark says otherwise."
    if others:
        told += f" Left out, not on as many images: {safe(', '.join(search['name'] for search in others))}."
    return (
        "<p>Largest and smallest network of the space, and the front between them. One multiply-add is one MAC; "
        f"peak memory is that of the activations at batch 1 in float32.{told}</p>" + table(_COST_COLUMNS, cells)
    )


def _counted(contents: RunContents, space: SearchSpace, arch: Arch, label: str) -> tuple[Record, str]:
    """A network that no search has, and what its accuracy was measured on."""
    found = contents.accuracy_of(arch, label)
    accuracy = {} if found is None else {key: found[0].get(key) for key in ("top1", "top1_error", "latency_ms")}
    counts = {"macs": count_macs, "params": count_params, "memory_bytes": peak_memory}
    counted = {key: float(function(space, [arch])[0]) for key, function in counts.items()}
    member = {"arch": arch.to_dict(), "name": arch.name, "top1": None, **accuracy, **counted}
    return member, "" if found is None else found[1]


def _cost_row(member: Record, tags: list[str]) -> tuple[str, ...]:
    stages = member["arch"]["stages"]
    marks = "".join(f' <span class="tag">{safe(tag)}</span>' for tag in tags)
    return (
        f"<code>{safe(member['name'])}</code>{marks}",
        percent(member.get("top1"), member.get("top1_error")),
        milliseconds(member.get("latency_ms")),
        amount(member.get("macs")),
        amount(member.get("params")),
        size(member.get("memory_bytes")),
        f"{safe(member['arch']['resolution'])} px",
        "-".join(str(len(stage["kernel_sizes"])) for stage in stages),
    )


def tests(contents: RunContents, page: Page) -> str:
    """What `ofa evaluate` and `ofa finetune` measured."""
    records = on_most_images(contents.tests, "name", "part")
    rows = [
        (
            f"<code>{safe(record['name'])}</code>",
            safe(PART_WORDS.get(record.get("part", ""), "–")),
            percent(record["top1"], record.get("top1_error"), 2),
            percent(record.get("top5"), digits=2),
            f"{record['loss']:.3f}" if record.get("loss") is not None else "–",
            count(record["images"]),
            milliseconds(record.get("latency_ms")),
        )
        for record in records
    ]
    shown = (
        differing(records) + table(("network", "part", "top-1", "top-5", "loss", "images", "latency"), rows, 2)
        if rows
        else ""
    )
    tuned = [
        (
            f"<code>{safe(record.get('name', '–'))}</code>",
            *(percent((record.get(when) or {}).get("top1"), digits=2) for when in ("before", "after", "test")),
            safe((record.get("finetune") or {}).get("epochs", "–")),
        )
        for record in contents.finetuned
    ]
    columns = ("fine-tuned network", "hold-out top-1 before", "after", "test top-1 after", "epochs")
    return shown + (table(columns, tuned) if tuned else "")


def predictor(contents: RunContents, page: Page) -> str:
    """Cross-validated agreement of the accuracy predictor."""
    if contents.predictor is None or not contents.predictor["quality"].get("pairs"):
        return ""
    quality = contents.predictor["quality"]
    pairs = [(pair["measured"], pair["predicted"], "network") for pair in quality["pairs"]]
    error = quality.get("mean_absolute_error")
    shown = facts(
        [
            ("labels", count(quality["n_labels"])),
            ("R²", f"{quality['r2']:.3f}"),
            ("Kendall τ", f"{quality['kendall_tau']:.3f}"),
            ("mean error", "" if error is None else f"{100 * error:.2f} points"),
        ]
    )
    chart = page.chart(agreement_chart(pairs, "%", 100.0), "Predicted against measured top-1")
    return (
        '<div class="beside"><div><p>Each prediction was made without the label of its own network. Labels carry the '
        f"noise of the hold-out images, which bounds both figures.</p>{shown}</div>{chart}</div>"
    )


def latency(contents: RunContents, page: Page) -> str:
    """Agreement of every device's latency model on networks that took no part in its fit."""
    return "".join(_latency_of(model, page) for model in contents.latency)


def _latency_of(model: Record, page: Page) -> str:
    machine = model.get("machine") or {}
    validation = model.get("validation") or {}
    described = facts(
        [
            ("machine", str(machine.get("processor", ""))),
            ("runtime", str(model.get("runtime", ""))),
            ("threads", str(model.get("threads", ""))),
            ("batch", str(model.get("batch", ""))),
            ("estimator", str(model.get("estimator", ""))),
        ]
    )
    tau = validation.get("kendall_tau")
    agreement = facts(
        [
            ("mean error (MAPE)", percent(validation.get("mape"))),
            ("Kendall τ", "–" if tau is None else f"{tau:.3f}"),
            ("error of MACs alone", percent(validation.get("macs_mape"))),
            ("repeatability", percent(validation.get("repeatability"))),
        ]
    )
    networks = validation.get("networks") or []
    pairs = [(network["measured_ms"], network["predicted_ms"], network["name"]) for network in networks]
    if not pairs:
        return f"<h3>{safe(model['device'])}</h3>{described}<p>No networks were held back to check this model.</p>"
    chart = page.chart(agreement_chart(pairs, "ms"), f"{len(pairs)} held-back networks, {model['device']}")
    return f'<div class="beside"><div><h3>{safe(model["device"])}</h3>{agreement}{described}</div>{chart}</div>'


def files(contents: RunContents, page: Page) -> str:
    """Exported files and how they were verified."""
    if not contents.exports:
        return ""
    rows = [
        (
            f"<code>{safe(record['file'])}</code>",
            size(record.get("bytes")),
            f"{safe(', '.join(map(str, record.get('resolutions') or [record.get('resolution', '–')])))} px",
            f"{record['max_abs_difference']:.1e}" if record.get("max_abs_difference") is not None else "–",
            percent(record.get("top1_agreement"), digits=2),
            f"{count(record.get('images_compared'))}{'' if record.get('real_images', True) else ' (random)'}",
            milliseconds(record.get("promised_latency_ms")),
            _measured_latency(record),
        )
        for record in contents.exports
    ]
    columns = ("file", "size", "input", "largest difference", "same class", "images compared", "promised", "latency")
    return (
        "<p>Each file was run in its runtime and compared with the network it came from: the largest difference of any "
        "output, and the share of images with the same class. Ensembles were promised a latency when they were chosen; "
        "side by side it needs a core for every thread of every member.</p>" + table(columns, rows)
    )


def _measured_latency(record: Record) -> str:
    """Of an ensemble with how it ran."""
    shown = milliseconds(record.get("latency_ms"))
    if "members" not in record or "cores" not in record:
        return shown
    way = "one file" if record.get("together") else "side by side"
    return f"{shown}, {count(len(record['members']))} members {way}, {count(record['cores'])} cores"


def data(contents: RunContents, page: Page) -> str:
    """Classes, statistics, and images that could not be used."""
    if contents.supernet is None and not contents.corrupt:
        return ""
    described = contents.supernet or {}
    classes = list(described.get("classes", []))
    trained: dict[str, Any] = described.get("train", {})
    shown = facts(
        [
            ("source", str(trained.get("data", ""))),
            ("training images", count(trained["training_images"]) if "training_images" in trained else ""),
            ("channels", str(described.get("in_chans", ""))),
            ("mean", ", ".join(f"{value:.3f}" for value in described.get("mean", []))),
            ("standard deviation", ", ".join(f"{value:.3f}" for value in described.get("std", []))),
            (f"{len(classes)} classes", listed(classes)),
        ]
    )
    if not contents.corrupt:
        return shown + "<p>Every image could be read.</p>" if contents.train else shown
    items = "".join(
        f"<li><code>{safe(image.get('name', '?'))}</code> {safe(image.get('reason', ''))}</li>"
        for image in contents.corrupt[:_SHOWN_CORRUPT]
    )
    more = len(contents.corrupt) - _SHOWN_CORRUPT
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    number = "1 image" if len(contents.corrupt) == 1 else f"{len(contents.corrupt):,} images"
    return f"{shown}<p>{number} could not be read and took no part:</p><ul>{items}{rest}</ul>"


def configuration(contents: RunContents, page: Page) -> str:
    """The composed configuration, folded away."""
    if not contents.config:
        return ""
    return f"<details><summary>config.yaml</summary><pre>{safe(contents.config)}</pre></details>"
