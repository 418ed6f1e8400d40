"""All that touches a network, on another device than the CPU: a tensor left behind raises there."""

import copy
import os
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from models import _bert, _gpt2, _llama, _tokens
from tiny import TinyNet, make_task
from torch import nn
from torch.utils.data import DataLoader
from typer.testing import CliRunner

import autoprune
from autoprune.base import streams
from autoprune.base.tree import device_of, to_device
from autoprune.cli import app
from autoprune.export import export, load_pruned, quantize
from autoprune.export.int8 import export_int8
from autoprune.finalize import fine_tuning
from autoprune.measure import latency, measure
from autoprune.measure.memory import memory
from autoprune.prune.allocation import METHODS, allocate
from autoprune.prune.blocks import block_importance, find_blocks
from autoprune.prune.criteria import CRITERIA, Context, channels_to_remove, weight_masks
from autoprune.prune.dense import load_or_train
from autoprune.prune.find import find_groups
from autoprune.prune.proof import equivalence_error, half
from autoprune.prune.removal import remove_channels
from autoprune.prune.schedules import SCHEDULES
from autoprune.prune.size_model import size_model
from autoprune.results.candidate import Candidate
from autoprune.train import evaluation, loading, loop
from autoprune.trial.preparation import prepare_search
from autoprune.trial.run import run_trial

pytestmark = pytest.mark.slow


def near(made_up, a, b):
    """Whether numbers are equal, or on a real device nearly so."""
    return a == b if made_up else a == pytest.approx(b, rel=0.02, abs=0.02)


def test_a_tensor_left_on_the_cpu_raises(device, there):
    _, data, dense = there
    with pytest.raises(RuntimeError):
        dense.model(data.train.tensors[0][:2])
    with pytest.raises(RuntimeError):
        nn.functional.cross_entropy(torch.zeros(2, 3, device=device), torch.zeros(2, dtype=torch.long))


def test_training_gives_the_same_loss_and_weights_as_on_the_cpu(device, made_up):
    task, data, _ = make_task()
    models = task.build(), task.build().to(device)
    for model in models:
        loop.train(task, model, data.train, task.training, teacher=copy.deepcopy(model))
    a, b = (evaluation.quality_and_loss(task, model, data.validation)[1] for model in models)
    assert near(made_up, a, b)
    weights = (model.state_dict().values() for model in models)
    assert all(torch.allclose(a, b.cpu(), rtol=1e-2, atol=1e-3) for a, b in zip(*weights, strict=True))


def test_data_that_fit_are_kept_on_the_device_and_give_the_same_batches(device, made_up, monkeypatch):
    _, data, _ = make_task()
    expected = [loading.endless_batches(data.train, 16, 3), loading.batches(data.train, 40)]
    for cpu, make in zip(expected, (partial(loading.endless_batches, seed=3), loading.batches), strict=True):
        found = make(data.train, 16 if make is not loading.batches else 40, device=device)
        for (x, y), (its_x, its_y) in islice(zip(found, cpu, strict=False), 13):
            assert x.device == y.device == device
            assert torch.equal(x.cpu(), its_x) and torch.equal(y.cpu(), its_y)
    if made_up:
        monkeypatch.setenv("SECOND_DEVICE_BYTES", str(torch.accelerator.memory_allocated(0) + 20_000))
        x, _ = next(loading.batches(make_task()[1].train, 40, device=device))
        assert x.device.type == "cpu"  # there is no room, and each batch is moved by itself


def test_random_numbers_on_the_device_follow_the_seed_and_its_generator_is_given_back(device, made_up):
    if made_up:
        pytest.skip("it has no generator of its own")
    drawn = []
    before = torch.get_device_module(device).get_rng_state(device)
    for _ in range(2):
        with streams.seeded(3, device):
            drawn.append(torch.rand(4, device=device))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_device_module(device).get_rng_state(device), before)


def test_the_dense_model_lies_on_the_device_and_its_weights_in_the_cache_on_the_cpu(device, there, here):
    assert there[2].device == device and there[2].key != here[2].key
    assert all(tensor.device.type == "cpu" for tensor in there[2].initial.values())
    files = list(Path(os.environ["AUTOPRUNE_CACHE"]).glob("dense/tiny*.pt"))
    assert len(files) >= 2
    for file in files:
        weights = torch.load(file, weights_only=True)["weights"]  # without map_location, tensors go where they were
        assert all(tensor.device.type == "cpu" for tensor in weights.values())


def test_groups_blocks_and_sizes_are_the_same_as_on_the_cpu(here, there):
    task = here[0]
    found = [find_groups(dense.model, task.example_input) for dense in (here[2], there[2])]
    assert found[0].prunable == found[1].prunable and len(found[0])
    blocks = [find_blocks(dense.model, task.example_input) for dense in (here[2], there[2])]
    assert blocks[0] == blocks[1]
    sizes = [size_model(dense.model, task.example_input, dense.groups) for dense in (here[2], there[2])]
    assert sizes[0].sizes({"inner": 0.5}) == sizes[1].sizes({"inner": 0.5})


