"""Exceptions: one class for each status of the library, all under Error; their text is the library's one line."""
from __future__ import annotations


class Error(Exception):
    """What every failure of jscopes is. `status` is the library's name for it, such as "JSC_E_FORMAT"."""

    status = "JSC_E_INTERNAL"


class ArgumentError(Error, ValueError):
    """An argument is outside its range."""

    status = "JSC_E_ARGUMENT"


class OutOfMemoryError(Error, MemoryError):
    """The plan does not fit; the text names the bytes it needs and the limit."""

    status = "JSC_E_MEMORY"


class FileError(Error, OSError):
    """A file cannot be read or written."""

    status = "JSC_E_FILE"


class FormatError(Error, ValueError):
    """A file contradicts its format or another file."""

    status = "JSC_E_FORMAT"


class UnsupportedError(Error, NotImplementedError):
    """Valid, but not implemented here."""

    status = "JSC_E_UNSUPPORTED"


class NumericError(Error, ArithmeticError):
    """A number became infinite or undefined."""

    status = "JSC_E_NUMERIC"


class DeviceError(Error, RuntimeError):
    """The device is absent or failed."""

    status = "JSC_E_DEVICE"


class CancelledError(Error):
    """The progress callback asked to stop."""

    status = "JSC_E_CANCELLED"


class InternalError(Error, RuntimeError):
    """A fault of jscopes itself."""

    status = "JSC_E_INTERNAL"


class ForkError(Error, RuntimeError):
    """This process was forked from one that had loaded a model; the threads that computed there do not exist here."""

    status = "JSC_E_UNSUPPORTED"


_CLASSES: tuple[type[Error], ...] = (ArgumentError, OutOfMemoryError, FileError, FormatError, UnsupportedError, NumericError, DeviceError,
                                     CancelledError, InternalError)
BY_STATUS: dict[str, type[Error]] = {kind.status: kind for kind in _CLASSES}
