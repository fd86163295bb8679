import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onceforall.report import write_report
from onceforall.report.ensemble_charts import accuracy_chart, gain_chart, member_chart, member_count_chart
from onceforall.report.gains import PUBLISHED, best_within, gains_of, told_on, verdict
from onceforall.report.words import milliseconds

from .test_page import figures_of, page_without_library, sections_of

Record = dict[str, Any]


def record_of(run: Path) -> Record:
    return json.loads((run / "ensembles" / "ensembles.json").read_text())


def page_with(full_run: Path, folder: Path, change: Callable[[Record], object]) -> str:
    """The page of the run with a changed file of ensembles, none of them evaluated."""
    run = shutil.copytree(full_run, folder / "photos")
    shutil.rmtree(run / "evaluate" / "ensembles")
    record = record_of(run)
    change(record)
    (run / "ensembles" / "ensembles.json").write_text(json.dumps(record))
    return page_without_library(write_report(run))


def section_of(text: str) -> str:
    return text[text.index('<section id="ensembles"') :].partition("</section>")[0]


def entries_of(record: Record) -> list[Record]:
    return [
        entry
        for rule in record["rules"].values()
        for kind in ("singles", "ensembles")
        for entry in rule[kind]["members"]
    ]


def entry(name: str, ms: float, holdout: float, test: float | None, **more: Any) -> Record:
    described = {"name": name, "networks": [name], "weights": None, "latency_ms": ms, "holdout_top1": holdout}
    return described | {"holdout_top1_error": 0.01, "test_top1": test, "test_top1_error": 0.01} | more


def rule_of(singles: list[Record], ensembles: list[Record]) -> Record:
    return {"singles": {"members": singles}, "ensembles": {"members": ensembles}}


def without_test(record: Record) -> None:
    record["test_images"] = None
    for rule in record["rules"].values():
        rule["singles"]["test_hypervolume"] = rule["ensembles"]["test_hypervolume"] = None
    for one in entries_of(record):
        one["test_top1"] = one["test_top1_error"] = None


def test_numbers_on_the_page_are_those_of_the_file(full_run: Path, tmp_path: Path) -> None:
    record = record_of(full_run)
    shown = section_of(page_without_library(write_report(full_run, tmp_path / "page.html")))
    for rule in record["rules"].values():
        for kind in ("singles", "ensembles"):
            for part in ("holdout", "test"):
                assert f">{rule[kind][f'{part}_hypervolume']:,.2f}<" in shown
        ms, error = rule["reference"]
        assert f"{milliseconds(ms)}, {error:.2f} % wrong" in shown
    assert shown.count("≤ ") == 10, "five latencies for each rule"


def vote_of(run: Path) -> tuple[Path, Record]:
    (path,) = (run / "evaluate" / "ensembles").glob("*.json")
    return path, json.loads(path.read_text())


def rows_of(text: str) -> list[list[str]]:
    """The rows of the tables of evaluated ensembles."""
    found = [table for table in text.split("<table>") if "evaluated ensemble" in table]
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for table in found for row in re.findall(r"<tr>(.*?)</tr>", table)]
    return [row for row in rows if row]


