"""The published CSV layout: written, read back, and refused where a file is not what it should be."""

import numpy as np
import pytest

from onceforall.errors import ConfigError, DataError, FileFormatError, RunError
from onceforall.search.ensemble.blocks import Block
from onceforall.search.ensemble.published_csv import read_files, read_published, write_published
from onceforall.search.ensemble.tables import PredictionTable, TableNetwork
from onceforall.search.ensemble.votes import VoteTable

from .tables_of_numbers import all_sets, dense_correct, made_table

PER_CLASS = 10


@pytest.fixture
def made():
    probabilities, _ = made_table(np.random.default_rng(0), 3, 8 * PER_CLASS, 8)
    return probabilities, np.repeat(np.arange(8), PER_CLASS)  # in the order of folders


@pytest.fixture
def folder(made, tmp_path):
    probabilities, labels = made
    networks = [TableNetwork(f"net{index}") for index in range(3)]
    table = PredictionTable.create(tmp_path / "t", networks, labels, range(len(labels)), list("abcdefgh"))
    for network, rows in zip(networks, probabilities, strict=True):
        table.write(network.name, [rows])
    write_published([table], tmp_path / "csv")
    return tmp_path / "csv"


def lines(folder, name):
    return (folder / name).read_text().splitlines()


def rewrite(folder, name, rows):
    (folder / name).write_text("\n".join(rows) + "\n")


def test_files_have_the_published_layout(folder, made):
    probabilities, labels = made
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"model_0{index}_{kind}.csv" for index in range(3) for kind in ("class", "prob")
    )
    best = np.argsort(-probabilities[1, 0].astype(np.float64), kind="stable")[:5]
    assert lines(folder, "model_01_class.csv")[0] == ",".join(map(str, [*best, labels[0]]))
    values = [float(text) for text in lines(folder, "model_01_prob.csv")[0].split(",")]
    assert np.array(values, dtype=np.float16).tolist() == probabilities[1, 0, best].tolist()
    assert len(lines(folder, "model_02_prob.csv")) == len(labels)


def test_what_was_written_is_read_back(folder, made, tmp_path):
    probabilities, labels = made
    table = read_published(folder, tmp_path / "read", latencies_ms=[1.5, 2.5, 3.5], images=len(labels), class_count=8)
    assert [network.name for network in table.networks] == ["model_00", "model_01", "model_02"]
    assert table.latencies_ms.tolist() == [1.5, 2.5, 3.5]
    cut = Block(labels, probabilities).truncated(5).dense().probabilities
    sets = all_sets(3)
    assert VoteTable(table.blocks(), top=5).correct(sets).tolist() == dense_correct(cut, labels, sets)
    write_published([table], tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_text() == path.read_text()


def test_names_with_a_prefix_and_three_digits_are_read(folder, tmp_path):
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("model_0", "OFA2_model_00"))
    assert len(read_published(folder, tmp_path / "read").networks) == 3


def double(folder, name):
    rewrite(folder, name, lines(folder, name) * 2)


def eat(folder, *names):
    for name in names:
        rewrite(folder, name, lines(folder, name)[1:])


def relabel(folder, name, function):
    rows = [row.rsplit(",", 1) for row in lines(folder, name)]
    rewrite(folder, name, [f"{row},{function(int(label), number)}" for number, (row, label) in enumerate(rows)])


def renumber(folder, name):
    """A network that is always right, and calls every class by the number of the next one."""
    labels = [int(row.rsplit(",", 1)[1]) for row in lines(folder, name)]
    rewrite(folder, name, [",".join(str((label + k) % 8) for k in (1, 2, 3, 4, 5, 0)) for label in labels])


def both(folder, action):
    for kind in ("class", "prob"):
        action(f"model_01_{kind}.csv")


