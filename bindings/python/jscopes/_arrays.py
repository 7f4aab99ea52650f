"""Between C arrays and NumPy's: results own their memory, inputs are taken from anything that holds numbers."""
from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._api import ffi
from ._errors import ArgumentError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]


def copy_floats(pointer: Any, *shape: int) -> Floats | None:
    """A double[...] of the library as a new array; None for NULL."""
    if pointer == ffi.NULL:
        return None
    n = int(np.prod(shape))
    return np.frombuffer(ffi.buffer(pointer, n * 8), dtype=np.float64, count=n).reshape(shape).copy()


def copy_ints(pointer: Any, n: int) -> Ints | None:
    """An int32_t[n] of the library as a new array; None for NULL."""
    return None if pointer == ffi.NULL else np.frombuffer(ffi.buffer(pointer, n * 4), dtype=np.int32, count=n).copy()


def token_ids(ids: object) -> Ints:
    """Token ids as the library takes them."""
    given = np.asarray(_host(ids))
    if given.ndim == 2 and given.shape[0] == 1:  # input_ids of a tokeniser that makes batches
        given = given[0]
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise ArgumentError(f"token ids are whole numbers in one row; this is {given.dtype} of shape {given.shape}")
    if given.size and (given.min() < -(2**31) or given.max() >= 2**31):
        raise ArgumentError("a token id is beyond 32 bits")
    return np.ascontiguousarray(given, dtype=np.int32)


def rows(values: object, width: int, what: str) -> Floats:
    """One row or several of width numbers, as float64 [rows][width]: arrays, buffers, DLPack, tensors of torch (also on a GPU)."""
    given = np.ascontiguousarray(np.asarray(_host(values)), dtype=np.float64)
    if given.ndim == 1:
        given = given[np.newaxis]
    if given.ndim != 2 or given.shape[1] != width:
        raise ArgumentError(f"{what}: shape {given.shape}; wanted are rows of d_model = {width} numbers")
    return given


def _host(values: object) -> object:
    """Tensors that NumPy does not read by itself: those with gradients, on a GPU, or in bfloat16."""
    if isinstance(values, np.ndarray) or not hasattr(values, "__dlpack__"):
        return values
    tensor: Any = values
    if hasattr(tensor, "detach"):  # torch
        tensor = tensor.detach().cpu()
        return tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()
    return np.from_dlpack(tensor)
