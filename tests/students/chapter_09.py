"""What students hand in who make the mistakes of chapter 09, written from the messages alone."""

import math

import torch
from torch.distributions import Normal, kl_divergence

LOWER, TOP = (math.log(1 / 2) - 1 + (1 + 5 / 4 - 2) / (1 / 2)) / 2, (1 + 1 + 1 / 4 - 1 - math.log(1 / 4)) / 2
AFRESH, AT_THE_MEAN = (math.log(1 / 2) - 1 + (1 + 5 / 4) / (1 / 2)) / 2, (1 + 1 / 4 - 1 - math.log(1 / 4)) / 2


def fine(a2, tau1, tau2):
    return 0.5 * math.log(1 + a2**2 * tau1 / tau2)


def summed(x, z, a, tau, b, u, sign=-1, prior=1, width=0.5, seen=None):
    y = torch.cat([x[None], z])
    total = prior * Normal(0.0, 1.0).log_prob(z[-1])
    for t in range(len(z)):
        total = total + Normal(b[t] * y[t + 1], u[t] ** width).log_prob(y[t])
        total = total + sign * Normal(a[t] * (y[t] if seen is None else seen), tau[t] ** width).log_prob(z[t])
    return total


def without_constants(x, z, a, tau, b, u):
    y = torch.cat([x[None], z])
    total = -(z[-1] ** 2) / 2
    for t in range(len(z)):
        total = total - (y[t] - b[t] * y[t + 1]) ** 2 / (2 * u[t]) - torch.log(u[t]) / 2
        total = total + (y[t + 1] - a[t] * y[t]) ** 2 / (2 * tau[t]) + torch.log(tau[t]) / 2
    return total


def lost(beta, b, u):
    return (math.log(u / (1 - beta)) + (1 - 2 * b * beta**0.5 + b**2) / u - 1) / 2


JOINT, FRESH = (0.5**0.5, 1 - 0.5), (0.6 * 0.5**0.5, 1 - 0.6**2 * 0.5)
TWO, DEEP = lost(0.5, *FRESH), lost(0.8, 0.8 * 0.8**0.5, 1 - 0.8**3)

