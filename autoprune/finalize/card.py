"""The model card: what a reader of an exported model should know, as JSON and as Markdown."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.base.files import write_text
from autoprune.base.machine import processor, versions
from autoprune.base.tables import markdown
from autoprune.results.measures import MEASURES, METRIC, SIZES, Measure

if TYPE_CHECKING:
    from autoprune.export import Exported
    from autoprune.finalize.final import Final
    from autoprune.results.experiment import Experiment


def model_card(experiment: Experiment, final: Final) -> dict[str, Any]:
    """Return the card: from which search, how good, how large, how fast, how to load."""
    from autoprune.base.device import resolve
    from autoprune.export import FORMATS
    from autoprune.measure.latency import where

    packages = [FORMATS[name].package for name in final.exported if name in FORMATS]
    trial, metric = final.chosen, experiment.metric
    card: dict[str, Any] = {
        "task": experiment.settings.task,
        "experiment": experiment.id,
        "trial": trial.id,
        "chosen by": final.reason,
        "chosen from": f"{len(experiment.candidates)} candidates, {len(experiment.front())} of them on the front",
        "metric": metric.name,
        "objectives": list(experiment.objectives),
        "parameters": trial.parameters,
        "channels kept": trial.record.get("kept", {}),
        **({"inexact": trial.inexact} if trial.inexact else {}),
        f"test {metric.noun}": _test_result(final),
        "validation": trial.measures,
        "dense validation": experiment.dense,
        "latency_ms": {
            "pruned": final.latency_ms.get(trial.id, trial.measures["latency_ms"]),
            "dense": final.latency_ms.get("dense", (experiment.dense or {}).get("latency_ms")),
            "batch size": experiment.settings.latency_batch,
            "where": where(experiment.settings.latency, resolve(experiment.settings.device)),
        },
        "files": {each.file.name: _file(each, final, metric) for each in final.exported.values()},
        "seed": experiment.settings.seed,
        "versions": versions(filter(None, packages)),
        "machine": f"{platform.system()} {platform.machine()}, {processor()}",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if final.recovery:
        card["further recovery"] = {
            "steps": final.recovery.steps,
            f"validation {metric.noun} before": final.recovery.before,
            f"validation {metric.noun} after": final.recovery.after,
            "kept": final.recovery.kept,
        }
    if final.quantized:
        tried = final.quantized.tried
        card["quantised"] = {"method": final.quantized.method, f"validation {metric.noun} by method": tried}
    return card


def write_card(card: dict[str, Any], stem: Path) -> tuple[Path, Path]:
    """Write a card to ``STEM_card.json`` and ``STEM_card.md`` and return both."""
    data, text = (stem.with_name(f"{stem.name}_card.{suffix}") for suffix in ("json", "md"))
    write_text(data, json.dumps(card, indent=2) + "\n")
    write_text(text, to_markdown(card))
    return data, text


def to_markdown(card: dict[str, Any]) -> str:
    """Return a card as Markdown."""
    metric = MEASURES[card.get("metric", METRIC.name)]
    dense, own, test = card["dense validation"] or {}, card["validation"], card[f"test {metric.noun}"]
    of_validation = f"validation {metric.noun}"
    latency = SIZES["latency_ms"]
    lines = [
        f"# {card['task']}, pruned",
        "",
        f"Trial {card['trial']} of experiment {card['experiment']}, chosen by `{card['chosen by']}` from "
        f"{card['chosen from']}.",
        *([card["inexact"]] if "inexact" in card else []),
        "",
    ]
    on_test = f"{metric.noun} on {test['examples']} test examples (95 % interval: {test['interval']})"
    rows = [[on_test, _with_interval(test, "pruned", metric), _with_interval(test, "dense", metric)]]
    titles = {of_validation: metric} | {SIZES[name].about: SIZES[name] for name in ("params", "macs", "bytes")}
    rows += [
        [title, each.write(own[each.name]), each.write(dense[each.name])]
        for title, each in titles.items()
        if each.name in dense
    ]
    if "memory" in own and "memory" in dense:
        rows.append([SIZES["memory"].about, *(SIZES["memory"].write(each["memory"]) for each in (own, dense))])
    if searched := card.get("latency_ms"):
        times = [latency.write(searched[which]) if searched[which] else "" for which in ("pruned", "dense")]
        rows.append([f"latency in the search, {searched['batch size']} example(s)", *times])
    lines += markdown(["", "pruned", "dense"], rows)
    lines += ["", f"Latency in the search: {searched['where']}."] if searched else []
    if "further recovery" in card:
        more = card["further recovery"]
        lines += [
            "",
            f"It was fine-tuned for {more['steps']} more steps before the export: {of_validation} "
            f"{metric.write(more[f'{of_validation} before'])} before, "
            f"{metric.write(more[f'{of_validation} after'])} after"
            f"{'' if more['kept'] else '; the model before was the better one and is the one exported'}.",
        ]
    if "quantised" in card:
        tried = card["quantised"][f"{of_validation} by method"]
        figures = "; ".join(f"{method}: {metric.write(value)}" for method, value in tried.items())
        lines += ["", f"Eight-bit integers ({card['quantised']['method']}). Validation {metric.noun}: {figures}."]
    lines += _of_files(card, metric) if card["files"] else []
    kept = ", ".join(f"{name} {count}" for name, count in card["channels kept"].items())
    versions = ", ".join(f"{name} {number}" for name, number in card["versions"].items())
    lines += ["", "## Where it comes from", "", f"- parameters: `{json.dumps(card['parameters'])}`"]
    lines += [f"- channels kept: {kept}"] if kept else []
    lines += [f"- seed {card['seed']}; {versions}", f"- written {card['written']}", ""]
    return "\n".join(lines)


def _of_files(card: dict[str, Any], metric: Measure) -> list[str]:
    size, latency = SIZES["bytes"], SIZES["latency_ms"]
    of_test, of_validation = f"test {metric.noun}", f"validation {metric.noun}"
    lines = ["", "## Files", ""]
    rows = [
        [
            name,
            size.write(file["bytes"]),
            metric.write(file[of_validation]),
            metric.write(file[of_test]),
            latency.write(file["latency"]["pruned"]["median_ms"]),
            latency.write(file["latency"]["dense"]["median_ms"]),
            f"{file['latency']['speedup']:.2f}x",
        ]
        for name, file in card["files"].items()
    ]
    lines += markdown(["file", "size", of_validation, of_test, "latency", "dense", "speed-up"], rows)
    first = next(iter(card["files"].values()))["latency"]["pruned"]
    lines += [
        "",
        "Each file was loaded back by its own runtime and compared with the model on the validation data. Latency is "
        f"the median of {first['runs']} passes of {first['batch_size']} example(s) in the file's own runtime on "
        f"{first['threads']} CPU thread(s), after a warm-up, pruned and dense in turn; the speed-up is the median of "
        f"the turns' ratios. Machine: {card['machine']}.",
        "",
        "## How to load",
    ]
    for name, file in card["files"].items():
        lines += ["", f"{name}:", "", "```python", file["how to load"], "```"]
    return lines


def _test_result(final: Final) -> dict[str, Any]:
    intervals = {f"{name} 95 % interval": both for name, both in final.test_intervals.items()}
    known = {"pruned": final.test_quality, "dense": final.dense_test_quality, "examples": final.test_examples}
    return known | intervals | {"interval": final.interval}


def _with_interval(test: dict[str, Any], which: str, metric: Measure) -> str:
    value, both = metric.write(test[which]), test.get(f"{which} 95 % interval")
    if both is None:
        return value
    low, high = (f"{100 * end:.1f}" if metric.is_share else metric.write(end) for end in both)
    return f"{value} ({low} to {high})"


def _file(exported: Exported, final: Final, metric: Measure) -> dict[str, Any]:
    own = exported.test_quality
    return {
        "format": exported.format,
        "bytes": exported.bytes,
        f"validation {metric.noun}": exported.quality,
        f"test {metric.noun}": final.test_quality if own is None else own,
        "largest difference of outputs, relative": exported.difference,
        "latency": exported.latency.to_dict(),
        "how to load": exported.how_to_load,
    }
