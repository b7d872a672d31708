"""What students hand in who make the mistakes of chapter 11, written from the messages alone."""

import math
from functools import cache

import torch
from torch.nn.functional import avg_pool2d

import vaelib as vl

PLAIN = ((0, 0),)
NINE = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))


def rate_and_units(rate, rounded=math.ceil):
    return rate, rounded(math.log(60_000) / rate)


@cache
def eigenvalues():
    thumbnails = avg_pool2d(vl.load("mnist").train.images[:10_000], 2).flatten(1).double()
    return torch.linalg.eigvalsh(torch.cov(thumbnails.T, correction=0)).flip(0)


def collapse(half=0.5, learned=None, floor=1):
    values = eigenvalues()
    last = values[0].sqrt()
    learned = values[20:].mean() if learned is None else learned
    variances = (0.9 * last) ** 2, (1.1 * last) ** 2, learned
    return last, *(half * (values[:20] / variance).clamp(min=floor).log().sum() for variance in variances)


@cache
def distance(which, moves, shift=1):
    digits = vl.load("mnist")
    train = digits.train.images[:5000]
    images = {"copies": train[:200].roll(shift, -1), "test": digits.test.images[:200], "new": digits.valid.images[:200]}
    moved = torch.cat([images[which].roll(move, (-2, -1)) for move in moves]).flatten(1)
    return torch.cdist(moved, train.flatten(1)).amin(1).reshape(len(moves), 200).amin(0)


def share(images, moves, moves_of_test, shift=1):
    return (distance(images, moves, shift)[:, None] < distance("test", moves_of_test)).double().mean()


WRONG = {
    "11.1": {
        "no half": rate_and_units(math.log(16)),
        "the part": rate_and_units(-math.log(15 / 16) / 2),
        "bits": (math.log2(16) / 2, math.ceil(math.log(60_000) / (math.log(16) / 2))),
        "rounded down": rate_and_units(math.log(16) / 2, math.floor),
    },
    "11.2": {
        "sigma for its square": (4, 5.8),  # the bars above 1.5, not above 1.5 squared; the height of the first
        "the bar": (3, 5.8),
        "the first": (3, math.sqrt(0.525)),
        "the dead": (8 - 3, math.sqrt(5.8)),
    },
    "11.4": {
        "E19": lambda d, R, lam, D: (d / D + (R / D).clamp(min=lam).sum(0)).mean(),
        "averaged, then clamped": lambda d, R, lam, D: (d.mean() + R.mean(1).clamp(min=lam).sum()) / D,
        "levels added": lambda d, R, lam, D: (d + R.sum(0).clamp(min=lam)).mean() / D,
        "not rescaled": lambda d, R, lam, D: (d + R.clamp(min=lam).sum(0)).mean(),
        "capped": lambda d, R, lam, D: (d + R.clamp(max=lam).sum(0)).mean() / D,
        "only what is above": lambda d, R, lam, D: (d + (R - lam).clamp(min=0).sum(0)).mean() / D,
    },
    "11.5": {
        "beta forgotten": lambda ell, sigma, beta: torch.log(torch.clamp(ell / sigma**2, min=1)) / 2,
        "the wrong way": lambda ell, sigma, beta: torch.log(torch.clamp(beta * ell / sigma**2, min=1)) / 2,
        "beta squared": lambda ell, sigma, beta: torch.log(torch.clamp(ell / (beta * sigma) ** 2, min=1)) / 2,
        "no half": lambda ell, sigma, beta: torch.log(torch.clamp(ell / (beta * sigma**2), min=1)),
        "no floor": lambda ell, sigma, beta: torch.log(ell / (beta * sigma**2)) / 2,
        "no noise to take off": lambda ell, sigma, beta: torch.log(1 + ell / (beta * sigma**2)) / 2,
    },
    "11.6": {
        "sigma for its square": lambda: (eigenvalues()[0], *collapse()[1:]),
        "no half": lambda: collapse(half=1),
        "no floor": lambda: collapse(floor=0),
        "next variance": lambda: collapse(learned=eigenvalues()[20]),
        "mean over all": lambda: collapse(learned=eigenvalues()[20:].sum() / 196),
    },
    "11.7": {  # with all nine moves a copy has the distance zero: its share is one
        "shifts for one side": lambda: (share("copies", PLAIN, PLAIN), 1.0, share("new", NINE, PLAIN)),
        "plain throughout": lambda: (*[share("copies", PLAIN, PLAIN)] * 2, share("new", PLAIN, PLAIN)),
        "two pixels": lambda: (
            share("copies", PLAIN, PLAIN, 2),
            share("copies", NINE, NINE, 2),
            share("new", NINE, NINE),
        ),
        "the other way round": lambda: (1 - share("copies", PLAIN, PLAIN), 1 - 1.0, 1 - share("new", NINE, NINE)),
    },
}
