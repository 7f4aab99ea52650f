"""What a request will need."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._api import ffi
from ._library import lib, text


@dataclass(frozen=True)
class Plan:
    """Sizes of a request; print it to read it. Bytes are beyond the weights, except weight_bytes."""

    n_tokens: int
    right_hand_sides: int
    chunk: int
    chunks: int
    mlp_form: str
    weight_bytes: int
    trace_bytes: int
    workspace_bytes: int
    result_bytes: int
    peak_bytes: int
    limit_bytes: int
    forward_flops: float
    backward_flops: float
    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(cls, c: Any) -> Plan:
        """From the library's structure."""
        capacity = lib.jsc_plan_print(c, ffi.NULL, 0) + 1
        buffer = ffi.new("char[]", capacity)
        lib.jsc_plan_print(c, buffer, capacity)
        values = {name: getattr(c, name) for name in cls.__dataclass_fields__ if name not in ("text", "mlp_form")}
        return cls(mlp_form=text(lib.jsc_mlp_form_name(c.mlp_form)) or "", text=text(buffer) or "", **values)
