"""Averages over Gaussian noise: what a formula in closed form has to be the value of, from its definition."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .reader.arithmetics import numpy_namespace, sympy_namespace
from .reader.densities import Bell


class OverNoise:
    """The mean, or the variance, of a function of noise u ~ N(0, 1), as the truth of a claim's witnesses.

        weight = OverNoise(lambda f, u, x, m, s: log_joint(f, x, m + s * u) + u * u / 2 + f.log(s))
        claim.symbolic("integral", weight.symbolic(x, m, s), (x, m, s))
        claim.numeric("quadrature", weight.quadrature, cases(60, ...))
        claim.monte_carlo("draws", weight.draws, cases(4, ...))

    The function is written by hand and knows nothing of the page: it is what is averaged, and the formula is what comes
    out. A slip in the average, or in reading the page, makes the two differ; one in the function itself would have to
    be on the page as well. The four averages share the function and nothing else: sympy integrates, scipy integrates,
    torch sums over Gauss-Hermite nodes, and draws are counted.

    Args:
        function: of a namespace `f` with exp, log, sqrt, sin, cos and pi, of the noise, and of a case's variables; it
            returns a number or lists of numbers.
        variance: average the squared distance from the mean, each entry for itself.
    """

    def __init__(self, function: Callable[..., Any], *, variance: bool = False):
        self.function, self.variance = function, variance

    def symbolic(self, *symbols: Any) -> Any:
        """As sympy's expressions in symbols that are named as the function's variables are."""
        f, case = sympy_namespace(), {str(symbol): symbol for symbol in symbols}

        def mean(pick: Callable[[Any], Any]) -> Any:
            return f.mean(lambda u: pick(self.function(f, u, **case)), Bell(f, 0, 1))

        def entry(value: Any, where: tuple[int, ...]) -> Any:
            return np.array(value, dtype=object)[where]

        shape = np.shape(np.array(self.function(f, 0, **case), dtype=object))
        found = np.empty(shape, dtype=object)
        for where in np.ndindex(*shape):
            found[where] = mean(lambda value, at=where: entry(value, at))
            if self.variance:
                found[where] = mean(lambda value, at=where: entry(value, at) ** 2) - found[where] ** 2
        return found[()]

    def quadrature(self, **case: Any) -> Any:
        """By adaptive quadrature in float64."""
        from scipy import stats

        f, noise = numpy_namespace(), stats.norm(0, 1)

        def values(u: float) -> np.ndarray:
            return np.asarray(self.function(f, u, **case), dtype=np.float64)

        mean = f.mean(values, noise)
        return f.mean(lambda u: (values(u) - mean) ** 2, noise) if self.variance else mean

    def hermite(self, **case: Any) -> Any:
        """By a sum over 160 Gauss-Hermite nodes in torch, exact for polynomials up to degree 319."""
        import torch

        nodes, weights = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(160))

        def of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            return lambda x: function(torch.as_tensor(x, dtype=torch.float64))

        f = SimpleNamespace(
            **{name: of(getattr(torch, name)) for name in ("exp", "log", "sqrt", "sin", "cos")}, pi=math.pi
        )

        def stacked(value: Any) -> Any:
            return torch.stack([stacked(v) for v in value]) if isinstance(value, list) else value + 0 * nodes

        values, weights = stacked(self.function(f, nodes, **case)), weights / weights.sum()
        mean = values @ weights
        return (values - mean[..., None]) ** 2 @ weights if self.variance else mean

    def draws(self, rng: np.random.Generator, number: int, **case: Any) -> np.ndarray:
        """What single draws of the noise give, (number, ...); for a variance their squared distances from the mean."""
        u = rng.normal(size=number)

        def stacked(value: Any) -> np.ndarray:
            return np.stack([stacked(v) for v in value]) if isinstance(value, list) else value + 0 * u

        values = stacked(self.function(numpy_namespace(), u, **case))
        values = (values - values.mean(-1, keepdims=True)) ** 2 if self.variance else values
        return np.moveaxis(values, -1, 0)
