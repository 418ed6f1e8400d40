"""Every schedule ends at exactly the sparsity asked of each group, by every criterion, and trains as it says."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import make_groups, make_task

from autoprune.errors import UserError
from autoprune.measure import measure
from autoprune.prune.criteria import CRITERIA
from autoprune.prune.masks import DynamicMasks
from autoprune.prune.schedules import SCHEDULES, get_schedule
from autoprune.results.candidate import Candidate
from autoprune.train import loop
from autoprune.trial.run import run_trial

DYNAMIC = [name for name, schedule in SCHEDULES.items() if schedule.grow]
SPARSITY = {"stem": 0.5, "inner": 0.25, "hidden": 0.75}
SIZES = {"stem.weight": 72, "inner.weight": 864, "outer.weight": 96, "hidden.weight": 512}
ASKED = {"stem.weight": 36, "inner.weight": 216, "outer.weight": 48, "hidden.weight": 384}


@pytest.fixture(scope="module")
def tiny():
    task, data, dense = make_task()
    return task, data, dense, make_groups(dense, task)


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """Timing a network fifty times is not what these tests are about."""
    monkeypatch.setattr(measure, "measure", lambda model, example_input: {})


def run(tiny, candidate, task=None, **options):
    own, data, dense, groups = tiny
    return run_trial(task or own, candidate, data, dense, round_to=1, groups=groups, **options)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_what_was_asked_is_what_is_found(tiny, criterion, schedule):
    candidate = Candidate(SPARSITY, criterion=criterion, schedule=schedule)
    found = CRITERIA[criterion]
    if schedule in DYNAMIC and found.granularity != "weight":
        with pytest.raises(UserError, match=f"schedule {schedule} moves single weights.*criterion {criterion} removes"):
            run(tiny, candidate)
        return
    if schedule == "supernet" and not found.structured:
        with pytest.raises(
            UserError, match=f"schedule supernet recovers all channel candidates.*criterion {criterion}"
        ):
            run(tiny, candidate)
        return
    result = run(tiny, candidate)
    weights = dict(result.model.named_parameters())
    if found.structured:
        assert result.kept == {"stem": 4, "inner": 9, "hidden": 4} and not result.masks
        assert weights["inner.weight"].shape == (9, 4, 3, 3) and weights["hidden.weight"].shape == (4, 16)
        return
    assert result.kept == {"stem": 8, "inner": 12, "hidden": 16}
    assert all((weights[name][mask == 0] == 0).all() for name, mask in result.masks.items())
    gone = {name: int((mask == 0).sum()) for name, mask in result.masks.items()}
    if found.granularity == "2:4":  # it has a ratio of its own
        assert gone == {name: size // 2 for name, size in SIZES.items() if name != "stem.weight"}
    elif found.scope == "network":
        assert abs(sum(gone.values()) - sum(ASKED.values())) <= 1
    else:
        assert all(abs(gone[name] - count) <= 1 for name, count in ASKED.items())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("criterion", ["level", "l1_norm"])
def test_a_group_that_is_not_named_stays_whole(tiny, criterion, schedule):
    if criterion == ("l1_norm" if schedule in DYNAMIC else "level") and (schedule in DYNAMIC or schedule == "supernet"):
        return
    result = run(tiny, Candidate({"hidden": 0.5}, criterion=criterion, schedule=schedule))
    if criterion == "level":
        assert list(result.masks) == ["hidden.weight"] and (result.model.inner.weight != 0).all()
    else:
        assert result.kept == {"stem": 8, "inner": 12, "hidden": 8}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_same_seed_gives_the_same_network(tiny, schedule):
    criterion = "l1_norm" if schedule == "supernet" else "level"
    first, second = (run(tiny, Candidate(SPARSITY, criterion=criterion, schedule=schedule), seed=3) for _ in range(2))
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_dense_model_is_left_as_it_was(tiny):
    before = copy.deepcopy(tiny[2].model.state_dict())
    for criterion in ("slim", "movement", "l0", "synaptic_strength"):
        run(tiny, Candidate(SPARSITY, criterion=criterion))
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny[2].model.state_dict().items())


@pytest.mark.parametrize(
    "name, sparsities",
    [
        ("one_shot", [0.8]),
        ("linear", [0.16, 0.32, 0.48, 0.64, 0.8]),
        ("gradual", [0.5629630, 0.7703704, 0.8]),  # 0.8 (1 - (1 - t)^3) at t = 1/3, 2/3, 1
        ("lottery_ticket", [0.4151964, 0.6580048, 0.8]),  # each round leaves the cube root of 0.2 of what is left
        ("iterative", [0.2752203, 0.4746944, 0.6192695, 0.7240541, 0.8]),
    ],
)
def test_ramps(name, sparsities):
    schedule = get_schedule(name)
    assert [schedule.at(0.8, t) for t in schedule.times()] == pytest.approx(sparsities, abs=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_ramp_rises_to_exactly_what_is_asked(name):
    schedule = get_schedule(name)
    assert schedule.at(0.0, 0.5) == 0
    reached = [schedule.at(0.9, t) for t in schedule.times()]
    assert reached == sorted(reached) and reached[-1] == pytest.approx(0.9, abs=1e-12)


def test_accuracy_is_reported_after_every_round_but_the_last(tiny):
    seen = []
    run(tiny, Candidate(SPARSITY, criterion="level", schedule="linear"), on_round=seen.append)
    assert len(seen) == 4 and all(0 <= accuracy <= 1 for accuracy in seen)


@pytest.fixture
def trained(monkeypatch):
    """Record what is trained, on which recipe, from where, and its weights at that moment."""
    calls = []
    train = loop.train

    def record(task, model, data, recipe, seed=0, teacher=None, **options):
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        calls.append((recipe, teacher, options.get("start", 0), options.get("stop"), weights))
        train(task, model, data, recipe, seed, teacher, **options)

    monkeypatch.setattr(loop, "train", record)
    return calls


def surviving(weights, masks, name="hidden.weight"):
    return weights[name][masks[name] == 1]


def test_one_shot_fine_tunes_the_trained_weights(tiny, trained):
    result = run(tiny, Candidate(SPARSITY, criterion="level"))
    ((recipe, teacher, start, _, weights),) = trained
    assert recipe == tiny[0].recovery and teacher is tiny[2].model and start == 0
    assert torch.equal(surviving(weights, result.masks), surviving(tiny[2].model.state_dict(), result.masks))


def test_iterative_shares_the_recovery_steps_among_its_rounds(tiny, trained):
    task = replace(tiny[0], recovery=replace(tiny[0].recovery, steps=10))
    run(tiny, Candidate(SPARSITY, criterion="level", schedule="iterative"), task)
    assert [call[0].steps for call in trained] == [2] * 5


def test_a_lottery_ticket_trains_its_first_weights_in_full(tiny, trained):
    task, _, dense, _ = tiny
    initial = {name: tensor * 1.5 for name, tensor in dense.initial.items()}
    own = (task, tiny[1], replace(dense, initial=initial), tiny[3])
    result = run(own, Candidate(SPARSITY, criterion="level", schedule="lottery_ticket"))
    full = [call for call in trained if call[3] is None]  # the others are rewindings, of no steps at all
    assert [(recipe, teacher, start) for recipe, teacher, start, *_ in full] == [(task.training, None, 0)] * 3
    assert torch.equal(surviving(full[-1][4], result.masks), surviving(initial, result.masks))
    assert all(stop == 0 for *_, stop, _ in trained if stop is not None)


def test_late_rewinding_goes_back_to_a_step_of_the_dense_training(tiny, trained):
    task, data, dense, _ = tiny
    task = replace(task, training=replace(task.training, steps=20))
    result = run(tiny, Candidate(SPARSITY, criterion="level", schedule="lottery_ticket_late"), task)
    early = task.build()
    early.load_state_dict(dense.initial)
    loop.train(task, early, data.train, task.training, stop=2)
    last = [call for call in trained if call[3] is None][-1]
    assert last[2] == 2 and last[0] == task.training
    assert torch.equal(surviving(last[4], result.masks), surviving(early.state_dict(), result.masks))
    assert not torch.equal(early.hidden.weight, dense.initial["hidden.weight"])


def test_learning_rate_rewinding_keeps_the_weights_and_trains_in_full(tiny, trained):
    result = run(tiny, Candidate(SPARSITY, criterion="level", schedule="lr_rewinding"))
    assert [(call[0], call[2]) for call in trained] == [(tiny[0].training, 0)] * 3
    first = trained[0][4]
    dense = tiny[2].model.state_dict()
    assert torch.equal(surviving(first, result.masks), surviving(dense, result.masks))


def test_from_scratch_prunes_and_trains_the_untrained_network(tiny, trained):
    task, data, dense, groups = tiny
    initial = {name: tensor * 1.5 for name, tensor in dense.initial.items()}
    own = (task, data, replace(dense, initial=initial), groups)
    result = run(own, Candidate(SPARSITY, criterion="snip", schedule="from_scratch"))
    ((recipe, teacher, _, _, weights),) = trained
    assert recipe == task.training and teacher is None
    assert torch.equal(surviving(weights, result.masks), surviving(initial, result.masks))


@pytest.mark.parametrize("schedule", DYNAMIC)
def test_one_number_is_spread_by_erk_and_the_total_stays(tiny, schedule):
    result = run(tiny, Candidate(uniform=0.8, criterion="level", schedule=schedule))
    gone = {name: int((mask == 0).sum()) for name, mask in result.masks.items()}
    assert abs(sum(gone.values()) - 0.8 * sum(SIZES.values())) <= len(gone)
    density = {name: 1 - gone[name] / size for name, size in SIZES.items()}
    assert density["inner.weight"] < density["hidden.weight"] < 0.5
    shape = {name: sum(tiny[2].model.get_parameter(name).shape) / size for name, size in SIZES.items()}
    assert density["inner.weight"] / density["hidden.weight"] == pytest.approx(
        shape["inner.weight"] / shape["hidden.weight"], rel=0.02
    )


@pytest.mark.parametrize("schedule", DYNAMIC)
def test_dynamic_masks_move(tiny, schedule):
    task = replace(tiny[0], training=replace(tiny[0].training, steps=40))
    candidate = Candidate(SPARSITY, criterion="random_weights", schedule=schedule)
    first = run(tiny, replace(candidate, schedule="from_scratch"), task).masks
    last = run(tiny, candidate, task).masks
    assert all(int(first[name].sum()) == int(last[name].sum()) for name in first)
    assert all(not torch.equal(first[name], last[name]) for name in first)


@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_the_weakest_die_and_the_promising_grow(grow):
    layer = torch.nn.Linear(10, 10, bias=False)
    mask = torch.zeros(10, 10)
    mask[:5] = 1
    with torch.no_grad():
        layer.weight.copy_(torch.arange(1.0, 101.0).view(10, 10))
    moving = DynamicMasks(layer, {"weight": mask}, grow, steps=20, fraction=0.2)
    assert (layer.weight[5:] == 0).all()
    layer.weight.grad = torch.arange(100.0).view(10, 10)
    moving.before_step()
    count = int(0.2 / 2 * (1 + torch.cos(torch.tensor(torch.pi / 15))) * 50)
    after = moving.masks["weight"].view(-1)
    assert count == 9 and int(after.sum()) == 50
    assert (after[:9] == 0).all() and (after[9:50] == 1).all()  # the smallest went
    grown = after[50:].nonzero().flatten() + 50
    assert len(grown) == 9 and (layer.weight.view(-1)[grown] == 0).all()  # and start from nothing
    assert (grow == "gradient") == (grown.tolist() == list(range(91, 100)))
    assert (layer.weight.grad.view(-1)[after == 0] == 0).all()


def test_dynamic_masks_stand_still_at_the_end():
    layer = torch.nn.Linear(10, 10, bias=False)
    moving = DynamicMasks(layer, {"weight": torch.ones(10, 10).tril()}, "random", steps=100)
    seen = []
    for _ in range(100):
        layer.weight.grad = torch.ones(10, 10)
        moving.before_step()
        seen.append(moving.masks["weight"].clone())
    changes = [step for step in range(1, 100) if not torch.equal(seen[step], seen[step - 1])]
    assert changes and max(changes) < 75 and {(step + 1) % 5 for step in changes} == {0}


def test_an_unknown_schedule_is_refused_with_near_matches():
    with pytest.raises(UserError, match="unknown schedule 'riggl': use rigl"):
        get_schedule("riggl")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_that_needs_initial_weights_is_refused_without_them(tiny, schedule, trained):
    task, data, dense, groups = tiny
    own = (task, data, replace(dense, initial=None), groups)
    criterion = "level" if schedule in DYNAMIC else "l1_norm"
    candidate = Candidate({"hidden": 0.5}, criterion=criterion, schedule=schedule)
    if schedule not in ("lottery_ticket", "lottery_ticket_late", "from_scratch", *DYNAMIC):
        assert run(own, candidate).measures
        return
    with pytest.raises(UserError, match=f"schedule {schedule} needs the weights before training.*--initial FILE"):
        run(own, candidate)
    assert not trained
