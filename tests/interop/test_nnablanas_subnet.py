"""HDF5 files of static networks, brought back into the supernet they are sub-networks of."""

import h5py
import numpy as np
import pytest
import torch

from onceforall.errors import FileFormatError
from onceforall.interop.nnablanas import load_checkpoint, load_h5, save_h5
from onceforall.supernets import create_supernet

from .test_nnablanas_weights import assert_equal, supernet_of


@pytest.mark.parametrize("name", ["mbv3_w0.35", "compound_w0.35", "resnet50"])
def test_the_sub_network_of_a_file_can_be_extracted_again(name, tmp_path):
    supernet = supernet_of(name, seed=1, classes=3)
    for arch in [supernet.space.smallest, *supernet.space.sample_many(2, np.random.default_rng(0))]:
        save_h5(supernet.extract(arch), tmp_path / "static.h5")
        other = supernet_of(name, seed=2, classes=3)
        assert load_checkpoint(other, tmp_path / "static.h5", arch) == "subnet"
        assert_equal(supernet.extract(arch), other.extract(arch))


def test_a_supernet_is_loaded_whole(tmp_path):
    supernet = supernet_of("mbv3_w0.35", seed=1, classes=3)
    smallest = supernet.space.smallest
    save_h5(supernet, tmp_path / "elastic.h5")
    save_h5(supernet.extract(supernet.space.largest), tmp_path / "full.h5")
    other = supernet_of("mbv3_w0.35", classes=3)
    assert load_checkpoint(other, tmp_path / "full.h5", smallest) == "supernet"
    assert torch.equal(other.stem.weight, supernet.stem.weight)
    assert load_checkpoint(other, tmp_path / "elastic.h5", smallest) == "supernet"
    assert_equal(supernet, other)


def test_files_that_do_not_fit_say_what_they_hold(tmp_path):
    supernet = supernet_of("mbv3_w0.35", seed=1, classes=3)
    space = supernet.space
    path = tmp_path / "static.h5"
    save_h5(supernet.extract(space.smallest), path)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    with pytest.raises(
        FileFormatError,
        match=r"static\.h5 holds one sub-network, not a supernet mbv3_w0\.35; ofa evaluate .* take it with arch=: ",
    ):
        load_h5(supernet, path)
    with pytest.raises(FileFormatError, match=r"static\.h5 does not hold .*\(of r128-d44444.*with arch=\)$"):
        load_checkpoint(supernet, path, space.uniform(3, 3, 4, 128))
    with pytest.raises(FileFormatError, match=r"classifier/linear/_W has shape \(3, 448\), needs \(4, 448\)"):
        load_checkpoint(create_supernet("mbv3_w0.35", 4), path, space.smallest)
    with h5py.File(path, "a") as file:
        del file["blocks/3/conv/depth_conv/bn/_mean"]
    with pytest.raises(FileFormatError, match="missing blocks/3/conv/depth_conv/bn/_mean"):
        load_checkpoint(supernet, path, space.smallest)
    save_h5(supernet, tmp_path / "elastic.h5")
    with h5py.File(tmp_path / "elastic.h5", "a") as file:
        del file["blocks/3/conv/depth_conv/bn/bn/_mean"]
    with pytest.raises(FileFormatError, match=r"network: missing blocks/3/conv/depth_conv/bn/bn/_mean$"):
        load_checkpoint(supernet, tmp_path / "elastic.h5", space.smallest)
    with pytest.raises(FileFormatError, match="does not exist"):
        load_checkpoint(supernet, tmp_path / "absent.h5", space.smallest)
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())
