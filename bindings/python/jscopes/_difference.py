"""One result minus another of the same tokens."""
from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _notebook, _report
from ._arrays import Floats
from ._attribution import Attribution
from ._errors import ArgumentError


class Difference:
    """`a - b`. Shows itself as a result does: blue where a is larger, orange where b is."""

    def __init__(self, a: Attribution, b: Attribution) -> None:
        if not np.array_equal(a.ids, b.ids):
            raise ArgumentError("a difference needs the same tokens; these results have others")
        if a.scores.shape != b.scores.shape:
            raise ArgumentError(f"a difference needs as many rows of scores; there are {a.scores.shape} and {b.scores.shape}")
        self.a, self.b = a, b

    @property
    def in_shares(self) -> bool:
        """Scores of unlike scopes or objectives have unlike units: what is compared are their shares of the sum."""
        return self.a.scope != self.b.scope or self.a.objective != self.b.objective

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        return self.a.ids

    @property
    def tokens(self) -> npt.NDArray[np.object_]:
        return self.a.tokens

    @cached_property
    def scores(self) -> Floats:
        """As in a result, with a sign."""
        return self._minus(self.a.scores, self.b.scores)

    @cached_property
    def layers(self) -> Floats | None:
        """None unless both have layers."""
        if self.a.layers is None or self.b.layers is None or self.a.layers.shape != self.b.layers.shape:
            return None
        return self._minus(self.a.layers, self.b.layers)

    def _minus(self, a: Floats, b: Floats) -> Floats:
        if not self.in_shares:
            return a - b
        return _shares(a) - _shares(b)

    def compare(self, k: int = 10) -> dict[str, float]:
        """How alike the two are: see jscopes.compare."""
        return _report.compare(self.a, self.b, k)

    def report(self, format: str = "text", **style: Any) -> str:
        """As text, html or svg."""
        return _report.render([self.a, self.b], format, style=_report.Style(difference=True, **style))

    def save(self, path: str | os.PathLike[str], format: str | None = None, **style: Any) -> None:
        """Into a file, in the format of its name (.html, .svg, .txt)."""
        _report.save([self.a, self.b], path, format, style=_report.Style(difference=True, **style))

    def __str__(self) -> str:
        return self.report()

    def __repr__(self) -> str:
        return self.report(colour=False)

    def _repr_html_(self) -> str:
        return _notebook.static_part(self.report("html"), len(self.a))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self).rstrip("\n"), "text/html": self._repr_html_()}

    def show(self, height: int = 640) -> _notebook.Page:
        """The whole page in a frame of its own."""
        return _notebook.show(self.report("html"), height)


def _shares(values: Floats) -> Floats:
    """Of the sum of each row; a row of zeros has none."""
    total = values.sum(axis=-1, keepdims=True)
    out = np.zeros_like(values)
    np.divide(values, total, out=out, where=total > 0)
    return out
