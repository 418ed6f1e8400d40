"""Every criterion removes exactly what is asked for, and chooses by what it says it chooses by."""

import copy
import sys
from dataclasses import replace

import pytest
import torch
import torch_pruning as tp
from tiny import make_groups, make_task
from torch import nn

from autoprune.errors import TrialFailure, UserError
from autoprune.prune.criteria import (
    CRITERIA,
    Context,
    FunctionCriterion,
    channels_to_remove,
    choose_channels,
    choose_weights,
    get_criterion,
    weight_masks,
)
from autoprune.prune.criteria.base import Request
from autoprune.prune.criteria.choose import best_weights, lowest_channels
from autoprune.prune.criteria.lamp import lamp_scores
from autoprune.prune.find import find_groups

CHANNELS = [name for name, criterion in CRITERIA.items() if criterion.structured]
WEIGHTS = [name for name, criterion in CRITERIA.items() if not criterion.structured]
SHAPES = {"stem.weight": 72, "inner.weight": 864, "outer.weight": 96, "hidden.weight": 512}


@pytest.fixture(scope="module")
def tiny():
    return make_task()


@pytest.fixture
def model(tiny):
    return copy.deepcopy(tiny[2].model)


@pytest.fixture(scope="module")
def groups(tiny):
    found = make_groups(tiny[2], tiny[0])
    assert {group.name: group.channels for group in found} == {"stem": 8, "inner": 12, "hidden": 16}
    return found


@pytest.fixture(scope="module")
def context(tiny):
    return Context(tiny[0], tiny[1].train, seed=0, steps=3, batches=2)


@pytest.mark.parametrize("name", CHANNELS)
def test_exactly_the_channels_asked_for_go(name, model, groups, context):
    remove = {"stem": 3, "inner": 11, "hidden": 0}
    chosen = channels_to_remove(model, groups, name, remove, context)
    assert {group: len(set(channels)) for group, channels in chosen.items()} == {"stem": 3, "inner": 11}
    assert all(channels == sorted(channels) for channels in chosen.values())
    assert max(chosen["stem"]) < 8 and max(chosen["inner"]) < 12


@pytest.mark.parametrize("name", WEIGHTS)
def test_exactly_the_weights_asked_for_go(name, model, groups, context):
    sparsity = {"stem": 0.4, "inner": 0.77, "hidden": 0.9}
    masks = weight_masks(model, groups, name, sparsity, context)
    assert all(mask.shape == model.get_parameter(key).shape for key, mask in masks.items())
    assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks.values())
    gone = {key: int((mask == 0).sum()) for key, mask in masks.items()}
    asked = {"stem.weight": 0.4, "inner.weight": 0.77, "outer.weight": 0.4, "hidden.weight": 0.9}
    criterion = CRITERIA[name]
    if criterion.granularity == "2:4":  # the stem has a single input: no blocks of four
        assert gone == {key: size // 2 for key, size in SHAPES.items() if key != "stem.weight"}
    elif criterion.scope == "network":
        assert abs(sum(gone.values()) - sum(asked[key] * size for key, size in SHAPES.items())) <= 1
    else:
        kernel = {"stem.weight": 9, "inner.weight": 9} if criterion.granularity == "kernel" else {}
        assert all(abs(gone[key] - asked[key] * size) <= kernel.get(key, 1) for key, size in SHAPES.items())


@pytest.mark.parametrize("name", WEIGHTS)
def test_no_layer_is_emptied(name, model, groups, context):
    masks = weight_masks(model, groups, name, dict.fromkeys(("stem", "inner", "hidden"), 0.9999), context)
    assert all(mask.any() for mask in masks.values())


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_went_in_an_earlier_round_stays_gone(name, model, groups, context):
    """Even if the criterion would now judge the other way round."""
    first = weight_masks(model, groups, name, dict.fromkeys(("stem", "inner", "hidden"), 0.4), context)
    with torch.no_grad():
        for key in first:
            weight = model.get_parameter(key)
            weight.copy_(0.01 / (weight.abs() + 0.01))
    other = replace(context, seed=context.seed + 1)
    then = weight_masks(model, groups, name, dict.fromkeys(("stem", "inner", "hidden"), 0.7), other, within=first)
    assert all((mask <= first[key]).all() for key, mask in then.items())
    if CRITERIA[name].granularity != "2:4":
        assert sum(map(torch.sum, then.values())) < 0.6 * sum(map(torch.sum, first.values()))


@pytest.mark.parametrize("name", CRITERIA)
def test_the_same_seed_chooses_the_same(name, tiny, groups, context):
    def choose():
        model = copy.deepcopy(tiny[2].model)
        if CRITERIA[name].structured:
            return channels_to_remove(model, groups, name, {"stem": 4, "inner": 6, "hidden": 8}, context)
        masks = weight_masks(model, groups, name, {"stem": 0.5, "inner": 0.5, "hidden": 0.5}, context)
        return {key: mask.flatten().tolist() for key, mask in masks.items()}

    assert choose() == choose()


@pytest.mark.parametrize("name", CRITERIA)
def test_the_network_to_prune_is_a_plain_one_trained_only_by_criteria_that_train(name, model, groups, context):
    if CRITERIA[name].structured:
        _, found = choose_channels(model, groups, name, {"stem": 4}, context)
    else:
        _, found = choose_weights(model, groups, name, {"stem": 0.5}, context)
    before, after = model.state_dict(), found.state_dict()
    assert list(before) == list(after)
    changed = any(not torch.equal(before[key], after[key]) for key in before)
    assert changed == ("training" in CRITERIA[name].needs or CRITERIA[name].compensates)
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in found.parameters())
    assert not found.training and not any(module._forward_hooks for module in found.modules())


