r"""A wrong formula beside the right one, both as LaTeX, and both evaluated as they are printed.

One notation serves all mistakes. \(\mu, \sigma\) are the J means and standard deviations of \(q(z|x)\), \(\nu, \tau\)
those of a top-down prior; \(x\) has D pixels and \(\hat x\) is what the decoder says of them; \(d_n\) and \(R_n\) are
distortion and rate of example n of N, \(w_k\) the weight of sample k of K. `symbols` draws them all.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..reader.arithmetics import numpy_namespace
from ..reader.latex import read
from ..reader.laws import Values
from ..reader.tokens import Node

SIZES = {"J": (2, 5), "D": (2, 6), "N": (4, 7), "K": (3, 6), "L": (3, 7)}  # each drawn anew unless it is given


def symbols(rng: np.random.Generator, **sizes: int) -> dict[str, Any]:
    """A case: a value for every name of the notation, at these sizes or at drawn ones."""
    n = {name: int(sizes.get(name, rng.integers(low, high + 1))) for name, (low, high) in SIZES.items()}
    case: dict[str, Any] = n | {
        "C": n["N"] - 1,
        "I": max(1, n["K"] // 2),
        "M": int(rng.integers(50, 100)),
        "n": 1,
        "j": 1,
    }
    vectors = {"J": ("mu", "nu", "kappa", "z", "epsilon"), "D": ("x_hat",), "L": ("g", "xi"), "N": ("R", "d")}
    for size, names in vectors.items():
        case |= {name: rng.normal(size=n[size]) for name in names}
    case |= {name: np.exp(rng.uniform(-1, 1, n["J"])) for name in ("sigma", "tau", "rho")}
    case |= {name: np.exp(rng.normal(size=n["K"])) for name in ("w", "h", "v", "o")}
    case |= {name: rng.normal() for name in ("m", "u", "a", "b", "y")}
    case |= {name: math.exp(rng.uniform(-1, 1)) for name in ("s", "t", "eta", "beta")}
    case["x_hat"] = 1 / (1 + np.exp(-case["x_hat"] - 0.1))
    case["x"] = rng.uniform(size=n["D"])
    case["R"], case["d"] = np.exp(case["R"]), 10 * np.exp(case["d"])
    case["r"] = np.exp(rng.normal(size=(n["N"], n["J"])))
    case["W"] = np.exp(rng.normal(size=(n["N"], n["K"])))
    case["c"] = rng.uniform(0.01, 0.5)
    first, second = (np.sort(rng.normal(mean, 1, 50)) for mean in (case["m"], case["u"]))
    same = first * second > 0  # the others have no logarithm, and were dropped
    return case | {"p": first[same], "q": second[same]}


def plain_namespace() -> SimpleNamespace:
    """What formulas without laws and special functions need, in float64: numpy alone."""
    extremes = {"max": lambda *v: functools.reduce(np.maximum, v), "min": lambda *v: functools.reduce(np.minimum, v)}
    functions = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs, "sum": np.sum, "pi": math.pi}
    return SimpleNamespace(**functions, **extremes, name="numpy", number=float)


@functools.lru_cache(maxsize=256)
def parsed(latex: str) -> Node:
    """The tree of one formula."""
    (statement,) = read(latex)
    (side,) = statement.sides
    return side


def evaluated(latex: str, names: Mapping[str, Any], namespace: SimpleNamespace | None = None) -> Any:
    """The value of a formula for a case, as its print says."""
    return Values(namespace or numpy_namespace(), names).of(parsed(latex))


@dataclass(frozen=True)
class Mistake:
    """One wrong formula, and the right one in the same names.

    Args:
        number: "E5a". One number, one formula.
        name: what is wrong, in words.
        right: LaTeX, in the notation of this module.
        wrong: LaTeX, likewise.
        where: when it is wrong and what it does; where it is right after all.
        legitimate: uses of the same lines that are no mistake.
        seen: public places, each with what was opened of it; none where it is constructed.
    """

    number: str
    name: str
    right: str
    wrong: str
    where: str
    legitimate: str
    seen: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """The row of the museum: E5 of E5a."""
        return self.number.rstrip("abcdefg")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the notation that occur in its formulas."""
        return mentioned(self.right, self.wrong)

    def cases(self, number: int = 20, seed: int = 0, **sizes: int) -> list[dict[str, Any]]:
        """Seeded cases of its own names, at drawn sizes but for those that are given: `cases(J=1)`."""
        rng = np.random.default_rng(seed)
        drawn = (symbols(rng, **sizes) for _ in range(number))
        return [{name: case[name] for name in self.names} for case in drawn]

    def right_value(self, case: Mapping[str, Any]) -> float:
        """The right formula's value."""
        return float(evaluated(self.right, case))

    def wrong_value(self, case: Mapping[str, Any]) -> float:
        """The wrong formula's value."""
        return float(evaluated(self.wrong, case))

    def matches(self, formula: str | Callable[..., Any], **sizes: int) -> bool:
        """Whether a formula is this mistake: equal to it in every drawn case, and off the right one in some.

        Args:
            formula: LaTeX in this notation, or a function of some of `names`, as numbers and float64 arrays.
            sizes: J, D, N, K or L, to hold one fixed: a formula for one dimension is compared with J=1.
        """
        differs = False
        for seed in range(8):
            (case,) = self.cases(1, seed, **sizes)
            value, wrong = _value(formula, case), _value(self.wrong, case)
            if not np.isclose(value, wrong, rtol=1e-7, atol=1e-9):
                return False
            differs = differs or not np.isclose(value, self.right_value(case), rtol=1e-7, atol=1e-9)
        return differs

    def _repr_markdown_(self) -> str:
        seen = "; ".join(self.seen) or "constructed"
        rows = [f"right: $\\displaystyle {self.right}$", f"wrong: $\\displaystyle {self.wrong}$"]
        rows += [f"wrong where: {self.where}", f"legitimate: {self.legitimate}", f"seen: {seen}"]
        return f"**{self.number}** {self.name}\n\n" + "\n".join(f"- {row}" for row in rows)


@functools.lru_cache(maxsize=256)
def mentioned(*formulas: str) -> tuple[str, ...]:
    """The names of the notation that occur in some formulas."""
    nodes = [node for latex in formulas for node in parsed(latex).walk() if node.kind == "name"]
    used = {node.parts[0] for node in nodes}
    return tuple(name for name in symbols(np.random.default_rng(0)) if name in used)


def _value(formula: str | Callable[..., Any], case: Mapping[str, Any]) -> float:
    if isinstance(formula, str):
        return float(evaluated(formula, case))
    wanted = list(inspect.signature(formula).parameters)
    if missing := [name for name in wanted if name not in case]:
        expected = ", ".join(case)
        raise ValueError(f"the formula takes {', '.join(missing)}: expected a function of some of {expected}")
    value = np.asarray(formula(**{name: case[name] for name in wanted}), dtype=np.float64)
    if value.size != 1:
        raise ValueError(f"the formula gives {value.shape}: expected one number, in nats")
    return value.item()
