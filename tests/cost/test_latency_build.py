"""From measurements to a latency model: on a made-up device whose truth is known, and once on this machine."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from onceforall.cost import Timing, build_latency_model, latency_build, resumable
from onceforall.cost.latency_build import choose_networks, fit_line
from onceforall.cost.structure import Part
from onceforall.errors import ConfigError
from onceforall.space import Arch, create_space

SPACE = create_space("mbv3_small", num_classes=10, resolutions=[16, 24, 32])


class MadeUpDevice:
    """Runs a network in 0.02 ms + 0.3 ms per 1e6 MACs of every part; enters the runtime in 0.005 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, noise: float = 0.0) -> None:
        self.noise = np.random.default_rng(0)
        self.spread = noise
        self.files = 0
        monkeypatch.setattr(latency_build, "write_onnx", self.write)
        monkeypatch.setattr(resumable, "timed_rounds", self.timed_rounds)

    @staticmethod
    def write(path: Path, parts: Sequence[Part], side: int, batch: int) -> None:
        total = 0.005
        for part in parts:
            total += 0.02 + 0.3e-6 * part.macs(side) * batch
            side = part.sides(side)[-1]
        path.write_text(repr(total))

    def timed_rounds(
        self, paths: Sequence[Path], timing: Timing, *, rounds: Sequence[int], seed: int
    ) -> Iterator[dict[int, list[float]]]:
        self.files += len(paths)
        truth = [float(path.read_text()) for path in paths]
        for _ in range(max(rounds)):
            factors = 1 + np.abs(self.noise.normal(0, self.spread, len(paths)))
            yield {index: [ms * factor] for index, (ms, factor) in enumerate(zip(truth, factors, strict=True))}


def test_an_additive_device_is_learnt_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpDevice(monkeypatch)
    model = build_latency_model(SPACE, resolutions=[16, 32], batch=2)
    assert model.resolutions == (16, 32)
    assert model.batch == model.timing["batch"] == 2
    assert model.scale == pytest.approx(1, abs=1e-3)
    assert model.validation is not None
    assert model.validation.mape < 1e-3
    assert model.validation.kendall_tau == pytest.approx(1)
    assert (model.validation.macs_mape or 0) > 0.005
    assert len(model.validation.networks) == 10
    assert {network.arch.resolution for network in model.validation.networks} == {16, 32}


