"""What a search learned, section by section, as the report and the page in the browser show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from autoprune.base.files import read_object
from autoprune.finalize.final import fine_tuned_of
from autoprune.report import figures
from autoprune.report.fidelity import agreements
from autoprune.report.figures import Figure
from autoprune.report.importance import METHOD, Importances, at_equal_size, how_judged, importances, judged_alike
from autoprune.report.rows import name
from autoprune.report.sensitivity import whose
from autoprune.results.candidate import BLOCK_PREFIX, PREFIX
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.measures import SIZES, Measure
from autoprune.results.pareto import size_of
from autoprune.results.prepared import SENSITIVITY

MOST_LINES = 300
"""Candidates that are drawn one by one; of more, so many are drawn from them, the front among them."""

MOST_AXES, MOST_SLICES = 8, 10
"""Parameters that are drawn, the most important ones."""

FEWEST_LINES = 5


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        id: of its place in the page.
        title: its heading.
        words: what is seen and what follows, a paragraph each.
        figures: may be none where words say why.
    """

    id: str
    title: str
    words: Sequence[str]
    figures: Sequence[Figure] = field(default_factory=list)


def learned(experiment: Experiment) -> dict[str, Any]:
    """Return all sections as plain values, for the page in the browser."""
    found = [*search_sections(experiment), *sensitivity_sections(experiment), *agreement_sections(experiment)]
    return {"sections": [asdict(section) for section in found]}


def search_sections(experiment: Experiment) -> list[Section]:
    """Return what mattered among the candidates, and the candidates themselves, axis by axis; nothing without any."""
    trials = judged_alike(experiment)
    if not trials or experiment.dense is None:
        return []
    found = importances(experiment)
    sections = [_importance_section(experiment, found, trials)]
    if len(trials) < FEWEST_LINES:
        return sections
    drawn = _drawn(experiment, trials)
    names = _parameters(drawn, found)
    if not names:
        return sections
    return [*sections, _parallel_section(experiment, drawn, names), _slices_section(experiment, drawn, names)]


def _importance_section(experiment: Experiment, found: Importances | str, trials: Sequence[Trial]) -> Section:
    title = "What mattered: groups, criterion and schedule"
    if isinstance(found, str):
        return Section("importance", title, [found])
    metric = experiment.metric
    size = SIZES[size_of(experiment.objectives, metric=metric)].noun
    shares, chance = found.at_equal_size.shares, found.at_equal_size.chance
    clear = [f"{titled(key)} ({share:.0%})" for key, share in shares.items() if share > max(chance, 0.02)]
    said = f"most of what can be decided lies in {_listed(clear[:4])}" if clear else "nothing stands out from chance"
    how = [
        f"How much of the differences between candidates each parameter of the search explains alone: {METHOD}, over "
        f"{_counted(found.trials, trials)}.",
        f"The {metric.noun} as it is mostly follows the size, so that grey bars mostly say what makes a network small.",
        f"Blue bars are those to go by: what is left of the {metric.noun} when what networks with as many {size} have "
        "(an isotonic regression) is taken off.",
        "Bars of a colour add up to 100 %. A blue bar that does not reach the dotted line may be chance: so much had "
        "the best of as many made-up parameters.",
    ]
    same = [key for key in ("criterion", "schedule") if key not in shares and key in trials[0].parameters]
    how += [f"All candidates have the same {' and '.join(same)}."] if same else []
    hidden = [key for key in shares if key not in figures.barred(found)]
    how += [f"{len(hidden)} parameters that matter less have no bars."] if hidden else []
    titles = {key: titled(key) for key in shares}
    words = [f"At equal size, {said}.", " ".join(how)]
    return Section("importance", title, words, [figures.importance_figure(found, metric, titles)])


def _parallel_section(experiment: Experiment, trials: Sequence[Trial], names: Sequence[str]) -> Section:
    metric, dense = experiment.metric, experiment.dense or {}
    size = SIZES[size_of(experiment.objectives, metric=metric)]
    axes: dict[str, Sequence[Any]] = {titled(key): [t.parameters[key] for t in trials] for key in names[:MOST_AXES]}
    texts = {title: [_written(value) for value in values] for title, values in axes.items()}
    axes |= {size.noun: [t.measures[size.name] / dense[size.name] for t in trials]}
    texts |= {size.noun: [f"{value:.0%}" for value in axes[size.noun]]}
    axes |= {metric.noun: [t.quality for t in trials]}
    texts |= {metric.noun: [metric.write(t.quality) for t in trials]}
    ranks = at_equal_size(experiment, trials).tolist()
    called = [f"{t.sequence}: {name(experiment, t)}" for t in trials]
    words = [
        f"A line for each of {_counted(len(trials), judged_alike(experiment))}, across the sparsity of each group,"
        f" what is left of the {size.noun}, and the {metric.noun}.",
        "Blue lines are better than others of their size, orange ones worse: where blue and orange part, it matters "
        "what is cut. Click the legend to leave some out, and point at a line for its trial.",
        *_left_out(names, MOST_AXES),
    ]
    return Section(
        "parallel", "Candidates, side by side", [" ".join(words)], [figures.parallel_figure(axes, texts, ranks, called)]
    )


