"""An opened model: tokens, plans, scores, cotangents."""
from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ._api import ffi
from ._arrays import Floats, Ints, copy_ints, rows
from ._attribution import Attribution
from ._callbacks import Progress, Watch, on_progress
from ._calls import interruptible
from ._errors import ArgumentError, Error
from ._library import call, lib, new, refuse_fork, text
from ._plan import Plan
from ._request import Options, Request, Token, memory_bytes, prompt_ids
from ._spectrum import Spectrum

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class Info:
    """What was loaded; the fields are those of jsc_model_info."""

    path: str
    name: str
    family: str
    format: str
    weight_types: str
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    max_position: int
    sliding_window: int
    tied_head: bool
    rope_theta: float
    rope_scaling: str
    parameters: int
    file_bytes: int
    weight_bytes: int
    device: str
    backend: str
    precision: str
    tokeniser: str
    has_tokeniser: bool
    bos_id: int
    eos_id: int
    adds_bos: bool
    warnings: tuple[str, ...]
    load_seconds: float
    no_gpu: str | None
    traits: str


def _info(pointer: Any) -> Info:
    c = new("jsc_model_info")
    call("jsc_model_describe", pointer, c)
    values: dict[str, Any] = {}
    for name in Info.__dataclass_fields__:
        value = getattr(c, name)
        if name == "warnings":
            value = tuple(text(value[i]) for i in range(c.n_warnings))
        elif isinstance(value, ffi.CData):
            value = text(value)
        values[name] = value
    for name in ("tied_head", "has_tokeniser", "adds_bos"):
        values[name] = bool(values[name])
    return Info(**values)


