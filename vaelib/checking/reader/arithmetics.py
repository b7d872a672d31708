"""The arithmetics that a formula is evaluated in: float64, sympy's expressions, python-flint's balls."""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

INTEGER = (int, np.integer)


class Unsaid(ValueError):
    """A name of the equation that nobody has said the meaning of, or that has none in this arithmetic."""


def each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function, applied to every element where it meets an object array."""
    over_array = np.vectorize(function, otypes=[object])
    return lambda x: over_array(x) if isinstance(x, np.ndarray) else function(x)


@dataclass(frozen=True)
class Outcomes:
    """A law with finitely many outcomes, numbers or arrays, and their probabilities: `values` and `weights`."""

    values: np.ndarray
    weights: np.ndarray
    logpdf: None = None  # it is a law, but has no density


@functools.cache
def numpy_namespace() -> SimpleNamespace:
    """The functions that a formula may use, on float64 numbers and arrays."""
    from scipy import special

    def logdet(matrix: np.ndarray) -> float:
        sign, value = np.linalg.slogdet(matrix)
        return value if sign > 0 else math.nan

    functions: dict[str, Any] = {
        "log": np.log,
        "exp": np.exp,
        "sqrt": np.sqrt,
        "abs": np.abs,
        "sum": np.sum,
        "pi": math.pi,
    }
    functions |= {"tanh": np.tanh, "sin": np.sin, "cos": np.cos, "sigmoid": special.expit}
    functions |= {"erf": special.erf, "lgamma": special.gammaln, "digamma": special.digamma}
    functions |= {"max": lambda *v: functools.reduce(np.maximum, v), "min": lambda *v: functools.reduce(np.minimum, v)}
    functions |= {"integral": _quadrature, "derivative": _slope, "mean": _mean}
    return SimpleNamespace(**functions, inv=np.linalg.inv, logdet=logdet, name="numpy", number=float)


@functools.cache
def sympy_namespace() -> SimpleNamespace:
    """The functions that a formula may use, on sympy's expressions and object arrays of them."""
    import sympy as s

    functions: dict[str, Any] = {
        "log": s.log,
        "exp": s.exp,
        "sqrt": s.sqrt,
        "abs": s.Abs,
        "erf": s.erf,
        "lgamma": s.loggamma,
    }
    functions |= {"tanh": s.tanh, "sin": s.sin, "cos": s.cos, "sigmoid": lambda x: 1 / (1 + s.exp(-x))}
    lifted = {name: each(function) for name, function in {**functions, "digamma": s.digamma}.items()}
    lifted |= {"inv": lambda a: np.array(s.Matrix(a).inv()), "logdet": lambda a: s.log(s.Matrix(a).det())}

    def number(digits: str) -> Any:
        return {"inf": s.oo, "-inf": -s.oo}[digits] if "inf" in digits else s.Rational(digits)

    def integral(integrand: Callable[[Any], Any], low: Any, high: Any) -> Any:
        at = s.Dummy("at", **({"positive": True} if low == 0 or (low == 1) else {"real": True}))
        body = integrand(at)
        if (low, high) == (-s.oo, s.oo):  # the exponential of a parabola
            exponent = s.expand(s.expand_log(s.log(body), force=True))
            if exponent.is_polynomial(at) and s.degree(exponent, at) == 2:
                a, b, c = s.Poly(exponent, at).all_coeffs()
                return s.sqrt(s.pi / -a) * s.exp(c - b**2 / (4 * a))
        return s.integrate(s.expand(body), (at, low, high))

    def derivative(function: Callable[[Any], Any], at: Any) -> Any:
        free = s.Dummy("at", **({"positive": True} if s.sympify(at).is_positive else {"real": True}))
        return each(lambda x: s.diff(x, free).subs(free, at))(function(free))

    def mean(function: Callable[[Any], Any], law: Any) -> Any:
        """Under normal distributions; of several variables if their covariance is a matrix of whole numbers."""
        if isinstance(law, Outcomes):
            return sum(weight * function(value) for value, weight in zip(law.values, law.weights, strict=True))
        if hasattr(law, "cov"):
            noise = np.array([s.Dummy(f"u{i}", real=True) for i in range(len(law.mean))])
            root = np.array(s.Matrix(law.cov.astype(int)).cholesky(hermitian=False))
            value = function(law.mean.astype(int) + root @ noise)
        elif getattr(law.dist, "name", "") == "norm":
            noise = np.array([s.Dummy("u", real=True)])
            value = function(law.mean() + law.std() * noise[0])
        else:
            raise Unsaid("a mean under a law that is not normal, in symbols")

        for u in noise:
            if not np.ndim(value) and s.sympify(value).is_polynomial(u) and (found := _taylor(value, u)) is not None:
                value = found
                continue
            if not np.ndim(value) and (expanded := s.expand(value)).is_polynomial(u):
                value = _moment(expanded, u)
                continue
            bell = s.exp(-(u**2) / 2) / s.sqrt(2 * s.pi)
            value = each(lambda x, u=u, bell=bell: s.expand(s.integrate(s.expand(x * bell), (u, -s.oo, s.oo))))(value)
        return value

    over = {"integral": integral, "derivative": derivative, "mean": mean, "max": s.Max, "min": s.Min}
    return SimpleNamespace(**lifted, **over, sum=np.sum, pi=s.pi, name="sympy", number=number)


