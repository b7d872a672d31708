"""What the answers of chapter 12 are, and the wrong ones: by simulation of moments, quadrature and exact chains."""

import functools
import math

import numpy as np

# --- 12.1, as a sum of independent noises -----------------------------------------------------------------------------


def flattened(weights=(0.5, 2.0, 1.0), noises=(2.0, 1.0, 0.25)):
    """The variance of x in a chain of three numbers, and the weight of the flat model with the same p(x)."""
    reach, parts = 1.0, []
    for weight, noise in zip(weights, noises, strict=True):  # of each noise, down to x; and then of z_3
        parts.append(reach**2 * noise)
        reach *= weight
    parts.append(reach**2)
    return np.array([sum(parts), math.sqrt(sum(parts[1:]))])


# --- 12.2, by quadrature ----------------------------------------------------------------------------------------------


def encoder_and_data(rng):
    """The weight and the deviation of an encoder, and the variance of the data."""
    return {"a": rng.uniform(0.3, 1.5), "s": rng.uniform(0.2, 0.9), "ell": math.exp(rng.uniform(-1, 1))}


def best_gain(a, s, ell):
    """What the best prior wins over N(0, 1): the mean of the log-ratio under the aggregated posterior."""
    from scipy import stats

    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    x, noise = np.meshgrid(math.sqrt(ell) * nodes, nodes)
    z, weight = a * x + s * noise, np.outer(weights, weights) / weights.sum() ** 2
    aggregated = stats.norm(0, math.sqrt((weight * z**2).sum()))
    return (weight * (aggregated.logpdf(z) - stats.norm.logpdf(z))).sum()


# --- 12.3 -------------------------------------------------------------------------------------------------------------


def two_models(rng):
    """Test NLLs of two models, by seed: what the seed does to both, and what is each one's own."""
    both = rng.normal(90, 1, 5)
    return {"first": both + rng.normal(-0.3, 0.2, 5), "second": both + rng.normal(0, 0.2, 5)}


def paired_interval(first, second):
    """The mean difference and half of its 95 % interval, from scipy's test of paired samples."""
    from scipy import stats

    found = stats.ttest_rel(first, second).confidence_interval(0.95)
    return np.array([(found.low + found.high) / 2, (found.high - found.low) / 2])


# --- 12.4, by enumeration ---------------------------------------------------------------------------------------------


def asleep():
    """The letter: a chain whose z_1 does not look at z_2, against the flat VAE with the same p(z_1)."""
    rng = np.random.default_rng(0)
    p0, p1, p2, q1 = rng.dirichlet(np.ones(5), 4)[:, 0], *map(rng.dirichlet, (np.ones(4), np.ones(3), np.ones(4)))
    flat = (q1 * np.log(p0 * p1 / q1)).sum()
    q = np.outer(q1, p2)  # the best upper encoder is the posterior p(z2 | z1), here the prior
    chain = (q * np.log(np.outer(p0 * p1, p2) / q)).sum()
    return "b" if abs(chain - flat) < 1e-12 else "a" if chain < flat else "c"


# --- 12.5, by solving for the law that a step keeps -------------------------------------------------------------------


def pair_and_prior(rng):
    """q(z_1 | x), (5, 4), row x; p(x | z_1), (4, 5), row z_1; and p(z_1), (4,)."""
    return {
        "encoder": rng.dirichlet(np.ones(4), 5),
        "decoder": rng.dirichlet(np.ones(5), 4),
        "prior": rng.dirichlet(np.ones(4)),
    }


def kept(encoder, decoder, prior):
    """The law of x that a step to and fro leaves as it is."""
    step = encoder @ decoder
    equations = np.vstack([step.T - np.eye(5), np.ones(5)])
    return np.linalg.lstsq(equations, np.append(np.zeros(5), 1), rcond=None)[0]


# --- 12.6, an exact chain ---------------------------------------------------------------------------------------------


@functools.cache
def remembered(rho=0.99, start=3.0, nats=0.01, half_steps=1):
    """The least number of steps until what is drawn from x = start is within so many nats of N(0, 1)."""
    mean, variance, steps = start, 0.0, 0
    while True:
        for _ in range(2):  # encode, decode: each shrinks by rho and adds noise
            mean, variance = rho * mean, rho**2 * variance + 1 - rho**2
            steps += 1
        if (mean**2 + variance - 1 - math.log(variance)) / 2 < nats:
            return steps // 2 * half_steps
