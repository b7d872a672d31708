"""Averages over noise: four ways to the same number, each of which notices a wrong formula."""

import math

import numpy as np
import pytest
import sympy
import torch

from vaelib.checking import Claim, OverNoise, cases, loguniform, normal

CASES = cases(6, m=normal(0, 1), s=loguniform(0.3, 2))
M, S = sympy.Symbol("m", real=True), sympy.Symbol("s", positive=True)


def square(f, u, m, s):
    return [(m + s * u) ** 2, f.exp(m + s * u)]


def means(m, s):
    return [m**2 + s**2, math.exp(m + s**2 / 2)]


def variances(m, s):
    return [4 * m**2 * s**2 + 2 * s**4, math.exp(2 * m + s**2) * math.expm1(s**2)]


@pytest.mark.slow
@pytest.mark.parametrize(("variance", "truth"), [(False, means), (True, variances)])
def test_four_averages_of_one_function_agree_with_the_closed_form(variance, truth):
    average = OverNoise(square, variance=variance)
    for case in CASES:
        assert average.quadrature(**case) == pytest.approx(truth(**case), rel=1e-8)
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in case.items()}
        assert average.hermite(**tensors).numpy() == pytest.approx(truth(**case), rel=1e-8)
        symbols = [float(each.subs({M: case["m"], S: case["s"]})) for each in average.symbolic(M, S)]
        assert symbols == pytest.approx(truth(**case), rel=1e-8)
    draws = average.draws(np.random.default_rng(0), 200_000, m=0.5, s=0.7)
    assert draws.shape == (200_000, 2)
    score = (draws.mean(0) - truth(0.5, 0.7)) / (draws.std(0) / math.sqrt(len(draws)))
    assert np.abs(score).max() < 4


def test_a_function_of_one_number_has_one_average():
    average = OverNoise(lambda f, u, s: f.log(2 * f.pi) + f.sin(s * u) + f.cos(s * u))
    truth = math.log(2 * math.pi) + math.exp(-0.5 * 0.3**2)
    assert average.quadrature(s=0.3) == pytest.approx(truth)
    assert average.hermite(s=torch.tensor(0.3, dtype=torch.float64)).item() == pytest.approx(truth)
    assert float(average.symbolic(S).subs(S, 0.3)) == pytest.approx(truth)
    assert average.draws(np.random.default_rng(0), 5, s=0.3).shape == (5,)


@pytest.mark.parametrize("wrong", [lambda f, m, s: m**2 + s, lambda f, m, s: m**2 - s**2])
def test_each_of_them_rejects_a_wrong_formula(wrong):
    average = OverNoise(lambda f, u, m, s: (m + s * u) ** 2)
    claim = Claim("1.1", "a second moment", source="by hand", formula=wrong)
    claim.symbolic("integral", average.symbolic(M, S), (M, S))
    claim.numeric("quadrature", average.quadrature, CASES)
    claim.code("Gauss-Hermite", average.hermite, CASES)
    claim.monte_carlo("draws", average.draws, CASES)
    assert len(claim.report().problems) == 4
    right = Claim("1.1", "a second moment", source="by hand", formula=lambda f, m, s: m**2 + s**2)
    right.witnesses = claim.witnesses
    assert right.report().problems == []
