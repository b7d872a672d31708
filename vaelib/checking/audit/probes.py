"""What `audit` puts into a function, what it should get out of it, and how the two are compared.

Sizes: B examples, J latent dimensions, D pixels, K samples. Inputs are drawn in float64 with seeds that are fixed.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..mistakes import MISTAKES
from ..mistakes.twins import evaluated, plain_namespace

Arrays = Mapping[str, Any]
SIZES = {"B": 6, "J": 3, "D": 10, "K": 4}
AXES = {"mu": "BJ", "logvar": "BJ", "log_sigma": "BJ", "sigma": "BJ", "var": "BJ", "z": "BJ"}
AXES |= {"prior_mu": "BJ", "prior_logvar": "BJ"}
AXES |= {"x": "BD", "logits": "BD", "x_hat": "BD", "x_logvar": "BD", "log_w": "KB", "log_px": "KB", "rate": "B"}
ALIASES = {"mean": "mu", "means": "mu", "z_mean": "mu", "mu_z": "mu", "log_var": "logvar", "z_log_var": "logvar"}
ALIASES |= {"variance": "var", "log_std": "log_sigma", "logstd": "log_sigma", "std": "sigma", "target": "x"}
ALIASES |= {"recon_x": "x_hat", "x_recon": "x_hat", "recon": "x_hat", "probs": "x_hat", "log_weights": "log_w"}
ALIASES |= {"mu_p": "prior_mu", "logvar_p": "prior_logvar", "mean2": "prior_mu", "logvar2": "prior_logvar"}
ALIASES |= {"mean1": "mu", "logvar1": "logvar", "mu_q": "mu", "logvar_q": "logvar", "mu1": "mu", "mu2": "prior_mu"}
ALIASES |= {"kl": "rate", "kld": "rate", "log_variance": "logvar", "recons": "x_hat", "inputs": "x", "input": "x"}
ALIASES |= {"images": "x"}
LEVELS = range(1, 6)  # of a hierarchy, from the bottom
AXES |= {f"rate_{level}": "B" for level in LEVELS}
ALIASES |= {f"{name}_{level}": f"rate_{level}" for level in LEVELS for name in ("kl", "kld")}


@dataclass
class Candidate:
    """The function under audit, the names that it gives our inputs, and the shapes that it is for.

    Args:
        function: what is called.
        names: its parameters, each with the input of ours that it takes.
        fixed: what else it is given.
        sizes: B, J, D, K as the user has them.
        events: the shapes of one x, and of what the decoder says of it where that is another.
        grey: whether the user's x has other values than 0 and 1; `real`: whether some lie outside [0, 1].
    """

    function: Callable[..., Any]
    names: dict[str, str]
    fixed: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=lambda: dict(SIZES))
    events: dict[str, tuple[int, ...]] = field(default_factory=dict)
    grey: bool = False
    real: bool = False

    @property
    def takes(self) -> set[str]:
        """Our inputs that it takes."""
        return set(self.names.values())

    @property
    def called(self) -> str:
        """Its name."""
        return getattr(self.function, "__name__", "")

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Its value, the first if there are several, or the one called loss."""
        given = {own: inputs[name] for own, name in self.names.items()}
        value = self.function(**given, **self.fixed)
        if isinstance(value, Mapping):
            value = value.get("loss", next(iter(value.values())))
        elif isinstance(value, tuple | list):
            value = value[0]
        value = torch.as_tensor(value)
        if not value.is_floating_point():
            raise ValueError(f"the function returned {value.dtype} values: expected floating-point numbers, in nats")
        return value

    def draw(self, seed: int, **sizes: int) -> dict[str, Tensor]:
        """All inputs at these sizes: means and log-variances around 0, x binary unless the user's is not."""
        n = self.sizes | sizes
        rng = np.random.default_rng(seed)
        near = 0.1 if seed % 3 == 2 else 1.0  # some posteriors close to the prior, where a clamp shows
        mu, logvar = (near * rng.normal(mean, 1, (n["B"], n["J"])) for mean in (0.3, -0.3))
        logits, noise = rng.normal(size=(n["B"], n["D"])), rng.random((n["B"], n["D"]))
        x = rng.normal(size=noise.shape) if self.real else noise if self.grey else (noise < 0.4).astype(float)
        arrays = {"mu": mu, "logvar": logvar, "log_sigma": logvar / 2, "sigma": np.exp(logvar / 2)}
        arrays |= {"var": np.exp(logvar), "z": mu + np.exp(logvar / 2) * rng.normal(size=mu.shape), "x": x}
        arrays |= {"logits": logits, "x_hat": logits if self.real else 1 / (1 + np.exp(-logits))}
        arrays |= {"x_logvar": rng.normal(size=logits.shape), "rate": np.exp(rng.normal(size=n["B"]))}
        arrays["rate"] *= 10.0 ** (seed % 4)  # small and large ones, so that a threshold shows
        arrays |= {f"rate_{level}": np.exp(rng.normal(size=n["B"])) for level in LEVELS}
        arrays |= {name: rng.normal(-9, 2, (n["K"], n["B"])) for name in ("log_w", "log_px")}
        arrays |= {"prior_mu": rng.normal(size=mu.shape), "prior_logvar": rng.normal(size=mu.shape)}
        shaped = {
            name: array.reshape(n["B"], *self.event(name, n["D"]))
            for name, array in arrays.items()
            if AXES[name] == "BD"
        }
        return {name: torch.from_numpy(array) for name, array in (arrays | shaped).items()}

    def event(self, name: str, pixels: int) -> tuple[int, ...]:
        """The shape of one x, or of what is said of it, with so many pixels."""
        shape = self.events.get(name) or self.events.get("x") or next(iter(self.events.values()), ())
        return (*shape[:-1], pixels // math.prod(shape[:-1]))

    def other(self, size: str) -> int:
        """Another value of a size: twice as much."""
        return 2 * self.sizes[size]


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
    """

    form: Form
    at: dict[str, float]
    exponents: dict[str, dict[str, int | None]]
    shape: str
    stuck: tuple[str, ...] = ()


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


def observed(candidate: Candidate, seeds: range, **sizes: int) -> tuple[list[dict[str, np.ndarray]], list[Tensor]]:
    """Inputs and values of a function, one for each seed."""
    drawn = [candidate.draw(seed, **sizes) for seed in seeds]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        values = [candidate(inputs).double() for inputs in drawn]
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
    for tol, form in itertools.product(tols, forms):
        found = solve(*equations(form, inputs, values, shape, constant), tol)
        if found is None:
            continue
        names = [*form.columns, *["constant"] * constant]
        at, exponents, stuck = dict(zip(names, found.tolist(), strict=True)), {name: {} for name in names}, []
        for size in SIZES:
            try:
                more = candidate.other(size)
                again = observed(candidate, seeds, **{size: more})
                moved = solve(*equations(form, *again, shape, constant), tol)
            except (RuntimeError, ValueError, IndexError, TypeError):
                moved = None
            if moved is None:
                stuck.append(size)
                continue
            for name, before, after in zip(names, found, moved, strict=True):
                exponents[name][size] = power(before, after)
        return Fit(form, at, exponents, shape, tuple(stuck))
    return None


def power(before: float, after: float) -> int | None:
    """The whole power of a size with which a coefficient grew as the size was doubled; None where there is none."""
    if before == 0 or after == 0 or before * after < 0:
        return 0 if before == after else None
    exponent = math.log2(after / before)
    return round(exponent) if abs(exponent - round(exponent)) < 5e-3 else None


def probed(candidate: Candidate) -> Tensor:
    """The value for the first inputs; what goes wrong there is said."""
    inputs = candidate.draw(0)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            value = candidate(inputs)
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:
        shapes = ", ".join(f"{own} {tuple(inputs[name].shape)}" for own, name in candidate.names.items())
        advice = "say the shapes that it is for, such as x=(128, 784), mu=(128, 20)"
        raise ValueError(f"the function fails on {shapes}: {error}; {advice}") from error
    if not bool(torch.isfinite(value).all()):
        raise ValueError(
            "the function gives values that are not finite on drawn inputs: expected finite numbers, in nats"
        )
    return value


def slopes(candidate: Candidate, seed: int = 0) -> tuple[float, float, list[dict[str, np.ndarray]], float] | None:
    """The derivative along a random direction, by autograd and by differences, of the sum of a function's values.

    Returns:
        Both, the inputs on either side, and the step between them; None where the function gives no gradient.
    """
    inputs, step = candidate.draw(seed), 2e-3
    along = candidate.draw(seed + 1000)
    moved = sorted(candidate.takes - {"x", "z"})
    if not moved:
        return None
    leaves = inputs | {name: inputs[name].clone().requires_grad_() for name in moved}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        value = candidate(leaves).sum()
    if not value.requires_grad:
        return None
    gradients = torch.autograd.grad(value, [leaves[name] for name in moved], allow_unused=True)
    pairs = zip(moved, gradients, strict=True)
    by_autograd = sum(((along[n] - inputs[n]) * g).sum().item() for n, g in pairs if g is not None)
    sides = []
    for sign in (-0.5, 0.5):
        shifted = inputs | {n: inputs[n] + sign * step * (along[n] - inputs[n]) for n in moved}
        sides.append(shifted)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        low, high = (candidate(side).double().sum().item() for side in sides)
    return by_autograd, (high - low) / step, [numbers(side) for side in sides], step


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


def losses(candidate: Candidate) -> list[Form]:
    """Every reconstruction with every rate."""
    forms = []
    for (at, rate_words, rate), (number, words, term) in itertools.product(rates(), reconstructions(candidate)):
        forms.append(
            Form({"reconstruction": term, "rate": rate}, at or number, words if not at else f"{words}; {rate_words}")
        )
    return forms


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of a function."""
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ValueError(f"{function!r} does not say its parameters: wrap it in a lambda that names them") from error
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in found.items() if p.kind in kinds}
