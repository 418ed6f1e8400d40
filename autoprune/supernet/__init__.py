"""The weights that all candidates share: a network's subnets, and their training."""
