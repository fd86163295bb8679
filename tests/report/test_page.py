import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onceforall.errors import RunError, StorageError
from onceforall.report import write_report
from onceforall.report.words import milliseconds


def page_without_library(path: Path) -> str:
    """The page's own text: everything but the charting library."""
    from plotly.offline import get_plotlyjs

    text = path.read_text(encoding="utf-8")
    assert text.count(get_plotlyjs()) == 1, "the library is inside, once"
    return text.replace(get_plotlyjs(), "")


def figures_of(text: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def sections_of(text: str) -> dict[str, str]:
    return dict(re.findall(r'<section id="(\w+)" class="(\w+)">', text))


def test_complete_run_fills_every_section(full_run: Path, tmp_path: Path) -> None:
    path = write_report(full_run, tmp_path / "out" / "page.html")
    assert path == tmp_path / "out" / "page.html"
    text = page_without_library(path)
    assert set(sections_of(text).values()) == {"filled"}
    assert len(sections_of(text)) == 13
    figures = figures_of(text)
    assert [int(number) for number in re.findall(r'data-figure="(\d+)"', text)] == list(range(len(figures)))
    single = ("accuracy", "loss", "learning rate", "predictor", "checked predictions", "latency model")
    assert len(figures) == len(single) + 2 + 6, "two fronts, six of ensembles"
    for words in ("86.1 ± 0.4 %", "17,173,512 networks", "25 min 00 s", "broken.jpg", "2.61 MB", "82.20 %", "1.6 %"):
        assert words in text, words
    assert "24, 32 px" in text
    assert re.search(r"0\.248 ms</td><td[^>]*>0\.306 ms, 2 members side by side, 4 cores", text)


def test_page_asks_nothing_of_the_network(full_run: Path, tmp_path: Path) -> None:
    text = page_without_library(write_report(full_run, tmp_path / "page.html"))
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", text)
    assert "url(" not in text
    assert "@import" not in text


def test_default_place_and_same_bytes_twice(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    path = write_report(run)
    first = path.read_bytes()
    assert path == run / "report.html"
    assert write_report(run).read_bytes() == first


def test_young_run_shows_hints(tmp_path: Path) -> None:
    run = tmp_path / "young"
    run.mkdir()
    (run / "config.yaml").write_text("name: young\n")
    text = page_without_library(write_report(run))
    states = sections_of(text)
    assert states.pop("configuration") == "filled"
    assert set(states.values()) == {"empty"}
    assert f"ofa search run={run}" in text
    assert f"ofa measure run={run}" in text
    assert figures_of(text) == []


def test_run_that_is_still_training(full_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "training"
    run.mkdir()
    lines = (full_run / "metrics.jsonl").read_text().splitlines()[:30]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"kind": "tra')
    text = page_without_library(write_report(run))
    assert sections_of(text)["training"] == "filled"
    assert sections_of(text)["front"] == "empty"
    assert "metrics.jsonl: 1 lines could not be read" in text


def test_text_of_users_is_escaped(full_run: Path, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x>"
    run = shutil.copytree(full_run, tmp_path / "photos")
    places = {"supernet.json": "classes", "search/phone.json": "name", "latency/onnxruntime.json": "runtime"}
    for name, key in places.items():
        record = json.loads((run / name).read_text())
        record[key] = [evil] if key == "classes" else evil
        (run / name).write_text(json.dumps(record))
    (run / "config.yaml").write_text(evil)
    metrics = (run / "metrics.jsonl").read_text().replace('"full"', json.dumps(evil))
    (run / "metrics.jsonl").write_text(metrics)
    text = page_without_library(write_report(run))
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert figures_of(text), "the data of the charts is still JSON"
    assert "<img" not in json.dumps(figures_of(text)), "labels of charts are escaped as well"


def test_broken_files_are_named_and_left_out(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    (run / "search" / "phone.json").write_text('{"name": "phone", "fro')
    (run / "deploy" / "odd.json").write_text("[1, 2]")
    (run / "predictor" / "predictor.json").write_text("{}")
    text = page_without_library(write_report(run))
    notes = text[text.index('<ul class="notes">') :].partition("</ul>")[0]
    assert "phone.json is not a JSON file" in notes
    assert "deploy/odd.json has no &#x27;file&#x27;" in notes
    assert "predictor/predictor.json has no &#x27;quality&#x27;" in notes
    states = sections_of(text)
    assert states["front"] == "filled", "the other search is shown"
    assert states["predictor"] == "empty"


def test_records_with_holes_cost_only_their_section(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    record = json.loads((run / "latency" / "onnxruntime.json").read_text())
    del record["validation"]["networks"][0]["measured_ms"]
    (run / "latency" / "onnxruntime.json").write_text(json.dumps(record))
    record = json.loads((run / "predictor" / "predictor.json").read_text())
    record["quality"]["pairs"][0]["measured"] = float("nan")
    (run / "predictor" / "predictor.json").write_text(json.dumps(record))
    text = page_without_library(write_report(run))
    states = sections_of(text)
    assert [key for key, state in states.items() if state == "empty"] == ["predictor", "latency"]
    assert "latency/onnxruntime.json cannot be read: it lacks or garbles a value" in text
    assert "predictor/predictor.json cannot be read: it lacks or garbles a value" in text
    assert len(figures_of(text)) == 12


def section_of(text: str, key: str) -> str:
    return text[text.index(f'<section id="{key}"') :].partition("</section>")[0]


def searched_on(run: Path, **images: int | None) -> None:
    """Note how many hold-out images each search was made with."""
    for name, number in images.items():
        path = run / "search" / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"images": number}))


def test_searches_on_fewer_images_are_not_drawn_beside_others(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    searched_on(run, phone=2000, watch=50, predicted=2000)
    record = json.loads((run / "search" / "watch.json").read_text())
    for member in (*record["front"], *record["evaluated"], record["chosen"]):
        member["top1"] = 0.9999
    (run / "search" / "watch.json").write_text(json.dumps(record))
    text = page_without_library(write_report(run))
    for title in ("Latency, onnxruntime", "MACs"):
        assert f">{title}, 2,000 hold-out images; left out, not on as many images: watch</figcaption>" in text
    shown = section_of(text, "costs")
    assert "Top-1 is that on the 2,000 hold-out images" in shown
    assert "Left out, not on as many images: watch." in shown
    assert "100.0 ±" not in shown
    assert "99.99" not in json.dumps([figure for figure in figures_of(text) if "front" in json.dumps(figure)])
    for images in ("50", "2,000"):
        assert f"<dt>hold-out images</dt><dd>{images}</dd>" in section_of(text, "chosen")
        assert f"hold-out part, {images} images</span>" in text


def test_searches_on_as_many_images_are_drawn_together(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    before = page_without_library(write_report(run))
    searched_on(run, phone=2000, watch=2000, predicted=2000)
    text = page_without_library(write_report(run))
    assert figures_of(text) == figures_of(before)
    assert "left out" not in section_of(text, "front")


def test_of_several_accuracies_the_one_on_most_images_counts(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    for path in sorted((run / "evaluate").glob("*-test.json")):
        record = json.loads(path.read_text()) | {"top1": 0.123, "images": 50}
        path.with_name(f"{path.stem}-50.json").write_text(json.dumps(record))
    text = page_without_library(write_report(run))
    assert "12.3" not in text
    assert "test part, 10,000 images" in text
    assert "Only rows of the same part" not in text
    next((run / "evaluate").glob("*-test.json")).unlink()
    text = page_without_library(write_report(run))
    assert "Only rows of the same part and the same number of images compare." in section_of(text, "accuracy")


def test_the_corners_say_what_they_were_measured_on(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    shutil.rmtree(run / "search")
    shown = section_of(page_without_library(write_report(run)), "costs")
    assert shown.count('<span class="tag">test part, 10,000 images</span>') == 2


RECORDS = {
    "search/*.json": ("front", "chosen", "verification"),
    "devices/*.json": ("devices",),
    "ensembles/*.json": ("ensembles",),
    "latency/*.json": ("latency",),
    "predictor/predictor.json": ("predictor",),
    "deploy/*.json": ("files",),
    "supernet.json": ("costs", "chosen"),
    "metrics.jsonl": ("training",),
}


@pytest.mark.parametrize("pattern", RECORDS)
def test_a_file_that_cannot_be_read_is_no_file_that_is_missing(full_run: Path, tmp_path: Path, pattern: str) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    if pattern == "ensembles/*.json":
        shutil.rmtree(run / "evaluate" / "ensembles")  # those would be shown alone
    for path in run.glob(pattern):
        path.write_text(path.read_text()[:40])
    text = page_without_library(write_report(run))
    for key in RECORDS[pattern]:
        shown = section_of(text, key)
        assert 'class="empty"' in shown
        for path in run.glob(pattern):
            assert f"<code>{path.relative_to(run)}</code>" in shown, "named, not asked for"
        assert "ofa " not in shown
    empty = [key for key, state in sections_of(text).items() if state == "empty"]
    assert sorted(empty) == sorted(RECORDS[pattern]), "nothing else is lost"


def garble(record: dict[str, Any], pattern: str) -> None:
    if pattern == "search/*.json":
        record["front"][0].pop("arch")
    elif pattern == "devices/*.json":
        next(iter(record["devices"].values()))["chosen"] = None
    elif pattern == "ensembles/*.json":
        record["rules"]["summed"] = None
    elif pattern == "latency/*.json":
        record["validation"]["mape"] = "good"
    elif pattern == "deploy/*.json":
        record["bytes"] = "many"
    elif pattern == "evaluate/ensembles/*.json":
        record["networks"] = None
    elif pattern == "evaluate/*.json":
        record["top1"] = [0.5]
    else:
        record["before"] = "better"


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("search/*.json", "front"),
        ("devices/*.json", "devices"),
        ("ensembles/*.json", "ensembles"),
        ("latency/*.json", "latency"),
        ("deploy/*.json", "files"),
        ("evaluate/*.json", "accuracy"),
        ("evaluate/ensembles/*.json", "ensembles"),
        ("finetune/*.json", "accuracy"),
    ],
)
def test_a_garbled_record_is_named_and_hides_no_other(full_run: Path, tmp_path: Path, pattern: str, key: str) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    before = page_without_library(write_report(run))
    record = json.loads(sorted(run.glob(pattern))[0].read_text())
    garble(record, pattern)
    odd = run / pattern.replace("*", "odd")
    odd.write_text(json.dumps(record))
    text = page_without_library(write_report(run))
    assert text.count(f"{odd.relative_to(run)} cannot be read: it lacks or garbles a value") == 1
    assert section_of(text, key) == section_of(before, key), "as if it were not there"
    assert figures_of(text) == figures_of(before)


def test_a_garbled_description_costs_no_search(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    record = json.loads((run / "supernet.json").read_text())
    record["train"]["training_images"] = "many"
    (run / "supernet.json").write_text(json.dumps(record))
    text = page_without_library(write_report(run))
    assert set(sections_of(text).values()) == {"filled"}
    assert "supernet.json cannot be read: it lacks or garbles a value" in text
    record["space"]["resolutions"] = []
    (run / "supernet.json").write_text(json.dumps(record))
    states = sections_of(page_without_library(write_report(run)))
    assert [key for key, state in states.items() if state == "empty"] == ["chosen", "costs"]


def test_a_line_of_metrics_with_a_garbled_number_is_left_out(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    line = next(line for line in lines if '"train"' in line)
    for key, value in (("elapsed_s", "long"), ("learning_rate", float("nan")), ("images_per_second", [1])):
        lines.append(json.dumps(json.loads(line) | {key: value}))
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    text = page_without_library(write_report(run))
    assert "metrics.jsonl: 3 lines could not be read" in text
    assert set(sections_of(text).values()) == {"filled"}


def test_device_without_validation_and_holdout_evaluation(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    record = json.loads((run / "latency" / "onnxruntime.json").read_text())
    (run / "latency" / "onnxruntime.json").write_text(json.dumps(record | {"validation": None}))
    for path in (run / "evaluate").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"part": "holdout"}))
    text = page_without_library(write_report(run))
    assert "No networks were held back" in text
    assert "hold-out part, 10,000 images" in text


def test_trained_but_never_searched(full_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "trained"
    run.mkdir()
    for name in ("config.yaml", "metrics.jsonl", "supernet.json"):
        shutil.copy(full_run / name, run / name)
    text = page_without_library(write_report(run))
    costs = text[text.index('<section id="costs"') :].partition("</section>")[0]
    assert costs.count("<tr>") == 3, "a heading, the smallest and the largest"
    assert "hold-out part, while training" in text


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        write_report(tmp_path / "nothing")
    with pytest.raises(RunError, match="not a run"):
        write_report(tmp_path)


def test_page_that_cannot_be_written(full_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_report(full_run, tmp_path / "file" / "page.html")


def test_charts_appear_in_a_browser(full_run: Path, tmp_path: Path) -> None:
    """Every figure becomes a drawing, with the page's security policy in force and no network."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium to open the page with")
    path = write_report(full_run, tmp_path / "page.html")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    command = [browser, *options, "--window-size=1280,900", "--dump-dom", path.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn = re.findall(r'<div data-figure="\d+" class="js-plotly-plot"', found)
    assert len(drawn) == 14
    assert 'class="legendtext"' in found


def test_latencies_of_several_devices_are_not_mixed(full_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(full_run, tmp_path / "photos")
    first = json.loads((run / "search" / "phone.json").read_text())

    def slower(member: dict[str, Any]) -> dict[str, Any]:
        return member | {"latency_ms": 50 + member["latency_ms"]}

    watch = first | {"name": "watch", "device": "watch", "chosen": slower(first["chosen"])}
    watch |= {part: [slower(member) for member in first[part]] for part in ("front", "evaluated")}
    (run / "search" / "watch.json").write_text(json.dumps(watch))
    text = page_without_library(write_report(run))
    sections = {
        name: text[text.index(f'<section id="{name}"') :].partition("</section>")[0] for name in ("chosen", "costs")
    }
    for member in (first["chosen"], watch["chosen"]):
        assert milliseconds(member["latency_ms"]) in sections["chosen"]
    assert "Latencies are those of onnxruntime." in sections["costs"]
    assert milliseconds(first["chosen"]["latency_ms"]) in sections["costs"]
    slow = {f">{milliseconds(member['latency_ms'])}<" for member in watch["evaluated"]}
    assert not [latency for latency in slow if latency in sections["costs"]]
