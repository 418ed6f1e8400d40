"""A synthetic network and its search, without PyTorch: sizes are exact, accuracies follow a formula."""

from __future__ import annotations

from autoprune.results.prepared import Prepared
from autoprune.results.size_model import SizeModel, Term

GROUPS = {"a": 64, "b": 32, "c": 16}
SPACE = {
    "criterion": {"_type": "choice", "_value": ["l1_norm", "fpgm"]},
    "sparsity.a": {"_type": "quniform", "_value": [0.0, 0.875, 0.125]},
    "sparsity.b": {"_type": "quniform", "_value": [0.0, 0.75, 0.25]},
    "sparsity.c": {"_type": "choice", "_value": [0.0, 0.5]},
}
SIZES = SizeModel(
    channels=GROUPS,
    terms=(
        Term(1000, 100_000, ({"a": 1.0},)),
        Term(8000, 400_000, ({"a": 1.0}, {"b": 1.0})),
        Term(2000, 50_000, ({"b": 1.0}, {"c": 1.0})),
        Term(500, 1000, ({"c": 1.0},)),
    ),
)
DENSE = {"accuracy": 0.95, "params": 11_500, "macs": 551_000, "bytes": 46_000, "latency_ms": 1.0}


def prepared(first=()) -> Prepared:
    return Prepared(dense=DENSE, sizes=SIZES, sensitivity={}, first=list(first))


def judge(parameters) -> dict[str, float]:
    """Return the metrics of a trial; accuracy falls with sparsity, and less with a larger budget."""
    sparsity = {name: parameters.get(f"sparsity.{name}", 0.0) for name in GROUPS}
    sizes = SIZES.sizes(sparsity)
    weights = {"a": 0.05, "b": 0.1, "c": 0.2}
    loss = sum(weights[name] * value**2 for name, value in sparsity.items())
    loss += 0.01 * (parameters.get("criterion") == "fpgm")
    budget = parameters.get("budget")
    accuracy = DENSE["accuracy"] - loss * (2 - (1.0 if budget is None else budget))
    return sizes | {
        "accuracy": accuracy,
        "bytes": 4 * sizes["params"],
        "latency_ms": sizes["macs"] / DENSE["macs"],
        "default": accuracy * (sizes["macs"] / DENSE["macs"]) ** -0.07,
    }


def search(tuner, trials) -> list[tuple[dict, dict]]:
    """Run trials one after the other; return the parameters and metrics of each."""
    done = []
    for i in trials:
        parameters = tuner.ask(i)
        done.append((parameters, judge(parameters)))
        tuner.tell(i, *done[-1])
    return done
