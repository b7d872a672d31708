"""What the answers of chapter 10 are, and the wrong ones: from grids, precisions, the chapter's table and formulas."""

import functools
import json
import math
from pathlib import Path

import numpy as np

# --- 10.1 and 10.4 ----------------------------------------------------------------------------------------------------

TWO = {"m": 2.0, "s": 0.5, "mu": -1.0, "sigma": 1.0}


def rate_of(mean, deviation, mu, sigma):
    """KL(N(mean, deviation^2) || N(mu, sigma^2))."""
    return math.log(sigma / deviation) + (deviation**2 + (mean - mu) ** 2) / (2 * sigma**2) - 0.5


def on_a_grid(m, s, mu, sigma):
    """Mean and standard deviation of the product of two Gaussians, from its values on a fine grid."""
    z = np.linspace(-30, 30, 60_001)
    log_product = -(((z - m) / s) ** 2) / 2 - ((z - mu) / sigma) ** 2 / 2
    mass = np.exp(log_product - log_product.max())
    mean = (mass * z).sum() / mass.sum()
    return [mean, math.sqrt((mass * (z - mean) ** 2).sum() / mass.sum())]


def variance(s, sigma):
    """kappa of (10.2)."""
    return 1 / (s**-2 + sigma**-2)


def merged(m, s, mu, sigma):
    """Mean and standard deviation by (10.2)."""
    kappa = variance(s, sigma)
    return [kappa * (m / s**2 + mu / sigma**2), math.sqrt(kappa)]


def crossed(m, s, mu, sigma):
    """The same with each mean weighted by its variance."""
    return [variance(s, sigma) * (m / sigma**2 + mu / s**2), math.sqrt(variance(s, sigma))]


def with_rate(moments):
    """Both moments of 10.1 and the rate that follows from them."""
    return [*moments, rate_of(*moments, TWO["mu"], TWO["sigma"])]


def two_gaussians(rng):
    """Evidence and prior of one dimension."""
    m, mu = rng.normal(size=2)
    s, sigma = np.exp(rng.uniform(-1, 1, 2))
    return {"m": m, "s": float(s), "mu": mu, "sigma": float(sigma)}


def repaired(m, s, mu, sigma):
    """Mean and standard deviation of the merged Gaussian, and what a scale of kappa loses: all on a grid."""
    mean, deviation = on_a_grid(m, s, mu, sigma)
    z, step = np.linspace(mean - 60, mean + 60, 120_001, retstep=True)
    log_q, log_p = (-(((z - mean) / each) ** 2) / 2 - math.log(each) for each in (deviation**2, deviation))
    return [mean, deviation, (np.exp(log_q) * (log_q - log_p)).sum() * step / math.sqrt(2 * math.pi)]


def cost(kappa):
    """KL(N(0, kappa^2) || N(0, kappa)), scales in the wrong place."""
    return (kappa - 1 - math.log(kappa)) / 2


# --- 10.2 -------------------------------------------------------------------------------------------------------------


def what_moves():
    """The letter, from the likelihood of a chain whose upper levels were exchanged."""
    import torch

    from vaelib.exact import LinearGaussianChain

    model = LinearGaussianChain.random([3, 2, 2], seed=1).model()
    generator = torch.Generator().manual_seed(0)
    x, z1, z2 = (
        torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((2, 3), (1, 2, 2), (1, 2, 2))
    )
    before, after = (model.log_joint(x, [z1, top])[0] for top in (z2, z2.flip(1)))
    return "a" if torch.equal(before, after) else "b"


# --- 10.3 -------------------------------------------------------------------------------------------------------------

STEPS = (("mhvae", "flat"), ("ladder", "mhvae"), ("hvae", "ladder"))


@functools.cache
def gaps(*steps):
    """Differences of the chapter's table and their standard errors, (steps, seeds) each."""
    name = Path("benchmarks/results/hierarchies.json")
    homes = (*Path.cwd().resolve().parents, *Path(__file__).resolve().parents)
    table = json.loads(next(home / name for home in homes if (home / name).exists()).read_text())["gaps"]
    found = [[(g["gap"], g["stderr"]) for g in table if (g["of"], g["minus"]) == step] for step in steps]
    return np.moveaxis(np.array(found), -1, 0)


def findings(*steps, errors=2):
    """How many differences are so many errors from zero, and how many of these have a rival of the other sign."""
    gap, stderr = gaps(*steps)
    counts = abs(gap) > errors * stderr
    rival = (np.sign(gap)[:, :, None] != np.sign(gap)[:, None]).any(-1)
    return [counts.sum(), (counts & rival).sum()]


# --- 10.5 -------------------------------------------------------------------------------------------------------------


def seen_from_above(rng):
    """An image of one number, a drawn upper level, and a decoder that sees both levels."""
    a, c, r = rng.uniform(0.3, 2), rng.normal(), rng.uniform(0.3, 2)
    return {"x": 2 * rng.normal(), "z2": rng.normal(), "a": a, "c": c, "r": r}


def from_the_posterior(x, z2, a, c, r, b=0.7, sigma=0.9):
    """The evidence that merges with N(b z2, sigma^2) to p(z1 | z2, x), from that posterior by covariances."""
    spread, cross = a**2 * sigma**2 + r**2, a * sigma**2  # of x, and of x with z1, given z2
    mean = b * z2 + cross / spread * (x - (a * b + c) * z2)
    precision = 1 / (sigma**2 - cross**2 / spread)
    own = precision - sigma**-2
    return [(mean * precision - b * z2 / sigma**2) / own, own**-0.5]


# --- 10.6 -------------------------------------------------------------------------------------------------------------


def log_densities(rng):
    """Seven draws of both levels for three images: log-densities of about the size that images have."""
    q = rng.normal(size=(2, 7, 3)) - 40
    return {
        "log_px": 3 * rng.normal(size=(7, 3)) - 900,
        "log_pz": q - 10 + 2 * rng.normal(size=(2, 7, 3)),
        "log_qz": q,
        "kl2": 10 + rng.uniform(size=(7, 3)),
    }


def log_weights(log_px, log_pz, log_qz, kl2):
    """Of every draw, (K, B)."""
    return log_px + (log_pz - log_qz).sum(0)


def log_mean(log_w):
    """The log of the mean over draws, pair by pair."""
    return np.logaddexp.reduce(log_w, 0) - math.log(len(log_w))


def nll(log_px, log_pz, log_qz, kl2):
    """The estimate of each image."""
    return -log_mean(log_weights(log_px, log_pz, log_qz, kl2))


def with_closed_form(log_px, log_pz, log_qz, kl2):
    """What is trained on, in place of the log-weights."""
    return log_px + log_pz[0] - log_qz[0] - kl2


# --- 10.7 -------------------------------------------------------------------------------------------------------------

V, ALLOWANCES = 2.0, (0.1, 0.5, 1.0, 3.0)


def settled(rate):
    """Rate, nats of log p(x) lost, nats of the ELBO lost, where the best model of this rate is taken."""
    left = math.exp(-2 * rate)  # of the variance of z and, in units of V, of x
    own = V * (1 - left) + 1
    best = -(math.log(2 * math.pi * V) + 1) / 2
    return [
        rate,
        best + (math.log(2 * math.pi * own) + V / own) / 2,
        best + (math.log(2 * math.pi) + V * left) / 2 + rate,
    ]


def free_nats():
    """A row for each allowance: below the natural rate nothing changes."""
    return np.array([settled(max(allowance, math.log(V) / 2)) for allowance in ALLOWANCES])
