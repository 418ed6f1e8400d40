"""The report: one HTML page that needs nothing else, neither network nor other files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sized
from datetime import datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from autoprune.base.files import write_text
from autoprune.base.machine import describe, versions
from autoprune.finalize.final import Final, fine_tuned_of
from autoprune.report.drawing import Drawing, draw_network
from autoprune.report.fidelity import agreements
from autoprune.report.figures import Figure, agreement_figure, sensitivity_figure
from autoprune.report.fine_tuned import fine_tuned_rows
from autoprune.report.learned import search_sections, sensitivity_title, sensitivity_words
from autoprune.report.learning import read_episodes
from autoprune.report.plots import DEEPEST_DROP, kept_plot, pareto_plot, progress_plot, style
from autoprune.report.rows import Row, front_rows
from autoprune.report.sensitivity import lost_by_group
from autoprune.report.trust_plots import learning_plot
from autoprune.results import units
from autoprune.results.baselines import left_out
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.limits import DROP, Limit
from autoprune.results.measures import MEASURES, SIZES, Measure

SECRET = re.compile(r"pass(word|phrase|wd)|secret|token|credential|environment|key$", re.IGNORECASE)
"""Names of config entries whose values stay out of the page."""

PASSWORD_IN_URL = re.compile(r"(\w://[^\s:/@]*):[^\s/@]*@")
"""As in a study's database: ``postgresql://user:password@host/name``."""


