"""After the search: the front fine-tuned to the end, one model chosen, tested and taken home."""
