"""A drawing of a network, layer by layer, with what a trial keeps of each: SVG that a page takes as it is."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from autoprune.report.kept import channels, is_sparse, kept
from autoprune.report.svg import BAR, CENTRE, FIXED, KEPT, LANE, LOST, ROW, add, free_lanes
from autoprune.report.wiring import Wiring, draw_wiring, spoken, wiring_of
from autoprune.results.candidate import Candidate
from autoprune.results.experiment import Experiment, Trial
from autoprune.results.network import Layer, Network, network_of_groups

LANES = 4
"""Lines of coupled groups side by side, at most: what does not fit is not joined."""

WIDEST = 76
"""Of the drawing's width, in percent, that the widest bar takes: beside the lines it must fit on a telephone."""

LONGEST_NAME = 30
"""Letters of a name; of a longer one the middle is left out."""


@dataclass(frozen=True)
class Drawing:
    """A network as it is drawn.

    Args:
        title: whose it is.
        words: how to read it.
        svg: the drawing, whose colours are those of the page around it; as wide as there is room.
    """

    title: str
    words: str
    svg: str


@dataclass(frozen=True)
class _Row:
    """One layer as it is drawn.

    Args:
        kept: the fraction of its bar that is filled.
        width: its channels, or ``64 → 23`` where some are gone.
        spoken: the same in words.
        shares: of the network's parameters and MACs.
    """

    layer: Layer
    kept: float
    width: str
    spoken: str
    shares: tuple[str, ...] = ()


def draw_network(experiment: Experiment, trial: Trial | None = None) -> Drawing | None:
    """Draw the dense network, or what a trial keeps of it; None where that is not known.

    A trial of an earlier version wrote no layers down: then the coupled groups stand for them.

    Args:
        trial: one that has a result.
    """
    groups = channels(experiment)
    network = experiment.network or (network_of_groups(groups) if groups else None)
    if network is None or (trial and not trial.record.get("kept")):
        return None
    rows = _rows(network, experiment, trial)
    known = bool(experiment.network)
    title = f"Trial {trial.id}" if trial else "Dense model"
    wiring = wiring_of(network)
    svg = _svg(network, rows, wiring, f"{title}, layer by layer")
    return Drawing(title, _words(network, trial, known, wiring), svg)


def _rows(network: Network, experiment: Experiment, trial: Trial | None) -> list[_Row]:
    if trial and is_sparse(experiment, trial):
        fractions = {name: kept(experiment, trial, name, total)[0] or 0.0 for name, total in network.channels.items()}
        weights = [1 - sum(s * (1 - fractions[name]) for name, s in layer.groups.items()) for layer in network.layers]
        return [
            _Row(layer, share, f"{layer.outputs}, {share:.0%} of weights", f"{share:.0%} of its weights kept")
            for layer, share in zip(network.layers, weights, strict=True)
        ]
    dropped = Candidate.from_parameters(trial.parameters).dropped if trial else ()
    left = network.kept(trial.record["kept"] if trial else {}, dropped)
    params, macs = (sum(sizes) for sizes in list(zip(*left, strict=True))[1:])
    rows = []
    for layer, (outputs, of_params, of_macs) in zip(network.layers, left, strict=True):
        width, spoken = f"{layer.outputs} → {outputs}", f"{outputs} of {layer.outputs} channels kept"
        if outputs == layer.outputs:
            width, spoken = str(outputs), f"{outputs} channels"
        shares = [(of_params, params, "params"), (of_macs, macs, "MACs")]
        said = tuple(f"{part / whole:.1%} {noun}" for part, whole, noun in shares if whole)
        rows.append(_Row(layer, outputs / layer.outputs, width, spoken, said))
    return rows


def _words(network: Network, trial: Trial | None, known: bool, wiring: Wiring | None) -> str:
    what = "layer" if known else "coupled group (this search did not write its layers down)"
    words = [f"A bar for each {what}, in the order in which they run, as wide as it has channels."]
    words += ["The filled part is what is kept."] if trial else []
    if known:
        words += ["A grey bar's channels stay, whatever is pruned. Dotted lines on the left join layers that lose the"]
        words[-1] += " same channels together."
        words += _words_of(wiring) if wiring else []
        words += ["Shares are of this network's parameters and MACs; a layer's norms count for it."]
        cut = [layer.outputs for layer in network.layers if layer.outputs > _scale(network)]
        words += [f"Bars of more than {_scale(network)} channels are cut off."] if cut else []
    return " ".join(words)


