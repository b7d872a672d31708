"""What the answers of chapter 9 are, and the wrong ones: from quadratures, determinants and the library's chains."""

import functools
import math

import numpy as np

# --- What several exercises use ---------------------------------------------------------------------------------------

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(12)
NOISE_1, NOISE_2 = np.meshgrid(NODES, NODES, indexing="ij")
WEIGHT = np.outer(WEIGHTS, WEIGHTS) / (2 * math.pi)


def log_normal(y, mean, variance):
    """The log-density of one number, or of each of several."""
    return -(np.log(2 * math.pi * variance) + (y - mean) ** 2 / variance) / 2


def under_q(f, m1, tau1, a2, tau2):
    """The mean of f(z1, z2) under q(z1 | x) q(z2 | z1), by quadrature."""
    z1 = m1 + math.sqrt(tau1) * NOISE_1
    return float((WEIGHT * f(z1, a2 * z1 + math.sqrt(tau2) * NOISE_2)).sum())


# --- 9.1 --------------------------------------------------------------------------------------------------------------

SMALL = {"m1": 1.0, "tau1": 1.0, "a2": 1.0, "tau2": 0.25, "b2": 1.0, "u2": 0.5}


def rates(m1, tau1, a2, tau2, b2, u2):
    """The rates of two levels, from the means of their log-ratios."""
    q = m1, tau1, a2, tau2
    middle = under_q(lambda z1, z2: log_normal(z1, m1, tau1) - log_normal(z1, b2 * z2, u2), *q)
    return [middle, under_q(lambda z1, z2: log_normal(z2, a2 * z1, tau2) - log_normal(z2, 0, 1), *q)]


def afresh(m1, tau1, a2, tau2, b2, u2):
    """The rate of the lower level with another z1 scored than the one that z2 was drawn from."""
    m2, V2 = a2 * m1, a2**2 * tau1 + tau2

    def of_another(z2):
        return (math.log(u2 / tau1) - 1 + (tau1 + (m1 - b2 * z2) ** 2) / u2) / 2

    return float(WEIGHTS @ of_another(m2 + math.sqrt(V2) * NODES) / math.sqrt(2 * math.pi))


def squared(case):
    """The case with variances that were taken for standard deviations."""
    return {name: value**2 if name in ("tau1", "tau2", "u2") else value for name, value in case.items()}


# --- 9.2 --------------------------------------------------------------------------------------------------------------

FALL, UP_AND_DOWN = (0.95, 0.9, 0.8, 0.6), (0.7, 0.95, 0.6, 0.9)


def ties(correlations):
    """The mutual information of neighbours: the grey bars."""
    return -0.5 * np.log(1 - np.array(correlations) ** 2)


def heights(correlations):
    """(9.10): the coloured bars."""
    return ties(correlations) - np.append(ties(correlations)[1:], 0)


@functools.cache
def without_the_top():
    """The rates of the chain with its upper three variables, from its exact posterior."""
    import torch

    from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain

    one = torch.eye(1, dtype=torch.float64)
    decoders = [LinearGaussian(r * one, 0 * one[0], (1 - r * r) * one) for r in UP_AND_DOWN[:-1]]
    chain = LinearGaussianChain(decoders, GaussianPrior(0 * one[0], one))
    S, found = chain.moments()[1].numpy(), []
    for t, q in enumerate(chain.posteriors(), start=1):  # the mean of log q - log p is half a ratio of variances
        noise = decoders[t].covariance.item() if t < len(decoders) else S[t, t]
        found.append(math.log(noise / q.covariance.item()) / 2)
    return np.array(found)


# --- 9.3 --------------------------------------------------------------------------------------------------------------


def drawn_levels(rng):
    """Draws of a lower level, (3, 4), the Gaussians that they came from, and those that the upper level expects."""
    mu, sigma = rng.normal(size=(3, 4)), np.exp(rng.uniform(-1, 1, (3, 4)))
    z = mu + sigma * rng.normal(size=(3, 4))
    return {"z": z, "mu": mu, "sigma": sigma, "nu": rng.normal(size=(3, 4)), "tau": np.exp(rng.uniform(-1, 1, (3, 4)))}


def of_each(f):
    """A function of `takes` that sums a log-density or a divergence over the latents."""
    return lambda z, mu, sigma, nu, tau: f(z, mu, sigma, nu, tau).sum(-1)


def log_ratio(z, mu, sigma, nu, tau):
    """Of each latent at the draw."""
    return log_normal(z, mu, sigma**2) - log_normal(z, nu, tau**2)


def divergence(z, mu, sigma, nu, tau):
    """Of each latent, whatever was drawn."""
    return np.log(tau / sigma) + (sigma**2 + (mu - nu) ** 2) / (2 * tau**2) - 0.5


# --- 9.4 --------------------------------------------------------------------------------------------------------------


def negative_weights(rng):
    """An encoder, and a decoder of the upper level whose weight is negative."""
    return {
        "a2": rng.uniform(0.2, 1.5),
        "tau1": rng.uniform(0.1, 2),
        "tau2": rng.uniform(0.1, 2),
        "b2": -rng.uniform(0.2, 1.5),
        "u2": rng.uniform(0.2, 2),
    }


