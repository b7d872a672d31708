"""What students hand in who make the mistakes of chapter 04, written from the messages alone."""

import math

import numpy as np
import torch
from scipy import integrate, optimize, special
from torch.nn import functional as F

BOUND = (6 * math.log(3 / 8) + math.log(3 / 4) + 2 * math.log(3 / 8)) / 9
ALIKE = (math.log(3 / 4) + math.log(1 / 4) + math.log(1 / 4)) / 3


def errors(x, x_hat):
    return F.binary_cross_entropy(x_hat, x, reduction="none")


def rates(mu, sigma):
    return 0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2))


def per_example(x, x_hat, mu, sigma):
    return errors(x, x_hat).sum(-1) + rates(mu, sigma).sum(-1)


def with_variance(theta, V, s2):
    return -(math.log(2 * math.pi) + V / (1 + theta**2) + (1 + theta**2) * s2 - 1 - torch.log(s2)) / 2


def nats(m, s):  # the gap of N(m, s^2) in the model of 4.6
    z = m + s * np.linspace(-9, 9, 4001)
    density = np.exp(-(((z - m) / s) ** 2) / 2)
    reconstruction = density @ special.log_expit(4 * z) / density.sum()
    return math.log(1 / 2) - reconstruction + (m**2 + s**2 - 1 - 2 * math.log(s)) / 2


def decoded_mean():
    def gap(p):
        return math.log(1 / 2) - special.log_expit(4 * p[0]) + (p[0] ** 2 + math.exp(2 * p[1]) - 1 - 2 * p[1]) / 2

    best = optimize.minimize(gap, [0.0, 0.0], tol=1e-10)
    return best.x[0], math.exp(best.x[1]), 100 * best.fun


def moments():
    def moment(k):
        return integrate.quad(lambda z: z**k * special.expit(4 * z) * math.exp(-z * z / 2), -12, 12, points=[0])[0]

    m = moment(1) / moment(0)
    s = math.sqrt(moment(2) / moment(0) - m**2)
    return m, s, 100 * nats(m, s)


def laplace():
    m = optimize.brentq(lambda z: 4 * special.expit(-4 * z) - z, 0, 3)
    s = (1 + 16 * special.expit(4 * m) * special.expit(-4 * m)) ** -0.5
    return m, s, 100 * nats(m, s)


def right_one():
    best = optimize.minimize(lambda p: nats(p[0], math.exp(p[1])), [0.0, 0.0], tol=1e-10)
    return best.x[0], math.exp(best.x[1]), best.fun


M, S, GAP = right_one()
COUNTS = (1, 2, 3, 10, 100)


def gap(n, square):  # of n causes, each with this squared weight
    return (n * math.log1p(square) - math.log1p(n * square)) / 2


def of_marginals(n):
    variance = 1 - (3.5 / n) / (1 + 3.5)
    return (n * (1 + 3.5 / n) * variance - n - math.log(1 + 3.5) - n * math.log(variance)) / 2


RIGHT = [gap(n, 3.5 / n) for n in COUNTS]
LIMIT = (3.5 - math.log(4.5)) / 2

WRONG = {
    "4.1": {
        "the log of the mean": (math.log(6 / 9 * 3 / 8 + 1 / 9 * 3 / 4 + 2 / 9 * 3 / 8), 0.0),
        "the rate for the gap": (BOUND, math.log(4 / 3)),
        "E7": (BOUND, 3 / 5 * math.log(9 / 10) + 1 / 5 * math.log(9 / 5) + 1 / 5 * math.log(9 / 10)),
        "E23b": (8 / 9 * math.log(1 / 2), math.log(5 / 12) - BOUND),
        "all alike": (ALIKE, math.log(5 / 12) - ALIKE),
    },
    "4.2": {
        "changed over": (0.4, 1.4),
        "down to the black line": (2.1 - 1.1, 0.4),
        "the other one": (0.3, 1.2),
        "signs": (-1.4, -0.4),
    },
    "4.3": {
        "as printed": lambda x, x_hat, mu, sigma: -errors(x, x_hat).mean() + rates(mu, sigma).mean(),
        "sign of the error": lambda x, x_hat, mu, sigma: (-errors(x, x_hat).sum(-1) + rates(mu, sigma).sum(-1)).mean(),
        "E18": lambda x, x_hat, mu, sigma: -per_example(x, x_hat, mu, sigma).mean(),
        "E18b": lambda x, x_hat, mu, sigma: (errors(x, x_hat).sum(-1) - rates(mu, sigma).sum(-1)).mean(),
        "means left": lambda x, x_hat, mu, sigma: errors(x, x_hat).mean() + rates(mu, sigma).mean(),
        "E2a": lambda x, x_hat, mu, sigma: (errors(x, x_hat).mean(-1) + rates(mu, sigma).sum(-1)).mean(),
        "E1": lambda x, x_hat, mu, sigma: (errors(x, x_hat).sum(-1) + rates(mu, sigma).mean(-1)).mean(),
        "per pixel": lambda x, x_hat, mu, sigma: per_example(x, x_hat, mu, sigma).mean() / x.shape[-1],
        "the batch summed": lambda x, x_hat, mu, sigma: per_example(x, x_hat, mu, sigma).sum(),
    },
    "4.4": {
        "the gap alone": lambda a, b: -a / b + (1 - a) / (1 - b),
        "without the half": lambda a, b: -a / b + (1 - a) / (1 - b) + 8 * (a - b),
        "without the square": lambda a, b: -a / b + (1 - a) / (1 - b) + (1 if a > b else -1),
        "one state": lambda a, b: -a / b + (1 - a) / (1 - b) + (a - b),
        "with respect to a": lambda a, b: torch.log(a / b) - torch.log((1 - a) / (1 - b)) - 4 * (a - b),
        "E7": lambda a, b: torch.log(b / a) - torch.log((1 - b) / (1 - a)) + 4 * (a - b),
        "sign": lambda a, b: (a - b) * (1 / (b * (1 - b)) - 4),
    },
    "4.5": {
        "width of the best model": lambda theta, V: with_variance(theta, V, 1 / V),
        "width taken for variance": lambda theta, V: with_variance(theta, V, (1 / (1 + theta**2)) ** 2),
        "width of the prior": lambda theta, V: with_variance(theta, V, torch.ones_like(theta)),
        "E11b": lambda theta, V: -(math.log(2 * math.pi) + V / (1 + theta**2)) / 2,  # the best width is then 1
        "constants": lambda theta, V: -(V / (1 + theta**2) + torch.log(1 + theta**2)) / 2,
        "sign": lambda theta, V: (math.log(2 * math.pi) + V / (1 + theta**2) + torch.log(1 + theta**2)) / 2,
    },
    "4.6": {
        "E11b": decoded_mean(),
        "E7": moments(),
        "the mode": laplace(),
        "unit": (M, S, GAP),
        "log-width": (M, math.log(S), 100 * GAP),
    },
    "4.7": {
        "no half": (*(2 * right for right in RIGHT), 2 * LIMIT),
        "marginal variances": (*(of_marginals(n) for n in COUNTS), (3.5 - math.log(4.5)) / 2),
        "vanishes": (*RIGHT, 0),
        "pairs": (*(n * (n - 1) / 2 * gap(2, 3.5 / n) for n in COUNTS), 3.5**2 / 4),
        "each weight the same": (*(gap(n, 3.5 / n**2) for n in COUNTS), 0),
        "r squared shared out": (*(gap(n, (3.5 / n) ** 2) for n in COUNTS), 0),
    },
}
