"""Supernets that begin with the weights of a file, whoever wrote it."""

import logging

import pytest
import torch

import onceforall as ofa
from onceforall.errors import FileFormatError
from onceforall.interop.nnablanas import save_h5
from onceforall.interop.official import to_official

NAME = "mbv3_w0.35"


@pytest.fixture(scope="module")
def trained():
    return ofa.create_supernet(NAME, num_classes=7)


def write(supernet, folder, form):
    if form == "ours":
        supernet.save(folder / "net")
        return folder / "net"
    if form == "nnablanas":
        save_h5(supernet, folder / "weights.h5")
        return folder / "weights.h5"
    tensors = to_official(supernet)
    if form == "static":
        tensors = {key.replace(".bn.bn.", ".bn."): value for key, value in tensors.items() if "_matrix" not in key}
    torch.save({"state_dict": tensors}, folder / form)
    return folder / form


@pytest.mark.parametrize("form", ["ours", "official", "static", "nnablanas"])
def test_everything_but_another_classifier_is_kept_and_said(trained, form, tmp_path, caplog):
    path = write(trained, tmp_path, form)
    with caplog.at_level(logging.WARNING):
        supernet = ofa.create_supernet(NAME, num_classes=3, pretrained=path)
    found, expected = supernet.state_dict(), trained.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected if not key.startswith("classifier."))
    assert found["classifier.weight"].shape == (3, expected["classifier.weight"].shape[1])
    assert "classifier" in caplog.text
    assert str(path) in caplog.text


def test_nothing_is_said_when_everything_fits(trained, tmp_path, caplog):
    supernet = ofa.create_supernet(NAME, num_classes=7, pretrained=write(trained, tmp_path, "official"))
    assert all(torch.equal(a, b) for a, b in zip(supernet.parameters(), trained.parameters(), strict=True))
    assert not caplog.records


def test_files_that_do_not_fit_are_named(trained, tmp_path):
    path = write(trained, tmp_path, "official")
    with pytest.raises(FileFormatError, match=r"not a checkpoint of proxyless_w0\.35: \d+ unexpected keys"):
        ofa.create_supernet("proxyless_w0.35", num_classes=7, pretrained=path)
    short = {key: value for key, value in to_official(trained).items() if not key.startswith("blocks.3.")}
    torch.save(short, tmp_path / "short")
    with pytest.raises(FileFormatError, match=r"\d+ missing: blocks\.3\.conv"):
        ofa.create_supernet(NAME, num_classes=7, pretrained=tmp_path / "short")
    for change, message in (
        ({1: torch.zeros(1)}, "1 unexpected keys: 1$"),
        ({"first_conv.conv.weight": 5}, r"first_conv\.conv\.weight is no tensor but of type int"),
        ({"first_conv.conv.weight": torch.zeros(())}, r"first_conv\.conv\.weight has shape \(\), needs"),
    ):
        torch.save({"state_dict": {**to_official(trained), **change}}, tmp_path / "odd")
        with pytest.raises(FileFormatError, match=rf"not a checkpoint of mbv3_w0\.35: {message}"):
            ofa.create_supernet(NAME, num_classes=7, pretrained=tmp_path / "odd")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match="not a whole torch file"):
        ofa.create_supernet(NAME, num_classes=7, pretrained=path)
    with pytest.raises(FileFormatError, match="does not exist"):
        ofa.create_supernet(NAME, pretrained=tmp_path / "nothing")
