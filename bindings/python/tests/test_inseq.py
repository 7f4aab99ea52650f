"""The export for inseq, read by the real package where it is installed, and by its format's rules everywhere."""
from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import jscopes

TEXT = "The lens of the eye"


def exported(a: jscopes.Attribution, path):
    a.save(path, format="inseq")
    return json.loads(path.read_text())["attributes"]["sequence_attributions"][0]["attributes"]


def tensor(text: str) -> np.ndarray:
    """One float32 tensor of safetensors' layout."""
    data = base64.b64decode(text)
    n = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + n])["attribution"]
    return np.frombuffer(data[8 + n:], "<f4").reshape(entry["shape"])


def test_file(model, tmp_path):
    a = model.attribute(TEXT)
    one = exported(a, tmp_path / "a.json")
    scores = tensor(one["target_attributions"])
    assert [token["attributes"]["token"] for token in one["target"]] == [*a.tokens, a.targets["text"][0]]
    assert np.allclose(scores[:-1, 0], a.scores) and np.isnan(scores[-1, 0]) and one["attr_pos_start"] == len(a)
    matrix = model.attribute(TEXT, matrix=True)
    whole = exported(matrix, tmp_path / "m.json")
    values = tensor(whole["target_attributions"])
    assert values.shape == (len(a), len(a) - 1) and np.allclose(values[:3, 2], matrix.matrix[2, :3]) and np.isnan(values[3:, 2]).all()


def test_real_inseq(model, tmp_path):
    """inseq reads it and shows it."""
    inseq = pytest.importorskip("inseq", reason="inseq is not installed")
    for options in ({}, {"matrix": True}, {"scope": "fisher"}, {"targets": [3, 4]}, {"scope": "temperature", "position": 3}):
        a = model.attribute(TEXT, **options)
        a.save(tmp_path / "a.json", format="inseq")
        out = inseq.FeatureAttributionOutput.load(tmp_path / "a.json")
        page = out.show(display=False, return_html=True)
        assert "lens" in page or "len" in page
        assert a.tokens[0] in [token.token for token in out.sequence_attributions[0].target]
        again = a.to_inseq()
        assert np.allclose(np.nan_to_num(again.sequence_attributions[0].target_attributions.numpy()),
                           np.nan_to_num(out.sequence_attributions[0].target_attributions.numpy()))
        again.save(tmp_path / "b.json", overwrite=True)
        inseq.FeatureAttributionOutput.load(tmp_path / "b.json")
