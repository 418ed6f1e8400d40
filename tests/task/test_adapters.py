"""Tasks from other libraries' own objects: each is trained or taken as it is, pruned and judged."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import autoprune
from autoprune import Candidate, Recipe, UserError, export, run_trial
from autoprune.prune import dense
from autoprune.prune.find import find_groups
from autoprune.prune.proof import half
from autoprune.prune.rebuild import rebuild
from autoprune.prune.removal import remove_channels
from autoprune.task.find import load_task, load_task_or_model
from autoprune.train.fit import check_data

SHORT = Recipe(steps=6, batch_size=16, learning_rate=0.01, distillation=0.5)


def pruned(task, candidate=Candidate(uniform=0.5)):  # noqa: B008  (frozen)
    data = task.splits()
    model = dense.load_or_train(task, data)
    result = run_trial(task, candidate, data, model)
    assert result.measures["params"] < model.measures["params"]
    return model, result


def images(folder):
    """Write digits as PNG files, a folder for each split and class."""
    from PIL import Image

    pixels, labels = load_digits(return_X_y=True)
    for number in range(48):
        split = ("train", "train", "val")[number % 3]
        place = folder / split / str(labels[number] % 2)
        place.mkdir(parents=True, exist_ok=True)
        gray = (pixels[number].reshape(8, 8) * 15).astype("uint8")
        Image.fromarray(gray).convert("RGB").resize((32, 32)).save(place / f"{number}.png")


def test_a_timm_model_on_a_folder_of_images(tmp_path):
    pytest.importorskip("timm")
    images(tmp_path)
    task = autoprune.from_timm("test_resnet", tmp_path, training=SHORT, recovery=SHORT)
    model, result = pruned(task)
    assert 0 <= result.measures["accuracy"] <= 1
    torch.save(model.model.state_dict(), tmp_path / "trained.pt")
    again = autoprune.from_timm("test_resnet", tmp_path, tmp_path / "trained.pt")
    assert (
        again.is_trained
        and dense.load_or_train(again, again.splits()).measures["accuracy"] == model.measures["accuracy"]
    )


def test_a_timm_model_goes_by_its_name_on_the_command_line(tmp_path):
    pytest.importorskip("timm")
    model, example = load_task_or_model("timm:test_resnet")
    assert isinstance(model, torch.nn.Module) and example.shape == (1, 3, 160, 160)
    assert load_task_or_model("timm:test_resnet", "1,3,64,64")[1].shape == (1, 3, 64, 64)
    images(tmp_path)
    assert load_task(f"timm:test_resnet:{tmp_path}").name == "test_resnet"
    with pytest.raises(UserError, match="name a folder of images, as timm:test_resnet:FOLDER"):
        load_task("timm:test_resnet")
    with pytest.raises(UserError, match=r"timm.list_models\(\) has the names"):
        load_task_or_model("timm:no_such_model")


def test_a_pruned_timm_model_is_loaded_by_timm_and_a_resize(tmp_path):
    """As docs/adapters.md says."""
    timm = pytest.importorskip("timm")
    for name in ("test_resnet", "test_vit", "test_convnext2"):
        dense_model, example = timm.create_model(name, num_classes=4).eval(), torch.randn(1, 3, 160, 160)
        groups = find_groups(dense_model, example)
        smaller = remove_channels(dense_model, example, groups, {group.name: half(group) for group in groups})
        torch.save(smaller.state_dict(), tmp_path / "model.state_dict.pt")
        again = rebuild(timm.create_model(name, num_classes=4), torch.load(tmp_path / "model.state_dict.pt"))
        with torch.no_grad():
            assert torch.equal(again(example), smaller(example))


def test_a_timm_task_without_test_images_takes_those_of_the_validation_whatever_their_folder_is_called(tmp_path):
    pytest.importorskip("timm")
    images(tmp_path)
    (tmp_path / "val").rename(tmp_path / "valid")
    task = autoprune.from_timm("test_resnet", tmp_path)
    assert task.test.dataset.samples == task.validation.dataset.samples


@pytest.mark.parametrize(
    ("name", "folders", "message"),
    [("test_resnet", (), "has no folder train"), ("no_such_net", ("train", "val"), "Unknown model .no_such_net.")],
)
def test_a_timm_task_that_cannot_be_is_refused(tmp_path, name, folders, message):
    pytest.importorskip("timm")
    for folder in folders:
        (tmp_path / folder / "a").mkdir(parents=True)
    with pytest.raises(UserError, match=message):
        autoprune.from_timm(name, tmp_path)


class Reviews(Dataset):
    """Token ids in which the first says the label; a column that no model takes."""

    def __len__(self):
        return 48

    def __getitem__(self, i):
        ids = torch.randint(5, 30, (8,), generator=torch.Generator().manual_seed(i))
        ids[0] = 3 + i % 2
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": i % 2, "text": "never read"}


def trainer(tmp_path, model, data, **options):
    from transformers import Trainer, TrainingArguments

    how = {"per_device_train_batch_size": 16, "per_device_eval_batch_size": 16, "report_to": [], "use_cpu": True}
    arguments = TrainingArguments(str(tmp_path), learning_rate=0.005, **how)
    return Trainer(model, arguments, train_dataset=data, eval_dataset=data, **options)


def test_a_transformers_classifier_with_its_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.BertConfig(**small, intermediate_size=64, max_position_embeddings=16)
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    given = trainer(
        tmp_path,
        model,
        Reviews(),
        compute_metrics=lambda p: {"right": float((p.predictions.argmax(1) == p.label_ids).mean())},
    )
    task = autoprune.from_transformers(given, metric=autoprune.Metric("right", form="percent"), recovery=SHORT)
    assert check_data(task, task.splits(), task.build()) == []  # it is learnt from the teacher's outputs too
    model, result = pruned(task)
    assert 0 <= result.measures["right"] <= 1 and set(task.example_input) == {"input_ids", "attention_mask"}


class Text(Reviews):
    def __getitem__(self, i):
        row = super().__getitem__(i)
        return {"input_ids": row["input_ids"], "labels": row["input_ids"]}


def test_a_language_model_with_its_trainer_is_judged_by_perplexity(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=4)
    torch.manual_seed(0)
    task = autoprune.from_transformers(
        trainer(tmp_path, transformers.GPT2LMHeadModel(config), Text()), recovery=Recipe(steps=6, learning_rate=0.01)
    )
    model, result = pruned(task)
    assert task.metric.name == "perplexity" and 1 < result.measures["perplexity"] < 40


def lightning_parts():
    lightning = pytest.importorskip("lightning")
    x, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(x, dtype=torch.float32)[:320] / 16, torch.tensor(y)[:320])

    class Digits(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, batch_idx):
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("right", (self(batch[0]).argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    class Data(lightning.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(data, 32, shuffle=True)

        def val_dataloader(self):
            return DataLoader(data, 64)

    torch.manual_seed(0)
    return Digits(), Data()


def test_a_lightning_module_is_recovered_by_its_own_training_step(tmp_path):
    module, data = lightning_parts()
    task = autoprune.from_lightning(module, data, autoprune.Metric("right", form="percent"))
    before = dense.load_or_train(task, task.splits()).measures["right"]
    model, result = pruned(task)
    assert result.measures["right"] > before + 0.3  # it came untrained
    found = export.export(task, result.model, model.model, task.validation, {"onnx": tmp_path / "model.onnx"}, runs=2)
    assert found["onnx"].quality == pytest.approx(result.measures["right"])


def test_the_users_own_model_stays_where_and_as_it_was(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=4)
    given = trainer(tmp_path, transformers.GPT2LMHeadModel(config).double().train(), Text())
    module, data = lightning_parts()
    module.train()
    for model, task in (
        (given.model, autoprune.from_transformers(given)),
        (module, autoprune.from_lightning(module, data, "right")),
    ):
        assert model.training and task.model is not model and not task.model.training
        with torch.no_grad():
            next(task.model.parameters()).zero_()
        assert next(model.parameters()).any()


def test_an_adapter_without_its_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"from_timm needs timm: pip install 'autoprune\[timm\]'"):
        autoprune.from_timm("resnet18", ".")
