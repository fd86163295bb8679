"""What sections are made of: figures, tables, named values."""

import json
from dataclasses import dataclass, field

from .charts import Figure
from .reading import Record
from .words import safe


@dataclass
class Page:
    """Figures of a page in order, as JSON; a section puts a placeholder where its figure goes."""

    figures: list[str] = field(default_factory=list)

    def chart(self, figure: Figure | None, title: str, wide: bool = False) -> str:
        """The place of a figure, with its title; empty for None. Raises ValueError for a figure with NaN in it."""
        if figure is None:
            return ""
        self.figures.append(json.dumps(figure, allow_nan=False, separators=(",", ":")))
        kind = "chart wide" if wide else "chart"
        number = len(self.figures) - 1
        return (
            f'<figure class="{kind}"><figcaption>{safe(title)}</figcaption><div data-figure="{number}"></div></figure>'
        )


def table(columns: tuple[str, ...], rows: list[tuple[str, ...]], numbers_from: int = 1) -> str:
    """A table that scrolls sideways when it is too wide; cells are HTML, columns from `numbers_from` align right."""

    def cells(tag: str, values: tuple[str, ...]) -> str:
        return "".join(
            f'<{tag} class="number">{value}</{tag}>' if index >= numbers_from else f"<{tag}>{value}</{tag}>"
            for index, value in enumerate(values)
        )

    head = cells("th", tuple(safe(column) for column in columns))
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def differing(records: list[Record]) -> str:
    """A line above a table of accuracies that were not all measured on as many images of one part."""
    if len({(str(record.get("part")), record["images"]) for record in records}) < 2:
        return ""
    return "<p>Only rows of the same part and the same number of images compare.</p>"


def facts(pairs: list[tuple[str, str]]) -> str:
    """Short named values in a row; values are plain text."""
    items = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in pairs if value)
    return f'<dl class="facts">{items}</dl>'
