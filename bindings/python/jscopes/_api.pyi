from typing import Any

ffi: Any
INIT: dict[str, tuple[object, ...]]