def _words_of(wiring: Wiring) -> list[str]:
    words = ["The whole line leads from layer to layer; where it branches, an arrow shows who reads an earlier result,"]
    words[-1] += " or where it is added (+), concatenated (‖) or multiplied (×)."
    return words + ([f"{wiring.left_out} more such lines are left out."] if wiring.left_out else [])


def _scale(network: Network) -> int:
    """Return the channels that take all of the width: of the widest layer that can be pruned, if any can."""
    return max((layer.outputs for layer in network.layers if layer.groups), default=0) or max(
        (layer.outputs for layer in network.layers), default=1
    )


def _svg(network: Network, rows: list[_Row], wiring: Wiring | None, title: str) -> str:
    lanes = _lanes(network)
    coupled = 4 + LANE * (1 + max(lanes.values(), default=-1))
    left, scale = coupled + (wiring.width if wiring else 0), _scale(network)
    root = add(None, "svg", xmlns="http://www.w3.org/2000/svg", width="100%", height=ROW * len(rows), role="list")
    root.set("aria-label", title)
    root.set("font-family", "system-ui, sans-serif")
    root.set("fill", "currentColor")
    for name, lane in lanes.items():
        _draw_lane(root, network, name, 4 + LANE * lane)
    if wiring:
        draw_wiring(root, network, wiring, left)
    for i, row in enumerate(rows):
        item = add(root, "g", role="listitem", transform=f"translate({left} {ROW * i})")
        said = "; ".join([_spoken(row), *spoken(network, i)])
        item.set("aria-label", said)
        add(item, "title").text = said
        heading = add(item, "text", y=15, font_size=13)
        add(heading, "tspan", font_weight=600).text = _elided(row.layer.name)
        add(heading, "tspan", dx=10).text = row.width
        whole = WIDEST * min(1.0, row.layer.outputs / scale)
        color = KEPT if row.layer.groups else FIXED
        bar = {"y": 21, "height": BAR, "rx": 2}
        add(item, "rect", width=f"{whole:.2f}%", stroke=color, stroke_width=1, fill=LOST, fill_opacity=0.35, **bar)
        add(item, "rect", width=f"{whole * row.kept:.2f}%", fill=color, **bar)
        about = [row.layer.kind, ", ".join(row.shares)]
        add(item, "text", y=46, font_size=12, fill=FIXED).text = " · ".join(filter(None, about))
    return ElementTree.tostring(root, encoding="unicode")


def _draw_lane(root: ElementTree.Element, network: Network, name: str, x: int) -> None:
    rows = [i for i, layer in enumerate(network.layers) if name in layer.groups]
    lane = add(root, "g", aria_hidden="true", stroke=FIXED, fill=FIXED)
    joined = ", ".join(network.layers[i].name for i in rows)
    add(lane, "title").text = f"group {name}: {joined}"
    add(
        lane,
        "path",
        d=f"M{x} {ROW * rows[0] + CENTRE}V{ROW * rows[-1] + CENTRE}",
        stroke_width=1.5,
        stroke_dasharray="1 4",
    )
    for i in rows:
        add(lane, "circle", cx=x, cy=ROW * i + CENTRE, r=2.5)


def _lanes(network: Network) -> dict[str, int]:
    """Return a lane for each group of several layers, such that no two in a lane overlap."""
    spans = {}
    for name in network.channels:
        rows = [i for i, layer in enumerate(network.layers) if name in layer.groups]
        if len(rows) > 1:
            spans[name] = (rows[0], rows[-1])
    found = free_lanes(list(spans.values()), LANES)
    return {name: lane for name, lane in zip(spans, found, strict=True) if lane is not None}


def _spoken(row: _Row) -> str:
    together = ", ".join(name for name in row.layer.groups if name != row.layer.name)
    words = [f"{row.layer.name}, {row.layer.kind}", row.spoken, *row.shares]
    return "; ".join([*words, *([f"goes with {together}"] if together else [])])


def _elided(name: str) -> str:
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"
