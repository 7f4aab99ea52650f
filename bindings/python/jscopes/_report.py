"""Reports of one result or several: the library writes them, in all its formats."""
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._api import ffi
from ._callbacks import Watch, on_write
from ._errors import ArgumentError
from ._library import call, lib, new, path_bytes

if TYPE_CHECKING:
    from ._attribution import Attribution

EXTENSIONS = {".json": "json", ".html": "html", ".htm": "html", ".svg": "svg", ".txt": "text"}


@dataclass(frozen=True)
class Style:
    """How a report looks. Fields that a format does not know are passed over."""

    width: int | None = None
    """text: columns; None: those of the terminal"""
    colour: bool | None = None
    """text: None: if stdout is a terminal that has colours"""
    ascii: bool = False
    top_k: int | None = None
    inches: float | None = None
    """svg: 3.25 (one column of a page) to 6.75"""
    series: bool = False
    """svg: the prompt is a series of numbers"""
    title: str | None = None
    difference: bool = False

    def options(self) -> tuple[Any, list[Any]]:
        """The library's structure, and what must stay alive beside it."""
        title = ffi.NULL if self.title is None else ffi.new("char[]", self.title.encode())
        out = new("jsc_report_options", colour=_colours(self.colour), width=self.width or _columns(),
                  ascii=int(self.ascii), series=int(self.series), difference=int(self.difference), title=title)
        if self.top_k is not None:
            out.top_k = self.top_k
        if self.inches is not None:
            out.inches = self.inches
        return out, [title]


def _columns() -> int:
    """Of the terminal; else what COLUMNS says, else 80."""
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        given = os.environ.get("COLUMNS", "")
        return int(given) if given.isdecimal() and int(given) > 0 else 80


def _colours(wanted: bool | None) -> int:
    terminal = sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")
    if wanted is False or (wanted is None and not terminal):
        return int(lib.JSC_COLOUR_NONE)
    return int(lib.JSC_COLOUR_TRUE if os.environ.get("COLORTERM") in ("truecolor", "24bit") else lib.JSC_COLOUR_256)


def _input(results: Sequence[Attribution], labels: Sequence[str] | None) -> tuple[Any, list[Any]]:
    if not results:
        raise ArgumentError("a report is of one result or several; none was given")
    if labels is not None and len(labels) != len(results):
        raise ArgumentError(f"{len(labels)} labels for {len(results)} results")
    pointers = ffi.new("jsc_attribution *[]", [result._c for result in results])
    names = ffi.NULL if labels is None else [ffi.new("char[]", label.encode()) for label in labels]
    array = ffi.NULL if labels is None else ffi.new("char *[]", names)
    out = ffi.new("jsc_report_input *", {"n": len(results), "attributions": pointers, "labels": array})
    return out, [pointers, names, array]


def render(results: Attribution | Sequence[Attribution], format: str = "text", labels: Sequence[str] | None = None,
           style: Style | None = None) -> str:
    """A report of one result, or of several of one prompt side by side with how alike they are, as text, json, html or svg."""
    from ._attribution import Attribution

    listed = [results] if isinstance(results, Attribution) else list(results)
    given, alive = _input(listed, labels)
    options, more = (style or Style()).options()
    watch = Watch()
    handle = ffi.new_handle(watch)
    with watch.calling():
        call("jsc_report_write_several", given, format.encode(), options, on_write, handle)
    del alive, more
    return b"".join(watch.pieces).decode("utf-8")


def save(results: Attribution | Sequence[Attribution], path: str | os.PathLike[str], format: str | None = None,
         labels: Sequence[str] | None = None, style: Style | None = None) -> None:
    """render into a file, which appears whole under its name or not at all; the format is that of the name (.json, .html, .svg, .txt)."""
    from ._attribution import Attribution

    listed = [results] if isinstance(results, Attribution) else list(results)
    if format is None:
        format = EXTENSIONS.get(os.path.splitext(os.fspath(path))[1].lower())
    if format is None:
        raise ArgumentError(f"{os.fspath(path)}: say which format: {', '.join(sorted(set(EXTENSIONS.values())))}")
    given, alive = _input(listed, labels)
    options, more = (style or Style()).options()
    call("jsc_report_save_several", given, format.encode(), options, path_bytes(path))
    del alive, more


def compare(a: Attribution, b: Attribution, k: int = 10) -> dict[str, float]:
    """How alike two results of the same tokens are: `spearman`, the rank correlation of their scores, and `common` of the `k` strongest."""
    out = ffi.new("jsc_comparison *")
    call("jsc_compare", a._c, b._c, k, out)
    return {"spearman": out.spearman, "k": out.k, "common": out.common}
