"""What the tests share: small models of tests/golden, and the numbers that float64 references made for them."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("JSC_DEVICE", "cpu")  # the same numbers on a machine with a GPU
import jscopes

GOLDEN = Path(__file__).resolve().parents[3] / "tests" / "golden"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Skips in the words that ./check collects."""
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"[SKIP] python: {report.longrepr[2].removeprefix('Skipped: ')} ({Path(report.longrepr[0]).name})")


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def model() -> jscopes.Model:
    return jscopes.load(GOLDEN / "tiny_llama")


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """tests/golden/tiny_llama.json"""
    out: dict[str, Any] = json.loads((GOLDEN / "tiny_llama.json").read_text())
    return out
