"""Search spaces, Pareto fronts, baselines and tuners; never imports torch."""

__all__ = ["OptunaTuner"]


def __getattr__(name: str):
    if name == "OptunaTuner":
        from autoprune.search.optuna_tuner import OptunaTuner

        return OptunaTuner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
