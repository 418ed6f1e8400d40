"""The latency of model files as they are, whoever made them: what a card says can be measured anew elsewhere."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoprune.base.files import read_object
from autoprune.base.machine import describe, versions
from autoprune.base.packages import require
from autoprune.base.quiet import quiet
from autoprune.base.tree import call, map_tensors
from autoprune.errors import UserError, in_a_line
from autoprune.measure import latency, onnx, openvino
from autoprune.measure.latency import Timing
from autoprune.measure.runtimes import Pass

TYPES: dict[str, Any] = {
    "float": np.float32,
    "float16": np.float16,
    "double": np.float64,
    "int64": np.int64,
    "int32": np.int32,
}
TYPES |= {"int8": np.int8, "uint8": np.uint8, "bool": np.bool_}
"""Element types of ONNX's inputs."""


@dataclass(frozen=True)
class Kind:
    """A kind of model file.

    Args:
        runtime: what its times are called.
        make_pass: ``make_pass(file, batch_size, threads, shape)`` returns a forward pass over inputs of its own.
        beside: the ending of a file that belongs to it, if there is one.
    """

    runtime: str
    make_pass: Callable[[Path, int, int, Sequence[int] | None], Pass]
    beside: str = ""


@dataclass(frozen=True)
class Benched:
    """A file's time.

    Args:
        file: it.
        sha256: of its content; of OpenVINO's two files, the one after the other.
        timing: of one pass here.
        card: of one pass as the card beside the file has it, measured in the same way; None if there is none.
        card_machine: where the card's time was taken.
    """

    file: Path
    sha256: str
    timing: Timing
    card: Timing | None = None
    card_machine: str = ""


def bench(
    files: Sequence[Path],
    batch_sizes: Sequence[int] = (1,),
    threads: int = 1,
    runs: int = 100,
    shape: Sequence[int] | None = None,
) -> list[Benched]:
    """Time files in turn, in their own runtimes.

    Args:
        files: ``.onnx`` files for ONNX Runtime, ``.pt2`` files for PyTorch, ``.xml`` files for OpenVINO.
        shape: of one example, ``(1, ...)``, where a file leaves more open than the batch.

    Raises:
        UserError: a file that is not there or is none of these, or does not run at a batch size.
    """
    found = []
    for size in batch_sizes:
        latency.check("eager", size, threads)
    for file in files:
        if file.suffix not in KINDS:
            raise UserError(f"{file}: is neither an .onnx nor a .pt2 file, nor an .xml of OpenVINO's")
        if not file.is_file():
            raise UserError(f"{file}: there is no such file")
    with latency.pinned(threads):
        for size in batch_sizes:
            passes = [_checked_pass(file, size, threads, shape) for file in files]
            for file, times in zip(files, latency.time_in_turn(passes, runs), strict=True):
                timing = latency.timing(times, (KINDS[file.suffix].runtime, size, threads))
                found.append(Benched(file, _digest(file), timing, *_of_card(file, timing)))
    return found


def to_dict(found: Sequence[Benched], shape: Sequence[int] | None = None) -> dict[str, Any]:
    """Return what was measured, on which machine, with which versions, and the command that repeats it."""
    first = found[0].timing
    files = list(dict.fromkeys(str(each.file) for each in found))
    sizes = ",".join(dict.fromkeys(str(each.timing.batch_size) for each in found))
    words = ["autoprune", "bench", *files, "--batch-sizes", sizes, "--threads", str(first.threads)]
    words += ["--runs", str(first.runs), *(["--shape", ",".join(map(str, shape))] if shape else [])]
    return {
        "machine": describe(),
        "versions": versions(["openvino"] if any(each.timing.runtime == "openvino" for each in found) else ()),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "repeat with": shlex.join(words),
        "files": [asdict(each) | {"file": str(each.file)} for each in found],
    }


def _digest(file: Path) -> str:
    content, beside = file.read_bytes(), KINDS[file.suffix].beside
    return hashlib.sha256(content + (file.with_suffix(beside).read_bytes() if beside else b"")).hexdigest()


