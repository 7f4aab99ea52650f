"""Scores, cotangents and maps, against the float64 references of tests/golden and against each other."""
from __future__ import annotations

import numpy as np
import pytest

import jscopes

TEXT = "The lens of the eye"
TOLERANCE = 2e-4  # of strict float32 against float64, as in tests/unit


def close(got: np.ndarray, wanted: object) -> bool:
    """The golden file has an axis of rows also where there is one, and no numbers after the position, where scores are 0."""
    given = np.asarray(wanted, dtype=float)
    got = got.reshape(*given.shape[:-1], got.shape[-1])
    whole = np.zeros(got.shape)
    whole[..., :given.shape[-1]] = given
    return bool(np.all(np.abs(got - whole) <= TOLERANCE * np.abs(whole).max()))


def options_of(request: dict[str, object]) -> dict[str, object]:
    """The request of a golden file in the words of Model.attribute."""
    out = {name: request[name] for name in ("scope", "target", "directions") if name in request}
    targets = request.get("targets")
    if request.get("objective") == "contrast":
        flat = np.ravel(targets).tolist()
        out["targets"], out["contrast"] = flat[::2], flat[1::2]
    elif targets is not None:
        out["targets"] = targets
    if request.get("objective") == "log-probability":
        out["objective"] = "log-probability"
    if request["scope"] == "path":
        out["baseline"] = request["baseline_id"] if request["baseline"] == "id" else request["baseline"]
        out["steps"] = request["steps"]
    if request["scope"] == "fisher":
        out["exact"] = True
    out["layers"], out["matrix"] = "layers" in request, "matrix" in request
    return out


def test_reference(model, reference):
    """Every request of the golden file, whose numbers were made in float64."""
    done = 0
    for prompt in reference["prompts"]:
        for request in prompt["requests"]:
            a = model.attribute(prompt["ids"], position=prompt["position"], **options_of(request))
            what = f"{prompt['ids']}: {request['name']}"
            for name, got in (("scores", a.scores), ("layers", a.layers), ("matrix", a.matrix), ("signed", a.signed_scores)):
                if name in request:
                    wanted = request[name] if name != "matrix" else [row + [0] * (len(a) - len(row)) for row in request[name]]
                    assert close(got, wanted), f"{what}: {name}"
            if a.path is not None:
                assert a.path.difference == pytest.approx(request["difference"], rel=TOLERANCE), what
            if a.fisher is not None and "trace" in request:
                assert a.fisher.trace == pytest.approx(request["trace"], rel=TOLERANCE), what
            assert a.y_norm == pytest.approx(prompt["y_norm"], rel=1e-5)
            assert [row["id"] for row in a.predictions[:5]] == [row["id"] for row in prompt["predictions"]]
            done += 1
    assert done == sum(len(prompt["requests"]) for prompt in reference["prompts"]) > 60


def test_arrays(model):
    a = model.attribute(TEXT, scope="fisher", layers=True, matrix=True)
    n = len(a)
    assert n == len(model.tokenize(TEXT)) and "".join(a.tokens) == TEXT and b"".join(a.token_bytes) == TEXT.encode()
    assert a.scores.shape == (n,) and a.layers.shape == (3, n) and a.matrix.shape == (n, n)
    assert np.array_equal(a.layers[0], a.scores) and np.allclose(a.matrix[-1], a.scores, rtol=1e-6)
    assert np.all(np.triu(a.matrix, 1) == 0)
    assert a.fisher.mode == "exact" and a.fisher.trace > 0 and a.path is None
    assert a.targets.size == 0 and a.signed_scores is None and a.matrix_targets is None
    for values in (a.scores, a.layers, a.matrix, a.ids):
        assert values.flags.owndata or values.base.flags.owndata
        assert values.flags.writeable
    scores = a.scores
    del a
    assert scores.sum() > 0  # its own memory


def test_targets(model):
    one = model.attribute(TEXT, target=5)
    assert one.targets["id"].tolist() == [5] and one.scope == "semantic" and one.objective == "logit"
    assert one.scores.shape == (len(one),)
    several = model.attribute(TEXT, targets=[5, "len", 9], layers=True)
    assert several.scores.shape == (3, len(one)) and several.layers.shape == (3, 3, len(one))
    assert np.allclose(several.scores[0], one.scores, rtol=1e-6)
    assert several.targets["text"][1] == "len" and several.targets["id"][1] == model.token_id("len")
    minus = model.attribute(TEXT, target=5, contrast="len")
    assert minus.objective == "contrast" and minus.contrast["text"].tolist() == ["len"]
    pair = model.attribute(TEXT, targets=[5, 6], contrast=[6, 5])
    assert np.allclose(pair.scores[0], pair.scores[1], rtol=1e-5)
    assert np.allclose(pair.scores[0], model.attribute(TEXT, target=5, contrast=6).scores, rtol=1e-5) and pair.scores.min() > 0
    log = model.attribute(TEXT, target=5, objective="log-probability")
    assert log.objective == "log-probability" and not np.allclose(log.scores, one.scores)


