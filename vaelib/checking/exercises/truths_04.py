"""What the answers of chapter 4 are, and the wrong ones: computed from fractions, quadratures and searches."""

import functools
import math
from fractions import Fraction

import numpy as np

# --- 4.1, in fractions ------------------------------------------------------------------------------------------------

SQUARE = {"cylinder": Fraction(1, 4), "cube": Fraction(1, 12), "pyramid": Fraction(1, 12)}  # p(square, z)
PRIOR = {"cylinder": Fraction(1, 2), "cube": Fraction(1, 12), "pyramid": Fraction(1, 6)}
EVIDENCE = sum(SQUARE.values())
POSTERIOR = {z: joint / EVIDENCE for z, joint in SQUARE.items()}


def mean_log(q, ratio):
    """The mean under q of the logarithm of a ratio, from an exact product."""
    n = math.lcm(*(each.denominator for each in q.values()))
    return math.log(math.prod(ratio(z) ** int(n * each) for z, each in q.items())) / n


def bar(q):
    """ELBO and gap of a guess."""
    return [mean_log(q, lambda z: SQUARE[z] / q[z]), mean_log(q, lambda z: q[z] / POSTERIOR[z])]


GUESS = {z: each / sum(PRIOR.values()) for z, each in PRIOR.items()}
EVEN = dict.fromkeys(SQUARE, Fraction(1, 3))

# --- 4.2, from the library's exact model ------------------------------------------------------------------------------


def bars(m, s, x=2.0, a=2.0):
    """Reconstruction, rate, gap of N(m, s^2) in the figure of Section 6."""
    import torch

    from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain

    one = torch.eye(1, dtype=torch.float64)
    model = LinearGaussianChain([LinearGaussian(a * one, 0 * one[0], one)], GaussianPrior(0 * one[0], one))
    elbo = model.elbo(x * one, [LinearGaussian(0 * one, m * one[0], s * s * one)]).item()
    rate = (m * m + s * s - 1 - math.log(s * s)) / 2
    return np.array([elbo + rate, rate, model.log_px(x * one).item() - elbo])


NARROW, WIDE = (0.8, 0.2), (0.8, 1.0)

# --- 4.3 and 4.4 ------------------------------------------------------------------------------------------------------


def batches(rng):
    """A batch of three binary images of six pixels, and what a network says of them."""
    return {
        "x": rng.integers(0, 2, size=(3, 6)).astype(float),
        "x_hat": rng.uniform(0.05, 0.95, size=(3, 6)),
        "mu": rng.normal(size=(3, 4)),
        "sigma": np.exp(rng.normal(size=(3, 4))),
    }


def cross_entropy(x, x_hat):
    """Of each pixel."""
    return -(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat))


def rates(mu, sigma):
    """Of each latent dimension."""
    return (mu**2 + sigma**2 - 1 - np.log(sigma**2)) / 2


def loss_of(error, rate):
    """A loss of the batch from (B, D) errors and (B, J) rates, and the function of `takes` that is it."""
    return lambda x, x_hat, mu, sigma: error(cross_entropy(x, x_hat)) + rate(rates(mu, sigma))


def of_each(values):
    """A sum over what belongs to one example, a mean over the batch."""
    return values.sum(-1).mean()


def slope(a, b):
    """The derivative by b of gap - left side, by torch, from the gap itself."""
    import torch

    b = torch.tensor(b, dtype=torch.float64, requires_grad=True)
    q, posterior = torch.stack([a + 0 * b, 1 - a + 0 * b]), torch.stack([b, 1 - b])
    missed = (q * (q / posterior).log()).sum() - (q - posterior).abs().sum() ** 2 / 2
    return torch.autograd.grad(missed, b)[0].item()


def pairs_of_states(rng):
    """q = (a, 1 - a) and the posterior (b, 1 - b)."""
    return {"a": rng.uniform(0.05, 0.95), "b": rng.uniform(0.05, 0.95)}


# --- 4.5 --------------------------------------------------------------------------------------------------------------


def average(theta, V, variance):
    """The average of (4.5) with a = theta, sigma = 1 and the best mean."""
    rest = theta**2 * variance + variance - 1 - math.log(variance)
    return -(math.log(2 * math.pi) + V / (1 + theta**2) + rest) / 2


def free_width(theta, V):
    """The average bound at the best width, by a search."""
    from scipy import optimize

    return -optimize.minimize_scalar(lambda u: -average(theta, V, math.exp(u)), bracket=(-2, 0), tol=1e-10).fun


def theta_and_variance(rng):
    """A weight of the decoder and a variance of the data."""
    return {"theta": rng.uniform(0.3, 3), "V": rng.uniform(2, 12)}


# --- 4.6 --------------------------------------------------------------------------------------------------------------

STEEP = 4


def log_bernoulli(z):
    """log p(x = 1 | z)."""
    return -np.logaddexp(0, -STEEP * z)


@functools.cache
def fits():
    """Mean, width and gap in hundredths of a nat: of the best q, without noise, by moments, by the mode."""
    from scipy import integrate, optimize

    def mean(f, m=0.0, s=1.0):  # Simpson's rule
        u = np.linspace(-12, 12, 12_001)
        return integrate.simpson(f(m + s * u) * np.exp(-u * u / 2) / math.sqrt(2 * math.pi), x=u)

    def gap(m, s, score):
        return 100 * (math.log(mean(lambda z: np.exp(log_bernoulli(z)))) - score(m, s) + rates(m, s))

    def noisy(m, s):
        return mean(log_bernoulli, m, s)

    def least(score):
        found = optimize.minimize(lambda p: gap(p[0], math.exp(p[1]), score), [0.5, 0.0], tol=1e-9)
        return [found.x[0], math.exp(found.x[1]), found.fun]

    first = mean(lambda z: z * 2 * np.exp(log_bernoulli(z)))  # the evidence is 1/2
    width = math.sqrt(mean(lambda z: (z - first) ** 2 * 2 * np.exp(log_bernoulli(z))))
    mode = optimize.brentq(lambda z: STEEP / (1 + math.exp(STEEP * z)) - z, 0, 3)
    drop = mode / STEEP
    bend = 1 / math.sqrt(1 + STEEP**2 * drop * (1 - drop))
    return {
        "best": least(noisy),
        "no noise": least(lambda m, s: log_bernoulli(m)),
        "moments": [first, width, gap(first, width, noisy)],
        "mode": [mode, bend, gap(mode, bend, noisy)],
    }


# --- 4.7 --------------------------------------------------------------------------------------------------------------

NUMBERS, SQUARED = (1, 2, 3, 10, 100), 3.5


def gap_of(weights, marginal=False):
    """Of the best factorised q, or of the one with the posterior's marginal variances."""
    precision = np.eye(len(weights)) + np.outer(weights, weights)
    variances = np.diag(np.linalg.inv(precision)) if marginal else 1 / np.diag(precision)
    trace = np.diag(precision) @ variances - len(weights)
    return (trace - np.log(variances).sum() - np.linalg.slogdet(precision)[1]) / 2


def causes():
    """The gaps of NUMBERS equal weights, and their limit."""
    from scipy import integrate

    limit = integrate.quad(lambda r: r**3 / (1 + r**2), 0, math.sqrt(SQUARED))[0]  # of the slope with respect to r
    return np.array([*(gap_of(np.full(n, math.sqrt(SQUARED / n))) for n in NUMBERS), limit])


def pairs(n, square):
    """(4.10) added over all pairs of n equal weights."""
    return n * (n - 1) / 4 * math.log(1 + square**2 / (1 + 2 * square))
