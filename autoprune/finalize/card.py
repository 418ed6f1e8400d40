"""The model card: what a reader of an exported model should know, as JSON and as Markdown."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.stats import binomtest

from autoprune.base.files import write_text
from autoprune.results import units

if TYPE_CHECKING:
    from autoprune.export import Exported
    from autoprune.finalize.final import Final
    from autoprune.results.experiment import Experiment

PACKAGES = ("torch", "torch-pruning", "nni", "optuna", "onnx", "onnxruntime")


def wilson(accuracy: float, examples: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of an accuracy measured on so many examples."""
    interval = binomtest(round(accuracy * examples), examples).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def model_card(experiment: Experiment, final: Final) -> dict[str, Any]:
    """Return the card: from which search, how good, how large, how fast, how to load."""
    trial = final.chosen
    card: dict[str, Any] = {
        "task": experiment.settings.task,
        "experiment": experiment.id,
        "trial": trial.id,
        "chosen by": final.reason,
        "chosen from": f"{len(experiment.candidates)} candidates, {len(experiment.front())} of them on the front",
        "objectives": list(experiment.objectives),
        "parameters": trial.parameters,
        "channels kept": trial.record.get("kept", {}),
        "test accuracy": _test_accuracy(final),
        "validation": trial.measures,
        "dense validation": experiment.dense,
        "files": {each.file.name: _file(each, final) for each in final.exported.values()},
        "seed": experiment.settings.seed,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if final.recovery:
        card["further recovery"] = {
            "steps": final.recovery.steps,
            "validation accuracy before": final.recovery.before,
            "validation accuracy after": final.recovery.after,
            "kept": final.recovery.kept,
        }
    if final.quantized:
        tried = final.quantized.tried
        card["quantised"] = {"method": final.quantized.method, "validation accuracy by method": tried}
    return card


def write_card(card: dict[str, Any], stem: Path) -> tuple[Path, Path]:
    """Write a card to ``STEM_card.json`` and ``STEM_card.md`` and return both."""
    data, text = (stem.with_name(f"{stem.name}_card.{suffix}") for suffix in ("json", "md"))
    write_text(data, json.dumps(card, indent=2) + "\n")
    write_text(text, to_markdown(card))
    return data, text


def to_markdown(card: dict[str, Any]) -> str:
    """Return a card as Markdown."""
    dense, own, test = card["dense validation"] or {}, card["validation"], card["test accuracy"]
    lines = [
        f"# {card['task']}, pruned",
        "",
        f"Trial {card['trial']} of experiment {card['experiment']}, chosen by `{card['chosen by']}` from "
        f"{card['chosen from']}.",
        "",
        "| | pruned | dense |",
        "|---|---|---|",
        f"| accuracy on {test['examples']} test examples (95 % interval) | {_interval(test, 'pruned')} "
        f"| {_interval(test, 'dense')} |",
    ]
    rows = (("validation accuracy", "accuracy", units.percent), ("parameters that are not zero", "params", units.count))
    rows += (("MACs of one example", "macs", units.count), ("weights, zlib-compressed", "bytes", units.size))
    for title, name, write in rows:
        if name in dense:
            lines.append(f"| {title} | {write(own[name])} | {write(dense[name])} |")
    if "further recovery" in card:
        more = card["further recovery"]
        lines += [
            "",
            f"It was fine-tuned for {more['steps']} more steps before the export: validation accuracy "
            f"{units.percent(more['validation accuracy before'])} before, "
            f"{units.percent(more['validation accuracy after'])} after"
            f"{'' if more['kept'] else '; the model before was the better one and is the one exported'}.",
        ]
    if "quantised" in card:
        tried = card["quantised"]["validation accuracy by method"]
        figures = "; ".join(f"{method}: {units.percent(accuracy)}" for method, accuracy in tried.items())
        lines += ["", f"Eight-bit integers ({card['quantised']['method']}). Validation accuracy: {figures}."]
    lines += ["", "## Files", ""]
    lines += ["| file | size | validation accuracy | test accuracy | latency | dense | speed-up |", "|" + "---|" * 7]
    for name, file in card["files"].items():
        pruned, before = file["latency"]["pruned"], file["latency"]["dense"]
        lines.append(
            f"| {name} | {units.size(file['bytes'])} | {units.percent(file['validation accuracy'])} "
            f"| {units.percent(file['test accuracy'])} | {units.milliseconds(pruned['median_ms'])} "
            f"| {units.milliseconds(before['median_ms'])} | {file['latency']['speedup']:.2f}x |"
        )
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
    kept = ", ".join(f"{name} {count}" for name, count in card["channels kept"].items())
    versions = ", ".join(f"{name} {number}" for name, number in card["versions"].items())
    lines += ["", "## Where it comes from", "", f"- parameters: `{json.dumps(card['parameters'])}`"]
    lines += [f"- channels kept: {kept}"] if kept else []
    lines += [f"- seed {card['seed']}; {versions}", f"- written {card['written']}", ""]
    return "\n".join(lines)


def _test_accuracy(final: Final) -> dict[str, Any]:
    return {
        "pruned": final.test_accuracy,
        "dense": final.dense_test_accuracy,
        "pruned 95 % interval": wilson(final.test_accuracy, final.test_examples),
        "dense 95 % interval": wilson(final.dense_test_accuracy, final.test_examples),
        "interval": "Wilson",
        "examples": final.test_examples,
    }


def _interval(test: dict[str, Any], which: str) -> str:
    low, high = test[f"{which} 95 % interval"]
    return f"{units.percent(test[which])} ({100 * low:.1f} to {100 * high:.1f})"


def _file(exported: Exported, final: Final) -> dict[str, Any]:
    own = exported.test_accuracy
    return {
        "format": exported.format,
        "bytes": exported.bytes,
        "validation accuracy": exported.accuracy,
        "test accuracy": final.test_accuracy if own is None else own,
        "largest difference of outputs, relative": exported.difference,
        "latency": exported.latency.to_dict(),
        "how to load": exported.how_to_load,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
