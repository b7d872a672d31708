"""Exercises of chapter 3: the KL divergence of independent dimensions."""

import math

import numpy as np

from .judge import Exercise, Slip


def _rate(mu, sigma):
    return (mu**2 + sigma**2 - 1 - np.log(sigma**2)) / 2


def _batch(rng):
    return {"mu": rng.normal(size=(3, 4)), "sigma": np.exp(rng.normal(size=(3, 4)))}


def _difference(m, r):  # (3.14)
    (a, b) = m
    return ((2 * r**2 + r**2 * (a**2 + b**2) - 2 * r * a * b) / (1 - r**2) + math.log(1 - r**2)) / 2


def _root():
    from scipy import optimize

    return optimize.brentq(lambda r: _difference((2, 2), r), 0.5, 0.95)


EXERCISES = (
    Exercise(
        "3.1",
        "by hand",
        3,
        checks="one rate of three dimensions, to three digits",
        right=lambda: sum(_rate(m, s) for m, s in ((0, 1), (1, 1), (0, math.e))),
        slips={
            "E1": Slip(
                lambda: sum(_rate(m, s) for m, s in ((0, 1), (1, 1), (0, math.e))) / 3,
                "This is E1: the mean over the dimensions. The theorem has a sum.",
                "(3.5)",
            ),
            "E5a": Slip(
                lambda: 1 / 2 + (math.e**2 - 1) / 2 - 2,
                "This is E5: the logarithm of the variance needs its 1/2, too.",
                "(3.1)",
            ),
            "E6": Slip(
                lambda: 1 / 2 + (math.e - 1 - 1) / 2,
                "This is E6: the standard deviation was put where the variance stands, in both places.",
                "(3.15)",
            ),
        },
        hints=(
            "The rate is a sum over the dimensions: work out each by (3.15), then add.",
            "The first dimension is the prior itself. What does it cost?",
            "In the third, the variance is e squared and its logarithm 2.",
        ),
        solution="The first dimension costs 0, the second $\\frac12 \\cdot 1^2$. The third costs "
        "$\\frac12(e^2 - 1 - 2) = 2.195$. Together 2.695 nats.",
        tol=2e-3,
    ),
    Exercise(
        "3.2",
        "spot the bug",
        5,
        checks="the rate of each example of a batch, on 20 drawn batches",
        right=lambda mu, sigma: _rate(mu, sigma).sum(-1),
        slips={
            "E1": Slip(
                lambda mu, sigma: _rate(mu, sigma).mean(-1),
                "This is E1: the mean over the latent dimensions. It is as if beta were 1/J.",
                "(3.5)",
            ),
            "both axes averaged": Slip(
                lambda mu, sigma: _rate(mu, sigma).mean(),
                "This is the line of the question: it averages over the latent dimensions (E1) and over the batch.",
                "(3.15)",
            ),
            "E3": Slip(
                lambda mu, sigma: _rate(mu, sigma).sum(),
                "This is E3: the sum over the whole batch. The rate of an example would hang on its neighbours.",
                "(3.15)",
            ),
            "the wrong axis": Slip(
                lambda mu, sigma: _rate(mu, sigma).sum(0),
                "This adds up the batch and keeps the latent dimensions. One number for each example is asked for.",
                "(3.15)",
            ),
            "E5a": Slip(
                lambda mu, sigma: ((mu**2 + sigma**2 - 1) / 2 - np.log(sigma**2)).sum(-1),
                "This is E5: the logarithm of the variance needs its 1/2, too.",
                "(3.1)",
            ),
        },
        hints=(
            "Which axis is the batch, and which are the latent dimensions?",
            "The theorem says what happens to the dimensions. The batch is the training loop's business.",
            "What has the shape (B,) has one number for each example.",
        ),
        solution="`.mean()` runs over both axes. The mean over the batch may come last, and does no harm. The mean "
        "over the latent dimensions is E1: it divides the rate by $J$, so that $\\beta = 1/J$ was chosen. Write "
        "`0.5 * (mu**2 + sigma**2 - 1 - torch.log(sigma**2)).sum(-1)`.",
        takes=("mu", "sigma"),
        draw=_batch,
    ),
)