def _slices_section(experiment: Experiment, trials: Sequence[Trial], names: Sequence[str]) -> Section:
    metric, dense = experiment.metric, experiment.dense or {}
    size = SIZES[size_of(experiment.objectives, metric=metric)]
    sizes = [t.measures[size.name] / dense[size.name] for t in trials]
    called = [f"{t.sequence}: {name(experiment, t)}" for t in trials]
    qualities = [t.quality for t in trials]
    shown = _without_outliers(qualities, metric)
    drawn = [
        figures.slice_figure(titled(key), [t.parameters[key] for t in trials], qualities, sizes, called, metric, shown)
        for key in names[:MOST_SLICES]
    ]
    words = [
        f"The {metric.noun} of {_counted(len(trials), judged_alike(experiment))}, against the sparsity of one group at "
        "a time. Orange candidates are small, blue ones large.",
        "Points that fall off the rest lie outside the axes (double-click to see all).",
        *_left_out(names, MOST_SLICES),
    ]
    return Section("slices", f"{metric.title} against the sparsity of each group", [" ".join(words)], drawn)


def sensitivity_sections(experiment: Experiment) -> list[Section]:
    """Return the probes of before the search: each says whether it was the dense network or the supernet."""
    probes = [(each.sensitivity, each.schedule, each.criterion) for each in experiment.prepared if each.sensitivity]
    left = read_object(experiment.folder / SENSITIVITY)[0]
    if left:
        probes[:1] = [(left, *probes[0][1:])] if probes else [(left, "", "")]
    sections = []
    for number, (curves, schedule, criterion) in enumerate(probes):
        title = sensitivity_title(schedule, criterion if len(probes) > 1 else "")
        words = [sensitivity_words(schedule, criterion)] if schedule else ["As it was probed before the search."]
        place = f"sensitivity-{number}" if number else "sensitivity"
        sections.append(Section(place, title, words, [figures.sensitivity_figure(curves, experiment.metric)]))
    return sections


def sensitivity_title(schedule: str, criterion: str = "") -> str:
    """Return the heading of a probe: what was probed, as far as that is known, and by which criterion, if given."""
    by = f" ({criterion})" if criterion else ""
    return f"Sensitivity of each group{by}{f': the {whose(schedule)}' if schedule else ''}"


def sensitivity_words(schedule: str, criterion: str) -> str:
    """Return what a probe did, and how it differs from the other kind."""
    beside = {
        "supernet": "It has learnt to do without channels, and usually loses less than the dense network would.",
        "dense network": "It has never learnt to do without channels, and usually loses more than a supernet, or than "
        "a network that is trained after.",
    }
    return (
        f"Before the search, a part of each group alone was removed from the {whose(schedule)}'s weights, by "
        f"{criterion}, and nothing was trained after. {beside[whose(schedule)]} Groups are in the network's order."
    )


def agreement_sections(experiment: Experiment) -> list[Section]:
    """Return predicted against measured: networks that were judged twice, early and later; nothing without any."""
    found = agreements(experiment, fine_tuned_of(experiment))
    if not found:
        return []
    metric = experiment.metric
    words = [f"{each.early} → {each.later}: {each.in_words}" for each in found]
    words.append(
        f"The early judgement predicts the {metric.noun} that was measured later. On the dotted line both are the "
        "same; what matters is that the order stays."
    )
    title = f"Predicted against measured {metric.noun}"
    return [Section("agreement", title, words, [figures.agreement_figure(found, metric)])]


def titled(parameter: str) -> str:
    """Return what a parameter is called in figures: the group's name alone for its sparsity."""
    if parameter.startswith(BLOCK_PREFIX):
        return f"{parameter.removeprefix(BLOCK_PREFIX)} dropped"
    return "sparsity of all" if parameter == "sparsity" else parameter.removeprefix(PREFIX)


def _parameters(trials: Sequence[Trial], found: Importances | str) -> list[str]:
    """Return the parameters that differ among trials, the most important first where that is known."""
    names = [
        key
        for key in trials[0].parameters
        if key not in ("budget", "parent") and all(key in t.parameters for t in trials)
    ]
    varied = [key for key in names if len({str(t.parameters[key]) for t in trials}) > 1]
    if isinstance(found, str):
        return varied
    return sorted(varied, key=lambda key: -found.at_equal_size.shares.get(key, 0.0))


def _drawn(experiment: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that are drawn one by one: all, or the front and as many others as there is room for."""
    if len(trials) <= MOST_LINES:
        return list(trials)
    front = {trial.id for trial in experiment.front()}
    others = [i for i, trial in enumerate(trials) if trial.id not in front]
    room = max(0, MOST_LINES - (len(trials) - len(others)))
    chosen = set(np.random.default_rng(len(trials)).choice(others, min(room, len(others)), replace=False).tolist())
    return [trial for i, trial in enumerate(trials) if trial.id in front or i in chosen]


def _counted(count: int, trials: Sequence[Trial]) -> str:
    drawn = f" of {len(trials)}, drawn at random" if count < len(trials) else ""
    how = how_judged(trials)
    return f"{count} candidates{drawn}{f', {how}' if how else ''}"


def _left_out(names: Sequence[str], most: int) -> list[str]:
    return [f"The {most} most important of {len(names)} parameters are shown."] if len(names) > most else []


def _without_outliers(values: Sequence[float], metric: Measure) -> list[float]:
    """Return an axis' ends, which leave out what is worse than the quartiles by more than 1.5 times their distance."""
    costs = np.array([metric.cost(value) for value in values])
    low, high = np.quantile(costs, (0.25, 0.75))
    kept = [value for value, cost in zip(values, costs, strict=True) if cost <= high + 1.5 * (high - low)]
    margin = 0.06 * (max(kept) - min(kept)) or 0.01 * max(map(abs, kept)) or 0.01
    return [min(kept) - margin, max(kept) + margin]


def _written(value: Any) -> str:
    return f"{value:.1%}".replace(".0%", "%") if isinstance(value, float) else str(value)


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
