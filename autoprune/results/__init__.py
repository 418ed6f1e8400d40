"""Candidates, trials, experiments and fronts as plain values: neither torch nor NNI's processes."""
