"""Numbers as people read them, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev


def count(value: float) -> str:
    """Return a count to three digits: ``999``, ``54.6 k``, ``1.51 M``."""
    return _scaled(value, ("", "k", "M", "G", "T"))


def size(value: float) -> str:
    """Return bytes to three digits, in powers of 1,000: ``204 kB``."""
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def milliseconds(value: float) -> str:
    """Return a time to three digits: ``12.3 ms`` (two below 1 ms: ``0.22 ms``, ``0.028 ms``)."""
    if value < 0.0995:
        return f"{value:.3f} ms"
    return f"{value:.2f} ms" if value < 1 else f"{_three_digits(value)} ms"


def percent(value: float) -> str:
    """Return a fraction in percent: ``98.89 %``."""
    return f"{100 * value:.2f} %"


def spread(values: Sequence[float]) -> str:
    """Return the mean of fractions and their standard deviation, in percent: ``98.89 ± 0.12``; of one, ``98.89``."""
    mean = f"{100 * fmean(values):.2f}"
    return f"{mean} ± {100 * stdev(values):.2f}" if len(values) > 1 else mean


def spread_of_numbers(values: Sequence[float]) -> str:
    """Return the mean of numbers and their standard deviation: ``0.42 ± 0.01``; of one, ``0.42``."""
    mean = number(fmean(values))
    return f"{mean} ± {stdev(values):.2g}" if len(values) > 1 else mean


def points(difference: float) -> str:
    """Return a difference of two fractions in percentage points, with its sign: ``+0.28``, ``-1.39``, ``0.00``."""
    text = f"{100 * difference:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def number(value: float) -> str:
    """Return a plain number to four digits, more only before the point: ``0.4217``, ``12.35``, ``123456``."""
    return f"{value:.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"


def change(value: float, dense: float) -> str:
    """Return a difference in percent of the dense model's value, with its sign: ``+3.4 %``; a dash where that is 0."""
    if not dense:
        return "-"
    text = f"{100 * (value - dense) / abs(dense):+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def ratio(dense: float, value: float) -> str:
    """Return how many times ``value`` goes into the dense model's: ``3.9x``; a dash where there is no ratio."""
    if not value or not dense:
        return "-"
    times = dense / value
    return f"{times:.1f}x" if times < 9.95 else f"{times:.0f}x"


def duration(seconds: float) -> str:
    """Return a duration: ``42 s``, ``1 min 52 s``, ``2 h 05 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            break
        value /= 1000
    text = f"{value:.0f}" if unit == units[0] else _three_digits(value)
    return f"{text} {unit}".rstrip()


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
