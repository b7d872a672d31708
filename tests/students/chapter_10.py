"""What students hand in who make the mistakes of chapter 10, written from the messages alone."""

import math

import torch


def rate(mean, deviation, mu=-1.0):
    return math.log(1 / deviation) + (deviation**2 + (mean - mu) ** 2) / 2 - 1 / 2


NARROW = math.sqrt(1 / 5)


def merge(m, s, mu, sigma):
    variance = 1 / (s**-2 + sigma**-2)
    return (m / s**2 + mu / sigma**2) * variance, variance


def repaired(m, s, mu, sigma, loss):
    mean, variance = merge(m, s, mu, sigma)
    return [mean, variance.sqrt(), loss(mean, variance)]


def buggy_still(m, s, mu, sigma):
    mean, variance = merge(m, s, mu, sigma)
    return [mean, variance, (variance - 1 - torch.log(variance)) / 2]


def crossed(m, s, mu, sigma):
    _, variance = merge(m, s, mu, sigma)
    mean = (s**2 * m + sigma**2 * mu) / (s**2 + sigma**2)
    return [mean, variance.sqrt(), (variance - 1 - torch.log(variance)) / 2]


def from_the_prior(m, s, mu, sigma):
    mean, variance = merge(m, s, mu, sigma)
    divergence = torch.log(sigma) - torch.log(variance) / 2 + (variance + (mean - mu) ** 2) / (2 * sigma**2) - 1 / 2
    return [mean, variance.sqrt(), divergence]


def with_the_prior(x, z2, a, c, r):
    precision = (a / r) ** 2 + 1
    return [(x - c * z2) / a * (a / r) ** 2 / precision, 1 / precision**0.5]


def weights(log_px, log_pz, log_qz):
    return log_px + (log_pz - log_qz).sum(0)


def mean_of_weights(log_w):
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def settled(rate):  # the best of this rate: the rate, what log p(x) loses, what the bound loses
    own, best = 2 * (1 - math.exp(-2 * rate)) + 1, (math.log(2) + 1) / 2
    return [rate, (math.log(own) + 2 / own) / 2 - best, rate + math.exp(-2 * rate) - best]


RATE = math.log(2) / 2
ROWS = [settled(RATE), settled(0.5), settled(1), settled(3)]

WRONG = {
    "10.1": {
        "variances added": (1.4, math.sqrt(1 + 1 / 4), rate(1.4, math.sqrt(1 + 1 / 4))),
        "plain mean": ((-1 + 2) / 2, NARROW, rate(0.5, NARROW)),
        "crossed": ((1 * 2 + 4 * -1) / 5, NARROW, rate(-0.4, NARROW)),
        "E24": (1.4, 1 / 5, rate(1.4, 1 / 5)),
        "E25": (1.4, NARROW, rate(1.4, NARROW, mu=0)),
        "E7": (1.4, NARROW, math.log(NARROW) + (1 + (1.4 + 1) ** 2) / (2 / 5) - 1 / 2),
    },
    "10.3": {
        "one standard error": (1 + 2 + 3, 1 + 2 + 0),
        "the fourth row": (1 + 1 + 3 + 1, 1 + 1 + 0 + 0),
        "all of the rows": (5, 3 + 3),
        "means over seeds": (1, 0),
        "none overturned": (5, 0),
    },
    "10.4": {
        "E24": buggy_still,
        "crossed": crossed,
        "E7": lambda m, s, mu, sigma: repaired(m, s, mu, sigma, lambda _, v: (1 / v - 1 + torch.log(v)) / 2),
        "without the half": lambda m, s, mu, sigma: repaired(m, s, mu, sigma, lambda _, v: v - 1 - torch.log(v)),
        "the rate": from_the_prior,
        "the squares": lambda m, s, mu, sigma: repaired(m, s, mu, sigma, lambda _, v: (v**2 - 1 - torch.log(v**2)) / 2),
    },
    "10.5": {
        "blind": lambda x, z2, a, c, r: [x / a, r / a],
        "sign": lambda x, z2, a, c, r: [(x + c * z2) / a, r / a],
        "undivided": lambda x, z2, a, c, r: [x - c * z2, r],
        "the scale of the image": lambda x, z2, a, c, r: [(x - c * z2) / a, r],
        "E24": lambda x, z2, a, c, r: [(x - c * z2) / a, r**2 / a**2],
        "merged already": with_the_prior,
    },
    "10.6": {
        "the closed form": lambda log_px, log_pz, log_qz, kl2: -mean_of_weights(log_px + log_pz[0] - log_qz[0] - kl2),
        "ELBO": lambda log_px, log_pz, log_qz, kl2: -weights(log_px, log_pz, log_qz).mean(0),
        "no division": lambda log_px, log_pz, log_qz, kl2: -torch.logsumexp(weights(log_px, log_pz, log_qz), 0),
        "sign": lambda log_px, log_pz, log_qz, kl2: mean_of_weights(weights(log_px, log_pz, log_qz)),
        "level by level": lambda log_px, log_pz, log_qz, kl2: (
            -sum(mean_of_weights(part) for part in (log_px, *(log_pz - log_qz)))
        ),
        "one level": lambda log_px, log_pz, log_qz, kl2: -mean_of_weights(log_px + log_pz[0] - log_qz[0]),
        "all images": lambda log_px, log_pz, log_qz, kl2: -mean_of_weights(weights(log_px, log_pz, log_qz)).mean(),
    },
    "10.7": {
        "always at the allowance": [settled(0.1), *ROWS[1:]],
        "changed over": [[spent, bound, model] for spent, model, bound in ROWS],
        "the gap": [[spent, model, bound - model] for spent, model, bound in ROWS],
        "sign": [[spent, -model, -bound] for spent, model, bound in ROWS],
        "nothing happens": [settled(RATE)] * 4,
    },
}
