"""The task file and the config of docs/adapters.md, run by NNI's manager."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

PROGRAM = Path(sys.executable).with_name("autoprune")
PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


def block(language):
    """Return the last block of a language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)[-1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_on_a_timm_model_ends_with_a_checked_file(nni_home):
    pytest.importorskip("timm")
    pixels, labels = load_digits(return_X_y=True)
    for number in range(24):
        place = nni_home.home / "flowers" / ("train", "train", "val")[number % 3] / str(labels[number] % 2)
        place.mkdir(parents=True, exist_ok=True)
        gray = (pixels[number].reshape(8, 8) * 15).astype("uint8")
        Image.fromarray(gray).convert("RGB").save(place / f"{number}.png")
    short = block("python").replace("steps=500", "steps=3").replace("bn_reestimation=4", "bn_reestimation=1")
    (nni_home.home / "flowers.py").write_text(
        short.replace("recovery=recovery)", "recovery=recovery, training=recovery, supernet_steps=3)")
    )
    config = yaml.safe_load(block("yaml")) | {"maxTrialNumber": 9}
    (nni_home.home / "flowers.yaml").write_text(yaml.safe_dump(config))
    for words in (
        ("space", "flowers.py", "-o", "flowers_space.yaml"),
        ("run", "flowers.yaml", "--port", str(nni_home.port), "--choose", "knee"),
    ):
        done = subprocess.run(
            [PROGRAM, *words], env=nni_home.environment, cwd=nni_home.home, capture_output=True, text=True, timeout=800
        )
        assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (nni_home.home / "outputs").iterdir()
    card = json.loads((folder / "model_card.json").read_text())
    assert {"model.onnx", "model.pt2"} <= set(card["files"]) and 0 <= card["test accuracy"]["pruned"] <= 1
