"""One trial: prune, recover, shrink, measure; and what comes before a search."""