def above_and_fine(a2, tau1, tau2, b2, u2):
    """How far line 45 lies above the bound, by quadrature; the coupling of the levels, from determinants."""
    case = {"m1": 0.3, "tau1": tau1, "a2": a2, "tau2": tau2, "b2": b2, "u2": u2}
    S = np.array([[tau1, a2 * tau1], [a2 * tau1, a2**2 * tau1 + tau2]])
    return [rates(**case)[0] - afresh(**case), math.log(S[0, 0] * S[1, 1] / np.linalg.det(S)) / 2]


# --- 9.5 --------------------------------------------------------------------------------------------------------------


def skips(rng):
    """A decoder with a skip arrow, and the moments of both levels under the encoder."""
    tau1, a2 = rng.uniform(0.2, 1), rng.uniform(-1.5, 1.5)
    case = {"x": rng.normal(), "b1": rng.normal(), "u1": rng.uniform(0.2, 2), "g": rng.normal(), "m1": rng.normal()}
    return case | {"m2": rng.normal(), "V2": a2**2 * tau1 + rng.uniform(0.2, 1), "C": a2 * tau1}


def gained(x, b1, u1, g, m1, m2, V2, C):
    """What the arrow adds to the reconstruction, by quadrature over both levels."""
    z2 = m2 + math.sqrt(V2) * NOISE_2
    z1 = m1 + C / V2 * (z2 - m2) + NOISE_1  # the rest of its noise cancels from the difference
    return float((WEIGHT * (log_normal(x, b1 * z1 + g * z2, u1) - log_normal(x, b1 * z1, u1))).sum())


def gain(x, b1, u1, g, m1, m2, V2, C, product=1.0, spread=1.0):
    """The same with the covariance and the variance counted as often as said."""
    first = (x - b1 * m1) * m2 - product * b1 * C
    return (2 * g * first - g**2 * (m2**2 + spread * V2)) / (2 * u1)


# --- 9.6 --------------------------------------------------------------------------------------------------------------


def chains(rng):
    """A scalar chain of one to four levels, three observations, and a draw of all levels for each."""
    T = int(rng.integers(1, 5))
    return {
        "x": rng.normal(size=3),
        "z": rng.normal(size=(T, 3)),
        "a": rng.normal(size=T),
        "tau": rng.uniform(0.2, 2, T),
        "b": rng.normal(size=T),
        "u": rng.uniform(0.2, 2, T),
    }


def by_the_library(x, z, a, tau, b, u):
    """The log-weights of the library's model at these draws."""
    import torch

    from vaelib.exact import GaussianPrior, LinearGaussian
    from vaelib.models import MHVAE

    one = torch.eye(1, dtype=torch.float64)
    encoders, decoders = (
        [LinearGaussian(float(w) * one, 0 * one[0], float(v) * one) for w, v in zip(*parts, strict=True)]
        for parts in ((a, tau), (b, u))
    )
    model = MHVAE(encoders, decoders, GaussianPrior(0 * one[0], one))
    seen, latents = torch.from_numpy(x)[:, None], [torch.from_numpy(each)[None, :, None] for each in z]
    log_px, log_pz = model.log_joint(seen, latents)
    return (log_px + log_pz - model.log_posterior(seen, latents))[0].numpy()


def log_weight(x, z, a, tau, b, u, log_density=log_normal, blind=False, prior=True, encoders=-1):
    """The sum of (D9.6), with one thing or another done otherwise."""
    y = np.concatenate([x[None], z])
    total = log_density(y[-1], 0, 1.0) if prior else 0
    for t in range(len(z)):
        total = total + log_density(y[t], b[t] * y[t + 1], u[t])
        total = total + encoders * log_density(y[t + 1], a[t] * (y[0] if blind else y[t]), tau[t])
    return total


# --- 9.7 --------------------------------------------------------------------------------------------------------------


def trained(alpha_1, alpha_2, joint):
    """Weight and noise variance of the best decoder of z1, given z2, from the moments of what it is trained on."""
    x, first, second = np.eye(3)  # z1, another z1 of the same x, and z2 as combinations of independent noises
    z1 = math.sqrt(alpha_1) * x + math.sqrt(1 - alpha_1) * first
    z2 = np.append(math.sqrt(alpha_2) * z1, math.sqrt(1 - alpha_2))
    target = np.append(z1 if joint else math.sqrt(alpha_1) * x + math.sqrt(1 - alpha_1) * second, 0)
    weight = target @ z2 / (z2 @ z2)
    return weight, target @ target - weight * (target @ z2)


def lost(alpha_1, alpha_2, b, u):
    """The nats of the bound that a decoder misses, from the mean of two log-densities under the encoder."""
    tie = math.sqrt(alpha_2)
    best = trained(alpha_1, alpha_2, joint=True)
    return under_q(
        lambda z2, z1: log_normal(z1, best[0] * z2, best[1]) - log_normal(z1, b * z2, u), 0, 1, tie, 1 - tie**2
    )


def both_lines():
    """The decoders of the two lines at (0.6, 0.5), what the second misses, and what ten levels of 0.8 miss."""
    wrong = trained(0.6, 0.5, joint=False)
    deep = 9 * lost(0.8, 0.8, *trained(0.8, 0.8, joint=False))
    return np.array([*trained(0.6, 0.5, joint=True), *wrong, lost(0.6, 0.5, *wrong), deep])


def by_its_own_measure():
    """The losses as the difference of the two lines, each at its own optimum."""
    pairs = ((0.6, 0.5), 1), ((0.8, 0.8), 9)
    differences = [n * math.log(trained(*a, joint=False)[1] / trained(*a, joint=True)[1]) / 2 for a, n in pairs]
    return np.array([*both_lines()[:4], *differences])
