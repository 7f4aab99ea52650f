"""Spectra against what vjp and Fisher Scope say about the same matrices."""
from __future__ import annotations

import numpy as np
import pytest

import jscopes

TEXT = "The lens of the eye"


def test_jacobian(model):
    """Against numpy's decomposition of J_t, whose rows are the gradients of one-hot cotangents."""
    d, token = model.info.d_model, 3
    jacobian = model.vjp(TEXT, -1, np.eye(d), reduce=None)[:, token]
    wanted = np.linalg.svd(jacobian, compute_uv=False)
    got = model.jacobian_singular_values(TEXT, -1, token=token, k=5)
    assert got.kind == "jacobian" and got.values.shape == (5,) and got.vectors.shape == got.left.shape == (5, d)
    assert np.all(np.abs(got.values - wanted[:5]) <= got.residuals + 2e-5 * wanted[0])
    for value, v, u in zip(got.values, got.vectors, got.left, strict=True):
        assert np.linalg.norm(jacobian @ v - value * u) <= 1e-4 * wanted[0]
    assert got.trace == pytest.approx((jacobian**2).sum(), rel=1e-4) or not got.exact


def test_fisher(model):
    """The eigenvalues of F add up to its trace, those of F_t to the Fisher score of the token."""
    a = model.attribute(TEXT, scope="fisher", exact=True)
    whole = model.fisher_spectrum(TEXT, k=model.info.d_model)
    assert whole.values.sum() == pytest.approx(a.fisher.trace, rel=1e-5) and whole.left is None
    token = model.fisher_spectrum(TEXT, token=2, k=model.info.d_model, exact=True)
    assert token.exact and token.values.sum() == pytest.approx(a.scores[2], rel=1e-4)
    assert "fisher-input" in repr(token) and token.token == 2 and token.position == len(a) - 1


def test_refused(model):
    with pytest.raises(jscopes.ArgumentError):
        model.fisher_spectrum(TEXT, k=0)
    with pytest.raises(jscopes.ArgumentError):
        model.jacobian_singular_values(TEXT, 0, token=3)
    with pytest.raises(KeyboardInterrupt):
        model.fisher_spectrum(TEXT, token=1, progress=interrupt)


def interrupt(stage: str, done: float, total: float) -> None:
    raise KeyboardInterrupt
