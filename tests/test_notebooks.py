"""The example notebooks run from the first cell to the last, and lie in the repository without outputs."""

import nbformat
import pytest
from doc_blocks import REPOSITORY
from nbclient import NotebookClient

NOTEBOOKS = sorted((REPOSITORY / "examples").glob("*.ipynb"))


def cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_lies_there_without_outputs(file):
    assert all(not cell.outputs and cell.execution_count is None for cell in cells(nbformat.read(file, as_version=4)))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_its_result_draws_itself(file, tmp_path):
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output.data for cell in cells(notebook) for output in cell.outputs if "data" in output]
    drawn = [data["text/html"] for data in shown if "text/html" in data and "<table" in data["text/html"]]
    assert drawn and ("<svg" in drawn[0] or "<img" in drawn[0])