@pytest.mark.parametrize("name", [name for name, criterion in CRITERIA.items() if criterion.needs])
def test_a_criterion_that_needs_data_says_so(name, model, groups):
    with pytest.raises(UserError, match="looks at data"):
        if CRITERIA[name].structured:
            channels_to_remove(model, groups, name, {"stem": 1})
        else:
            weight_masks(model, groups, name, {"stem": 0.5})


def test_what_needs_no_data_runs_without(model, groups):
    for name, criterion in CRITERIA.items():
        if not criterion.needs:
            if criterion.structured:
                channels_to_remove(model, groups, name, {"stem": 1})
            else:
                weight_masks(model, groups, name, {"stem": 0.5})


@pytest.mark.parametrize("name", ["l1_norm", "l2_norm", "taylor", "group_norm", "group_taylor"])
def test_small_filters_go(name, model, groups, context):
    with torch.no_grad():
        for layer in (model.inner, model.hidden):
            layer.weight[[2, 5]] *= 1e-3
        model.inner_bn.weight[[2, 5]] *= 1e-3
        model.outer.weight[:, [2, 5]] *= 1e-3
        model.head.weight[:, [2, 5]] *= 1e-3
    chosen = channels_to_remove(model, groups, name, {"inner": 2, "hidden": 2}, context)
    assert chosen == {"inner": [2, 5], "hidden": [2, 5]}


def test_a_group_is_judged_by_all_its_filters_together(model, groups):
    with torch.no_grad():
        model.stem.weight[3] *= 1e-3  # but the other filter of channel 3 is large
        model.outer.weight[3] = 100
        model.stem.weight[6] *= 1e-3
        model.outer.weight[6] *= 1e-3
    assert channels_to_remove(model, groups, "l1_norm", {"stem": 1}) == {"stem": [6]}


def test_l1_and_l2_measure_differently(model, groups):
    with torch.no_grad():
        model.hidden.weight.fill_(1.0)
        model.hidden.weight[4] = 0  # L1 16 against 32, L2 16 against 5.7: one large weight
        model.hidden.weight[4, 0] = 16
        model.hidden.weight[9] = 0.9  # L1 28.8, L2 5.1
    assert channels_to_remove(model, groups, "l1_norm", {"hidden": 1}) == {"hidden": [4]}
    assert channels_to_remove(model, groups, "l2_norm", {"hidden": 1}) == {"hidden": [9]}


