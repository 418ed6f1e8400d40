"""Whole residual blocks: found, dropped as if their branch were zero, rebuilt, and carried through a trial."""

from dataclasses import replace

import pytest
import torch
import torchvision
from tiny import make_task
from torch import nn
from typer.testing import CliRunner

from autoprune.base.yaml_file import load_yaml
from autoprune.cli import app
from autoprune.errors import UserError
from autoprune.export.formats import state_dict
from autoprune.measure import measure
from autoprune.prune.blocks import block_importance, choose_blocks, find_blocks, remove_blocks
from autoprune.prune.dense import Dense
from autoprune.prune.find import find_groups
from autoprune.prune.random_values import randomise
from autoprune.prune.rebuild import rebuild
from autoprune.results.candidate import Candidate
from autoprune.task.models.digits import DigitsNet
from autoprune.task.models.resnet import ResNet
from autoprune.trial.run import run_trial

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
SEQUENCE = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1))


def vit():
    return torchvision.models.VisionTransformer(32, 16, 3, 4, 32, 64, num_classes=5)


def encoder(norm_first):
    layer = nn.TransformerEncoderLayer(16, 4, 32, norm_first=norm_first, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 3))


CASES = {
    "resnet20": (
        ResNet,
        ["layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"],
        ["bn2.weight", "bn2.bias"],
    ),
    "resnet18": (
        torchvision.models.resnet18,
        ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"],
        ["bn2.weight", "bn2.bias"],
    ),
    "vit": (
        vit,
        [f"encoder.layers.encoder_layer_{i}" for i in range(3)],
        [f"{layer}.{part}" for layer in ("self_attention.out_proj", "mlp.3") for part in ("weight", "bias")],
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A network with random norms, its blocks, and the parameters that end their branches."""
    torch.manual_seed(0)
    build, names, last = CASES[request.param]
    model = randomise(build()).eval()
    return build, model, find_blocks(model, IMAGE), names, last


def test_the_residual_blocks_are_found(case):
    _, _, blocks, names, _ = case
    assert [block.name for block in blocks] == names


@torch.no_grad()
def test_dropping_equals_a_branch_that_ends_in_zeros(case):
    _, model, blocks, _, last = case
    dense = model(IMAGE)
    for some in [*([block] for block in blocks), blocks[::2], blocks]:
        zeroed = remove_blocks(model, [])
        for block in some:
            for name in last:
                zeroed.get_parameter(f"{block.name}.{name}").zero_()
        found = remove_blocks(model, some)(IMAGE)
        assert torch.allclose(found, zeroed(IMAGE), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(found, dense, atol=1e-3)


def test_the_network_shrinks_by_what_the_blocks_say(case):
    _, model, blocks, _, _ = case
    before = measure.measure(model, IMAGE, with_latency=False)
    for some in ([blocks[0]], blocks):
        after = measure.measure(remove_blocks(model, some), IMAGE, with_latency=False)
        for what in ("params", "macs"):
            assert before[what] - after[what] == sum(getattr(block, what) for block in some) > 0


@torch.no_grad()
def test_a_state_dict_without_blocks_is_rebuilt_bit_for_bit(case):
    build, model, blocks, _, _ = case
    smaller = remove_blocks(model, blocks[1:])
    again = rebuild(build(), smaller.state_dict(), IMAGE)
    assert torch.equal(again(IMAGE), smaller(IMAGE))
    assert again.state_dict().keys() == smaller.state_dict().keys()


@torch.no_grad()
def test_an_encoder_that_normalises_first_loses_a_layer_although_it_is_called_with_masks():
    model = randomise(encoder(norm_first=True)).eval()
    (block,) = find_blocks(model, SEQUENCE)  # PyTorch reads options of the first layer, so that one must stay
    assert block.name == "0.layers.1"
    assert torch.equal(remove_blocks(model, [block])(SEQUENCE), model[1](model[0].layers[0](SEQUENCE)))


class Around(nn.Module):
    """A block inside another module, with whatever a test makes of them."""

    def __init__(self, forward):
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 3, 1)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


class Model(nn.Module):
    """A block between two convolutions, with a forward of a test's choice."""

    def __init__(self, block, forward):
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 3, 1), Around(block), nn.Conv2d(3, 2, 1)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def residual(m, x):
    return x + m.last(m.inner(x).relu())


def through(m, x):
    return m.head(m.block(m.stem(x)))


@pytest.mark.parametrize(
    "block, forward",
    [
        (lambda m, x: m.last(m.inner(x)), through),
        (lambda m, x: m.inner(x) + m.last(x), through),
        (lambda m, x: nn.functional.gelu(residual(m, x)), through),
        (lambda m, x: 2 * x + m.inner(x), through),
        (residual, lambda m, x: m.head(m.block(m.block(m.stem(x))))),
        (
            residual,
            lambda m, x: m.head(m.block(m.stem(x))) + m.block.inner.weight.sum() * (m.block.inner.bias + 1).sum(),
        ),
        (residual, lambda m, x: (lambda y: m.head(m.block(y).relu_() + y))(m.stem(x))),
    ],
    ids=["plain", "two branches", "other activation", "scaled", "called twice", "read elsewhere", "changed in place"],
)
def test_what_only_looks_like_a_block_is_not_offered(block, forward):
    assert [found.name for found in find_blocks(Model(residual, through), IMAGE)] == ["block"]
    assert find_blocks(Model(block, forward), IMAGE) == ()


@torch.no_grad()
def test_a_relu_after_the_addition_stays():
    model = Model(lambda m, x: residual(m, x).relu(), through)
    smaller = remove_blocks(model, find_blocks(model, IMAGE))
    assert model.stem(IMAGE).min() < 0
    assert torch.equal(smaller(IMAGE), model.head(model.stem(IMAGE).relu()))


def test_an_addition_outside_is_left_alone():
    assert find_blocks(DigitsNet(), torch.randn(1, 1, 8, 8)) == ()


@torch.no_grad()
def test_an_encoder_that_normalises_last_loses_a_layer_with_its_norms():
    model = randomise(encoder(norm_first=False)).eval()
    (block,) = find_blocks(model, SEQUENCE)
    layer = model[0].layers[1]
    assert block.name == "0.layers.1" and block.norms and block.params == sum(p.numel() for p in layer.parameters())
    assert torch.equal(remove_blocks(model, [block])(SEQUENCE), model[1](model[0].layers[0](SEQUENCE)))
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_norm_that_is_no_residual_block_s_own_is_no_reason_to_drop_a_module():
    class Normed(nn.Module):
        def __init__(self, forward):
            super().__init__()
            self.linear, self.norm, self.function = nn.Linear(16, 16), nn.LayerNorm(16), forward

        def forward(self, x):
            return self.function(self, x)

    for forward in (lambda m, x: m.norm(m.linear(x)), lambda m, x: m.norm(x + m.linear(x)) * 2):
        assert find_blocks(nn.Sequential(Normed(forward), nn.Linear(16, 3)), SEQUENCE) == ()
    (block,) = find_blocks(nn.Sequential(Normed(lambda m, x: m.norm(x + m.linear(x))), nn.Linear(16, 3)), SEQUENCE)
    assert block.name == "0" and block.norms


def test_a_block_with_a_layer_to_keep_stays_and_the_mode_does_too():
    model = ResNet(8).train()
    assert [block.name for block in find_blocks(model, IMAGE)] == ["layer1.0"]
    assert find_blocks(model, IMAGE, keep=["layer1.0.conv1"]) == find_blocks(model, IMAGE, keep=["layer1.0"]) == ()
    assert all(module.training for module in model.modules())


def test_importance_is_the_rise_of_the_loss_and_zero_for_a_block_that_does_nothing():
    model = randomise(ResNet(14)).eval()
    nn.init.zeros_(model.layer1[1].bn2.weight)
    nn.init.zeros_(model.layer1[1].bn2.bias)
    rises = block_importance(
        model, find_blocks(model, IMAGE), lambda each: nn.functional.cross_entropy(each(IMAGE), torch.tensor([3]))
    )
    assert list(rises) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1"]
    assert rises["layer1.1"] == 0 != rises["layer1.0"]


@pytest.fixture(scope="module")
def small():
    """A residual network of 14 layers, trained on nothing yet."""
    task, data, _ = make_task()
    task = replace(task, model=lambda: ResNet(14, 3, 1))
    model = task.build()
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    groups = find_groups(model.eval(), task.example_input)
    return task, data, Dense(randomise(model), initial, {}, "small", groups)


@pytest.fixture
def unmeasured(monkeypatch):
    monkeypatch.setattr(
        measure, "measure", lambda model, example_input: {"params": sum(p.numel() for p in model.parameters())}
    )


ONE = {"layer1.1": 1, "layer2.1": 0}


@pytest.mark.parametrize("schedule", ["one_shot", "iterative", "gradual", "agp", "linear", "lottery_ticket_late"])
@pytest.mark.parametrize("criterion", ["l1_norm", "level"])
def test_a_trial_drops_the_block_and_comes_out_the_same_twice(small, unmeasured, criterion, schedule):
    task, data, dense = small
    candidate = Candidate({"layer1.1.conv1": 0.5, "layer3.0.conv1": 0.5}, 0.0, criterion, schedule, blocks=ONE)
    first, second = (run_trial(task, candidate, data, dense, round_to=1) for _ in range(2))
    assert first.measures == second.measures
    assert all(map(torch.equal, first.model.state_dict().values(), second.model.state_dict().values()))
    whole = run_trial(task, replace(candidate, blocks={}), data, dense, round_to=1)
    assert isinstance(first.model.layer1[1], nn.ReLU) and not isinstance(first.model.layer2[1], nn.ReLU)
    assert whole.measures["params"] > first.measures["params"]
    assert first.kept.keys() == whole.kept.keys()
    assert first.kept["layer1.1.conv1"] == 0
    if criterion == "l1_norm":
        assert whole.kept["layer1.1.conv1"] == 8
        assert first.kept["layer3.0.conv1"] == len(first.model.layer3[0].conv1.weight) == 32
    else:
        assert (first.model.layer3[0].conv1.weight == 0).float().mean() == pytest.approx(0.5)


def test_a_trial_with_a_dropped_block_and_fewer_channels_is_taken_home(small, tmp_path):
    task, data, dense = small
    candidate = Candidate(uniform=0.5, blocks={"layer1.0": 1, "layer3.1": 1})
    result = run_trial(task, candidate, data, dense)
    assert result.measures["params"] < run_trial(task, replace(candidate, blocks={}), data, dense).measures["params"]
    state_dict.write(result.model, task.example_input, tmp_path / "model.pt")
    again = state_dict.load(tmp_path / "model.pt", task)
    assert torch.equal(again(task.example_input), result.model(task.example_input))


def test_a_group_whose_first_layer_goes_keeps_its_name_and_its_sparsity(unmeasured):
    """The model registers its block before its stem, so the stem's channels are called after the block."""

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Around(residual)
            self.stem, self.head = nn.Conv2d(1, 3, 1), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(self.block(self.stem(x)).mean((2, 3)))

    task, data, _ = make_task()
    task = replace(task, model=Backwards)
    model = task.build().eval()
    dense = Dense(model, model.state_dict(), {}, "backwards", find_groups(model, task.example_input))
    assert [group.name for group in dense.groups] == ["block.inner", "block.last"]
    result = run_trial(task, Candidate({"block.last": 0.66}, blocks={"block": 1}), data, dense)
    assert result.kept == {"block.inner": 0, "block.last": 1} and result.model.stem.out_channels == 1


@pytest.mark.parametrize("schedule", ["set", "rigl"])
def test_schedules_that_cannot_drop_blocks_say_so(small, schedule):
    task, data, dense = small
    with pytest.raises(UserError, match=f"^schedule {schedule} .*drops no whole blocks"):
        run_trial(task, Candidate(uniform=0.5, criterion="level", schedule=schedule, blocks=ONE), data, dense)


def test_with_and_without_a_block_the_shared_weights_are_the_same(small):
    task, data, dense = small
    name = "layer1.1"
    without = Candidate(uniform=0.5, schedule="supernet", blocks=ONE)
    both = [run_trial(task, each, data, dense) for each in (without, replace(without, blocks=ONE | {name: 0}))]
    short, long = (each.model.state_dict() for each in both)
    assert short.keys() < long.keys() and not any(key.startswith(f"{name}.") for key in short)
    trained = [key for key in short if key.endswith("weight")]
    assert all(torch.equal(short[key], long[key]) for key in trained)
    assert both[0].measures["macs"] < both[1].measures["macs"]


def test_a_network_without_a_block_is_fine_tuned_further_from_the_shared_weights(small):
    task, data, dense = small
    candidate = Candidate(uniform=0.5, schedule="supernet", blocks=ONE)
    judged, tuned = (run_trial(task, replace(candidate, budget=budget), data, dense) for budget in (0.0, 1.0))
    before, after = judged.model.state_dict(), tuned.model.state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(before["fc.weight"], after["fc.weight"])


def test_the_command_writes_a_space_with_blocks(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\nimport torch\nfrom autoprune.task.models.resnet import ResNet\n"
        "from autoprune.task import load_task\n"
        "task = replace(load_task('digits'), model=lambda: ResNet(14, in_channels=1))\n"
    )
    file = tmp_path / "space.yaml"
    done = CliRunner().invoke(app, ["space", str(tmp_path / "mine.py"), "--blocks", "-o", str(file)])
    assert done.exit_code == 0 and "4 residual blocks" in done.output
    space = load_yaml(file)
    assert [name for name in space if name.startswith("block.")] == [
        "block.layer1.0",
        "block.layer1.1",
        "block.layer2.1",
        "block.layer3.1",
    ]


def test_an_unknown_block_is_refused_with_the_near_ones(small):
    task, data, dense = small
    with pytest.raises(UserError, match=r"is called 'layer1.11': it has layer1.1"):
        run_trial(task, Candidate(blocks={"layer1.11": 1}), data, dense)
    with pytest.raises(UserError, match="it has none"):
        choose_blocks((), ["block"], "digits")


def test_a_transformer_that_gives_modules_its_table_of_positions_has_its_blocks_looked_for_and_its_macs_counted():
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    more = {"intermediate_size": 64, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    model = transformers.DebertaV2Model(transformers.DebertaV2Config(**sizes, **more))
    ids = torch.randint(50, (1, 9))
    assert [block.name for block in find_blocks(model, ids)] == ["encoder.layer.0"]
    assert measure.macs(model, ids) > 0
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_blocks_are_proved_on_random_weights_and_a_random_input():
    """Without biases, on an example of zeros, any two networks agree."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Branch()
            self.head = nn.Linear(4, 2, bias=False)

        def forward(self, x):
            y = self.block(x)
            return self.head(y * 2 if isinstance(self.block, Branch) else y)

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            return x + self.inner(x)

    assert find_blocks(Twice(), torch.zeros(1, 4)) == ()
