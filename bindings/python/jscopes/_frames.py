"""Results as tables of pandas and xarray."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    import xarray

    from ._attribution import Attribution


def to_pandas(a: Attribution) -> pandas.DataFrame:
    """Columns position, id, token, score (or score_0, ... of several targets), stderr and signed_score where there are."""
    import pandas

    columns: dict[str, Any] = {"position": np.arange(len(a)), "id": a.ids, "token": a.tokens}
    for name, values in (("score", a.scores), ("signed_score", a.signed_scores), ("stderr", a.stderr)):
        if values is not None and values.ndim == 2:
            columns.update({f"{name}_{i}": row for i, row in enumerate(values)})
        elif values is not None:
            columns[name] = values
    return pandas.DataFrame(columns)


def to_xarray(a: Attribution) -> xarray.Dataset:
    """Variables scores, signed_scores, stderr, layers, layer_stderr, matrix: those that the result has."""
    import xarray

    several = ("target",) if a.scores.ndim == 2 else ()
    dims = {"scores": (*several, "token"), "signed_scores": (*several, "token"), "stderr": ("token",),
            "layers": (*several, "layer", "token"), "layer_stderr": ("layer", "token"), "matrix": ("position", "token")}
    found = {name: (axes, getattr(a, name)) for name, axes in dims.items() if getattr(a, name) is not None}
    coordinates: dict[str, Any] = {"token": np.arange(len(a)), "text": ("token", a.tokens.astype(str)), "id": ("token", a.ids)}
    if several and len(a.targets) == len(a.scores):
        coordinates["target_id"] = ("target", a.targets["id"])
    attributes = {"model": a.model_name, "scope": a.scope, "position": a.position, "objective": a.objective}
    return xarray.Dataset(found, coords=coordinates, attrs=attributes)
