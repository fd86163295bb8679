import pytest
from hypothesis import given
from hypothesis import strategies as st

from onceforall.errors import ConfigError
from onceforall.space import create_space
from onceforall.train import RecipeConfig, create_recipe, progressive_shrinking, sandwich


def names(recipe):
    return [phase.name for phase in recipe.phases]


def opened(phase, space):
    stage = phase.open_space(space).stages[0]
    return stage.kernel_sizes, stage.depths, stage.expand_ratios


def test_progressive_shrinking_opens_one_choice_after_the_other_from_the_largest_down():
    space = create_space("mbv3_w1.0")
    recipe = progressive_shrinking(RecipeConfig(), space)
    assert names(recipe) == ["full", "kernel", "depth 1", "depth 2", "expand 1", "expand 2"]
    assert [phase.sampling for phase in recipe.phases] == ["largest"] + ["random"] * 5
    assert [phase.subnets_per_step for phase in recipe.phases] == [1, 1, 2, 2, 4, 4]
    assert [opened(phase, space) for phase in recipe.phases[1:]] == [
        ((3, 5, 7), (4,), (6,)),
        ((3, 5, 7), (3, 4), (6,)),
        ((3, 5, 7), (2, 3, 4), (6,)),
        ((3, 5, 7), (2, 3, 4), (4, 6)),
        ((3, 5, 7), (2, 3, 4), (3, 4, 6)),
    ]
    assert [phase.sort_channels for phase in recipe.phases] == [None, None, None, None, 0, 1]
    assert [phase.objective.distill for phase in recipe.phases] == ["none"] + ["teacher"] * 5


@pytest.mark.parametrize(
    ("space", "phases"),
    [
        (create_space("resnet_small"), ["full", "depth", "expand 1", "expand 2"]),
        (create_space("mbv3_small"), ["full", "kernel", "depth 1", "depth 2", "expand 1", "expand 2"]),
        (create_space("resnet_small", expand_ratios=[0.5, 1]), ["full", "depth", "expand"]),
        (create_space("resnet_small", depths=[2], expand_ratios=[1]), ["full"]),
    ],
)
def test_choices_a_space_does_not_have_get_no_phase(space, phases):
    recipe = progressive_shrinking(RecipeConfig(), space)
    assert names(recipe) == phases
    assert recipe.phases[-1].open_space(space) == space or phases == ["full"]


def test_sandwich_trains_the_largest_alone_first():
    space = create_space("mbv3_small")
    recipe = sandwich(RecipeConfig(warmup_share=0.3, random_subnets=3), space)
    assert names(recipe) == ["largest", "sandwich"]
    assert [phase.share for phase in recipe.phases] == [0.3, 0.7]
    assert recipe.phases[1].subnets_per_step == 5
    assert recipe.phases[1].objective.distill == "inplace"
    assert names(sandwich(RecipeConfig(warmup_share=0.0), space)) == ["sandwich"]


@given(share=st.floats(0.01, 5), smoothing=st.floats(0, 1), reduction=st.sampled_from(["mean", "sum"]))
def test_settings_reach_every_phase(share, smoothing, reduction):
    config = RecipeConfig(full_share=share, label_smoothing=smoothing, loss_reduction=reduction)
    recipe = progressive_shrinking(config, create_space("mbv3_w1.0"))
    assert recipe.phases[0].share == share
    assert {phase.objective.label_smoothing for phase in recipe.phases} == {smoothing}
    assert {phase.objective.reduction for phase in recipe.phases} == {reduction}
    depth_share = sum(phase.share for phase in recipe.phases if phase.name.startswith("depth"))
    assert depth_share == pytest.approx(config.depth_share)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (RecipeConfig(name="bignas"), "no such recipe; there are progressive_shrinking, sandwich"),
        (RecipeConfig(name="sandwich", warmup_share=1.0), "recipe.warmup_share=1"),
        (RecipeConfig(name="sandwich", random_subnets=-1), "recipe.random_subnets=-1"),
        (RecipeConfig(loss_reduction="max"), "loss_reduction=max"),
        (RecipeConfig(depth_subnets=0), "at least 1 sub-networks"),
        (RecipeConfig(full_share=0.0), "phase full: its share must be positive"),
    ],
)
def test_impossible_recipes_are_refused(config, words):
    with pytest.raises(ConfigError, match=words):
        create_recipe(config, create_space("mbv3_small"))
