"""Prediction tables: written network by network, whole or recognisably not, read back as they were."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from onceforall.errors import ConfigError, DataError, FileFormatError, RunError, StorageError
from onceforall.search.ensemble import tables
from onceforall.search.ensemble.blocks import as_float16
from onceforall.search.ensemble.tables import PredictionTable, TableNetwork
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import all_sets, dense_correct, made_table

NETWORKS = [TableNetwork(f"net{index}", 32, 1.0 + index) for index in range(3)]
CLASSES = [f"class{index}" for index in range(7)]


def made(images: int = 20):
    return made_table(np.random.default_rng(0), 3, images, 7)


def begun(path, images: int = 20, top: int | None = None, **changes) -> PredictionTable:
    _, labels = made(images)
    description = {"networks": NETWORKS, "classes": CLASSES, "origin": {"weights": "abc"}} | changes
    return PredictionTable.create(path, labels=labels, images=range(images), top=top, **description)


def filled(path, images: int = 20, top: int | None = None) -> PredictionTable:
    probabilities, _ = made(images)
    table = begun(path, images, top)
    for index, network in enumerate(NETWORKS):
        table.write(network.name, [probabilities[index, :7], probabilities[index, 7:]])
    return table


def test_float16_by_its_bits_is_what_numpy_rounds_to():
    numbers = np.concatenate(
        [np.random.default_rng(0).random(5000) ** 8, 2.0 ** -np.arange(30), [0.0, 2.0**-14 - 2**-26]]
    )
    for kind in (np.float32, np.float64):
        assert as_float16(numbers.astype(kind)).tolist() == numbers.astype(kind).astype(np.float16).tolist()


def test_a_full_table_holds_what_was_written(tmp_path):
    probabilities, labels = made()
    filled(tmp_path / "test")
    table = PredictionTable(tmp_path / "test")
    assert (table.missing, table.labels.tolist(), table.classes) == ([], labels.tolist(), CLASSES)
    assert table.latencies_ms.tolist() == [1, 2, 3]
    assert table.probabilities("net1").tolist() == probabilities[1].tolist()
    together = np.concatenate([block.probabilities for block in table.blocks(6)], axis=1)
    assert together.tolist() == probabilities.tolist()
    sets = all_sets(3)
    assert VoteTable(table.blocks(6)).correct(sets).tolist() == dense_correct(probabilities, labels, sets)
    assert table.damaged() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.json", "test.npy"]


def test_a_table_of_the_best_classes_votes_like_its_dense_form(tmp_path):
    probabilities, labels = made(200)
    table = filled(tmp_path / "test", 200, top=3)
    dense = np.stack([table.probabilities(network.name) for network in NETWORKS])
    kept = np.sort(probabilities, axis=2)[:, :, -3:]
    assert np.sort(dense, axis=2)[:, :, -3:].tolist() == kept.astype(np.float64).tolist()
    rest = np.clip(1 - kept.sum(axis=2, dtype=np.float64), 0, 1)
    np.testing.assert_allclose(dense.sum(axis=2), (kept.sum(axis=2, dtype=np.float64) + rest), atol=1e-3)
    sets = all_sets(3)
    units = np.rint(dense * 2**24) / 2**24
    assert VoteTable(table.blocks(33)).correct(sets).tolist() == dense_correct(units, labels, sets)


def test_a_killed_collection_goes_on_where_it_was(tmp_path):
    probabilities, _ = made()
    begun(tmp_path / "t").write("net1", [probabilities[1]])

    def killed():
        yield probabilities[2, :5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun(tmp_path / "t").write("net2", killed())
    table = begun(tmp_path / "t")
    assert table.missing == ["net0", "net2"]
    assert table.probabilities("net1").tolist() == probabilities[1].tolist()
    with pytest.raises(RunError, match="2 of 3 networks have no predictions yet, net0"):
        next(table.blocks())
    with pytest.raises(RunError, match="net2 are not complete"):
        table.probabilities("net2")
    for index in (0, 2):
        table.write(f"net{index}", [probabilities[index]])
    assert np.concatenate([b.probabilities for b in table.blocks(9)], axis=1).tolist() == probabilities.tolist()


def test_a_network_that_is_written_again_is_open_until_it_is_whole(tmp_path):
    table = filled(tmp_path / "t")
    with pytest.raises(DataError, match="only 5 rows of network net0 for 20 images"):
        table.write("net0", [made()[0][1, :5]])
    assert PredictionTable(tmp_path / "t").missing == ["net0"]


@pytest.mark.parametrize(
    "change",
    [{"origin": {"weights": "other"}}, {"classes": [*CLASSES, "one more"]}, {"top": 3}],
)
def test_a_table_of_something_else_is_replaced(tmp_path, change):
    filled(tmp_path / "t")
    assert begun(tmp_path / "t").missing == []
    table = begun(tmp_path / "t", **change)
    assert table.missing == [network.name for network in table.networks]


def test_a_full_disk_while_networks_change_leaves_the_table_as_it_was(tmp_path, monkeypatch):
    filled(tmp_path / "t")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, name):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(PredictionTable, "_index", full)
    with pytest.raises(StorageError, match="No space left"):
        begun(tmp_path / "t", networks=NETWORKS[1:])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_networks_leave_the_predictions_of_those_in_both(tmp_path):
    before = filled(tmp_path / "t")
    expected = {network.name: before.probabilities(network.name) for network in NETWORKS}
    more = [TableNetwork("new", 32, 1.5), replace(NETWORKS[2], latency_ms=9.0), NETWORKS[0]]
    table = begun(tmp_path / "t", networks=more)
    assert (table.missing, table.damaged()) == (["new"], [])
    for network in (NETWORKS[0], NETWORKS[2]):
        np.testing.assert_array_equal(table.probabilities(network.name), expected[network.name])
    assert table.latencies_ms.tolist() == [network.latency_ms for network in more]
    resized = begun(tmp_path / "t", networks=[replace(NETWORKS[0], resolution=7), NETWORKS[2]])
    assert resized.missing == [NETWORKS[0].name]


def test_networks_that_are_left_out_are_kept_for_later(tmp_path):
    probabilities, _ = made()
    filled(tmp_path / "t")
    table = begun(tmp_path / "t", networks=NETWORKS[1:2])
    assert [block.probabilities.tolist() for block in table.blocks(20)] == [probabilities[1:2].tolist()]
    assert table.latencies_ms.tolist() == [2]
    assert begun(tmp_path / "t", networks=NETWORKS[1:2]).aside == table.aside
    again = begun(tmp_path / "t")
    assert (again.missing, again.aside) == ([], ())
    assert next(again.blocks(20)).probabilities.tolist() == probabilities.tolist()


def test_damaged_networks_are_missing_again(tmp_path):
    filled(tmp_path / "t")
    array = np.load(tmp_path / "t.npy", mmap_mode="r+")
    array[1] = array[1][:, ::-1]
    array.flush()
    assert PredictionTable(tmp_path / "t").damaged() == ["net1"]
    assert begun(tmp_path / "t").missing == ["net1"]
    assert PredictionTable(tmp_path / "t").missing == ["net1"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((20, 6), 1 / 6), "for 7 classes"),
        (np.full((20, 7), 1.0), "do not sum to one"),
        (np.full((20, 7), np.nan), "do not sum to one"),
        (np.full((21, 7), 1 / 7), "more rows of network net0 for 20 images"),
    ],
)
def test_what_is_not_predictions_is_refused(tmp_path, rows, message):
    table = begun(tmp_path / "t")
    with pytest.raises(DataError, match=message):
        table.write("net0", [rows])
    assert begun(tmp_path / "t").missing == ["net0", "net1", "net2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": []}, "needs a network"),
        ({"networks": [NETWORKS[0], NETWORKS[0]]}, "net0 is in the table twice"),
        ({"labels": np.arange(19)}, "one label per image"),
        ({"labels": np.full(20, 7)}, "numbers of the 7 classes"),
        ({"labels": np.full(20, 0.5)}, "numbers of the 7 classes"),
        ({"images": [0] * 20}, "an image is in the table twice"),
        ({"top": 8}, "top=8"),
    ],
)
def test_impossible_tables_are_not_begun(tmp_path, change, message):
    description = {"networks": NETWORKS, "labels": made()[1], "images": range(20), "classes": CLASSES, "top": None}
    with pytest.raises(ConfigError, match=message):
        PredictionTable.create(tmp_path / "t", **(description | change))
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_named(tmp_path):
    filled(tmp_path / "t")
    content = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "t.npy").write_bytes(content[:-10])
    with pytest.raises(FileFormatError, match="missing or truncated"):
        PredictionTable(tmp_path / "t")
    np.save(tmp_path / "t.npy", np.zeros((2, 2)))
    with pytest.raises(FileFormatError, match="its manifest says"):
        PredictionTable(tmp_path / "t")
    manifest = json.loads((tmp_path / "t.json").read_text())
    for broken in ({"format": 2}, {}):
        (tmp_path / "t.json").write_text(json.dumps(broken))
        with pytest.raises(FileFormatError, match=r"format 2|not the manifest"):
            PredictionTable(tmp_path / "t")
    manifest["networks"][0]["latency_ms"] = None
    (tmp_path / "t.json").write_text(json.dumps(manifest))
    table = filled(tmp_path / "t")  # a damaged table is begun anew
    table.networks = (TableNetwork("net0"), *table.networks[1:])
    with pytest.raises(DataError, match="no latency of network net0"):
        _ = table.latencies_ms


def test_unknown_networks_are_refused(tmp_path):
    table = filled(tmp_path / "t")
    with pytest.raises(ConfigError, match="no network net7"):
        table.write("net7", [])
    with pytest.raises(ConfigError, match="no network net7"):
        table.probabilities("net7")


def test_a_full_disk_leaves_the_networks_before_complete(tmp_path, monkeypatch):
    probabilities, _ = made()
    table = begun(tmp_path / "t")
    table.write("net0", [probabilities[0]])

    def full(handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tables.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        table.write("net1", [probabilities[1]])
    monkeypatch.undo()
    assert begun(tmp_path / "t").missing == ["net1", "net2"]


def test_more_classes_than_two_bytes_count(tmp_path):
    classes = [str(number) for number in range(70_000)]
    table = PredictionTable.create(tmp_path / "t", NETWORKS[:1], [69_999], ["image"], classes, top=2)
    table.write_listed("net0", np.array([[69_999, 3]]), np.array([[0.5, 0.25]]))
    assert table.probabilities("net0")[0, [69_999, 3]].tolist() == [0.5, 0.25]
    with pytest.raises(DataError, match="the table keeps top=2"):
        table.write_listed("net0", np.array([[1, 2, 3]]), np.array([[0.5, 0.25, 0.25]]))
