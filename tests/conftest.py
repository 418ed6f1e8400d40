"""What tests share: a small trained task, and caches that no other test sees."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """Keep dense models in a cache of this run's own, which parallel workers share."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "autoprune-cache"
    before = os.environ.get("AUTOPRUNE_CACHE")
    os.environ["AUTOPRUNE_CACHE"] = str(cache)
    yield cache
    if before is None:
        del os.environ["AUTOPRUNE_CACHE"]
    else:
        os.environ["AUTOPRUNE_CACHE"] = before


@pytest.fixture
def cached(private_cache):
    """Return a function that says what the cache holds of a kind, and when each file was written."""

    def read(kind: str) -> dict:
        return {file: file.stat().st_mtime_ns for file in (private_cache / kind).iterdir() if file.suffix != ".lock"}

    return read


@pytest.fixture(scope="session")
def digits(private_cache):
    """The digits task with a short recovery, its data and its trained dense model."""
    from dataclasses import replace

    from autoprune.prune import dense
    from autoprune.task.find import load_task

    task = load_task("digits")
    task = replace(task, recovery=replace(task.recovery, steps=20), training=replace(task.training, steps=100))
    data = task.data()
    with pytest.MonkeyPatch.context() as patch:  # whoever asks first may have a cache of its own
        patch.setenv("AUTOPRUNE_CACHE", str(private_cache))
        return task, data, dense.load_or_train(task, data)


@pytest.fixture(scope="session")
def digits_search(private_cache, tmp_path_factory):
    """A small search of the digits task, from a task file, as `autoprune.run_search` returns it."""
    import autoprune

    file = tmp_path_factory.mktemp("task") / "quick_digits.py"
    file.write_text(
        "from dataclasses import replace\nfrom autoprune.task import load_task\ndigits = load_task('digits')\n"
        "task = replace(digits, training=replace(digits.training, steps=100), "
        "recovery=replace(digits.recovery, steps=20))\n"
    )
    return autoprune.run_search(str(file), trials=4, baselines=False)