def all_files(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: both(f, lambda n: double(f, n)),
            "160 rows, but model_00_class.csv has 80; model_01_class.csv holds rows twice",
        ),
        (lambda f: [double(f, name) for name in all_files(f)], "begin anew at row 81"),
        (lambda f: double(f, "model_01_prob.csv"), "model_01_prob.csv holds rows twice"),
        (
            lambda f: both(f, lambda n: rewrite(f, n, sorted(lines(f, n) * 2))),
            "160 rows, but model_00_class.csv has 80; they are of different image sets",
        ),
        (lambda f: eat(f, "model_01_prob.csv"), "one lost a row, perhaps its first, read as a header"),
        (lambda f: both(f, lambda n: eat(f, n)), "79 rows, but model_00_class.csv has 80; one lost a row"),
        (
            lambda f: eat(f, *all_files(f)),
            "one image of class 0 is missing where all classes have 10; was the first row",
        ),
        (lambda f: rewrite(f, "model_01_class.csv", ["0,1,2,3,4,label", *lines(f, "model_01_class.csv")]), "header"),
        (lambda f: rewrite(f, "model_01_prob.csv", ["0,1,2,3,4", *lines(f, "model_01_prob.csv")]), "row 1 .* header"),
        (lambda f: (f / "model_01_prob.csv").unlink(), "prob file of network 1 is missing"),
        (lambda f: both(f, lambda n: (f / n).unlink()), "class file of network 1 is missing"),
        (lambda f: both(f, lambda n: (f / f"model_1_{n[9:]}").write_bytes((f / n).read_bytes())), "both network 1"),
        (
            lambda f: both(f, lambda n: (f / f"model_03_{n[9:]}").write_bytes((f / n).read_bytes())),
            "the same predictions as model_01_class.csv, a doubled network",
        ),
        (lambda f: relabel(f, "model_01_class.csv", lambda label, _: 7 - label), "classes are in another order"),
        (
            lambda f: relabel(f, "model_01_class.csv", lambda label, row: (row * 3) % 80 // 10),
            "images are in another order than those of model_00",
        ),
        (lambda f: relabel(f, "model_01_class.csv", lambda label, row: row % 3), "on other images than model_00"),
        (lambda f: both(f, lambda n: rewrite(f, n, lines(f, n)[:60])), "they are of different image sets"),
        (lambda f: rewrite(f, "model_01_class.csv", ["1,1,2,3,4,0"] * 80), "different class ids"),
        (lambda f: rewrite(f, "model_01_prob.csv", ["0.5,0.6,0.1,0,0"] * 80), "falling probabilities"),
        (lambda f: rewrite(f, "model_01_prob.csv", ["0.9,0.6,0.1,0,0"] * 80), "falling probabilities"),
        (lambda f: rewrite(f, "model_01_prob.csv", ["0.9,0.1,0,0"] * 80), "rows of 4 numbers, not of 5"),
        (lambda f: rewrite(f, "model_01_class.csv", ["2000000000,1,2,3,4,0"] * 80), "different class ids"),
        (lambda f: (f / "model_01_prob.csv").write_text(""), "model_01_prob.csv: the file is empty"),
        (lambda f: renumber(f, "model_01_class.csv"), "model_01_class.csv: its predictions are in another order of cl"),
        (lambda f: [path.unlink() for path in list(f.iterdir())], "no model_NN_class.csv"),
    ],
)
def test_bad_files_are_refused_with_one_line(folder, tmp_path, damage, message):
    damage(folder)
    with pytest.raises((FileFormatError, DataError), match=message):
        read_published(folder, tmp_path / "read")
    assert not list(tmp_path.glob("read*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 81}, "80 rows for 81 images; one lost a row"),
        ({"class_count": 7}, "class 7 in files of 7 classes"),
        ({"latencies_ms": [1.0]}, "3 networks and 1 latencies"),
    ],
)
def test_what_the_caller_knows_better_is_checked(folder, tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        read_published(folder, tmp_path / "read", **options)


def test_fewer_than_five_classes_cannot_be_published(tmp_path):
    table = PredictionTable.create(tmp_path / "t", [TableNetwork("net")], [0], ["image"], ["yes", "no"])
    table.write("net", [np.array([[0.5, 0.5]])])
    with pytest.raises(DataError, match="5 classes per image"):
        write_published([table], tmp_path / "csv")


def test_a_folder_is_written_whole_or_not_at_all(folder, made, tmp_path):
    probabilities, labels = made
    networks = [TableNetwork("net0"), TableNetwork("net1")]
    table = PredictionTable.create(tmp_path / "two", networks, labels, range(len(labels)), list("abcdefgh"))
    table.write("net0", [probabilities[0]])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunError, match="net1 are not complete"):
        write_published([table], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    table.write("net1", [probabilities[1]])
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_published([table], folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "new").mkdir()
    assert len(write_published([table], tmp_path / "new")) == 4


def test_files_of_the_same_images_are_known(folder, made, tmp_path):
    _, labels = made
    files = read_files(folder)
    assert files.has_images_of(files)
    other, _ = made_table(np.random.default_rng(1), 3, len(labels), 8)
    table = PredictionTable.create(tmp_path / "o", [TableNetwork("net")], labels, range(len(labels)), list("abcdefgh"))
    table.write("net", [other[0]])
    write_published([table], tmp_path / "other")
    assert not read_files(tmp_path / "other").has_images_of(files)
