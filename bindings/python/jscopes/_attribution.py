"""A result: every input token's score, and what else was computed."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _notebook, _report
from ._api import ffi
from ._arrays import Floats, Ints, copy_floats, copy_ints
from ._errors import Error
from ._library import call, lib, owned, text

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas
    import xarray

    from ._difference import Difference

PREDICTION = np.dtype([("id", np.int32), ("text", object), ("probability", np.float64), ("logit", np.float64)])
_OBJECTIVES = {0: "logit", 1: "log-probability", 2: "contrast"}


@dataclass(frozen=True)
class Fisher:
    """How a Fisher score was computed; the fields are those of jsc_attribution.fisher."""

    mode: str
    asked_adaptive: bool
    directions: int
    probes: int
    tangents: int
    rank: int
    trace: float
    explained: float
    dropped_mass: float
    rtol: float
    reached: float
    eigenvalues: Floats | None


@dataclass(frozen=True)
class Path:
    """How well path-integrated gradients add up; the fields are those of jsc_attribution.path."""

    steps: int
    rule: str
    baseline: str
    baseline_id: int
    sum: float
    difference: float
    completeness_error: float
    alphas: Floats | None
    norms: Floats | None
    """[alphas][tokens]: the gradient's norm on the way"""


class Attribution:
    """A result of Model.attribute, or of jscopes.read. T tokens; arrays are new NumPy arrays, None where they do not apply.

    In a notebook it shows itself as a heat map; print it in a terminal; `a - b` compares two results of the same tokens."""

    def __init__(self, pointer: Any) -> None:
        scores = 8 * pointer.n_tokens * pointer.n_scores * (1 + (pointer.n_layers if pointer.layers != ffi.NULL else 0))
        matrix = 8 * pointer.n_tokens**2 if pointer.matrix != ffi.NULL else 0
        self._c = owned(pointer, "jsc_attribution_free", int(scores + matrix + 64 * pointer.n_tokens))

    # ---- what was asked -------------------------------------------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        return text(self._c.model_name) or ""

    @property
    def family(self) -> str:
        return text(self._c.family) or ""

    @property
    def n_layers(self) -> int:
        return int(self._c.n_layers)

    @property
    def d_model(self) -> int:
        return int(self._c.d_model)

    @property
    def scope(self) -> str:
        return text(lib.jsc_scope_name(self._c.scope)) or ""

    @property
    def position(self) -> int:
        """The prediction after this token is explained."""
        return int(self._c.position)

    @property
    def objective(self) -> str:
        """logit, log-probability or contrast."""
        return _OBJECTIVES[int(self._c.objective)]

    @cached_property
    def targets(self) -> npt.NDArray[Any]:
        """What was explained: records of id, text, probability, logit; none for temperature and fisher."""
        return self._records(self._c.targets, self._c.n_targets)

    @cached_property
    def contrast(self) -> npt.NDArray[Any]:
        """The tokens that the targets were contrasted with."""
        return self._records(self._c.contrast, self._c.n_targets)

    # ---- tokens and scores ----------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._c.n_tokens)

    @cached_property
    def ids(self) -> Ints:
        """[T]"""
        return np.array([self._c.tokens[t].id for t in range(len(self))], dtype=np.int32)

    @cached_property
    def tokens(self) -> npt.NDArray[np.object_]:
        """[T] texts; bytes that are no complete character stand as <0xE4>. An array, so that `a.tokens[a.scores.argsort()]` works."""
        out = np.empty(len(self), dtype=object)
        for t in range(len(self)):
            shown = text(self._c.tokens[t].text)
            out[t] = f"⟨{self._c.tokens[t].id}⟩" if shown is None else shown
        return out

    @cached_property
    def token_bytes(self) -> list[bytes | None]:
        """The tokens' own bytes; None without a tokeniser."""
        listed = (self._c.tokens[t] for t in range(len(self)))
        return [None if token.bytes == ffi.NULL else bytes(ffi.buffer(token.bytes, token.n_bytes)) for token in listed]

    @cached_property
    def scores(self) -> Floats:
        """[T], or [targets or directions][T] if there are several; exactly 0 after `position`."""
        out = copy_floats(self._c.scores, *self._rows())
        assert out is not None
        return out

    @cached_property
    def signed_scores(self) -> Floats | None:
        """As scores, with a sign: path and input-x-gradient."""
        return copy_floats(self._c.signed_scores, *self._rows())

    @cached_property
    def stderr(self) -> Floats | None:
        """[T] standard errors: adaptive Fisher."""
        return copy_floats(self._c.stderrs, len(self))

    @cached_property
    def layers(self) -> Floats | None:
        """[blocks][T], or [targets][blocks][T]: scores read at every block's input; block 0 equals scores."""
        several = (int(self._c.n_scores),) if self._c.n_scores > 1 else ()
        return copy_floats(self._c.layers, *several, self.n_layers, len(self))

    @cached_property
    def layer_stderr(self) -> Floats | None:
        """[blocks][T]: adaptive Fisher."""
        return copy_floats(self._c.layer_stderrs, self.n_layers, len(self))

    @cached_property
    def matrix(self) -> Floats | None:
        """[T][T]: row p explains the prediction after token p."""
        return copy_floats(self._c.matrix, len(self), len(self))

    @cached_property
    def matrix_targets(self) -> Ints | None:
        """[T]: the token id that each row of a semantic matrix explains."""
        return copy_ints(self._c.matrix_targets, len(self))

    @cached_property
    def predictions(self) -> npt.NDArray[Any]:
        """The likeliest next tokens: records of id, text, probability, logit, such as `a.predictions["text"][0]`."""
        return self._records(self._c.predictions, self._c.n_predictions)

    def _rows(self) -> tuple[int, ...]:
        return (int(self._c.n_scores), len(self)) if self._c.n_scores > 1 else (len(self),)

    @staticmethod
    def _records(pointer: Any, n: int) -> npt.NDArray[Any]:
        out = np.empty(0 if pointer == ffi.NULL else n, dtype=PREDICTION)
        for i in range(len(out)):
            shown = text(pointer[i].text)
            out[i] = (pointer[i].id, f"⟨{pointer[i].id}⟩" if shown is None else shown, pointer[i].probability, pointer[i].logit)
        return out

    # ---- how the numbers came about -------------------------------------------------------------------------------------------------

    @cached_property
    def fisher(self) -> Fisher | None:
        """Scope fisher."""
        if self._c.scope != lib.JSC_SCOPE_FISHER:
            return None
        c = self._c.fisher
        mode = {lib.JSC_FISHER_ADAPTIVE: "adaptive", lib.JSC_FISHER_EXACT: "exact", lib.JSC_FISHER_RANK: "rank"}[c.mode]
        return Fisher(mode, bool(c.asked_adaptive), c.directions, c.probes, c.tangents, c.rank, c.trace, c.explained, c.dropped_mass, c.rtol,
                      c.reached, copy_floats(c.eigenvalues, c.n_eigenvalues))

    @cached_property
    def path(self) -> Path | None:
        """Scope path."""
        if self._c.scope != lib.JSC_SCOPE_PATH:
            return None
        c = self._c.path
        rule = {lib.JSC_PATH_UNIFORM: "uniform", lib.JSC_PATH_GRADED: "graded"}[c.rule]
        baseline = {lib.JSC_BASELINE_ZERO: "zero", lib.JSC_BASELINE_MEAN: "mean", lib.JSC_BASELINE_ID: "id"}[c.baseline]
        return Path(c.steps, rule, baseline, c.baseline_id, c.sum, c.difference, c.completeness_error, copy_floats(c.alphas, c.n_nodes),
                    copy_floats(c.norms, c.n_nodes, len(self)))

    @property
    def y_norm(self) -> float:
        """Length of the last hidden state, the effective inverse temperature."""
        return float(self._c.y_norm)

    @property
    def backend(self) -> str:
        return text(self._c.backend) or ""

    @property
    def precision(self) -> str:
        return text(self._c.precision) or ""

    @property
    def plan(self) -> str:
        """The forms that were chosen, in words."""
        return text(self._c.plan) or ""

    @property
    def warnings(self) -> list[str]:
        return [text(self._c.warnings[i]) or "" for i in range(self._c.n_warnings)]

    @property
    def seconds(self) -> dict[str, float]:
        """load, forward, backward"""
        return {name: float(getattr(self._c, f"seconds_{name}")) for name in ("load", "forward", "backward")}

    # ---- looking at it --------------------------------------------------------------------------------------------------------------

    def report(self, format: str = "text", **style: Any) -> str:
        """As text, json, html or svg; style: the fields of jscopes.Style."""
        return _report.render(self, format, style=_report.Style(**style))

    def __str__(self) -> str:
        return self.report()

    def __repr__(self) -> str:
        return self.report(colour=False)

    def _repr_html_(self) -> str:
        return _notebook.static_part(self.report("html"), len(self))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self).rstrip("\n"), "text/html": self._repr_html_()}

    def show(self, height: int = 640) -> _notebook.Page:
        """The whole page, with its views and controls, in a frame of its own."""
        return _notebook.show(self.report("html"), height)

    def plot(self, kind: str = "scores", ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """scores, layers or matrix with matplotlib."""
        from ._plot import plot

        return plot(self, kind, ax)

    def __sub__(self, other: Attribution) -> Difference:
        from ._difference import Difference

        return Difference(self, other) if isinstance(other, Attribution) else NotImplemented

    # ---- taking it elsewhere --------------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The library's JSON: strict, every number bit for bit; jscopes.read makes the identical result of it."""
        return self.report("json")

    def to_dict(self) -> dict[str, Any]:
        """The same as Python's objects."""
        out: dict[str, Any] = json.loads(self.to_json())
        return out

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each token."""
        from ._frames import to_pandas

        return to_pandas(self)

    def to_xarray(self) -> xarray.Dataset:
        """Dimensions target, layer, token (and position for a matrix)."""
        from ._frames import to_xarray

        return to_xarray(self)

    def to_inseq(self) -> Any:
        """A FeatureAttributionOutput of inseq."""
        from ._inseq import to_inseq

        return to_inseq(self)

    def save(self, path: str | os.PathLike[str], format: str | None = None, **style: Any) -> None:
        """Into a file, which appears whole or not at all. The format is that of the name (.json, .html, .svg, .txt), or format, which
        may also be inseq."""
        if format == "inseq":
            from ._inseq import to_inseq_json

            _save_text(path, to_inseq_json(self))
        else:
            _report.save(self, path, format, style=_report.Style(**style))

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return from_json, (self.to_json().encode(),)


def _save_text(path: str | os.PathLike[str], content: str) -> None:
    part = f"{os.fspath(path)}.{os.getpid()}.part"
    try:
        with open(part, "w", encoding="utf-8") as f:
            f.write(content)
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def from_json(data: str | bytes) -> Attribution:
    """The result that to_json wrote."""
    content = data.encode() if isinstance(data, str) else data
    out = ffi.new("jsc_attribution **")
    call("jsc_attribution_read", ffi.from_buffer(content), len(content), out)
    return Attribution(out[0])


def read(path: str | os.PathLike[str]) -> Attribution:
    """The result in a file of save, or of `jscopes attribute --format json`, or one line of a corpus."""
    with open(path, "rb") as f:
        content = f.read()
    try:
        return from_json(content)
    except Error as failure:
        raise type(failure)(f"{os.fspath(path)}: {failure}") from None


def read_many(path: str | os.PathLike[str]) -> Iterator[Attribution]:
    """All results of a file: of a list, or one after another (lines)."""
    with open(path, "rb") as f:
        content = f.read()
    at, out = ffi.new("size_t *"), ffi.new("jsc_attribution **")
    while True:
        call("jsc_attribution_read_next", ffi.from_buffer(content), len(content), at, out)
        if out[0] == ffi.NULL:
            return
        yield Attribution(out[0])
