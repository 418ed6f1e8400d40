"""The documentation: its blocks run, its commands exist, its site is whole and needs nothing of the web."""

import re
import shlex

import pytest
import typer
from doc_blocks import LANGUAGES, PAGES, REPOSITORY, blocks, has, run

from autoprune.cli import app

BLOCKS = [block for page in PAGES for block in blocks(page)]
UsageError = typer.BadParameter.__mro__[1]
PROGRAMS = ("autoprune", "make", "nnictl", "pip", "pytest", "python")


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page)) for page in PAGES if has(page, slow=False)])
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    run(page, tmp_path)


def test_each_block_says_its_language_and_why_it_is_not_run():
    assert not [f"{block.page}:{block.line}" for block in BLOCKS if not block.language]
    for block in BLOCKS:
        if block.mark == "skip":
            assert block.said, f"{block.page}:{block.line}"
            for test in re.findall(r"tests/[\w/]+\.py", block.said):
                assert block.page.name in (REPOSITORY / test).read_text(), f"{test} does not run {block.page}"


def test_commands_stand_in_blocks_of_their_own():
    begin = [
        (block, block.text.split()[0]) for block in BLOCKS if block.language not in LANGUAGES and block.text.split()
    ]
    assert not [f"{block.page}:{block.line}" for block, word in begin if word in PROGRAMS]


def commands() -> dict[str, list[str]]:
    """Return every `autoprune` command of the documentation, in blocks and in sentences: where it stands -> words."""
    found = {}
    for block in BLOCKS:
        for number, words in enumerate(block.commands() if block.language == "sh" else ()):
            words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
            if words[0] == "autoprune":
                found[f"{block.page}:{block.line}+{number}"] = words[1:]
    for page in PAGES:
        for code in (REPOSITORY / page).read_text().replace("\n", " ").split("`")[1::2]:
            if re.match(r"autoprune (?!rung)[a-z]", code):  # `autoprune rung 1` is a study
                found[f"{page}: {code}"] = shlex.split(code)[1:]
    return found


def test_every_command_is_understood():
    known, wrong = typer.main.get_command(app), {}
    above = known.make_context("autoprune", ["doctor"])
    for where, (name, *words) in commands().items():
        try:
            if words or name not in known.commands:
                known.commands[name].make_context(name, [re.sub(r"^N$", "1", word) for word in words], parent=above)
        except (KeyError, UsageError) as error:
            wrong[where] = error
    assert not wrong
