"""Keys of NNablaNAS's composed experiments behind `ofa train`, for a preset of that name and for a file."""

import json
from dataclasses import replace

import pytest

from onceforall.commands.experiment_file import compose_train
from onceforall.commands.nnablanas_words import composed
from onceforall.configuration import compose, groups_of
from onceforall.errors import ConfigError, InvalidArch
from onceforall.interop.nnablanas import arch_from_genotype, in_our_words
from onceforall.space import create_space
from onceforall.train.config import TrainConfig

MBV3, RESNET = "classification/ofa/ofa_mbv3/imagenet_", "classification/ofa/ofa_resnet50/imagenet_"
STAGES = [
    name
    for name in groups_of("train")["experiment"]
    if name.startswith((MBV3, RESNET)) and not name.endswith("progressive_shrinking")
]
MORE = "recipe.phases.kernel"


def preset(name, *words) -> TrainConfig:
    return compose("train", TrainConfig, [f"experiment={name}", *words])


def typed(name, *words) -> TrainConfig:
    return compose_train(in_our_words([f"experiment={name}", *words]))


def network_with(family, **values):
    return [f"network.{family}.{key}={value}" for key, value in values.items()]


@pytest.mark.parametrize("name", STAGES)
def test_a_preset_says_what_the_experiment_of_its_name_says(name, shared):
    assert len(STAGES) == 16
    family = name.split("/")[2]
    golden = json.loads((shared / f"golden/nnablanas/{family}.json").read_text())["experiments"]
    theirs, ours = golden[name.removeprefix("classification/")], composed(preset(name))
    for section in ("optimizer", "args"):
        assert ours[section].items() <= theirs[section].items()
    ((_, network),) = ours["network"].items()
    (their_network,) = theirs["network"].values()
    unnamed = {"width_mult": 1.0, "compound": False}  # what the files leave to the defaults
    places = ("weights",)
    assert {key: value for key, value in network.items() if key not in places} == {
        **{key: value for key, value in unnamed.items() if key in network},
        **{key: value for key, value in their_network.items() if key not in (*places, "num_classes")},
    }
    space, candidates = create_space(preset(name).space.name), network.get("op_candidates", ())
    hparams, their_hparams = ours["hparams"], theirs["hparams"]
    read = [arch_from_genotype(space, genotype, candidates) for genotype in hparams.pop("valid_genotypes", [])]
    expected = [
        arch_from_genotype(space, genotype, candidates) for genotype in their_hparams.get("valid_genotypes", [])
    ]
    assert read == expected
    teacher = hparams.pop("teacher_network", {})
    assert teacher.keys() == their_hparams.get("teacher_network", {}).keys()
    assert hparams.pop("image_size_seg", 4) == 4
    assert hparams.items() <= their_hparams.items()


@pytest.mark.parametrize("name", STAGES)
def test_words_that_repeat_the_experiment_change_nothing(name):
    ours = composed(preset(name))
    epochs, rate = ours["hparams"]["epoch"], ours["optimizer"]["train"]["lr"]
    assert typed(name, f"hparams.epoch={epochs}", f"optimizer.train.lr={rate}") == preset(name)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("hparams.batch_size_train=64", "batch_size=64"),
        ("hparams.mini_batch_train=4", "micro_batch_size=4"),
        ("hparams.mini_batch_valid=50", "evaluation.batch_size=50"),
        ("hparams.train_image_size_list=[128,160]", "space.resolutions=[128,160]"),
        ("hparams.valid_image_size_list=[160]", "evaluation.resolutions=[160]"),
        ("hparams.validation_frequency=5", "evaluation.every_epochs=5"),
        ("+hparams.image_size_seg=32", "space.resolution_step=32"),
        ("hparams.image_size_continuous=false", "space.resolution_step=null"),
        ("hparams.lambda_kd=0.5", "recipe.kd_ratio=0.5"),
        ("hparams.lambda_kd=0", f"recipe.teacher=null {MORE}.distill=none"),
        ("hparams.teacher_network.ofa_mbv3.weights=x.h5", "recipe.teacher=x.h5"),
        ("hparams.valid_genotypes=[]", f"{MORE}.archs=null"),
        ("~hparams.valid_genotypes", f"{MORE}.archs=null"),
        ("hparams.warmup_lr=0.01", f"{MORE}.warmup_learning_rate=0.01"),
        ("hparams.cosine_warmup_epoch=2", f"{MORE}.warmup_epochs=2"),
        ("optimizer.train.lr=0.1 optimizer.train_no_decay.lr=0.1", f"{MORE}.learning_rate=0.1"),
        ("optimizer.train.weight_decay=1e-4", "optimizer.weight_decay=1e-4"),
        ("optimizer.train.momentum=0.8 optimizer.train_no_decay.momentum=0.8", "optimizer.momentum=0.8"),
        ("network.ofa_mbv3.weights=a.h5", "weights=a.h5"),
        ("~network.ofa.weights", "weights=null"),
        ("network.ofa.drop_rate=0.2", "space.dropout=0.2"),
        ("network.ofa_mbv3.width_mult=1.2 hparams.teacher_network.ofa_mbv3.width_mult=1.2", "space.name=mbv3_w1.2"),
        ("dataloader.imagenet.train_portion=0.9", "data.holdout=0.1"),
        ("dataloader.imagenet.datapath=/images", "data.root=/images"),
        ("dataloader.imagenet.colortwist=false", "augment.brightness=0 augment.saturation=0"),
        ("args.context=cpu args.search=true args.algorithm=OFASearcher args.save_nnp=false", "device=cpu"),
        ("args.no_visualize=true args.output_path=here args.device_id=1", "run=here device=cuda:1"),
        ("args.no_visualize=false", "tensorboard=false"),
    ],
)
def test_what_a_word_changes(words, changed):
    assert typed(f"{MBV3}search_kernel", *words.split()) == preset(f"{MBV3}search_kernel", *changed.split())


