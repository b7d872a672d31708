"""What students hand in who make the mistakes of chapter 03, written from the messages alone."""

import math

import torch
from scipy import optimize


def divided(q):
    return torch.log(q / torch.outer(q.sum(1), q.sum(0)))


def swapped(q):
    product = torch.outer(q.sum(1), q.sum(0))
    return (product * torch.log(product / q)).sum()


def lowest(c):
    def difference(rho):  # (3.14) at m = (c, c)
        return ((2 * rho**2 + 2 * rho**2 * c**2 - 2 * rho * c**2) / (1 - rho**2) + math.log(1 - rho**2)) / 2

    return optimize.minimize_scalar(difference, bounds=(0.01, 0.99), method="bounded").x


WRONG = {
    "3.1": {
        "E1": (0 + 1 / 2 + (math.e**2 - 1 - 2) / 2) / 3,
        "E5a": 0 + 1 / 2 + (math.e**2 - 1) / 2 - 2,
        "E6": 0 + 1 / 2 + (math.e - 1 - math.log(math.e)) / 2,
    },
    "3.2": {
        "E1": lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2)).mean(-1),
        "both axes averaged": lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2)).mean(),
        "E3": lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2)).sum(),
        "the wrong axis": lambda mu, sigma: 0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2)).sum(0),
        "E5a": lambda mu, sigma: (0.5 * (mu**2 + sigma**2 - 1) - torch.log(sigma**2)).sum(-1),
    },
    "3.4": {
        "nothing left of the third": lambda z1, z2: (1 / 2 - z1) + (1 / 2 - z2),
        "the rest is lost": lambda z1, z2: 1 / 2,
        "weighted with p": lambda z1, z2: (1 / 2 - z1) + (1 / 2 - z2) + (1 / 2 - 1),
        "all at once": lambda z1, z2: 1 / 2 + 1 / 2 + 1 / 2,
    },
    "3.5": {
        "E7": swapped,
        "sign": lambda q: -(q * divided(q)).sum(),
        "bits": lambda q: (q * divided(q)).sum() / math.log(2),
        "a mean over cells": lambda q: (q * divided(q)).mean(),
        "not weighted": lambda q: divided(q).mean(),
        "weights lost": lambda q: divided(q).sum(),
    },
    "3.6": {
        "the zero that is excluded": (0, 0, 0, 0),
        "the lowest points": (lowest(1), lowest(2), lowest(3), -lowest(2)),
        "which way p leans": (0.6205, 0.8426, 0.9160, 0.8426),
        "no logarithm": (1 / 2, 4 / 5, 9 / 10, -4 / 5),  # 2 rho^2 + 2 rho^2 c^2 = 2 rho c^2
    },
}
