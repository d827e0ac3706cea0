"""The tutorial notebook runs, and what it prints agrees with the truth of its world."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
# In a process of its own: the client's event loop and sockets are no business of this one's warnings.
RUN = (
    "import sys, nbformat, nbclient; notebook = nbformat.read(sys.argv[1], 4); "
    "nbclient.NotebookClient(notebook, timeout=120).execute(); nbformat.write(notebook, sys.argv[2])"
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook with its outputs."""
    folder = tmp_path_factory.mktemp("tutorial")
    places = {"IPYTHONDIR": "ipython", "JUPYTER_RUNTIME_DIR": "runtime", "MPLCONFIGDIR": "matplotlib"}
    environment = os.environ | {name: str(folder / place) for name, place in places.items()}
    # The installed kernel specifications may be of another environment: this interpreter's is used.
    prefix = Path(sys.prefix) / "share" / "jupyter"
    environment |= {"JUPYTER_PATH": str(prefix), "OMP_NUM_THREADS": "1"}
    out = folder / "executed.ipynb"
    command = [sys.executable, "-c", RUN, str(NOTEBOOK), str(out)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(out, 4)


def printed(notebook: nbformat.NotebookNode) -> str:
    """All that was printed, without what was drawn."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def test_numbers_agree_with_the_world(executed: nbformat.NotebookNode) -> None:
    said = printed(executed)
    assert "true behavior curve inside the measured band: True" in said
    for true, low, high in re.findall(r"true ([\d.-]+), (?:measured|certain limits) \[([\d.-]+), ([\d.-]+)\]", said):
        # The certain limits meet at the truth, up to what is printed.
        assert float(low) - 0.002 <= float(true) <= float(high) + 0.002
    assert len(re.findall(r"true [\d.-]+,", said)) == 3
    assert re.search(r"Theorem 1, α by evidence plateau +paper +[\d.]+ +sharp +[\d.]+", said)


def test_curve_table_and_report(executed: nbformat.NotebookNode) -> None:
    kinds = {kind for cell in executed.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    assert "report.html True" in printed(executed)
    stderr = [o.text for cell in executed.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    assert not stderr


def test_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
