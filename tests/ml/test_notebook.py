"""The notebook runs from top to bottom on the tiny set that it draws, without Django."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "core.ipynb"
# The kernel's own debugger imports parts of Django where it is installed; nothing sets it up.
NO_DJANGO = """
import sys
from django.conf import settings
assert not settings.configured
assert "hematovision" not in sys.modules
"""


def test_it_runs_and_keeps_no_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("The notebook trains, and TensorFlow is not installed.")
    import nbformat
    from nbclient import NotebookClient

    for name in list(os.environ):
        if name.startswith("HEMATOVISION_NOTEBOOK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebook puts its set and its bundle
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    notebook.cells.append(nbformat.v4.new_code_cell(NO_DJANGO))

    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    ).execute()

    told = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    printed = "".join(output.text for output in told if output.output_type == "stream")
    plots = [output for output in told if "image/png" in output.get("data", {})]
    assert "synthetic" in printed
    assert "accuracy" in printed
    assert len(plots) >= 8
