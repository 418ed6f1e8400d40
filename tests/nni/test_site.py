"""The documentation as a site: links lead somewhere, nothing of the web is needed, the search works from a file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Browser, needs_chromium

REPOSITORY = Path(__file__).parents[2]


TYPED = """(() => {
    document.querySelector('[data-md-toggle=search]').click();
    const box = document.querySelector('[data-md-component=search-query]');
    box.focus();
    box.value = 'trialGpuNumber';
    box.dispatchEvent(new Event('keyup', {bubbles: true}));
})()"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", place]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_its_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    loaded = re.compile(r"""<(?:(?:script|img|iframe)[^>]*src|link[^>]*stylesheet[^>]*href)=["']?(http[^"'> ]+)""")
    assert len(pages) > 20
    assert not {page.name: found for page in pages if (found := loaded.findall(page.read_text()))}
    assert not [file for file in site.rglob("*.css") if re.search(r"(url\(|@import)\s*[\"']?http", file.read_text())]


def test_the_public_names_are_in_the_reference(site):
    import autoprune

    reference = (site / "api.html").read_text()
    assert not [name for name in autoprune.__all__ if name[0] != "_" and f'id="autoprune.{name}"' not in reference]


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


@pytest.mark.slow
@needs_chromium
def test_its_search_finds_a_word_without_a_server(site, browser):
    browser.open((site / "tutorial.html").as_uri())
    browser.evaluate(TYPED)
    browser.wait_for("document.querySelector('.md-search-result__link')?.href.includes('recipes/gpus.html')", 30)
    assert not browser.errors
    assert not [address for address in browser.requests if not address.startswith(("file:", "data:", "blob:"))]
