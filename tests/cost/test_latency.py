"""The latency model as a value: sums of table entries, refusals, and files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onceforall.cost import LatencyModel
from onceforall.cost.latency import Comparison, TableEntry, Validation, part_key
from onceforall.errors import ConfigError, FileFormatError, InvalidArch, MeasurementError
from onceforall.space import Arch, SearchSpace, create_space

SPACE = create_space("mbv3_small", num_classes=10, resolutions=[24, 32])


def made_up(space: SearchSpace, resolutions: tuple[int, ...]) -> LatencyModel:
    """A model whose every entry is another number, with a correction of 2 x + 0.5."""
    places = [(resolution, block, None, None, None) for resolution in resolutions for block in ("stem", "head")]
    for resolution in resolutions:
        for stage, choices in enumerate(space.stages, start=1):
            for block in ("first", "other"):
                places += [
                    (resolution, block, stage, k, e) for k in choices.kernel_sizes for e in choices.expand_ratios
                ]
    milliseconds = np.random.default_rng(0).uniform(0.1, 1.0, len(places)).tolist()
    entries = [
        TableEntry(part_key(*place), *place, ms, ms + 0.1, ms, ms + 0.2)
        for place, ms in zip(places, milliseconds, strict=True)
    ]
    network = Comparison(space.largest, 3.0, 3.3)
    return LatencyModel(
        device="onnxruntime",
        space=space,
        entries=tuple(entries),
        scale=2.0,
        offset_ms=0.5,
        machine={"cores": 2},
        calibration=(network,),
        validation=Validation(0.1, None, 0.2, 0.01, (network, Comparison(space.smallest, 1.0, 1.1))),
    )


MODEL = made_up(SPACE, (24, 32))


def by_hand(model: LatencyModel, arch: Arch) -> float:
    milliseconds = {entry.key: entry.ms for entry in model.entries}
    total = milliseconds[f"r{arch.resolution}.stem"] + milliseconds[f"r{arch.resolution}.head"]
    for stage, blocks in enumerate(arch.stages, start=1):
        for position, (kernel_size, expand_ratio) in enumerate(blocks):
            block = "other" if position else "first"
            total += milliseconds[f"r{arch.resolution}.stage{stage}.{block}.k{kernel_size}e{expand_ratio}"]
    return model.scale * total + model.offset_ms


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_predictions_are_corrected_sums(seed: int) -> None:
    codes = SPACE.sample_codes(5, np.random.default_rng(seed))
    archs = SPACE.decode(codes)
    predicted = MODEL.predict(codes)
    assert predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, [by_hand(MODEL, arch) for arch in archs], rtol=1e-12)
    np.testing.assert_array_equal(MODEL.predict(archs), predicted)


def test_a_restricted_space_reads_its_own_codes() -> None:
    part = SPACE.restrict(kernel_sizes=[5], depths=[2, 3], resolutions=[32])
    codes = part.sample_codes(20, np.random.default_rng(0))
    expected = MODEL.predict(part.decode(codes))
    np.testing.assert_allclose(MODEL.for_space(part).predict(codes), expected, rtol=1e-12)


def test_a_space_of_other_networks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"measured for space mbv3_small .* measure it anew"):
        MODEL.for_space(create_space("mbv3_small", num_classes=11))


def test_the_part_of_a_space_that_is_covered() -> None:
    model = made_up(SPACE, SPACE.resolutions[1:])
    assert model.covered(SPACE) == SPACE.restrict(resolutions=SPACE.resolutions[1:])
    assert MODEL.covered(SPACE) == SPACE
    part = SPACE.restrict(kernel_sizes=[5], resolutions=SPACE.resolutions[:2])
    assert model.covered(part) == part.restrict(resolutions=[SPACE.resolutions[1]])
    with pytest.raises(MeasurementError, match=f"no resolution of this space .{SPACE.resolutions[0]}.; measure it"):
        model.covered(SPACE.restrict(resolutions=SPACE.resolutions[:1]))


def test_a_resolution_that_was_not_measured_is_named() -> None:
    model = made_up(SPACE, (32,))
    assert model.resolutions == (32,)
    with pytest.raises(MeasurementError, match=r"no resolution 24 px \(it has 32\)"):
        model.predict([SPACE.largest, SPACE.smallest])
    with pytest.raises(InvalidArch, match="resolution 28 is not in space"):
        model.predict([replace(SPACE.largest, resolution=28)])


@pytest.mark.parametrize("key", ["r32.head", "r32.stage2.first.k5e4", "r32.stage3.other.k5e4"])
def test_a_block_that_was_not_measured_is_named(key: str) -> None:
    model = replace(MODEL, entries=tuple(entry for entry in MODEL.entries if entry.key != key))
    with pytest.raises(MeasurementError, match=rf"lacks {key}, which architecture {SPACE.largest.name} needs"):
        model.predict([SPACE.smallest, SPACE.largest])


@pytest.mark.parametrize("suffix", ["", ".json", ".csv"])
def test_a_saved_model_reads_back_equal(tmp_path: Path, suffix: str) -> None:
    MODEL.save(tmp_path / "latency" / f"onnxruntime{suffix}")
    loaded = LatencyModel.load(tmp_path / "latency" / "onnxruntime")
    assert loaded.to_dict() == MODEL.to_dict()
    assert loaded.entries == MODEL.entries
    assert loaded.validation == MODEL.validation
    np.testing.assert_array_equal(loaded.predict([SPACE.largest]), MODEL.predict([SPACE.largest]))


def test_the_files_are_readable(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "onnxruntime")
    with (tmp_path / "onnxruntime.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(MODEL.entries)
    assert rows[0]["key"] == "r24.stem"
    assert [float(row["ms"]) for row in rows] == [entry.ms for entry in MODEL.entries]
    described = json.loads((tmp_path / "onnxruntime.json").read_text())
    assert described["affine"] == {"scale": 2.0, "offset": 0.5}
    assert described["validation"]["networks"][0]["name"] == SPACE.largest.name
    assert set(described["table"][0]) >= {"key", "stage", "block", "ms"}


@pytest.mark.parametrize("text", ['{"format": 1, "device": "x"', '{"format": 9}', "[]", '{"format": 1}'])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"broken\.json"):
        LatencyModel.load(tmp_path / "broken.json")