def test_the_length_leaves_the_warm_up_alone():
    name = f"{MBV3}search_fullnet"
    config = typed(name, "hparams.epoch=10")
    assert config == preset(name, "epochs=10", "recipe.phases.fullnet.epochs=10")
    assert config.recipe.phases["fullnet"].warmup_epochs == 5
    # Shorter than the warm-up, training ends while the rate is rising.
    (phase,) = typed(name, "hparams.epoch=1").recipe.phases.values()
    assert (phase.epochs, phase.warmup_epochs) == (1, 1)
    assert phase.learning_rate == pytest.approx(0.08125 + (0.65 - 0.08125) / 5)


@pytest.mark.parametrize(
    ("name", "teacher"),
    [
        (f"{MBV3}search_fullnet", "+hparams.teacher_network.ofa_mbv3.weights=a.h5"),
        (f"{MBV3}search_fullnet", "recipe.teacher=a.h5"),
        (f"{RESNET}search_fullnet", "hparams.teacher_network.ofa_resnet50.weights=a.h5"),
    ],
)
def test_a_stage_without_a_teacher_gets_one(name, teacher):
    with pytest.raises(ConfigError, match=r"teacher_network names no weights .* behind ofa train as recipe\.teacher="):
        typed(name, "hparams.lambda_kd=0.5")
    ours = ("recipe.phases.fullnet.distill=teacher", "recipe.teacher=a.h5")
    assert typed(name, "hparams.lambda_kd=0.5", teacher) == preset(name, *ours, "recipe.kd_ratio=0.5")
    assert typed(name, "hparams.epoch=7", *ours) == preset(name, *ours, "epochs=7", "recipe.phases.fullnet.epochs=7")


def test_a_file_that_names_no_teacher_gets_one(shared, tmp_path):
    golden = json.loads((shared / "golden/nnablanas/ofa_mbv3.json").read_text())["experiments"]
    values = golden["ofa/ofa_mbv3/imagenet_search_kernel"]
    path = tmp_path / "kernel.json"

    def read(*words):
        path.write_text(json.dumps(values))
        return compose_train(in_our_words(["-f", str(path), *words]))

    whole = read("recipe.teacher=a.h5")
    assert whole.recipe.teacher == "a.h5"
    del values["hparams"]["teacher_network"]["ofa_mbv3"]["weights"]
    for word in ("recipe.teacher=a.h5", "+hparams.teacher_network.ofa_mbv3.weights=a.h5"):
        assert read(word) == read(word, "recipe.phases.kernel.distill=teacher") == whole
    for words in ([], ["recipe.teacher=null"]):
        with pytest.raises(ConfigError, match=r"teacher_network names no weights of ofa_mbv3; .*recipe\.teacher="):
            read(*words)
    with pytest.raises(ConfigError, match="its depth is 3; here the largest network"):
        read("recipe.teacher=a.h5", "hparams.teacher_network.ofa_mbv3.depth_candidates=3")
    del values["hparams"]["teacher_network"]
    assert read("recipe.teacher=a.h5") == whole


