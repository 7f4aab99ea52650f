"""From Python's options to the library's request."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypedDict

from ._api import ffi
from ._arrays import Ints, rows, token_ids
from ._callbacks import Progress, Watch, on_progress
from ._errors import ArgumentError
from ._library import call, lib, new

if TYPE_CHECKING:
    from ._model import Model

Token = str | int
"""A token: its id, or a text that is exactly one token."""


class Options(TypedDict, total=False):
    """The options of Model.attribute."""

    scope: str
    position: int
    target: Token | None
    targets: Sequence[Token] | None
    contrast: Token | Sequence[Token] | None
    objective: str | None
    directions: object
    rtol: float | None
    exact: bool
    rank: int | None
    steps: int | None
    path_rule: str
    baseline: str | int
    layers: bool
    matrix: bool
    top_predictions: int | None
    memory: int | str | None
    chunk: int
    seed: int
    progress: Progress


_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_OBJECTIVES = {"logit": "JSC_OBJECTIVE_LOGIT", "log-probability": "JSC_OBJECTIVE_LOG_PROBABILITY", "contrast": "JSC_OBJECTIVE_CONTRAST"}
_BASELINES = {"zero": "JSC_BASELINE_ZERO", "mean": "JSC_BASELINE_MEAN"}
_PATH_RULES = {"uniform": "JSC_PATH_UNIFORM", "graded": "JSC_PATH_GRADED"}


class Request:
    """A jsc_request with everything that it points to."""

    def __init__(self, model: Model, ids: Ints, options: Options) -> None:
        unknown = set(options) - _KNOWN
        if unknown:
            raise ArgumentError(f"no option is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(_KNOWN))}")
        self.watch = Watch(options.get("progress"))
        self.handle = ffi.new_handle(self.watch)
        self.ids = ids
        self.c = new("jsc_request", ids=ffi.from_buffer("int32_t[]", ids), n_ids=len(ids), position=options.get("position", -1),
                     layers=int(options.get("layers", False)), matrix=int(options.get("matrix", False)), seed=options.get("seed", 0),
                     chunk=options.get("chunk", 0), memory_limit=memory_bytes(options.get("memory")), progress=on_progress,
                     progress_user=self.handle)
        self._scope(options)
        self._targets(model, options)
        self._directions(model, options.get("directions"))
        self._fisher(options)
        self._path(options)
        if (top := options.get("top_predictions")) is not None:
            self.c.top_predictions = top

    def _scope(self, options: Options) -> None:
        scope = ffi.new("jsc_scope *")
        default = "semantic" if options.get("directions") is None else "direction"
        call("jsc_scope_find", str(options.get("scope") or default).encode(), scope)
        self.c.scope = scope[0]

    def _targets(self, model: Model, options: Options) -> None:
        if options.get("target") is not None and options.get("targets") is not None:
            raise ArgumentError("give target or targets, not both")
        one, several, minus = options.get("target"), options.get("targets"), options.get("contrast")
        wanted = list(several) if several is not None else [one] if one is not None else []
        ids = [model.token_id(token) for token in wanted if token is not None]
        objective = options.get("objective") or ("logit" if minus is None else "contrast")
        if minus is not None:
            others: list[Token] = [minus] if isinstance(minus, (str, int, Integral)) else list(minus)
            if len(others) != len(ids):
                raise ArgumentError(f"{len(ids)} targets but {len(others)} tokens to contrast them with")
            ids = [token for pair in zip(ids, (model.token_id(other) for other in others), strict=True) for token in pair]
        self.c.objective = _constant(_OBJECTIVES, objective, "objective")
        self.targets = ffi.new("int32_t[]", ids)
        self.c.targets = self.targets if ids else ffi.NULL
        self.c.n_targets = len(ids) // 2 if minus is not None else len(ids)

    def _directions(self, model: Model, directions: object) -> None:
        if directions is not None:
            self.directions = rows(directions, model.info.d_model, "directions")
            self.c.directions = ffi.from_buffer("double[]", self.directions)
            self.c.n_directions = len(self.directions)

    def _fisher(self, options: Options) -> None:
        rtol, rank, exact = options.get("rtol"), options.get("rank"), options.get("exact", False)
        if (rtol is not None) + (rank is not None) + bool(exact) > 1:
            raise ArgumentError("rtol, rank and exact are three ways to compute Fisher Scope; give one")
        if rtol is not None:
            self.c.fisher_rtol = rtol
        if exact:
            self.c.fisher_mode = lib.JSC_FISHER_EXACT
        if rank is not None:
            self.c.fisher_mode, self.c.fisher_rank = lib.JSC_FISHER_RANK, rank

    def _path(self, options: Options) -> None:
        if (steps := options.get("steps")) is not None:
            self.c.path_steps = steps
        self.c.path_rule = _constant(_PATH_RULES, options.get("path_rule", "uniform"), "path_rule")
        baseline = options.get("baseline", "zero")
        if isinstance(baseline, str):
            self.c.baseline = _constant(_BASELINES, baseline, "baseline (or a token id)")
        else:
            self.c.baseline, self.c.baseline_id = lib.JSC_BASELINE_ID, baseline


_KNOWN = frozenset(Options.__annotations__)


def _constant(table: dict[str, str], name: str, what: str) -> Any:
    if name not in table:
        raise ArgumentError(f"{what} is one of {', '.join(table)}; not {name!r}")
    return getattr(lib, table[name])


def memory_bytes(memory: int | str | None) -> int:
    """Bytes, or a text such as "500MB" or "4 GiB"; None is 0, what the machine has free."""
    if memory is None:
        return 0
    if isinstance(memory, str):
        number = memory.strip().rstrip("BbKkMmGgTtIi ").strip()
        unit = memory.strip()[len(number):].strip().lower()
        try:
            return int(float(number) * _UNITS[unit if unit != "b" else ""])
        except (KeyError, ValueError, OverflowError):
            raise ArgumentError(f"memory: {memory!r} is not understood; such as 2000000000, \"2GB\", \"500 MiB\"") from None
    return int(memory)


def prompt_ids(model: Model, prompt: object) -> Ints:
    """The ids of a text, or ids as they are."""
    if isinstance(prompt, str):
        return model.tokenize(prompt)
    return token_ids(prompt)