def test_measures_are_the_same_as_on_the_cpu(made_up, here, there):
    for name in ("params", "macs"):
        assert here[2].measures[name] == there[2].measures[name]
    if made_up:
        assert here[2].measures["bytes"] == there[2].measures["bytes"]
    assert measure.latency_ms(there[2].model, there[0].example_input, 3, 1) > 0


def test_removal_and_its_proof(device, there):
    task, _, dense = there
    gone = {group.name: half(group) for group in dense.groups}
    assert equivalence_error(dense.model, task.example_input, dense.groups, gone) < 1e-4
    smaller = remove_channels(dense.model, task.example_input, dense.groups, gone)
    assert device_of(smaller) == device and smaller.inner.weight.shape[0] == 6


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_chooses_as_on_the_cpu(name, device, made_up, here, there):
    chosen = []
    for task, data, dense in (here, there):
        context = Context(task, data.train, steps=3, batches=2)
        if CRITERIA[name].structured:
            remove = {"stem": 3, "inner": 5}
            chosen.append(channels_to_remove(dense.model, dense.groups, name, remove, context))
            continue
        masks = weight_masks(dense.model, dense.groups, name, {"stem": 0.5, "inner": 0.5}, context)
        again = weight_masks(dense.model, dense.groups, name, {"stem": 0.7, "inner": 0.7}, context, within=masks)
        assert {mask.device for mask in (masks | again).values()} == {dense.device}
        chosen.append({key: mask.cpu().tolist() for key, mask in again.items()})
    assert chosen[0].keys() == chosen[1].keys()
    if made_up:
        assert chosen[0] == chosen[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("structured", [True, False])
def test_every_allocation(method, structured, here, there):
    a, b = (allocate(dense.model, dense.groups, 0.3, method, structured) for _, _, dense in (here, there))
    assert a == pytest.approx(b, abs=0.02)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_trial_by_every_schedule(schedule, device, made_up, here, there):
    criterion = "level" if SCHEDULES[schedule].grow else "l1_norm"
    candidate = Candidate(uniform=0.5, criterion=criterion, schedule=schedule)
    a, b = (run_trial(task, candidate, data, dense, round_to=2) for task, data, dense in (here, there))
    assert device_of(b.model) == device and a.kept == b.kept
    assert near(made_up, a.measures["accuracy"], b.measures["accuracy"]) or not made_up
    assert a.measures["macs"] == b.measures["macs"]


@pytest.mark.parametrize(
    "how", [{"criterion": "level"}, {"schedule": "supernet", "budget": 0.5}, {"allocation": "lamp"}]
)
def test_other_kinds_of_trials(how, device, here, there):
    candidate = Candidate(uniform=0.3, **how)
    a, b = (run_trial(task, candidate, data, dense, round_to=2) for task, data, dense in (here, there))
    assert device_of(b.model) == device and a.kept == b.kept
    assert a.measures["macs"] == b.measures["macs"]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 16)
        self.outer = nn.Linear(16, 8)

    def forward(self, x):
        return x + self.outer(self.inner(x).relu())


