"""Latency: timed in turn, in the runtime named; what the machine does meanwhile cancels out of the speed-up."""

import json
import sys
import time
from contextlib import nullcontext

import onnxruntime
import pytest
import torch
from torch import nn

from autoprune import cli
from autoprune.base import device as base
from autoprune.errors import UserError
from autoprune.measure import latency, onnx
from autoprune.prune.dense import Dense
from autoprune.trial import reference_latency

SMALL = nn.Sequential(nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, 10))
LARGE = nn.Sequential(nn.Linear(256, 4096), nn.ReLU(), nn.Linear(4096, 10))
ONE = torch.zeros(1, 256)


class Clock:
    """A clock that networks move on: a machine whose speed changes from turn to turn."""

    def __init__(self, monkeypatch):
        self.now, self.calls = 0.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def network(self, name, milliseconds):
        def one_pass():
            self.calls.append(name)
            slowness = 1 + (len(self.calls) - 1) // 4 % 7  # every turn of two networks, each run twice, has its own
            self.now += milliseconds * slowness / 1000

        return one_pass


class Taking(nn.Module):
    """A network whose pass takes so many milliseconds by the clock."""

    def __init__(self, clock, milliseconds, seen=None):
        super().__init__()
        self.told = clock.network("", milliseconds), [] if seen is None else seen

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        one_pass, seen = self.told
        one_pass()
        seen.append(len(x))
        return x


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_networks_are_timed_in_turn_after_a_warm_up(clock):
    times = latency.time_in_turn([clock.network("dense", 2), clock.network("pruned", 1)], runs=3, warmup=2)
    assert [len(record) for record in times] == [3, 3]
    assert clock.calls == ["dense", "dense", "pruned", "pruned"] * 5


def test_a_machine_that_slows_down_and_speeds_up_does_not_move_the_speed_up(clock):
    passes = clock.network("dense", 3), clock.network("pruned", 1)
    found = latency.compare_passes(*passes, ("eager", 1, 1), runs=40, warmup=3)
    assert found.dense.high_ms > 1.5 * found.dense.low_ms
    assert found.speedup == pytest.approx(3)
    assert found.speedup_low == pytest.approx(3)