class Model:
    """A model that was opened by jscopes.load. Never changed; any number of threads may use it at once.

    Also a context manager: `with jscopes.load(...) as model:` gives its memory back at the end, else Python does when it drops it."""

    def __init__(self, pointer: Any) -> None:
        self._c: Any = pointer
        self._running = 0
        self._lock = threading.Lock()
        self.info: Info = _info(pointer)

    def __repr__(self) -> str:
        i = self.info
        return f"<jscopes.Model {i.name}: {i.family}, {i.n_layers} blocks, width {i.d_model}, on {i.device}>"

    # ---- life ---------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _use(self) -> Iterator[Any]:
        """The library's model, which cannot be closed meanwhile."""
        refuse_fork()
        with self._lock:
            if self._c is None:
                raise Error(f"{self.info.name} was closed")
            self._running += 1
        try:
            yield self._c
        finally:
            with self._lock:
                self._running -= 1

    def close(self) -> None:
        """Gives the model's memory back now. Closing twice does nothing."""
        with self._lock:
            if self._running:
                raise Error(f"{self.info.name} is in use by another thread; close it when that has ended")
            pointer, self._c = self._c, None
        if pointer is not None:
            ffi.release(pointer)

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- tokens -------------------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool = True, front_pad: int = 0) -> Ints:
        """The ids of the model's own tokeniser. special: with BOS where the model has one; front_pad: so many further BOS in front."""
        return self.tokenize_with_warnings(text, special=special, front_pad=front_pad)[0]

    def tokenize_with_warnings(self, prompt: str, *, special: bool = True, front_pad: int = 0) -> tuple[Ints, list[str]]:
        """The same, and what was odd about the text: a doubled BOS, characters that the vocabulary cannot express."""
        data = prompt.encode("utf-8", "surrogatepass")  # the library names the byte that is no UTF-8
        out = ffi.new("jsc_tokens **")
        options = new("jsc_tokenize_options", no_special=int(not special), front_pad=front_pad)
        with self._use() as model:
            call("jsc_tokenize", model, data, len(data), options, out)
        try:
            ids = copy_ints(out[0].ids, out[0].n) if out[0].n else np.zeros(0, np.int32)
            assert ids is not None
            return ids, [text(out[0].warnings[i]) or "" for i in range(out[0].n_warnings)]
        finally:
            lib.jsc_tokens_free(out[0])

    def token_bytes(self, id: int) -> bytes:
        """The bytes that one token stands for; they need not be complete UTF-8."""
        data, n = ffi.new("char **"), ffi.new("size_t *")
        with self._use() as model:
            call("jsc_token_bytes", model, id, data, n)
            return bytes(ffi.buffer(data[0], n[0]))

    def token_id(self, token: Token) -> int:
        """The id of the one token whose text is exactly this; an id is returned as it is."""
        if not isinstance(token, str):
            return int(token)
        data, out = token.encode("utf-8", "surrogatepass"), ffi.new("int32_t *")
        with self._use() as model:
            call("jsc_token_find", model, data, len(data), out)
        return int(out[0])

    # ---- scores -------------------------------------------------------------------------------------------------------------------

    def attribute(self, prompt: str | Sequence[int] | Ints | object, *, scope: str = "", position: int = -1, target: Token | None = None,
                  targets: Sequence[Token] | None = None, contrast: Token | Sequence[Token] | None = None, objective: str | None = None,
                  directions: object = None, rtol: float | None = None, exact: bool = False, rank: int | None = None,
                  steps: int | None = None, path_rule: str = "uniform", baseline: str | int = "zero", layers: bool = False,
                  matrix: bool = False, top_predictions: int | None = None, memory: int | str | None = None, chunk: int = 0, seed: int = 0,
                  progress: Progress = None) -> Attribution:
        """Scores every token of a prompt: how much the prediction came from it.

        prompt           a text, or token ids
        scope            semantic (default), temperature, fisher, path, input-x-gradient, direction (default if directions are given)
        position         the prediction after this token is explained; negative counts from the end
        target, targets  semantic, path, input-x-gradient: a token, by its text or id; targets (semantic): several. Default: the likeliest
        contrast         explains target minus this token: one for each target
        objective        logit (default), log-probability
        directions       direction: vectors of d_model numbers; arrays, buffers, DLPack
        rtol, exact, rank  fisher: relative standard error wanted (default 0.02); all directions; so many eigenvectors
        steps, path_rule, baseline  path: number of steps; uniform, graded; zero, mean or a token id
        layers           also the scores read at every block's input
        matrix           every position a target: position x token
        memory           limit beyond the weights, bytes or "2GB"
        progress         a function of (stage, done, total); True: a line on stderr. Ctrl-C works in any case
        """
        return self._attribute(prompt, {
            "scope": scope, "position": position, "target": target, "targets": targets, "contrast": contrast, "objective": objective,
            "directions": directions, "rtol": rtol, "exact": exact, "rank": rank, "steps": steps, "path_rule": path_rule,
            "baseline": baseline, "layers": layers, "matrix": matrix, "top_predictions": top_predictions, "memory": memory, "chunk": chunk,
            "seed": seed, "progress": progress})

    def _attribute(self, prompt: object, options: Options) -> Attribution:
        request = Request(self, prompt_ids(self, prompt), options)

        def work() -> Attribution:
            out = ffi.new("jsc_attribution **")
            with self._use() as model, request.watch.calling():
                call("jsc_attribute", model, request.c, out)
            return Attribution(out[0])

        return interruptible(request.watch, work)

    def attribute_many(self, prompts: Iterable[object], *, on_error: str = "raise", **options: Unpack[Options]) -> Iterator[Attribution | Error]:
        """The results of prompts (texts, ids), one after another, with the same options for all.

        on_error  "raise": the first failure ends it; "yield": the jscopes.Error stands in the place of its result"""
        if on_error not in ("raise", "yield"):
            raise ArgumentError(f"on_error is raise or yield, not {on_error!r}")
        return self._each(prompts, on_error == "yield", options)

    def _each(self, prompts: Iterable[object], keep: bool, options: Options) -> Iterator[Attribution | Error]:
        for prompt in prompts:
            try:
                yield self._attribute(prompt, options)
            except Error as failure:
                if not keep:
                    raise
                yield failure

    def plan(self, prompt: str | Sequence[int] | Ints | object, **options: Unpack[Options]) -> Plan:
        """What attribute would need with the same arguments, before anything is allocated. Works without weights."""
        request = Request(self, prompt_ids(self, prompt), options)
        out = new("jsc_plan")
        with self._use() as model:
            call("jsc_plan_make", model, request.c, out)
        return Plan.of(out)

    # ---- the engine itself ----------------------------------------------------------------------------------------------------------

    def fisher_spectrum(self, prompt: str | Sequence[int] | Ints | object, position: int = -1, *, token: int | None = None, k: int = 10,
                        exact: bool = False, oversample: int = 0, iterations: int = 0, seed: int = 0, memory: int | str | None = None,
                        progress: Progress = None) -> Spectrum:
        """The k largest eigenvalues, with vectors and residuals, of the Fisher matrix F at a position; of F_t = J_t^T F J_t of one input
        token, if token is given. oversample, iterations: of the randomised method, 0 as needed; exact: every row, whatever it costs."""
        return self._spectrum("JSC_SPECTRUM_FISHER" if token is None else "JSC_SPECTRUM_FISHER_INPUT", prompt, progress, memory,
                              position=position, token=-1 if token is None else token, k=k, exact=int(exact), oversample=oversample,
                              iterations=iterations, seed=seed)

    def jacobian_singular_values(self, prompt: str | Sequence[int] | Ints | object, position: int = -1, *, token: int, k: int = 10,
                                 exact: bool = False, oversample: int = 0, iterations: int = 0, seed: int = 0,
                                 memory: int | str | None = None, progress: Progress = None) -> Spectrum:
        """The k largest singular values, with vectors and residuals, of J_t = dy_p/dx_t of one input token."""
        return self._spectrum("JSC_SPECTRUM_JACOBIAN", prompt, progress, memory, position=position, token=token, k=k, exact=int(exact),
                              oversample=oversample, iterations=iterations, seed=seed)

    def _spectrum(self, kind: str, prompt: object, progress: Progress, memory: int | str | None, **options: int) -> Spectrum:
        ids, watch = prompt_ids(self, prompt), Watch(progress)
        handle = ffi.new_handle(watch)
        request = new("jsc_spectrum_request", kind=getattr(lib, kind), ids=ffi.from_buffer("int32_t[]", ids), n_ids=len(ids),
                      memory_limit=memory_bytes(memory), progress=on_progress, progress_user=handle, **options)

        def work() -> Spectrum:
            out, _alive = ffi.new("jsc_spectrum **"), (ids, handle)  # what request points to
            with self._use() as model, watch.calling():
                call("jsc_spectrum_compute", model, request, out)
            try:
                return Spectrum.of(out[0])
            finally:
                lib.jsc_spectrum_free(out[0])

        return interruptible(watch, work)

    def vjp(self, prompt: str | Sequence[int] | Ints | object, position: int | Sequence[int] | Ints = -1, cotangents: object = None, *,
            reduce: str | None = "norm2", layers: bool = False, memory: int | str | None = None, chunk: int = 0,
            progress: Progress = None) -> Floats:
        """Pulls cotangents of the last hidden state y back to the input embeddings x.

        position    whose y: one for all cotangents, or one for each
        cotangents  [B][d_model], or [d_model]: then the result has no B
        reduce      "norm2": sums of squares || v_b^T dy_p/dx_t ||^2, [B][T] ([blocks][B][T] if layers, at every block's input);
                    None: the gradients v_b^T dy_p/dx_t themselves, [B][T][d_model]
        """
        if reduce not in ("norm2", None):
            raise ArgumentError(f'reduce is "norm2" or None, not {reduce!r}')
        if reduce is None and layers:
            raise ArgumentError('gradients are those of block 0; layers=True wants reduce="norm2"')
        if cotangents is None:
            raise ArgumentError("vjp wants cotangents: rows of d_model numbers")
        ids, d = prompt_ids(self, prompt), self.info.d_model
        given = rows(cotangents, d, "cotangents")
        places = np.ascontiguousarray(np.broadcast_to(np.asarray(position, dtype=np.int64), (len(given),)))
        shape = (len(given), len(ids)) if reduce else (len(given), len(ids), d)
        out = np.zeros((self.info.n_layers, *shape) if layers else shape)
        watch = Watch(progress)
        handle = ffi.new_handle(watch)
        request = new("jsc_vjp_request", ids=ffi.from_buffer("int32_t[]", ids), n_ids=len(ids), n_rhs=len(given), layers=int(layers),
                      positions=ffi.from_buffer("int64_t[]", places), cotangents=ffi.from_buffer("double[]", given), chunk=chunk,
                      memory_limit=memory_bytes(memory), progress=on_progress, progress_user=handle)
        setattr(request, "sums" if reduce else "gradients", ffi.from_buffer("double[]", out, require_writable=True))

        def work() -> None:
            _alive = ids, given, places, out, handle  # what request points to
            with self._use() as model, watch.calling():
                call("jsc_vjp", model, request)

        interruptible(watch, work)
        single = np.ndim(cotangents) == 1  # type: ignore[arg-type]
        return np.squeeze(out, axis=1 if layers else 0) if single else out