def test_fpgm_takes_the_filter_that_the_others_can_replace_not_the_smallest(model, groups):
    with torch.no_grad():
        model.hidden.weight.normal_(generator=torch.Generator().manual_seed(1)).add_(3)
        model.hidden.weight[7] = model.hidden.weight[torch.arange(16) != 7].mean(0)  # in the midst of them
        model.hidden.weight[2] = 0  # small, and far from all others
    assert channels_to_remove(model, groups, "fpgm", {"hidden": 1}) == {"hidden": [7]}
    assert channels_to_remove(model, groups, "l1_norm", {"hidden": 1}) == {"hidden": [2]}


@pytest.mark.parametrize("name", ["bn_scale", "slim"])
def test_small_batch_norm_scales_go(name, model, groups, context):
    with torch.no_grad():
        model.inner_bn.weight[[1, 8]] = 1e-3
        model.stem_bn.weight[5] = -1e-3
    chosen = channels_to_remove(model, groups, name, {"inner": 2, "stem": 1}, context)
    assert chosen == {"inner": [1, 8], "stem": [5]}


def test_slim_and_l0_shrink_what_is_not_needed(model, groups, tiny):
    """A channel that nothing reads is worth nothing to the loss, so the penalty alone moves its scale or its gate."""
    with torch.no_grad():
        model.outer.weight[:, 4] = 0
        model.inner_bn.weight.fill_(1.0)
    model.outer.register_forward_pre_hook(lambda _, x: x[0].index_fill(1, torch.tensor(4), 0.0))
    context = Context(tiny[0], tiny[1].train, steps=30)
    assert 4 in channels_to_remove(model, groups, "slim", {"inner": 3}, context)["inner"]
    for seed in range(5):  # gates are sampled: none need be the very lowest after so few steps
        context = Context(tiny[0], tiny[1].train, seed, steps=60)
        assert 4 in channels_to_remove(model, groups, "l0", {"inner": 6}, context)["inner"], seed


def test_dead_and_weak_activations_go(model, groups, context):
    with torch.no_grad():
        model.inner_bn.bias[3] = -100  # never above zero
        model.inner_bn.bias[9] = 1e-3  # always above zero, but only just
        model.inner_bn.weight[9] = 0
    assert channels_to_remove(model, groups, "apoz", {"inner": 1}, context) == {"inner": [3]}
    assert channels_to_remove(model, groups, "mean_activation", {"inner": 2}, context) == {"inner": [3, 9]}
    assert 9 not in channels_to_remove(model, groups, "apoz", {"inner": 6}, context)["inner"]


def test_a_channel_that_the_loss_does_not_feel_goes_by_its_gradient(model, groups, context):
    with torch.no_grad():
        model.hidden.bias.fill_(2.0)  # no ReLU is dead
        model.head.weight[:, 11] = 0
        model.hidden.weight[11] *= 10  # large, and useless
    for name in ("taylor", "group_taylor"):
        assert channels_to_remove(model, groups, name, {"hidden": 1}, context) == {"hidden": [11]}
    mask = weight_masks(model, groups, "snip", {"hidden": 32 / 512}, context)["hidden.weight"]
    assert (mask[11] == 0).all() and int((mask == 0).sum()) == 32
    assert channels_to_remove(model, groups, "l1_norm", {"hidden": 1}) != {"hidden": [11]}


def test_random_goes_by_the_seed_and_by_nothing_else(model, groups, tiny):
    def choose(seed):
        return channels_to_remove(model, groups, "random", {"hidden": 8}, Context(tiny[0], tiny[1].train, seed))

    first = choose(0)
    with torch.no_grad():
        model.hidden.weight.zero_()
    assert choose(0) == first
    assert any(choose(seed) != first for seed in (1, 2, 3))


def test_level_takes_the_smallest_of_each_layer_and_level_global_those_of_all(model, groups):
    with torch.no_grad():
        model.hidden.weight *= 1e-3
    masks = weight_masks(model, groups, "level", {"hidden": 0.5, "inner": 0.5})
    weight = model.hidden.weight.abs()
    assert weight[masks["hidden.weight"] == 0].max() <= weight[masks["hidden.weight"] == 1].min()
    masks = weight_masks(model, groups, "level_global", {"hidden": 0.5, "inner": 0.5})
    assert int((masks["hidden.weight"] == 0).sum()) == 511  # all but one, which no layer may lose
    assert int((masks["inner.weight"] == 0).sum()) == (512 + 864) // 2 - 511