def test_candidates_are_what_is_trained():
    name = f"{MBV3}search_kernel"
    words = ["network.ofa_mbv3.op_candidates=[MB6 7x7,MB6 5x5]"]
    with pytest.raises(
        InvalidArch, match=r"hparams\.valid_genotypes\[2\]: stage 1 of the genotype.*; name others, or none"
    ):
        typed(name, *words)
    genotypes = [[0] * 20, [1] * 20]
    config = typed(name, *words, f"hparams.valid_genotypes={json.dumps(genotypes).replace(' ', '')}")
    space, phase = config.space, config.recipe.phases["kernel"]
    assert (space.kernel_sizes, space.expand_ratios, space.depths) == ([5, 7], [6], [4])
    assert (phase.kernel_sizes, phase.expand_ratios, phase.depths) == (None, None, None)
    assert [arch["stages"][0]["kernel_sizes"] for arch in phase.archs or ()] == [[7] * 4, [5] * 4]
    wider = typed(name, 'network.ofa_mbv3.op_candidates=["MB6 7x7","MB4 7x7"]', "hparams.valid_genotypes=null")
    assert (wider.space.kernel_sizes, wider.space.expand_ratios) == ([7], [4, 6])
    assert wider.recipe.phases["kernel"].expand_ratios is None
    deeper = typed(name, "network.ofa_mbv3.depth_candidates=[3,4]")
    assert (deeper.space.depths, deeper.space.kernel_sizes) == ([3, 4], [3, 5, 7])


def test_another_task_trains_what_the_experiment_lists():
    config = typed(f"{MBV3}search_fullnet", "hparams.task=kernel")
    space, phase = config.space, config.recipe.phases["fullnet"]
    assert (phase.sampling, phase.kernel_sizes, phase.expand_ratios, phase.depths) == ("random", None, None, None)
    assert (space.kernel_sizes, space.expand_ratios, space.depths) == ([7], [6], [4])
    phase = typed(f"{RESNET}search_fullnet", "hparams.task=expand").recipe.phases["fullnet"]
    assert (phase.sampling, phase.depths, phase.expand_ratios, phase.width_mults) == ("random", 1, 1, 1)


def test_a_compound_stage_keeps_how_it_sorts():
    name = f"{MBV3}search_comp_phase1"
    config = typed(name, "network.ofa_mbv3.weights=other.h5", "hparams.epoch=3")
    assert config.recipe.phases["comp_phase1"].sort_channels == 0
    words = ["network.ofa_mbv3.op_candidates=[MB4 5x5,MB6 5x5]", "hparams.valid_genotypes=[]"]
    config = typed(name, *words)
    assert (config.space.compound, config.space.kernel_sizes, config.space.expand_ratios) == (True, [5], [4, 6])


@pytest.mark.parametrize("word", ["network.ofa_mbv3.compound=false", "~network.ofa_mbv3.compound"])
def test_a_compound_stage_without_compound_is_an_elastic_one(word):
    config = typed(f"{MBV3}search_comp_phase1", word, "hparams.valid_genotypes=[]")
    space, phase = config.space, config.recipe.phases["comp_phase1"]
    assert (space.compound, space.depths, space.expand_ratios) == (False, [2, 3, 4], [3, 4, 6])
    assert (phase.depths, phase.expand_ratios, phase.sort_channels) == (None, None, 1)


def test_a_key_that_is_taken_away_leaves_its_default():
    name = f"{MBV3}train_subnet"
    assert typed(name, "~network.ofa_mbv3.op_candidates") == preset(name)


def test_words_of_resnet50():
    name = f"{RESNET}search_width_phase1"
    config = typed(name, *network_with("ofa_resnet50", width_mult_list="[0.65,0.8,1.0]", depth_list=2))
    phase = config.recipe.phases["width_phase1"]
    assert (phase.depths, phase.expand_ratios, phase.width_mults) == (1, None, 3)
    subnet = f"{RESNET}train_subnet"
    assert typed(subnet, "network.ofa_resnet50.genotype=[2,0.35,1.0]") == preset(subnet, "genotype=[2,0.35,1.0]")
    assert typed(subnet, "network.ofa_resnet50.genotype.d.input_stem1=2").genotype["d"]["input_stem1"] == 2
    assert typed(subnet, "hparams.img_size=160") == preset(subnet, "space.resolutions=[160]")


