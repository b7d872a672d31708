"""What students hand in who make the mistakes of chapter 12, written from the messages alone."""

import numpy as np
import torch


def forgotten_after(correlation=0.99, nats=0.01, moves=2):
    mean, variance, steps = 3.0, 0.0, 0
    while steps == 0 or (mean**2 + variance - 1 - np.log(variance)) / 2 >= nats:
        for _ in range(moves):
            mean, variance = correlation * mean, correlation**2 * variance + 1 - correlation**2
        steps += 1
    return steps


WRONG = {
    "12.1": {
        "noises lost": (0.5**2 * 2**2 * 1 + 2, (0.5**2 * 2**2 * 1) ** 0.5),
        "standard normal below": (0.5**2 * 1 + 2, 0.5),
        "a variance for a weight": (0.5**2 * (2**2 * 1.25 + 1) + 2, 0.5**2 * (2**2 * 1.25 + 1)),
        "the noise of x as well": (0.5**2 * (2**2 * 1.25 + 1) + 2, (0.5**2 * (2**2 * 1.25 + 1) + 2) ** 0.5),
    },
    "12.2": {
        "no half": lambda a, s, ell: a**2 * ell + s**2 - 1 - torch.log(a**2 * ell + s**2),
        "arguments swapped": lambda a, s, ell: (1 / (a**2 * ell + s**2) - 1 + torch.log(a**2 * ell + s**2)) / 2,
        "one posterior": lambda a, s, ell: (s**2 - 1 - torch.log(s**2)) / 2,
        "the rate": lambda a, s, ell: (a**2 * ell + s**2 - 1 - torch.log(s**2)) / 2,
    },
    "12.3": {
        "as printed": lambda first, second: (
            (first - second).mean(),
            1.96 * (first.var() / 5 + second.var() / 5) ** 0.5,
        ),
        "paired, with 1.96": lambda first, second: ((first - second).mean(), 1.96 * (first - second).std() / 5**0.5),
        "the whole spread": lambda first, second: ((first - second).mean(), 2.776 * (first - second).std()),
        "divided by five": lambda first, second: (
            (first - second).mean(),
            2.776 * (first - second).std(correction=0) / 5**0.5,
        ),
    },
    "12.5": {
        "the model's p(x)": lambda encoder, decoder, prior: prior @ decoder,
        "the other side": lambda encoder, decoder, prior: (
            torch.linalg.matrix_power(encoder @ decoder, 1000) @ torch.full_like(encoder[:, 0], 1 / 5)
        ),
        "one step": lambda encoder, decoder, prior: torch.full_like(encoder[:, 0], 1 / 5) @ encoder @ decoder,
    },
    "12.6": {
        "half steps": forgotten_after(moves=1),
        "a worse code": forgotten_after(correlation=0.9),
        "a whole nat": forgotten_after(nats=1),
        "one too few": forgotten_after() - 1,
        "one too many": forgotten_after() + 1,
    },
}
