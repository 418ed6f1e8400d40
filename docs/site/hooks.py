"""What the site has beside docs/: the README as its first page, and the files of the repository that pages link to."""

import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).parents[2]
FIRST = "README.md"
BESIDE = {FIRST, "CHANGELOG.md", "CONTRIBUTING.md"}
LINK = re.compile(r"(?<=\]\()[^)#:\s]+(?=[)#])")
ORIGINS: dict[str, str] = {}
"""Page of the site -> the file of the repository that it shows, for those that do not lie in docs/."""


def page_of(file: str) -> str:
    """Return the page that shows a file of the repository."""
    if file == FIRST:
        return "index.md"
    return file.removeprefix("docs/") if file.startswith("docs/") or file.endswith(".md") else f"source/{file}.md"


def shown(file: str, text: str) -> str:
    """Return the page that a file becomes."""
    if file.endswith(".md"):
        return text
    if file.endswith(".ipynb"):
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
        return "\n\n".join(f"``` python\n{source}\n```" if kind == "code" else source for kind, source in cells)
    return f"# {file}\n\n``` {Path(file).suffix[1:]}\n{text}\n```\n"


def linked(file: str, text: str) -> dict[str, str]:
    """Return the links of a page that lead to files of the repository: as they are written -> file."""
    found = {link: normpath(join(dirname(file), link)) for link in LINK.findall(text)}
    return {link: target for link, target in found.items() if (REPOSITORY / target).is_file()}


def on_files(files, config):
    """Add the pages that docs/ has not."""
    texts = {f"docs/{page.src_uri}": page.content_string for page in files.documentation_pages()}
    waiting = set(BESIDE)
    while waiting:
        file = waiting.pop()
        if file not in texts:
            texts[file] = (REPOSITORY / file).read_text()
            ORIGINS[page_of(file)] = file
            files.append(File.generated(config, page_of(file), content=shown(file, texts[file])))
        waiting |= {
            target
            for file, text in texts.items()
            if file.endswith(".md")
            for target in linked(file, text).values()
            if not target.startswith("docs/")
        } - texts.keys()
    return files


def on_page_markdown(markdown, page, config, files):
    """Let links lead to the site's pages."""
    here = page.file.src_uri
    file = ORIGINS.get(here, f"docs/{here}")
    if not file.endswith(".md"):
        return markdown
    targets = linked(file, markdown)

    def moved(link: re.Match) -> str:
        return relpath(page_of(targets[link[0]]), dirname(here) or ".") if link[0] in targets else link[0]

    return LINK.sub(moved, markdown)
