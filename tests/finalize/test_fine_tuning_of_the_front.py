"""Fine-tuning the front to the end, in processes that may be killed."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from autoprune.base.progress import reported_to
from autoprune.errors import TrialFailure
from autoprune.finalize import fine_tuning
from autoprune.finalize.fine_tuning import fine_tune_all


@pytest.fixture
def front(digits_search, tmp_path):
    """Two networks of a search, whose fine-tunings leave a file in ``tmp_path`` for each start."""
    for folder in ("recovered", "starts"):
        (tmp_path / folder).mkdir()
    return replace(digits_search, folder=tmp_path), digits_search.candidates[:2]


def starts(experiment):
    return sorted(file.name for file in (experiment.folder / "starts").iterdir())


def fine_tune(monkeypatch, victim=None, fail=lambda started: None):
    """Let a fine-tuning do no more than note its start; for the victim, ``fail(how often it was started)`` ends it."""

    def tuned(job):
        own = f"{job.trial.id}-{job.repeat}"
        started = 1 + len([name for name in starts(job.experiment) if name.startswith(own)])
        (job.experiment.folder / "starts" / f"{own} {started}").touch()
        if (job.trial.id, job.repeat) == victim:
            fail(started)
        return fine_tuning.load_pruned(job.loaded[0], job.trial.model_file), job.trial.model_file

    monkeypatch.setattr(fine_tuning._Job, "_tuned", tuned)
    monkeypatch.setattr(fine_tuning, "is_complete", lambda trial: False)


def kill(_started):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(60)
def test_a_killed_fine_tuning_is_tried_once_again(monkeypatch, front):
    experiment, trials = front
    victim = (trials[0].id, 1)
    fine_tune(monkeypatch, victim, lambda started: kill(started) if started == 1 else None)
    found = fine_tune_all(experiment, experiment.loaded, trials, seeds=2, processes=2)
    assert [len(each.validation) for each in found.values()] == [2, 2]
    assert not any(each.failures for each in found.values())
    assert len(starts(experiment)) == 5


@pytest.mark.timeout(60)
def test_one_that_is_killed_twice_has_failed_and_the_network_stays_as_it_was_judged(monkeypatch, front):
    experiment, trials = front
    fine_tune(monkeypatch, (trials[0].id, 0), kill)
    found = fine_tune_all(experiment, experiment.loaded, trials, seeds=2, processes=2)
    first, second = (found[trial.id] for trial in trials)
    (reason,) = first.failures
    assert reason == f"trial {trials[0].id}, fine-tuning 0: its process was killed by signal 9, twice"
    assert first.validation[0] == pytest.approx(trials[0].measures["accuracy"])
    assert (len(first.validation), len(second.validation), second.failures) == (2, 2, ())
    assert fine_tune_all(experiment, experiment.loaded, trials, seeds=2) == found  # it is on record
    assert len(starts(experiment)) == 5


@pytest.mark.parametrize("processes", [1, 2])
def test_what_ends_in_an_error_is_recorded_with_it(monkeypatch, front, processes):
    experiment, trials = front

    def diverge(_started):
        raise TrialFailure("the loss became nan")

    fine_tune(monkeypatch, (trials[1].id, 1), diverge)
    found = fine_tune_all(experiment, experiment.loaded, trials, seeds=2, processes=processes)
    assert found[trials[1].id].failures == (f"trial {trials[1].id}, fine-tuning 1: the loss became nan",)


@pytest.mark.parametrize("processes", [1, 2])
def test_outcomes_outlive_the_process_that_waits_for_them(monkeypatch, front, processes):
    experiment, trials = front
    fine_tune(monkeypatch)

    def interrupt(stages):
        if [(each.what, each.done) for each in stages] == [("fine-tuning", 2)]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reported_to(interrupt):
        fine_tune_all(experiment, experiment.loaded, trials, 2, processes)
    kept = list((experiment.folder / "recovered").glob("*.json"))
    assert len(kept) >= 2
    before = len(starts(experiment))
    (experiment.folder / "recovered.json").write_text('{"half')  # and a damaged summary does no harm
    for file in kept[2:]:
        torch.save({}, file)  # nor does an outcome that is damaged
    found = fine_tune_all(experiment, experiment.loaded, trials, 2, processes)
    assert [len(each.validation) for each in found.values()] == [2, 2]
    assert len(starts(experiment)) - before == 2
