"""What students hand in who make the mistakes of chapter 05, written from the messages alone."""

import math

import numpy as np
import torch
from scipy import optimize, stats
from torch import distributions as td


def of_one_draw(mu, sigma, epsilon, move=False, hold=True):
    mu, sigma = mu.requires_grad_(), sigma.requires_grad_()
    z = mu + sigma * epsilon
    z = z if move else z.detach()
    log_px, log_q = -((1 - z) ** 2) / 2, td.Normal(mu, sigma).log_prob(z)
    return torch.stack(torch.autograd.grad((log_px.detach() if hold else log_px) * log_q, (mu, sigma)))


def by_the_path(mu, sigma, epsilon):
    slope = 1 - (mu + sigma * epsilon)
    return torch.stack([slope, slope * epsilon])


def without_normaliser(mu, sigma, epsilon):
    log_px = -((1 - mu - sigma * epsilon) ** 2) / 2
    return torch.stack([log_px * epsilon / sigma, log_px * epsilon**2 / sigma])


def least(error):
    """The k that makes an error least, of the bias and the variance of one draw."""
    noise = np.linspace(-8, 8, 8001)
    mass = stats.norm.pdf(noise) * (noise[1] - noise[0])

    def of(log_k):
        soft = 1 / (1 + np.exp(-math.exp(log_k) * (0.5 + noise)))
        g = math.exp(log_k) * soft * (1 - soft)
        return error(mass @ g - stats.norm.pdf(0.5), mass @ g**2 - (mass @ g) ** 2)

    return math.exp(optimize.minimize_scalar(of, bounds=(-1, 3), method="bounded").x)


WRONG = {
    "5.1": {
        "second moments": [[0 + 1**2, 1 + 0**2], [6 + 1**2, 18 + 0**2]],
        "a path without noise": [[0, 0], [6, 18]],
        "the variances of z squared": [
            [4 * 0.5**2, 4 + 8 * 0.5**2],
            [1 / 0.5**2 + 14 + 15 * 0.5**2, 2 / 0.5**2 + 60 + 74 * 0.5**2],
        ],
        "the variance in place of sigma": [[0, 1], [(1 / 0.25) ** 2 + 2, 2 * (1 / 0.25) ** 2 + 10]],
    },
    "5.2": {
        "z moves along": lambda mu, sigma, epsilon: of_one_draw(mu, sigma, epsilon, move=True),
        "the path": by_the_path,
        "both at once": lambda mu, sigma, epsilon: of_one_draw(mu, sigma, epsilon, move=True, hold=False),
        "normaliser": without_normaliser,
        "sign": lambda mu, sigma, epsilon: -of_one_draw(mu, sigma, epsilon),
    },
    "5.4": {
        "B taken for symmetric": lambda B, C: 2 * B @ C,
        "one of two": lambda B, C: B @ C,
        "the other order": lambda B, C: C @ (B + B.T),
        "transposed": lambda B, C: ((B + B.T) @ C).T,
    },
    "5.5": {
        "a baseline that knows its own draw": lambda f, epsilon, sigma: ((f - f.mean()) * epsilon / sigma).mean(),
        "no baseline": lambda f, epsilon, sigma: (f * epsilon / sigma).mean(),
        "E14": lambda f, epsilon, sigma: ((f - (f.sum() - f) / (len(f) - 1)) * epsilon / sigma).sum(),
        "divided twice": lambda f, epsilon, sigma: ((f - (f.sum() - f) / (len(f) - 1)) * epsilon / sigma**2).mean(),
        "the others divided by L": lambda f, epsilon, sigma: ((f - (f.sum() - f) / len(f)) * epsilon / sigma).mean(),
    },
    "5.6": {
        "one draw": lambda: least(lambda bias, variance: bias**2 + variance),
        "noise not squared": lambda: least(lambda bias, variance: bias**2 + math.sqrt(variance) / 100),
        "noise of the mean not squared": lambda: least(lambda bias, variance: bias**2 + math.sqrt(variance / 100)),
        "bias not squared": lambda: least(lambda bias, variance: abs(bias) + variance / 100),
        "root of the number": lambda: least(lambda bias, variance: bias**2 + variance / math.sqrt(100)),
    },
}
