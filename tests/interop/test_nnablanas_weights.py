"""HDF5 parameter files: names, shapes and transposes as NNablaNAS writes them, both ways, and every damage."""

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from onceforall.elastic import shrink_kernel
from onceforall.errors import FileFormatError, StorageError
from onceforall.interop.nnablanas import arch_from_genotype, load_h5, save_h5
from onceforall.pretrained import load_pretrained
from onceforall.supernets import create_supernet

GENOTYPE = [5, 2, 9, 9, 6, 4, 2, 1, 7, 7, 8, 9, 8, 3, 9, 9, 8, 4, 3, 1]


def supernet_of(name, seed=None, classes=10):
    """A small-classifier supernet; with a seed every tensor is random, norms and matrices too."""
    supernet = create_supernet(name, classes).eval()
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        for key, tensor in supernet.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1 + 1.0 * key.endswith("running_var"))
    return supernet


@pytest.fixture(scope="module")
def mobile():
    return supernet_of("mbv3_w1.0", seed=0)


@pytest.fixture(scope="module")
def mobile_file(mobile, tmp_path_factory):
    path = tmp_path_factory.mktemp("h5") / "weights.h5"
    save_h5(mobile, path)
    return path


def tensors_of(network):
    return {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def assert_equal(network, other):
    theirs = tensors_of(other)
    for key, tensor in tensors_of(network).items():
        assert torch.equal(tensor, theirs[key]), key


def test_names_shapes_and_attributes_of_an_elastic_network(mobile_file):
    with h5py.File(mobile_file) as file:
        shapes = {
            "first_conv/conv/_W": (16, 3, 3, 3),
            "first_conv/bn/_gamma": (1, 16, 1, 1),
            "blocks/0/conv/depth_conv/conv/_W": (16, 1, 3, 3),
            "blocks/0/conv/depth_conv/bn/_mean": (1, 16, 1, 1),
            "blocks/0/conv/point_linear/conv/_W": (16, 16, 1, 1),
            "blocks/1/conv/inverted_bottleneck/conv/conv/_W": (96, 16, 1, 1),
            "blocks/1/conv/inverted_bottleneck/bn/bn/_beta": (1, 96, 1, 1),
            "blocks/20/conv/depth_conv/conv/conv/_W": (960, 1, 7, 7),
            "blocks/20/conv/depth_conv/conv/7to5_matrix": (25, 25),
            "blocks/20/conv/depth_conv/conv/5to3_matrix": (9, 9),
            "blocks/5/conv/depth_conv/se/fc/reduce/_W": (40, 144, 1, 1),
            "blocks/5/conv/depth_conv/se/fc/expand/_b": (144,),
            "blocks/20/conv/point_linear/conv/conv/_W": (160, 960, 1, 1),
            "blocks/20/conv/point_linear/bn/bn/_var": (1, 160, 1, 1),
            "final_expand_layer/conv/_W": (960, 160, 1, 1),
            "final_expand_layer/bn/_gamma": (1, 960, 1, 1),
            "feature_mix_layer/conv/_W": (1280, 960, 1, 1),
            "classifier/linear/_W": (1280, 10),
            "classifier/linear/_b": (10,),
        }
        assert {name: file[name].shape for name in shapes} == shapes
        found = {}
        file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        assert sorted(item.attrs["index"] for item in found.values()) == list(range(len(found)))
        for name, item in found.items():
            assert item.dtype == np.float32
            assert bool(item.attrs["need_grad"]) == (not name.endswith(("_mean", "_var")))


def test_linear_weights_and_kernel_matrices_are_transposed(mobile, mobile_file):
    with h5py.File(mobile_file) as file:
        weight = torch.from_numpy(file["classifier/linear/_W"][()])
        depthwise = torch.from_numpy(file["blocks/3/conv/depth_conv/conv/conv/_W"][()])
        matrix = torch.from_numpy(file["blocks/3/conv/depth_conv/conv/7to5_matrix"][()])
    features = torch.randn(2, 1280)
    assert torch.allclose(features @ weight, F.linear(features, mobile.classifier.weight), atol=1e-5)
    # NNablaNAS multiplies the flattened centre of the kernel with the matrix from the right.
    layer = mobile.block(0, 2).depthwise
    stock = (depthwise[:, :, 1:6, 1:6].flatten(1) @ matrix).view(-1, 1, 5, 5)
    ours = shrink_kernel(layer.weight, 5, layer.kernel_sizes, dict(layer.transforms.items()))
    assert torch.allclose(stock, ours, atol=1e-5)


@pytest.mark.parametrize("name", ["mbv3_w1.0", "mbv3_w1.2", "resnet50"])
def test_a_supernet_survives_writing_and_reading(name, tmp_path):
    supernet = supernet_of(name, seed=1, classes=3)
    save_h5(supernet, tmp_path / "weights.h5")
    loaded = supernet_of(name, classes=3)
    assert load_h5(loaded, tmp_path / "weights.h5") == []
    assert_equal(supernet, loaded)


@pytest.mark.parametrize("name", ["mbv3_w1.0", "resnet50"])
def test_static_networks_survive_writing_and_reading(name, tmp_path):
    supernet = supernet_of(name, seed=2, classes=3)
    rng = np.random.default_rng(0)
    for arch in [supernet.space.smallest, *supernet.space.sample_many(2, rng), supernet.space.largest]:
        network = supernet.extract(arch)
        save_h5(network, tmp_path / "static.h5")
        fresh = supernet_of(name, classes=3).extract(arch)
        assert load_h5(fresh, tmp_path / "static.h5") == []
        assert_equal(network, fresh)


def test_static_networks_number_their_blocks_without_gaps(mobile, tmp_path):
    arch = arch_from_genotype(mobile.space, GENOTYPE)  # depths 2, 4, 3, 2, 4
    save_h5(mobile.extract(arch), tmp_path / "static.h5")
    with h5py.File(tmp_path / "static.h5") as file:
        assert sorted(map(int, file["blocks"])) == list(range(1 + sum(arch.depths)))
        assert file["blocks/1/conv/inverted_bottleneck/conv/_W"].shape == (64, 16, 1, 1)  # MB4 of 16 channels
        third = file["blocks/3/conv/depth_conv/conv/_W"][()]  # the first block of stage 2: MB6 3x3
        assert third.shape == (144, 1, 3, 3)
        assert file["blocks/3/conv/depth_conv/bn/_gamma"].shape == (1, 144, 1, 1)
        assert "blocks/3/conv/depth_conv/se/fc/reduce/_b" in file
        assert "final_expand_layer/conv/_W" in file
    assert np.array_equal(third, mobile.block(1, 0).depthwise.active_weight(144, 3).detach())


def test_the_full_network_in_its_static_form_becomes_a_supernet(mobile, tmp_path):
    save_h5(mobile.extract(mobile.space.largest), tmp_path / "full.h5")
    loaded = supernet_of("mbv3_w1.0")
    kept = load_h5(loaded, tmp_path / "full.h5")
    assert len(kept) == 40
    assert all(text.startswith("missing") and text.endswith("_matrix") for text in kept)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), mobile(images))


