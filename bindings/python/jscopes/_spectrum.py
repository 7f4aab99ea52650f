"""The directions that matter most: eigenvalues of Fisher matrices, singular values of Jacobians."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._arrays import Floats, copy_floats
from ._library import lib, text


@dataclass(frozen=True, repr=False)
class Spectrum:
    """Values, largest first, with unit vectors; the fields are those of jsc_spectrum. An exact value lies within the residual of each."""

    kind: str
    """fisher, fisher-input or jacobian"""
    values: Floats
    residuals: Floats
    vectors: Floats
    """[n][d_model]: of y for fisher, of x_t otherwise"""
    left: Floats | None
    """[n][d_model], jacobian: J_t v = sigma u"""
    position: int
    token: int
    trace: float
    trace_stderr: float
    rest: float
    exact: bool
    rank: int
    iterations: int
    right_hand_sides: int
    tangents: int
    probes: int
    dropped_mass: float
    seed: int
    seconds: float

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.values[:5]) + (", ..." if len(self.values) > 5 else "")
        worst = max(self.residuals, default=0.0)
        return f"<jscopes.Spectrum {self.kind}: {len(self.values)} values {shown}; largest residual {worst:.2g}{', exact' if self.exact else ''}>"

    @classmethod
    def of(cls, c: Any) -> Spectrum:
        """From the library's structure."""
        arrays = {"values": (c.n,), "residuals": (c.n,), "vectors": (c.n, c.d_model), "left": (c.n, c.d_model)}
        found: dict[str, Any] = {name: copy_floats(getattr(c, name), *shape) for name, shape in arrays.items()}
        rest: dict[str, Any] = {name: getattr(c, name) for name in cls.__dataclass_fields__ if name not in (*arrays, "kind", "exact")}
        return cls(kind=text(lib.jsc_spectrum_kind_name(c.kind)) or "", exact=bool(c.exact), **found, **rest)
