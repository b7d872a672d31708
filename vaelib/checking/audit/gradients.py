"""Whether what autograd makes of a function is the gradient of its value."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calling import Candidate
from .probes import Fit, Form, numbers
from .verdicts import Audit, noted

NUMBERS = "it has no gradient: it gives a plain number, or fails on tensors that require a gradient"
DETACHED = "no gradient reaches what it takes"


@dataclass(frozen=True)
class Slopes:
    """The derivative of the sum of a function's values along a random direction.

    Args:
        by_autograd: as backward() gives it.
        of_value: by differences.
        sides: the inputs on either side.
        step: between them.
        rounding: what rounding may do to the difference.
    """

    by_autograd: float
    of_value: float
    sides: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
    step: float
    rounding: float

    def are(self, slope: float) -> bool:
        """Whether autograd gives this slope."""
        return math.isclose(self.by_autograd, slope, rel_tol=3e-3, abs_tol=1e-6 + self.rounding)


def slopes(candidate: Candidate, seed: int = 0) -> Slopes | str:
    """Both derivatives; in words why there are none; nothing where the function takes nothing that has a gradient."""
    inputs, step = candidate.draw(seed), 2e-3
    along = candidate.draw(seed + 1000)
    moved = sorted(candidate.moved)
    if not moved:
        return ""
    leaves = inputs | {name: inputs[name].clone().requires_grad_() for name in moved}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            value = candidate(dict(leaves)).sum()
    except ValueError:
        return NUMBERS
    if not value.requires_grad:
        return DETACHED if candidate.kept else NUMBERS
    gradients = torch.autograd.grad(value, [leaves[name] for name in moved], allow_unused=True)
    pairs = zip(moved, gradients, strict=True)
    by_autograd = sum(((along[n] - inputs[n]) * g).sum().item() for n, g in pairs if g is not None)
    sides = [inputs | {n: inputs[n] + sign * step * (along[n] - inputs[n]) for n in moved} for sign in (-0.5, 0.5)]
    ends = []
    for side in sides:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            ends.append(candidate(side).double().sum().item())
    rounding = 4 * torch.finfo(value.dtype).eps * abs(ends[0]) / step
    low, high = map(numbers, sides)
    return Slopes(by_autograd, (ends[1] - ends[0]) / step, (low, high), step, rounding)


def whose(found: Slopes, fit: Fit, forms: list[Form]) -> str:
    """Whose gradient autograd gives: that of the value, that of another form, or none."""
    low, high = found.sides
    for form in [*forms[:1], fit.form, *forms[1:]]:
        if found.are(
            sum(fit.at[name] * (make(high).sum() - make(low).sum()) / found.step for name, make in form.columns.items())
        ):
            return f"that of {form.words}"
    if found.are(found.of_value):
        return "that of its value"
    said = f"{found.by_autograd:.4g} along a random direction, where the value changes by {found.of_value:.4g}"
    return f"{said}: something is detached"


def with_gradient(candidate: Candidate, found: Audit, called: str = "") -> Audit:
    """The verdict, unless the gradient is another than that of the value."""
    for seed in (0, 1):  # a kink between the two sides may spoil one comparison
        seen = slopes(candidate, seed)
        if isinstance(seen, str):
            return without(found, seen, called)
        if seen.are(seen.of_value):
            return found
    said = f"its gradient is {seen.by_autograd:.4g} along a random direction, where its value changes by"
    said = f"{said} {seen.of_value:.4g}"
    if not found.right:
        return noted(found, said)
    why = "something is detached, which is right only if it is meant"
    if math.isnan(seen.by_autograd):
        why = "it is not finite, as where the two arguments of a cross-entropy are swapped"
    return replace(found, right=None, verdict=f"value right, gradient not: {said}; {why}")


def without(found: Audit, why: str, called: str = "") -> Audit:
    """The verdict on a function that has no gradient: a likelihood that is reported needs none."""
    if why == DETACHED and found.right and "nll" not in called:
        said = f"value right, gradient not: {why}, which is right only if it is meant"
        return replace(found, right=None, verdict=said)
    return noted(found, why) if why else found


def of_draws(draw: Callable[[dict[str, Tensor]], Any], mu: Tensor, log_sigma: Tensor) -> str:
    """Why the gradient of draws is not that of mu + sigma epsilon; nothing where it is.

    Args:
        draw: z for mu and every kind of spread, by name, or anything else where it is no tensor.
        mu: their means.
        log_sigma: the log of their standard deviations.
    """
    mu, log_sigma = (value.detach().clone().requires_grad_() for value in (mu, log_sigma))
    inputs = {"mu": mu, "logvar": 2 * log_sigma, "log_sigma": log_sigma, "sigma": log_sigma.exp()}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            z = draw(inputs | {"var": (2 * log_sigma).exp()})
    except ValueError:
        return NUMBERS
    if not z.requires_grad:
        return "no gradient reaches mu and sigma, as where .sample() stands for .rsample()"
    gradients = torch.autograd.grad(z.sum(), [mu, log_sigma], allow_unused=True)
    wanted = {"mu": torch.ones_like(mu), "sigma": (z - mu).detach().to(mu.dtype)}
    off = [
        name
        for (name, want), slope in zip(wanted.items(), gradients, strict=True)
        if slope is None or not torch.allclose(slope, want, rtol=1e-3, atol=1e-3)
    ]
    return f"its gradient in {' and '.join(off)} is not that of mu + sigma epsilon" if off else ""


def with_followed(found: Audit, why: str) -> Audit:
    """The verdict on draws, unless the gradient does not go through them."""
    if not why or not found.right:
        return found
    if why != NUMBERS:
        said = f"value right, gradient not: {found.verdict}, but {why}, which is right only if it is meant"
        return replace(found, right=None, verdict=said)
    return noted(found, why)
