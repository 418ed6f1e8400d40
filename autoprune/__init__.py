"""AutoPrune: search for the sparsity of every layer, and take home a really smaller model."""