def _taylor(x: Any, u: Any) -> Any:
    """As `_moment`, for a polynomial that is better not multiplied out; None where it has a high degree."""
    import sympy as s

    total, x = s.Integer(0), s.sympify(x)
    for k in range(12):
        total += 0 if k % 2 else x.subs(u, 0) * s.factorial2(k - 1) / s.factorial(k)
        x = s.diff(x, u)
        if x == 0:
            return total
    return None


def _moment(x: Any, u: Any) -> Any:
    """The mean of x, a polynomial in u: E[u^k] is (k - 1)!! for even k, else 0."""
    import sympy as s

    return sum(c * (0 if k % 2 else s.factorial2(k - 1)) for (k,), c in s.Poly(x, u).terms())


def flint_namespace() -> SimpleNamespace:
    """The functions that a formula may use, on balls and object arrays of them, at the precision set by `precision`."""
    from flint import acb, arb, arb_mat

    def method(name: str) -> Callable[[Any], Any]:
        return lambda x: getattr(x if hasattr(x, name) else arb(x), name)()

    functions = {
        name: method(name) for name in ("log", "exp", "sqrt", "erf", "lgamma", "digamma", "tanh", "sin", "cos")
    }
    functions["sigmoid"] = lambda x: 1 / (1 + arb.exp(-x))
    lifted = {name: each(function) for name, function in {**functions, "abs": abs}.items()}
    matrix = {
        "inv": lambda a: np.array(arb_mat(a.tolist()).inv().tolist(), dtype=object),
        "logdet": lambda a: arb_mat(a.tolist()).det().log(),
    }

    def integral(integrand: Callable[[Any], Any], low: Any, high: Any) -> Any:
        """Rigorous where the integrand is analytic: one with a root or logarithm of the variable is not looked at."""
        if not (arb(low).is_finite() and arb(high).is_finite()):
            raise Unsaid("an infinite integral, in balls")
        return acb.integral(lambda x, _: integrand(x), low, high).real

    def mean(function: Callable[[Any], Any], law: Any) -> Any:
        if getattr(law.dist, "name", "") != "uniform":
            raise Unsaid("a mean under a law that is not uniform, in balls")
        low, high = map(arb, law.support())
        return integral(function, low, high) / (high - low)

    over = {"integral": integral, "derivative": _unsaid, "mean": mean, "max": arb.max, "min": arb.min}
    return SimpleNamespace(**lifted, **matrix, **over, sum=np.sum, pi=arb.pi(), name="flint", number=arb)


def _unsaid(*_: Any) -> Any:
    raise Unsaid("no quadrature, derivative or law in this arithmetic")


def _quadrature(integrand: Callable[[float], float], low: float, high: float) -> float:
    from scipy.integrate import quad

    return quad(integrand, low, high, epsabs=1e-13, epsrel=1e-11, limit=400)[0]


def _slope(function: Callable[[float], Any], at: float) -> Any:
    """The derivative, to about 1e-10: central differences at two distances, extrapolated."""

    def central(h: float) -> Any:
        return (function(at + h) - function(at - h)) / (2 * h)

    h = 1e-3 * (max(abs(at), 1e-3) if at else 1.0)
    coarse, middle, fine = central(2 * h), central(h), central(h / 2)
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * second - first) / 15


