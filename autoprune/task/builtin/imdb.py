"""IMDB reviews (Maas et al. 2011), for or against: a MiniLM encoder (Wang et al. 2020) fine-tuned on a subset.

The sizes are such that two CPU cores do: 64 tokens of each review, of which most are its last, since that is where the
verdict stands (head and tail: Sun et al. 2019, How to Fine-Tune BERT for Text Classification).
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autoprune.base.files import cache_dir, data_dir
from autoprune.errors import UserError
from autoprune.task.models.text import TextClassifier
from autoprune.task.recipe import Recipe
from autoprune.task.task import Splits, Task

HUB = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder's name on the Hugging Face hub: 6 layers of 12 heads, 384 wide, 22.7 million parameters."""

HEAD, TAIL = 16, 46
"""Tokens taken from the beginning and from the end of a review; two more mark where it begins and ends."""

TRAIN, VALIDATION, TEST = 4800, 400, 1000
"""Reviews in each split."""


def model() -> nn.Module:
    """Return MiniLM with a linear layer, untrained, on the mean of its tokens.

    Raises:
        UserError: transformers is not installed, or the weights are neither on this machine nor to be had.
    """
    encoder = _pretrained(
        "AutoModel", add_pooling_layer=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    return TextClassifier(encoder, dropout=0.0)


def data() -> Splits:
    """4,800 training, 400 validation and 1,000 test reviews as token ids, shape (64,), int64; class 1 is for the film.

    Read from ``imdb/train.csv`` and ``imdb/test.csv`` (columns ``text`` and ``label``), the first of each in a fixed
    shuffle. They are turned into tokens once, and kept in the cache.

    Raises:
        UserError: the reviews, transformers or MiniLM's tokeniser are missing.
    """
    files = review_files()
    decides = [HEAD, TAIL, TRAIN, VALIDATION, TEST, *((file.stat().st_size, file.stat().st_mtime_ns) for file in files)]
    tokens = cache_dir() / "imdb" / f"tokens-{hashlib.sha256(repr(decides).encode()).hexdigest()[:12]}.pt"
    if not tokens.exists():
        train, test = (read_reviews(file) for file in files)
        parts = [train[:TRAIN], train[TRAIN : TRAIN + VALIDATION], test[:TEST]]
        tokenizer = _pretrained("AutoTokenizer")
        encoded = [(encode(tokenizer, [text for text, _ in part]), [label for _, label in part]) for part in parts]
        tokens.parent.mkdir(parents=True, exist_ok=True)
        torch.save([(ids, torch.tensor(labels)) for ids, labels in encoded], tokens.with_suffix(".partial"))
        tokens.with_suffix(".partial").replace(tokens)
    return Splits(*(TensorDataset(*part) for part in torch.load(tokens, weights_only=True)))


def encode(tokenizer: Any, texts: list[str], head: int = HEAD, tail: int = TAIL) -> Tensor:
    """Return the token ids of ``texts``, shape ``(len(texts), head + tail + 2)``, int64, padded at the end.

    Of a longer text the first ``head`` and the last ``tail`` tokens are taken.
    """
    rows = torch.full((len(texts), head + tail + 2), tokenizer.pad_token_id or 0)
    for row, ids in zip(rows, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"], strict=True):
        ids = ids if len(ids) <= head + tail else ids[:head] + ids[-tail:]
        row[: len(ids) + 2] = torch.tensor([tokenizer.cls_token_id, *ids, tokenizer.sep_token_id])
    return rows


def review_files() -> tuple[Path, Path]:
    """Return the files of the training and the test reviews.

    Raises:
        UserError: one is missing, with the command that gets them.
    """
    train, test = (data_dir() / "imdb" / f"{split}.csv" for split in ("train", "test"))
    missing = next((file for file in (train, test) if not file.is_file()), None)
    if missing:
        raise UserError(
            f"IMDB reviews: {missing} does not exist: get them with `python experiments/get_imdb.py {data_dir()}`, "
            "or set AUTOPRUNE_DATA to the folder that holds imdb/train.csv"
        )
    return train, test


def read_reviews(file: Path) -> list[tuple[str, int]]:
    """Return the reviews and labels of a CSV file in a fixed shuffle, without the line breaks of HTML."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(row["text"].replace("<br />", " "), int(row["label"])) for row in csv.DictReader(lines)]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return [rows[i] for i in order.tolist()]


def _pretrained(kind: str, **options: Any) -> Any:
    """Load MiniLM from ``minilm`` among the data sets, else from the Hugging Face hub or its cache."""
    if importlib.util.find_spec("transformers") is None:
        raise UserError("the task imdb needs transformers: pip install 'autoprune[text]'")
    import huggingface_hub
    import transformers

    huggingface_hub.utils.logging.set_verbosity_error()  # without a network it tells of each of its attempts
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = data_dir() / "minilm"
    try:
        return getattr(transformers, kind).from_pretrained(str(folder) if folder.is_dir() else HUB, **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"MiniLM is not in {folder}, and {HUB} cannot be had from the Hugging Face hub: get it with "
            f"`python experiments/get_imdb.py {data_dir()}`, or set AUTOPRUNE_DATA to the folder that holds minilm/"
        ) from error


task = Task(
    name="imdb",
    model=model,
    data=data,
    example=torch.ones(1, HEAD + TAIL + 2, dtype=torch.int64),
    training=Recipe(steps=300, batch_size=16, learning_rate=1e-4, weight_decay=0.01, optimizer="adamw"),
    recovery=Recipe(
        steps=24,
        batch_size=16,
        learning_rate=1e-4,
        weight_decay=0.01,
        optimizer="adamw",
        distillation=0.9,
        temperature=2.0,
    ),
)
