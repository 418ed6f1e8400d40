"""A language model on the text of IMDB reviews (Maas et al. 2011): a small GPT that foretells the next byte."""

from functools import partial

import torch
from torch.utils.data import TensorDataset

from autoprune.errors import UserError
from autoprune.task.builtin.imdb import read_reviews, review_files
from autoprune.task.models.gpt import GPT
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

LENGTH = 128
"""Bytes in a row. It must differ from the number of tokens: the classes are found by the outputs' shape."""

TRAIN, VALIDATION, TEST = 8000, 256, 1000
"""Rows in each split, at most."""


def data() -> Splits:
    """8,000 training, 256 validation and 1,000 test rows of 128 bytes, int64, each with the bytes one further on.

    Read from ``imdb/train.csv`` and ``imdb/test.csv``; no review is in two splits.

    Raises:
        UserError: the reviews are missing, or shorter than a row.
    """
    train, test = ([text for text, _ in read_reviews(file)] for file in review_files())
    held_out = max(1, len(train) // 10)
    return Splits(
        rows(train[held_out:], TRAIN),
        rows(train[:held_out], VALIDATION),
        rows(test, TEST),
    )


def rows(texts: list[str], most: int) -> TensorDataset:
    """Return the first rows of ``texts``, one after the other with an empty line between: bytes, and the next ones.

    Raises:
        UserError: there is not one whole row.
    """
    wanted, text = most * LENGTH + 1, bytearray()
    for each in texts:
        if len(text) >= wanted:
            break
        text += each.encode() + b"\n\n"
    count = (min(len(text), wanted) - 1) // LENGTH
    if count < 1:
        raise UserError(f"IMDB reviews: too little text: each split needs {LENGTH + 1} bytes, not {len(text)}")
    ids = torch.frombuffer(text, dtype=torch.uint8)[: count * LENGTH + 1].long()
    return TensorDataset(ids[:-1].view(count, LENGTH), ids[1:].view(count, LENGTH))


task = Task(
    name="imdb-gpt",
    model=partial(GPT, vocabulary=256, length=LENGTH, width=64, layers=2, heads=4),
    data=data,
    example=torch.randint(256, (1, LENGTH), generator=torch.Generator().manual_seed(0)),
    training=Recipe(steps=500, batch_size=16, learning_rate=1e-2, weight_decay=0.01, optimizer="adamw"),
    recovery=Recipe(
        steps=100,
        batch_size=16,
        learning_rate=3e-3,
        weight_decay=0.01,
        optimizer="adamw",
        distillation=0.5,
        temperature=2.0,
    ),
    metric="perplexity",
)
