"""How a witness judges a formula, the arithmetic in which it does so, and the cases to do it on.

A formula is a function of a namespace (numpy's, sympy's or python-flint's) and of its variables.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

Formula = Callable[..., Any]
Case = Mapping[str, Any]
Draw = Callable[[np.random.Generator], Any]


class Unsaid(ValueError):
    """A name of the equation that nobody has said the meaning of, or that has none in this arithmetic."""


@dataclass(frozen=True)
class Normal:
    """N(mean, variance) of one variable, in any arithmetic `f`."""

    f: Any
    mean: Any
    variance: Any

    def logpdf(self, value: Any) -> Any:
        """The logarithm of its density."""
        return -((value - self.mean) ** 2) / (2 * self.variance) - self.f.log(2 * self.f.pi * self.variance) / 2

    def pdf(self, value: Any) -> Any:
        """Its density."""
        return self.f.exp(self.logpdf(value))


INTEGER = (int, np.integer)
RELATIONS = {"==": "equal to", "<=": "at most", ">=": "at least"}


@dataclass
class Cell:
    """The verdict of one witness on one formula: whether it is as claimed, in a few words, and what is wrong if not."""

    ok: bool
    text: str
    problem: str = ""
    unread: bool = False  # the formula has no meaning in this witness's arithmetic
    slack: float = 0.0  # how far it lay, in some case, on the side that an inequality allows


NOT_ASKED = Cell(True, "not asked")


@dataclass
class Witness:
    """A truth of its own on some cases, and a way to tell how far a formula is from it.

    `difference(got, truth, relation)` encloses formula - truth, in the witness's own unit, by lower and upper bounds.
    """

    kind: str
    name: str
    cases: list[Case]
    truth: Callable[..., Any]
    evaluate: Callable[[Formula, Case], Any]
    difference: Callable[[Any, Any, str], tuple[np.ndarray, np.ndarray]]
    tol: float
    margin: float
    truths: dict[int, Any] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """When this witness accepts a formula and when it rejects a twin, in words."""
        if self.kind == "symbolic":
            return f"difference must simplify; a twin's must exceed {self.margin:g} at a rational point"
        if self.kind == "Monte Carlo":
            alarm = math.erfc(self.tol / math.sqrt(2))
            return f"within {self.tol:g} standard errors (false alarms {alarm:.1g}); a twin must exceed {self.margin:g}"
        return f"error at most {self.tol:g}; a twin's must exceed {self.margin:g}"

    def judge(self, formula: Formula, relation: str, *, twin: bool) -> Cell:
        """The verdict on one formula: for the claimed one every case must agree, for a twin one must be far off."""
        if not self.cases:
            return Cell(False, "\u2717 COMPARES NOTHING", "there are no cases")
        missed, gap, slack = 0, 0.0, 0.0
        for number, case in enumerate(self.cases):
            inputs = f" ({', '.join(f'{k}={v}' for k, v in case.items())})" if case else ""
            place = f"case {number + 1} of {len(self.cases)}{inputs}"
            try:
                # The truth is computed once: it may be costly, and every formula must meet the same one.
                if number not in self.truths:
                    self.truths[number] = self.truth(**case)
                got = self.evaluate(formula, case)
                ends = self.difference(got, self.truths[number], relation)
                low, high = violation(*ends, relation)
                slack = max(slack, *(float(np.abs(end).max()) for end in ends))
            except Unsaid as unsaid:
                return Cell(False, "\u2717 NOT READ", f"{place}: {unsaid}", unread=True)
            except Exception as error:  # whatever went wrong, this witness has not testified
                kind = type(error).__name__
                return Cell(False, f"\u2717 RAISES {kind}", f"{place}: {kind}: {error}")
            if not twin and high > self.tol:
                verdict = "DISAGREES" if low > self.tol + 1e-20 else "NOT PROVED"
                found = f"expected {RELATIONS[relation]} {self.truths[number]}, got {got}"
                found += f", off by {low:.3g} to {high:.3g}, allowed {self.tol:g}"
                return Cell(False, f"\u2717 {verdict}", f"{place}: {found}")
            missed += low > self.margin
            gap = max(gap, low)
        if not twin:
            where = f"in {len(self.cases)} cases"
            if self.kind == "symbolic":
                where = "by proof: the difference simplifies to " + ("0" if relation == "==" else "one sign")
            return Cell(True, f"\u2713 agrees {where}", slack=slack)
        if not missed:
            return Cell(False, "\u2717 NOT REJECTED", f"off by {gap:.3g} at most, and must exceed {self.margin:g}")
        # A z-score or a count hangs on every random draw: of a simulation only the line that was crossed is printed.
        if self.kind == "Monte Carlo":
            return Cell(True, f"\u2713 rejected, off by more than {self.margin:g} standard errors")
        where = "" if self.kind == "symbolic" else f" in {missed} of {len(self.cases)} cases"
        return Cell(True, f"\u2713 rejected{where}, off by up to {digits(gap)}")


def violation(low: np.ndarray, high: np.ndarray, relation: str) -> tuple[float, float]:
    """Bounds on how far formula - truth, enclosed in [low, high], is from what the relation allows."""
    if not low.size:
        raise ValueError("an empty array compares nothing")
    if np.isnan(low).any() or np.isnan(high).any():
        raise ValueError("the difference is not a number")
    below, above = np.maximum(0, -high), np.maximum(0, low)
    if relation == "==":
        least, most = np.maximum(below, above), np.maximum(np.abs(low), np.abs(high))
    else:
        least, most = (above, np.maximum(0, high)) if relation == "<=" else (below, np.maximum(0, -low))
    return float(least.max()), float(most.max())


def float_array(value: Any) -> np.ndarray:
    """The value as a float64 array of finite numbers, or an error."""
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"not a finite number: {value}")
    return array


def float_value(formula: Formula, case: Case) -> np.ndarray:
    """The formula's value for a case, in float64."""
    return float_array(formula(numpy_namespace(), **case))


