"""Home again: a folder that transformers loads by itself, in a process that knows nothing of AutoPrune."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from tiny_llama import build, make_task

from autoprune import export
from autoprune.errors import UserError
from autoprune.export.formats import transformers as home
from autoprune.prune.blocks import find_blocks, remove_blocks
from autoprune.prune.find import find_groups
from autoprune.prune.proof import half
from autoprune.prune.random_values import randomise
from autoprune.prune.removal import remove_channels

ALONE = """
import sys, torch, transformers
folder, inputs = sys.argv[1], torch.load(sys.argv[2])
(name,) = transformers.AutoConfig.from_pretrained(folder).architectures
model = getattr(transformers, name).from_pretrained(folder).eval()
assert type(transformers.AutoModel.from_pretrained(folder)).__name__ == name.removesuffix("ForCausalLM") + "Model"
torch.save(model(inputs).logits, sys.argv[3])
assert not [module for module in sys.modules if module.startswith("autoprune")]
"""
BATCH = make_task().splits().validation.tensors[0][:3]


def pruned(kinds, dropped=(), model=None):
    model = randomise(model or build())
    model = remove_blocks(model, [block for block in find_blocks(model, BATCH[:1]) if block.name in dropped])
    groups = find_groups(model, BATCH[:1], allow_inexact=True)
    return remove_channels(model, BATCH[:1], groups, {g.name: half(g) for g in groups if g.kind in kinds})


def logits(model, inputs=BATCH):
    with torch.no_grad():
        return model(inputs).logits


@pytest.mark.slow
def test_a_tied_network_loads_without_autoprune_and_computes_the_same(tmp_path):
    model = pruned(("mlp", "heads", "width"), ["model.layers.0"])
    home.write(model, BATCH, tmp_path / "home")
    config = json.loads((tmp_path / "home" / "config.json").read_text())
    expected = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
    assert {name: config[name] for name in expected} == expected
    assert (config["head_dim"], config["num_hidden_layers"]) == (8, 1)
    torch.save(BATCH, tmp_path / "inputs.pt")
    places = [str(tmp_path / name) for name in ("home", "inputs.pt", "logits.pt")]
    subprocess.run([sys.executable, "-c", ALONE, *places], check=True, cwd=tmp_path, timeout=120)
    assert torch.allclose(torch.load(tmp_path / "logits.pt"), logits(model), atol=1e-5)


@pytest.mark.parametrize("kinds", [("mlp",), ("heads",), ("width",)])
def test_each_kind_goes_home_alone(kinds, tmp_path):
    model = pruned(kinds)
    home.write(model, BATCH, tmp_path / "home")
    assert torch.allclose(home.load(tmp_path / "home")(BATCH), logits(model), atol=1e-5)


def untied(dropped=()):
    model = randomise(build(num_hidden_layers=3))
    model = remove_blocks(model, [block for block in find_blocks(model, BATCH[:1]) if block.name in dropped])
    groups = find_groups(model, BATCH[:1], allow_inexact=True)
    first = next(group for group in groups if group.kind == "mlp")
    return remove_channels(model, BATCH[:1], groups, {first.name: range(8), groups.prunable[0].name: range(4)})


@pytest.mark.slow
def test_untied_widths_go_home_with_a_modelling_file_that_must_be_trusted(tmp_path):
    model = untied(["model.layers.1"])
    with pytest.warns(UserWarning, match=r"keeps 40 where .* keeps 48.*--tie mlp.*trust_remote_code=True"):
        home.write(model, BATCH, tmp_path / "home")
    torch.save(BATCH, tmp_path / "inputs.pt")
    places = [str(tmp_path / name) for name in ("home", "inputs.pt", "logits.pt")]
    lines = home.FORMAT.how_to_load.format(file=places[0])
    rest = f"torch.save(model.eval()(torch.load({places[1]!r})).logits, {places[2]!r})"
    code = f"import sys, torch\nsys.modules['autoprune'] = None\n{lines}\n{rest}"
    cache = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=120, env=cache)
    assert torch.allclose(torch.load(tmp_path / "logits.pt"), logits(model), atol=1e-5)


def gemma():
    from transformers import GemmaConfig, GemmaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    return GemmaForCausalLM(GemmaConfig(vocab_size=16, num_hidden_layers=1, head_dim=8, use_cache=False, **sizes))


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    more = {"bos_token_id": None, "eos_token_id": None, "use_cache": False}
    return GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=16, n_embd=32, n_layer=2, n_head=4, **more)).eval()


def with_own_code(folder):
    """Return the model of a folder, by its modelling file, without copying that into a cache."""
    spec = importlib.util.spec_from_file_location("modeling_pruned", folder / "modeling_pruned.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    return getattr(module, name).from_pretrained(folder).eval()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (untied, "one size for all mlp"),
        (
            lambda: pruned(("heads",), model=gpt2()),
            r"GPT2Config cannot express its sizes \(transformer.h.0.attn.c_attn",
        ),
        (lambda: pruned(("width",), model=gemma()), "a scale follows its width"),
    ],
)
def test_what_a_configuration_cannot_say_gets_a_modelling_file_and_the_reason_is_told(make, why, tmp_path):
    with pytest.warns(UserWarning, match=why):
        home.write(model := make(), BATCH, tmp_path / "home")
    assert torch.allclose(logits(with_own_code(tmp_path / "home")), logits(model), atol=1e-5)


def test_units_of_gpt2_go_home_in_its_configuration_and_other_models_are_refused(tmp_path):
    home.write(units := pruned(("mlp",), model=gpt2()), BATCH, tmp_path / "units")
    assert torch.allclose(home.load(tmp_path / "units")(BATCH), logits(units), atol=1e-5)
    with pytest.raises(UserError, match="Linear is no model of transformers"):
        home.write(torch.nn.Linear(2, 2), BATCH, tmp_path / "linear")


def test_it_is_exported_like_any_other_format_where_it_is_named(tmp_path):
    assert "transformers" not in export.usual()
    task, model = make_task(), pruned(("mlp", "heads"))
    files = export.files_at(tmp_path, export.formats_for("transformers", tmp_path))
    for _ in range(2):  # again over the same folder
        found = export.export(task, model, task.build(), task.splits().validation, files, runs=2)["transformers"]
    assert found.difference < 1e-6 and found.bytes > (found.file / "model.safetensors").stat().st_size > 0
    assert 'from_pretrained("model.transformers"' in found.how_to_load