def test_lamp_scores_are_the_papers():
    scores = lamp_scores(torch.tensor([3.0, -1.0, 2.0]))
    assert torch.allclose(scores.float(), torch.tensor([1.0, 1 / 14, 4 / 13]))


def test_lamp_does_not_care_about_a_layers_scale(model, groups):
    sparsity = {"stem": 0.5, "inner": 0.5, "hidden": 0.5}
    before = weight_masks(model, groups, "lamp", sparsity)
    with torch.no_grad():
        model.hidden.weight *= 1e-3
    after = weight_masks(model, groups, "lamp", sparsity)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_movement_keeps_what_moves_away_from_zero(model, groups, tiny):
    """A weight that the loss pulls towards zero goes, although it is the larger one."""

    masked = []  # the weight as NNI's wrapper masks it while it trains
    model.hidden.register_forward_hook(lambda layer, x, y: masked.append(layer.weight))

    def loss(outputs, labels):
        large, *small = masked[-1]
        return outputs.sum() * 0 + large.pow(2).sum() - small[0].pow(2).sum()

    context = Context(replace(tiny[0], loss=loss), tiny[1].train, steps=8)
    with torch.no_grad():
        model.hidden.weight.fill_(1.0)
        model.hidden.weight[0] = 2.0
    mask = weight_masks(model, groups, "movement", {"hidden": 32 / 512}, context)["hidden.weight"]
    assert (mask[0] == 0).all() and (mask[1] == 1).all()


def test_synaptic_strength_is_the_kernels_norm_times_its_inputs_scale(model, groups, context):
    with torch.no_grad():
        model.stem_bn.weight[2] = 1e-4  # weak input, whatever its kernels
        model.inner.weight[:, 2] *= 2
        model.inner.weight[5, 6] *= 1e-4  # one weak kernel
    mask = weight_masks(model, groups, "synaptic_strength", {"inner": 13 / 96}, context)["inner.weight"]
    kernels = mask.flatten(2)
    assert ((kernels == kernels[:, :, :1]).all()).item()  # whole kernels
    gone = {(int(o), int(i)) for o, i in (kernels[:, :, 0] == 0).nonzero()}
    assert gone == {(o, 2) for o in range(12)} | {(5, 6)}


def test_two_of_four_keeps_the_two_largest_of_every_four_inputs(model, groups):
    masks = weight_masks(model, groups, "nm_2_4", {"inner": 0.1, "hidden": 0.9, "stem": 0.0})
    assert set(masks) == {"inner.weight", "hidden.weight"}
    blocks = masks["hidden.weight"].view(16, 8, 4)
    assert (blocks.sum(-1) == 2).all()
    weight = model.hidden.weight.abs().view(16, 8, 4)
    assert (weight.masked_fill(blocks == 0, 9).amin(-1) >= weight.masked_fill(blocks == 1, 0).amax(-1)).all()
    assert (masks["inner.weight"].view(12, 2, 4, 9).sum(2) == 2).all()  # along the input channels


@pytest.mark.parametrize("name", ["L1NormPruner", "L2NormPruner", "FPGMPruner"])
def test_channels_are_those_of_nnis_own_masks(name, model, groups):
    import nni.compression.pruning

    ours = {"L1NormPruner": "l1_norm", "L2NormPruner": "l2_norm", "FPGMPruner": "fpgm"}[name]
    config = [
        {"op_names": ["stem", "outer"], "sparse_ratio": 0.5, "dependency_group_id": "stem"},
        {"op_names": ["inner"], "sparse_ratio": 0.5},
        {"op_names": ["hidden"], "sparse_ratio": 0.5},
    ]
    _, masks = getattr(nni.compression.pruning, name)(copy.deepcopy(model), config).compress()
    theirs = {
        group: (masks[group]["weight"].flatten(1).sum(1) == 0).nonzero().flatten().tolist()
        for group in ("stem", "inner", "hidden")
    }
    assert channels_to_remove(model, groups, ours, {"stem": 4, "inner": 6, "hidden": 8}) == theirs


