"""Whether draws of z have the mean and the spread that the encoder says, and noise of their own."""

import math

import numpy as np
import torch
from torch import Tensor

from .calling import Candidate, probed
from .gradients import NUMBERS, of_draws, with_followed
from .verdicts import Audit, short

ROWS = 20_000
SETTINGS = 6  # latent dimensions, each with a spread of its own


def drawn(candidate: Candidate, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Many draws with one mean and log-variance for each dimension: z (ROWS, SETTINGS), mu and log sigma."""
    mu = torch.linspace(-1, 1, SETTINGS, dtype=torch.float64).expand(ROWS, -1)
    log_sigma = torch.linspace(-1.5, 1.2, SETTINGS, dtype=torch.float64).expand(ROWS, -1)
    inputs = {"mu": mu, "logvar": 2 * log_sigma, "log_sigma": log_sigma}
    inputs |= {"sigma": log_sigma.exp(), "var": (2 * log_sigma).exp()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return candidate(inputs), mu, log_sigma


def looks_like_a_sample(candidate: Candidate) -> bool:
    """Whether a function of mean and spread gives (B, J) values that are random, or the mean itself."""
    first, inputs = probed(candidate), candidate.draw(0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        second = candidate(inputs)
    if first.shape != inputs["mu"].shape:
        return False
    return not torch.equal(first, second) or torch.equal(first.double(), inputs["mu"])


def judge_sample(candidate: Candidate) -> Audit:
    """A sampler."""
    z, mu, log_sigma = drawn(candidate, 0)
    found = judge_draws(z.detach().double().numpy(), mu.numpy(), log_sigma.numpy())
    return with_followed(found, of_draws(candidate, mu, log_sigma) if candidate.kept else NUMBERS)


def judge_draws(z: np.ndarray, mu: np.ndarray, log_sigma: np.ndarray) -> Audit:
    """Draws (rows, J) beside their means and the log of their standard deviations, each row independent of the others.

    The spread is taken to be c sigma^g: g = 1 and c = 1 is right. Its exponent g is that of a line through the log of
    the spread in each dimension, so rows may differ; the standard error of g and log c decides.
    """
    rest = z - mu
    if np.abs(rest).max() < 1e-12:
        return Audit(False, "this is E11a: z is the mean, no noise is drawn", "E11a", ("z - mu is 0 everywhere",))
    if z.shape[0] > 1 and np.ptp(rest / np.exp(log_sigma), axis=0).max() < 1e-12:
        return Audit(
            False, "all examples of a batch share one noise", "", ("(z - mu) / sigma is the same in each row",)
        )
    if z.shape[1] > 1 and np.ptp(rest / np.exp(log_sigma), axis=1).max() < 1e-9:
        return Audit(False, "all dimensions share one noise", "", ("(z - mu) / sigma is the same in each column",))
    exponent, level, error = spread(rest, log_sigma)
    if error > 0.05:
        return Audit(None, "too few draws to say whether their spread is right")
    noise = rest / np.exp(level + exponent * log_sigma)
    shift = noise.mean() * math.sqrt(noise.size)
    evidence = (f"standard deviation: {short(math.exp(level))} sigma^{exponent:.3f} (+- {error:.3f})",)
    if min(abs(exponent - known) for known in (0.5, 1, 2)) > 0.1 + 6 * error:  # it may be no sampler at all
        return Audit(None, "random, with a spread that is none of those that are known", "", evidence)
    if abs(shift) > 6:
        said = f"the noise is not centred: its mean is {noise.mean():.3f}; N(0, 1) is meant"
        return Audit(False, said, "", evidence)
    if abs(exponent - 2) < 6 * error and abs(level) < 6 * error:
        return Audit(False, "this is E24: the variance is used as standard deviation", "E24", evidence)
    if abs(exponent - 0.5) < 6 * error and abs(level) < 6 * error:
        said = "this is E6: sigma is halved in the exponent, log sigma is read as log-variance"
        return Audit(False, said, "E6", evidence)
    if abs(exponent - 1) < 6 * error:
        if abs(level) < 6 * error:
            return Audit(True, "draws of N(mu, sigma^2), with noise of their own", "", evidence)
        said = f"the noise is scaled by {math.exp(level):.3g}"
        return Audit(False, f"this is E11c: {said}" if level < 0 else said, "E11c" if level < 0 else "", evidence)
    return Audit(None, "a spread that is none of those that are known", "", evidence)


def spread(rest: np.ndarray, log_sigma: np.ndarray) -> tuple[float, float, float]:
    """The exponent g and log c of a spread c sigma^g, and the standard error of either, by regression of log |rest|.

    For Gaussian noise log |noise| has mean -(gamma + log 2)/2 and variance pi^2/8.
    """
    logs = np.log(np.maximum(np.abs(rest), 1e-300)).ravel() + (np.euler_gamma + math.log(2)) / 2
    at = log_sigma.ravel()
    lines = np.stack([at, np.ones_like(at)], 1)
    (exponent, level), *_ = np.linalg.lstsq(lines, logs, rcond=None)
    cover = np.linalg.inv(lines.T @ lines) * math.pi**2 / 8
    return float(exponent), float(level), float(np.sqrt(cover.diagonal().max()))
