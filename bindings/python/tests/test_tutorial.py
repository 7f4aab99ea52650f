"""The tutorial runs from top to bottom: in a kernel where there is nbclient, else cell by cell. Without the default model in the cache a
tiny one stands in for it."""
from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

import jscopes

NOTEBOOK = Path(__file__).resolve().parents[1] / "tutorial.ipynb"
TINY = Path(__file__).resolve().parents[3] / "tests" / "golden" / "tiny_llama"
STAND_IN = f"import jscopes\n_load = jscopes.load\njscopes.load = lambda name: _load({str(TINY)!r})\n"


def has_model() -> bool:
    try:
        jscopes.load("smollm2-135m", weights=False)
        return True
    except jscopes.FileError:
        return False


def cells() -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def shown(source: str, names: dict[str, object]) -> object:
    """Runs a cell; the value of its last line, as a notebook would show it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last is not None else None


def test_cells(monkeypatch):
    """Every cell gives what its text says."""
    names: dict[str, object] = {}
    if not has_model():
        original = jscopes.load
        monkeypatch.setattr(jscopes, "load", lambda name: original(TINY))
    values = [shown(source, names) for source in cells()]
    assert len(values) > 12 and any(isinstance(value, jscopes.Attribution) for value in values)
    assert values[-2] is True  # read back bit for bit
    for value in values:
        if hasattr(value, "_repr_html_"):
            assert "<" in value._repr_html_()


def test_in_a_kernel():
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbclient
    import nbformat

    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    if not has_model():
        book.cells.insert(0, nbformat.v4.new_code_cell(STAND_IN))
    client = nbclient.NotebookClient(book, timeout=300, kernel_name="python3")
    client.create_kernel_manager().kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", []) if "text/html" in output.get("data", {})]
    assert len(shown) >= 4 and any("<iframe" in output["data"]["text/html"] for output in shown)
