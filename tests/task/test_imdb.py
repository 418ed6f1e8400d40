"""The text task: its model is pruned, trained and taken home like any other; what is missing is named in one line."""

import csv
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import onnx as onnx_format
import pytest
import torch
from torch.utils.data import TensorDataset

from autoprune.errors import UserError
from autoprune.export import export, files_at
from autoprune.export.formats import onnx, pt2
from autoprune.export.int8 import export_int8
from autoprune.prune import dense
from autoprune.prune.blocks import find_blocks
from autoprune.results.candidate import Candidate
from autoprune.search.space import build_space
from autoprune.supernet import supernet
from autoprune.supernet.subnets import Subnets
from autoprune.task.builtin import imdb
from autoprune.task.find import load_task
from autoprune.task.models.text import TextClassifier
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task
from autoprune.train import evaluation
from autoprune.trial.run import run_trial

transformers = pytest.importorskip("transformers")

WORDS, LENGTH = 60, 12
LAYER = "bert.encoder.layer."


def small_model() -> TextClassifier:
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return TextClassifier(transformers.BertModel(config, add_pooling_layer=False), dropout=0.0)


def small_data() -> Splits:
    """Rows of tokens of different lengths, about whose class the words 1 to 10 decide."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(20, WORDS, (320, LENGTH), generator=generator)
    labels = torch.arange(320) % 2
    ids[:, :3] = torch.randint(1, 6, (320, 3), generator=generator) + 5 * labels.view(-1, 1)
    ids[torch.arange(LENGTH) >= torch.randint(4, LENGTH + 1, (320, 1), generator=generator)] = 0
    return Splits(*(TensorDataset(ids[part], labels[part]) for part in torch.arange(320).split([192, 64, 64])))


@pytest.fixture(scope="module")
def small(private_cache):
    """A small text task, its data and its trained dense model."""
    task = Task(
        name="small_text",
        model=small_model,
        data=small_data,
        example_input=torch.ones(1, LENGTH, dtype=torch.int64),
        training=Recipe(steps=60, batch_size=16, learning_rate=3e-3, optimizer="adamw"),
        recovery=replace(imdb.task.recovery, steps=20, learning_rate=1e-3),
    )
    data = task.data()
    return task, data, dense.load_or_train(task, data)


@torch.no_grad()
def test_padding_changes_nothing_and_any_token_does():
    torch.manual_seed(0)
    model = small_model().eval()
    ids = torch.tensor([[5, 30, 31, 32]])
    logits = model(ids)
    assert torch.allclose(model(torch.cat([ids, torch.zeros(1, 5, dtype=torch.int64)], 1)), logits, atol=1e-6)
    assert not torch.allclose(model(torch.tensor([[5, 30, 31, 33]])), logits, atol=1e-4)
    assert model(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all()


def test_heads_hidden_units_and_layers_can_all_go(small):
    task, _, prepared = small
    space = build_space(prepared.groups, blocks=find_blocks(prepared.model, task.example_input))
    assert [name for name in space if "." in name] == [
        *(f"sparsity.{LAYER}{i}.{part}" for i in (0, 1) for part in ("attention.self.query", "intermediate.dense")),
        f"block.{LAYER}0",
        f"block.{LAYER}1",
    ]
    assert [group.channels for group in prepared.groups] == [4, 64, 4, 64]


def test_a_trial_removes_heads_units_and_a_layer_and_recovers(small):
    task, data, prepared = small
    candidate = Candidate(
        {f"{LAYER}1.attention.self.query": 0.5, f"{LAYER}1.intermediate.dense": 0.75}, blocks={f"{LAYER}0": 1}
    )
    result = run_trial(task, candidate, data, prepared)
    (layer,) = [
        layer
        for layer in result.model.bert.encoder.layer
        if isinstance(layer, transformers.models.bert.modeling_bert.BertLayer)
    ]
    assert layer.attention.self.query.weight.shape == (16, 32) and layer.intermediate.dense.weight.shape == (16, 32)
    assert [result.kept[group.name] for group in prepared.groups] == [0, 0, 2, 16]
    assert result.measures["macs"] < 0.25 * prepared.measures["macs"]
    assert result.measures["accuracy"] > 0.8 < prepared.measures["accuracy"]


def test_one_supernet_serves_candidates_of_a_transformer(small):
    task, data, prepared = small
    subnets = Subnets.ordered_by("l1_norm", prepared.model, prepared.groups)
    before = [
        evaluation.quality(task, small_version(task, prepared.model, subnets, level), data.validation)
        for level in (0.5, 0.9375)
    ]
    model = supernet.train_supernet(task, data, prepared.model, subnets, replace(task.recovery, steps=60))
    after = [
        evaluation.quality(task, small_version(task, model, subnets, level), data.validation) for level in (0.5, 0.9375)
    ]
    assert sum(after) >= sum(before) and min(after) > 0.8


def small_version(task, model, subnets, level):
    from autoprune.prune.removal import remove_channels

    return remove_channels(model, task.example_input, subnets.groups, subnets.removals[level])


@pytest.mark.parametrize("kind, load", [("pt2", pt2.load), ("onnx", onnx.load)])
def test_the_exported_file_takes_any_number_of_texts(small, tmp_path, kind, load):
    task, data, prepared = small
    result = run_trial(task, Candidate(uniform=0.5, blocks={f"{LAYER}0": 1}), data, prepared)
    (found,) = export(task, result.model, prepared.model, data.validation, files_at(tmp_path, [kind]), runs=1).values()
    assert found.difference < 1e-4 and found.quality == result.measures["accuracy"]
    run = load(found.file)
    ids = data.test.tensors[0]
    with torch.no_grad():
        expected = result.model(ids)
    for count in (1, 3, 64):
        assert torch.allclose(run(ids[:count]), expected[:count], atol=1e-4)


def test_eight_bits_keep_what_a_text_model_knows_although_its_rows_are_padded(small, tmp_path):
    task, data, prepared = small
    found = export_int8(task, prepared.model, prepared, data, tmp_path / "model.int8.onnx", runs=1)
    assert (data.train.tensors[0] == 0).any(dim=1).float().mean() > 0.5
    assert found.exported.quality > prepared.measures["accuracy"] - 0.03
    graph = onnx_format.load(found.exported.file).graph
    eight_bits = (onnx_format.TensorProto.INT8, onnx_format.TensorProto.UINT8)
    assert {tuple(w.dims) for w in graph.initializer if w.data_type in eight_bits} >= {(WORDS, 32), (32, 64)}
    assert "DynamicQuantizeLinear" in {node.op_type for node in graph.node}
    assert onnx.load(found.exported.file)(data.test.tensors[0][:5]).shape == (5, 2)


def test_a_long_text_gives_its_beginning_and_its_end(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]))
    tokenizer = transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"))
    rows = imdb.encode(tokenizer, ["a b c d e f g h", "a b", ""], head=1, tail=3)
    assert [tokenizer.decode(row) for row in rows] == [
        "[CLS] a f g h [SEP]",
        "[CLS] a b [SEP] [PAD] [PAD]",
        "[CLS] [SEP] [PAD] [PAD] [PAD] [PAD]",
    ]


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """A place for data sets that holds none, and a hub that does not answer."""
    monkeypatch.setenv("AUTOPRUNE_DATA", str(tmp_path))
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(imdb, "HUB", str(tmp_path / "hub" / "nowhere"))
    return tmp_path


def write_reviews(folder: Path) -> None:
    (folder / "imdb").mkdir()
    for split in ("train", "test"):
        with (folder / "imdb" / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), ("Good.", 1), ("Bad<br />film.", 0)])


def test_missing_reviews_are_named_with_the_command_that_gets_them(no_data):
    with pytest.raises(UserError, match=r"^IMDB reviews: .*train.csv does not exist: .*get_imdb.py .*AUTOPRUNE_DATA"):
        imdb.data()


@pytest.mark.parametrize("what", ["model", "data"])
def test_missing_weights_are_named_with_the_command_that_gets_them(no_data, what):
    write_reviews(no_data)
    with pytest.raises(UserError, match=r"^MiniLM is not in .*minilm.*get_imdb.py .*AUTOPRUNE_DATA") as error:
        getattr(imdb, what)()
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named_with_the_command_that_gets_it(no_data, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "transformers" else find(name, *a)
    )
    with pytest.raises(UserError, match=r"^the task imdb needs transformers: pip install 'autoprune\[text\]'$"):
        imdb.model()


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(os.environ.get("AUTOPRUNE_DATA", "/nowhere")) / "imdb").is_dir(), reason="AUTOPRUNE_DATA has no imdb"
)
def test_the_real_task_learns_and_is_pruned():
    task = load_task("imdb")
    task = replace(task, training=replace(task.training, steps=60), recovery=replace(task.recovery, steps=20))
    data = task.data()
    assert [len(split) for split in data] == [imdb.TRAIN, imdb.VALIDATION, imdb.TEST]
    assert all(split.tensors[0].shape[1:] == task.example_input.shape[1:] for split in data)
    assert not {row.tobytes() for row in data.train.tensors[0].numpy()} & {
        row.tobytes() for row in data.test.tensors[0].numpy()
    }
    prepared = dense.load_or_train(task, data)
    assert prepared.measures["accuracy"] > 0.7
    result = run_trial(task, Candidate(uniform=0.25, blocks={f"{LAYER}5": 1}), data, prepared)
    assert result.measures["macs"] < 0.7 * prepared.measures["macs"] and result.measures["accuracy"] > 0.65
