"""The published latency tables, against numbers of the official code and against adding up layers one by one."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from onceforall.errors import ConfigError, FileFormatError, MeasurementError
from onceforall.interop.official import arch_from_dict, layer_keys, load_latency_table
from onceforall.space import create_space

from .official import golden


@pytest.fixture(scope="module")
def note10(shared):
    return load_latency_table(shared / "official" / "note10")


@pytest.fixture(scope="module")
def mobile_trim(shared):
    return load_latency_table(shared / "official" / "proxylessnas" / "mobile_trim.yaml")


def added_up(files, space, arch):
    """The plain sum over the layers, from the files themselves."""
    total = 0.0
    for key in layer_keys(space, arch):
        total += files[arch.resolution][key]["mean"]
    return total


@pytest.fixture(scope="module")
def note10_files(shared):
    folder = shared / "official" / "note10"
    return {int(f.name.split("_")[0]): yaml.safe_load(f.read_text()) for f in folder.glob("*.yaml")}


def test_note10_equals_official(shared, note10):
    cases = golden(shared, "tutorial_predictors_mbv3_w1.2")
    archs = [arch_from_dict(note10.space, case["spec"]) for case in cases]
    assert note10.resolutions == (160, 176, 192, 208, 224)
    expected = [float(case["note10_ms"]) for case in cases]
    np.testing.assert_allclose(note10.predict(archs), expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(note10.predict(note10.space.encode(archs)), note10.predict(archs))


def test_mobile_trim_equals_official(shared, mobile_trim):
    cases = golden(shared, "mobile_trim_latency_proxyless_w1.0")
    archs = [arch_from_dict(mobile_trim.space, case["arch"]) for case in cases]
    assert (mobile_trim.space.name, mobile_trim.resolutions) == ("proxyless_w1.0", (224,))
    expected = [float(case["ms"]) for case in cases]
    np.testing.assert_allclose(mobile_trim.predict(archs), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 200])
def test_sums_have_the_bits_of_adding_up_layer_after_layer(note10, note10_files, count):
    codes = note10.space.sample_codes(count, np.random.default_rng(count))
    expected = [added_up(note10_files, note10.space, arch) for arch in note10.space.decode(codes)]
    assert note10.predict(codes).tolist() == expected


def test_every_layer_of_the_tables_is_used(note10_files):
    """The keys of all networks of mbv3_w1.2 are exactly those of the files."""
    space = create_space("mbv3_w1.2", resolutions=sorted(note10_files))
    for resolution, table in note10_files.items():
        one = [
            space.uniform(kernel_size, ratio, 4, resolution)
            for kernel_size in space.layout.kernel_sizes
            for ratio in space.layout.expand_ratios
        ]
        assert {key for arch in one for key in layer_keys(space, arch)} == set(table)


def test_other_spaces_whose_layers_are_there(note10, note10_files):
    """CompOFA's networks at width 1.2 have the same layers; restricted spaces have codes of their own."""
    for space in (
        create_space("compound_w1.2", resolutions=[160, 224]),
        create_space("mbv3_w1.2", kernel_sizes=[5], depths=[2, 3], resolutions=[192]),
    ):
        codes = space.sample_codes(20, np.random.default_rng(0))
        expected = [added_up(note10_files, space, arch) for arch in space.decode(codes)]
        assert note10.for_space(space).predict(codes).tolist() == expected


def test_one_file_alone(shared, note10):
    alone = load_latency_table(shared / "official" / "note10" / "192_lookup_table.yaml")
    assert alone.resolutions == alone.space.resolutions == (192,)
    arch = alone.space.largest
    assert alone.predict([arch]) == note10.predict([arch])


def test_what_a_table_lacks_is_named_only_when_it_is_needed(mobile_trim, note10):
    lacking = mobile_trim.space.uniform(3, 4, 2)
    known = mobile_trim.space.uniform(3, 6, 2)
    assert mobile_trim.predict([known]).shape == (1,)
    first = "expanded_conv-input:112x112x16-output:56x56x24-expand:4-kernel:3-stride:2-idskip:0"
    with pytest.raises(MeasurementError, match=f"mobile_trim lacks layer {first}, which architecture {lacking.name} n"):
        mobile_trim.predict([known, lacking, mobile_trim.space.uniform(5, 4, 2)])
    space = create_space("mbv3_w1.2")
    table = note10.for_space(space)
    assert table.resolutions == (160, 176, 192, 208, 224)
    with pytest.raises(MeasurementError, match=r"note10 has no resolution 128 px, .*it has 160, 176, 192, 208, 224$"):
        table.predict([space.largest, space.smallest])
    with pytest.raises(MeasurementError, match="lacks layer Conv-input:224x224x3-output:112x112x16, which"):
        note10.for_space(create_space("mbv3_w1.0")).predict([space.largest])
    with pytest.raises(ConfigError, match="inverted bottlenecks only, not space resnet50"):
        note10.for_space(create_space("resnet50"))


def test_a_table_without_one_layer(shared, tmp_path):
    table = yaml.safe_load((shared / "official" / "note10" / "160_lookup_table.yaml").read_text())
    last = "Logits-input:1x1x1536-output:1000"
    del table[last]
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(table))
    loaded = load_latency_table(tmp_path / "short.yaml")
    with pytest.raises(MeasurementError, match=f"latency table of short lacks layer {last}"):
        loaded.predict([loaded.space.smallest])


def test_other_numbers_of_classes_are_other_layers(note10):
    space = replace(note10.space, layout=create_space("mbv3_w1.2", num_classes=10).layout)
    with pytest.raises(MeasurementError, match="lacks layer Logits-input:1x1x1536-output:10,"):
        note10.for_space(space).predict([space.largest])


def test_files_that_are_no_tables(shared, tmp_path):
    text = (shared / "official" / "note10" / "160_lookup_table.yaml").read_text()
    for written, message in (
        ("- a\n- b\n", "is not a latency table: it holds no `layer"),
        ("", "is not a latency table: it holds no `layer"),
        ("key: {mean: 1.0", "is not a whole YAML file"),
        ("key: 3\n", "is not a latency table: key has no mean in milliseconds"),
        ("key: {mean: .nan}\n", "is not a latency table: key has no mean in milliseconds"),
        ("key: {mean: -3}\n", "is not a latency table: key has no mean in milliseconds"),
        ("key: {mean: true}\n", "is not a latency table: key has no mean in milliseconds"),
        ("key: {mean: 1.0}\n", "it has no first layer"),
        (text[: text.rindex("mean:") + 10], r"is damaged: expanded_conv.* has \['count', 'mean'\], other layers have"),
        ("key: !!python/object/apply:os.getcwd []\n", "is not a whole YAML file"),
    ):
        (tmp_path / "table.yaml").write_text(written)
        with pytest.raises(FileFormatError, match=message):
            load_latency_table(tmp_path / "table.yaml")
    with pytest.raises(FileFormatError, match="does not exist"):
        load_latency_table(tmp_path / "missing.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match=r"empty holds no \.yaml file"):
        load_latency_table(tmp_path / "empty")
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / "empty" / name).write_text(text)
    with pytest.raises(FileFormatError, match="holds two tables for 160 px"):
        load_latency_table(tmp_path / "empty")
