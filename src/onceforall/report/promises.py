"""Sections about what a search promised: a network for each device, and predictions that were checked."""

from .charts import agreement_chart
from .layout import Page, facts, table
from .reading import Record, RunContents
from .words import amount, milliseconds, percent, safe


def devices(contents: RunContents, page: Page) -> str:
    """The best network for each of several devices, with its latency on all of them."""
    return "".join(_devices_of(record) for record in contents.devices)


def _devices_of(record: Record) -> str:
    names = list(record["devices"])
    rows = []
    for device, entry in record["devices"].items():
        member = entry["chosen"]
        latencies = [milliseconds(member["latencies_ms"].get(other)) for other in names]
        rows.append(
            (
                safe(device),
                f"<code>{safe(member['name'])}</code>",
                "–" if entry["limit_ms"] is None else f"≤ {milliseconds(entry['limit_ms'])}",
                percent(member["top1"], member.get("top1_error")),
                *latencies,
                amount(member.get("macs")),
            )
        )
    columns = ("device", "network", "limit", "top-1", *(f"on {device}" for device in names), "MACs")
    return f"<h3>{safe(record['name'])}</h3>" + table(columns, rows, 2)


def verification(contents: RunContents, page: Page) -> str:
    """Predicted against measured accuracy of the networks that searches delivered."""
    return "".join(_verification_of(search, page) for search in contents.searches if search.get("verification"))


def _verification_of(search: Record, page: Page) -> str:
    found = search["verification"]
    tau = found["kendall_tau"]
    shown = facts(
        [
            ("networks", str(found["networks"])),
            ("predicted − measured", f"{100 * found['mean_error']:+.2f} points"),
            ("mean distance", f"{100 * found['mean_absolute_error']:.2f} points"),
            ("Kendall τ", "" if tau is None else f"{tau:.2f}"),
            ("within two error bars", percent(found["within"], digits=0)),
        ]
    )
    pairs = [
        (member["top1"], member["predicted_top1"], member["name"])
        for member in search["evaluated"]
        if member.get("predicted_top1") is not None
    ]
    chart = page.chart(agreement_chart(pairs, "%", 100.0), f"Predicted against measured top-1, {search['name']}")
    return (
        f'<div class="beside"><div><h3>{safe(search["name"])}</h3><p>Every network that the predictor proposed was '
        f"calibrated and evaluated; the front above is that of the measurements.</p>{shown}</div>{chart}</div>"
    )