def _mean(function: Callable[[Any], Any], law: Any) -> Any:
    """The mean of a function under a distribution of scipy.stats."""
    if isinstance(law, Outcomes):
        return sum(weight * function(value) for value, weight in zip(law.values, law.weights, strict=True))
    if hasattr(law, "cov"):
        return _mean_of_several(function, law)
    return _by_entries(lambda one: _mean_of_one(one, law), function, float(law.mean() if hasattr(law, "dist") else 0.3))


def _by_entries(mean: Callable[[Callable[[Any], Any]], float], function: Callable[[Any], Any], at: float) -> Any:
    """The mean of each entry of what a function returns; the values are computed once."""
    shape = np.shape(function(at))
    if not shape:
        return mean(function)
    known = functools.cache(lambda x: np.ravel(function(x)))
    return np.reshape([mean(lambda x, i=i: known(x)[i]) for i in range(math.prod(shape))], shape)


def _mean_of_several(function: Callable[[Any], Any], law: Any) -> Any:
    """Under a normal distribution of up to four variables: nodes that are exact for polynomials up to degree nine."""
    if len(law.mean) > 4:
        raise Unsaid("a mean under a distribution of many variables")
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    points = np.array(list(itertools.product(nodes, repeat=len(law.mean)))) @ np.linalg.cholesky(law.cov).T
    shares = np.array([math.prod(w) for w in itertools.product(weights / weights.sum(), repeat=len(law.mean))])
    return sum(share * function(law.mean + point) for share, point in zip(shares, points, strict=True))


def _mean_of_one(function: Callable[[Any], Any], law: Any) -> float:
    from scipy.integrate import quad

    if not hasattr(law, "dist"):
        ends = [-40.0, -10.0, -4.0, -2.0, 0.0, 2.0, 4.0, 10.0, 40.0]
    elif law.dist.name == "norm":
        mean, scale = float(law.mean()), float(law.std())
        parabola = _mean_of_parabola(lambda u: function(mean + scale * u))
        if parabola is not None:
            return parabola
        size = max(1.0, abs(function(mean + scale)), abs(function(mean - 2 * scale)))  # a large one may have mean zero
        return size * normal_mean(lambda x: function(x) / size, mean, scale)
    else:
        (low, high), inner = law.support(), law.ppf([1e-9, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9])
        ends = [low, *inner, high]

    def integrand(x: float) -> float:
        density = law.pdf(x)
        return density * function(x) if density else 0.0  # the function may be infinite there

    parts = [
        quad(integrand, a, b, epsabs=1e-13, epsrel=1e-11, limit=400)[0] for a, b in itertools.pairwise(ends) if b > a
    ]
    return math.fsum(parts)


def _mean_of_parabola(g: Callable[[float], float]) -> float | None:
    """E[g(U)] for U ~ N(0, 1) where g is a parabola, as logarithms of normal densities are; None where it is not."""
    low, here, high, there, far = (g(u) for u in (-7.0, 0.0, 1.0, 6.0, -2.5))
    bend = ((high - here) - (here - low) / 7) / 8
    slope = high - here - bend
    size = 1e-12 * max(1.0, *map(abs, (low, here, high, there, far)))
    missed = (here + 6 * slope + 36 * bend - there, here - 2.5 * slope + 6.25 * bend - far)
    return here + bend if all(abs(gap) <= size for gap in missed) else None


def normal_mean(g: Callable[[float], float], mean: float = 0.0, scale: float = 1.0) -> float:
    """E[g(X)] for X ~ N(mean, scale^2), by adaptive quadrature in standard units, so that narrow peaks are found.

    For g that grows slower than a Gaussian falls; the mass beyond 38 standard deviations is below float64. Where the
    quadrature is not accurate to a relative 1e-10 it warns, and a warning makes a witness fail.
    """
    from scipy.integrate import quad

    def integrand(u: float) -> float:
        return math.exp(-u * u / 2) * g(mean + scale * u)

    value, _ = quad(integrand, -38, 38, points=(-8, -3, 0, 3, 8), epsabs=1e-12, epsrel=1e-10, limit=400)
    return value / math.sqrt(2 * math.pi)
