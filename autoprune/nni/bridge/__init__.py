"""The bridge over the faults of NNI 3.0: importing this package mends every manager that the process starts.

NNI imports it itself, for each ``nnictl create``, ``resume`` and ``view``, once :func:`register` has put it among its
training services. The manager's faults are mended in ``manager.js``, the launcher's in ``launcher.py``.
"""

from autoprune.nni.bridge.launcher import TunerFailed, check_port, end_orphans, install_patches, resume, start, stop
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
