"""Search spaces, Pareto fronts, baselines and tuners; never imports torch."""
