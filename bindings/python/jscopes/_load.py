"""Opening a model, wherever it is."""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from . import _hf
from ._api import ffi
from ._callbacks import Progress, Watch, on_progress
from ._errors import ArgumentError, FileError
from ._library import call, is_forked, lib, new, path_bytes, start_threads
from ._model import Model
from ._threads import get_threads

_PRECISIONS = {"auto": "JSC_PRECISION_AUTO", "strict": "JSC_PRECISION_STRICT", "fast": "JSC_PRECISION_FAST"}


def load(model: Any, tokenizer: Any = None, *, device: str = "auto", precision: str = "auto", threads: int | None = None,
         weights: bool = True, revision: str | None = None, progress: Progress = None) -> Model:
    """Opens a model.

    model      the name of a fetched model ("smollm2-135m"); a folder with config.json and *.safetensors; a .gguf file; a hub id that is in
               the local Hugging Face cache (nothing is downloaded); or a transformers model in memory, with its tokenizer
    device     auto, cpu, cuda, cuda:N
    precision  auto (strict), strict, fast
    threads    None: set_threads, else OMP_NUM_THREADS, else as many as the process may use
    weights    False: sizes and tokeniser only: tokenize and plan work
    revision   of a hub id
    """
    if _hf.is_transformers(model):
        return _open(lambda options, out: _hf.open_transformers(model, tokenizer, options, out), device, precision, threads, weights, progress)
    if not isinstance(model, (str, os.PathLike)):
        raise ArgumentError(f"load wants a name, a path or a transformers model, not {type(model).__name__}")
    if tokenizer is not None:
        raise ArgumentError("a tokenizer goes with a transformers model; a folder or file has its own")
    path = _find(model, revision)
    return _open(lambda options, out: call("jsc_model_open", path, options, out), device, precision, threads, weights, progress)


def load_tensors(config: Mapping[str, Any], tensors: Mapping[str, object], *, tokenizer_json: str | None = None, name: str = "model",
                 device: str = "auto", precision: str = "auto", threads: int | None = None, progress: Progress = None) -> Model:
    """A model of arrays in memory: the content of config.json, and arrays named as in the model's files."""
    given = _hf.numpy_tensors(tensors)
    return _open(lambda options, out: _hf.open_tensors(name, json.dumps(dict(config)), tokenizer_json, None, given, options, out),
                 device, precision, threads, True, progress)


def _find(model: str | os.PathLike[str], revision: str | None) -> bytes:
    """The path of a model; a name that is no file is looked up in both caches."""
    name, found = os.fspath(model), ffi.new("char[]", 4096)
    if revision is not None:
        return path_bytes(_hf.find_snapshot(name, revision))
    try:
        call("jsc_model_find", path_bytes(name), found, 4096)
        return bytes(ffi.string(found))
    except FileError:
        if _hf.is_hub_id(name) and ("/" in name or _hf.snapshot_of(name) is not None):
            return path_bytes(_hf.find_snapshot(name))
        raise


def _open(opened: Callable[[Any, Any], None], device: str, precision: str, threads: int | None, weights: bool, progress: Progress) -> Model:
    if precision not in _PRECISIONS:
        raise ArgumentError(f"precision is one of {', '.join(_PRECISIONS)}; not {precision!r}")
    if threads is not None and threads < 1:
        raise ArgumentError(f"threads: {threads}; at least 1, or None")
    start_threads()
    watch = Watch(progress)
    handle = ffi.new_handle(watch)
    name = ffi.new("char[]", device.encode())
    options = new("jsc_open_options", device=name, precision=getattr(lib, _PRECISIONS[precision]), threads=threads or get_threads(),
                  without_weights=int(not weights), progress=on_progress, progress_user=handle)
    out = ffi.new("jsc_model **")
    with watch.calling():
        opened(options, out)
    return Model(ffi.gc(out[0], _close))


def _close(pointer: Any) -> None:
    if not is_forked():  # the child's copy of the parent's model: its threads are not here to be ended
        lib.jsc_model_close(pointer)
