"""One self-contained HTML page about a run: no network, everything inside the file."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from string import Template

from ..files import write_text
from .layout import Page
from .reading import RunContents, read_run
from .sections import cards, sections
from .words import safe


def write_report(run: str | Path, path: str | Path | None = None) -> Path:
    """Write the report of a run folder and return its path; default `report.html` in the folder.

    The page is made from the files of the folder alone. A part whose files are missing is one line with the command
    that would make them; files that cannot be read are named on the page.

    Raises:
        RunError: the folder is not a run.
        StorageError: the page cannot be written; an earlier page is intact.
    """
    contents = read_run(run)
    target = contents.folder / "report.html" if path is None else Path(path)
    write_text(target, render(contents))
    return target


def render(contents: RunContents) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    page = Page()
    parts, links = [], []
    for section in sections():
        body = _guarded(section.title, lambda body=section.body: body(contents, page), contents)
        hint = section.hint.replace("{run}", safe(contents.folder))
        inside = body or f'<p class="hint">{hint}</p>'
        kind = "filled" if body else "empty"
        parts.append(f'<section id="{section.key}" class="{kind}"><h2>{safe(section.title)}</h2>{inside}</section>')
        if body:
            links.append(f'<a href="#{section.key}">{safe(section.title)}</a>')
    headline = _guarded("Headline", lambda: cards(contents), contents)
    notes = "".join(f"<li>{safe(note)}</li>" for note in contents.notes)
    return Template(_asset("page.html")).substitute(
        title=safe(contents.name),
        style=_asset("page.css"),
        links="".join(links),
        notes=f'<ul class="notes">{notes}</ul>' if notes else "",
        cards=headline,
        sections="".join(parts),
        figures=_json_in_html(f"[{','.join(page.figures)}]"),
        plotly=get_plotlyjs(),
        script=_asset("page.js"),
    )


def _asset(name: str) -> str:
    return (resources.files("onceforall.report") / "assets" / name).read_text(encoding="utf-8")


def _guarded(title: str, make: Callable[[], str], contents: RunContents) -> str:
    """HTML of one part; a record with a hole in it costs that part and a note, not the page."""
    try:
        return make()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        contents.notes.append(f"{title}: a file of this run lacks or garbles a value ({error!r})")
        return ""


def _json_in_html(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
