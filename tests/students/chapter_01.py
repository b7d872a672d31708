"""What students hand in who make the mistakes of chapter 1, written from the messages alone."""

import functools

import sympy
import torch

from vaelib import cave

SIZE, DEPTH = cave.LATENTS.index("size"), cave.LATENTS.index("depth")


@functools.cache
def guesses_and_scores():
    """The guesses of exercise 1.7 and the log-probability that each gives to the wall."""
    guesses, hidden = cave.sample(3000, seed=0)[1], cave.sample(100, seed=7)[1]
    for latents in (guesses, hidden):
        latents[:, [cave.LATENTS.index(name) for name in ("x", "y", "fire_x", "fire_y")]] = 0
    dark = 0.1 + 0.8 * cave.render(hidden)
    wall = torch.bernoulli(dark, generator=torch.Generator().manual_seed(1))[77].flatten()
    pi = 0.1 + 0.8 * cave.render(guesses).flatten(1)
    return guesses.double(), (pi.log() @ wall + (1 - pi).log() @ (1 - wall)).double()


def spreads(second=lambda size, depth: size / depth, weighted=True, kinds=(0,), unit=100):
    guesses, scores = guesses_and_scores()
    kept = torch.isin(guesses[:, 0], torch.tensor(kinds).double())
    w = torch.softmax(scores[kept] if weighted else 0 * scores[kept], 0)
    size, depth = guesses[kept, SIZE], guesses[kept, DEPTH]

    def spread(v):
        return (unit * (w @ v**2 - (w @ v) ** 2).sqrt() / (w @ v)).item()

    return [spread(size), spread(second(size, depth))]


def single_evenings(prior, likelihood, words):
    """The posterior of each evening alone, (Z, number of words)."""
    joint = prior[:, None] * likelihood[:, words]
    return joint / joint.sum(0)


def normalised(weights):
    return weights / weights.sum(0)


WRONG = {
    "1.1": {
        "inverse fallacy": (1 / 8 + 1 / 6 + 1 / 6, 1 / 2),
        "base rates forgotten": (1 / 8 + 1 / 6 + 1 / 6, (1 / 2) / (1 / 4 + 1 / 2 + 1)),
        "base rates forgotten twice": ((1 / 4 + 1 / 2 + 1) / 3, (1 / 2) / (1 / 4 + 1 / 2 + 1)),
        "not normalised": (1 / 8 + 1 / 6 + 1 / 6, 1 / 3 * 1 / 2),
        "the other word": (1 / 2 * 3 / 4 + 1 / 3 * 1 / 2, (1 / 3 * 1 / 2) / (1 / 2 * 3 / 4 + 1 / 3 * 1 / 2)),
    },
    "1.2": {
        "prior": 4 / 24,
        "inverse fallacy": 1.0,
        "posteriors averaged": (2 / 10 + 2 / 4) / 2,
        "posteriors added": 2 / 10 + 2 / 4,
        "the wrong word covered": 2 / (24 - 10),  # the two triangles of the cones, among squares and triangles
    },
    "1.3": {
        "the prior counted each evening": lambda prior, likelihood, words: normalised(
            single_evenings(prior, likelihood, words).prod(1)
        ),
        "posteriors averaged": lambda prior, likelihood, words: single_evenings(prior, likelihood, words).mean(1),
        "base rates forgotten": lambda prior, likelihood, words: normalised(likelihood[:, words].prod(1)),
        "not normalised": lambda prior, likelihood, words: prior * likelihood[:, words].prod(1),
        "only the last evening": lambda prior, likelihood, words: normalised(prior * likelihood[:, words[-1]]),
        "words added": lambda prior, likelihood, words: normalised(prior * likelihood[:, words].sum(1)),
    },
    "1.4": {
        "the line of the question": lambda prior, likelihood: (
            prior[:, None] * likelihood / (prior[:, None] * likelihood).sum(1, keepdim=True)
        ),
        "base rates forgotten": lambda prior, likelihood: likelihood / likelihood.sum(0),
        "not normalised": lambda prior, likelihood: prior[:, None] * likelihood,
        "the prior divided out": lambda prior, likelihood: likelihood / (prior[:, None] * likelihood).sum(0),
        "transposed": lambda prior, likelihood: normalised(prior[:, None] * likelihood).T,
    },
    "1.5": {
        "not shared out": lambda a, K: -a * sympy.log(a) - (1 - a) * sympy.log(1 - a),
        "shared by too many": lambda a, K: -a * sympy.log(a) - (1 - a) * sympy.log((1 - a) / K),
        "the doubt itself": lambda a, K: 1 - a,
        "bits": lambda a, K: -a * sympy.log(a, 2) - (1 - a) * sympy.log((1 - a) / (K - 1), 2),
        "sign": lambda a, K: a * sympy.log(a) + (1 - a) * sympy.log((1 - a) / (K - 1)),
        "no doubt where it is right": lambda a, K: -(1 - a) * sympy.log((1 - a) / (K - 1)),
    },
    "1.7": {
        "unweighted": lambda: spreads(weighted=False),
        "all kinds": lambda: spreads(kinds=(0, 1, 2, 3, 4)),
        "the depth": lambda: spreads(lambda size, depth: depth),
        "the product": lambda: spreads(lambda size, depth: size * depth),
        "not in percent": lambda: spreads(unit=1),
    },
}
