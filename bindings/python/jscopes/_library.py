"""The shared library: where it is, structures with their defaults, calls whose failures are exceptions, what a fork forbids."""
from __future__ import annotations

import os
from typing import Any

from ._api import INIT, ffi
from ._errors import BY_STATUS, Error, ForkError


def _open() -> Any:
    """JSC_LIBRARY if it is set, else the library of the wheel, else the system's."""
    named = os.environ.get("JSC_LIBRARY")
    own = os.path.join(os.path.dirname(__file__), "libjscopes.so")
    path = named or (own if os.path.exists(own) else "libjscopes.so.0")
    try:
        return ffi.dlopen(path)
    except OSError as cause:
        raise ImportError(f"jscopes: {path} cannot be opened ({cause}); install the wheel, or let JSC_LIBRARY name a libjscopes.so") from cause


lib = _open()
_fields: dict[str, list[str]] = {}


def new(struct: str, **values: object) -> Any:
    """A structure with the defaults that the header's INIT macro gives it, then values."""
    out = ffi.new(f"{struct} *")
    names = _fields.get(struct)
    if names is None:
        names = _fields[struct] = [name for name, _ in ffi.typeof(struct).fields]
    out.size = ffi.sizeof(struct)
    for name, default in zip(names[1:], INIT[struct], strict=False):
        if isinstance(default, str) and default:
            setattr(out, name, getattr(lib, default))
        elif default:
            setattr(out, name, default)
    for name, value in values.items():
        setattr(out, name, value)
    return out


def call(function: str, *arguments: object) -> None:
    """Calls a function that returns a status and takes an error last; a failure is raised with the library's line."""
    error = ffi.new("jsc_error *")
    status = getattr(lib, function)(*arguments, error)
    if status != lib.JSC_OK:
        raise failure(status, text(error.text) or text(lib.jsc_status_text(status)) or "")


def failure(status: int, line: str) -> Error:
    """The exception of a status."""
    return BY_STATUS.get(text(lib.jsc_status_name(status)) or "", Error)(line)


def text(pointer: Any) -> str | None:
    """A C string; NULL is None."""
    return None if pointer == ffi.NULL else bytes(ffi.string(pointer)).decode("utf-8", "replace")


def path_bytes(path: object) -> bytes:
    """A file's name as the library takes it."""
    return os.fsencode(path)  # type: ignore[arg-type]


def owned(pointer: Any, free: str, size: int = 0) -> Any:
    """pointer, given back by the library's function free when Python drops it."""
    return ffi.gc(pointer, getattr(lib, free), size)


# ---- fork: the threads that computed in the parent do not exist in the child, and waiting for them would never end -------------------

_threads_exist = False
_forked = False


def start_threads() -> None:
    """Says that from here on the process has threads of the library; refuses in a child of one that had them."""
    global _threads_exist
    refuse_fork()
    _threads_exist = True


def refuse_fork() -> None:
    if _forked:
        raise ForkError("this process was forked after its parent had loaded a model, and the library's threads did not come along: use "
                        'multiprocessing.get_context("spawn"), or load the first model after the fork')


def is_forked() -> bool:
    return _forked


def _after_fork() -> None:
    global _forked
    _forked = _threads_exist


os.register_at_fork(after_in_child=_after_fork)


def version() -> str:
    """The version of the library."""
    return text(lib.jsc_version()) or ""


