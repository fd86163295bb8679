"""`arch=`: every form a user may type, and what is said about the others."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from onceforall.commands.arch_argument import all_archs, parse_arch, parse_archs, split_archs
from onceforall.errors import ConfigError, FileFormatError, InvalidArch
from onceforall.interop.mmrazor import arch_to_yaml
from onceforall.interop.official import arch_to_dict
from onceforall.run import Run
from onceforall.space import Arch, create_space

SPACE = create_space("resnet_small", 10, 1, resolutions=(16, 24))


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "runs" / "digits")


def add_search(run: Run, name: str, archs: list[Arch], chosen: Arch | None) -> None:
    members = [{"arch": arch.to_dict(), "name": arch.name} for arch in archs]
    found = {
        "name": name,
        "chosen": None if chosen is None else {"arch": chosen.to_dict(), "name": chosen.name},
        "front": members[:2],
        "evaluated": members,
    }
    run.search_path(name).parent.mkdir(parents=True, exist_ok=True)
    run.search_path(name).write_text(json.dumps(found))


def test_ends_of_the_space():
    assert parse_arch("largest", SPACE) == SPACE.largest
    assert parse_arch("smallest", SPACE) == SPACE.smallest


def test_json_text_and_files_of_every_kind(tmp_path):
    arch = SPACE.sample(np.random.default_rng(0))
    assert parse_arch(arch.to_json(), SPACE) == arch
    path = tmp_path / "some arch, best.json"
    for described in (arch.to_dict(), {"arch": arch.to_dict(), "name": "x"}, {"chosen": {"arch": arch.to_dict()}}):
        path.write_text(json.dumps(described))
        assert parse_arch(str(path), SPACE) == arch


def test_names_from_searches(run):
    archs = SPACE.sample_many(4, np.random.default_rng(1))
    add_search(run, "first", archs, archs[2])
    assert parse_arch("chosen", SPACE, run) == archs[2]
    assert parse_arch(archs[3].name, SPACE, run) == archs[3]
    assert parse_archs(["front", "largest", archs[0].name], SPACE, run) == [*archs[:2], SPACE.largest]


def test_chosen_needs_a_search_that_chose(run):
    with pytest.raises(ConfigError, match=f"no search result yet; make one with: ofa search run={run.folder}"):
        parse_arch("chosen", SPACE, run)
    add_search(run, "front", [SPACE.largest], None)
    with pytest.raises(ConfigError, match=r"chose none; give it a constraint"):
        parse_arch("chosen", SPACE, run)
    run.search_path("broken").write_text("{}")
    os.utime(run.search_path("front"), (1, 1))
    with pytest.raises(FileFormatError, match=r"broken\.json is no result of `ofa search`"):
        parse_arch("chosen", SPACE, run)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("lagest", ConfigError, "arch=lagest: did you mean largest"),
        ("xyz", ConfigError, "use largest, smallest, chosen"),
        ("folder/missing.json", ConfigError, "arch=folder/missing.json: no such file"),
        ("{broken", InvalidArch, "not the JSON of an architecture"),
        ('{"resolution": 16}', InvalidArch, "no field 'stages'"),
    ],
)
def test_what_is_no_architecture(text, error, message):
    with pytest.raises(error) as caught:
        parse_arch(text, SPACE)
    assert message in str(caught.value)


def test_impossible_architectures_and_resolutions_are_named(tmp_path):
    wrong = replace(SPACE.largest, resolution=17)
    with pytest.raises(InvalidArch, match=r"no architecture of resnet_small.*17.*16"):
        parse_arch(wrong.to_json(), SPACE)
    other = create_space("mbv3_small", 10).largest
    path = tmp_path / "other.json"
    path.write_text(other.to_json())
    with pytest.raises(InvalidArch, match=r"other\.json is no architecture of resnet_small"):
        parse_arch(str(path), SPACE)
    path.write_text('{"front": []}')
    with pytest.raises(FileFormatError, match=r"other\.json holds no architecture"):
        parse_arch(str(path), SPACE)


def test_other_projects_spellings(tmp_path):
    space = create_space("mbv3_w1.0")
    arch = space.sample(np.random.default_rng(4))
    (tmp_path / "subnet.yaml").write_text(arch_to_yaml(arch))
    (tmp_path / "arch.json").write_text(json.dumps(arch_to_dict(arch)))
    for text in (str(tmp_path / "subnet.yaml"), str(tmp_path / "arch.json"), json.dumps(arch_to_dict(arch))):
        assert parse_arch(text, space) == arch
        assert parse_archs(split_archs(text), space) == [arch]
    with pytest.raises(InvalidArch, match=r"subnet.yaml is no architecture of resnet_small"):
        parse_arch(str(tmp_path / "subnet.yaml"), SPACE)


def test_a_size_the_space_does_not_have():
    large = replace(SPACE.largest, resolution=40)
    assert parse_arch(large.to_json(), SPACE, any_resolution=True) == large
    with pytest.raises(InvalidArch, match="resolution 40"):
        parse_arch(large.to_json(), SPACE)


@pytest.mark.parametrize(
    "space",
    [
        create_space("cifar_kdw"),
        create_space("compound_w1.0", depths=[2, 3], resolutions=[64, 96]),
        create_space("resnet_small", depths=[1], kernel_sizes=[3], expand_ratios=[0.5, 1]),
        create_space("resnet50", depths=[0, 2, 4], expand_ratios=[0.2], width_mults=[0.65, 1], resolutions=[128]),
    ],
    ids=lambda space: space.name,
)
def test_every_network_of_a_small_space(space):
    archs = all_archs(space)
    assert len(archs) == len(set(archs)) == space.size
    assert archs[0] == space.smallest
    for arch in archs:
        space.validate(arch)


def test_a_large_space_is_refused_with_its_size():
    with pytest.raises(ConfigError, match=r"all=true: space mbv3_w1.0 has 5.44e\+20 networks; at most 1,000"):
        all_archs(create_space("mbv3_w1.0"))
