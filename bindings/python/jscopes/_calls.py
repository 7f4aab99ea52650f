"""Long calls are made by a thread of ours, so that Ctrl-C is heard at any time: the library asks for progress between two pieces of work only,
and one of those can take many seconds (a block with hundreds of right-hand sides on a CPU)."""
from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ._callbacks import Watch

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Result = TypeVar("Result")
GRACE = 0.5  # seconds for which an interrupted call is waited for: mostly it has ended by then, and its memory is free
_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def interruptible(watch: Watch, work: Callable[[], Result]) -> Result:
    """work(), which calls the library with watch. Signals are for the main thread, so other threads do their work themselves.

    What a signal raises ends the waiting; work ends by itself at its next piece, and the call after that waits for it. One thread serves all
    calls: the threads that OpenMP gives it are kept."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    from concurrent.futures import wait  # imports logging; not when jscopes is imported

    future = _worker().submit(contextvars.copy_context().run, work)
    try:
        wait((future,))
    except BaseException as raised:
        watch.raised = raised
        if not future.cancel():
            wait((future,), GRACE)
        raise
    return future.result()


def _worker() -> ThreadPoolExecutor:
    global _pool
    from concurrent.futures import ThreadPoolExecutor

    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(1, "jscopes")
        return _pool
