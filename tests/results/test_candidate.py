import pytest

from autoprune.errors import UserError
from autoprune.results.candidate import Candidate, channels_kept


def test_parameters_survive_the_way_through_nni():
    candidate = Candidate({"conv1": 0.5, "a.b": 0.25}, uniform=0.1, criterion="fpgm", schedule="gradual", baseline="x")
    assert Candidate.from_parameters(candidate.to_parameters()) == candidate
    shallow = Candidate({"conv1": 0.5}, blocks={"layer1.0": 1, "layer2.1": 0})
    assert shallow.to_parameters()["block.layer1.0"] == 1 and shallow.dropped == ("layer1.0",)
    assert Candidate.from_parameters(shallow.to_parameters()) == shallow


def test_parameters_are_flat_because_nni_shows_nested_ones_as_object_object():
    assert all(not isinstance(v, dict | list) for v in Candidate({"conv1": 0.5}).to_parameters().values())


def test_a_group_without_a_sparsity_of_its_own_gets_the_uniform_one():
    candidate = Candidate({"conv1": 0.5}, uniform=0.25)
    assert (candidate.of("conv1"), candidate.of("conv2")) == (0.5, 0.25)


@pytest.mark.parametrize("sparsity", [1, 1.0, -0.1, "0.5", None, True])
def test_a_sparsity_outside_zero_to_one_is_refused(sparsity):
    with pytest.raises(UserError, match=r"in \[0, 1\)"):
        Candidate({"conv1": sparsity})


@pytest.mark.parametrize("value", [2, -1, 0.5, "1", None, True])
def test_a_block_is_in_or_out(value):
    with pytest.raises(UserError, match=r"block layer1.0 is .*: it must be 1 \(dropped\) or 0"):
        Candidate(blocks={"layer1.0": value})


def test_an_unknown_parameter_is_refused():
    with pytest.raises(UserError, match="unknown parameter 'sparsty.conv1'"):
        Candidate.from_parameters({"sparsty.conv1": 0.5})


def test_the_id_goes_by_content():
    assert Candidate({"a": 0.5, "b": 0.25}).id == Candidate({"b": 0.25, "a": 0.5}).id
    assert Candidate({"a": 0.5}).id != Candidate({"a": 0.25}).id


@pytest.mark.parametrize(
    "channels, sparsity, round_to, kept",
    [
        (64, 0.5, 8, 32),
        (64, 0.55, 8, 32),  # 28.8 channels: the nearest multiple of 8
        (64, 0.99, 8, 8),  # never fewer than one multiple
        (20, 0.0, 8, 20),  # a dense group stays whole though 20 is no multiple
        (6, 0.5, 8, 3),  # too small to be rounded
        (6, 0.99, 8, 1),  # never empty
        (64, 0.55, 1, 29),
    ],
)
def test_kept_channels_are_a_multiple_where_the_group_is_large_enough(channels, sparsity, round_to, kept):
    assert channels_kept(channels, sparsity, round_to) == kept
