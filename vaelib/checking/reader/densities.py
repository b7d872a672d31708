"""Laws beside those of scipy.stats: normal ones in any arithmetic, products, and laws known by their density."""

import functools
import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .arithmetics import Unsaid
from .names import Each

FAR = np.array([9.0, 11, 13.5, 16.5, 20, 24, 29, 34, 38])  # standard deviations, beyond 7.5


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


def density(f: Any, law: Any, value: Any, log: bool = False) -> Any:
    """The density of a law, or its logarithm; that of scipy's laws has a meaning in float64 only."""
    if hasattr(law, "ppf") and f.name != "numpy":
        raise Unsaid("a density of scipy's, outside float64")
    function = law.logpdf if log else law.pdf
    return Each.of(function(np.asarray(value))) if isinstance(value, Each) else function(value)


def divergence(f: Any, q: Any, p: Any) -> Any:
    """KL(q || p) of two laws or two tables of probabilities."""
    if hasattr(q, "cov") and hasattr(p, "cov"):
        if f.name != "numpy":
            raise Unsaid("distributions of several variables, outside float64")
        points = sigma_points(q)  # a logarithm of a ratio of two is of degree two, for which these are exact
        return np.mean(q.logpdf(points) - p.logpdf(points))
    if getattr(getattr(q, "dist", None), "name", "") == getattr(getattr(p, "dist", None), "name", "") == "norm":
        points = (q.mean() - q.std(), q.mean() + q.std())  # likewise, in any arithmetic
        return sum(q.logpdf(z) - p.logpdf(z) for z in points) / 2
    if f.name == "numpy" and hasattr(q, "isf") and hasattr(p, "median"):
        return _divergence(q, p)
    if hasattr(q, "logpdf"):
        return mean_under(f, lambda z: density(f, q, z, log=True) - density(f, p, z, log=True), q, logs=True)
    if f.name != "numpy":
        return f.sum(q * (f.log(q) - f.log(p)))
    if abs(np.sum(q) - 1) > 1e-5 or abs(np.sum(p) - 1) > 1e-5:
        raise ValueError(f"probabilities that add up to {np.sum(q)} and {np.sum(p)}")
    from scipy import special

    return special.rel_entr(np.ravel(q), np.ravel(p)).sum()


def _divergence(q: Any, p: Any) -> float:
    """KL of two laws of one variable of scipy's, by quadrature, between where q ends and where either has a kink.

    Each tail left out weighs 1e-18: farther out p's density may be below the least float, its logarithm infinite.
    """
    from scipy.integrate import quad

    inner = [at for at in (p.median(),) if q.ppf(1e-18) < at < q.isf(1e-18)]
    steps = 10.0 ** -np.arange(1, 19)
    edges = np.unique([*q.ppf(steps), q.median(), *q.isf(steps), *inner])

    def integrand(z: Any) -> Any:
        log_density = q.logpdf(np.asarray(z))
        return np.exp(log_density) * (log_density - p.logpdf(np.asarray(z)))

    at_once = integral(integrand, edges)
    if at_once is not None:
        return at_once
    return math.fsum(quad(integrand, a, b, epsabs=1e-13, epsrel=1e-11)[0] for a, b in itertools.pairwise(edges))


def mean_under(f: Any, function: Callable[[Any], Any], law: Any, logs: bool = False) -> Any:
    """The mean of a function under a law: at once where it takes arrays, else as `f.mean` has it.

    logs: it grows no faster than a log-density, so that the far ends of any law have no weight.
    """
    edges = _pieces(law, logs) if f.name == "numpy" else None
    if edges is not None:
        at_once = integral(lambda x: Each.of(law.pdf(np.asarray(x))) * function(x), edges)
        if at_once is not None:
            return at_once
    return f.mean(function, law)


def _pieces(law: Any, logs: bool) -> np.ndarray | None:
    """Where to cut the line for a quadrature under a law."""
    if isinstance(law, Bell):
        return law.mean() + law.std() * np.concatenate([-FAR[::-1], np.arange(-7.5, 8), FAR])
    if not hasattr(law, "ppf"):
        return None
    from scipy import special

    low, high = law.support()
    if np.isfinite([low, high]).all():
        return np.array([low, *law.ppf(special.ndtr(np.arange(-4.5, 5))), high])
    return law.ppf(special.ndtr(np.arange(-7.5, 8))) if logs else None


def integral(function: Callable[[Each], Any], edges: np.ndarray) -> float | None:
    """By Gauss points between the edges; none where it takes no arrays, or where 30 points do not agree with 40."""
    low, high = edges[:-1, None], edges[1:, None]

    def total(order: int) -> float:
        nodes, weights = _legendre(order)
        points = Each.of(((low + high) / 2 + (high - low) / 2 * nodes).ravel())
        values = np.asarray(function(points))
        if values.shape != points.shape:
            raise TypeError("not one value for each point")
        return float(values @ ((high - low) / 2 * weights).ravel())

    try:
        coarse, fine = total(30), total(40)
    except (TypeError, ValueError, RuntimeWarning):
        return None
    return fine if abs(fine - coarse) <= 1e-10 * max(1.0, abs(fine)) else None


@functools.cache
def _legendre(order: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(order)


def sigma_points(law: Any) -> np.ndarray:
    """2 J points, (2 J, J), whose means of polynomials of degree three are those of a normal distribution."""
    root = np.linalg.cholesky(law.cov) * np.sqrt(len(law.mean))
    return law.mean + np.concatenate([root.T, -root.T])