class Deep(nn.Module):
    """With a block that can go."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(16, 8), Residual(), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(self.stem(x.flatten(1))))


def test_a_dropped_block(device):
    task, data, _ = make_task()
    task = replace(task, name="deep", model=Deep)
    prepared = load_or_train(task, data, device=device)
    candidate = Candidate(uniform=0.5, blocks={"block": 1})
    result = run_trial(task, candidate, data, prepared, round_to=2)
    assert device_of(result.model) == device and result.kept["block.inner"] == 0
    blocks = find_blocks(prepared.model, task.example_input)
    batch = to_device(data.train[:8], device)
    assert block_importance(prepared.model, blocks, lambda model: evaluation.loss_of(task, model, batch))


@pytest.mark.parametrize("make", [_bert, _gpt2, _llama])
def test_attention_heads_and_inputs_by_name(make, device, made_up):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, tokens = make().eval(), _tokens()
    groups = find_groups(model, tokens)
    moved = copy.deepcopy(model).to(device)
    assert find_groups(moved, tokens).prunable == groups.prunable and len(groups)
    gone = {group.name: half(group) for group in groups}
    assert equivalence_error(moved, tokens, groups, gone) < 1e-4
    smaller = remove_channels(model, tokens, groups, gone)
    assert measure.macs(remove_channels(moved, tokens, groups, gone), tokens) == measure.macs(smaller, tokens)


def test_a_tasks_sensitivity_and_recipes_from_the_command_line(tmp_path, device, monkeypatch):
    used = set()
    for module, name in ((evaluation, "evaluate"), (loop, "train")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, _f=original, **k: (used.add(device_of(a[1])), _f(*a, **k))[1])
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path / "cache"))
    Path(tmp_path, "tinytask.py").write_text("from tiny import make_task\ntask = make_task()[0]\n")
    for name, *more in (("sensitivity",), ("recipe", "--trials", "1")):
        found = CliRunner().invoke(app, [name, f"{tmp_path}/tinytask.py", *more, "--device", str(device)])
        assert found.exit_code == 0, found.output
    assert used == {device}


def test_the_preparation_of_a_search(there):
    task, data, dense = there
    prepared = prepare_search(task, data, dense, Candidate(schedule="supernet"), round_to=2)
    assert prepared.sensitivity.keys() == {"stem", "inner", "hidden"} and prepared.first


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_latency_beside_the_dense_model(runtime, there):
    task, _, dense = there
    found = latency.compare(dense.model, dense.model, task.example_input, runtime, 2, 1, 3, 1)
    assert found.speedup > 0
    assert found.where.endswith("Provider" if runtime == "onnxruntime" else "by its events")


def test_exported_files_are_written_and_compared_on_the_cpu(tmp_path, device, there):
    task, data, dense = there
    result = run_trial(task, Candidate(uniform=0.5), data, dense, round_to=2)
    files = {"state_dict": tmp_path / "model.state_dict.pt", "onnx": tmp_path / "model.onnx"}
    found = export(task, result.model, dense.model, data.validation, files, runs=2)
    assert all(each.difference < 1e-4 for each in found.values())
    assert device_of(result.model) == device  # it stays where it was
    assert device_of(load_pruned(task, files["state_dict"])).type == "cpu"
    weights = torch.load(files["state_dict"], weights_only=True)
    assert all(tensor.device.type == "cpu" for tensor in weights.values())
    quantized = export_int8(task, result.model, dense, data, tmp_path / "model.int8.onnx", runs=2)
    assert quantized.exported.bytes > 0


def test_quantisation_aware_fine_tuning_takes_place_on_the_device(tmp_path, device, there, monkeypatch):
    task, data, dense = there
    pruned, trained_on = run_trial(task, Candidate(uniform=0.5), data, dense, round_to=2).model, []
    train = quantize.loop.train
    monkeypatch.setattr(quantize.loop, "train", lambda *a: (trained_on.append(device_of(a[1])), train(*a))[1])
    found = export_int8(task, pruned, dense, data, tmp_path / "int8.onnx", qat_steps=2, runs=1)
    assert trained_on == [device] and device_of(pruned) == device
    assert "quantisation-aware, 2 steps" in found.tried and found.exported.file.is_file()


def test_a_whole_search_and_its_end(tmp_path, device, monkeypatch):
    import autoprune

    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was forked"))
    task, _, _ = make_task()
    result = autoprune.run_search(task, 3, device="auto", folder=tmp_path / "search", baselines=False)
    assert all(trial.succeeded for trial in result.trials) and result.settings.device == device.type
    weights = torch.load(result.trials[0].model_file, weights_only=True)
    assert all(tensor.device.type == "cpu" for tensor in weights.values())
    fine_tuning.fine_tune_all(result, result.loaded, result.front()[:2], seeds=2, processes=2)
    final = result.export(result.front()[0].id, tmp_path / "out", formats=("onnx",), runs=2)
    assert final.files["onnx"].is_file()


def test_a_trained_model_that_is_given_stays_where_it_lies(device, there):
    import autoprune

    _, data, dense = there
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    how = {"baselines": False, "warm_start": False, "rungs": False, "example": data.train.tensors[0][:1]}
    result = autoprune.run_search(dense.model, trials=1, **how, **splits)
    assert result.loaded[2].device == device and not result.failed
    assert device_of(result.model(result.trials[0])).type == "cpu"


def test_a_trial_process_of_an_experiment_on_the_device(tmp_path, device):
    """The functions that NNI's trial process calls, without NNI."""
    from autoprune.results.settings import TrialCommand
    from autoprune.trial.record import execute
    from autoprune.trial.setup import load_settings

    (tmp_path / "tinytask.py").write_text("from tiny import make_task\n\ntask = make_task()[0]\n")
    settings = TrialCommand.from_words([f"{tmp_path}/tinytask.py", "--device", str(device), "--round-to", "2"])
    loaded = load_settings(settings)
    assert loaded[2].device == device
    channels = {group.name: group.channels for group in loaded[2].groups}
    folder = tmp_path / "trials" / "t"
    folder.mkdir(parents=True)
    metrics = execute(settings, loaded, channels, Candidate(uniform=0.5), folder, lambda quality: None)
    assert metrics["latency_ms"] > 0


def test_a_lightning_module_is_judged_on_the_device_and_stays_there(device):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = TinyNet()

        def forward(self, x):
            return self.net(x)

        def validation_step(self, batch, number):
            self.log("right", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    class Tiny(lightning.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(make_task()[1].train, 32)

        val_dataloader = train_dataloader

    task = autoprune.from_lightning(Module(), Tiny(), "right")
    here, there = task.build(), task.build().to(device)
    found = [evaluation.evaluate(task, model, task.validation)["right"] for model in (here, there)]
    assert found[0] == pytest.approx(found[1]) and device_of(there) == device


def test_the_memory_of_a_forward_pass(made_up, here, there):
    task = here[0]
    cpu, found = (memory(dense.model, task.example_input, 4) for dense in (here[2], there[2]))
    assert found == pytest.approx(cpu, rel=0.02 if made_up else 5)
