"""Figures with matplotlib, for those who go on working on them; the library's own are save("figure.svg")."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._errors import ArgumentError

if TYPE_CHECKING:
    import matplotlib.axes

    from ._attribution import Attribution

_LABELS = 80  # more tokens than this are numbered instead of written out


def plot(a: Attribution, kind: str, ax: matplotlib.axes.Axes | None) -> matplotlib.axes.Axes:
    """scores: bars; layers, matrix: maps."""
    import matplotlib.pyplot as plt

    if kind not in ("scores", "layers", "matrix"):
        raise ArgumentError(f"plot: kind is scores, layers or matrix, not {kind!r}")
    values = getattr(a, kind)
    if values is None:
        raise ArgumentError(f"plot: the result has no {kind}; ask attribute for {kind}=True")
    if ax is None:
        ax = plt.subplots(figsize=(min(12.0, 2 + 0.35 * len(a)), 3.2), layout="constrained")[1]
    if kind == "scores":
        _bars(a, ax)
    else:
        several = values.ndim == 3
        ax.imshow(values[0] if several else values, aspect="auto", cmap="cividis", interpolation="nearest")
        ax.set_ylabel("block" if kind == "layers" else "position")
    ax.set_title(f"{a.model_name}: {a.scope}")
    if len(a) <= _LABELS:
        ax.set_xticks(np.arange(len(a)), [_label(token) for token in a.tokens], rotation=90, family="monospace")
    return ax


def _bars(a: Attribution, ax: matplotlib.axes.Axes) -> None:
    rows = a.scores if a.scores.ndim == 2 else a.scores[np.newaxis]
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        label = str(a.targets["text"][i]) if len(rows) > 1 and i < len(a.targets) else None
        ax.bar(np.arange(len(a)) + (i - (len(rows) - 1) / 2) * width, row, width, yerr=a.stderr if len(rows) == 1 else None, label=label,
               color="#2171b5" if len(rows) == 1 else None)
    ax.set_ylabel("score")
    if len(rows) > 1:
        ax.legend()


def _label(token: str) -> str:
    shown = token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    return shown.replace("$", r"\$")  # matplotlib would set mathematics
