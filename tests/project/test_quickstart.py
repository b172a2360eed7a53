"""The quickstart runs as it stands, and what it shows is what it says.

`python tests/project/test_quickstart.py` executes it and keeps the outputs that the site shows.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


def execute(folder: Path) -> tuple[Any, Any]:
    """Return the notebook as it is kept, and as it comes out of a run in `folder`."""
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test: nbclient, ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra test: nbclient, ipykernel")
    from traitlets.config import Config

    kept = nbformat.read(NOTEBOOK, as_version=4)
    run = copy.deepcopy(kept)
    with tempfile.TemporaryDirectory() as sockets:  # files, so that no port is opened; short paths
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(run, timeout=240, config=config, resources=resources).execute()
    for cell in run.cells:
        cell.metadata.pop("execution", None)  # times of this run
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                output.get("data", {}).pop("image/jpeg", None)  # the PNG says the same
                if output.output_type == "execute_result":
                    output.execution_count = None
    return kept, run


def test_quickstart_runs(tmp_path: Path) -> None:
    kept, run = execute(tmp_path)
    for old, new in zip(kept.cells, run.cells, strict=True):
        if old.cell_type != "code":
            continue
        kinds = [
            [(o.output_type, sorted(o.get("data", {}))) for o in c.outputs] for c in (old, new)
        ]
        assert kinds[0] == kinds[1], old.source
        assert not [o for o in new.outputs if o.get("name") == "stderr"], old.source
        if "varies" not in old.metadata.get("tags", ()):
            assert old.outputs == new.outputs, old.source


def test_quickstart_is_small() -> None:
    assert NOTEBOOK.stat().st_size < 40_000


if __name__ == "__main__":
    import nbformat

    with tempfile.TemporaryDirectory() as place:
        nbformat.write(execute(Path(place))[1], NOTEBOOK)
