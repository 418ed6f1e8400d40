"""What is measured of a network, declared once: limits, tables, plots, the model card and the page ask here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from autoprune.base.registry import Registry
from autoprune.errors import UserError, unknown
from autoprune.results import units

FRACTION = {"": 1.0, "%": 0.01}
"""Suffixes of a fraction -> what they are worth."""

_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Form:
    """How the values of a measure are written, read and compared with the dense model's.

    Args:
        write: a value, for people.
        comparison: ``points``: the difference of two fractions, in percentage points; ``ratio``: how many times one
            goes into the other; ``percent``: the difference as a share of the dense model's value.
        suffixes: of a number in a limit -> what they are worth.
        ticks: of an axis, as d3 formats numbers.
    """

    write: Callable[[float], str]
    comparison: Literal["points", "ratio", "percent"]
    suffixes: Mapping[str, float]
    ticks: str = "~s"


FORMS = {
    "percent": Form(units.percent, "points", FRACTION, ".4~p"),
    "count": Form(units.count, "ratio", _SCALE),
    "bytes": Form(units.size, "ratio", _SCALE),
    "milliseconds": Form(units.milliseconds, "ratio", {"": 1.0, "ms": 1.0}),
    "number": Form(units.number, "percent", {"": 1.0}, "~g"),
}
"""How measures are written, by name; the values of ``percent`` are fractions in [0, 1]."""


@dataclass(frozen=True)
class Measure:
    """One thing that is measured.

    Args:
        name: in what trials report, in objectives and in limits.
        noun: in a sentence.
        direction: which way is better.
        form: a name in :data:`FORMS`.
        better: what the better of two values is: ``fewer``, ``faster``.
        worse: what the worse is.
        best: what the network of the best value is called.
        about: what exactly is measured; the noun if empty.
        aliases: other names in limits.
        proportion: whether it is the share of examples that are right, so that an interval of it is known.
        optional: whether it is measured only where a search asks for it.
    """

    name: str
    noun: str
    direction: Literal["maximize", "minimize"]
    form: str
    better: str = "better"
    worse: str = "worse"
    best: str = "best"
    about: str = ""
    aliases: tuple[str, ...] = ()
    proportion: bool = False
    optional: bool = False

    @property
    def title(self) -> str:
        """The noun as a heading."""
        return self.noun[:1].upper() + self.noun[1:]

    @property
    def plural(self) -> str:
        """The noun for several values."""
        return f"{self.noun[:-1]}ies" if self.noun.endswith("y") else f"{self.noun}s"

    @property
    def is_share(self) -> bool:
        """Whether values are fractions in [0, 1]."""
        return self.form == "percent"

    @property
    def ideal(self) -> float | None:
        """The best value that there can be, or None if there is no telling."""
        if self.direction == "minimize":
            return 0.0
        return 1.0 if self.is_share else None

    @property
    def side(self) -> Literal["<", ">"]:
        """On which side of a limit its values must be."""
        return ">" if self.direction == "maximize" else "<"

    @property
    def suffixes(self) -> Mapping[str, float]:
        """Suffixes of a number in a limit -> what they are worth."""
        return FORMS[self.form].suffixes

    @property
    def comparison(self) -> str:
        """How values are compared with the dense model's, see :class:`Form`."""
        return FORMS[self.form].comparison

    @property
    def compared_in(self) -> str:
        """What :meth:`compare` counts, as a heading: ``points``, ``times fewer``, ``percent``."""
        return f"times {self.better}" if self.comparison == "ratio" else self.comparison

    @property
    def ticks(self) -> str:
        """How numbers stand at an axis, as d3 formats them."""
        return FORMS[self.form].ticks

    def write(self, value: float) -> str:
        """Return a value for people: ``98.89 %``, ``1.51 M``."""
        return FORMS[self.form].write(value)

    def cost(self, value: float) -> float:
        """Return a value such that less is better: one to be maximised is negated."""
        return -value if self.direction == "maximize" else value

    def drop(self, value: float, dense: float) -> float:
        """Return how much worse a value is than the dense model's, negative if it is better.

        A difference of fractions, or, of other numbers, a fraction of the dense model's value.
        """
        difference = self.cost(value) - self.cost(dense)
        if self.is_share or not difference:
            return difference
        return difference / abs(dense) if dense else difference * float("inf")

    def after_drop(self, dense: float, drop: float) -> float:
        """Return the value that is worse than the dense model's by ``drop``."""
        amount = drop if self.is_share else drop * abs(dense)
        return dense - amount if self.direction == "maximize" else dense + amount

    def gain(self, value: float, dense: float) -> float:
        """Return how good a value is, for a hypervolume: in [0, 1] for a fraction, otherwise 1 at the dense one's."""
        if self.is_share:
            return value if self.direction == "maximize" else 1 - value
        above, below = (value, dense) if self.direction == "maximize" else (dense, value)
        return above / below if below else 0.0

    def compare(self, value: float, dense: float) -> str:
        """Return a value against the dense model's: ``+0.28`` (points), ``3.9x``, ``-1.4 %``."""
        if self.comparison == "points":
            return units.points(value - dense)
        if self.comparison == "ratio":
            return units.ratio(dense, value)
        return units.change(value, dense)

    def words(self, value: float, dense: float) -> str:
        """Return the same in words: ``+0.28 points``, ``3.9x fewer``, ``the same``."""
        compared = self.compare(value, dense)
        if self.comparison != "ratio":
            return f"{compared} points" if self.comparison == "points" else compared
        if compared in ("1.0x", "-"):
            return "the same" if compared == "1.0x" else ""
        return f"{compared} {self.better}" if value < dense else f"{units.ratio(value, dense)} {self.worse}"

    def difference(self, difference: float) -> str:
        """Return the difference of two values, with its sign: percentage points of fractions."""
        return units.points(difference) if self.is_share else f"{difference:+.3g}"

    def spread(self, values: list[float] | tuple[float, ...]) -> str:
        """Return the mean of values and their standard deviation; of fractions, in percent and without the sign."""
        return units.spread(values) if self.is_share else units.spread_of_numbers(values)

    def to_word(self) -> str:
        """Return how the trial command names it, see :func:`read_metric`."""
        if STANDARD.get(self.name) == self:
            return self.name
        return ":".join([self.name, self.direction, self.form, *(["proportion"] if self.proportion else [])])

    def declaration(self) -> dict[str, Any]:
        """Return what the page draws by, as plain values; texts of values it gets ready-made."""
        names = ("name", "noun", "direction", "side", "comparison", "ticks")
        return {name: getattr(self, name) for name in names}