def test_group_norm_has_the_order_of_torch_prunings_own(model, groups, tiny):
    graph = tp.DependencyGraph().build_dependency(model, tiny[0].example_input)
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    for name, channels in {"stem": 8, "inner": 12, "hidden": 16}.items():
        layer = model.get_submodule(name)
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        theirs = importance(graph.get_pruning_group(layer, prune, list(range(channels)))).argsort().tolist()
        ours = [channels_to_remove(model, groups, "group_norm", {name: count})[name] for count in range(1, channels)]
        assert ours == [sorted(theirs[:count]) for count in range(1, channels)]


def test_a_weight_that_nni_cannot_see_is_named(tiny, groups, context, monkeypatch):
    model = copy.deepcopy(tiny[2].model)

    functional = nn.Module()
    forward = type(model).forward

    def without_calling_hidden(self, x):  # as torchvision's Swin calls no linear layer of its attention
        hidden, self._modules["hidden"] = self.hidden, functional
        functional.forward = lambda x: nn.functional.linear(x, hidden.weight, hidden.bias)
        try:
            return forward(self, x)
        finally:
            self._modules["hidden"] = hidden

    monkeypatch.setattr(type(model), "forward", without_calling_hidden)
    for name in ("taylor", "slim"):
        with pytest.raises(UserError, match="does not see hidden.weight, which is used without its layer being called"):
            channels_to_remove(model, groups, name, {"hidden": 1, "inner": 1}, context)
    with pytest.raises(UserError, match="gates on hidden are never passed"):
        channels_to_remove(model, groups, "l0", {"hidden": 1, "inner": 1}, context)
    assert channels_to_remove(model, groups, "group_taylor", {"hidden": 1}, context)


def test_nothing_of_nni_is_left_behind(model, groups, context):
    for name in ("l1_norm", "taylor", "slim", "movement"):
        choose = choose_channels if CRITERIA[name].structured else choose_weights
        _, found = choose(model, groups, name, {"inner": 1} if CRITERIA[name].structured else {"inner": 0.5}, context)
        assert not any("forward" in layer.__dict__ or hasattr(layer, "_nni_wrapper") for layer in found.modules())


def test_attention_heads_are_scored_whole():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    model, x = Attention().eval(), torch.randn(1, 5, 16)
    (group,) = (group for group in find_groups(model, x) if group.channels == 4)
    groups = [group]
    with torch.no_grad():
        for third in range(3):
            model.attention.in_proj_weight[third * 16 + 8 : third * 16 + 12] *= 1e-3  # head 2
        model.attention.out_proj.weight[:, 8:12] *= 1e-3
    for name in ("l1_norm", "l2_norm", "group_norm"):
        assert channels_to_remove(model, groups, name, {group.name: 1}) == {group.name: [2]}


def test_scores_that_are_not_numbers_are_a_failure(model, groups):
    def score(request):
        return {group.name: torch.full((group.channels,), float("nan")) for group in request.groups}

    with pytest.raises(TrialFailure, match="scores of stem are not finite"):
        lowest_channels(FunctionCriterion(score, "channel", ""), model, groups, {"stem": 1}, None)

    def score_weights(request):
        return {name: weight / 0 for _, name, weight in request.weights()}

    with pytest.raises(TrialFailure, match="not finite"):
        best_weights(FunctionCriterion(score_weights, "weight", ""), model, groups, {"stem": 0.5}, None)


def test_an_unknown_criterion_is_refused_with_near_matches():
    with pytest.raises(UserError, match="unknown criterion 'l1norm': use l1_norm"):
        get_criterion("l1norm")


def score(name, model, groups):
    groups = tuple(groups)
    half = {group.name: 0.5 for group in groups}
    return CRITERIA[name].score(Request(copy.deepcopy(model), groups, half, None, groups))


@pytest.mark.parametrize("name", ["l1_norm", "l2_norm", "level"])
def test_without_nni_magnitudes_are_the_numbers_that_its_pruners_measure(name, model, groups, monkeypatch):
    by_nni = score(name, model, groups)
    monkeypatch.setitem(sys.modules, "nni.compression.pruning", None)
    alone = score(name, model, groups)
    assert by_nni.keys() == alone.keys()
    assert all(torch.allclose(by_nni[key], alone[key], rtol=1e-6) for key in alone)
    with pytest.raises(UserError, match="pip install nni==3.0"):
        score("fpgm", model, groups)
