"""The bridge over the faults of NNI 3.0: importing this package mends every manager that the process starts.

NNI imports it itself, for each ``nnictl create``, ``resume`` and ``view``, once :func:`register` has put it among its
training services. The manager's faults are mended in ``manager.js``, the launcher's in ``patches.py``.
"""

from autoprune.nni.bridge.launcher import resume, start, stop
from autoprune.nni.bridge.manager import TunerFailed, check_port, end_orphans
from autoprune.nni.bridge.patches import install_patches
from autoprune.nni.bridge.registration import nni_training_service_info, register

__all__ = [
    "TunerFailed",
    "check_port",
    "end_orphans",
    "nni_training_service_info",
    "register",
    "resume",
    "start",
    "stop",
]

install_patches()