def Metric(  # noqa: N802  (reads as the kind of thing that it makes)
    name: str,
    direction: Literal["maximize", "minimize"] = "maximize",
    form: str = "number",
    noun: str = "",
    proportion: bool = False,
) -> Measure:
    """Return a measure of a task's own that judges its networks.

    Args:
        name: as ``evaluate`` returns it, and in objectives and limits: letters, digits and underscores.
        direction: which way is better.
        form: a name in :data:`FORMS`; ``percent`` is for fractions in [0, 1], of which a drop is counted in points; of
            other numbers it is a share of the dense model's value.
        noun: in a sentence; the name if empty.
        proportion: whether it is the share of examples that are right, so that Wilson's interval holds.

    Raises:
        UserError: a name, direction or form that cannot be.

    Example:
        >>> Metric("rmse", direction="minimize").drop(3.3, dense=3.0)
        0.09999999999999995
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name in RESERVED:
        raise UserError(f"a metric cannot be called {name!r}: use letters, digits and _, and no other measure's name")
    if direction not in ("maximize", "minimize"):
        raise unknown("direction", direction, ("maximize", "minimize"))
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    return Measure(name, noun or name, direction, form, proportion=proportion)


SIZES = {
    each.name: each
    for each in (
        Measure("params", "parameters", "minimize", "count", "fewer", "more", about="parameters that are not zero"),
        Measure("macs", "MACs", "minimize", "count", "fewer", "more", about="MACs of one example"),
        Measure("bytes", "bytes", "minimize", "bytes", "smaller", "larger", about="weights, zlib-compressed"),
        Measure("latency_ms", "latency", "minimize", "milliseconds", "faster", "slower", aliases=("latency",)),
        Measure(
            "memory",
            "memory",
            "minimize",
            "bytes",
            "less",
            "more",
            about="peak memory of a forward pass",
            optional=True,
        ),
    )
}
"""The measures of size and speed, by name: each better the smaller it is."""

OPTIONAL = {name: each for name, each in SIZES.items() if each.optional}
"""Those of them that a search has only if it asks for them."""

RESERVED = (*SIZES, "drop", "default", "budget", "latency", "loss")
"""Names that a metric of one's own cannot have."""

