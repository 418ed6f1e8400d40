"""Lottery tickets: each round trains what is left in full, from earlier weights or with the first learning rate."""

from dataclasses import replace

from autoprune.prune.schedules.base import Schedule, geometric

LR_REWINDING = Schedule(
    "Renda et al. 2020, Comparing Rewinding and Fine-tuning", rounds=3, at=geometric, retrain="training"
)
LOTTERY_TICKET = replace(LR_REWINDING, paper="Frankle & Carbin 2019, The Lottery Ticket Hypothesis", rewind_to=0.0)
LOTTERY_TICKET_LATE = replace(
    LR_REWINDING,
    paper="Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis",
    rewind_to=0.1,
)
