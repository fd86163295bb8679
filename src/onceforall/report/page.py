"""One self-contained HTML page about a run: no network, everything inside the file."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from string import Template

from ..errors import OnceForAllError
from ..files import write_text
from .layout import Page
from .outline import HEADLINE_READS, Section, sections
from .reading import GARBLED, RunContents, read_run
from .sections import cards
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
    try:
        headline, bodies = cards(contents), [section.body(contents, page) for section in sections()]
    except (OnceForAllError, *GARBLED):
        _leave_out_garbled(contents)
        page = Page()
        headline = _guarded("Headline", lambda: cards(contents), contents)
        bodies = [_guarded(one.title, lambda one=one: one.body(contents, page), contents) for one in sections()]
    parts, links = [], []
    for section, body in zip(sections(), bodies, strict=True):
        inside = body or f'<p class="hint">{_reason_for_none(section, body, contents)}</p>'
        kind = "filled" if body else "empty"
        parts.append(f'<section id="{section.key}" class="{kind}"><h2>{safe(section.title)}</h2>{inside}</section>')
        if body:
            links.append(f'<a href="#{section.key}">{safe(section.title)}</a>')
    notes = "".join(f"<li>{safe(note)}</li>" for note in contents.notes)
    return Template(_asset("page.html")).substitute(
        title=safe(contents.name),
        style=_asset("page.css"),
        links="".join(links),
        notes=f'<ul class="notes">{notes}</ul>' if notes else "",
        cards=headline or "",
        sections="".join(parts),
        figures=_json_in_html(f"[{','.join(page.figures)}]"),
        plotly=get_plotlyjs(),
        script=_asset("page.js"),
    )


def _asset(name: str) -> str:
    return (resources.files("onceforall.report") / "assets" / name).read_text(encoding="utf-8")


def _reason_for_none(section: Section, body: str | None, contents: RunContents) -> str:
    """HTML that stands in place of a section: what could not be read, or how to make what is not there yet."""
    if names := list(dict.fromkeys(name for kind in section.reads for name in contents.unreadable.get(kind, ()))):
        return f"Not shown, cannot be read: {', '.join(f'<code>{safe(name)}</code>' for name in names)}"
    if body is None:
        return "This part could not be made: the top of the page says why"
    return section.hint.replace("{run}", safe(contents.folder))


def _leave_out_garbled(contents: RunContents) -> None:
    """Leave out every record that the page cannot be made of, so that it hides no other, and note its file."""
    space = contents.space
    if space is not None and not _sound(
        RunContents(contents.folder, space=space), "supernet", "supernet.json", contents
    ):
        contents.space = None
    for kind in dict.fromkeys(("supernet", *(kind for section in sections() for kind in section.reads))):
        if kind == "train":  # its lines are checked as they are read
            continue
        found = getattr(contents, kind)
        several = isinstance(found, list)
        kept = []
        for record in found if several else [found] if found is not None else []:
            alone = RunContents(contents.folder, space=contents.space)
            if kind == "supernet":
                alone.train, alone.evaluations = contents.train, contents.evaluations
            setattr(alone, kind, [record] if several else record)
            if _sound(alone, kind, record["path"], contents):
                kept.append(record)
        setattr(contents, kind, kept if several else next(iter(kept), None))


def _sound(alone: RunContents, kind: str, path: str, contents: RunContents) -> bool:
    """Whether everything that reads records of a kind can be made of the one in `alone`; if not, it is noted."""
    try:
        if kind in HEADLINE_READS:
            cards(alone)
        for section in sections():
            if kind in section.reads:
                section.body(alone, Page())
    except (OnceForAllError, *GARBLED) as error:
        contents.leave_out(kind, path, f"{path} cannot be read: it lacks or garbles a value ({error!r})")
        return False
    return True


def _guarded(title: str, make: Callable[[], str], contents: RunContents) -> str | None:
    """HTML of one part; None and a note where records that are sound by themselves do not go together."""
    try:
        return make()
    except GARBLED as error:
        contents.notes.append(f"{title}: a file of this run lacks or garbles a value ({error!r})")
        return None


def _json_in_html(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