ACCURACY = Measure("accuracy", "accuracy", "maximize", "percent", best="most accurate", proportion=True)

METRIC = ACCURACY
"""The one that judges a network where nothing else is said; limits on the drop are limits on it."""

METRICS: dict[str, Measure] = {
    each.name: each
    for each in (
        ACCURACY,
        Measure("top5", "top-5 accuracy", "maximize", "percent", proportion=True),
        Measure("F1", "F1", "maximize", "percent"),
        Measure("mIoU", "mIoU", "maximize", "percent"),
        Measure("mAP", "mAP", "maximize", "percent"),
        Measure("perplexity", "perplexity", "minimize", "number"),
        Measure("rmse", "RMSE", "minimize", "number"),
        Measure("mae", "MAE", "minimize", "number"),
        Measure("r2", "R2", "maximize", "number"),
    )
}
"""What can judge a network, by name: these, which :mod:`autoprune.train.metrics` computes, and what tasks declare."""

PACKAGED: Registry[Measure] = Registry("metric", {}, "autoprune.metrics")
"""What other packages declare."""

STANDARD = dict(METRICS)
"""Those that every process knows."""

MEASURES: dict[str, Measure] = METRICS | SIZES
"""All that is declared, by name."""


def declare(metric: Measure) -> Measure:
    """Let this process know a task's own metric by its name, in objectives and limits; return it.

    Another process learns it from the trial command (:meth:`Measure.to_word`).
    """
    METRICS[metric.name] = MEASURES[metric.name] = metric
    return metric


def find_metric(name: str) -> Measure:
    """Return the metric called ``name``: AutoPrune's, one that was declared, or another package's.

    Raises:
        UserError: there is none.
    """
    if name not in METRICS and name in PACKAGED:
        declare(PACKAGED[name])
    if name not in METRICS:
        raise unknown("metric", name, {*METRICS, *PACKAGED})
    return METRICS[name]


def read_metric(word: str) -> Measure:
    """Read what :meth:`Measure.to_word` wrote, and declare it.

    Raises:
        UserError: it is not ``NAME`` of a known metric, or ``NAME:DIRECTION:FORM[:proportion]``.
    """
    name, *rest = word.split(":")
    if not rest:
        return find_metric(name)
    if len(rest) not in (2, 3) or rest[2:] not in ([], ["proportion"]):
        raise UserError(f"--metric {word}: write NAME, or NAME:DIRECTION:FORM such as dice:maximize:percent")
    noun = METRICS[name].noun if name in METRICS else ""
    direction = cast(Literal["maximize", "minimize"], rest[0])  # Metric refuses any other
    return declare(Metric(name, direction, rest[1], noun, proportion=bool(rest[2:])))


def optional_among(names: Iterable[object]) -> tuple[str, ...]:
    """Return those of some names that are measured only where they are asked for, in their own order."""
    asked = set(map(str, names))
    return tuple(name for name in OPTIONAL if name in asked)


def value_of(measures: Mapping[str, float], name: str) -> float:
    """Return one of a network's measures.

    Raises:
        UserError: it was not measured.
    """
    if name not in measures and name in OPTIONAL:
        raise UserError(
            f"{name} was not measured: name it among the search's objectives or constraints, or add --also {name} to "
            "its trial command"
        )
    return measures[name]


def metric_among(names: Iterable[str]) -> Measure:
    """Return the first of some objectives that is no size; :data:`METRIC` if all are."""
    return next((MEASURES[name] for name in names if name in MEASURES and name not in SIZES), METRIC)


def named(name: str) -> Measure | None:
    """Return the measure of a name or an alias, or None."""
    return MEASURES.get(name) or next((each for each in MEASURES.values() if name in each.aliases), None)