def test_without_networks_to_fit_on_there_is_no_line_through_macs(monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpDevice(monkeypatch)
    model = build_latency_model(SPACE, resolutions=[32], calibration_networks=0)
    assert (model.scale, model.offset_ms) == (1, 0)
    assert model.validation is not None
    assert model.validation.macs_mape is None


def test_parts_that_differ_at_every_position_have_entries_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of cifar_kdw widen, so each position is measured; its head reads what depth and ratio leave."""
    MadeUpDevice(monkeypatch)
    space = create_space("cifar_kdw", num_classes=10)
    model = build_latency_model(space, calibration_networks=2, validation_networks=6)
    keys = [entry.key for entry in model.entries]
    assert len(keys) == len(set(keys)) == 1 + 3 * 4 + 4
    assert {"r32.stem", "r32.stage1.block2.k5e2", "r32.head.w3-4"} <= set(keys)
    assert model.validation is not None
    assert model.validation.mape < 1e-3


def test_noise_shows_in_the_repeatability(monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpDevice(monkeypatch, noise=0.2)
    model = build_latency_model(SPACE, resolutions=[32])
    assert model.validation is not None
    assert 0.01 < model.validation.repeatability < 0.2
    assert 0.001 < model.validation.mape < 0.2
    assert all(entry.ms >= entry.alone_ms / 2 for entry in model.entries)


def test_equal_parts_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    device = MadeUpDevice(monkeypatch)
    model = build_latency_model(SPACE, resolutions=[32], calibration_networks=0, validation_networks=0)
    blocks = 3 * 6  # stages, and 2 kernel sizes times 3 expand ratios
    assert device.files == 2 + 3 * blocks  # stem and head; first, other, and two others in a row
    assert len(model.entries) == 2 + 2 * blocks
    assert (model.scale, model.offset_ms, model.calibration, model.validation) == (1.0, 0.0, (), None)


def test_a_second_call_measures_nothing_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = MadeUpDevice(monkeypatch)
    first = build_latency_model(SPACE, resolutions=[32], work_dir=tmp_path)
    files, device.files = device.files, 0
    again = build_latency_model(SPACE, resolutions=[32], work_dir=tmp_path)
    assert device.files == 0 < files
    assert again.to_dict() == first.to_dict()
    build_latency_model(SPACE, resolutions=[24, 32], work_dir=tmp_path)
    assert 0 < device.files < 2 * files


def test_whole_networks_may_come_from_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpDevice(monkeypatch)
    exported: list[Arch] = []

    def export(arch: Arch, path: Path) -> None:
        exported.append(arch)
        path.write_text("3.0")

    model = build_latency_model(SPACE, resolutions=[32], export=export)
    assert len(set(exported)) == 15
    assert {network.measured_ms for network in model.calibration} == {3.0}


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="no device named 'toaster'; there are onnxruntime"):
        build_latency_model(SPACE, "toaster")


def test_a_resolution_of_no_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="48"):
        build_latency_model(SPACE, resolutions=[48])


@pytest.mark.parametrize("seed", range(3))
def test_networks_to_fit_on_are_spread_and_not_held_back(seed: int) -> None:
    fitted, held_back = choose_networks(SPACE, 5, 10, seed)
    assert len(set(fitted)) == 5
    assert len(set(held_back)) == 10
    assert not set(fitted) & set(held_back)
    assert fitted[:2] == [SPACE.smallest, SPACE.largest]
    assert choose_networks(SPACE, 5, 10, seed) == (fitted, held_back)


def test_a_space_of_few_networks_gives_what_it_has() -> None:
    space = SPACE.restrict(kernel_sizes=[3], expand_ratios=[2], depths=[1, 2], resolutions=[32])
    fitted, held_back = choose_networks(space, 5, 10, seed=0)
    assert (len(fitted), len(held_back), len({*fitted, *held_back})) == (5, 3, space.size)
    single = space.restrict(depths=[1])
    assert choose_networks(single, 5, 10, seed=0) == ([single.smallest], [])


def test_lines_are_fitted_to_relative_errors() -> None:
    x = np.array([1.0, 2.0, 5.0])
    assert fit_line(x, 3 * x + 2) == pytest.approx((3, 2))
    assert fit_line(np.array([]), np.array([])) == (1.0, 0.0)
    assert fit_line(np.array([4.0]), np.array([2.0])) == pytest.approx((0.5, 0))
    assert fit_line(np.array([4.0, 4.0]), np.array([2.0, 2.0])) == pytest.approx((0.5, 0))
    scale, offset = fit_line(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    assert scale > 0
    assert offset == 0


def test_one_disturbed_network_does_not_bend_the_line() -> None:
    x = np.linspace(0.1, 1, 5)
    y = 0.95 * x + 0.01
    y[4] *= 1.4
    scale, offset = fit_line(x, y)
    clean = np.abs((scale * x + offset) / y - 1)[:4]
    assert clean.max() < 0.03
    plain, level = np.linalg.lstsq(np.stack([x / y, 1 / y], axis=1), np.ones(5), rcond=None)[0]
    assert np.abs((plain * x + level) / y - 1)[:4].max() > 0.05


def test_this_machine_is_measured(tmp_path: Path) -> None:
    space = create_space("resnet_small", num_classes=10, in_chans=1, resolutions=[16])
    timing = Timing(rounds=3, repeats=3, seconds_per_round=0.001)
    calls: list[tuple[int, int]] = []
    model = build_latency_model(
        space,
        timing=timing,
        validation_networks=4,
        progress=lambda done, total: calls.append((done, total)),
        work_dir=tmp_path,
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    smallest, largest = model.predict([space.smallest, space.largest])
    assert 0 < smallest < largest
    assert model.runtime.startswith("onnxruntime 1.")
    kept = json.loads((tmp_path / "measurements.json").read_text())
    assert all(len(rounds) == 3 for rounds in kept["rounds_ms"].values())


def test_a_single_round_cannot_tell_how_well_it_repeats() -> None:
    with pytest.raises(ConfigError, match="rounds is 1; a latency model needs at least 2"):
        build_latency_model(SPACE, timing=Timing(rounds=1))
