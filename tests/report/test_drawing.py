"""A network as it is drawn: what is kept of each layer, in words and in bars."""

import json
from xml.etree import ElementTree

import pytest

from autoprune.report.drawing import LANES, draw_network
from autoprune.report.wiring import LANES as FLOW_LANES
from autoprune.results.network import FILE, Edge, Layer, Network, read_network
from autoprune.results.size_model import Term


def rows_of(drawing):
    return ElementTree.fromstring(drawing.svg).findall("{*}g[@role='listitem']")


def bars_of(row):
    return [float(bar.get("width").rstrip("%")) for bar in row.findall("{*}rect")]


@pytest.fixture
def layers(maker):
    """A search whose dense model's trial wrote its layers down: a stem, two layers of one group, a head."""
    trial = maker.prepare()
    network = Network(
        (
            Layer("stem.0", "Conv2d 3x3", 1, 32, {"stem.0": 1.0}, (Term(100.0, 1000.0, ({"stem.0": 1.0},)),)),
            Layer("down.0", "Conv2d 3x3", 32, 64, {"down.0": 1.0}, (Term(200.0, 2000.0, ({"stem.0": 1.0},)),)),
            Layer("side<b>", "Conv2d 1x1", 32, 64, {"down.0": 1.0}, (Term(100.0, 1000.0, ()),)),
            Layer("head", "Linear", 64, 200, {}, (Term(100.0, 0.0, ({"down.0": 1.0},)),)),
        ),
        {"stem.0": 32, "block.0.0": 32, "down.0": 64, "hidden": 64},
    )
    (trial.folder / FILE).write_text(json.dumps(network.to_dict()))
    return maker


def test_the_dense_network_is_whole_and_its_shares_add_up(layers):
    drawing = draw_network(layers.experiment())
    rows = rows_of(drawing)
    assert drawing.title == "Dense model"
    assert [row.get("aria-label").split(",")[0] for row in rows] == ["stem.0", "down.0", "side<b>", "head"]
    assert all(whole == kept for whole, kept in map(bars_of, rows))
    assert "20.0% params; 25.0% MACs" in rows[0].get("aria-label")
    assert bars_of(rows[0])[0] == pytest.approx(bars_of(rows[1])[0] / 2, abs=0.01)  # as wide as its channels
    assert "more than 64 channels are cut off" in drawing.words  # the head cannot be pruned, and is wider
    assert "goes with down.0" in rows[2].get("aria-label")


def test_what_a_trial_keeps_is_filled_and_said(layers):
    trial = layers.add(0.98, 0.25)  # half of each group
    rows = rows_of(draw_network(layers.experiment(), trial))
    for row in rows[:3]:
        whole, kept = bars_of(row)
        assert kept == pytest.approx(whole / 2, abs=0.01)
    assert "16 of 32 channels kept" in rows[0].get("aria-label")
    assert "32 → 16" in "".join(rows[0].itertext())
    assert "200 channels" in rows[3].get("aria-label")


def test_layers_that_lose_the_same_channels_are_joined_by_a_line(layers):
    svg = ElementTree.fromstring(draw_network(layers.experiment()).svg)
    (lane,) = svg.findall("{*}g[@aria-hidden='true']")
    assert lane.find("{*}title").text == "group down.0: down.0, side<b>"
    assert len(lane.findall("{*}circle")) == 2


def test_a_trial_that_set_single_weights_to_zero_says_how_many_are_left(layers):
    trial = layers.add(0.98, 0.25, criterion="level", macs_share=1)
    first = rows_of(draw_network(layers.experiment(), trial))[0]
    assert "50% of its weights kept" in first.get("aria-label")
    assert bars_of(first)[1] == pytest.approx(bars_of(first)[0] / 2, abs=0.01)


def test_a_dropped_block_is_empty(layers):
    trial = layers.add(0.98, 1, **{"block.down": 1})
    assert bars_of(rows_of(draw_network(layers.experiment(), trial))[1])[1] == 0


def test_groups_stand_for_the_layers_of_an_earlier_versions_search(maker):
    trial = maker.add(0.98, 0.25)
    drawing = draw_network(maker.experiment(), trial)
    assert len(rows_of(drawing)) == 4
    assert "did not write its layers down" in drawing.words


