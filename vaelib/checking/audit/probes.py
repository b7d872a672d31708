"""What `audit` should get out of a function, and how that is compared with what it gets."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..mistakes import MISTAKES
from ..mistakes.twins import evaluated, plain_namespace
from .calling import AXES, SIZES, Candidate, probed

Arrays = Mapping[str, Any]


def numbers(inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """As numpy arrays; what belongs to one pixel is flat."""
    arrays = {name: value.detach().numpy() for name, value in inputs.items() if name in AXES}
    return {name: a.reshape(len(a), -1) if AXES[name] == "BD" else a for name, a in arrays.items()}


# --- What a function may be made of: one number per example, in nats -------------------------------------------------


def by_formula(latex: str, a: Arrays, power: float = 1.0) -> np.ndarray:
    """A formula of the table of mistakes for all examples at once, (B,), sigma to a power in the place of sigma."""
    names = {"mu": a["mu"].T, "sigma": np.exp(a["logvar"].T * power / 2), "z": a["z"].T, "J": a["mu"].shape[1]}
    names |= {"nu": a["prior_mu"].T, "tau": np.exp(a["prior_logvar"].T / 2)}
    return np.broadcast_to(evaluated(latex, names, plain_namespace()), a["mu"].shape[:1])


def one_sample(latex: str, a: Arrays) -> np.ndarray:
    """A formula of the weights w_k for each example, (B,); the largest weight is taken out and put back."""
    top = a["log_w"].max(0)
    weights = np.exp(a["log_w"] - top)  # every formula of a bound but a sum of logs moves along with log w
    return np.array([evaluated(latex, {"w": w, "K": len(w)}, plain_namespace()) for w in weights.T]) + top


def bernoulli(a: Arrays) -> np.ndarray:
    """Minus the log-likelihood of binary pixels: (B,)."""
    return (np.logaddexp(0, a["logits"]) - a["x"] * a["logits"]).sum(1)


def continuous_bernoulli(a: Arrays) -> np.ndarray:
    """Minus the log-likelihood of grey pixels under the continuous Bernoulli: (B,)."""
    area = np.tanh(a["logits"] / 2) / a["logits"]
    return bernoulli(a) + np.log(area).sum(1)


def squares(a: Arrays) -> np.ndarray:
    """Half the squared error: (B,)."""
    return ((a["x"] - a["x_hat"]) ** 2).sum(1) / 2


def absolute(a: Arrays) -> np.ndarray:
    """The absolute error: (B,)."""
    return np.abs(a["x"] - a["x_hat"]).sum(1)


def gaussian(a: Arrays, log: float = 1.0, constant: float = 1.0) -> np.ndarray:
    """Minus the log-likelihood of a Gaussian with a variance for each pixel: (B,)."""
    terms = (a["x"] - a["x_hat"]) ** 2 / np.exp(a["x_logvar"]) + log * a["x_logvar"] + constant * math.log(2 * math.pi)
    return terms.sum(1) / 2


def one_draw(a: Arrays) -> np.ndarray:
    """log q(z|x) - log p(z) at the z that was drawn: (B,)."""
    noise = (a["z"] - a["mu"]) ** 2 / np.exp(a["logvar"])
    return (a["z"] ** 2 - noise - a["logvar"]).sum(1) / 2


@dataclass(frozen=True)
class Form:
    """What a function might be: columns of one number per example, each with a coefficient; and the mistake it is."""

    columns: Mapping[str, Callable[[Arrays], np.ndarray]]
    number: str = ""
    words: str = ""


@dataclass(frozen=True)
class Fit:
    """A function written as a sum of columns times coefficients.

    Args:
        form: its columns.
        at: the coefficients at the user's sizes, by column.
        exponents: for each column the powers of B, J, D and K that its coefficient grows with.
        stuck: the sizes at which the function could not be called: they are written into it.
        tied: the sizes at which only a constant is another: it is written into it.
        changed: where else it is another form.
        tol: how near the values are, as a part of the largest.
    """

    form: Form
    at: dict[str, float]
    exponents: dict[str, dict[str, int | None]]
    shape: str
    stuck: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    tol: float = 0.0


def shape_of(value: Tensor, sizes: Mapping[str, int]) -> str:
    """Whether a value is one number, one for each example, or one for each example and dimension."""
    shape = tuple(value.shape)
    if value.numel() == 1:
        return "scalar"
    if shape in ((sizes["B"],), (sizes["B"], 1), (1, sizes["B"])):
        return "examples"
    if shape == (sizes["B"], sizes["J"]):
        return "dimensions"
    got = f"the function returned {shape} for B = {sizes['B']}, J = {sizes['J']}, D = {sizes['D']}, K = {sizes['K']}"
    raise ValueError(f"{got}: expected one number, (B,) or (B, J)")


def observed(
    candidate: Candidate, seeds: range, stretch: float = 1.0, **sizes: int
) -> tuple[list[dict[str, np.ndarray]], list[Tensor]]:
    """Inputs and values of a function, one for each seed; the means may be stretched.

    Raises:
        ValueError: Where the function fails, or gives no finite values.
    """
    drawn = [candidate.draw(seed, **sizes) for seed in seeds]
    drawn = [inputs | {"mu": stretch * inputs["mu"]} for inputs in drawn]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        values = [candidate(inputs).double() for inputs in drawn]
    if not all(bool(torch.isfinite(value).all()) for value in values):
        raise ValueError("the function gives values that are not finite on some drawn inputs: expected nats")
    return [numbers(inputs) for inputs in drawn], values


def equations(form: Form, inputs: list[Any], values: list[Tensor], shape: str, constant: bool) -> tuple[Any, Any]:
    """A line for each number that a function returned: its columns, and the number."""
    columns = {name: [make(a) for a in inputs] for name, make in form.columns.items()}
    if constant:
        columns["constant"] = [np.ones(len(next(iter(made)))) for made in zip(*columns.values(), strict=True)]
    if shape == "scalar":
        lines = np.array([[made.sum() for made in column] for column in columns.values()]).T
        return lines, np.array([value.item() for value in values])
    lines = np.array([np.concatenate(column) for column in columns.values()]).T
    flat = [value.sum(1) if shape == "dimensions" else value.reshape(-1) for value in values]
    return lines, torch.cat(flat).numpy()


def solve(lines: np.ndarray, values: np.ndarray, tol: float) -> np.ndarray | None:
    """The coefficients, or None where no coefficients give the values."""
    scale = np.abs(lines).max(0)
    scale[scale == 0] = 1
    coefficients, *_ = np.linalg.lstsq(lines / scale, values, rcond=None)
    gap = np.abs(lines / scale @ coefficients - values).max()
    if not gap <= tol * max(np.abs(values).max(), 1e-300):
        return None
    coefficients[np.abs(coefficients) < 10 * tol * np.abs(values).max()] = 0
    return coefficients / scale


def fitted(candidate: Candidate, forms: list[Form], constant: bool = False) -> Fit | None:
    """The first form that a function is, whatever its coefficients; those of a wrong form as near to 1 as there are."""
    seeds = range(5 + max(len(form.columns) for form in forms))
    inputs, values = observed(candidate, seeds)
    shape = shape_of(values[0], candidate.sizes)
    # A rate may have a weight of 1e-6; a logarithm may have an epsilon: first the one is looked for, then the other.
    tols = (1e-10, 1e-6) if probed(candidate).dtype == torch.float64 else (1e-4,)
    if not candidate.kept:  # a Python number may have been computed in float32
        tols = (1e-10, 1e-6, 1e-4)
    for tol, form in itertools.product(tols, forms):
        found = solve(*equations(form, inputs, values, shape, constant), tol)
        if found is not None:
            names = [*form.columns, *["constant"] * constant]
            at = dict(zip(names, found.tolist(), strict=True))
            return elsewhere(candidate, Fit(form, at, {}, shape, tol=tol), seeds, [t for t in tols if t >= tol])
    return None


def elsewhere(candidate: Candidate, fit: Fit, seeds: range, tols: list[float]) -> Fit:
    """A fit, and how it changes with each size, and beyond the drawn means where it has a constant."""
    exponents: dict[str, dict[str, int | None]] = {name: {} for name in fit.at}
    stuck, tied, changed = [], [], []
    for size in SIZES:
        more = {size: candidate.other(size)}
        try:
            inputs, values = observed(candidate, seeds, **more)
            if shape_of(values[0], candidate.sizes | more) != fit.shape:
                raise ValueError(f"another shape at {more}")
        except ValueError:
            stuck.append(size)
            continue
        for constant in ("constant" in fit.at, True):
            lines, column = equations(fit.form, inputs, values, fit.shape, constant)
            found = next((found for tol in tols if (found := solve(lines, column, tol)) is not None), None)
            if found is not None:
                for (name, before), after in zip(fit.at.items(), found, strict=False):
                    exponents[name][size] = power(before, after)
                tied += [size] * (len(found) > len(fit.at))
                break
        else:
            changed.append(f"{size} = {more[size]}")
    if "constant" in fit.at and not holds(candidate, fit, seeds):
        changed.append("larger means")
    return replace(fit, exponents=exponents, stuck=tuple(stuck), tied=tuple(tied), changed=tuple(changed))


def holds(candidate: Candidate, fit: Fit, seeds: range) -> bool:
    """Whether a fit holds for larger means, too: |rate - c| looks like c - rate where all rates are small."""
    try:
        inputs, values = observed(candidate, seeds, stretch=30.0)
    except ValueError:
        return True
    lines, column = equations(fit.form, inputs, values, fit.shape, True)
    gap = np.abs(lines @ np.array([*fit.at.values()]) - column).max()
    return bool(gap <= 100 * fit.tol * np.abs(column).max())


def moves(candidate: Candidate, names: Iterable[str]) -> bool:
    """Whether the value changes where these inputs do, and no others."""
    first, other = candidate.draw(0), candidate.draw(1)
    pair = []
    for inputs in (dict(first), first | {name: other[name] for name in names}):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            pair.append(candidate(inputs))
    return not torch.equal(*pair)


def power(before: float, after: float) -> int | None:
    """The whole power of a size with which a coefficient grew as the size was doubled; None where there is none."""
    if before == 0 or after == 0 or before * after < 0:
        return 0 if before == after else None
    exponent = math.log2(after / before)
    return round(exponent) if abs(exponent - round(exponent)) < 5e-3 else None


# --- The forms that are known ----------------------------------------------------------------------------------------

WRONG_RATES = ("E4", "E5a", "E5b", "E6", "E6b", "E6c", "E7", "E24b", "E24d")


def rates() -> list[tuple[str, str, Callable[[Arrays], np.ndarray]]]:
    """The right rate and the wrong ones: number, words, and values per example."""
    right = MISTAKES["E1"].right
    found = [("", "the rate", functools.partial(by_formula, right))]
    for number in WRONG_RATES:
        found.append((number, MISTAKES[number].name, functools.partial(by_formula, MISTAKES[number].wrong)))
    found.append(("E6", "the log-variance read as log sigma", functools.partial(by_formula, right, power=2.0)))
    return found


def level_rates() -> list[tuple[str, str, Callable[[Arrays], np.ndarray]]]:
    """The rate of a level below another, whose prior has a mean and variance of its own, and wrong ones."""
    right = MISTAKES["E25"].right

    def swapped(a: Arrays) -> np.ndarray:
        prior = {"mu": a["prior_mu"], "logvar": a["prior_logvar"], "prior_mu": a["mu"], "prior_logvar": a["logvar"]}
        return by_formula(right, {**a, **prior})

    found = [("", "the rate", functools.partial(by_formula, right)), ("E7", MISTAKES["E7"].name, swapped)]
    wrong = [(n, MISTAKES[n].name, functools.partial(by_formula, MISTAKES[n].wrong)) for n in ("E25c", "E25d")]
    return [*found, *wrong]


def reconstructions(candidate: Candidate) -> list[tuple[str, str, Callable[[Arrays], np.ndarray]]]:
    """Right reconstruction terms first: number, words, and values per example."""
    if "x_logvar" in candidate.takes:
        half, none = functools.partial(gaussian, log=0.5), functools.partial(gaussian, log=0.0)
        found = [("", "a Gaussian likelihood", gaussian), ("E8c", MISTAKES["E8c"].name, half)]
        return [*found, ("E8b", MISTAKES["E8b"].name, none)]
    if candidate.real:
        return [("", "squared error", squares), ("", "absolute error", absolute)]
    binary = [
        ("", "a Bernoulli likelihood", bernoulli),
        ("", "squared error", squares),
        ("", "absolute error", absolute),
    ]
    return [*binary, ("", "a continuous Bernoulli likelihood", continuous_bernoulli)]


ONE_DRAW = "the rate by its one draw of z"


def losses(candidate: Candidate, drawn: bool = False) -> list[Form]:
    """Every reconstruction with every rate; where z is known, with the rate by its one draw, after the right ones."""
    forms = []
    for (at, rate_words, rate), (number, words, term) in itertools.product(rates(), reconstructions(candidate)):
        forms.append(
            Form({"reconstruction": term, "rate": rate}, at or number, words if not at else f"{words}; {rate_words}")
        )
    if drawn:
        right = reconstructions(candidate)
        by_draw = [Form({"reconstruction": term, "rate": one_draw}, n, f"{w}; {ONE_DRAW}") for n, w, term in right]
        forms[len(right) : len(right)] = by_draw
    return forms