def test_our_words_come_after_theirs():
    config = typed(f"{MBV3}search_kernel", "epochs=3", "hparams.epoch=10", "space=mbv3_w1.2", f"{MORE}.learning_rate=1")
    assert (config.epochs, config.recipe.phases["kernel"].epochs, config.space.name) == (3, 10, "mbv3_w1.2")
    assert config.recipe.phases["kernel"].learning_rate == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            "optimizer.train.lr=0.1",
            r"optimizer\.train_no_decay\.lr is 0\.24; here it is that of optimizer\.train, 0\.1",
        ),
        ("hparams.epochs=1", r"hparams\.epochs: unknown key; did you mean hparams\.epoch"),
        ("network.ofa_mbv3.op_candidate=1", r"unknown key; did you mean network\.ofa_mbv3\.op_candidates"),
        (
            "network.ofa_resnet50.depth_list=[2]",
            "the network of experiment=.*search_kernel is ofa_mbv3, not ofa_resnet50",
        ),
        (
            "hparams.batch_size_valid=800",
            r"hparams\.batch_size_valid changes nothing here; .*hparams\.mini_batch_valid",
        ),
        ("args.print_frequency=10", "changes nothing here; write log_every_steps=N"),
        ("network.ofa_mbv3.num_classes=10", "changes nothing here; there are as many outputs"),
        ("dataloader.imagenet.train_path=x", r"changes nothing here; data\.root names the folder"),
        ("hparams.epoch=long", r"hparams\.epoch: the value 'long' is not .*a number"),
        ("args.search=false", "args.search is false; the task kernel needs args.search true"),
        ("args.algorithm=OFATrainer args.search=false", "the file names no genotype|names no genotype"),
        ("args.save_nnp=true", "no NNP files are written here"),
        ("args.context=opencl", "--context opencl has no meaning here"),
        ("hparams.task=foo", "hparams.task is foo; it is one of fullnet, kernel"),
    ],
)
def test_what_a_stage_cannot_follow(words, error):
    with pytest.raises(ConfigError, match=error):
        typed(f"{MBV3}search_kernel", *words.split())


@pytest.mark.parametrize("name", ["digits", f"{MBV3}progressive_shrinking"])
def test_other_presets_have_other_keys(name):
    with pytest.raises(ConfigError, match=r"hparams\.epoch=1: keys of NNablaNAS go with one of its experiments"):
        typed(name, "hparams.epoch=1")


@pytest.mark.parametrize(
    ("name", "word", "error"),
    [
        (f"{MBV3}search_kernel", "recipe=imagenet_progressive_shrinking", "the one stage of .*; leave out recipe="),
        (f"{MBV3}search_kernel", "recipe=sandwich", "the one stage of .*; leave out recipe="),
        (f"{MBV3}search_kernel", "space=resnet50", "the network of .*_kernel, not resnet50; leave out space="),
        (f"{MBV3}search_kernel", "space=proxyless_w1.3", "the network of .*, not proxyless_w1.3; leave out space="),
        (f"{MBV3}search_kernel", "space=compound_w1.0", "the network of .*, not compound_w1.0; leave out space="),
        (f"{RESNET}search_fullnet", "space=mbv3_w1.0", "the network of .*, not mbv3_w1.0; leave out space="),
    ],
)
def test_a_stage_with_another_recipe_or_space_has_other_keys(name, word, error):
    with pytest.raises(ConfigError, match=f"^keys of NNablaNAS go with {error}$"):
        typed(name, word, "hparams.epoch=10")


def test_words_behind_a_file_are_set_in_it(shared, tmp_path):
    golden = json.loads((shared / "golden/nnablanas/legacy_json_last_before_hydra.json").read_text())["experiments"]
    path = tmp_path / "kernel.json"
    path.write_text(json.dumps(golden["ofa/ofa_mbv3/ofa_imagenet_search_kernel.json"]))

    def read(*words):
        return compose_train(in_our_words(["-f", str(path), *words]))

    config = read("network.ofa.op_candidates=[MB6 7x7,MB6 5x5]", "~hparams.valid_genotypes", "hparams.epoch=10")
    assert config.space.kernel_sizes == [5, 7]
    assert (config.epochs, config.recipe.phases["kernel"].warmup_epochs) == (10, 5)
    assert read("hparams.batch_size_train=16") == replace(read(), batch_size=16)
    with pytest.raises(ConfigError, match=r"^hparams\.epochs: unknown key; did you mean hparams\.epoch"):
        read("hparams.epochs=1")
