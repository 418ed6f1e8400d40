"""The second device of ``second_device.cpp``, built once and registered with PyTorch as ``second``."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import types
from functools import cache
from pathlib import Path

import torch

NAME = "second"
SOURCE = Path(__file__).with_suffix(".cpp")


@cache
def register() -> torch.device:
    """Build the extension if no session has, and return the device.

    Raises:
        RuntimeError: there is no compiler.
    """
    from torch.utils import cpp_extension

    content = hashlib.sha256(SOURCE.read_bytes() + torch.__version__.encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"autoprune-second-device-{content}")
    folder.mkdir(exist_ok=True)
    flags = ["-O0", "-w", "-std=c++20"]
    cpp_extension.load("second_device", [str(SOURCE)], flags, build_directory=folder, is_python_module=False)
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, _module())
    torch.utils.generate_methods_for_privateuse1_backend()
    return torch.device(NAME, 0)


def _module() -> types.ModuleType:
    """Return what PyTorch asks of ``torch.second``."""
    module = types.ModuleType(f"torch.{NAME}")
    module.is_available = lambda: True
    module.is_initialized = lambda: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module.synchronize = lambda device=None: None
    module._is_in_bad_fork = lambda: False
    module.manual_seed = module.manual_seed_all = lambda seed: None
    module.get_rng_state = lambda device=None: torch.empty(0, dtype=torch.uint8)
    module.set_rng_state = lambda state, device=None: None
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    sys.modules[module.__name__] = module
    return module