def test_position(model):
    a = model.attribute(TEXT, position=2)
    assert a.position == 2 and np.all(a.scores[3:] == 0) and np.all(a.scores[:3] > 0)
    assert np.allclose(a.scores[:3], model.attribute(model.tokenize(TEXT)[:3]).scores, rtol=1e-6)
    assert model.attribute(TEXT, position=-len(a)).position == 0


def test_path(model):
    a = model.attribute(TEXT, scope="path", steps=400, target=5)
    assert a.path.steps == 400 and a.path.baseline == "zero"
    assert a.signed_scores.sum() == pytest.approx(a.path.sum, rel=1e-6)
    assert abs(a.path.sum - a.path.difference) == pytest.approx(a.path.completeness_error, abs=1e-9)
    assert a.path.norms.shape == (len(a.path.alphas), len(a))
    assert model.attribute(TEXT, scope="path", steps=4, baseline=7, path_rule="graded").path.baseline_id == 7


def test_fisher(model):
    exact = model.attribute(TEXT, scope="fisher", exact=True)
    half = model.attribute(TEXT, scope="fisher", rank=3)
    assert exact.fisher.mode == "exact" and not exact.fisher.asked_adaptive
    assert half.fisher.mode == "rank" and len(half.fisher.eigenvalues) == 3
    assert np.all(half.scores <= exact.scores * (1 + 1e-5))
    assert half.fisher.eigenvalues.sum() <= exact.fisher.trace * (1 + 1e-6)


def test_vjp(model):
    d, ids = model.info.d_model, model.tokenize(TEXT)
    v = np.random.default_rng(1).normal(size=(5, d))
    gradients = model.vjp(ids, -1, v, reduce=None)
    sums = model.vjp(ids, -1, v)
    levels = model.vjp(ids, -1, v, layers=True)
    assert gradients.shape == (5, len(ids), d) and sums.shape == (5, len(ids)) and levels.shape == (3, 5, len(ids))
    assert np.allclose((gradients**2).sum(-1), sums, rtol=1e-6) and np.allclose(levels[0], sums, rtol=1e-6)
    mixed = np.random.default_rng(2).normal(size=(2, 5))  # linear in the cotangent
    again = model.vjp(ids, -1, mixed @ v, reduce=None)
    assert np.allclose(again, np.tensordot(mixed, gradients, 1), atol=2e-5 * np.abs(again).max())
    one = model.vjp(ids, -1, v[0])
    assert one.shape == (len(ids),) and np.allclose(one, sums[0], rtol=1e-6)
    places = model.vjp(ids, [0, 1, 2, -1, -2], v, reduce=None)
    assert np.all(places[0, 1:] == 0) and np.allclose(places[3], gradients[3], atol=2e-5 * np.abs(gradients).max())
    assert np.allclose(np.sqrt(sums), model.attribute(ids, directions=v).scores, rtol=1e-6)


def test_inputs(model):
    """Whatever holds numbers is taken: lists, float32, columns of a larger array, buffers, DLPack."""
    d = model.info.d_model
    v = np.random.default_rng(3).normal(size=(2, d)).astype(np.float32)
    wanted = model.vjp(TEXT, -1, v)
    for same in (v.tolist(), np.asfortranarray(v), np.repeat(v, 2, axis=1)[:, ::2], memoryview(v)):
        assert np.array_equal(model.vjp(TEXT, -1, same), wanted)

    class Tensor:
        """Something with DLPack and nothing else."""

        def __dlpack__(self, **options):
            return v.__dlpack__(**options)

        def __dlpack_device__(self):
            return v.__dlpack_device__()

    assert np.array_equal(model.vjp(TEXT, -1, Tensor()), wanted)
    ids = model.tokenize(TEXT)
    for same in (ids.tolist(), ids.astype(np.int64), ids[np.newaxis], tuple(int(i) for i in ids)):
        assert np.array_equal(model.attribute(same).scores, model.attribute(TEXT).scores)


def test_same_bits(model):
    one, two = (model.attribute(TEXT, scope="fisher", rtol=0.05, seed=3) for _ in range(2))
    assert one.scores.tobytes() == two.scores.tobytes()


def test_many(model):
    texts = ["The", "of the eye", TEXT]
    for text, a in zip(texts, model.attribute_many(texts, scope="temperature"), strict=True):
        assert np.array_equal(a.scores, model.attribute(text, scope="temperature").scores)
    got = list(model.attribute_many(["The", [10**6], "of"], on_error="yield"))
    assert isinstance(got[0], jscopes.Attribution) and isinstance(got[1], jscopes.ArgumentError) and isinstance(got[2], jscopes.Attribution)
    with pytest.raises(jscopes.ArgumentError, match="1000000"):
        list(model.attribute_many(["The", [10**6], "of"]))


def test_plan(model):
    plan = model.plan(TEXT, scope="fisher", layers=True)
    a = model.attribute(TEXT, scope="fisher", layers=True)
    assert plan.n_tokens == len(a) and plan.peak_bytes > 0 and "right-hand sides" in str(plan)
    with pytest.raises(jscopes.OutOfMemoryError):
        model.attribute(TEXT, scope="fisher", memory=1000)
    assert model.plan(TEXT, memory="1 MiB").limit_bytes == 2**20
    assert model.plan(TEXT, memory="1.5GB").limit_bytes == 15 * 10**8