def _checked_pass(file: Path, size: int, threads: int, shape: Sequence[int] | None) -> Pass:
    """Return a forward pass of a file, which was tried once."""
    try:
        one_pass = KINDS[file.suffix].make_pass(file, size, threads, shape)
        with torch.no_grad():
            one_pass()
    except UserError:
        raise
    except Exception as error:  # a runtime's own, whatever they are
        raise UserError(f"{file}: cannot be run on a batch of {size}: {in_a_line(error)}") from None
    return one_pass


def _of_onnx(file: Path, size: int, threads: int, shape: Sequence[int] | None) -> Pass:
    session, random = onnx.session(file, threads), np.random.default_rng(0)
    feed = {}
    for each in session.get_inputs():
        kind = TYPES.get(each.type.removeprefix("tensor(").removesuffix(")"))
        if kind is None:
            raise UserError(f"{file}: {each.name} is of type {each.type}, for which there are no numbers here")
        feed[each.name] = _numbers(random, kind, _whole_shape(file, each.name, each.shape, size, shape))
    return lambda: session.run(None, feed)


def _of_openvino(file: Path, size: int, threads: int, shape: Sequence[int] | None) -> Pass:
    require("openvino", "openvino", str(file))
    network, random = openvino.compiled(file, threads), np.random.default_rng(0)
    feed = {}
    for each in network.inputs:
        known = [length.get_length() if length.is_static else "?" for length in each.partial_shape]
        whole = _whole_shape(file, each.any_name, known, size, shape)
        feed[each.any_name] = _numbers(random, each.element_type.to_dtype(), whole)
    return openvino.one_pass(network, feed)


def _whole_shape(file: Path, name: str, known: Sequence[Any], size: int, shape: Sequence[int] | None) -> list[int]:
    """Return the shape of a batch of ``size`` for an input; ``known`` has numbers where the file fixes a length."""
    given = list(shape) if shape else [1, *known[1:]]
    if not all(isinstance(length, int) for length in given):
        raise UserError(f"{file}: {name} has the shape {list(known)}: give one example's, --shape 1,3,32,32")
    batch = known[0] if known and isinstance(known[0], int) else size
    if batch != size:
        raise UserError(f"{file}: takes batches of {batch} only: --batch-sizes {batch}")
    return [size, *given[1:]]


def _numbers(random: np.random.Generator, kind: Any, shape: Sequence[int]) -> np.ndarray:
    values = random.standard_normal(shape) if np.issubdtype(kind, np.floating) else 0
    return np.broadcast_to(np.asarray(values), shape).astype(kind)


def _of_pt2(file: Path, size: int, threads: int, shape: Sequence[int] | None) -> Pass:
    with quiet():
        program = torch.export.load(file)
    if program.example_inputs is None:
        raise UserError(f"{file}: holds no example of its inputs: torch.export.save writes one along")
    positional, named = program.example_inputs
    model = program.module()
    inputs = map_tensors(lambda t: t[:1].repeat(size, *[1] * (t.ndim - 1)) if t.ndim else t, named or positional)
    return lambda: call(model, inputs)


KINDS = {
    ".onnx": Kind("onnx", _of_onnx),
    ".pt2": Kind("pt2", _of_pt2),
    ".xml": Kind("openvino", _of_openvino, ".bin"),
}
"""How a file is timed, by its ending."""


def _of_card(file: Path, here: Timing) -> tuple[Timing | None, str]:
    """Return the time in the model card beside a file, if it was taken in the same way, and on which machine."""
    card, _ = read_object(file.with_name(f"{file.name.partition('.')[0]}_card.json"))
    try:
        said = Timing(**card["files"][file.name]["latency"]["pruned"])
    except (KeyError, TypeError):
        return None, ""
    alike = (said.batch_size, said.threads) == (here.batch_size, here.threads)
    return (said, str(card.get("machine", ""))) if alike else (None, "")
