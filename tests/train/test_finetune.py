import pytest
import torch

from onceforall.errors import ConfigError, FileFormatError, RunError
from onceforall.supernets import create_supernet
from onceforall.train import FinetuneConfig, OptimizerConfig, finetune, load_finetuned, save_finetuned


@pytest.fixture(scope="module")
def supernet(digits):
    supernet = create_supernet("resnet_small", len(digits.classes), digits.in_chans, resolutions=[8])
    supernet.reset_parameters(0)
    return supernet


def config(**changes):
    values = {"epochs": 4, "batch_size": 32, "calibration_images": 64, "distill": False}
    return FinetuneConfig(optimizer=OptimizerConfig(base_learning_rate=0.4), **values | changes)


def test_a_sub_network_improves_and_the_supernet_does_not_change(supernet, digits):
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    seen = []
    result = finetune(
        supernet, supernet.space.smallest, digits, config(), progress=lambda *numbers: seen.append(numbers)
    )
    assert result.before is not None
    assert result.after is not None
    assert result.after.top1 > result.before.top1 + 0.3
    assert not result.network.training
    assert [done for done, _, _ in seen] == list(range(1, 33))
    assert {total for _, total, _ in seen} == {32}
    assert seen[-1][2] < seen[0][2]
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_equal_settings_give_equal_weights_and_distillation_other_ones(supernet, digits):
    arch = supernet.space.smallest
    one, two, taught = (
        finetune(supernet, arch, digits, config(epochs=1, distill=distill)).network.state_dict()
        for distill in (False, False, True)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], taught["head.weight"])


def test_saved_networks_come_back(supernet, digits, tmp_path):
    arch = supernet.space.smallest
    network = supernet.extract(arch)
    save_finetuned(network, tmp_path / "net", supernet.space, arch, {"classes": digits.classes})
    loaded, loaded_arch, description = load_finetuned(tmp_path / "net.safetensors")
    images = torch.randn(2, digits.in_chans, 8, 8)
    assert torch.equal(loaded(images), network(images))
    assert loaded_arch == arch
    assert description["classes"] == digits.classes
    weights = tmp_path / "net.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(FileFormatError, match=r"net.safetensors does not hold the weights net.json describes"):
        load_finetuned(tmp_path / "net")
    (tmp_path / "net.json").write_text('{"format": 1}')
    with pytest.raises(FileFormatError, match="does not describe a fine-tuned network"):
        load_finetuned(tmp_path / "net")
    with pytest.raises(FileFormatError, match="does not exist"):
        load_finetuned(tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"epochs": 0}, "epochs=0"), ({"precision": "fp8"}, "precision=fp8"), ({"seed": -1}, "seed=-1")],
)
def test_impossible_settings_are_refused(supernet, digits, changes, words):
    with pytest.raises(ConfigError, match=words):
        finetune(supernet, supernet.space.smallest, digits, config(**changes))


def test_divergence_is_one_clear_line(supernet, digits):
    wild = config(epochs=2)
    wild.optimizer.base_learning_rate = 1e30
    with pytest.raises(RunError, match="fine-tuning diverged at step"):
        finetune(supernet, supernet.space.smallest, digits, wild)
