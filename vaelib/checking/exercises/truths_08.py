"""What the answers of chapter 8 are, and the wrong ones: from tables of quadrature nodes, from lists, by torch."""

import functools
import math

import numpy as np

# --- 8.1, by torch ----------------------------------------------------------------------------------------------------


def prices(latents=3, power=1, swapped=False):
    """The gaps of an encoder with a quarter of each variance, and with three times as much."""
    import torch
    from torch.distributions import Independent, Normal, kl_divergence

    def law(variance):
        return Independent(Normal(torch.zeros(latents).double(), variance**0.5), 1)

    pairs = [(law(c**power), law(1.0)) for c in (1 / 4, 3.0)]
    return np.array([kl_divergence(*pair[:: -1 if swapped else 1]).item() for pair in pairs])


# --- 8.2, 8.6 and 8.7: an encoder whose covariance is c times the posterior's, exactly --------------------------------


@functools.cache
def spoiled(c, latents=2):
    """The model as a table: half the squared distance from the posterior mean is a gamma variable, at Gauss nodes."""
    import torch
    from scipy import stats

    from vaelib.exact import Table

    nodes, weights = np.polynomial.legendre.leggauss(200)
    root = 4 * (1 + nodes)  # of half the squared distance; in it the densities are smooth
    posterior, q = (stats.gamma.logpdf(root**2, latents / 2, scale=scale) for scale in (1, c))
    return Table(*(torch.from_numpy(part) for part in (posterior[:, None], q[:, None], np.log(8 * root * weights))))


def gap(c, samples):
    """log p(x) - IWAE of so many samples."""
    return -spoiled(c).iwae(samples).item()


def factors(at=(100, 10_000)):
    """The gap of c = 1/2 over that of c = 2."""
    return np.array([gap(0.5, k) / gap(2.0, k) for k in at])


def variance(c):
    """Of w / p(x), two latents, as an integral over the table."""
    table = spoiled(c)
    return (2 * table.log_joint[:, 0] - table.log_q[:, 0] + table.log_volume).logsumexp(0).exp().item() - 1


@functools.cache
def race(narrow=0.6, wide=1.6):
    """The first K at which the wide encoder is ahead; both gaps there; and both limits of K times the gap."""
    first = next(k for k in range(1, 100) if gap(wide, k) < gap(narrow, k))
    return np.array([first, gap(narrow, first), gap(wide, first), variance(narrow) / 2, variance(wide) / 2])


def above(c, samples):
    """The upper bound less log p(x): one draw from the posterior, the others from q. As `Table.iwae` does it."""
    import torch

    table = spoiled(c)
    log_w = (table.log_joint - table.log_q)[:, 0]
    q, posterior = ((part[:, 0] + table.log_volume).exp() for part in (table.log_q, table.log_joint))
    s, step = torch.arange(-40, 12, 1 / 8, dtype=torch.float64)[:, None], 1 / 8
    decay = torch.exp(-torch.exp(s + log_w) / samples)  # e^-(t w / K) for t = e^s
    mean = (decay @ posterior) * (decay @ q) ** (samples - 1)
    return step * (torch.exp(-torch.exp(s[:, 0])) - mean).sum().item()


@functools.cache
def jaws(c=2.0, at=(1, 10, 100)):
    """For each K, the lower and the upper bound, each less log p(x)."""
    return np.array([[-gap(c, k), above(c, k)] for k in at])


@functools.cache
def wrong_jaws(c=2.0, at=(1, 10, 100)):
    """The upper side if all K are drawn from the posterior; both sides as means of the logs; both without log K."""
    import torch

    table, right, logs = spoiled(c), jaws(c, at), np.log(at)[:, None]
    w = (table.log_joint - table.log_q)[:, 0]
    s = torch.arange(-40, 12, 1 / 8, dtype=torch.float64)[:, None]
    mass = (table.log_joint[:, 0] + table.log_volume).exp()
    of_posterior = [
        (torch.exp(-torch.exp(s[:, 0])) - (torch.exp(-torch.exp(s + w) / k) @ mass) ** k).sum().item() / 8 for k in at
    ]
    first = right[0]
    means = [[first[0], (first[1] + (k - 1) * first[0]) / k] for k in at]
    return {
        "all exact": np.stack([right[:, 0], of_posterior], 1),
        "means of logs": np.array(means),
        "no log K": right + logs,
    }


# --- 8.3 --------------------------------------------------------------------------------------------------------------


def log_weights(rng):
    """Of K samples for three images; some far below what a float can hold without the logarithm."""
    return {"log_w": rng.normal(-rng.choice([50, 1000]), 3, size=(int(rng.integers(4, 9)), 3))}


def one_by_one(log_w):
    """log (1/K) sum w, by adding one weight at a time, with log1p."""
    total = np.full(log_w.shape[1], -np.inf)
    for each in log_w:
        high, low = np.maximum(total, each), np.minimum(total, each)
        total = high + np.log1p(np.exp(low - high))
    return total - math.log(len(log_w))


def softmax(log_w):
    """Normalised weights."""
    shares = np.exp(log_w - log_w.max(0))
    return shares / shares.sum(0)


# --- 8.4 and 8.5 ------------------------------------------------------------------------------------------------------


TWO_MEANS = 1.3 * math.sqrt(2)


def images(unpaired=TWO_MEANS, paired=0.06, difference=0.62, seen=500, errors=2):
    """How many images make the difference this many standard errors, of two sets of images and of one."""
    return np.array([seen * (errors * error / difference) ** 2 for error in (unpaired, paired)])


def batches(rng):
    """Full batches and a short one, with their mean NLLs."""
    return {
        "m": int(rng.integers(1, 8)),
        "B": int(rng.integers(10, 100)),
        "r": int(rng.integers(1, 10)),
        "a": rng.normal(100, 5),
        "b": rng.normal(100, 5),
    }


def listed(m, B, r, a, b):
    """The mean of batch means less the mean over images, from lists of all of them."""
    parts = [[a] * B for _ in range(m)] + [[b] * r]
    return np.mean([np.mean(part) for part in parts]) - np.mean(np.concatenate(parts))
