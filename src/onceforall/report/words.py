"""Numbers as a person reads them, and text that is safe inside HTML."""

import html
import math
from typing import Any

PART_WORDS = {"holdout": "hold-out", "test": "test"}


def safe(value: Any) -> str:
    """Text for HTML content and attributes; everything that came from a file goes through here."""
    return html.escape(str(value), quote=True)


def percent(share: float | None, error: float | None = None, digits: int = 1) -> str:
    """`97.2 %` from 0.972; with a standard error `97.2 ± 0.9 %`."""
    if share is None:
        return "–"
    if error:
        return f"{100 * share:.{digits}f} ± {100 * error:.{digits}f} %"
    return f"{100 * share:.{digits}f} %"


def count(number: float | None) -> str:
    """A whole number with thousands separators; from a hundred million on `2.18 × 10¹⁹`."""
    if number is None:
        return "–"
    if abs(number) < 1e8:
        return f"{number:,.0f}"
    exponent = math.floor(math.log10(abs(number)))
    raised = str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"{number / 10**exponent:.2f} × 10{raised}"


def amount(number: float | None, unit: str = "") -> str:
    """Three digits with k, M or G: `6.69 M`."""
    if number is None:
        return "–"
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.3g} {letter}{unit}"
    return f"{number:.3g} {unit}".rstrip()


def size(number: float | None) -> str:
    """Bytes as `2.6 MB` (1 MB = 1,000,000 bytes)."""
    return "–" if number is None else amount(number, "B")


def milliseconds(value: float | None) -> str:
    """Three digits: `0.0864 ms`, `12.3 ms`."""
    return "–" if value is None else f"{value:.3g} ms"


def duration(seconds: float | None) -> str:
    """`48 s`, `24 min 10 s`, `3 h 05 min`."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.2g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def listed(values: list[Any], most: int = 12) -> str:
    """`a, b, c` and how many more."""
    shown = ", ".join(str(value) for value in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most:,} more"
