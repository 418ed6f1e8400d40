"""Schedules that prune the untrained network, and train what is left; in dynamic sparse training weights come back."""

from dataclasses import replace

from autoprune.prune.schedules.base import Schedule

FROM_SCRATCH = Schedule(
    "prune the untrained network, then train it: Lee et al. 2019, SNIP", start="untrained", retrain="training"
)
SET = replace(
    FROM_SCRATCH,
    paper="Mocanu et al. 2018, Scalable Training with Adaptive Sparse Connectivity (SET)",
    grow="random",
)
RIGL = replace(FROM_SCRATCH, paper="Evci et al. 2020, Rigging the Lottery (RigL)", grow="gradient")