@pytest.mark.parametrize(
    "runtime", ["eager", "onnxruntime", "openvino", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_a_much_smaller_network_is_faster_in_every_runtime(runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    found = latency.compare(LARGE, SMALL, ONE, runtime, batch_size=8, runs=15, warmup=3)
    assert found.speedup > 2
    assert found.pruned.low_ms <= found.pruned.median_ms <= found.pruned.high_ms
    assert (found.pruned.runtime, found.pruned.batch_size, found.pruned.threads) == (runtime, 8, 1)


def test_passes_are_of_as_many_examples_as_are_asked_for(clock):
    seen = []
    network = Taking(clock, 1, seen)
    latency.compare(network, network, ONE, "eager", 256, runs=3)
    assert set(seen) == {256}


def test_threads_are_as_asked_while_timing_and_as_before_afterwards():
    before = torch.get_num_threads()
    with latency.pinned(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("tensorrt", 1, 1), "unknown runtime 'tensorrt': use eager, compile, onnxruntime"),
        (("eager", 0, 1), "batch size must be at least 1, not 0"),
        (("eager", 1, 0), "threads must be at least 1, not 0"),
        (("eager", 1, 999_999), "threads must be at most"),
    ],
)
def test_a_wrong_way_to_measure_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        latency.check(*arguments)


def test_what_disturbs_a_few_passes_does_not_move_what_a_search_compares(clock):
    passes = [clock.network("dense", 3), clock.network("pruned", 1)]

    def disturbed():
        passes[0]()
        clock.now += 0.05 if len(clock.calls) % 3 else 0

    found = latency.compare_passes(disturbed, passes[1], ("eager", 1, 1), runs=40, warmup=3)
    assert found.speedup > 6
    assert found.speedup_fastest == pytest.approx(3)


def test_trials_measure_beside_one_reference(clock, private_cache):
    """The dense latency is measured once; a network that takes a quarter of it gets a quarter, however slow the day."""
    dense = Dense(Taking(clock, 4), None, {}, "takes four", ())
    pruned, reference = reference_latency.beside_reference(dense, Taking(clock, 1), ONE, "eager", 1)
    assert pruned == pytest.approx(reference / 4)
    slower = Dense(Taking(clock, 12), None, {}, "takes four", ())
    again = reference_latency.beside_reference(slower, Taking(clock, 3), ONE, "eager", 1)
    assert again == pytest.approx((pruned, reference))


def test_the_command_prints_and_writes_every_combination(digits_search, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("autoprune.nni.database.find_experiment", lambda id_: digits_search.folder)
    monkeypatch.setattr("autoprune.nni.database.load_experiment", lambda folder: digits_search)
    file = tmp_path / "latency.json"
    words = "latency ID --choose knee --runtime eager,onnxruntime --batch-sizes 1,4 --runs 5 -o"
    monkeypatch.setattr(sys, "argv", ["autoprune", *words.split(), str(file)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    printed = capsys.readouterr().out
    found = json.loads(file.read_text())
    combinations = [(each["pruned"]["runtime"], each["pruned"]["batch_size"]) for each in found]
    assert combinations == [("eager", 1), ("eager", 4), ("onnxruntime", 1), ("onnxruntime", 4)]
    assert all(f"{each['speedup']:.2f}x" in printed for each in found)


DEVICE = torch.device("cuda", 1)


@pytest.fixture
def device(monkeypatch):
    """A device that is not there, with its events: what is asked of it is written down."""
    told = []

    class Event:
        def __init__(self, where, enable_timing):
            assert (where, enable_timing) == (DEVICE, True)

        def record(self):
            told.append("event")

        def synchronize(self):
            told.append("wait")

        def elapsed_time(self, end):
            return 7.0

    base.has_events.cache_clear()
    monkeypatch.setattr(torch, "Event", Event)
    monkeypatch.setattr(torch.accelerator, "device_index", lambda index: nullcontext(told.append(index)))
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda where: told.append("all done"))
    yield told
    base.has_events.cache_clear()


def test_a_device_times_by_its_own_events(device):
    assert base.has_events(DEVICE)
    device.clear()
    one_pass = latency._OnDevice(lambda: device.append("pass"), DEVICE)
    assert latency.time_in_turn([one_pass], runs=1, warmup=0) == [[7.0]]
    assert device == ["pass", "all done", 1, "event", "pass", "event", "wait"]


def test_one_without_events_is_timed_by_the_clock_until_it_has_done_all(device, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("cuda backend doesn't support events.")

    monkeypatch.setattr(torch, "Event", refused)
    assert not base.has_events(DEVICE)
    device.clear()
    one_pass = latency._OnDevice(lambda: device.append("pass"), DEVICE)
    ((took,),) = latency.time_in_turn([one_pass], runs=1, warmup=0)
    assert took != 7.0 and device == ["pass", "all done", "pass", "all done"]


def test_onnx_runtime_runs_on_the_device_where_it_has_a_provider(monkeypatch):
    cpu = torch.device("cpu")
    assert onnx.provider(cpu) == onnx.provider(torch.device("mps")) == "CPUExecutionProvider"
    assert latency.where("onnxruntime", cpu) == "ONNX Runtime, CPUExecutionProvider"
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    assert onnx.provider(DEVICE) == "CUDAExecutionProvider" and onnx.provider(cpu) == "CPUExecutionProvider"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The small network's ONNX file."""
    file = tmp_path_factory.mktemp("onnx") / "small.onnx"
    onnx.write(SMALL, ONE, file)
    return file


def test_one_that_does_not_start_is_said_in_one_line(monkeypatch, small):
    monkeypatch.setattr(onnx, "provider", lambda device: "CUDAExecutionProvider")
    with pytest.warns(UserWarning), pytest.raises(UserError, match="cannot start its CUDAExecutionProvider"):
        onnx.session(small, device=DEVICE)


def test_inputs_and_outputs_that_lie_on_a_device_give_the_same(small):
    session = onnx.session(small)
    inputs = torch.randn(3, 256)
    (there,) = onnx.bound(session, onnx.feed(session, inputs), "cpu")()
    (here,) = onnx.one_pass(session, inputs)()
    assert (there.numpy() == here).all()


def test_a_comparison_says_where_it_was_measured():
    found = latency.compare(SMALL, SMALL, ONE, runs=1, warmup=0)
    assert found.where == "PyTorch (eager) on the CPU"
