import pytest

from autoprune.errors import UserError
from autoprune.prune.schedules import SCHEDULES
from autoprune.results.baselines import BASELINES, REWINDING, for_command, left_out, margins, preparations
from autoprune.results.candidate import Candidate
from autoprune.results.settings import TrialCommand

DENSE = {"accuracy": 1.0, "params": 1000}
L1 = [{"accuracy": 0.9, "params": 100}, {"accuracy": 0.5, "params": 10}]


def test_both_baselines_run_at_several_sizes_as_valid_candidates():
    candidates = [Candidate.from_parameters(p) for p in for_command("autoprune trial digits")]
    assert {c.baseline for c in candidates} == {"l1_filter", "lottery_ticket"}
    assert len({(c.baseline, c.uniform) for c in candidates}) == len(candidates) == 6


def test_the_dense_trial_prepares_what_the_space_searches_over_blocks_and_all():
    space = {
        "criterion": {"_type": "choice", "_value": ["l1_norm", "fpgm"]},
        "schedule": {"_type": "choice", "_value": ["supernet"]},
        "block.layer1": {"_type": "choice", "_value": [0, 1]},
    }
    found = [Candidate.from_parameters(each) for each in preparations("autoprune trial digits", space)]
    assert [(c.baseline, c.criterion, c.schedule, c.blocks) for c in found] == [
        ("dense", "l1_norm", "supernet", {"layer1": 0}),
        ("dense", "fpgm", "supernet", {"layer1": 0}),
    ]


@pytest.mark.parametrize(
    "command", ["autoprune trial digits --no-baselines", "python train.py", "autoprune run x.yaml"]
)
def test_a_foreign_command_or_one_that_says_so_has_no_baselines(command):
    assert for_command(command) == []


@pytest.mark.parametrize(
    "params, expected",
    [
        (100, -0.1),  # at a measured size
        (1000, -0.2),  # at the dense model's
        (31.6228, 0.8 - 0.7),  # half-way between 10 and 100, over the logarithm
        (1, 0.3),  # below the smallest size the baseline is taken to stay what it was there
    ],
)
def test_a_margin_is_the_distance_to_the_baseline_at_the_same_size(params, expected):
    found = margins({"accuracy": 0.8, "params": params}, DENSE, {"l1": L1, "none": []})
    assert found == {"above_l1": pytest.approx(expected, abs=1e-5)}


def test_the_trial_command_is_read_wherever_autoprune_lies():
    command = TrialCommand.parse("/opt/venv/bin/autoprune trial my_task.py:net --seed 3 --checkpoint 'a b.pt'")
    assert command == TrialCommand("my_task.py:net", checkpoint="a b.pt", seed=3)
    assert TrialCommand.parse("python3 train.py") is None


@pytest.mark.parametrize(
    "options, message",
    [
        ("--sed 3", "--sed 3: did you mean --seed"),
        ("--seed x", "--seed must be a whole number, not 'x'"),
        ("--round-to 0", "--round-to must be at least 1, not '0'"),
        ("--size-weight nan", "--size-weight must be at most 10, not 'nan'"),
        ("--seed 4294967296", "--seed must be at most 2,147,483,647"),
        ("--checkpoint ''", "--checkpoint must not be empty"),
        ("--checkpoint a\0b", "--checkpoint must be text, without characters that no file has"),
        ("'", "cannot be read"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        TrialCommand.parse("autoprune trial digits " + options)


def test_the_baselines_that_rewind_are_those_whose_schedules_need_the_initial_weights():
    rewinding = {name for name, (how, _) in BASELINES.items() if SCHEDULES[how["schedule"]].needs_initial}
    assert rewinding == set(REWINDING)
    assert {name for name, schedule in SCHEDULES.items() if schedule.needs_initial} == {
        *("lottery_ticket", "lottery_ticket_late", "from_scratch", "set", "rigl")
    }


@pytest.mark.parametrize(
    "options, expected",
    [
        ("", {"l1_filter", "lottery_ticket"}),
        ("--checkpoint mine.pt", {"l1_filter"}),
        ("--checkpoint mine.pt --initial first.pt", {"l1_filter", "lottery_ticket"}),
        ("--checkpoint mine.pt --no-baselines", set()),
    ],
)
def test_a_checkpoint_without_its_initial_weights_has_no_lottery_tickets_and_it_is_said(options, expected):
    command = f"autoprune trial digits {options}"
    assert {parameters["baseline"] for parameters in for_command(command)} == expected
    said = left_out(TrialCommand.parse(command))
    if expected == {"l1_filter"}:
        assert "lottery_ticket left out" in said and "--initial FILE" in said and "\n" not in said
    else:
        assert said is None


def test_initial_weights_are_those_of_a_checkpoint():
    with pytest.raises(UserError, match="--initial FILE holds the weights that the training of --checkpoint began"):
        TrialCommand.parse("autoprune trial digits --initial first.pt")
    command = TrialCommand("digits", checkpoint="mine.pt", initial="first.pt")
    assert TrialCommand.from_words(command.to_words()[2:]) == command
