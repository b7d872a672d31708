"""How the answers of chapter 2, right and wrong, are found: by searches, and by quadrature over Gaussian noise."""

import functools
import math

import numpy as np

NODES, MASSES = np.polynomial.hermite_e.hermegauss(100)
MASSES = MASSES / MASSES.sum()  # E f(U) is MASSES @ f(NODES) for U ~ N(0, 1)
EVEN = np.linspace(-8, 8, 801)  # for an f with bends
EVEN_MASSES = np.exp(-(EVEN**2) / 2) / np.exp(-(EVEN**2) / 2).sum()


def coins(log=math.log, power=2, half=1.0, q=(1 / 2, 1 / 2), p=(1 / 4, 3 / 4)):
    """KL(q || p) of two coins, and Pinsker's bound: 1/2 of a power of the sum of the differences, or of its half."""
    divergence = sum(a * log(a / b) for a, b in zip(q, p, strict=True))
    return [divergence, (half * sum(abs(a - b) for a, b in zip(q, p, strict=True))) ** power / 2]


def moved_to(budget=1.0, width=0.5):
    """How far the mean of a posterior with this width moves until the rate is the budget: on the map, by a search."""
    from scipy import optimize
    from torch.distributions import Normal, kl_divergence

    return optimize.brentq(lambda m: float(kl_divergence(Normal(m, width), Normal(0.0, 1.0))) - budget, 0, 3)


def batch(rng):
    """Means and logarithms of standard deviations, (3, 4) each."""
    return {"mu": rng.normal(size=(3, 4)), "log_sigma": rng.normal(scale=0.7, size=(3, 4))}


@functools.cache
def mixing():
    """The letter of what mixing both sides has done to the divergence of drawn pairs of tables."""
    from scipy import special

    rng, seen = np.random.default_rng(0), set()
    for _ in range(1000):
        q, p = rng.dirichlet(np.ones(4), size=(2, 2))
        mixed = special.rel_entr(q.mean(0), p.mean(0)).sum()
        seen.add(np.sign(special.rel_entr(q, p).sum(1).mean() - mixed))
    return {(1,): "a", (-1,): "b"}.get(tuple(seen), "d")


def half_width(k):
    """Of the interval about 0 to which N(0, 1) gives the probability exp(-k): by a search."""
    from scipy import optimize, stats

    return optimize.brentq(lambda c: math.log(stats.norm.cdf(c) - stats.norm.cdf(-c)) + k, 1e-9, 10, xtol=1e-14)


def uniform_half_width(k):
    """Of the interval about 0 on which a uniform q costs k: KL = log(2 pi) / 2 - log(2 c) + c^2 / 6."""
    from scipy import optimize

    return optimize.brentq(lambda c: math.log(math.pi / 2) / 2 - math.log(c) + c**2 / 6 - k, 1e-9, 1.5)


@functools.cache
def _moments(s):
    """Of log r, its square, r^2 and r log r under N(0, s^2) in one dimension, by quadrature where r^2 has its mass."""
    scale = s / math.sqrt(2 * s**2 - 1)
    z = scale * NODES
    log_r = math.log(s) + (z / s) ** 2 / 2 - z**2 / 2
    density = math.log(scale / s) + (z / scale) ** 2 / 2 - (z / s) ** 2 / 2  # log of q over N(0, scale^2)
    once, twice = np.exp(density), np.exp(density + 2 * log_r)
    return (
        MASSES @ (once * log_r),
        MASSES @ (once * log_r**2),
        MASSES @ twice,
        MASSES @ (np.exp(density + log_r) * log_r),
    )


def k3_variance(s, J, one_way=False, covariance=2.0, minus=1.0, k1_once=False):
    """Var(k3) for q = N(0, s^2 I) and p = N(0, I) in J dimensions; the options make mistakes."""
    mean, square, ratio, bend = _moments(s)
    both = -2 * mean if one_way else bend - mean
    return (1 if k1_once else J) * (square - mean**2) + ratio**J - minus - covariance * J * both


def wide_or_narrow(rng):
    """A width at which the variance is finite, and a number of dimensions."""
    return {"s": rng.uniform(0.8, 1.2), "J": int(rng.integers(2, 10))}


# --- 2.7, humps that move together ------------------------------------------------------------------------------------


def reverse(v, scale):
    """KL(q || p) of q = N(v0, exp(v1)^2) and the two humps of the chapter, at a share of their distance."""
    sigma = math.exp(v[1])
    x = v[0] + sigma * EVEN
    humps = [
        math.log(weight / width) - ((x - scale * place) / width) ** 2 / 2
        for weight, place, width in ((0.65, -2, 0.5), (0.35, 2, 0.7))
    ]
    return EVEN_MASSES @ (-(EVEN**2) / 2 - v[1] - np.logaddexp(*humps))


def _ends(start, scale):
    from scipy import optimize

    simplex = [start, (start[0] + 0.02, start[1]), (start[0], start[1] + 0.02)]  # small steps: it stays in its valley
    options = {"initial_simplex": simplex, "xatol": 1e-8, "fatol": 1e-12, "maxiter": 2000}
    found = optimize.minimize(reverse, start, args=(scale,), method="Nelder-Mead", options=options)
    return found.x, found.fun


def _bisected(holds, low, high, steps=14):
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return (low + high) / 2


def _on_hump(place, width):
    return lambda scale: _ends((scale * place, math.log(width)), scale)[0][0] * place > 0.35 * scale * place**2


def _best_on_hump(place, width):
    return lambda scale: _ends((scale * place, math.log(width)), scale)[1] < _ends((0.0, math.log(1.3)), scale)[1]


@functools.cache
def lets_go():
    """At which share of the distance the lighter hump, the best fit of all, and the heavier hump are let go."""
    lighter, heavier = _bisected(_on_hump(2, 0.7), 0.5, 1), _bisected(_on_hump(-2, 0.5), 0.4, 1)
    return [lighter, _bisected(_best_on_hump(-2, 0.5), heavier, 1), heavier]


@functools.cache
def dearer_than_covering():
    """At which share of the distance the fit on the lighter hump costs as much as covering both."""
    return _bisected(_best_on_hump(2, 0.7), lets_go()[0], 1)
