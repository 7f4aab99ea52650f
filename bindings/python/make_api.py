#!/usr/bin/env python3
"""make_api.py: turns the public C header into the table that the package loads.

    make_api.py INCLUDE_DIR OUT.py [CC]

The header is the only place where functions and structures are declared: `cc -E -P` of it feeds cffi (out-of-line, ABI mode), and the
JSC_..._INIT macros, expanded the same way, become the table INIT of default values.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cffi import FFI


def preprocess(cc: str, include: Path, text: str) -> str:
    """text after the preprocessor; the compiler's own headers are empty, since cffi knows size_t and the like."""
    with tempfile.TemporaryDirectory() as empty:
        for name in ("stddef.h", "stdint.h", "stdbool.h"):
            Path(empty, name).touch()
        command = [cc, "-E", "-P", "-nostdinc", "-U__GNUC__", "-I", empty, "-I", str(include), "-x", "c", "-"]
        return subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def initialisers(cc: str, include: Path) -> "dict[str, tuple[object, ...]]":
    """Structure name -> the values that its JSC_..._INIT gives the fields after `size`."""
    headers = "\n".join(path.read_text(encoding="utf-8") for path in sorted(include.glob("jscopes/*.h")))
    names = re.findall(r"^#define (JSC_\w+_INIT)\b", headers, flags=re.M)
    lines = "".join(f'"{name}" {name}\n' for name in names)
    found: dict[str, tuple[object, ...]] = {}
    for name, body in re.findall(r'"(JSC_\w+_INIT)"\s*\{(.*?)\}', preprocess(cc, include, "#include <jscopes/jscopes.h>\n" + lines), flags=re.S):
        size, *rest = (field.strip() for field in body.split(","))
        struct = re.fullmatch(r"sizeof\s*\(?\s*(\w+)\s*\)?", size)
        if struct is None:
            raise SystemExit(f"make_api.py: {name} does not begin with sizeof")
        found[struct.group(1)] = tuple(value(field) for field in rest)
    if len(found) != len(names):
        raise SystemExit(f"make_api.py: of {len(names)} initialisers {len(found)} were understood")
    return found


def value(field: str) -> object:
    """One field of an initialiser: a number, the name of a constant, "" or NULL."""
    if field == "NULL":
        return None
    if field.startswith('"'):
        return field[1:-1]
    for kind in (int, float):
        try:
            return kind(field)
        except ValueError:
            continue
    return field


def main() -> None:
    include, out, cc = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "cc"
    ffi = FFI()
    ffi.set_source("jscopes._api", None)
    ffi.cdef(preprocess(cc, include, "#include <jscopes/jscopes.h>\n"))
    out.parent.mkdir(parents=True, exist_ok=True)
    ffi.emit_python_code(str(out))
    with out.open("a", encoding="utf-8") as f:
        f.write(f"\nINIT = {initialisers(cc, include)!r}\n")


if __name__ == "__main__":
    main()
