"""What students hand in who make the mistakes of chapter 06, written from the messages alone."""

import math

import numpy as np
import torch
from scipy import optimize, special
from torch.distributions import Normal

import vaelib as vl


def log_px(x, mu, log_var, factor=0.5):
    return Normal(mu, (factor * log_var).exp()).log_prob(x).flatten(1)


def at_deviation(x, x_hat):
    deviation = math.sqrt(2) * abs(x - x_hat).mean()
    return abs(x - x_hat).sum() / deviation + len(x) * torch.log(2 * deviation)


def edges(mu, tau, level):
    below = torch.where(level > 0, torch.sigmoid(((level - 0.5) / 255 - mu) / tau), 0.0)
    above = torch.where(level < 255, torch.sigmoid(((level + 0.5) / 255 - mu) / tau), 1.0)
    return below, above


def covered(below, above, low=0.05, high=0.95):
    return ((above.clamp(low, high) - below.clamp(low, high)) / (above - below)).mean()


def no_tails(mu, tau, level):
    return covered(*(torch.sigmoid(((level + step) / 255 - mu) / tau) for step in (-0.5, 0.5)))


def middle(mu, tau, level):
    F = sum(edges(mu, tau, level)) / 2  # the middle by probability, not the level itself
    return ((F > 0.05) & (F < 0.95)).double().mean()


def touches(mu, tau, level):
    below, above = edges(mu, tau, level)
    return ((above > 0.05) & (below < 0.95)).double().mean()


def upper_edge(mu, tau, level):
    _, above = edges(mu, tau, level)
    return ((above > 0.05) & (above < 0.95)).double().mean()


def costs(start=(0.1, -1.0, 1.0, -4.0, 0.0), weight=None):
    """One logistic, the mixture of two that is found from a start, and the histogram, in bits."""
    level = (255 * vl.load("mnist").train.images[:6000, 0, 14, 14]).round().long()
    share = torch.bincount(level, minlength=256).numpy() / 6000
    at = (np.arange(1, 256) - 0.5) / 255

    def logistic(mu, log_tau):
        return np.diff(np.concatenate([[0], special.expit((at - mu) / math.exp(log_tau)), [1]]))

    def cost(P):
        return -(share * np.log2(np.maximum(P, 1e-300))).sum()

    def of_two(p):
        w = weight or special.expit(p[4])
        return cost(w * logistic(*p[:2]) + (1 - w) * logistic(*p[2:4]))

    one = optimize.minimize(lambda p: cost(logistic(*p)), [0.5, -1.0]).fun
    return np.array([one, optimize.minimize(of_two, start).fun, cost(share)])


WRONG = {
    "6.1": {
        "the 1/2 forgotten": (math.sqrt(0.00025 * 64 * 64 * 3), 0.00025 * 64 * 64 * 3 / 0.1**2),
        "the square": (0.00025 * 64 * 64 * 3 / 2, 0.00025 * 64 * 64 * 3 / (2 * 0.1**2)),
        "E8": (math.sqrt(1 / 2), 1 / (2 * 0.1**2)),
        "E2a": (math.sqrt(0.00025 / 2), 0.00025 / (2 * 0.1**2)),
        "one channel": (math.sqrt(0.00025 * 64 * 64 / 2), 0.00025 * 64 * 64 / (2 * 0.1**2)),
    },
    "6.2": {
        "changed over": (3.1, 0.52),
        "not as multiples": (0.052, 0.31),
        "a straight scale": (0.53, 3.5),  # 0.31 lies halfway between the marks 0.2 and 0.5
        "half a bit": (0.61, 2.1),
        "two bits": (0.43, 6.5),
        "nats": (0.47, 4.4),
    },
    "6.3": {
        "as printed": lambda x, mu, log_var, rate: log_px(x, mu, log_var, 1).mean(1) - rate,
        "E24": lambda x, mu, log_var, rate: rate - log_px(x, mu, log_var, 1).sum(1),
        "E2a": lambda x, mu, log_var, rate: rate - log_px(x, mu, log_var).mean(1),
        "E18": lambda x, mu, log_var, rate: log_px(x, mu, log_var).sum(1) - rate,
        "two left: scale and sign": lambda x, mu, log_var, rate: log_px(x, mu, log_var, 1).sum(1) - rate,
        "two left: scale and mean": lambda x, mu, log_var, rate: rate - log_px(x, mu, log_var, 1).mean(1),
        "two left: mean and sign": lambda x, mu, log_var, rate: log_px(x, mu, log_var).mean(1) - rate,
        "E18b": lambda x, mu, log_var, rate: -log_px(x, mu, log_var).sum(1) - rate,
        "E6": lambda x, mu, log_var, rate: rate - log_px(x, mu, log_var, 2).sum(1),
    },
    "6.4": {
        "as printed": lambda nats, D: nats / (D * math.log(2)) + 8,
        "the other way": lambda nats, D: nats / (D * math.log(2)) + 9,
        "255 levels": lambda nats, D: nats / (D * math.log(2)) - math.log2(2 / 255),
        "none": lambda nats, D: nats / (D * math.log(2)),
        "nats": lambda nats, D: nats / D + 7,
        "once per image": lambda nats, D: (nats / math.log(2) + 7) / D,
    },
    "6.5": {
        "scale 1": lambda x, x_hat: abs(x - x_hat).sum() + len(x) * math.log(2),
        "no price of its own": lambda x, x_hat: len(x) * torch.log(2 * abs(x - x_hat).mean()),
        "sum for mean": lambda x, x_hat: len(x) * torch.log(2 * math.e * abs(x - x_hat).sum()),
        "one side": lambda x, x_hat: len(x) * torch.log(math.e * abs(x - x_hat).mean()),
        "a Gaussian": lambda x, x_hat: len(x) / 2 * torch.log(2 * math.pi * math.e * ((x - x_hat) ** 2).mean()),
        "deviation for scale": at_deviation,
        "deviation in the best value": lambda x, x_hat: len(x) * torch.log(2 * math.e * 2**0.5 * abs(x - x_hat).mean()),
        "per pixel": lambda x, x_hat: torch.log(2 * math.e * abs(x - x_hat).mean()),
    },
    "6.6": {
        "the ends without tails": no_tails,
        "the middle counts": middle,
        "the level counts": lambda mu, tau, level: (
            (abs(torch.sigmoid((level / 255 - mu) / tau) - 0.5) < 0.45).double().mean()
        ),
        "the whole cell counts": touches,
        "the upper edge counts": upper_edge,
        "80 %": lambda mu, tau, level: covered(*edges(mu, tau, level), 0.1, 0.9),
        "one side": lambda mu, tau, level: covered(*edges(mu, tau, level), 0, 0.9),
    },
    "6.7": {
        "a needle on black": lambda: costs(start=(0.0, -7.0, 0.9, -1.0, 0.0)),
        "one hump died": lambda: costs()[[0, 0, 2]],
        "equal weights": lambda: costs(weight=0.5),
        "nats": lambda: costs() * math.log(2),
        "guessing": lambda: [*costs()[:2], math.log2(256)],
    },
}
