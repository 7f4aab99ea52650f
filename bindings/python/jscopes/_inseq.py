"""Results for inseq's own viewer, and its `inseq.FeatureAttributionOutput.load`."""
from __future__ import annotations

import base64
import json
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import Floats
from ._errors import ArgumentError

if TYPE_CHECKING:
    from ._attribution import Attribution


def to_inseq(a: Attribution) -> Any:
    """inseq's own object, through its own reader."""
    import inseq

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        path.write_text(to_inseq_json(a), encoding="utf-8")
        return inseq.FeatureAttributionOutput.load(path)


def to_inseq_json(a: Attribution) -> str:
    """The file that inseq's save would write for a decoder-only model: prompt tokens down, explained tokens across."""
    columns, matrix = _columns(a)
    prompt = [_token(str(token), int(id)) for token, id in zip(a.tokens, a.ids, strict=True)]
    start = int(a.position) + 1
    if a.matrix is not None:  # every position is a target: the columns are the tokens that follow
        target, start = [prompt[0], *columns], 1
        matrix = matrix[:len(target)]
    else:
        target = [*prompt[:start], *columns]
        matrix = matrix[:start]
    scores = np.full((len(target), len(columns)), np.nan, dtype=np.float32)  # inseq leaves open what a target cannot have seen
    scores[:len(matrix)] = matrix
    for j in range(len(columns)):
        scores[start + j:, j] = np.nan
    sequence = {"source": target[:start], "target": target, "source_attributions": None, "target_attributions": _tensor(scores),
                "step_scores": {}, "sequence_scores": {}, "attr_pos_start": start, "attr_pos_end": len(target), "_aggregator": "scores",
                "_dict_aggregate_fn": {"source_attributions": {"scores": "vnorm"}, "target_attributions": {"scores": "vnorm"}},
                "_attribution_dim_names": {"source_attributions": {"0": "Input Tokens", "1": "Generated Tokens"},
                                           "target_attributions": {"0": "Input Tokens", "1": "Generated Tokens"}},
                "_num_dimensions": 2}
    whole = "".join(str(token) for token in a.tokens)
    info = {"model_name": a.model_name, "attribution_method": f"jscopes {a.scope}", "constrained_decoding": True,
            "input_texts": [whole], "generated_texts": [whole + "".join(str(c["attributes"]["token"]) for c in columns)],
            "attributed_fn": a.objective}
    listed = [_instance("inseq.data.attribution", "CoarseFeatureAttributionSequenceOutput", sequence)]
    return json.dumps(_instance("inseq.data.attribution", "FeatureAttributionOutput",
                                {"sequence_attributions": listed, "step_attributions": None, "info": info}), indent=1)


def _columns(a: Attribution) -> tuple[list[dict[str, Any]], Floats]:
    """The explained tokens, and [T][columns] scores."""
    if a.matrix is not None:
        if len(a) < 2:
            raise ArgumentError("inseq: a matrix of one token has no generated token to show")
        return [_token(str(a.tokens[p + 1]), int(a.ids[p + 1])) for p in range(len(a) - 1)], a.matrix[:-1].T
    rows = a.scores if a.scores.ndim == 2 else a.scores[np.newaxis]
    if len(a.targets) == len(rows):
        return [_token(str(target["text"]), int(target["id"])) for target in a.targets], rows.T
    name = "<direction>" if a.scope == "direction" else "<predicted distribution>"
    return [_token(name if len(rows) == 1 else f"<direction {i}>", -1) for i in range(len(rows))], rows.T


def _token(token: str, id: int) -> dict[str, Any]:
    return _instance("inseq.utils.typing", "TokenWithId", {"token": token, "id": id})


def _instance(module: str, name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"__instance_type__": [module, name], "attributes": attributes}


def _tensor(values: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    """One tensor in safetensors' layout, in base64."""
    data = np.ascontiguousarray(values, dtype="<f4").tobytes()
    header = json.dumps({"attribution": {"dtype": "F32", "shape": list(values.shape), "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    return base64.b64encode(struct.pack("<Q", len(header)) + header + data).decode()
