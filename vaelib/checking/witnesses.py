"""How a witness judges a formula, and the cases to do it on; `arithmetics` has what it computes with.

A formula is a function of a namespace (numpy's, sympy's or python-flint's) and of its variables.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .reader.arithmetics import INTEGER, Unsaid, each, numpy_namespace

Formula = Callable[..., Any]
Case = Mapping[str, Any]
Draw = Callable[[np.random.Generator], Any]


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
            return f"the difference has to simplify; a twin has to be off by more than {self.margin:g} somewhere"
        if self.kind == "Monte Carlo":
            alarm = math.erfc(self.tol / math.sqrt(2))
            said = f"within {self.tol:g} standard errors (false alarms {alarm:.1g})"
            return f"{said}; a twin has to be off by more than {self.margin:g}"
        return f"off by at most {self.tol:g} of max(1, |truth|); a twin has to be off by more than {self.margin:g}"

    def _place(self, number: int) -> str:
        """A case in words."""
        inputs = ", ".join(f"{name}={value}" for name, value in self.cases[number].items())
        return f"case {number + 1} of {len(self.cases)}" + (f" ({inputs})" if inputs else "")

    def judge(self, formula: Formula, relation: str, *, twin: bool) -> Cell:
        """The verdict on one formula: for the claimed one every case must agree, for a twin one must be far off."""
        if not self.cases:
            return Cell(False, "\u2717 COMPARES NOTHING", "there are no cases")
        missed, gap, slack = 0, 0.0, 0.0
        for number, case in enumerate(self.cases):
            try:
                # The truth is computed once: it may be costly, and every formula must meet the same one.
                if number not in self.truths:
                    self.truths[number] = self.truth(**case)
                got = self.evaluate(formula, case)
                accuracy = getattr(formula, "accuracy", 0.0)
                tol, margin = max(self.tol, accuracy), max(self.margin, 10 * accuracy)
                ends = self.difference(got, self.truths[number], relation)
                low, high = violation(*ends, relation)
                slack = max(slack, *(float(np.abs(end).max()) for end in ends))
            except Unsaid as unsaid:
                return Cell(False, "\u2717 NOT READ", f"{self._place(number)}: {unsaid}", unread=True)
            except Exception as error:  # whatever went wrong, this witness has not testified
                kind = type(error).__name__
                return Cell(False, f"\u2717 RAISES {kind}", f"{self._place(number)}: {kind}: {error}")
            if not twin and high > tol:
                verdict = "DISAGREES" if low > tol + 1e-20 else "NOT PROVED"
                found = f"expected {RELATIONS[relation]} {self.truths[number]}, got {got}"
                found += f", off by {low:.3g} to {high:.3g}, allowed {tol:g}"
                # Sympy often cannot settle a sign; what no witness settles is a problem of that side.
                unsettled = verdict == "NOT PROVED" and self.kind == "symbolic" and relation != "=="
                return Cell(False, f"\u2717 {verdict}", f"{self._place(number)}: {found}", unread=unsettled)
            missed += low > margin
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
            return Cell(True, f"\u2713 refuted, off by more than {self.margin:g} standard errors")
        where = "" if self.kind == "symbolic" else f" in {missed} of {len(self.cases)} cases"
        return Cell(True, f"\u2713 refuted{where}, off by up to {digits(gap)}")


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


def _apart(expression: Any) -> float:
    """How far from zero the expression is at five rational points; 0 where it is not finite at one."""
    try:
        return max(at_rational_points(expression, signed=False))
    except ValueError:
        return 0.0


def proved_difference(got: Any, truth: Any, relation: str) -> tuple[np.ndarray, np.ndarray]:
    """The range of formula - truth in symbols: 0 or of one sign if that is proved, else as it is at points."""
    import sympy

    got, truth = np.asarray(got, dtype=object), np.asarray(truth, dtype=object)
    same_shape(got, truth)
    lows, highs = [], []
    for g, t in zip(got.flat, truth.flat, strict=True):
        gap = sympy.nsimplify((sympy.sympify(g) - t).doit(), rational=True)
        if relation == "==" and (apart := _apart(gap)) > 1e-15:  # what is not zero need not be simplified
            lows.append(apart)
            highs.append(math.inf)
            continue
        if relation == "==" and gap.has(sympy.exp) and t != 0 and sympy.simplify(sympy.powsimp(g / t)) == 1:
            lows.append(0.0)  # densities, whose exponents are added
            highs.append(0.0)
            continue
        simple = sympy.factor(sympy.simplify(gap))
        if gap.has(sympy.tanh):
            simple = sympy.factor(sympy.simplify(gap.rewrite(sympy.exp)))
        proved = {"==": simple.is_zero, "<=": simple.is_nonpositive, ">=": simple.is_nonnegative}[relation]
        values = [0.0] if proved else at_rational_points(gap, signed=relation != "==")
        if relation == "==" and not proved and max(values) < 1e-20:  # what is inside a logarithm may be a product
            proved = sympy.simplify(sympy.expand_log(sympy.factor(gap, deep=True))).is_zero
            values = [0.0] if proved else values
        # Where nothing is proved the gap is known at the points only, and could be anything elsewhere.
        lows.append(-math.inf if relation == ">=" and not proved else max(values))
        highs.append(min(values) if relation == ">=" or proved else math.inf)
    return np.array(lows), np.array(highs)


def digits(gap: float) -> str:
    """The gap to two digits, the same on every machine.

    It is rounded to 6 digits first: 0.125 plus rounding noise would else print as 0.12 here and 0.13 there.
    """
    return f"{float(f'{gap:.6g}'):.2g}"


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
