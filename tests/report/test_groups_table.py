"""The table of groups, and the sensitivity of each."""

from __future__ import annotations

import io

import torch
from models import CASES
from rich.console import Console

from autoprune.measure.measure import macs, parameters
from autoprune.prune.find import find_groups
from autoprune.prune.random_values import randomise
from autoprune.report.groups import groups_table
from autoprune.trial.sensitivity import sensitivities, unit_norms


def test_table_and_sensitivity_of_a_transformer_with_heads() -> None:
    torch.manual_seed(0)
    model, example = randomise(CASES["vit"].build()).eval(), CASES["vit"].example()
    groups = find_groups(model, example)
    lost = sensitivities(model, example, groups, lambda network: float(parameters(network)))
    assert all(value > 0 for value in lost.values())

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(groups_table(groups, parameters(model), macs(model, example), lost))
    text = console.export_text()
    assert "4 x 24" in text  # four heads of 8 queries, keys and values
    assert "lost without half" in text

    heads = next(iter(groups))
    weight = model.get_parameter(f"{heads.name}.in_proj_weight")
    expected = sum(weight[32 * i + 8 : 32 * i + 16].abs().sum() for i in range(3))
    torch.testing.assert_close(unit_norms(model, heads)[1], expected)