def test_evaluated_ensembles_stand_with_their_result(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    path, vote = vote_of(run)
    expected = [f"<code>{vote['name']}</code>", "test", "87.65 ± 1.47 %", "500", str(len(vote["networks"]))]
    expected.append(milliseconds(vote["latency_ms"]))
    shown = section_of(page_without_library(write_report(run)))
    assert rows_of(shown) == [expected]
    assert "of other results" not in shown
    assert "Only rows" not in shown

    path.with_name("few.json").write_text(json.dumps(vote | {"images": 50, "top1": 0.1}))
    assert rows_of(section_of(page_without_library(write_report(run)))) == [expected], "that on most images counts"
    path.with_name("few.json").write_text(json.dumps(vote | {"images": 50, "top1": 0.1, "part": "holdout"}))
    shown = section_of(page_without_library(write_report(run)))
    assert len(rows_of(shown)) == 2
    assert "Only rows of the same part and the same number of images compare." in shown
    path.with_name("few.json").unlink()

    for other in ({"networks": ["gone"]}, {"result": "gone"}):
        path.write_text(json.dumps(vote | other))
        shown = section_of(page_without_library(write_report(run)))
        assert len(rows_of(shown)) == 1
        assert "<h3>Evaluated, of other results</h3>" in shown
    (run / "ensembles" / "ensembles.json").unlink()
    assert len(rows_of(section_of(page_without_library(write_report(run))))) == 1


def test_rows_within_a_latency_follow_from_the_entries(full_run: Path, tmp_path: Path) -> None:
    record = record_of(full_run)
    shown = section_of(page_without_library(write_report(full_run, tmp_path / "page.html")))
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", shown)]
    for name, words in (("summed", "summed latency"), ("maximal", "maximal latency")):
        told = [row for row in rows if len(row) == 6 and row[0] == words]
        rule = record["rules"][name]
        every = [one["latency_ms"] for kind in ("singles", "ensembles") for one in rule[kind]["members"]]
        for row, limit in zip(told, np.linspace(min(every), max(every), 5), strict=True):
            best = []
            for kind in ("singles", "ensembles"):
                fast = [one for one in rule[kind]["members"] if one["latency_ms"] <= limit]
                best.append(sorted(fast, key=lambda one: one["holdout_top1"])[-1])
            assert row[1] == f"≤ {milliseconds(limit)}"
            assert [cell.split()[0] for cell in row[2:4]] == [f"{100 * one['test_top1']:.2f}" for one in best]
            assert row[4] == str(len(best[1]["networks"]))
            assert float(row[5]) == pytest.approx(100 * (best[1]["test_top1"] - best[0]["test_top1"]), abs=0.006)


def test_three_lines_for_each_part_with_members_in_the_hover(full_run: Path) -> None:
    record = record_of(full_run)
    for part in ("holdout", "test"):
        figure = accuracy_chart(record, part)
        assert figure is not None
        names = ["ensembles, summed latency", "ensembles, maximal latency", "single networks"]
        assert [trace["name"] for trace in figure["data"]] == names
        entries = record["rules"]["maximal"]["ensembles"]["members"]
        drawn = figure["data"][1]
        assert drawn["x"] == [one["latency_ms"] for one in entries]
        assert drawn["y"] == pytest.approx([100 * one[f"{part}_top1"] for one in entries])
        assert drawn["line"]["shape"] == "hv"
        for text, one in zip(drawn["text"], entries, strict=True):
            assert all(name in text for name in one["networks"])
            assert f"{100 * one['test_top1']:.2f} ± 1.63 %" in text


def test_shares_of_a_weighted_vote_and_long_lists_of_members() -> None:
    names = [f"network-{index}" for index in range(14)]
    weighted = entry("two", 2.0, 0.9, 0.8, networks=names[:2], weights=[3.0, 1.0])
    many = entry("all", 3.0, 0.95, 0.85, networks=names)
    record = {"rules": {"summed": rule_of([entry("one", 1.0, 0.8, 0.8)], [weighted, many])}}
    figure = accuracy_chart(record, "test")
    assert figure is not None
    two, every = figure["data"][0]["text"]
    assert "75 % network-0<br>25 % network-1" in two
    assert "network-9<br>and 4 more" in every
    assert "network-10" not in every


def test_member_counts_and_who_votes_with_whom(full_run: Path) -> None:
    record = record_of(full_run)
    counts = member_count_chart(record)["data"]
    for drawn, rule in zip(counts, record["rules"].values(), strict=True):
        entries = rule["ensembles"]["members"]
        voting = {name for one in entries for name in one["networks"]}
        networks = sorted(
            (network for network in record["networks"] if network["name"] in voting),
            key=lambda network: network["latency_ms"],
        )
        assert drawn["y"] == [len(one["networks"]) for one in entries]
        cells = member_chart(record, rule)["data"][0]
        shares = np.array(cells["z"], dtype=np.float64)
        assert shares.shape == (len(networks), len(entries))
        assert np.nansum(shares, axis=0) == pytest.approx(np.ones(len(entries)), abs=0.01)
        for column, one in enumerate(entries):
            there = [networks[row]["name"] for row in np.flatnonzero(~np.isnan(shares[:, column]))]
            assert sorted(there) == sorted(one["networks"])
        assert [label.split(",")[0] for label in cells["y"]] == [network["name"] for network in networks]


def test_the_choice_is_made_on_holdout_images() -> None:
    lucky = entry("lucky", 1.0, 0.7, 0.99)
    members = [lucky, entry("best", 2.0, 0.8, 0.75), entry("slow", 3.0, 0.9, None)]
    found = best_within(members, 2.5, "test")
    assert found is not None
    assert found["name"] == "best"
    assert best_within(members, 3.0, "test") is found, "what was not counted cannot be told"
    assert best_within(members, 0.5, "test") is None
    gains = gains_of(rule_of([lucky], members), "test")
    assert [gain.points for gain in gains] == pytest.approx([0.0, -24.0, -24.0])


def test_gains_stand_beside_the_published_ones(full_run: Path) -> None:
    record = record_of(full_run)
    drawn = {trace["name"]: trace for trace in gain_chart(record, "test")["data"]}
    slowest = max(network["latency_ms"] for network in record["networks"])
    ours = drawn["maximal latency, this run"]
    assert ours["x"][0] == pytest.approx(min(network["latency_ms"] for network in record["networks"]) / slowest)
    assert max(ours["x"]) == pytest.approx(1.0)
    published = drawn["maximal latency, published"]
    assert published["x"][3] == pytest.approx(15 / 46.216)
    assert published["y"][3] == pytest.approx(1.1)
    assert max(drawn["summed latency, published"]["y"]) < 0, "one network beat every published summed ensemble"
    assert all(single > 69 and ensemble > 69 for points in PUBLISHED.values() for _, single, ensemble in points)


def test_what_holds_is_said_with_its_sign() -> None:
    one = [entry("one", 1.0, 0.8, 0.80), entry("two", 4.0, 0.85, 0.84)]
    pair = entry("pair", 2.0, 0.82, 0.815, networks=["a", "b"])
    said = verdict("summed", rule_of(one, [one[0], pair, one[1]]), "test")
    assert "Summed latency: the largest gain" in said
    assert "+1.50 points, at 2 ms (2 members, 81.50 % instead of 80.00 %); nowhere is it worse." in said
    worse = verdict("maximal", rule_of(one, [one[0], pair | {"test_top1": 0.79}, one[1]]), "test")
    assert worse == (
        "Maximal latency: at no latency is an ensemble better than the best single network; "
        "the largest loss is -1.00 points, at 2 ms."
    )
    same = verdict("summed", rule_of(one, one), "test")
    assert same.endswith("is an ensemble better than the best single network, and nowhere worse: the gain is zero.")
    assert verdict("summed", rule_of(one, []), "test") == ""
    assert told_on({"test_images": 3}) == "test"
    assert told_on({"test_images": None}) == "holdout"


def test_without_test_images_the_page_says_what_it_is_told_on(full_run: Path, tmp_path: Path) -> None:
    text = page_with(full_run, tmp_path, without_test)
    shown = section_of(text)
    assert sections_of(text)["ensembles"] == "filled"
    assert "There are no test images: this is told on the images of the choice" in shown
    assert "Test images: counted once" not in shown
    assert ">hold-out top-1 within a latency" in shown
    assert len(figures_of(text)) == 13
    assert 'class="notes"' not in text


def test_some_accuracies_are_missing(full_run: Path, tmp_path: Path) -> None:
    def change(record: Record) -> None:
        record["rules"]["summed"]["ensembles"]["members"][0] |= {"test_top1": None, "test_top1_error": None}
        record["rules"]["maximal"]["singles"]["members"] = []

    text = page_with(full_run, tmp_path, change)
    assert re.search(r"1 of \d+ ensembles have no accuracy on test images and are left out", section_of(text))
    assert "Maximal latency: the largest" not in text, "there is nothing to compare with"
    assert len(figures_of(text)) == 14


def test_one_rule_alone(full_run: Path, tmp_path: Path) -> None:
    shown = section_of(page_with(full_run, tmp_path, lambda record: record["rules"].pop("summed")))
    assert "Who votes with whom, maximal latency" in shown
    assert "Who votes with whom, summed latency" not in shown


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["rules"]["summed"]["ensembles"]["members"][0].pop("latency_ms"),
        lambda record: record["rules"]["summed"]["ensembles"]["members"][0].update(networks=["unheard of"]),
        lambda record: record["rules"]["summed"]["ensembles"]["members"][0].update(weights=[0.0]),
        lambda record: record["rules"]["maximal"]["singles"].update(test_hypervolume="much"),
        lambda record: record["rules"]["maximal"].update(reference=None),
        lambda record: record.update(networks=[]),
        lambda record: record.update(rules=[1, 2]),
    ],
)
def test_a_garbled_value_costs_the_section_and_a_note(
    full_run: Path, tmp_path: Path, change: Callable[[Record], object]
) -> None:
    text = page_with(full_run, tmp_path, change)
    assert sections_of(text)["ensembles"] == "empty"
    assert text.count("ensembles/ensembles.json cannot be read: it lacks or garbles a value") == 1
    assert "cannot be read: <code>ensembles/ensembles.json</code>" in section_of(text)
    assert sections_of(text)["front"] == "filled"


