"""Opening models from everywhere, their tokens, and every failure as one exception with one line."""
from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import jscopes

TEXT = "The lens of the eye"


def read_safetensors(path):
    """name -> array of a file with float32 and float16 tensors; bfloat16 as pairs (name, raw)."""
    data = path.read_bytes()
    n = int.from_bytes(data[:8], "little")
    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
    out = {}
    for name, entry in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            assert entry["dtype"] in kinds, f"{name}: {entry['dtype']}"
            out[name] = np.frombuffer(data[8 + n + start:8 + n + end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return out


def test_info(model):
    info = model.info
    assert (info.name, info.family, info.n_layers, info.d_model, info.vocab_size) == ("tiny_llama", "llama", 3, 27, 304)
    assert info.has_tokeniser and info.backend == "cpu" and "tiny_llama" in repr(model)


def test_gguf(model, golden):
    with jscopes.load(str(golden / "tiny_llama.gguf"), device="cpu", precision="strict", threads=1) as other:
        assert other.info.format == "gguf"
        assert np.allclose(other.attribute(TEXT).scores, model.attribute(TEXT).scores, rtol=1e-5)
    with pytest.raises(jscopes.Error, match="closed"):
        other.attribute(TEXT)
    other.close()


def test_without_weights(golden):
    model = jscopes.load(golden / "tiny_llama", weights=False)
    assert len(model.tokenize(TEXT)) > 3 and model.plan(TEXT).n_tokens > 3
    with pytest.raises(jscopes.Error):
        model.attribute(TEXT)


def test_tokens(model):
    ids = model.tokenize(TEXT)
    assert ids.dtype == np.int32 and b"".join(model.token_bytes(int(i)) for i in ids) == TEXT.encode()
    assert model.token_id("len") == ids[list(ids).index(model.token_id("len"))] and model.token_id(7) == 7
    with pytest.raises(jscopes.ArgumentError):
        model.token_bytes(10**6)
    with pytest.raises(jscopes.ArgumentError, match="UTF-8"):
        model.tokenize("half a \ud800 pair")


def test_hub_cache(golden, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--some-org--tiny-Llama"
    (folder / "refs").mkdir(parents=True)
    (folder / "snapshots").mkdir()
    (folder / "refs" / "main").write_text("0123abc")
    (folder / "snapshots" / "0123abc").symlink_to(golden / "tiny_llama")
    assert jscopes.load("some-org/tiny-Llama").info.n_layers == 3
    assert jscopes.load("some-org/tiny-Llama", revision="0123abc").info.n_layers == 3
    with pytest.raises(jscopes.FileError, match="hf download some-org/other"):
        jscopes.load("some-org/other")
    with pytest.raises(jscopes.FileError, match="at revision v2"):
        jscopes.load("some-org/tiny-Llama", revision="v2")
    with pytest.raises(jscopes.FileError, match="no-such-model"):
        jscopes.load("no-such-model")


def test_tensors_in_memory(model, golden):
    folder = golden / "tiny_llama"
    tensors = read_safetensors(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    other = jscopes.load_tensors(config, tensors, tokenizer_json=(folder / "tokenizer.json").read_text(), name="in memory")
    assert other.info.name == "in memory" and np.array_equal(other.tokenize(TEXT), model.tokenize(TEXT))
    for scope in ("semantic", "temperature", "fisher"):
        assert other.attribute(TEXT, scope=scope).scores.tobytes() == model.attribute(TEXT, scope=scope).scores.tobytes()
    with pytest.raises(jscopes.ArgumentError, match="int64 cannot be read"):
        jscopes.load_tensors(config, {"w": np.zeros(3, np.int64)})
    tensors.pop("model.norm.weight")
    with pytest.raises(jscopes.Error, match=r"norm\.weight"):
        jscopes.load_tensors(config, tensors)


@pytest.mark.parametrize(("kind", "arguments", "says"), [
    (jscopes.ArgumentError, {"scope": "fischer"}, "fisher"),
    (jscopes.ArgumentError, {"target": "Zanzibar"}, "7 tokens"),
    (jscopes.ArgumentError, {"target": 10**6}, "1000000"),
    (jscopes.ArgumentError, {"position": 99}, "99"),
    (jscopes.ArgumentError, {"target": 1, "targets": [2]}, "not both"),
    (jscopes.ArgumentError, {"target": 1, "contrast": [2, 3]}, "1 targets but 2"),
    (jscopes.ArgumentError, {"objective": "odds"}, "log-probability"),
    (jscopes.ArgumentError, {"scope": "fisher", "rtol": 0.1, "rank": 3}, "give one"),
    (jscopes.ArgumentError, {"scope": "path", "baseline": "median"}, "zero, mean"),
    (jscopes.ArgumentError, {"scope": "path", "steps": 0}, "0 path steps"),
    (jscopes.ArgumentError, {"directions": [[1.0, 2.0]]}, r"d_model = 27"),
    (jscopes.ArgumentError, {"memory": "much"}, "2GB"),
    (jscopes.OutOfMemoryError, {"memory": 1}, "byte"),
])
def test_failures(model, kind, arguments, says):
    with pytest.raises(kind, match=says) as caught:
        model.attribute(TEXT, **arguments)
    line = str(caught.value)
    assert "\n" not in line and isinstance(caught.value, jscopes.Error) and caught.value.status.startswith("JSC_E_")
    if kind is jscopes.OutOfMemoryError:
        assert isinstance(caught.value, MemoryError)


@pytest.mark.parametrize("ids", [[], [1.5], [[1, 2], [3, 4]], [2**40], ["The"]])
def test_bad_ids(model, ids):
    with pytest.raises(jscopes.ArgumentError):
        model.attribute(ids)


def test_options(model, golden):
    with pytest.raises(jscopes.ArgumentError, match="no option is called stepps"):
        model.plan(TEXT, stepps=3)
    for wrong in ({"precision": "double"}, {"device": "tpu"}, {"threads": -1}):
        with pytest.raises(jscopes.Error):
            jscopes.load(golden / "tiny_llama", **wrong)
    with pytest.raises(jscopes.ArgumentError, match="not int"):
        jscopes.load(3)
    for cotangents in (None, [1.0], [[[1.0]]]):
        with pytest.raises(jscopes.ArgumentError):
            model.vjp(TEXT, -1, cotangents)


def test_threads(golden):
    before = jscopes.get_threads()
    try:
        jscopes.set_threads(1)
        assert "1 thread)" in jscopes.load(golden / "tiny_llama").info.device
        assert "2 threads)" in jscopes.load(golden / "tiny_llama", threads=2).info.device
        with pytest.raises(jscopes.ArgumentError):
            jscopes.set_threads(0)
    finally:
        jscopes.set_threads(before or None)


def test_many_threads_of_the_caller(model):
    """One model, several Python threads at once: the same bits as alone."""
    texts = [TEXT, "The", "of the lens", "eye of the eye"]
    alone = [model.attribute(text, scope="fisher").scores.tobytes() for text in texts]
    found: dict[int, list[bytes]] = {}

    def work(which: int) -> None:
        found[which] = [model.attribute(text, scope="fisher").scores.tobytes() for text in texts for _ in range(3)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[i] == [bits for bits in alone for _ in range(3)] for i in range(3))
