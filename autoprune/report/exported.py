"""Exported files and latencies as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from autoprune.base.machine import describe
from autoprune.base.tables import Table
from autoprune.finalize.final import Final
from autoprune.measure.bench import Benched
from autoprune.measure.latency import Comparison, Timing
from autoprune.results.measures import SIZES


def on_test(final: Final) -> str:
    """Return how good the chosen network and the dense one are on the test split: ``test RMSE 53.1, dense 50``."""
    metric = final.chosen.metric
    own, dense = (
        "unknown" if each is None else metric.write(each) for each in (final.test_quality, final.dense_test_quality)
    )
    return f"test {metric.noun} {own}, dense {dense}"


def outcome(final: Final) -> list[str]:
    """Return what became of the chosen network on its way home, a line each."""
    metric = final.chosen.metric
    lines = [f"trial {final.chosen.id}, chosen by {final.reason}: {on_test(final)}"]
    if more := final.recovery:
        before, after = metric.write(more.before), metric.write(more.after)
        lines.append(f"validation {metric.noun} {before}, after {more.steps} more steps {after}")
    if final.quantized:
        lines.append(f"eight-bit integers: {final.quantized.method}")
    return lines


def exported_table(final: Final) -> Table:
    """Return what is known of each exported file, a row for each."""
    metric, latency = final.chosen.metric, SIZES["latency_ms"]
    judged = (f"Validation\n{metric.noun}", f"Test\n{metric.noun}")
    one = next(iter(final.exported.values())).latency.pruned
    caption = (
        "each file loaded back in its own runtime; outputs: largest difference, relative\n"
        f"latency: one example, {_threads(one)}, median of {one.runs}, pruned and dense in turn"
    )
    table = Table("File", "Size", *judged, "Outputs\ndiffer by", "Latency", "Dense", "Speed-up", caption=caption)
    for each in final.exported.values():
        test = final.test_quality if each.test_quality is None else each.test_quality
        table.add_row(
            each.file.name,
            SIZES["bytes"].write(each.bytes),
            metric.write(each.quality),
            "" if test is None else metric.write(test),
            "quantised" if each.difference is None else f"{each.difference:.0e}",
            latency.write(each.latency.pruned.median_ms),
            latency.write(each.latency.dense.median_ms),
            f"{each.latency.speedup:.2f}x",
        )
    return table


def latency_table(comparisons: Sequence[Comparison]) -> Table:
    """Return the latency of a pruned and the dense network, a row for each runtime and batch size."""
    one = comparisons[0].pruned
    ran = ", ".join(dict.fromkeys(each.where for each in comparisons if each.where))
    caption = f"milliseconds for the batch; {_threads(one)}, median of {one.runs}, dense and pruned in turn"
    caption += f"; {ran}" if ran else ""
    columns = ("Runtime", "Batch", "Dense", "quartiles", "Pruned", "quartiles", "Speed-up", "quartiles")
    table = Table(*columns, caption=caption)
    for each in comparisons:
        table.add_row(
            each.pruned.runtime,
            str(each.pruned.batch_size),
            *(text for timing in (each.dense, each.pruned) for text in _time(timing)),
            f"{each.speedup:.2f}x",
            f"{each.speedup_low:.2f} to {each.speedup_high:.2f}",
        )
    return table


def bench_table(found: Sequence[Benched]) -> Table:
    """Return the times of files, a row for each file and batch size."""
    here = ", ".join(describe().values())
    caption = f"milliseconds for the batch; {_threads(found[0].timing)}, median of {found[0].timing.runs}\nhere: {here}"
    machines = dict.fromkeys(each.card_machine for each in found if each.card)
    caption += "".join(f"\ncard: {machine}" for machine in machines)
    columns = ["File", "Batch", "Median", "quartiles", *(["Card", "here/card"] if machines else [])]
    table = Table(*columns, wraps=("File",), caption=caption)
    for each in found:
        cells = [str(each.file), str(each.timing.batch_size), *_time(each.timing)]
        if each.card:
            cells += [_time(each.card)[0], f"{each.timing.median_ms / each.card.median_ms:.2f}"]
        table.add_row(*cells, *["-"] * (len(columns) - len(cells)))
    return table


def _time(timing: Timing) -> tuple[str, str]:
    return f"{timing.median_ms:.3g}", f"{timing.low_ms:.3g} to {timing.high_ms:.3g}"


def _threads(timing: Timing) -> str:
    return f"{timing.threads} CPU thread{'s' if timing.threads > 1 else ''}"