def write_report(experiment: Experiment, final: Final | None, file: Path) -> Path:
    """Write an experiment's report and return its path.

    It works at any moment of a search: what is not known yet is left out.

    Args:
        final: what was chosen from the search, if anything was.
        file: the page, about 5 MB (plotly's script is in it); its folder is made if need be.
    """
    chosen = final.chosen if final else None
    front = experiment.front()
    rows = front_rows(experiment, final)
    pareto = [_html(pareto_plot(experiment, size, chosen), f"pareto-{size}") for size in ("macs", "params")]
    kept = kept_plot(experiment, front)
    agreed, episodes = agreements(experiment, fine_tuned_of(experiment, final)), read_episodes(experiment)
    template = Environment(
        loader=PackageLoader("autoprune.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    ).get_template("template.html")
    page = template.render(
        experiment=experiment,
        final=final,
        objectives=[SIZES[name].title if name in SIZES else MEASURES[name].noun for name in experiment.objectives],
        metric=experiment.metric,
        rows=rows,
        sizes=experiment.sizes,
        tile=next((row for row in rows if row.chosen), None),
        summary=_summary(experiment, final, rows),
        pareto=pareto if experiment.candidates or experiment.baselines else [],
        below=_below_the_plot(experiment),
        kept=_html(kept, "kept") if kept else None,
        progress=_html(progress_plot(experiment), "progress") if experiment.candidates and experiment.dense else None,
        fine_tuned=fine_tuned_rows(experiment, final),
        agreements=agreed,
        agreement_plot=_html(_styled(agreement_figure(agreed, experiment.metric)), "agreement") if agreed else None,
        drawings=_drawings(experiment, chosen),
        learned=_learned(experiment),
        probes=_probes(experiment),
        recipes=list(dict.fromkeys(_yaml(dict(each.recipe)) for each in experiment.prepared if each.recipe)),
        learning=_html(learning_plot(episodes, experiment.metric), "learning") if episodes else None,
        files={file.name: file for file in final.files.values()} if final else {},
        facts=_facts(experiment),
        config=_yaml(_without_secrets({k: v for k, v in experiment.config.items() if k != "searchSpace"})),
        search_space=_yaml(experiment.config.get("searchSpace") or {}),
        plotly=Markup(get_plotlyjs()),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, page)
    return file


def _probes(experiment: Experiment) -> list[dict[str, Any]]:
    """Return what was learnt before the search, as its section of the page needs it."""
    probes = []
    for number, prepared in enumerate(experiment.prepared):
        if prepared.sensitivity:
            headings, cells = lost_by_group(prepared.sensitivity, experiment.metric)
            plot = _html(_styled(sensitivity_figure(prepared.sensitivity, experiment.metric)), f"sensitivity-{number}")
            said = sensitivity_words(prepared.schedule, prepared.criterion)
            title = sensitivity_title(prepared.schedule, prepared.criterion if len(experiment.prepared) > 1 else "")
            found = {"title": title, "words": said, "plot": plot}
            probes.append(found | {"headings": headings, "cells": cells})
    return probes


def _drawings(experiment: Experiment, chosen: Trial | None) -> list[tuple[Drawing, Markup]]:
    """Return the dense network and the chosen one, as far as is known what they keep."""
    drawn = [draw_network(experiment)] + ([draw_network(experiment, chosen)] if chosen else [])
    return [(each, Markup(each.svg)) for each in drawn if each]  # noqa: S704  (its texts are escaped)


def _learned(experiment: Experiment) -> list[dict[str, Any]]:
    """Return what is learnt from the candidates, with figures as HTML."""
    return [
        {
            "title": section.title,
            "words": section.words,
            "plots": [
                {"html": _html(_styled(figure), f"{section.id}-{number}"), "least": figure.get("least", 0)}
                for number, figure in enumerate(section.figures)
            ],
        }
        for section in search_sections(experiment)
    ]


def _styled(spec: Figure) -> go.Figure:
    """Return a figure that the page in the browser has too, in the look of this page."""
    figure = go.Figure(spec["data"])
    style(figure, spec["height"])
    return figure.update_layout(spec["layout"])


def _html(figure: go.Figure, div_id: str) -> Markup:
    config = {"displaylogo": False, "displayModeBar": False, "responsive": True}
    return Markup(figure.to_html(config=config, include_plotlyjs=False, full_html=False, div_id=div_id))


def _summary(experiment: Experiment, final: Final | None, rows: list[Row]) -> list[str]:
    """Return what came out, in plain sentences."""
    candidates, metric = _counted(experiment.candidates, "candidate"), experiment.metric
    row = next((row for row in rows if row.chosen), None)
    if final is None or row is None:
        choice = ["No model has been chosen yet."]
    else:
        rule = f"{final.reason}{_in_words(final.reason, metric)}"
        choice = [f"Trial {final.chosen.id} was chosen from {candidates} ({rule})."]
        choice += _against_dense(experiment, final, row) + _recovered(final, metric) + _on_test_data(final, metric)
        choice += [final.worth.sentence(metric)] if final.worth else []
        choice += [final.chosen.inexact] if final.chosen.inexact else []
    inexact = [trial.id for trial in experiment.front() if trial.inexact]
    if inexact:
        norms = "norms are taken over fewer channels than in the dense model"
        choice += [f"Of the front, inexact ({norms}): {_listed(inexact)}."]
    baselines = [_counted(trials, f"{name} trial") for name, trials in experiment.baselines.items()]
    choice += [without] if (without := left_out(experiment.settings)) else []
    if not experiment.candidates and not experiment.baselines:
        return [*choice, "No trial has succeeded yet."]
    ran = _listed([candidates, *baselines])
    failed = f"{_counted(experiment.failed, 'trial')} failed" if experiment.failed else "no trial failed"
    return [*choice, f"The search ran {ran}; {len(experiment.front())} of the candidates are Pareto-optimal; {failed}."]


def _against_dense(experiment: Experiment, final: Final, row: Row) -> list[str]:
    if experiment.dense is None:
        return []
    metric = experiment.metric
    nouns = {"params": SIZES["params"].noun, "macs": SIZES["macs"].noun, "bytes": "compressed bytes"}
    sizes = [f"{row.cells[name].compared} fewer {noun}" for name, noun in nouns.items()]
    sizes = [size for size in sizes if float(size.partition("x")[0]) > 1]
    than = f"It has {_listed(sizes)} than the dense model." if sizes else "It is no smaller than the dense model."
    cell = row.cells[metric.name]
    words = f"{cell.words} against" if float(cell.compared.split()[0]) else "as much as"
    return [than, f"Its {metric.noun} on validation data is {cell.text}, {words} the dense model."]


def _recovered(final: Final, metric: Measure) -> list[str]:
    each = final.fine_tuned.get(final.chosen.id)
    if each is None:
        return []
    over = f", mean and spread over {len(each.validation)} seeds" if len(each.validation) > 1 else ""
    unit = " %" if metric.is_share else ""
    validation, test = (f"{metric.spread(values)}{unit}" for values in (each.validation, each.test))
    return [f"Recovered in full it has {validation} there and {test} on test data{over}."]


def _on_test_data(final: Final, metric: Measure) -> list[str]:
    if final.test_quality is None:
        return []
    dense = final.dense_test_quality
    beside = f" (dense model: {metric.write(dense)})" if dense is not None else ""
    own = metric.write(final.test_quality)
    return [f"The exported network's {metric.noun} on test data, which the search never saw, is {own}{beside}."]


def _in_words(rule: str, metric: Measure) -> str:
    """Return what a rule of :func:`autoprune.results.pareto.choose` means; nothing for a trial's id."""
    if rule.strip() == "knee":
        return f": the bend of the front, beyond which a smaller network costs the most {metric.noun}"
    limit = Limit.read(rule)
    if limit is None:
        return ""
    name, bound = (part.strip() for part in re.split(r"[<>]=?", rule, maxsplit=1))
    smallest = f": the smallest network on the front whose {metric.noun} is"
    if limit.measure == DROP:
        return f"{smallest} within {bound} of the dense model's"
    if limit.measure == metric.name:
        return f"{smallest} at {'least' if metric.direction == 'maximize' else 'most'} {bound}"
    return f": the {metric.best} network on the front with {name} up to {bound}"


def _counted(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _listed(items: Iterable[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def _below_the_plot(experiment: Experiment) -> int:
    if experiment.dense is None:
        return 0
    metric, dense = experiment.metric, experiment.dense[experiment.metric.name]
    lowest = metric.cost(metric.after_drop(dense, DEEPEST_DROP))
    return sum(metric.cost(trial.quality) > lowest for trial in experiment.trials if trial.succeeded)


def _facts(experiment: Experiment) -> dict[str, str]:
    """Return what a reader needs to repeat the search."""
    tuner = experiment.config.get("tuner") or {}
    facts = {
        "Experiment": experiment.id,
        "Task": experiment.settings.task,
        "Objectives": ", ".join(experiment.objectives),
        "Tuner": str(tuner.get("name") or tuner.get("className") or "none"),
        "Seed": f"{experiment.settings.seed}{_tuner_seed(tuner)}",
        "Trials": f"{len(experiment.trials)}, {experiment.config.get('trialConcurrency', 1)} at a time",
    }
    return facts | _times_taken(experiment.trials) | versions() | describe()


def _tuner_seed(tuner: dict[str, Any]) -> str:
    seed = (tuner.get("classArgs") or {}).get("seed")
    return "" if seed is None else f" (tuner: {seed})"


def _times_taken(trials: list[Trial]) -> dict[str, str]:
    starts = [trial.started for trial in trials if trial.started]
    ends = [trial.ended for trial in trials if trial.ended]
    if not starts:
        return {}
    begun = datetime.fromtimestamp(min(starts) / 1000).astimezone()
    facts = {"First trial started": begun.strftime("%Y-%m-%d %H:%M %Z")}
    if ends:
        facts["Time to the last result"] = units.duration((max(ends) - min(starts)) / 1000)
    return facts


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True).strip()


def _without_secrets(value: Any, name: str = "") -> Any:
    if SECRET.search(name) and value:
        return "(left out)"
    if isinstance(value, dict):
        return {key: _without_secrets(item, str(key)) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if name == "trialCommand" and isinstance(value, str):
        value = re.sub(r"(^|\s)(\w+)=\S+(?=.*\sautoprune\s)", r"\1\2=...", value)
    return PASSWORD_IN_URL.sub(r"\1:...@", value) if isinstance(value, str) else value
