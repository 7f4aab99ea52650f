"""Which input tokens did a language model's prediction come from?

    import jscopes
    model = jscopes.load("smollm2-135m")
    a = model.attribute("The capital of France is", scope="fisher")
    print(a)                # a notebook shows `a` as a heat map
    a.scores, a.tokens      # NumPy

The C library does the work; this package hands arrays over and shows results.
"""
from __future__ import annotations

from . import _library
from ._attribution import Attribution, Fisher, Path, from_json, read, read_many
from ._difference import Difference
from ._errors import (
                      ArgumentError,
                      CancelledError,
                      DeviceError,
                      Error,
                      FileError,
                      ForkError,
                      FormatError,
                      InternalError,
                      NumericError,
                      OutOfMemoryError,
                      UnsupportedError,
)
from ._load import load, load_tensors
from ._model import Info, Model
from ._notebook import Page
from ._plan import Plan
from ._report import Style, compare, render, save
from ._spectrum import Spectrum
from ._threads import get_threads, set_threads

__version__ = _library.version()
__all__ = [
    "ArgumentError", "Attribution", "CancelledError", "DeviceError", "Difference", "Error", "FileError", "Fisher", "ForkError", "FormatError",
    "Info", "InternalError", "Model", "NumericError", "OutOfMemoryError", "Page", "Path", "Plan", "Spectrum", "Style", "UnsupportedError", "compare",
    "from_json", "get_threads", "load", "load_tensors", "read", "read_many", "render", "save", "set_threads",
]
