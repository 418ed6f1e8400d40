"""Telling NNI of the bridge, as ``nnictl trainingservice register --package autoprune.nni.bridge`` does."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from filelock import FileLock
from nni.experiment.config.training_service import TrainingServiceConfig
from nni.runtime.config import get_config_directory, get_config_file

PACKAGE = "autoprune.nni.bridge"

FORMER = ("autoprune.experiment.bridge",)
"""Where it was before: NNI fails on a registered package that it cannot import."""


@dataclass(init=False)
class BridgeConfig(TrainingServiceConfig):
    """A training service that nobody selects: NNI imports its package for every experiment, which is all we want."""

    platform: str = "autoprune_bridge"


nni_training_service_info = SimpleNamespace(config_class=BridgeConfig, node_module_path="", node_class_name="")
"""What NNI asks a registered package for."""


def file() -> Path:
    """Return the file of this environment in which NNI keeps what is registered."""
    return get_config_file("training_services.json")


def is_registered() -> bool:
    """Whether plain ``nnictl`` loads the bridge in this environment."""
    return PACKAGE in json.loads(file().read_text())


def register() -> None:
    """Register the bridge in this environment, so that plain ``nnictl`` gets it too. Idempotent, safe in parallel."""
    with FileLock(get_config_directory() / "training_services.json.lock"):
        place = file()
        services = json.loads(place.read_text())
        if PACKAGE in services and not any(name in services for name in FORMER):
            return
        services = {name: service for name, service in services.items() if name not in FORMER}
        info = nni_training_service_info
        services[PACKAGE] = {"nodeModulePath": info.node_module_path, "nodeClassName": info.node_class_name}
        draft = place.with_suffix(".new")
        draft.write_text(json.dumps(services, indent=4))
        os.replace(draft, place)  # noqa: PTH105  (a reader sees the old file or the new one)