WRONG = {
    "9.1": {
        "E13": (AFRESH, TOP),
        "E12": (LOWER, AT_THE_MEAN),
        "E13 and E12": (AFRESH, AT_THE_MEAN),
        "set to zero": (0, TOP),
        "E24": ((math.log(1 / 4) - 1 + (1 + 17 / 16 - 2) / (1 / 4)) / 2, (1 + 1 + 1 / 16 - 1 - math.log(1 / 16)) / 2),
        "changed over": (TOP, LOWER),
    },
    "9.2": {
        "nothing changes": (-0.83, 0.94, -0.61),
        "the old top": (-0.83, 0.94, 0.83),
        "sign": (-0.83, 0.94, -0.22),
        "grey bars": (0.34, 1.16, 0.22),
        "the other chart": (0.33, 0.32, 0.29 + 0.22),
    },
    "9.3": {
        "E13": lambda z, mu, sigma, nu, tau: kl_divergence(Normal(mu, sigma), Normal(nu, tau)).sum(-1),
        "sign": lambda z, mu, sigma, nu, tau: (Normal(nu, tau).log_prob(z) - Normal(mu, sigma).log_prob(z)).sum(-1),
        "E1": lambda z, mu, sigma, nu, tau: (Normal(mu, sigma).log_prob(z) - Normal(nu, tau).log_prob(z)).mean(-1),
        "set to zero": lambda z, mu, sigma, nu, tau: (
            (Normal(mu, sigma).log_prob(z) - Normal(nu, tau).log_prob(z)).sum(-1).clamp(min=0)
        ),
        "the entropy is known": lambda z, mu, sigma, nu, tau: (
            -Normal(mu, sigma).entropy().sum(-1) - Normal(nu, tau).log_prob(z).sum(-1)
        ),
        "E24": lambda z, mu, sigma, nu, tau: (
            Normal(mu, sigma.sqrt()).log_prob(z) - Normal(nu, tau.sqrt()).log_prob(z)
        ).sum(-1),
        "no scales": lambda z, mu, sigma, nu, tau: (((z - nu) / tau) ** 2 / 2 - ((z - mu) / sigma) ** 2 / 2).sum(-1),
    },
    "9.4": {
        "sign": lambda a2, tau1, tau2, b2, u2: [b2 * a2 * tau1 / u2, fine(a2, tau1, tau2)],
        "twice": lambda a2, tau1, tau2, b2, u2: [-2 * b2 * a2 * tau1 / u2, fine(a2, tau1, tau2)],
        "the half of the fine": lambda a2, tau1, tau2, b2, u2: [
            -b2 * a2 * tau1 / u2,
            math.log(1 + a2**2 * tau1 / tau2),
        ],
        "the wrong noise": lambda a2, tau1, tau2, b2, u2: [
            -b2 * a2 * tau1 / u2,
            0.5 * math.log(1 + tau2 / (a2**2 * tau1)),
        ],
        "the conditional entropy": lambda a2, tau1, tau2, b2, u2: [
            -b2 * a2 * tau1 / u2,
            0.5 * math.log(a2**2 * tau1 + tau2),
        ],
    },
    "9.5": {
        "E13": lambda x, b1, u1, g, m1, m2, V2, C: (2 * g * (x - b1 * m1) * m2 - g**2 * (m2**2 + V2)) / (2 * u1),
        "E12": lambda x, b1, u1, g, m1, m2, V2, C: ((x - b1 * m1) ** 2 - (x - b1 * m1 - g * m2) ** 2) / (2 * u1),
        "the spread": lambda x, b1, u1, g, m1, m2, V2, C: (
            (2 * g * ((x - b1 * m1) * m2 - b1 * C) - g**2 * m2**2) / (2 * u1)
        ),
        "sign of C": lambda x, b1, u1, g, m1, m2, V2, C: (
            (2 * g * ((x - b1 * m1) * m2 + b1 * C) - g**2 * (m2**2 + V2)) / (2 * u1)
        ),
        "sign": lambda x, b1, u1, g, m1, m2, V2, C: (
            (g**2 * (m2**2 + V2) - 2 * g * ((x - b1 * m1) * m2 - b1 * C)) / (2 * u1)
        ),
        "without the half": lambda x, b1, u1, g, m1, m2, V2, C: (
            (2 * g * ((x - b1 * m1) * m2 - b1 * C) - g**2 * (m2**2 + V2)) / u1
        ),
    },
    "9.6": {
        "E24": lambda x, z, a, tau, b, u: summed(x, z, a, tau, b, u, width=1),
        "no prior": lambda x, z, a, tau, b, u: summed(x, z, a, tau, b, u, prior=0),
        "every encoder looks at x": lambda x, z, a, tau, b, u: summed(x, z, a, tau, b, u, seen=x),
        "minus": lambda x, z, a, tau, b, u: -summed(x, z, a, tau, b, u),
        "added": lambda x, z, a, tau, b, u: summed(x, z, a, tau, b, u, sign=1),
        "constants": without_constants,
        "added up": lambda x, z, a, tau, b, u: summed(x, z, a, tau, b, u).sum(),
    },
    "9.7": {
        "changed over": [*FRESH, *JOINT, TWO, 9 * DEEP],
        "scales": [JOINT[0], JOINT[1] ** 0.5, FRESH[0], FRESH[1] ** 0.5, TWO, 9 * DEEP],
        "the top counted": [*JOINT, *FRESH, TWO, 10 * DEEP],
        "one level": [*JOINT, *FRESH, TWO, DEEP],
        "lost by its own measure": [
            *JOINT,
            *FRESH,
            math.log(FRESH[1] / JOINT[1]) / 2,
            9 * math.log((1 - 0.8**3) / (1 - 0.8)) / 2,
        ],
    },
}
