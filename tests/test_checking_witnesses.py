"""The cases to judge on, the means to judge with, and the arithmetic."""

import numpy as np
import pytest

from vaelib.checking import ball_normal_mean, cases, loguniform, normal, normal_mean, simplex, uniform
from vaelib.checking.witnesses import float_value


def test_quadrature_finds_narrow_peaks():
    for mean, scale in ((1000.0, 1e-3), (-5.0, 1e3), (0.0, 1.0)):
        assert normal_mean(lambda x: x, mean, scale) == pytest.approx(mean, abs=1e-9 * scale)
        expected = mean**2 + scale**2
        assert normal_mean(lambda x: x * x, mean, scale) == pytest.approx(expected, rel=1e-10)


def test_the_rigorous_normal_mean_contains_the_moments_and_excludes_their_neighbours():
    from flint import arb, ctx

    with ctx.workprec(192):
        second = ball_normal_mean(lambda u: u * u, 1)
        assert second.contains(1)
        assert not second.contains(1 + arb(10) ** -40)
    # With 600 bits the tails, 1e-85 of the whole, are what the enclosure is wide of: it must still hold the mean.
    with ctx.workprec(600):
        whole = ball_normal_mean(lambda u: 1 + u * u, 1)
        assert whole.contains(2)
        assert 1e-87 < float(whole.rad()) < 1e-84


def test_cases_are_seeded_and_draw_what_they_say():
    drawn = dict(
        seed=7, m=normal(5, 0.1), s=loguniform(1e-3, 1e3), u=uniform(2, 3), p=simplex(4, rows=2), v=normal(0, 1, 3)
    )
    assert str(cases(50, **drawn)) == str(cases(50, **drawn))
    assert str(cases(50, **drawn)) != str(cases(50, **{**drawn, "seed": 8}))
    many = cases(2000, **drawn)
    assert np.mean([c["m"] for c in many]) == pytest.approx(5, abs=0.01)  # 4 standard errors: 0.009
    logs = np.log10([c["s"] for c in many])
    assert -3 <= logs.min() < -2.9
    assert 2.9 < logs.max() <= 3
    assert all(2 <= c["u"] < 3 for c in many)
    assert all(np.allclose(c["p"].sum(-1), 1) and c["p"].shape == (2, 4) and c["v"].shape == (3,) for c in many)


def test_the_log_of_a_negative_determinant_is_refused():
    with pytest.raises(ValueError, match="not a finite number"):
        float_value(lambda f, a: f.logdet(a), {"a": -np.eye(3)})
