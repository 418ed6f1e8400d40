"""A limit on the drop is promised of the true drop, not of what so many validation examples happened to show."""

import json
import math
from dataclasses import replace

import pytest
import torch
from tiny import make_task

from autoprune.errors import UserError
from autoprune.finalize.choice import choose_trial
from autoprune.finalize.confidence import kept
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.fine_tuned import FineTuned, read_fine_tuned, write_fine_tuned
from autoprune.results.measures import METRICS
from autoprune.train import evaluation
from autoprune.train.interval import drop_error, parts_of

DENSE = {"accuracy": 0.99, "macs": 1000, "params": 1000, "bytes": 1, "latency_ms": 1.0}
SIZES = {"large": 800, "middle": 400, "small": 100}


def searched(folder, validation, error) -> Experiment:
    """A search whose front of three was fine-tuned: to these accuracies, each with this standard error of its drop."""
    search = []
    for i, (name, macs) in enumerate(SIZES.items()):
        measures, own = DENSE | {"accuracy": 0.99 - i / 100, "macs": macs}, folder / name
        own.mkdir()
        (own / "result.json").write_text(json.dumps({"measures": measures, "dense": DENSE}))
        parameters = {"sparsity": (i + 1) / 10, "budget": 1.0}
        search.append(Trial(name, i, parameters, "SUCCEEDED", measures, None, own, 0, 1))
    found = {
        name: FineTuned(0.9, (value, value), (0.5, 0.5), folder / "model.pt", 10, (), (error, error) if error else ())
        for name, value in zip(SIZES, validation, strict=True)
    }
    write_fine_tuned(folder, found)
    return Experiment("e", folder, {"trialCommand": "autoprune trial digits"}, search)


def test_of_few_examples_a_larger_network_is_taken_than_was_measured_to_do(tmp_path):
    search = searched(tmp_path, validation=(0.995, 0.99, 0.985), error=0.004)
    assert choose_trial(search, "drop<=1%", confidence=0)[0].id == "small"
    trial, reason = choose_trial(search, "drop<=1%")
    assert trial.id == "middle" and reason == "drop<=1%, 90% sure"
    assert choose_trial(search, "drop<=1%", confidence=0.999)[0].id == "large"


def test_where_none_is_sure_a_rule_is_refused_and_without_one_the_best_is_taken(tmp_path):
    search = searched(tmp_path, validation=(0.99, 0.989, 0.985), error=0.02)
    with pytest.raises(UserError, match="3 trials are measured to keep it.*drops by at most 2.56%.*--confidence 0"):
        choose_trial(search, "drop<=1%")
    trial, reason = choose_trial(search, None)
    assert trial.id == "large" and "for 90% sure: fine-tuned, the nearest drops by at most 2.56%" in reason


def test_an_error_of_zero_is_known_and_the_others_are_tested_beside_it(tmp_path):
    search = searched(tmp_path, validation=(0.995, 0.99, 0.985), error=0.004)
    found = read_fine_tuned(tmp_path)[0]
    write_fine_tuned(tmp_path, found | {"large": replace(found["large"], errors=(0.0, 0.0))})
    assert choose_trial(search, "drop<=1%") == (search.trial("middle"), "drop<=1%, 90% sure")


def test_without_an_error_drops_count_as_measured(tmp_path):
    search = searched(tmp_path, validation=(0.995, 0.99, 0.985), error=None)
    assert choose_trial(search, "drop<=1%") == (search.trial("small"), "drop<=1%")


@pytest.mark.parametrize("confidence", [0.3, 1, 1.5, -1])
def test_a_confidence_that_means_nothing_is_refused(tmp_path, confidence):
    with pytest.raises(UserError, match="--confidence must be 0 .* or from 0.5 to below 1"):
        choose_trial(searched(tmp_path, (0.99, 0.99, 0.99), 0.1), "drop<=1%", confidence)


def test_the_errors_of_fine_tunings_are_read_back_and_seeds_add_to_them(tmp_path):
    tuned = FineTuned(0.9, (0.98, 0.99), (0.5, 0.5), tmp_path / "m.pt", 10, (), (0.003, 0.003))
    write_fine_tuned(tmp_path, {"a": tuned})
    assert read_fine_tuned(tmp_path)[0] == {"a": tuned}
    drop, error = tuned.drop(METRICS["accuracy"], 0.99)
    assert drop == pytest.approx(0.005) and error == pytest.approx((0.003**2 + 0.01**2 / 2) ** 0.5)


def test_of_many_networks_that_all_break_the_promise_one_passes_as_seldom_as_was_said():
    draws = torch.randn(4000, 12, generator=torch.Generator().manual_seed(0)) * 0.01 + 0.01001  # all lose 1.001 %
    passed = sum(bool(kept({i: (each, 0.01) for i, each in enumerate(row)}, 0.01, 0.9)) for row in draws.tolist())
    single = sum(min(row) + 1.2816 * 0.01 <= 0.01 for row in draws.tolist())
    assert passed / 4000 < 0.11 and single / 4000 > 0.5  # without a correction more than half of the searches would


def test_one_that_passes_hands_its_share_on():
    clear, close = (-1.0, 0.1), (0.05, 0.3)
    assert kept({"a": clear, "b": close}, 0.5, 0.9) == {"a", "b"}
    assert kept({"b": close, "a": clear}, 0.5, 0.9) == {"a"}


def test_the_error_of_a_drop_is_over_pairs():
    task, data, dense = make_task()
    model = make_task()[2].model
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    (x, y), (one, other) = (
        data.validation[:],
        (parts_of(task, each, data.validation, 30) for each in (model, dense.model)),
    )
    with torch.no_grad():
        right = [(each.eval()(x).argmax(1) == y).double() for each in (model, dense.model)]
    differences = right[1] - right[0]
    wanted = math.hypot(float(differences.std(correction=0)) / len(y) ** 0.5, 1 / len(y))
    assert drop_error(one, other) == pytest.approx(wanted, rel=0.1)
    assert drop_error(other, other) == pytest.approx(1 / len(y))  # they agree on all, which proves little
    assert one.values(torch.arange(len(y))[None]).item() == pytest.approx(
        evaluation.quality(task, model, data.validation)
    )
