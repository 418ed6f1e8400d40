"""Optuna's samplers as a tuner."""
