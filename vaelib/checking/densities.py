"""Laws beside those of scipy.stats: normal ones in any arithmetic, products, and laws known by their density."""

import functools
import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class Bell:
    """A normal distribution in any arithmetic, with the methods of scipy's."""

    dist = SimpleNamespace(name="norm")

    def __init__(self, f: Any, mean: Any, deviation: Any):
        self.f, self.args = f, (mean, deviation)

    def mean(self) -> Any:
        """Its mean."""
        return self.args[0]

    def std(self) -> Any:
        """Its standard deviation."""
        return self.args[1]

    def logpdf(self, value: Any) -> Any:
        """The logarithm of its density."""
        mean, deviation = self.args
        return -(((value - mean) / deviation) ** 2) / 2 - self.f.log(deviation) - self.f.log(2 * self.f.pi) / 2

    def pdf(self, value: Any) -> Any:
        """Its density."""
        return self.f.exp(self.logpdf(value))


class Independent:
    """Independent variables, each with its law."""

    def __init__(self, laws: list[Any]):
        self.laws = laws
        if all(isinstance(law, Bell) for law in laws):
            self.mean, self.cov = np.array([law.mean() for law in laws]), np.diag([law.std() ** 2 for law in laws])

    def logpdf(self, value: Any) -> Any:
        """The logarithm of the joint density; the variables are on the last axis."""
        return functools.reduce(lambda a, b: a + b, (law.logpdf(value[..., i]) for i, law in enumerate(self.laws)))


class Density:
    """A law of one variable on the whole line, known by its density."""

    def __init__(self, pdf: Callable[[float], float]):
        self.pdf = pdf

    def logpdf(self, value: float) -> float:
        """Its logarithm, as scipy's laws have it."""
        return np.log(self.pdf(value))


def divergence(q: Any, p: Any) -> float:
    """KL of two laws of one variable of scipy's, by quadrature, between where q ends and where either has a kink.

    Each tail left out weighs 1e-18: farther out p's density may be below the least float, its logarithm infinite.
    """
    from scipy.integrate import quad

    inner = [at for at in (p.median(),) if q.ppf(1e-18) < at < q.isf(1e-18)]
    ends = sorted({*q.ppf([1e-18, 1e-6, 0.1, 0.5, 0.9]), *q.isf([1e-6, 1e-18]), *inner})

    def integrand(z: float) -> float:
        log_density = q.logpdf(z)
        return math.exp(log_density) * (log_density - p.logpdf(z))

    return math.fsum(quad(integrand, a, b, epsabs=1e-13, epsrel=1e-11)[0] for a, b in itertools.pairwise(ends))


def sigma_points(law: Any) -> np.ndarray:
    """2 J points, (2 J, J), whose means of polynomials of degree three are those of a normal distribution."""
    root = np.linalg.cholesky(law.cov) * np.sqrt(len(law.mean))
    return law.mean + np.concatenate([root.T, -root.T])
