"""What students hand in who make the mistakes of chapter 13, written from the messages alone."""

import numpy as np
import torch


def back(below, above):  # right: a, h and tau
    low, high = above / (1 + above), below / (1 + below)
    alpha = low / high
    a, h = high**0.5 * (1 - alpha) / (1 - low), alpha**0.5 * (1 - high) / (1 - low)
    return [a, h, (1 - alpha) * (1 - high) / (1 - low)]


def enough(nats=0.1, rho=0.99, last_step=False):
    def cost(u, v):
        return np.sum(np.log((u + v) / 2) - np.log(u * v) / 2)

    def lost(T):
        gamma = np.exp(np.linspace(5, -7, T))
        a, _, tau = back(gamma[:-1], gamma[1:])
        errors = [ell / (1 + ell * gamma) for ell in (1 + rho, 1 - rho)]
        total = cost(*(tau + a**2 * error[1:] for error in errors))
        return total + cost(*(error[0] for error in errors)) if last_step else total

    T = 2
    while lost(T) > nats:
        T += 1
    return T


WRONG = {
    "13.1": {
        "noise added up": (0.9 * 0.8 * 0.5, 0.9 * 0.8 * 0.5 / (0.1 + 0.2 + 0.5)),
        "roots": ((0.9 * 0.8 * 0.5) ** 0.5, 0.36 / (1 - 0.36)),
        "the last step alone": (0.5, 0.5 / (1 - 0.5)),
        "share for ratio": (0.9 * 0.8 * 0.5, 0.9 * 0.8 * 0.5),
    },
    "13.3": {
        "as printed": lambda z, noise, alpha, abar: (z - (1 - alpha) / (1 - alpha) ** 0.5 * noise) / alpha**0.5,
        "not grown back": lambda z, noise, alpha, abar: z - (1 - alpha) / (1 - abar) ** 0.5 * noise,
        "sign": lambda z, noise, alpha, abar: (z + (1 - alpha) / (1 - abar) ** 0.5 * noise) / alpha**0.5,
        "the guess itself": lambda z, noise, alpha, abar: (z - (1 - abar) ** 0.5 * noise) / abar**0.5,
    },
    "13.4": {
        "no half": lambda ell, first, last: torch.log((1 + ell * first) / (1 + ell * last)),
        "the lower end": lambda ell, first, last: torch.log(1 + ell * first) / 2,
        "error at the noisy end": lambda ell, first, last: (first - last) * ell / (1 + ell * last) / 2,
        "variance one": lambda ell, first, last: torch.log((1 + first) / (1 + last)) / 2,
    },
    "13.5": {
        "noise of the step up": lambda below, above: [
            *back(below, above)[:2],
            1 - (above / (1 + above)) / (below / (1 + below)),
        ],
        "exchanged": lambda below, above: [back(below, above)[1], back(below, above)[0], back(below, above)[2]],
        "a deviation": lambda below, above: [*back(below, above)[:2], back(below, above)[2] ** 0.5],
        "ratios for shares": lambda below, above: [
            below**0.5 * (1 - above / below) / (1 - above),
            (above / below) ** 0.5 * (1 - below) / (1 - above),
            (1 - above / below) * (1 - below) / (1 - above),
        ],
    },
    "13.6": {
        "the weaker tie": enough(rho=0.9),
        "one too few": enough() - 1,
        "one too many": enough() + 1,
        "a nat": enough(nats=1),
        "the last step counted": enough(last_step=True),
    },
}
