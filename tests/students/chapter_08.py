"""What students hand in who make the mistakes of chapter 8, written from the messages alone."""

import math

import torch
from torch.distributions import Normal

from vaelib import exact


def race(K, c_narrow=0.6, c_wide=1.6, limit=lambda c: (c**2 / (2 * c - 1) - 1) / 2):
    axis = torch.linspace(-8, 8, 161).double()
    u, volume = torch.cartesian_prod(axis, axis), 2 * torch.log(axis[1] - axis[0])
    log_posterior = Normal(0.0, 1.0).log_prob(u).sum(1, keepdim=True)
    shapes = (c_narrow, c_wide)
    log_qs = [Normal(0.0, math.sqrt(c)).log_prob(u).sum(1, keepdim=True) for c in shapes]
    gaps = [-exact.Table(log_posterior, log_q, volume).iwae(K).item() for log_q in log_qs]
    return K, *gaps, *map(limit, shapes)


def jaws(lower_exact=0, upper_exact=1, mean=lambda log_w: log_w.logsumexp(0) - math.log(len(log_w)), sign=1):
    """Three rows of a lower and an upper bound, with so many exact draws among the K (None: all of them)."""
    torch.manual_seed(1)
    rows = []
    for K, repetitions in ((1, 1_000_000), (10, 200_000), (100, 20_000)):
        sides = []
        for number in (lower_exact, upper_exact):
            u = math.sqrt(2) * torch.randn(K, repetitions, 2)
            u[:number] /= math.sqrt(2)
            sides.append(mean(math.log(2) - u.pow(2).sum(-1) / 4).mean().item())
        rows.append([sign * sides[0], sides[1]])
    return rows


WRONG = {
    "8.1": {
        "arguments swapped": tuple(3 / 2 * (1 / c - 1 + math.log(c)) for c in (1 / 4, 3)),
        "c for a width": tuple(3 / 2 * (c**2 - 1 - math.log(c**2)) for c in (1 / 4, 3)),
        "one latent": tuple(1 / 2 * (c - 1 - math.log(c)) for c in (1 / 4, 3)),
        "no half": tuple(3 * (c - 1 - math.log(c)) for c in (1 / 4, 3)),
        "changed over": tuple(3 / 2 * (c - 1 - math.log(c)) for c in (3, 1 / 4)),
        "sign of the logarithm": tuple(3 / 2 * (c - 1 + math.log(c)) for c in (1 / 4, 3)),
    },
    "8.2": {
        "the other way round": (0.0017 / 0.010, 0.000017 / 0.00021),
        "decades": (math.log10(0.010 / 0.0017), math.log10(0.00021 / 0.000017)),
        "a decade to the left": (0.052 / 0.018, 0.0015 / 0.00017),
    },
    "8.3": {
        "E22": lambda log_w: (log_w.softmax(0) * log_w).sum(0),
        "E10a": lambda log_w: log_w.mean(0),
        "E10b": lambda log_w: log_w.logsumexp(0),
        "E10c": lambda log_w: ((-log_w).softmax(0) * log_w).sum(0),
        "averaged": lambda log_w: (log_w.logsumexp(0) - math.log(len(log_w))).mean(),
        "the other axis": lambda log_w: log_w.logsumexp(1) - math.log(log_w.shape[1]),
        "E21": lambda log_w: math.log(len(log_w)) - log_w.logsumexp(0),
    },
    "8.4": {
        "one error": (500 * (1.3**2 + 1.3**2) / 0.62**2, 500 * 0.06**2 / 0.62**2),
        "one of two": (500 * (2 * 1.3 / 0.62) ** 2, 500 * (2 * 0.06 / 0.62) ** 2),
        "errors added": (500 * (2 * (1.3 + 1.3) / 0.62) ** 2, 500 * (2 * 0.06 / 0.62) ** 2),
        "no square": (500 * 2 * math.hypot(1.3, 1.3) / 0.62, 500 * 2 * 0.06 / 0.62),
        "changed over": (500 * (2 * 0.06 / 0.62) ** 2, 500 * (2 * math.hypot(1.3, 1.3) / 0.62) ** 2),
    },
    "8.5": {
        "sign": lambda m, B, r, a, b: (m * B * a + r * b) / (m * B + r) - (m * a + b) / (m + 1),
        "two batches": lambda m, B, r, a, b: (a + b) / 2 - (m * B * a + r * b) / (m * B + r),
        "E21c": lambda m, B, r, a, b: b - (m * B * a + r * b) / (m * B + r),
        "dropped": lambda m, B, r, a, b: a - (m * B * a + r * b) / (m * B + r),
        "not counted": lambda m, B, r, a, b: (b - a) * (1 / m - r / (m * B)),
    },
    "8.6": {
        "no half": lambda: race(2, limit=lambda c: c**2 / (2 * c - 1) - 1),
        "one latent": lambda: race(2, limit=lambda c: (math.sqrt(c**2 / (2 * c - 1)) - 1) / 2),
        "at the start": lambda: race(1),
        "changed over": lambda: race(2, 1.6, 0.6),
        "c for a width": lambda: race(2, limit=lambda c: (c**4 / (2 * c**2 - 1) - 1) / 2),
    },
    "8.7": {
        "no exact draw": lambda: jaws(upper_exact=0),
        "all exact": lambda: jaws(upper_exact=None),
        "E10a": lambda: jaws(mean=lambda log_w: log_w.mean(0)),
        "E10b": lambda: jaws(mean=lambda log_w: log_w.logsumexp(0)),
        "positive": lambda: jaws(sign=-1),
        "changed over": lambda: jaws(1, 0),
    },
}
