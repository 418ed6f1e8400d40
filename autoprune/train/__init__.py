"""The one training loop, its batches, and how a network is judged."""