def test_resnet50_names(tmp_path):
    supernet = supernet_of("resnet50")
    save_h5(supernet, tmp_path / "weights.h5")
    with h5py.File(tmp_path / "weights.h5") as file:
        assert file["input_stem/0/conv/conv/_W"].shape == (32, 3, 3, 3)
        assert file["input_stem/1/conv/conv/conv/_W"].shape == (32, 32, 3, 3)
        assert file["input_stem/2/bn/bn/_gamma"].shape == (1, 64, 1, 1)
        assert file["blocks/0/downsample/conv/conv/_W"].shape == (256, 64, 1, 1)
        assert file["blocks/17/conv2/bn/bn/_var"].shape == (1, 720, 1, 1)
        assert file["classifier/linear/linear/_W"].shape == (2048, 10)
    save_h5(supernet.extract(supernet.space.smallest), tmp_path / "static.h5")
    with h5py.File(tmp_path / "static.h5") as file:
        assert sorted(file["input_stem"]) == ["0", "1"]  # the residual block of the stem is left out
        assert len(file["blocks"]) == 10
        assert file["blocks/0/conv1/conv/_W"].shape == (32, 40, 1, 1)


def copied_without(path, target, removed=(), added=()):
    with h5py.File(path) as source, h5py.File(target, "w") as file:
        for name in source:
            source.copy(name, file)
        for name in removed:
            del file[name]
        for name, array in added:
            file[name] = array
    return target


