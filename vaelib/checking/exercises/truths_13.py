"""What the answers of chapter 13 are, and the wrong ones: by simulation of moments, quadrature and exact chains."""

import functools
import math

import numpy as np

# --- 13.1, step by step -----------------------------------------------------------------------------------------------


def after_three(alphas=(0.9, 0.8, 0.5)):
    """The shares of signal and of noise in z_3, for data of variance one, and their ratio."""
    signal, noise = 1.0, 0.0
    for alpha in alphas:
        signal, noise = alpha * signal, alpha * noise + 1 - alpha
    return np.array([signal, signal / noise])


# --- 13.2 and 13.6, from exact chains ---------------------------------------------------------------------------------


def lost(levels, rho=0.9, high=7.0, low=-7.0, first=1):
    """What the steps of a chain lose for two numbers of correlation rho, from the step to z_first on."""
    gammas = np.exp(np.linspace(high, low, levels))
    abar = gammas / (1 + gammas)
    total = 0.0
    for t in range(first, levels):  # the step to z_t; to x for t = 0
        below, above = (1.0 if t == 0 else abar[t - 1]), abar[t]
        covariance = np.array([[1, rho], [rho, 1]])
        noisy = above * covariance + (1 - above) * np.eye(2)
        cross = math.sqrt(above / below) * (below * covariance + (1 - below) * np.eye(2))
        given = below * covariance + (1 - below) * np.eye(2) - cross @ np.linalg.solve(noisy, cross.T)
        total += 0.5 * (np.log(np.diag(given)).sum() - np.linalg.slogdet(given)[1])
    return total


def fraction():
    """The letter: what four times as many steps lose."""
    shrinks = lost(50) / lost(200)
    return min({"a": 1, "b": 2, "c": 4, "d": 16}.items(), key=lambda choice: abs(math.log(shrinks / choice[1])))[0]


@functools.cache
def fewest(rho=0.99, nats=0.1, first=1):
    """The least number of levels whose steps lose at most so many nats."""
    levels = 2
    while lost(levels, rho, high=5.0, first=first) > nats:
        levels += 1
    return levels


# --- 13.3 and 13.5 ----------------------------------------------------------------------------------------------------


def reverse(below, above):
    """a, h and tau of the step back between two shares of signal, by adding precisions."""
    alpha = above / below
    up, down = alpha / (1 - alpha), 1 / (1 - below)
    return np.array([math.sqrt(below) * down, up / math.sqrt(alpha), 1]) / (up + down)


def noise_and_step(rng):
    """A latent of five entries, a guess at its noise, and the shares of one step."""
    alpha, below = rng.uniform(0.3, 0.9, 2)
    return {"z": rng.normal(size=5), "noise": rng.normal(size=5), "alpha": alpha, "abar": alpha * below}


def mean_back(z, noise, alpha, abar):
    """The mean of the step back, by way of the guess at the data."""
    a, h, _ = reverse(abar / alpha, abar)
    return a * (z - math.sqrt(1 - abar) * noise) / math.sqrt(abar) + h * z


def two_ratios(rng):
    """Signal-to-noise ratios of z_t and z_{t+1}."""
    above = math.exp(rng.uniform(-3, 1))
    return {"below": above * math.exp(rng.uniform(0.2, 2)), "above": above}


def constants(below, above):
    """a, h and tau from two signal-to-noise ratios."""
    return reverse(below / (1 + below), above / (1 + above))


# --- 13.4, by quadrature ----------------------------------------------------------------------------------------------


def variance_and_ends(rng):
    """A variance and the signal-to-noise ratios of both ends."""
    return {
        "ell": math.exp(rng.uniform(-1, 1)),
        "first": math.exp(rng.uniform(0, 3)),
        "last": math.exp(-rng.uniform(1, 5)),
    }


def endless(ell, first, last):
    """The integral of half the error of the best linear guess."""
    from scipy import integrate

    def error(gamma):  # of x ~ N(0, ell), seen as sqrt(gamma) x + noise: regression
        covariance = np.array([[ell, math.sqrt(gamma) * ell], [math.sqrt(gamma) * ell, gamma * ell + 1]])
        return covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1]

    return integrate.quad(error, last, first, epsabs=1e-12)[0] / 2
