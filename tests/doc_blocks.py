"""The blocks of a page of the documentation, run one after the other as a reader would.

A comment on the line above a block says what is out of the ordinary:

    <!-- skip: REASON -->   it is not run
    <!-- slow -->           it runs in the slow tests alone, after those before it
    <!-- file: NAME -->     it is written to a file instead

``<!-- before: ... -->`` around lines of Python, which readers do not see, is run as if they stood there (with
REPOSITORY, where its files are), and ``<!-- elsewhere: tests/... -->`` says that another test runs the page's later
blocks of Python. A block of commands with a word such as ID or TASK in them is not run; its commands are read, as all
are.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from markdown_it import MarkdownIt
from typer.testing import CliRunner

from autoprune.cli import app

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted(
    file.relative_to(REPOSITORY)
    for file in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"))
    if file.name != "CHANGELOG.md"
)
LANGUAGES = ("python", "sh")
MARK = re.compile(r"<!-- (skip|slow|file|before|elsewhere)(?::\s(.*?))?\s-->", re.DOTALL)
PLACEHOLDER = re.compile(r"\b(ID|TASK|FILE|CONFIG|DIR)\b|<this repository>")


@dataclass(frozen=True)
class Block:
    """A block of code: what it says, where, and what its mark says of it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str | None = None
    said: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it is ever run."""
        return self.mark != "skip" and not (self.language == "sh" and PLACEHOLDER.search(self.text))

    def commands(self) -> list[list[str]]:
        """Return the words of each command, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield a page's blocks of every language, indented ones with none."""
    mark = said = elsewhere = None
    for token in MarkdownIt().parse((REPOSITORY / page).read_text()):
        line = token.map[0] + 1 if token.map else 0
        found = MARK.match(token.content) if token.type == "html_block" else None
        if found and found[1] == "before":
            yield Block(page, line, "python", found[2])
        elif found and found[1] == "elsewhere":
            elsewhere = found[2]
        elif token.type in ("fence", "code_block"):
            if elsewhere and token.info == "python":
                mark, said = "skip", elsewhere
            yield Block(page, line, token.info.strip(), token.content, mark, said)
        mark, said = (found[1], found[2]) if found else (None, None)


def has(page: Path, slow: bool) -> bool:
    """Return whether a page has a block to be run, in the slow tests or in the others."""
    return any(
        block.runs and block.language in LANGUAGES and (block.mark == "slow") == slow and block.mark != "file"
        for block in blocks(page)
    )


def run(page: Path, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a page's blocks in a folder, which is the current one, those of Python in one namespace.

    Args:
        environment: of the commands, with a PORT for NNI's web UI, in the slow tests. Without one, slow blocks are left
            out, and the others' commands run in this process, which has its imports already.

    Raises:
        AssertionError: a command failed.
    """
    module = sys.modules["page"] = ModuleType("page")
    module.REPOSITORY = REPOSITORY
    try:
        for block in blocks(page):
            if not block.runs or (block.mark == "slow" and environment is None):
                continue
            if block.mark == "file":
                (folder / block.said).write_text(block.text)
            elif block.language == "python":
                exec(compile("\n" * block.line + block.text, str(page), "exec"), vars(module))
            elif block.language == "sh" and environment is None:
                for words in block.commands():
                    done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
                    assert words[0] == "autoprune" and done.exit_code == 0, f"{page}: {words}\n{done.output}"
            elif block.language == "sh":
                shell(block, environment)
    finally:
        del sys.modules["page"]


def shell(block: Block, environment: dict[str, str]) -> None:
    """Run a block of commands as a shell does, searches at a port of their own."""
    port = 'autoprune() { command autoprune "$@" $([ "$1" != run ] || echo --port $PORT); }\n'
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", port + block.text]
    done = subprocess.run(command, env=environment | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.page}:{block.line}\n{done.stdout}{done.stderr}"
