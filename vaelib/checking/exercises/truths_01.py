"""How the right answers of chapter 1 are found: cards are counted, walls are examined by drawing and weighing."""

import functools
import math
from fractions import Fraction

import numpy as np

# --- 1.1 and 1.2, counted ---------------------------------------------------------------------------------------------

_SAID = [  # twenty-four evenings on which a thing was named
    *[("puppy", "four-legged")] * 9 + [("puppy", "furry")] * 3,
    *[("kitten", "four-legged")] * 4 + [("kitten", "furry")] * 4,
    *[("wool", "furry")] * 4,
]
_CARDS = [  # (D1.3): a card for each of twelve solids and each side of the coin
    *[("sphere", "disc")] * 2,
    *[("cylinder", word) for word in ("square", "disc")] * 6,
    *[("cone", word) for word in ("triangle", "disc")] * 2,
    *[("cube", "square")] * 2,
    *[("pyramid", word) for word in ("triangle", "square")] * 2,
]


def furry_counted():
    """p(furry) and p(kitten | furry), of 24 cards."""
    furry = [thing for thing, word in _SAID if word == "furry"]
    return [Fraction(len(furry), len(_SAID)), Fraction(furry.count("kitten"), len(furry))]


def cone_among(*words):
    """The share of the cones among the cards that show one of these words."""
    left = [solid for solid, word in _CARDS if word in words]
    return Fraction(left.count("cone"), len(left))


# --- 1.3 and 1.4 ------------------------------------------------------------------------------------------------------


def world(rng):
    """A prior, (5,), and a likelihood, (5, 3), drawn at random."""
    return {"prior": rng.dirichlet(np.ones(5)), "likelihood": rng.dirichlet(np.ones(3), size=5)}


def evenings(rng):
    """A world, and the words of two to four evenings."""
    return world(rng) | {"words": [int(word) for word in rng.integers(0, 3, size=rng.integers(2, 5))]}


def one_by_one(prior, likelihood, words):
    """Bayes' rule each evening; yesterday's posterior is today's prior."""
    for word in words:
        prior = prior * likelihood[:, word]
        prior = prior / prior.sum()
    return prior


def each_alone(prior, likelihood, words):
    """The posterior of each evening as if it were the only one, (evenings, Z)."""
    return np.stack([one_by_one(prior, likelihood, [word]) for word in words])


def made_one(weights):
    """Divided by the sum over the kinds."""
    return weights / weights.sum(0)


# --- 1.5 --------------------------------------------------------------------------------------------------------------


def _cost(delta, a, K):
    return -a * math.log(1 - delta) - (1 - a) * math.log(delta / (K - 1))


def least_surprise(a, K):
    """What the best doubt costs, found by a search."""
    from scipy import optimize

    return optimize.minimize_scalar(lambda delta: _cost(delta, a, K), bounds=(1e-9, 1 - 1e-9), method="bounded").fun


def points(rng):
    """An accuracy and a number of kinds."""
    return {"a": rng.uniform(0.1, 0.95), "K": int(rng.integers(3, 9))}


# --- 1.6 and 1.7, by drawing and weighing -----------------------------------------------------------------------------


@functools.cache
def _known():
    """3,000 guesses and 100 hidden causes; place and fire are known to be 0: latents and clean shadows of both."""
    from vaelib import cave

    both = [cave.sample(number, seed=seed)[1] for number, seed in ((3000, 0), (100, 7))]
    for latents in both:
        latents[:, [cave.LATENTS.index(name) for name in ("x", "y", "fire_x", "fire_y")]] = 0
    return *both, *(cave.render(latents).flatten(1) for latents in both)


def _scores(smoke):
    """log p(x | z_k) of all guesses for all 100 walls, (3000, 100), pixel by pixel as torch has it."""
    import torch

    _, _, guessed, hidden = _known()
    walls = torch.bernoulli(smoke + (1 - 2 * smoke) * hidden, generator=torch.Generator().manual_seed(1))
    logits = torch.logit(smoke + (1 - 2 * smoke) * guessed).double()
    return logits @ walls.T.double() - torch.nn.functional.softplus(logits).sum(1, keepdim=True)


@functools.cache
def most_useful():
    """The letter of the smoke with the most useful draws, in the median over the walls."""
    weights = {letter: _scores(smoke).softmax(0) for letter, smoke in (("a", 0.02), ("b", 0.1), ("c", 0.3))}
    useful = {letter: float((1 / w.square().sum(0)).median()) for letter, w in weights.items()}
    return max(useful, key=lambda name: useful[name])


def spreads_in_percent(score, of, others=lambda size, depth: size / depth):
    """Standard deviation over mean, in percent, of the size and of something else, where `of` holds."""
    guesses = _known()[0].double().numpy()
    w = np.exp(score - score.max()) * of(guesses[:, 0])

    def spread(v):
        mean = (w * v).sum() / w.sum()
        return 100 * math.sqrt((w * (v - mean) ** 2).sum() / w.sum()) / mean

    size, depth = guesses[:, 1], guesses[:, 7]
    return [spread(size), spread(others(size, depth))]


@functools.cache
def wall_77():
    """The scores of all guesses for one wall, (3000,)."""
    return _scores(0.1)[:, 77].numpy()


def is_sphere(kind):
    """1 where a guess is a sphere."""
    return kind == 0