def same_shape(got: np.ndarray, truth: np.ndarray) -> None:
    """Refuses two shapes that broadcasting would compare all the same."""
    if got.shape != truth.shape:
        raise ValueError(f"the formula has shape {got.shape}, the truth {truth.shape}")


def float_difference(got: np.ndarray, truth: np.ndarray, relation: str) -> tuple[np.ndarray, np.ndarray]:
    """The error of each number: absolute for a small truth, relative for one above 1."""
    same_shape(got, truth)
    gap = (got - truth) / np.maximum(1, np.abs(truth))
    return gap, gap


def at_rational_points(expression: Any, *, signed: bool) -> list[float]:
    """The expression's values (magnitudes unless signed) at five seeded rational points, to 30 digits.

    Positive symbols lie in (0, 1/2), so that probabilities and what is left of one stay positive; integers in 1..6.
    """
    import sympy

    rng = np.random.default_rng(0)

    def point(symbol: Any) -> Any:
        if symbol.is_integer:
            return sympy.Integer(int(rng.integers(1, 7)))
        if symbol.is_positive:
            return sympy.Rational(int(rng.integers(1, 64)), 128)
        return sympy.Rational(int(rng.integers(-64, 64)), 32) + sympy.Rational(1, 64)

    names = sorted(expression.free_symbols, key=str)
    values = [complex(sympy.N(expression.subs({name: point(name) for name in names}), 30)) for _ in range(5)]
    if signed and any(value.imag for value in values):
        raise ValueError(f"{expression} is not real at a rational point: an inequality needs real values")
    reals = [value.real if signed else abs(value) for value in values]
    if not np.isfinite(reals).all():
        raise ValueError(f"{expression} is not finite at a rational point")
    return reals


