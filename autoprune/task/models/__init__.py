"""The small networks of the pruning papers."""