def test_missing_and_unexpected_parameters_are_listed(mobile_file, tmp_path):
    damaged = copied_without(
        mobile_file,
        tmp_path / "other.h5",
        removed=["first_conv/bn/_mean", "blocks/2/conv/depth_conv/conv/5to3_matrix"],
        added=[("extra/_W", np.zeros(3, np.float32))],
    )
    network = supernet_of("mbv3_w1.0")
    with pytest.raises(
        FileFormatError,
        match=r"other\.h5 does not hold .*: missing first_conv/bn/_mean; "
        "missing blocks/2/conv/depth_conv/conv/5to3_matrix; unexpected extra/_W$",
    ):
        load_h5(network, damaged)
    skipped = load_h5(network, damaged, strict=False)
    assert skipped == [
        "missing first_conv/bn/_mean",
        "missing blocks/2/conv/depth_conv/conv/5to3_matrix",
        "unexpected extra/_W",
    ]


def test_a_file_has_matrices_only_for_the_steps_of_its_own_kernel_sizes(mobile, mobile_file, tmp_path):
    """7 and 5 alone, as in the older stages for kernels and depths: what the step from 5 to 3 would be is not there."""
    steps = [f"blocks/{index}/conv/depth_conv/conv/5to3_matrix" for index in range(1, 21)]
    path = copied_without(mobile_file, tmp_path / "k75.h5", removed=steps)
    for options in ({"kernel_sizes": [5, 7]}, {}):
        loaded = create_supernet("mbv3_w1.0", 10, **options)
        assert load_h5(loaded, path) == [f"missing {name}" for name in steps]
        layer, stored = loaded.block(2, 1).depthwise, mobile.block(2, 1).depthwise
        assert torch.equal(layer.transforms["7to5"], stored.transforms["7to5"])
        assert torch.equal(layer.transforms["5to3"], torch.eye(9))
        assert torch.equal(layer.active_weight(240, 5), stored.active_weight(240, 5))
    without_first = [name.replace("5to3", "7to5") for name in steps]
    damaged = copied_without(mobile_file, tmp_path / "k3.h5", removed=without_first)
    with pytest.raises(FileFormatError, match=r"missing blocks/1/conv/depth_conv/conv/7to5_matrix; .* and 15 more"):
        load_h5(loaded, damaged)
    partial = copied_without(mobile_file, tmp_path / "partial.h5", removed=steps[:-1])
    with pytest.raises(FileFormatError, match=r"missing blocks/1/conv/depth_conv/conv/5to3_matrix; .* and 14 more"):
        load_h5(loaded, partial)


def test_one_step_from_7_to_3_is_the_same_3x3_in_two(mobile, mobile_file, tmp_path):
    generator = torch.Generator().manual_seed(5)
    layers = [f"blocks/{index}/conv/depth_conv/conv/" for index in range(1, 21)]
    matrices = {f"{layer}7to3_matrix": torch.randn(9, 9, generator=generator) for layer in layers}
    path = copied_without(
        mobile_file,
        tmp_path / "k73.h5",
        removed=[f"{layer}{step}_matrix" for layer in layers for step in ("7to5", "5to3")],
        added=[(name, matrix.numpy()) for name, matrix in matrices.items()],
    )
    loaded = supernet_of("mbv3_w1.0", seed=6)
    assert load_h5(loaded, path) == []
    for stage, block in ((0, 0), (4, 3)):
        layer = loaded.block(stage, block).depthwise
        stock = layer.weight[:, :, 2:5, 2:5].flatten(1) @ matrices[f"{layers[4 * stage + block]}7to3_matrix"]
        assert torch.allclose(layer.active_weight(len(layer.weight), 3).flatten(1), stock, atol=1e-6)
        assert torch.equal(layer.weight, mobile.block(stage, block).depthwise.weight)
    odd = copied_without(path, tmp_path / "odd.h5", removed=[f"{layers[2]}7to3_matrix"])
    with pytest.raises(FileFormatError, match=r"missing blocks/3/conv/depth_conv/conv/7to5_matrix"):
        load_h5(loaded, odd)
    mixed = copied_without(
        path, tmp_path / "mixed.h5", added=[(f"{layers[2]}5to3_matrix", np.eye(9, dtype=np.float32))]
    )
    with pytest.raises(FileFormatError, match=r"missing blocks/1/conv/depth_conv/conv/7to5_matrix"):
        load_h5(loaded, mixed)


def test_kernels_smaller_than_those_kept_are_named(mobile, mobile_file, tmp_path):
    names = [f"blocks/{index}/conv/depth_conv/conv/" for index in range(1, 21)]
    kernels = [f"{name}conv/_W" for name in names]
    path = copied_without(
        mobile_file,
        tmp_path / "k53.h5",
        removed=[*kernels, *(f"{name}7to5_matrix" for name in names)],
        added=[
            (name, mobile.block(*divmod(index, 4)).depthwise.weight[:, :, 1:6, 1:6].detach().numpy())
            for index, name in enumerate(kernels)
        ],
    )
    with pytest.raises(
        FileFormatError,
        match=r"k53\.h5 .*: blocks/1/conv/depth_conv/conv/conv/_W has kernels of 5x5; this network needs .* 7x7;",
    ):
        load_h5(supernet_of("mbv3_w1.0"), path)