def test_a_published_search_is_named_with_what_ran_it(full_run: Path, tmp_path: Path) -> None:
    settings = {"algorithm": "spea2", "seed": 3}
    shown = section_of(page_with(full_run, tmp_path, lambda one: one.update(preset="ofa3_max", settings=settings)))
    assert "ofa3_max, spea2, seed 3" in shown


def test_a_broken_file_is_named_and_the_other_shown(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    (run / "ensembles" / "cut.json").write_text('{"name": "cut", "ru')
    (run / "ensembles" / "old.json").write_text('{"name": "old", "networks": []}')
    text = page_without_library(write_report(run))
    assert "cut.json is not a JSON file" in text
    assert "ensembles/old.json has no &#x27;holdout_images&#x27;; left out" in text
    assert sections_of(text)["ensembles"] == "filled"


def test_text_of_the_file_is_escaped(full_run: Path, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x>"

    def change(record: Record) -> None:
        old = record["networks"][0]["name"]
        record |= {"name": evil, "search": evil, "device": evil}
        record["networks"][0]["name"] = evil
        for one in entries_of(record):
            one["name"] += evil
            one["networks"] = [evil if name == old else name for name in one["networks"]]

    text = page_with(full_run, tmp_path, change)
    assert sections_of(text)["ensembles"] == "filled"
    assert "<script>alert" not in text
    assert "<img" not in json.dumps(figures_of(text))
    assert "<img" not in text


def test_plotly_knows_every_property_of_the_figures(full_run: Path, tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    text = page_without_library(write_report(full_run, tmp_path / "page.html"))
    numbers = [int(number) for number in re.findall(r'data-figure="(\d+)"', section_of(text))]
    assert len(numbers) == 6
    for number in numbers:
        coloured = re.sub(r"var\(--[\w-]+\)", "#123456", json.dumps(figures_of(text)[number]))
        assert Figure(json.loads(coloured)).to_dict()["data"]


@pytest.mark.parametrize("criterion", ["likelihood", "accuracy"])
def test_the_page_says_where_the_choice_and_not_the_vote_may_gain(full_run: Path, tmp_path: Path, criterion) -> None:
    text = page_with(full_run, tmp_path, lambda record: record.update(criterion=criterion))
    assert ("is this choice and not the vote" in section_of(text)) == (criterion == "likelihood")
