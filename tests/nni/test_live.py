"""What the terminal says of a search that runs."""

import io
from dataclasses import replace

from autoprune.nni.live import one_line, picture
from autoprune.nni.manage import counts
from autoprune.nni.page_data import page
from autoprune.nni.registry import KnownExperiment
from autoprune.nni.watch import Progress
from autoprune.report.terminal import Console
from autoprune.results.experiment import PROGRESS, Experiment, Trial


def running(folder, count):
    trials = []
    for i in range(count):
        place = folder / f"t{i}"
        place.mkdir()
        (place / PROGRESS).write_text(f"training step {i} of [9], about 8 s left\n")
        trials.append(Trial(f"t{i}", i, {}, "RUNNING", {}, None, place, 1, None))
    return trials


def test_a_search_that_has_no_result_yet_says_what_its_trials_are_doing(tmp_path, capsys):
    trials = running(tmp_path, 5)
    trials[1] = replace(trials[1], status="SUCCEEDED")  # killed before it could take its note away
    trials[2].folder.joinpath(PROGRESS).unlink()
    now = Progress(Experiment("abc", tmp_path, {"maxTrialNumber": 9}, trials), "RUNNING", (), 65.0)
    assert one_line(now) == (
        "  65 s: 1 of 9 trials done, 0 failed; no front yet; trial t0: training step 0 of [9], about 8 s left"
    )
    Console(width=100).print(picture(now))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "1 min 5 s" in lines[0] and "1 of 9 trials done, 0 failed" in lines[0]
    assert lines[1:4] == [f"trial t{i}: training step {i} of [9], about 8 s left" for i in (0, 3, 4)]


def test_the_time_left_goes_by_the_candidates_not_by_what_prepares_them(tmp_path):
    def ended(number, seconds, **parameters):
        measures = {"accuracy": 0.9, "params": 1, "macs": 1, "bytes": 1, "latency_ms": 1.0}
        about = (f"t{number}", number, parameters, "SUCCEEDED", measures, None, tmp_path)
        return Trial(*about, 1, int(1000 * seconds))

    first = [ended(0, 900.0, baseline="dense"), ended(1, 100.0, baseline="l1_filter")]

    def left(trials):
        return Progress(Experiment("abc", tmp_path, {"maxTrialNumber": 13}, trials), "RUNNING", (), 1.0).seconds_left

    assert left(first) is None  # what was said before the start still stands
    assert 20 < left([*first, ended(2, 2.0)]) < 30


def test_a_trials_note_is_no_way_out_of_its_folder(tmp_path):
    (trial,) = running(tmp_path, 1)
    (tmp_path / "secret").write_text("secret")
    (trial.folder / PROGRESS).unlink()
    (trial.folder / PROGRESS).symlink_to(tmp_path / "secret")
    assert trial.doing == ""


def test_terminal_list_and_page_count_trials_alike(tmp_path):
    trials = [
        replace(trial, status=status, ended=2)
        for trial, status in zip(
            running(tmp_path, 5), ("SUCCEEDED", "FAILED", "EARLY_STOPPED", "SYS_CANCELED", "RUNNING"), strict=True
        )
    ]
    experiment = Experiment("abc", tmp_path, {"maxTrialNumber": 9, "trialCommand": "autoprune trial digits"}, trials)
    words = "4 of 9 trials done, 1 failed, 1 stopped early"
    now = Progress(experiment, "RUNNING", (), 65.0)
    assert words in one_line(now)
    console = Console(width=100, file=io.StringIO())
    console.print(picture(now))
    assert words in console.file.getvalue()
    assert page(experiment)["counts"] == words
    known = KnownExperiment("abc", tmp_path, {})
    known.__dict__["_loaded"] = experiment
    assert counts(known) == ("4 of 9", "1", "0")


def test_the_live_view_speaks_of_the_objectives_that_were_chosen(tmp_path):
    measures = {"accuracy": 0.97, "params": 1000, "macs": 2_000_000, "bytes": 4000, "latency_ms": 1.25}
    trial = Trial("t0", 0, {"criterion": "l1_norm"}, "SUCCEEDED", measures, None, tmp_path, 1, 2)
    tuner = {"classArgs": {"objectives": ["accuracy", "latency_ms"]}}
    config = {"maxTrialNumber": 9, "tuner": tuner, "trialCommand": "autoprune trial digits"}
    now = Progress(Experiment("abc", tmp_path, config, [trial]), "RUNNING", (), 1.0)
    assert one_line(now).endswith("front 97.00%@1.25ms")
    console = Console(width=100, file=io.StringIO())
    console.print(picture(now))
    said = console.file.getvalue()
    assert "97.00 %" in said and "1.25 ms" in said and "MACs" not in said
