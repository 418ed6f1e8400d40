"""The pages of the documentation whose blocks take long: whole searches, as a reader runs them."""

import pytest
from doc_blocks import PAGES, has, run


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", [pytest.param(page, id=str(page)) for page in PAGES if has(page, slow=True)])
def test_all_blocks_of_a_page_run(page, nni_home, monkeypatch):
    monkeypatch.chdir(nni_home.home)
    monkeypatch.syspath_prepend(nni_home.home)
    run(page, nni_home.home, nni_home.environment | {"PORT": str(nni_home.port)})
