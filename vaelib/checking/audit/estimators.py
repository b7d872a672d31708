"""Whether an estimator of the bound's gradient has the right mean: what autograd makes of it, on many draws."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calling import attempted
from .verdicts import Audit

ROWS, SETTINGS, STEEP = 20_000, 4, 0.5
WORDS = {  # (weight of the reconstruction's gradient, of the divergence's), up to a factor
    (1.0, 1.0): ("", "the gradient of the ELBO in mu"),
    (1.0, 0.0): ("E15e", "the divergence's gradient is left out"),
    (1.0, -1.0): ("E15b", "the gradients of reconstruction and divergence have not their signs to each other"),
    (0.0, 1.0): ("E15c", "the gradient of the reconstruction is missing"),
}


def judge_estimator(function: Callable[..., Any], inputs: Mapping[str, Any]) -> Audit:
    """A surrogate of mu, a spread and `log_likelihood`, a function of z: (B, J) to (B,), where p(z) is N(0, I).

    In mu the ELBO's gradient is that of E log p(x|z), known here as log p(x|z) is a quadratic, minus mu.
    """
    mu = torch.linspace(-1.5, 1.0, SETTINGS, dtype=torch.float64).repeat(ROWS, 1).requires_grad_()
    log_sigma = torch.linspace(0.2, -0.6, SETTINGS, dtype=torch.float64).expand(ROWS, -1)
    centre = torch.tensor([1.0, -1.0, 0.5, -2.0], dtype=torch.float64)
    spreads = {"logvar": 2 * log_sigma, "log_sigma": log_sigma, "sigma": log_sigma.exp(), "var": (2 * log_sigma).exp()}

    def log_likelihood(z: Tensor) -> Tensor:
        return -STEEP / 2 * ((z - centre) ** 2).sum(-1)

    known = {"mu": mu, **spreads, "log_likelihood": log_likelihood}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        value = attempted(function, {own: known.get(str(name), name) for own, name in inputs.items()})
    if not isinstance(value, Tensor) or not value.requires_grad:
        return Audit(False, "no gradient reaches mu", "", ("what it returns does not depend on mu for autograd",))
    (gradient,) = torch.autograd.grad(value.sum(), [mu])
    rows = gradient.numpy()
    mean, error = rows.mean(0), rows.std(0, ddof=1) / ROWS**0.5
    parts = np.stack([-STEEP * (mu.detach()[0] - centre).numpy(), -mu.detach()[0].numpy()], 1)
    return verdict(mean, np.maximum(error, 1e-9 * np.abs(mean).max()), parts)


def verdict(mean: np.ndarray, error: np.ndarray, parts: np.ndarray) -> Audit:
    """By the weights of the two parts of which the mean is made, if it is; 30 is what chance gives once in 10^6."""
    weights, *_ = np.linalg.lstsq(parts / error[:, None], mean / error, rcond=None)
    least = min(weights, key=abs) / max(weights, key=abs)
    said = ("divergence", "reconstruction") if abs(weights[0]) > abs(weights[1]) else ("reconstruction", "divergence")
    evidence = (f"the {said[0]}'s gradient is there {least:.2f} times for each of the {said[1]}'s",)
    if np.abs(mean / error).max() < 6:
        return Audit(False, "the mean of the gradient in mu is 0", "E15c", evidence)
    for (a, b), (number, words) in WORDS.items():
        line = parts @ [a, b] / error
        factor = line @ (mean / error) / (line @ line)
        if ((mean / error - factor * line) ** 2).sum() < 30:
            if number:
                return Audit(False, f"this is {number}: {words}", number, evidence)
            return Audit(True, f"{words}, with the sign of {'a bound' if factor > 0 else 'a loss'}", "", evidence)
    return Audit(None, "a gradient that is none of those that are known", "", evidence)
