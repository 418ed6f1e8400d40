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
    cache = tmp_path_factory.getbasetemp().parent / "autoprune-cache"
    before = os.environ.get("AUTOPRUNE_CACHE")
    os.environ["AUTOPRUNE_CACHE"] = str(cache)
    yield cache
    if before is None:
        del os.environ["AUTOPRUNE_CACHE"]
    else:
        os.environ["AUTOPRUNE_CACHE"] = before


@pytest.fixture(scope="session")
def digits(private_cache):
    """The digits task with a short recovery, its data and its trained dense model."""
    from dataclasses import replace

    from autoprune import dense
    from autoprune.task import load_task

    task = load_task("digits")
    task = replace(task, recovery=replace(task.recovery, steps=20), training=replace(task.training, steps=100))
    data = task.data()
    return task, data, dense.prepare(task, data)
