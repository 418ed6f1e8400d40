"""What holds for the repository's files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LIMIT = 1_000_000
LARGE: dict[str, str] = {}
"""Files that may have more bytes than that -> the page in docs/ that says why."""


def test_no_file_is_over_a_megabyte_without_a_reason_in_the_docs():
    listed = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git repository")
    files = [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]
    assert {name for name in files if (REPOSITORY / name).stat().st_size > LIMIT} == set(LARGE)
    for name, page in LARGE.items():
        assert name in (REPOSITORY / page).read_text()


SCRIPTS = [
    pytest.param(file, id=file.stem, marks=() if file.stem.startswith("get") else pytest.mark.slow)
    for file in sorted((REPOSITORY / "experiments").rglob("*.py"))
    if re.search(r"^(if __name__|main\(\))", file.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_says_what_it_does_and_does_nothing_else(script, tmp_path):
    command = [sys.executable, script, "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ") and not list(tmp_path.iterdir())
