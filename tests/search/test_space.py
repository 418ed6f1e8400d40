from collections import namedtuple
from dataclasses import dataclass

import pytest
import yaml

from autoprune.base.yaml_file import load_yaml
from autoprune.errors import UserError
from autoprune.results.candidate import channels_kept
from autoprune.search.space import build_space, check_space, space_to_yaml


@dataclass
class Group:
    name: str
    channels: int
    producers: tuple = ("a",)
    consumers: tuple = ("b",)
    params: int = 50
    macs: int = 25
    kind: str = "channels"


Block = namedtuple("Block", "name params macs")
GROUPS = [Group("conv1", 6), Group("layer1.0.conv1", 64), Group("fc", 500)]
BLOCKS = [Block("layer1.0", 20, 50), Block("layer1.1", 20, 50)]
CRITERIA, SCHEDULES = ["l1_norm", "fpgm"], ["one_shot", "gradual"]


def check(space):
    check_space(space, [group.name for group in GROUPS], CRITERIA, SCHEDULES, [block.name for block in BLOCKS])


def test_the_written_space_reads_back_as_it_was_built_and_passes_the_check():
    space = build_space(GROUPS, CRITERIA, SCHEDULES)
    text = space_to_yaml(space, "mine", GROUPS, {"params": 100, "macs": 100})
    assert yaml.safe_load(text) == space
    check(yaml.safe_load(text))
    assert "# 64 channels of a, read by b: 50% of the parameters, 25% of the MACs" in text


def test_blocks_are_listed_with_their_shares_and_pass_the_check():
    space = build_space(GROUPS, CRITERIA, SCHEDULES, BLOCKS)
    text = space_to_yaml(space, "mine", GROUPS, {"params": 100, "macs": 100}, BLOCKS)
    assert yaml.safe_load(text) == space
    check(space)
    assert (
        "# 1 drops this residual block: 20% of the parameters, 50% of the MACs\n"
        "block.layer1.1: {_type: choice, _value: [0, 1]}\n"
    ) in text


@pytest.mark.parametrize("channels", [3, 8, 16, 20, 50, 64, 500, 2048])
def test_every_step_of_a_default_sparsity_but_the_last_keeps_another_number_of_channels(channels):
    low, high, step = build_space([Group("g", channels)], [], [])["sparsity.g"]["_value"]
    kept = [channels_kept(channels, low + i * step) for i in range(round((high - low) / step) + 1)]
    assert 0 <= low < high < 1
    assert kept == sorted(set(kept), reverse=True)


def test_a_hand_edit_that_drops_a_group_and_changes_a_type_passes_the_check():
    check({"criterion": {"_type": "choice", "_value": ["fpgm"]}, "sparsity.fc": {"_type": "choice", "_value": [0.5]}})


@pytest.mark.parametrize(
    "edit, message",
    [
        ({"sparsity.conv2": {"_type": "uniform", "_value": [0, 0.5]}}, "no group 'conv2': it has conv1"),
        ({"sparsity.fc": {"_type": "uniform", "_value": [0, 1]}}, r"reaches 1: a sparsity must lie in \[0, 1\)"),
        ({"sparsity.fc": {"_type": "choice", "_value": [0.5, -0.5]}}, "reaches -0.5"),
        ({"sparsity.fc": {"_type": "normal", "_value": [0, 1]}}, "_type 'normal'"),
        ({"sparsity.fc": [0, 0.5]}, "must be {_type"),
        ({"criterion": {"_type": "choice", "_value": ["l1_nrm"]}}, "unknown criterion 'l1_nrm': use l1_norm"),
        ({"schedule": {"_type": "choice", "_value": ["oneshot"]}}, "unknown schedule 'oneshot': use one_shot"),
        ({"allocation": {"_type": "choice", "_value": ["erks"]}}, "unknown allocation 'erks'"),
        ({"learning_rate": {"_type": "uniform", "_value": [0, 1]}}, "unknown parameter 'learning_rate'"),
        ({"block.layer1.11": {"_type": "choice", "_value": [0, 1]}}, "no residual block 'layer1.11': it has layer1.1"),
        ({"block.layer1.1": {"_type": "choice", "_value": [0, 0.5]}}, "block.layer1.1 must be {_type: choice, _value:"),
        ({"block.layer1.1": {"_type": "uniform", "_value": [0, 1]}}, "block.layer1.1 must be {_type: choice, _value:"),
        ({}, "empty"),
        ({"sparsity.fc": {"_type": "quniform", "_value": []}}, r"takes 3 values, \[lowest, highest, step\], not 0"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5]}}, "takes 3 values"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5, 0.1, 1]}}, "takes 3 values"),
        ({"sparsity.fc": {"_type": "uniform", "_value": [0, 0.5, 0.1]}}, "takes 2 values"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0.5, 0.1, 0.1]}}, "0.5, must be below the highest, 0.1"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5, 0]}}, "the step must be above 0, not 0"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5, -0.1]}}, "the step must be above 0"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5, float("nan")]}}, "takes finite numbers, not nan"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5, 0.6]}}, "0.6, is larger than the range, 0.5"),
        ({"sparsity.fc": {"_type": "quniform", "_value": [0, 0.5, 1e-9]}}, "more than 10,000 values"),
        ({"sparsity.fc": {"_type": "uniform", "_value": [0, float("inf")]}}, "takes finite numbers, not inf"),
        ({"sparsity.fc": {"_type": "uniform", "_value": [False, 0.5]}}, "takes finite numbers, not False"),
        ({"sparsity.fc": {"_type": "loguniform", "_value": [0, 0.5]}}, "must begin above 0"),
        ({"sparsity.fc": {"_type": "uniform", "_value": [0, 0.9999999]}}, "reaches 0.9999999"),
        ({"sparsity.fc": {"_type": "choice", "_value": []}}, "is a choice of nothing"),
        ({"sparsity.fc": {"_type": "choice", "_value": [0.5, 0.5]}}, "offers 0.5 twice"),
        (
            {"sparsity.fc": {"_type": "choice", "_value": [{"_name": "deep"}]}},
            "a choice is of texts and finite numbers",
        ),
        ({"sparsity.fc": {"_type": "quniforn", "_value": [0, 0.5, 0.1]}}, "'quniforn': use quniform"),
        ({"sparsity.fc": {"_type": "uniform", "_value": [0, 0.5], "step": 1}}, "must be {_type: ..., _value:"),
        ({"criterion": {"_type": "choice", "_value": [["l1_norm"]]}}, "a choice is of texts"),
        ({"block.layer1.1": {"_type": "choice", "_value": []}}, "is a choice of nothing"),
        ({"sparsety": {"_type": "uniform", "_value": [0, 0.5]}}, "unknown parameter 'sparsety': did you mean sparsity"),
    ],
)
def test_a_wrong_space_is_refused_in_one_line_that_says_what_is_wrong(edit, message):
    with pytest.raises(UserError, match=message) as caught:
        check(edit)
    assert "\n" not in str(caught.value)


def test_broken_yaml_is_reported_with_line_and_column(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(UserError, match=r"line 3, column 2"):
        load_yaml(file)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match="nowhere.yaml: cannot be read"):
        load_yaml(tmp_path / "nowhere.yaml")
