"""Criteria with hyper-parameters: each is a dataclass, and what differs from a default has a key of its own."""

from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from tiny import make_groups, make_task

from autoprune.base.fingerprint import fingerprint
from autoprune.prune.criteria import CRITERIA, Context
from autoprune.prune.criteria.choose import best_weights, lowest_channels
from autoprune.prune.criteria.n_m import NM

CHANGES = {
    "slim": {"penalty": 1.0},
    "l0": {"penalty": 0.0, "learning_rate": 0.5},
    "movement": {"ramp": 0.25},
    "synaptic_strength": {"penalty": 0.1},
    "apoz": {"batches": 1},
    "nm_2_4": {"n": 1},
}


@pytest.fixture(scope="module")
def tiny():
    task, data, dense = make_task()
    return dense.model, make_groups(dense, task), Context(task, data.train, steps=4, batches=2)


def chosen(criterion, model, groups, context):
    """Return what is to go, and the network that it goes from."""
    if criterion.structured:
        gone, judged = lowest_channels(criterion, model, groups, {"inner": 6}, context)
    else:
        gone, judged = best_weights(criterion, model, groups, {"inner": 0.5}, context)
    return [*map(torch.as_tensor, gone.values()), *judged.state_dict().values()]


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("movement", "apoz")])
def test_a_hyper_parameter_changes_what_the_criterion_does(tiny, name):
    before, after = (chosen(each, *tiny) for each in (CRITERIA[name], replace(CRITERIA[name], **CHANGES[name])))
    assert not all(map(torch.equal, before, after))


@pytest.mark.parametrize("name", CHANGES)
def test_a_hyper_parameter_changes_the_key_of_what_is_cached(name):
    other = replace(CRITERIA[name], **CHANGES[name])
    assert fingerprint(other) != fingerprint(CRITERIA[name]) == fingerprint(replace(other, **_defaults(name)))


def _defaults(name):
    return {field: getattr(CRITERIA[name], field) for field in CHANGES[name]}


def test_every_criterion_is_a_frozen_dataclass():
    for criterion in CRITERIA.values():
        assert is_dataclass(criterion)
        with pytest.raises(AttributeError):
            setattr(criterion, fields(criterion)[0].name, None)


def test_one_of_four_weights_is_kept_if_so_asked(tiny):
    model, groups, context = tiny
    masks, _ = best_weights(NM(1, 4), model, groups, {"inner": 0.5}, context)
    assert NM(1, 4).granularity == "1:4"
    assert float(masks["inner.weight"].mean()) == 0.25
