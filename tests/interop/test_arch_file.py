"""Architectures in anybody's spelling: read for what they are, and one line when they are nothing."""

import json

import numpy as np
import pytest

from onceforall.errors import ConfigError, FileFormatError, InvalidArch
from onceforall.interop.arch_file import read_arch
from onceforall.interop.mmrazor import arch_to_yaml
from onceforall.interop.nnablanas import OP_CANDIDATES, genotype_from_arch
from onceforall.interop.official import arch_to_dict, write_net_config
from onceforall.space import create_space

FAMILIES = ("mbv3_w1.0", "proxyless_w1.3", "resnet50")


def arch_of(name):
    return create_space(name).sample(np.random.default_rng(3))


def spellings(name, folder):
    """All ways to write an architecture of a family, as paths or JSON text."""
    space, arch = create_space(name), arch_of(name)
    write_net_config((space, arch), folder / "net")
    texts = {"ours.json": arch.to_dict(), "dict.json": arch_to_dict(arch), "member.json": {"arch": arch.to_dict()}}
    texts["search.json"] = {"chosen": texts["member.json"], "front": []}
    found = [folder / "net", folder / "net" / "net.config"]
    if name == "mbv3_w1.0":
        texts["genotype.json"] = genotype_from_arch(arch)
        (folder / "subnet.yaml").write_text(arch_to_yaml(arch))
        found.append(folder / "subnet.yaml")
    for file, content in texts.items():
        (folder / file).write_text(json.dumps(content))
        found += [folder / file, json.dumps(content)]
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_spelling_is_recognised(name, tmp_path):
    expected = arch_of(name)
    for source in spellings(name, tmp_path):
        # Genotypes know no resolution; two multipliers of ResNet's stem give the same width.
        space, arch = read_arch(source, resolution=expected.resolution)
        assert space.name == name, source
        assert (arch.resolution, arch.stages, arch.width_mults[1:]) == (
            expected.resolution,
            expected.stages,
            expected.width_mults[1:],
        ), source


def test_the_space_that_is_given_counts(tmp_path):
    arch = arch_of("mbv3_w1.0")
    wide = create_space("mbv3_w1.2")
    for source in (json.dumps(arch.to_dict()), json.dumps(arch_to_dict(arch))):
        assert read_arch(source, wide) == (wide, arch)
        with pytest.raises(ConfigError, match="does not tell the space of its architecture; name it with space="):
            read_arch(source, guess=False)
    write_net_config((wide, arch), tmp_path)
    assert read_arch(tmp_path, guess=False)[0].name == "mbv3_w1.2"
    with pytest.raises(InvalidArch, match=r"no network of space mbv3_w1\.0"):
        read_arch(tmp_path, create_space("mbv3_w1.0"))
    assert read_arch(tmp_path, resolution=260)[1].resolution == 260


def test_sizes_that_no_image_has(tmp_path):
    for source in spellings("mbv3_w1.0", tmp_path):
        for size in (-3, 0):
            with pytest.raises((ConfigError, InvalidArch), match=f"^resolution[ =]{size}"):
                read_arch(source, resolution=size)


def test_genotypes_of_other_operators():
    candidates = OP_CANDIDATES[::-1]
    arch = arch_of("mbv3_w1.0")
    genotype = json.dumps(genotype_from_arch(arch, candidates))
    assert read_arch(genotype, op_candidates=candidates)[1].stages == arch.stages
    gap = [0, 9, 9, 9, *[0] * 16]
    with pytest.raises(InvalidArch, match="stage 1"):
        read_arch(json.dumps(gap))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("{", FileFormatError, "is not JSON"),
        ("nowhere.json", FileFormatError, "does not exist"),
        ('{"a": 1}', InvalidArch, "unknown field 'a'"),
        ('{"resolution": 32, "stages": []}', ConfigError, "does not tell the space"),
        ('{"resolution": 32, "stages": 5}', InvalidArch, "wrong kind"),
        ('{"resolution": -5, "stages": []}', ConfigError, "does not tell the space"),
        ('{"d": [2, 2, 2, 2, 2]}', InvalidArch, "no 'ks'"),
        ('{"d": 2.0, "ks": 3, "e": "x"}', InvalidArch, "'e' holds 'x', which is no number"),
        ("[1, 2]", InvalidArch, "20"),
        ('{"name": "MobileNetV3", "blocks": [], "classifier": {}}', ConfigError, "is read from its file or folder"),
    ],
)
def test_what_is_no_architecture(source, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        read_arch(source)
    (tmp_path / "number.json").write_text("7")
    with pytest.raises(FileFormatError, match="7 is no architecture of a known project"):
        read_arch(tmp_path / "number.json")