def test_nothing_is_drawn_of_what_is_not_known(dense_unknown, maker):
    assert draw_network(dense_unknown) is None
    trial = maker.add(0.98, 0.25)
    (trial.folder / "result.json").unlink()
    assert draw_network(maker.experiment(), trial) is None


def test_two_hundred_layers_in_many_groups_are_drawn_beside_few_lines(maker):
    trial = maker.prepare()
    channels = {f"group{i}": 64 for i in range(50)}
    drawn = [Layer(f"{'deep.' * 9}layer{i}", "Conv2d 3x3", 64, 64, {f"group{i % 50}": 1.0}) for i in range(200)]
    (trial.folder / FILE).write_text(json.dumps(Network(tuple(drawn), channels).to_dict()))
    svg = ElementTree.fromstring(draw_network(maker.experiment()).svg)
    rows = svg.findall("{*}g[@role='listitem']")
    assert len(rows) == 200
    assert len(svg.findall("{*}g[@aria-hidden='true']")) == LANES
    assert all(len(row.find("{*}text/{*}tspan").text) <= 34 for row in rows)
    assert float(rows[0].get("transform").split("(")[1].split()[0]) < 60  # of 340 pixels on a telephone


def wired(maker, edges, layers=4):
    """Return the drawing of a network of layers that feed one another so."""
    trial = maker.prepare()
    drawn = tuple(Layer(f"layer{i}", "Linear", 8, 8, {"one": 1.0}) for i in range(layers))
    network = Network(drawn, {"one": 8}, tuple(Edge(*edge) for edge in edges))
    (trial.folder / FILE).write_text(json.dumps(network.to_dict()))
    assert read_network(trial.folder) == network
    return draw_network(maker.experiment())


CHAIN = [(0, 1, "read"), (1, 2, "read"), (2, 3, "read")]


@pytest.mark.parametrize(
    ("edge", "sign", "said"),
    [
        ((0, 2, "added"), "+", "layer0 added to it"),
        ((0, 2, "concatenated"), "‖", "layer0 concatenated with it"),
        ((0, 2, "multiplied"), "×", "layer0 multiplied with it"),
        ((0, 2, "read"), None, "reads layer0"),
    ],
)
def test_what_skips_layers_is_drawn_and_said(maker, edge, sign, said):
    drawing = wired(maker, [*CHAIN, edge])
    svg = ElementTree.fromstring(drawing.svg)
    flow = svg.findall("{*}g[@aria-hidden='true']")[-1]
    assert [text.text for text in flow.findall("{*}text")] == ([sign] if sign else [])
    (line,) = flow.findall("{*}g")
    assert line.find("{*}title").text == f"{edge[2]}: layer0, layer2"
    assert [said in row.get("aria-label") for row in rows_of(drawing)] == [False, False, True, False]
    straight = [path.get("d") for path in flow.findall("{*}path") if "V" in path.get("d")]
    assert len(straight) == 3
    assert "an arrow shows who reads an earlier result" in drawing.words


def test_of_many_lines_side_by_side_some_are_left_out_and_it_is_said(maker):
    edges = [*((i, i + 1, "read") for i in range(99)), *((i, 99 - i, "added") for i in range(40))]
    drawing = wired(maker, edges, layers=100)
    flow = ElementTree.fromstring(drawing.svg).findall("{*}g[@aria-hidden='true']")[-1]
    assert len(flow.findall("{*}g")) == FLOW_LANES
    assert f"{40 - FLOW_LANES} more such lines are left out" in drawing.words
    assert float(rows_of(drawing)[0].get("transform").split("(")[1].split()[0]) < 80  # of 340 pixels on a telephone


def test_a_network_with_an_edge_to_no_layer_is_none(maker):
    trial = maker.prepare()
    layer = Layer("one", "Linear", 8, 8, {}, ())
    (trial.folder / FILE).write_text(json.dumps(Network((layer,), {}, (Edge(0, 1, "read"),)).to_dict()))
    assert read_network(trial.folder) is None
