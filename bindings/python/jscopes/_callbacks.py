"""What C calls back: progress, which also lets Ctrl-C through, and writing. No exception is ever lost in C: it is kept, C is told to
stop, and it is raised again when the call has returned."""
from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from ._api import ffi
from ._library import text

Progress = Callable[[str, float, float], object] | bool | None
"""A function of (stage, done, total), which stops the call by raising; True: a line on stderr."""


class Watch:
    """The callbacks of one call and the exception that ended it. C is given `ffi.new_handle(watch)`, which the caller keeps: a watch that
    held its own handle would be a cycle, and live until the collector comes by."""

    def __init__(self, progress: Progress = None) -> None:
        self.progress: Callable[[str, float, float], object] | None = Line() if progress is True else progress or None
        self.raised: BaseException | None = None
        self.pieces: list[bytes] = []

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Around the call: what a callback raised comes before what the library made of it."""
        try:
            yield
        except Exception:
            if self.raised is None:
                raise
        finally:
            if isinstance(self.progress, Line):
                self.progress.end()
        if self.raised is not None:
            raise self.raised


def _keep(_kind: type[BaseException], value: BaseException, trace: TracebackType) -> None:
    """An exception that came before the try of a callback, such as a KeyboardInterrupt on its first line."""
    ffi.from_handle(trace.tb_frame.f_locals["user"]).raised = value


def _progress(user: Any, stage: Any, done: float, total: float) -> int:
    watch: Watch = ffi.from_handle(user)
    try:  # running Python at all lets pending signals be handled, so KeyboardInterrupt is raised here
        if watch.progress is not None and watch.raised is None:
            watch.progress(text(stage) or "", done, total)
    except BaseException as cause:  # raised again by Watch.calling
        watch.raised = cause
    return 0 if watch.raised is None else 1


def _write(user: Any, data: Any, n: int) -> int:
    watch: Watch = ffi.from_handle(user)
    try:
        watch.pieces.append(bytes(ffi.buffer(data, n)))
    except BaseException as cause:  # raised again by Watch.calling
        watch.raised = cause
    return 0 if watch.raised is None else 1


on_progress: Any = ffi.callback("int(void *, const char *, double, double)", _progress, error=1, onerror=_keep)
on_write: Any = ffi.callback("int(void *, const char *, size_t)", _write, error=1, onerror=_keep)


class Line:
    """Progress as one line on stderr, from the third second on: \\r on a terminal, else a line every 30 s."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.drawn = False

    def __call__(self, stage: str, done: float, total: float) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self.start < 2 or now - self.last < (0.1 if terminal else 30):
            return
        self.last = now
        line = f"jscopes: {stage} {100 * done / total:.0f} %" if total > 0 else f"jscopes: {stage}"
        sys.stderr.write(f"\r{line}\033[K" if terminal else line + "\n")
        sys.stderr.flush()
        self.drawn = terminal

    def end(self) -> None:
        if self.drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self.drawn = False
