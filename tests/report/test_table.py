from io import StringIO

import pytest
from rich.console import Console

from autoprune.finalize.final import Final
from autoprune.report.table import front_table


def printed(table, width=130) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()


def line_of(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.strip().startswith(start))


def test_dense_front_and_baselines_stand_beside_each_other(experiment):
    lines = printed(front_table(experiment))
    labels = ["dense", *(trial.id for trial in experiment.front()), *(t.id for t in experiment.trials[:6])]
    rows = [line for line in lines if line.strip().startswith(("dense", "t0"))]
    assert [row.split()[0] for row in rows] == labels
    assert "l1_filter 25%" in line_of(lines, "t0000")
    assert "58.6 k" in line_of(lines, "dense")


def test_a_row_compares_with_the_dense_model_and_each_baseline(experiment):
    trial = experiment.front()[1]
    row = line_of(printed(front_table(experiment)), trial.id).split()
    assert row[4:7] == ["98.60", "%", "-0.40"]
    assert row[7:10] == ["14.7", "k", "4.0x"]
    margins = experiment.margins(trial)
    assert row[-2:] == [f"{100 * margins[name]:+.2f}" for name in ("above_l1_filter", "above_lottery_ticket")]


def test_the_chosen_trial_is_marked_and_latencies_are_those_measured_in_turn(experiment):
    chosen = experiment.front()[0]
    lines = printed(front_table(experiment, Final(chosen, "knee", latency_ms={"dense": 3.0, chosen.id: 2.0})))
    row = line_of(lines, f"* {chosen.id}")
    assert "2.00 ms" in row
    assert "1.5x" in row
    assert any("chosen: knee" in line for line in lines)
    assert "ms" not in line_of(lines, experiment.front()[1].id)


def test_a_chosen_trial_off_the_front_is_shown_too(experiment):
    off = next(trial for trial in experiment.candidates if trial not in experiment.front())
    assert line_of(printed(front_table(experiment, Final(off, "by hand"))), f"* {off.id}")


def test_other_objectives_give_another_front(maker):
    maker.add(0.98, 0.5, macs_share=0.9)
    maker.add(0.98, 0.6, macs_share=0.3)
    experiment = maker.experiment()
    assert line_of(printed(front_table(experiment)), "t0001")
    lines = printed(front_table(experiment, objectives=("accuracy", "params")))
    assert line_of(lines, "t0000")
    assert any("accuracy and params" in line for line in lines)


def test_a_search_that_just_began(dense_unknown, maker):
    assert any("no trial has succeeded yet" in line for line in printed(front_table(dense_unknown)))
    maker.trials = []
    maker.add(0.98, 0.5)
    assert line_of(printed(front_table(maker.experiment())), "t0000")


def test_markup_in_a_name_is_text(maker):
    assert any("[bold]x[/]" in line for line in printed(front_table(maker.experiment(experimentName="[bold]x[/]"))))


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_cuts_nothing(maker, experiment, width):
    from test_trust import fine_tuned  # which imports this module

    maker.add(0.992, 0.1, schedule="supernet", budget=1.0, **{"sparsity.hidden": 0.625})
    experiment = maker.experiment()
    final = Final(experiment.front()[0], "drop<=1%", 0.96, 0.985, fine_tuned=fine_tuned(experiment))
    unwrapped = [line.rstrip() for line in printed(front_table(experiment, final), width=10_000)]
    lines = [line.rstrip() for line in printed(front_table(experiment, final), width=width)]
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert all(trial.id in text for trial in experiment.front())
    assert "lottery_ticket 95%" in text and "± 1.41" in text
    said, in_full = ({*" ".join(each).replace("_", " ").split()} for each in (lines, unwrapped))
    figures = {word for word in in_full if any(map(str.isdigit, word))}
    assert figures <= said
