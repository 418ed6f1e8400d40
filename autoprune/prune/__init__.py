"""What to remove from a model, when, and its physical removal; usable on its own, without an experiment."""
