"""What the answers of chapter 6 are, and the wrong ones: computed by searches, quadratures and enumeration."""

import functools
import math

import numpy as np

# --- 6.1, by minimising the loss of a model that can be solved --------------------------------------------------------

PIXELS, WEIGHT = 64 * 64 * 3, 0.00025


def noise_and_beta(a, b, sigma=0.1):
    """The noise that a |x - x_hat|^2 + b KL assumes, read off the best width of a code, and the beta for this sigma.

    For x_hat = z the best variance of a code v is that of a posterior, v = s^2 / (s^2 + 1): so s^2 = v / (1 - v).
    """
    from scipy import optimize

    def slope(v):  # of the loss's part with v in it
        return a + b * (1 - 1 / v) / 2

    v = optimize.brentq(slope, 1e-12, 1, xtol=1e-15)
    return np.array([math.sqrt(v / (1 - v)), v / (1 - v) / sigma**2])


# --- 6.2, from the bowl of (6.3) --------------------------------------------------------------------------------------


def price(multiple):
    """Of a sigma that is this multiple of the best one, in bits per pixel."""
    ratio = multiple**-2
    return (ratio - 1 - math.log(ratio)) / (2 * math.log(2))


def at_price(bits):
    """The two multiples of the best sigma that cost this much, the smaller one first."""
    from scipy import optimize

    return np.array([optimize.brentq(lambda m: price(m) - bits, *ends) for ends in ((1e-2, 1), (1, 1e2))])


# --- 6.3 --------------------------------------------------------------------------------------------------------------


def images(rng):
    """Three images of 2 x 2 pixels, what a decoder says of them, and their rates."""
    shape = (3, 1, 2, 2)
    return {
        "x": rng.uniform(size=shape),
        "mu": rng.uniform(size=shape),
        "log_var": rng.normal(-2, 1, size=shape),
        "rate": np.exp(rng.normal(size=3)),
    }


def loss_of(scale=lambda v: np.exp(v / 2), gather=np.sum, signs=(-1, 1)):
    """A loss of each image: the scale made of log_var, what gathers the pixels, the signs of log_px and rate."""

    def loss(x, mu, log_var, rate):
        from scipy import stats

        log_px = stats.norm(mu, scale(log_var)).logpdf(x)
        return signs[0] * gather(log_px, axis=(1, 2, 3)) + signs[1] * rate

    return loss


# --- 6.5 --------------------------------------------------------------------------------------------------------------


def errors(rng):
    """An image of a few pixels, and a prediction."""
    D = int(rng.integers(2, 7))
    return {"x": rng.uniform(size=D), "x_hat": rng.uniform(size=D)}


def best_laplace(x, x_hat):
    """-log of a Laplace density at the best scale, by a search."""
    from scipy import optimize, stats

    def surprise(u):
        return -stats.laplace(x_hat, math.exp(u)).logpdf(x).sum()

    return optimize.minimize_scalar(surprise, bracket=(-2, 0), tol=1e-12).fun


def laplace_at(scale):
    """-log of a Laplace density at a scale made of the mean absolute error and the number of pixels."""

    def surprise(x, x_hat):
        tau = scale(np.abs(x - x_hat).mean(), len(x))
        return np.abs(x - x_hat).sum() / tau + len(x) * math.log(2 * tau)

    return surprise


# --- 6.6, by enumeration of the 256 levels ----------------------------------------------------------------------------

LOW, HIGH = 0.05, 0.95


def pixels(rng):
    """Forty pixels: what a decoder says of them, and their levels, drawn from a wider distribution."""
    mu, tau = rng.uniform(-0.1, 1.1, size=40), np.exp(rng.uniform(-4, -1, size=40))
    y = mu + rng.uniform(0.5, 2) * tau * rng.logistic(size=40)
    return {"mu": mu, "tau": tau, "level": np.clip(np.round(255 * y), 0, 255)}


def up_to(mu, tau):
    """The probability of a level or any below it, (n, 257), from 0 to 1: from the library's 256 log-probabilities."""
    import torch

    from ...distributions import LogisticGreyLevels

    p = LogisticGreyLevels(torch.tensor(mu)[:, None], torch.tensor(tau)[:, None])
    each = p.log_prob(torch.arange(256, dtype=torch.float64) / 255).exp().numpy()
    return np.concatenate([np.zeros((len(mu), 1)), each.cumsum(1)], 1)


def share_within(low, high, below, above):
    """Of what lies between two cumulative probabilities, the share that lies within (low, high), averaged."""
    return ((np.clip(above, low, high) - np.clip(below, low, high)) / (above - below)).mean()


def coverage(mu, tau, level, low=LOW, high=HIGH):
    """The share of the pixels in the central part of what was predicted."""
    total, level = up_to(mu, tau), level.astype(int)
    row = np.arange(len(mu))
    return share_within(low, high, total[row, level], total[row, level + 1])


def edges_only(inside):
    """The share of the pixels whose cumulative probabilities, below and with their level, say that they are inside."""

    def share(mu, tau, level):
        total, at = up_to(mu, tau), level.astype(int)
        row = np.arange(len(mu))
        return inside(total[row, at], total[row, at + 1]).mean()

    return share


def tails_cut(mu, tau, level):
    """Without the tails at the ends."""
    below, above = (1 / (1 + np.exp(-((level + half) / 255 - mu) / tau)) for half in (-0.5, 0.5))
    return share_within(LOW, HIGH, below, above)


# --- 6.7 --------------------------------------------------------------------------------------------------------------

EDGES = (np.arange(1, 256) - 0.5) / 255


def levels_of(mu, tau):
    """(6.10), each difference taken on the side where nothing cancels."""
    from scipy import special

    a = (EDGES - mu) / tau
    up, down = np.r_[0, special.expit(a), 1], np.r_[1, special.expit(-a), 0]
    return np.where(up[1:] < 0.5, np.diff(up), -np.diff(down))


@functools.cache
def humps():
    """Bits of one pixel of 6,000 digits: one logistic, two, the histogram; two of equal weight; a needle and one."""
    from scipy import optimize, special

    from ... import load

    level = (255 * load("mnist").train.images[:6000, 0, 14, 14]).round().long().numpy()
    h = np.bincount(level, minlength=256) / len(level)
    needle = np.eye(256)[0]

    def bits(p):
        return -(h * np.log2(np.maximum(p, 1e-300))).sum()

    def mixed(logit, first, second):
        return special.expit(logit) * first + special.expit(-logit) * second

    def least(model, *starts):
        options = {"maxiter": 6000, "maxfev": 6000, "xatol": 1e-6, "fatol": 1e-9}
        found = [optimize.minimize(lambda p: bits(model(p)), s, method="Nelder-Mead", options=options) for s in starts]
        return min(each.fun for each in found)

    def logistic(p):
        return levels_of(p[0], math.exp(p[1]))

    wide, narrow = [0.1, -1.0], [1.0, -6.0]
    return {
        "one": least(logistic, [0.5, -1.0]),
        "two": least(lambda p: mixed(p[4], logistic(p[:2]), logistic(p[2:4])), [*wide, *narrow, 0.0]),
        "histogram": bits(h),
        "alike": least(lambda p: mixed(0, logistic(p[:2]), logistic(p[2:4])), [*wide, *narrow], [*wide, 0.9, -3.0]),
        "needle": least(lambda p: mixed(p[2], needle, logistic(p[:2])), [0.8, -2.0, 0.0]),
    }
