"""What zeros save: every bit comes back, files get smaller, and 2:4 is converted or the reason given."""

import pytest
import torch
from torch import nn

from autoprune.errors import UserError
from autoprune.measure import measure
from autoprune.measure.packing import is_n_m, pack, sparse_size, to_semi_structured, unpack


def mostly_zero(size, fraction, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(size, generator=generator)
    return tensor.masked_fill(torch.rand(size, generator=generator) < fraction, 0.0).to(dtype)


def test_every_bit_comes_back():
    state = {
        "dense": torch.randn(7, 3, 3, 3),
        "sparse": mostly_zero((33, 5), 0.9),
        "half": mostly_zero((9, 4), 0.5, torch.float16),
        "brain": mostly_zero((9, 4), 0.5, torch.bfloat16),
        "double": mostly_zero((3, 3), 0.5, torch.float64),
        "odd": torch.tensor([float("nan"), -0.0, 0.0, float("inf"), 1e-45, 0, 0, 0, 0]),
        "count": torch.tensor(12345),
        "flags": torch.tensor([True, False, False]),
        "zeros": torch.zeros(100),
        "empty": torch.zeros(0, 4),
        "strided": mostly_zero((6, 8), 0.5).t(),
    }
    back = unpack(pack(state))
    assert list(back) == list(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape
        assert back[name].numpy().tobytes() == tensor.numpy().tobytes() if name != "brain" else True
        assert torch.equal(back[name].nan_to_num(), tensor.nan_to_num())
    assert torch.signbit(back["odd"][1])


def test_the_same_weights_give_the_same_bytes():
    assert pack({"w": mostly_zero((50, 50), 0.7)}) == pack({"w": mostly_zero((50, 50), 0.7)})


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.9, 0.99])
def test_a_packed_file_is_near_what_its_non_zeros_need(fraction):
    state = {"w": mostly_zero((300, 300), fraction)}
    least = int(state["w"].count_nonzero()) * 4 + 90_000 / 8
    assert len(pack(state)) < 0.97 * least + 100


def test_a_file_of_something_else_is_refused():
    for content in (b"", b"hello", pack({"w": torch.ones(3)})[:-20]):
        with pytest.raises(UserError, match="no packed state dict"):
            unpack(content)


def test_sizes_of_a_sparse_network():
    model = nn.Linear(200, 100, bias=False)
    dense = sparse_size(model)
    model.weight = nn.Parameter(mostly_zero((100, 200), 0.95))
    sparse = sparse_size(model)
    assert dense.weights == dense.non_zeros == sparse.weights == 20_000
    assert sparse.non_zeros == int(model.weight.count_nonzero()) < 1_200
    assert 25 < dense.bits_per_weight < 31 and 1 < sparse.bits_per_weight < 3
    assert sparse.bits_per_weight == 8 * sparse.bytes / 20_000
    assert measure.compressed_bytes(model) == sparse.bytes


def test_the_pattern_is_recognised():
    assert is_n_m(torch.tensor([[1.0, 0, 2, 0, 0, 0, 3, 4]]))
    assert not is_n_m(torch.tensor([[1.0, 0, 2, 3, 0, 0, 3, 4]]))
    assert not is_n_m(torch.tensor([[1.0, 0, 2]]))
    convolution = torch.zeros(2, 4, 3, 3)
    convolution[:, :2] = 1
    assert is_n_m(convolution)


def two_of_four(rows=64, columns=64):
    pattern = torch.tensor([1.0, 0, 0, 1]).repeat(columns // 4)
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(columns, rows), nn.Linear(rows, 10))
    with torch.no_grad():
        model[2].weight.mul_(pattern)
        model[0].weight.mul_(torch.tensor([1.0, 0, 0, 1]).view(1, 4, 1, 1))
    return model


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU converts")
def test_a_machine_that_cannot_convert_says_so():
    model = two_of_four()
    weight = model[2].weight
    converted, left = to_semi_structured(model)
    assert converted == [] and set(left) == {"0", "2"}
    assert (
        left["2"] == "this machine has no CUDA GPU: 2:4 tensors need an NVIDIA GPU of compute capability 8.0 or higher"
    )
    assert "this is a Conv2d" in left["0"]
    assert model[2].weight is weight


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_machine_that_can_converts_and_computes_the_same():
    model = two_of_four()[2].half().cuda()
    x = torch.randn(64, 64, dtype=torch.float16, device="cuda")
    with torch.no_grad():
        before = model(x)
        assert to_semi_structured(model) == ([""], {})
        assert torch.allclose(model(x), before, atol=1e-2)
