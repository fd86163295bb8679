"""Experiment files of NNablaNAS, old and new, in our words; and its command lines."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from onceforall.commands.experiment_file import compose_train, settings_of
from onceforall.configuration import compose, from_values, to_yaml
from onceforall.errors import ConfigError, FileFormatError, InvalidArch
from onceforall.interop.nnablanas import OP_CANDIDATES, in_our_words, load_experiment, train_settings
from onceforall.space import create_space
from onceforall.train.config import TrainConfig
from onceforall.train.setup import build_schedule, resolutions_of
from onceforall.train.watched import watched_archs

LAST = "legacy_json_last_before_hydra"


@pytest.fixture
def file_of(shared, tmp_path):
    """Writes one experiment of a golden file as the JSON file it was; changes go into its sections."""

    def write(golden, name, **changes):
        folder = shared / "golden" / "nnablanas"
        experiment = json.loads((folder / f"{golden}.json").read_text())["experiments"][name]
        for section, values in changes.items():
            target = experiment[section]
            for entry in target.values() if section in ("network", "optimizer") else [target]:
                entry.update(values)
        path = tmp_path / name.rpartition("/")[2]
        path = path if path.suffix == ".json" else path.with_name(path.name + ".json")
        path.write_text(json.dumps(experiment))
        return path

    return write


def names(shared, golden):
    return list(json.loads((shared / "golden" / "nnablanas" / f"{golden}.json").read_text())["experiments"])


def laid_out(config: TrainConfig):
    space = config.space
    options = {name: getattr(space, name) for name in ("kernel_sizes", "expand_ratios", "depths", "width_mults")}
    whole = create_space(space.name, resolutions=resolutions_of(space), compound=space.compound, **options)
    schedule = build_schedule(config, SimpleNamespace(train=range(100_000)), whole)  # pyright: ignore
    return schedule, create_space(space.name, resolutions=whole.resolutions)


@pytest.mark.parametrize("golden", ["ofa_mbv3", "ofa_resnet50"])
def test_an_experiment_read_from_its_file_trains_as_ours_of_that_name(golden, shared, file_of):
    """What both say, though the file names values where ours counts them."""
    found = names(shared, golden)
    assert len(found) == {"ofa_mbv3": 9, "ofa_resnet50": 7}[golden]
    for name in found:
        read = from_values(TrainConfig, train_settings(load_experiment(file_of(golden, name))))
        ours = compose("train", TrainConfig, [f"experiment=classification/{name}"])
        (one, family), (other, _) = laid_out(read), laid_out(ours)
        assert one.total_steps == other.total_steps
        for step in (0, one.total_steps // 3, one.total_steps - 1):
            assert one.learning_rate(step) == pytest.approx(other.learning_rate(step))
        assert one.trained_space == other.trained_space, name
        assert one.plan(123) == replace(other.plan(123), phase=one.plan(123).phase)
        (a,), (b,) = one.recipe.phases, other.recipe.phases
        for field in ("sampling", "subnets_per_step", "objective", "batch_size", "sort_channels"):
            assert getattr(a, field) == getattr(b, field), field
        assert (read.micro_batch_size, a.micro_batch_size) == (b.micro_batch_size, b.micro_batch_size)
        if read.genotype is None:
            assert watched_archs(read, one, family) == watched_archs(ours, other, family)
        for section in ("optimizer", "evaluation", "augment"):
            assert getattr(read, section) == getattr(ours, section), (name, section)
        for field in ("source", "holdout", "holdout_rule", "test_transform", "mean", "std"):
            assert getattr(read.data, field) == getattr(ours.data, field), field
        assert (read.name, read.genotype) == (ours.name, ours.genotype)
        for path, ours_path in ((read.weights, ours.weights), (read.recipe.teacher, ours.recipe.teacher)):
            assert path == (ours_path and f"log{ours_path.removeprefix('runs')}/checkpoint/weights.h5")


@pytest.mark.parametrize("golden", ["legacy_json_v0.12.0", LAST])
def test_every_older_file_loads_and_most_can_be_trained(golden, shared, file_of):
    found = names(shared, golden)
    assert len(found) == {"legacy_json_v0.12.0": 7, LAST: 16}[golden]
    for name in found:
        experiment = load_experiment(file_of(golden, name))
        assert not experiment.batch_is_global
        assert experiment.algorithm == ("OFATrainer" if "train_subnet" in name else "OFASearcher")
        if "xception" in name:
            with pytest.raises(ConfigError, match="no network ofa_xception here"):
                train_settings(experiment)
            continue
        config = from_values(TrainConfig, train_settings(experiment, processes=4))
        assert config.batch_size == 4 * experiment.hparams["batch_size_train"]
        assert config.micro_batch_size == experiment.hparams["mini_batch_train"]
        (phase,) = config.recipe.phases.values()
        assert phase.learning_rate == experiment.optimizer["train"]["lr"]
        # Only --search holds images out, which the full network was trained without.
        whole = "train_subnet" in name or "fullnet" in name
        assert (config.data.holdout, config.evaluation.part) == ((0, "test") if whole else (0.01, "holdout"))
        assert config.augment.saturation == 0.5
        laid_out(config)


def test_values_that_only_the_oldest_files_have(file_of):
    settings = train_settings(load_experiment(file_of("legacy_json_v0.12.0", "ofa/ofa_imagenet_search_kernel.json")), 4)
    assert settings["space"]["kernel_sizes"] == [5, 7]
    phase = settings["recipe"]["phases"]["kernel"]
    assert (phase["learning_rate"], phase["warmup_learning_rate"], settings["batch_size"]) == (0.96, 0.003, 1024)
    assert settings["weights"] == "log/classification/ofa/imagenet/search/K7_E6_D4/weights.h5"


def test_composed_yaml_is_read_like_json(file_of, tmp_path):
    import yaml

    path = file_of("ofa_mbv3", "ofa/ofa_mbv3/imagenet_search_expand_phase1")
    composed = tmp_path / "config.yaml"
    composed.write_text(yaml.safe_dump(json.loads(path.read_text())).replace("3.0e-05", "3e-5"))
    assert train_settings(load_experiment(composed)) == train_settings(load_experiment(path))


def test_unusual_values_find_their_counterpart(file_of):
    name = "ofa/ofa_mbv3/imagenet_search_comp_phase1"
    network = {"fixed_kernel": True, "width_mult": 1.2}
    path = file_of("ofa_mbv3", name, network=network, hparams={"valid_genotypes": []})
    with pytest.raises(ConfigError, match="its width_mult is 1; here the largest network of the same width teaches"):
        train_settings(load_experiment(path))
    fixed = train_settings(load_experiment(path, ["hparams.teacher_network.ofa_mbv3.width_mult=1.2"]))
    assert (fixed["space"]["name"], fixed["space"]["compound"]) == ("compound_w1.2", False)
    assert "kernel_sizes" not in fixed["space"]
    kernel = "ofa/ofa_mbv3/imagenet_search_kernel"
    changed = {"warmup_lr": -1, "image_size_continuous": False, "valid_genotypes": []}
    settings = train_settings(
        load_experiment(file_of("ofa_mbv3", kernel, hparams=changed, optimizer={"name": "Momentum"}))
    )
    assert settings["recipe"]["phases"]["kernel"]["warmup_learning_rate"] == 0.24
    assert settings["space"]["resolution_step"] is None
    assert settings["recipe"]["phases"]["kernel"]["archs"] is None
    assert settings["optimizer"]["nesterov"] is False


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"network": {"bn_param": [0.99, 1e-5]}},
            ConfigError,
            r"network\.ofa_mbv3\.bn_param is \[0.99, 1e-05\]; here it is",
        ),
        ({"network": {"weight_init": "pytorch"}}, ConfigError, "weight_init is pytorch; here it is he_fout"),
        ({"network": {"op_candidates": ["MB6 7x7", "MB7 3x3"]}}, ConfigError, "unknown operator 'MB7 3x3'"),
        ({"optimizer": {"name": "Adam"}}, ConfigError, "optimizer.train.name is Adam"),
        ({"optimizer": {"lr_scheduler": "StepScheduler"}}, ConfigError, "lr_scheduler is StepScheduler"),
        ({"optimizer": {"weight_decay": 1e-4}}, ConfigError, "train_no_decay.weight_decay is 0.0001; here it is 0"),
        ({"hparams": {"valid_genotypes": [[0] * 19]}}, InvalidArch, "20 numbers"),
        ({"hparams": {"valid_genotypes": [[0, 3, 0, 0] + [0] * 16]}}, InvalidArch, "stage 1 of the genotype"),
    ],
)
def test_what_would_be_trained_otherwise_is_refused(changes, error, words, file_of):
    with pytest.raises(error, match=words):
        train_settings(load_experiment(file_of("ofa_mbv3", "ofa/ofa_mbv3/imagenet_search_kernel", **changes)))


# A section of the kernel stage, a value, and what is said of it.
WRONG = [
    ("network.ofa_mbv3.width_mult", "x", "width_mult: the value 'x' is not .*a number"),
    ("network.ofa_mbv3.bn_param", 0.9, r"bn_param: the value 0\.9 is not .*a list"),
    ("network.ofa_mbv3.op_candidates", None, "op_candidates is null; it needs a value"),
    ("network.ofa_mbv3.op_candidates", 3, "op_candidates: unknown operator 3"),
    ("network.ofa_mbv3.op_candidates", [], "op_candidates is empty"),
    ("network.ofa_mbv3.depth_candidates", [1, 2], r"network\.ofa_mbv3: depths: 1 not in space"),
    ("network.ofa_mbv3.depth_candidates", [], r"depth_candidates is \[\]; it is a number or a list"),
    ("network.ofa_mbv3.depth_candidates", "all", "depth_candidates is 'all'; it is a number or a list"),
    ("network.ofa_mbv3.typo", 1, "typo: unknown key"),
    ("hparams.epoch", 0, r"hparams\.epoch is 0; it has to be greater than 0"),
    ("hparams.epochs", 1, r"hparams\.epochs: unknown key; did you mean hparams\.epoch"),
    ("hparams.image_size_seg", 0, r"hparams\.image_size_seg is 0"),
    ("hparams.task", "foo", "task is foo; it is one of fullnet, kernel, depth, expand, width"),
    ("hparams.warmup_lr", "x", "warmup_lr: the value 'x'"),
    ("hparams.lambda_kd", "x", "lambda_kd: the value 'x'"),
    ("hparams.valid_genotypes", 5, "valid_genotypes: the value 5"),
    ("hparams.valid_genotypes", [5], r"hparams\.valid_genotypes\[0\]: a genotype of mbv3_w1\.0 is a list .*, not 5"),
    ("hparams.train_image_size_list", 5, "train_image_size_list: the value 5"),
    ("hparams.train_image_size_list", [], "train_image_size_list is empty"),
    ("hparams.valid_image_size_list", None, "valid_image_size_list is null"),
    ("hparams.teacher_network", [1], r"hparams\.teacher_network is \[1\], not a mapping"),
    ("hparams.teacher_network", {"ofa_mbv3": 3}, r"hparams\.teacher_network\.ofa_mbv3 is 3, not a mapping"),
    ("hparams.teacher_network", {}, "lambda_kd is 1, but hparams.teacher_network names no weights of ofa_mbv3"),
    ("hparams.teacher_network.ofa_mbv3.op_candidates", ["MB6 3x3"], "its kernel_size is 3; here the largest network"),
    ("hparams.teacher_network.ofa_mbv3.depth_candidates", [2], "its depth is 2; here the largest network"),
    ("hparams.no_decay_keys", [], r"no_decay_keys is \[\]; here it is"),
    ("hparams.valid_ce_loss", False, "valid_ce_loss is False; here it is True"),
    ("hparams.loss_weights", [2.0], r"loss_weights is \[2\.0\]; here it is None"),
    ("optimizer.train", 3, r"optimizer\.train is 3, not a mapping"),
    ("optimizer.train.weight_decay", "x", "weight_decay: the value 'x'"),
    ("optimizer.train_no_decay.name", "Momentum", r"train_no_decay\.name is Momentum; .* optimizer\.train, Nesterov"),
    ("optimizer.train_no_decay.momentum", 0.5, r"train_no_decay\.momentum is 0\.5; here it is that of .*, 0\.9"),
    ("optimizer.train_no_decay.lr", "x", "lr: the value 'x'"),
    ("dataloader.imagenet.train_portion", "x", "train_portion: the value 'x'"),
    ("dataloader.imagenet.train_portion", 2, "train_portion is 2; it is greater than 0, at most 1"),
    ("dataloader.imagenet.augment_valid", True, "augment_valid is True; here it is False"),
    ("args", 3, "args is 3, not a mapping"),
    ("args.search", False, "args.search is false; the task kernel needs args.search true"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG, ids=[f"{key}={value}" for key, value, _ in WRONG])
def test_a_wrong_value_is_named_with_its_file(key, value, words, file_of):
    path = file_of("ofa_mbv3", "ofa/ofa_mbv3/imagenet_search_kernel")
    values = json.loads(path.read_text())
    *outer, last = key.split(".")
    target = values
    for part in outer:
        target = target[part]
    target[last] = value
    path.write_text(json.dumps(values))
    with pytest.raises((ConfigError, InvalidArch), match=rf"^{path}: .*{words}"):
        train_settings(load_experiment(path))


def test_compound_ratios_are_at_least_the_smallest_candidate(file_of):
    four = ["MB4 3x3", "MB4 5x5", "MB4 7x7", "MB6 3x3", "MB6 5x5", "MB6 7x7"]
    changes = {"network": {"op_candidates": four}, "hparams": {"valid_genotypes": []}}
    name = "ofa/ofa_mbv3/imagenet_search_comp_phase1"
    config = from_values(TrainConfig, train_settings(load_experiment(file_of("ofa_mbv3", name, **changes))))
    (schedule, _) = laid_out(config)
    assert {stage.expand_of_depth for stage in schedule.trained_space.stages} == {(4, 4, 6)}
    changes["network"]["fixed_kernel"] = True
    with pytest.raises(ConfigError, match="with fixed_kernel the ratios here are 3, 4 and 6; op_candidates begin at 4"):
        train_settings(load_experiment(file_of("ofa_mbv3", name, **changes)))


def test_the_full_network_learns_from_all_images_unless_it_searches(file_of):
    path = file_of("legacy_json_v0.12.0", "ofa/ofa_imagenet_search_fullnet.json")
    for search, holdout, part in ((False, 0, "test"), (True, 0.01, "holdout")):
        settings = settings_of(str(path), search=search)
        assert (settings["data"]["holdout"], settings["evaluation"]["part"]) == (holdout, part)
    composed = file_of("ofa_mbv3", "ofa/ofa_mbv3/imagenet_search_fullnet")
    assert settings_of(str(composed))["data"]["holdout"] == 0.01
    composed = file_of("ofa_mbv3", "ofa/ofa_mbv3/imagenet_search_fullnet", args={"search": False})
    assert settings_of(str(composed))["data"]["holdout"] == 0


def test_what_is_missing_is_named(file_of):
    path = file_of("ofa_mbv3", "ofa/ofa_mbv3/imagenet_search_kernel")
    whole = json.loads(path.read_text())
    for section, key, words in (
        ("hparams", "epoch", "hparams has no epoch"),
        ("hparams", "train_image_size_list", "hparams has no train_image_size_list"),
        ("optimizer", "lr", "optimizer.train has no lr"),
    ):
        values = json.loads(json.dumps(whole))
        del (values["optimizer"]["train"] if section == "optimizer" else values[section])[key]
        values["optimizer"].pop("train_no_decay")
        path.write_text(json.dumps(values))
        with pytest.raises(ConfigError, match=words):
            train_settings(load_experiment(path))
    bare = json.loads(json.dumps(whole))
    del bare["network"]["ofa_mbv3"]["op_candidates"]
    bare["hparams"]["valid_genotypes"] = [[0] * 20]
    path.write_text(json.dumps(bare))
    assert train_settings(load_experiment(path))["space"]["kernel_sizes"] == [3]


def test_resnet_values_open_from_the_largest(file_of):
    name = "ofa/ofa_resnet50/imagenet_search_width_phase1"
    wrong = file_of("ofa_resnet50", name, network={"width_mult_list": [0.65, 1.0]})
    with pytest.raises(ConfigError, match=r"width_mult_list is .* here the largest of"):
        train_settings(load_experiment(wrong))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('{"network": {"ofa_mbv3": {', FileFormatError, "neither JSON nor YAML"),
        ("just a text", FileFormatError, "is neither|no experiment"),
        ("[1, 2]", FileFormatError, "no experiment of NNablaNAS: it holds no"),
        ('{"resolution": 224}', FileFormatError, "no experiment of NNablaNAS: it has no section 'network'"),
        (
            '{"network": {"a": {}, "b": {}}, "hparams": {"epoch": 1}, "optimizer": {"train": {}}}',
            FileFormatError,
            "network holds 2 entries",
        ),
        (
            '{"args": {"algorithm": "DartsSearcher"}, "network": {"darts": {}}, "hparams": {"epoch": 1}, '
            '"optimizer": {"train": {}}}',
            ConfigError,
            "algorithm DartsSearcher is not known here; there are OFASearcher.* and OFATrainer",
        ),
    ],
)
def test_files_that_are_no_experiments(text, error, words, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(error, match=words):
        load_experiment(path)
    with pytest.raises(FileFormatError, match=r"absent\.json does not exist"):
        load_experiment(tmp_path / "absent.json")


def test_every_other_experiment_names_the_algorithm_that_is_not_here(shared, file_of):
    for name in names(shared, "other_experiments"):
        with pytest.raises(ConfigError, match=r"algorithm .* is not known here"):
            load_experiment(file_of("other_experiments", name))


def test_a_file_on_the_command_line_and_words_behind_it(file_of):
    path = file_of(LAST, "ofa/ofa_mbv3/ofa_imagenet_search_kernel.json")
    words = in_our_words(
        ["--search", "-f", str(path), "-a", "OFASearcher", "-o", "log/x", "-d", "-1", "-c", "cudnn", "-t", "float"]
    )
    assert words == ["search=true", f"file={path}", "algorithm=OFASearcher", "run=log/x"]
    config = compose_train([*words, "epochs=2", "data.root=/images", "recipe.phases.kernel.learning_rate=0.1"])
    assert (config.run, config.epochs, config.data.root) == ("log/x", 2, "/images")
    assert config.recipe.phases["kernel"].learning_rate == 0.1
    assert config.recipe.phases["kernel"].warmup_epochs == 5
    assert config.op_candidates == ["MB6 7x7", "MB6 5x5", "MB6 3x3"]
    assert compose_train([f"experiment={path}"]) == compose_train([f"file={path}"])
    with pytest.raises(ConfigError, match=r"hparam\.epoch: unknown key; did you mean epochs"):
        compose_train([*words, "hparam.epoch=1"])
    with pytest.raises(
        ConfigError, match=r"kernel\.learn_rate: unknown key; did you mean recipe\.phases\.kernel\.learning_rate"
    ):
        compose_train([*words, "recipe.phases.kernel.learn_rate=1"])


def test_a_config_of_ours_is_taken_as_well(tmp_path, file_of):
    path = tmp_path / "config.yaml"
    settings = settings_of(str(file_of(LAST, "ofa/ofa_mbv3/ofa_imagenet_search_kernel.json")), processes=8)
    config = from_values(TrainConfig, settings)
    path.write_text(to_yaml(config))
    assert compose_train([f"experiment={path}"]) == config
    assert compose_train([f"experiment={path}", "epochs=1"]) == replace(config, epochs=1.0)


def test_flags_that_contradict_a_file(file_of):
    kernel = str(file_of(LAST, "ofa/ofa_mbv3/ofa_imagenet_search_kernel.json"))
    subnet = str(file_of(LAST, "ofa/ofa_mbv3/ofa_imagenet_train_subnet.json"))
    with pytest.raises(ConfigError, match="OFATrainer trains one sub-network, and the file names no genotype"):
        settings_of(kernel, "OFATrainer")
    with pytest.raises(
        ConfigError, match="OFASearcher trains a supernet, but the file names the genotype of one network"
    ):
        settings_of(subnet, search=True)
    with pytest.raises(ConfigError, match="--search is for OFASearcher; leave it out for OFATrainer"):
        settings_of(subnet, "OFATrainer", search=True)
    assert settings_of(subnet, "OFATrainer")["genotype"][:4] == [5, 2, 9, 9]
    with pytest.raises(ConfigError, match="goes with an experiment file"):
        compose_train(["algorithm=OFASearcher"])


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("experiment=digits epochs=1", "experiment=digits epochs=1"),
        ("hparams.epoch=1 args.search=true", "hparams.epoch=1 args.search=true"),
        ("hparams.teacher_network.ofa.weights=a.h5", "recipe.teacher=a.h5"),
        ("~network.ofa.weights dataloader.imagenet.datapath=x", "weights=null data.root=x"),
        ("args.no_visualize=true args.output_path=a", "tensorboard=true run=a"),
        ("network.ofa_mbv3.weights=a.h5", "weights=a.h5"),
        ("hydra.run.dir=here", "run=here"),
        ("--config-file=a.json --output-path=b", "file=a.json run=b"),
        ("-s -f a.json", "search=true file=a.json"),
        ("--no-visualize", "tensorboard=false"),
        ("-c cpu -d 1", "device=cpu device=cuda:1"),
        ("--cfg job", "--cfg job"),
        ("-c job", "-c job"),
        ("-x 1", "-x 1"),
        ("optimizer.train.lr=1", "optimizer.train.lr=1"),
    ],
)
def test_command_lines_in_our_words(typed, ours):
    assert in_our_words(typed.split()) == ours.split()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("-f", "-f needs a value"),
        ("-a DartsSearcher", "algorithm DartsSearcher is not known here"),
        ("--save-nnp", "no NNP files are written here; export a sub-network with: ofa export format=onnx"),
        ("-t half", "--type-config half has no meaning here; .*precision=bf16"),
        ("-d 0,1", "--device-id 0,1 has no meaning here; set CUDA_VISIBLE_DEVICES"),
        ("-c opencl", "--context opencl has no meaning here; use device="),
    ],
)
def test_flags_without_meaning_say_what_there_is_instead(typed, words):
    with pytest.raises(ConfigError, match=words):
        in_our_words(typed.split())


def test_the_candidates_of_a_genotype_are_those_of_the_settings():
    assert tuple(TrainConfig().op_candidates) == OP_CANDIDATES
