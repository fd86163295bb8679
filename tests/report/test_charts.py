import json
from pathlib import Path
from typing import Any

import pytest

from onceforall.report.charts import accuracy_chart, agreement_chart, front_chart, loss_chart
from onceforall.report.layout import Page
from onceforall.report.reading import RunContents, measured_front, members_of, read_run
from onceforall.report.sections import training


def member(name: str, top1: float, ms: float | None, measured: bool = True) -> dict[str, Any]:
    stage = {"kernel_sizes": [3, 5], "expand_ratios": [2, 4]}
    return {"name": name, "arch": {"resolution": 32, "stages": [stage]}, "top1": top1, "top1_error": 0.01} | {
        "latency_ms": ms,
        "macs": 1e6 * top1,
        "params": 1e5,
        "measured": measured,
    }


def search(**more: Any) -> dict[str, Any]:
    members = [member("a", 0.7, 1.0), member("b", 0.8, 2.0), member("c", 0.75, 2.5), member("d", 0.9, None)]
    return {"name": "phone", "constraints": {}, "evaluated": members, "front": members[:2], "chosen": None} | more


def traces(figure: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    assert figure is not None
    return {trace["name"]: trace for trace in figure["data"]}


def test_front_is_in_colour_and_the_rest_grey() -> None:
    drawn = traces(front_chart([search()], "latency_ms", "latency, ms"))
    assert drawn["front"]["x"] == [1.0, 2.0]
    assert drawn["front"]["y"] == pytest.approx([70.0, 80.0])
    assert drawn["front"]["error_y"]["array"] == pytest.approx([1.0, 1.0])
    assert drawn["evaluated"]["x"] == [2.5]
    assert "chosen" not in drawn
    assert "stage 1: k3 e2, k5 e4" in drawn["front"]["text"][0]


def test_chosen_network_limit_and_scale() -> None:
    chosen = member("b", 0.8, 2.0)
    figure = front_chart([search(chosen=chosen, constraints={"latency_ms": 2.2})], "latency_ms", "latency, ms")
    assert traces(figure)["chosen"]["x"] == [2.0]
    assert figure is not None
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [2.2]
    assert figure["layout"]["annotations"][0]["text"] == "phone"
    by_macs = front_chart([search()], "macs", "million MACs", 1e-6)
    assert traces(by_macs)["front"]["x"] == pytest.approx([0.7, 0.75, 0.8, 0.9])


def test_predicted_networks_never_make_the_front() -> None:
    predicted = [member("p", 0.99, 0.5, measured=False), member("a", 0.2, 1.0, measured=False)]
    searches = [search(), search(evaluated=predicted, front=predicted)]
    drawn = traces(front_chart(searches, "latency_ms", "latency, ms"))
    assert drawn["predicted, not measured"]["x"] == [0.5], "a measured record of the same network goes first"
    assert drawn["front"]["x"] == [1.0, 2.0]
    assert len(members_of(searches)) == 5


def test_cost_that_nothing_has() -> None:
    assert front_chart([search(evaluated=[member("d", 0.9, None)], front=[])], "latency_ms", "ms") is None
    assert measured_front([], "macs") == []


def test_training_charts(full_run: Path) -> None:
    contents = read_run(full_run)
    assert [phase[0] for phase in contents.phases][:3] == ["full", "kernel_size", "depth_1"]
    assert contents.phases[-1][1:] == (2600, 3000)
    loss = loss_chart(contents)
    assert loss["data"][0]["x"][-1] == 3000
    assert len(loss["layout"]["annotations"]) == 6
    assert sum(note["room"] for note in loss["layout"]["annotations"]) == pytest.approx(1.0)
    accuracy = traces(accuracy_chart(contents))
    assert list(accuracy) == ["largest", "smallest", "random1", "random2"]
    assert accuracy["smallest"]["x"][0] > 1200, "only the largest is trained in the first phase"


def test_evaluations_on_other_images_are_not_in_one_chart() -> None:
    def line(step: int, **more: Any) -> dict[str, Any]:
        return {"label": "largest", "step": step, "top1": 0.5} | more

    lines = [
        line(0, part="test", images=2000.0),
        line(1, images=100.0),
        line(2, images=100.0, part="holdout"),
        line(3, images=40.0, part="holdout"),
    ]
    contents = RunContents(Path(), evaluations=lines)
    figure = accuracy_chart(contents)
    assert traces(figure)["largest"]["x"] == [1, 2]
    assert figure["layout"]["yaxis"]["title"]["text"] == "hold-out top-1, %"
    title = training(contents, Page())
    assert "while training, 100 hold-out images; left out: 2 evaluations on fewer images or another part" in title
    alone = accuracy_chart(RunContents(Path(), evaluations=lines[:1]))
    assert alone["layout"]["yaxis"]["title"]["text"] == "test top-1, %"


def test_long_training_is_thinned(tmp_path: Path) -> None:
    lines = [{"kind": "train", "step": step, "phase": "p", "loss": 1.0} for step in range(20_000)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert 1000 < len(loss_chart(read_run(tmp_path))["data"][0]["x"]) <= 1500


def test_agreement_has_one_scale_on_both_axes() -> None:
    figure = agreement_chart([(0.5, 0.6, "a"), (0.7, 0.65, "b")], "%", 100.0)
    assert figure["layout"]["xaxis"]["range"] == figure["layout"]["yaxis"]["range"]
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < 50 < 70 < high
    flat = agreement_chart([(0.5, 0.5, "a")], "%")
    assert flat["layout"]["xaxis"]["range"][0] < flat["layout"]["xaxis"]["range"][1]
