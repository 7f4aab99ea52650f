"""How many threads models use that are loaded from here on."""
from __future__ import annotations

from ._errors import ArgumentError

_threads = 0


def set_threads(n: int | None) -> None:
    """Threads of the models that are loaded after this call, of each one's every request. None: OMP_NUM_THREADS, else as many as the
    process may use. Nothing outside jscopes changes: torch and numpy keep their own."""
    global _threads
    if n is not None and n < 1:
        raise ArgumentError(f"set_threads: {n} threads; at least 1, or None for OMP_NUM_THREADS")
    _threads = n or 0


def get_threads() -> int:
    """What set_threads was given last; 0: nothing, or None."""
    return _threads