@pytest.mark.parametrize("name", ["proxyless_w1.3", "mbv3_small", "resnet_small", "cifar_kdw"])
def test_networks_that_nnablanas_does_not_have_are_not_written(name, tmp_path):
    with pytest.raises(FileFormatError, match=f"NNablaNAS has no network like {name}"):
        save_h5(supernet_of(name), tmp_path / "weights.h5")
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_network_is_refused_as_a_whole(mobile_file):
    network = supernet_of("resnet50", seed=3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(FileFormatError, match=r"missing input_stem/0/conv/conv/_W.* and \d+ more"):
        load_h5(network, mobile_file)
    wider = supernet_of("mbv3_w1.2")
    with pytest.raises(FileFormatError, match=r"first_conv/conv/_W has shape \(16, 3, 3, 3\), needs \(24, 3, 3, 3\)"):
        load_h5(wider, mobile_file)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(FileFormatError, match="NNablaNAS has no network like resnet_small"):
        load_h5(supernet_of("resnet_small"), mobile_file)


def test_tolerant_loading_takes_what_fits(mobile, mobile_file):
    other = supernet_of("mbv3_w1.0", classes=7)
    with pytest.raises(FileFormatError, match=r"classifier/linear/_W has shape \(10, 1280\), needs \(7, 1280\)"):
        load_h5(other, mobile_file)
    assert len(load_h5(other, mobile_file, strict=False)) == 2
    assert torch.equal(other.stem.weight, mobile.stem.weight)


def test_another_number_of_classes_can_be_allowed(mobile, mobile_file):
    other = supernet_of("mbv3_w1.0", classes=7)
    kept = load_h5(other, mobile_file, other_classes=True)
    assert [text.partition(" ")[0] for text in kept] == ["classifier/linear/_W", "classifier/linear/_b"]
    assert torch.equal(other.mix.weight, mobile.mix.weight)


def test_damaged_files_are_named(mobile_file, tmp_path):
    network = supernet_of("mbv3_w1.0")
    truncated = tmp_path / "truncated.h5"
    truncated.write_bytes(mobile_file.read_bytes()[:200_000])
    with pytest.raises(FileFormatError, match=r"truncated\.h5 is not a whole HDF5 parameter file"):
        load_h5(network, truncated)
    (tmp_path / "text.h5").write_text("nothing of the kind")
    with pytest.raises(FileFormatError, match=r"text\.h5 is not a whole HDF5"):
        load_h5(network, tmp_path / "text.h5")
    with pytest.raises(FileFormatError, match=r"absent\.h5 does not exist"):
        load_h5(network, tmp_path / "absent.h5")
    h5py.File(tmp_path / "empty.h5", "w").close()
    with pytest.raises(FileFormatError, match="without parameters"):
        load_h5(network, tmp_path / "empty.h5")


def test_a_failed_write_leaves_the_earlier_file(mobile, tmp_path, monkeypatch):
    path = tmp_path / "weights.h5"
    path.write_bytes(b"before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(StorageError, match="No space left"):
        save_h5(mobile, path)
    assert path.read_bytes() == b"before"
    assert [item.name for item in tmp_path.iterdir()] == ["weights.h5"]


def test_identity_matrices_fit_a_supernet_without_any(mobile, mobile_file, tmp_path):
    """As CompOFA begins from the full network, whose matrices nothing has trained yet."""
    fresh, compound = supernet_of("mbv3_w1.0"), supernet_of("compound_w1.0")
    save_h5(fresh, tmp_path / "fresh.h5")
    fresh.save(tmp_path / "fresh")
    for path in (tmp_path / "fresh.h5", tmp_path / "fresh"):
        assert load_pretrained(compound, path) == []
        assert torch.equal(compound.stem.weight, fresh.stem.weight)
    mobile.save(tmp_path / "trained")
    with pytest.raises(FileFormatError, match=r"unexpected stages.*transforms"):
        load_pretrained(compound, tmp_path / "trained")
    with pytest.raises(FileFormatError, match="unexpected blocks/1/conv/depth_conv/conv/5to3_matrix"):
        load_h5(compound, mobile_file)
