"""Files are whole or not there."""

import json
import subprocess
import sys

import pytest

from onceforall.errors import FileFormatError, StorageError
from onceforall.files import atomic_path, read_json, write_json, write_text


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "new folder" / "notes.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["notes.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "notes.txt"
    write_text(path, "before")
    with pytest.raises(ValueError, match="half"), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        int(temporary.read_text())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_with_all_its_files(tmp_path):
    with atomic_path(tmp_path / "whole") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("1")
        assert not (tmp_path / "whole").exists()
    assert (tmp_path / "whole" / "a").read_text() == "1"


def test_numbers_that_json_does_not_have_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_that_is_missing_or_cut_is_named(tmp_path):
    with pytest.raises(FileFormatError, match=r"x\.json does not exist"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text(json.dumps([1, 2, 3])[:-1])
    with pytest.raises(FileFormatError, match="may be truncated"):
        read_json(tmp_path / "x.json")


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*check the folder and free space"):
        write_text(tmp_path / "file" / "notes.txt", "one")


def test_a_full_disk_is_one_error_and_leaves_the_old_file(tmp_path):
    """A limit on the size of files makes every larger write fail, as a full disk does."""
    path = tmp_path / "notes.txt"
    write_text(path, "before")
    program = (
        "import resource, sys\n"
        "from onceforall.errors import StorageError\n"
        "from onceforall.files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_text(sys.argv[1], 'x' * 5000)\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert "what was there before is unchanged" in finished.stdout
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