def distance(expression: Any) -> float:
    """How far from zero the expression is at five rational points; 0 where it is not finite at one."""
    try:
        return max(at_rational_points(expression, signed=False))
    except ValueError:
        return 0.0


def vanishes(gap: Any, got: Any, truth: Any) -> bool:
    """Whether got - truth is seen to be zero in two ways that are faster than to simplify it."""
    import sympy as s

    if truth != 0 and gap.has(s.exp):  # densities: their exponents are added
        return s.simplify(s.powsimp(got / truth)) == 1
    if not gap.has(s.log):
        return False
    factored = gap.replace(s.log, lambda inner: s.log(s.factor(s.together(inner))))
    return s.cancel(s.together(s.expand_log(factored))) == 0


def digits(gap: float) -> str:
    """The gap to two digits, the same on every machine.

    It is rounded to 6 digits first: 0.125 plus rounding noise would else print as 0.12 here and 0.13 there.
    """
    return f"{float(f'{gap:.6g}'):.2g}"


def each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function, applied to every element where it meets an object array."""
    over_array = np.vectorize(function, otypes=[object])
    return lambda x: over_array(x) if isinstance(x, np.ndarray) else function(x)


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
        exponent = s.expand(s.expand_log(s.log(body), force=True))
        if (low, high) == (-s.oo, s.oo) and exponent.is_polynomial(at) and s.degree(exponent, at) == 2:
            a, b, c = s.Poly(exponent, at).all_coeffs()  # the exponential of a parabola
            return s.sqrt(s.pi / -a) * s.exp(c - b**2 / (4 * a))
        return s.integrate(s.expand(body), (at, low, high))

    def derivative(function: Callable[[Any], Any], at: Any) -> Any:
        return s.diff(function(at), at)

    def mean(function: Callable[[Any], Any], law: Any) -> Any:
        """Of a polynomial in z under a normal law, as E[z^k] = m E[z^(k - 1)] + (k - 1) v E[z^(k - 2)]."""
        if not isinstance(law, Normal):
            raise Unsaid("a law that is not normal, in symbols")
        z = s.Dummy("z", real=True)
        left = s.sympify(function(z))
        if not left.is_polynomial(z):
            raise Unsaid("the mean of what is no polynomial, in symbols")
        total, k, moment, before = s.Integer(0), 0, s.Integer(1), s.Integer(0)
        while left != 0:  # the k-th derivative, which is 0 at last
            total += left.subs(z, 0) * moment / s.factorial(k)
            left, k = s.diff(left, z), k + 1
            moment, before = law.mean * moment + (k - 1) * law.variance * before, moment
        return total

    over = {"integral": integral, "derivative": derivative, "mean": mean, "max": s.Max, "min": s.Min}
    return SimpleNamespace(**lifted, **over, sum=np.sum, pi=s.pi, name="sympy", number=number)


def flint_namespace() -> SimpleNamespace:
    """The functions that a formula may use, on balls and object arrays of them, at the precision set by `precision`."""
    from flint import arb, arb_mat

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
    over = {"integral": _unsaid, "derivative": _unsaid, "mean": _unsaid, "max": arb.max, "min": arb.min}
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

    h = 1e-3 * max(1.0, abs(at))
    coarse, middle, fine = central(2 * h), central(h), central(h / 2)
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * second - first) / 15


def _mean(function: Callable[[Any], Any], law: Any) -> Any:
    """The mean of a function under a distribution of scipy.stats."""
    from scipy.integrate import quad

    if hasattr(law, "cov"):
        raise Unsaid("a mean under a distribution of several variables")
    if isinstance(law, Normal):
        scale = math.sqrt(law.variance)
        parabola = _mean_of_parabola(lambda u: function(law.mean + scale * u))
        return normal_mean(function, float(law.mean), scale) if parabola is None else parabola
    if not hasattr(law, "dist"):
        ends = [-40.0, -10.0, -4.0, -2.0, 0.0, 2.0, 4.0, 10.0, 40.0]
    elif law.dist.name == "norm":
        return normal_mean(function, float(law.mean()), float(law.std()))
    else:
        (low, high), inner = law.support(), law.ppf([1e-9, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9])
        ends = [low, *inner, high]
    parts = [
        quad(lambda x: law.pdf(x) * function(x), a, b, epsabs=1e-13, epsrel=1e-11, limit=400)[0]
        for a, b in itertools.pairwise(ends)
        if b > a
    ]
    return math.fsum(parts)


def _mean_of_parabola(g: Callable[[float], Any]) -> Any:
    """E[g(U)] for U ~ N(0, 1) where g is a parabola, as it is for logarithms of normal densities; None where not."""
    low, here, high = g(-7.0), g(0.0), g(1.0)
    bend = ((high - here) - (here - low) / 7) / 8
    slope = high - here - bend
    there = g(6.0)
    size = max(1.0, *map(abs, (low, here, high, there)))
    return here + bend if abs(here + 6 * slope + 36 * bend - there) <= 1e-12 * size else None


def balls(case: Case) -> dict[str, Any]:
    """The case with every float as the exact ball around it."""
    from flint import arb

    exact = each(lambda value: arb(float(value)))
    return {name: value if isinstance(value, INTEGER) else exact(value) for name, value in case.items()}


def precision(bits: int) -> Any:
    """A context in which balls are computed with this many bits."""
    from flint import ctx

    return ctx.workprec(bits)


# --- Cases to judge by, and means to judge with ----------------------------------------------------------------------


def cases(number: int, seed: int = 0, **draws: Draw) -> list[dict[str, Any]]:
    """Seeded random cases: `cases(200, m=normal(0, 3), s=loguniform(1e-3, 1e3))` is a list of 200 dicts.

    A draw is a function of a numpy Generator; write one in place for what is not here.
    """
    rng = np.random.default_rng(seed)
    return [{name: draw(rng) for name, draw in draws.items()} for _ in range(number)]


def normal(mean: float, scale: float, size: int | tuple[int, ...] | None = None) -> Draw:
    """Draws from N(mean, scale^2)."""
    return lambda rng: rng.normal(mean, scale, size)


def uniform(low: float, high: float, size: int | tuple[int, ...] | None = None) -> Draw:
    """Draws from the uniform distribution on [low, high)."""
    return lambda rng: rng.uniform(low, high, size)


def loguniform(low: float, high: float, size: int | tuple[int, ...] | None = None) -> Draw:
    """Draws whose logarithm is uniform: for scales, from 1e-3 to 1e3."""
    return lambda rng: np.exp(rng.uniform(math.log(low), math.log(high), size))


def simplex(states: int, rows: int | tuple[int, ...] | None = None) -> Draw:
    """Probability vectors (states,), or (rows, states), uniform on the simplex."""
    return lambda rng: rng.dirichlet(np.ones(states), rows)


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


def ball_normal_mean(g: Callable[[Any], Any], bound: Any) -> Any:
    """A ball that contains E[g(U)] for U ~ N(0, 1): rigorous quadrature on [-20, 20] plus the tails.

    g: analytic on the whole plane, of a python-flint `acb`. bound: a C with |g(u)| <= C (1 + u^2) for real |u| >= 20.
    The tails weigh at most 2 C (20 + 2/20) phi(20), as the integral of (1 + u^2) phi(u) from L is below
    (L + 2/L) phi(L).
    """
    from flint import acb, arb

    normaliser = (2 * arb.pi()).sqrt()
    body = acb.integral(lambda u, _: (-u * u / 2).exp() * g(u), -20, 20).real / normaliser
    tail = 2 * bound * (arb(20) + arb(1) / 10) * arb(-200).exp() / normaliser
    return body + tail * arb(0, 1)
