"""Models of Hugging Face: folders in the local hub cache, and transformers models in memory. Nothing is ever downloaded."""
from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._api import ffi
from ._errors import ArgumentError, FileError
from ._library import call

_TORCH_TYPES = {"torch.float32": "F32", "torch.bfloat16": "BF16", "torch.float16": "F16", "torch.float64": "F64"}
_NUMPY_TYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "bfloat16": "BF16"}


def hub_cache() -> str:
    """Where huggingface_hub keeps what it downloaded."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface")
    return os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")


def is_hub_id(name: str) -> bool:
    """A name such as HuggingFaceTB/SmolLM2-135M; huggingface_hub allows no other characters."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not name.startswith((".", "/"))


def snapshot_of(name: str, revision: str | None = None) -> str | None:
    """The folder of a hub id in the local cache; None: it is not there."""
    folder = os.path.join(hub_cache(), f"models--{name.replace('/', '--')}")
    commit = revision or "main"
    ref = os.path.join(folder, "refs", commit)
    if os.path.isfile(ref):
        with open(ref, encoding="utf-8") as f:
            commit = f.read().strip()
    snapshot = os.path.join(folder, "snapshots", commit)
    return snapshot if os.path.isfile(os.path.join(snapshot, "config.json")) else None


def find_snapshot(name: str, revision: str | None = None) -> str:
    """The same; where it is not there, the error says how to bring it."""
    found = snapshot_of(name, revision)
    if found is None:
        at = "" if revision is None else f" at revision {revision}"
        raise FileError(f"{name}: neither a file, nor a folder, nor in the cache {hub_cache()}{at}; bring it with: hf download {name}")
    return found


def is_transformers(model: object) -> bool:
    """A model in memory: its configuration and its weights can be had."""
    return hasattr(model, "state_dict") and hasattr(getattr(model, "config", None), "to_dict")


def open_transformers(model: Any, tokenizer: Any, options: Any, out: Any) -> None:
    """jsc_model_open_tensors of a transformers model: weights on the CPU are read where they lie, others are copied first."""
    config = model.config.to_dict()
    if not config.get("model_type"):
        raise ArgumentError("the model's config has no model_type")
    weights = {name: _torch_tensor(name, tensor) for name, tensor in model.state_dict().items()}
    name = str(getattr(model, "name_or_path", "") or config.get("_name_or_path") or config["model_type"])
    tokenizer_json = config_json = None
    if tokenizer is not None:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)  # of transformers, or one of the package tokenizers
        if not hasattr(backend, "to_str"):
            raise ArgumentError(f"{type(tokenizer).__name__} is no fast tokeniser (one with backend_tokenizer): give no tokeniser and use ids")
        tokenizer_json = backend.to_str()
        config_json = json.dumps(_tokenizer_config(tokenizer))
    open_tensors(os.path.basename(name.rstrip("/")), json.dumps(config, default=str), tokenizer_json, config_json, weights, options, out)


def _tokenizer_config(tokenizer: Any) -> dict[str, Any]:
    """What tokenizer_config.json would say that tokenizer.json does not."""
    wanted = ("bos_token", "eos_token", "unk_token", "pad_token")
    out: dict[str, Any] = {name: str(token) for name in wanted if (token := getattr(tokenizer, name, None)) is not None}
    for name in ("add_bos_token", "add_eos_token"):
        if isinstance(flag := getattr(tokenizer, name, None), bool):
            out[name] = flag
    return out


def _torch_tensor(name: str, tensor: Any) -> tuple[str, int, tuple[int, ...], object]:
    """Element type, address, shape and what must stay alive."""
    kind = _TORCH_TYPES.get(str(tensor.dtype))
    if kind is None:
        if not tensor.is_floating_point():  # masks and counters, which no family uses
            tensor, kind = tensor.float(), "F32"
        else:
            raise ArgumentError(f"{name}: {tensor.dtype} cannot be read; float32, bfloat16, float16, float64 can: load the model in one of them")
    tensor = tensor.detach().cpu().contiguous()
    return kind, tensor.data_ptr(), tuple(tensor.shape), tensor


def _numpy_tensor(name: str, values: object) -> tuple[str, int, tuple[int, ...], object]:
    array = np.ascontiguousarray(values)
    kind = _NUMPY_TYPES.get(str(array.dtype))
    if kind is None:
        raise ArgumentError(f"{name}: {array.dtype} cannot be read; float32, float16, float64 can, and bfloat16 of ml_dtypes")
    return kind, array.ctypes.data, array.shape, array


def numpy_tensors(weights: Mapping[str, object]) -> dict[str, tuple[str, int, tuple[int, ...], object]]:
    """The same for arrays."""
    return {name: _numpy_tensor(name, values) for name, values in weights.items()}


def open_tensors(name: str, config: str, tokenizer: str | None, tokenizer_config: str | None,
                 weights: dict[str, tuple[str, int, tuple[int, ...], object]], options: Any, out: Any) -> None:
    """Hands the tensors over; they are read during the call only."""
    tensors = ffi.new("jsc_tensor[]", len(weights))
    alive: list[Any] = []
    for c, (tensor_name, (kind, address, shape, _)) in zip(tensors, weights.items(), strict=True):
        parts = ffi.new("char[]", tensor_name.encode()), ffi.new("char[]", kind.encode()), ffi.new("uint64_t[]", list(shape))
        alive.append(parts)
        c.name, c.dtype, c.shape = parts
        c.data, c.n_dims = ffi.cast("void *", address), len(shape)
    texts = [ffi.NULL if value is None else ffi.new("char[]", value.encode()) for value in (tokenizer, tokenizer_config)]
    call("jsc_model_open_tensors", name.encode(), config.encode(), *texts, tensors, len(weights), options, out)
    del alive
