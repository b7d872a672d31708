"""What students hand in who make the mistakes of chapter 7, written from the messages alone."""

import functools
import math

import torch
from torch.distributions import MultivariateNormal
from torch.nn.functional import avg_pool2d

import vaelib as vl
from vaelib import exact

RATE = 1 / 8 + math.log(2)


def one_draw(z=1 / 2, rate=RATE):
    ink = [1 / (1 + 3 ** (2 * z * sign)) for sign in (0, 1, -1)]
    log_px = math.log(ink[0] * (1 - ink[1]) * ink[2])
    return log_px, rate, log_px - rate


def draw_and_rate(z, rates):
    return torch.cat([z, rates[:, None]], -1)


def rates(mu, log_var):
    return 0.5 * (mu**2 + log_var.exp() - 1 - log_var)


@functools.cache
def plain_autoencoder():
    x = 10 * avg_pool2d(vl.load("mnist").train.images[:2000], 7).flatten(1).double()
    best = exact.ppca(x, 2)
    axes = best.weight / best.weight.norm(dim=0)
    cov = torch.cov(((x - best.mean) @ axes).T, correction=0)

    def loss(C):
        covariance = axes @ C @ axes.T + best.sigma**2 * torch.eye(16).double()
        return (best.log_px - MultivariateNormal(best.mean, covariance).log_prob(x).mean()).item()

    eye = torch.eye(2).double()
    return [loss(C) for C in (eye, cov, cov.diag().sqrt().diag(), cov - best.sigma**2 * eye)]


def losses(second=1):
    found = plain_autoencoder()
    return found[0], found[second]


@functools.cache
def latent_sizes():
    """The NLLs of the fifty, of the validation and of the test images, for J = 1 to 30."""
    digits = vl.load("mnist")
    few, valid, test = (
        10 * avg_pool2d(part.images[:number], 4).flatten(1).double()
        for part, number in ((digits.train, 50), (digits.valid, 1000), (digits.test, 1000))
    )
    chains = [exact.ppca(few, latents).chain() for latents in range(1, 31)]
    return [[-chain.log_px(images).mean().item() for chain in chains] for images in (few, valid, test)]


def latent_size(chosen_on=1, reported_on=2):
    nlls = latent_sizes()
    best = min(range(30), key=nlls[chosen_on].__getitem__)
    return best + 1, nlls[reported_on][best], nlls[0][-1], nlls[reported_on][-1]


WRONG = {
    "7.1": {
        "E11a": one_draw(z=1),
        "E24": one_draw(z=1 - 1 / 4),
        "E5a": one_draw(rate=1 / 2 * (1 + 1 / 4 - 1) - math.log(1 / 4)),
        "E6c": one_draw(rate=1 / 2 * (1 + 1 / 4 - 1 - math.log(1 / 2))),
        "E18b": (math.log(9 / 32), RATE, math.log(9 / 32) + RATE),
        "E2a": (math.log(9 / 32) / 3, RATE, math.log(9 / 32) / 3 - RATE),
    },
    "7.2": {
        "round solids": (4, 4, 2, 2),
        "upright for tipped": (4, 2, 4, 2),
        "no yaw": (4, 2, 2, 0),
        "the sphere": (5, 2, 2, 2),
        "changed over": (2, 4, 2, 2),
    },
    "7.3": {
        "as printed": lambda mu, log_var, noise: draw_and_rate(
            mu + torch.exp(log_var) * noise, rates(mu, log_var).mean(-1)
        ),
        "E24": lambda mu, log_var, noise: draw_and_rate(mu + torch.exp(log_var) * noise, rates(mu, log_var).sum(-1)),
        "E1": lambda mu, log_var, noise: draw_and_rate(
            mu + torch.exp(log_var / 2) * noise, rates(mu, log_var).mean(-1)
        ),
        "log sigma": lambda mu, log_var, noise: draw_and_rate(
            mu + torch.exp(log_var) * noise, rates(mu, 2 * log_var).sum(-1)
        ),
        "E5a": lambda mu, log_var, noise: draw_and_rate(
            mu + torch.exp(log_var / 2) * noise, (0.5 * (mu**2 + torch.exp(log_var) - 1) - log_var).sum(-1)
        ),
    },
    "7.5": {
        # v is the variance of the true posterior
        "E11b": lambda a, s: torch.log(1 + a**2 / s**2) / 2 - (v := s**2 / (a**2 + s**2)) / 2 + 1 / 2 + v.log() / 2,
        "no half": lambda a, s: torch.log(1 + a**2 / s**2),
        "widths added": lambda a, s: torch.log((a + s) ** 2 / s**2) / 2,
        "sign": lambda a, s: torch.log(s**2 / (a**2 + s**2)) / 2,
        "the wrong way up": lambda a, s: torch.log(1 + s**2 / a**2) / 2,
    },
    "7.6": {
        "changed over": lambda: losses()[::-1],
        "widths": lambda: losses(2),
        "less noise": lambda: losses(3),
        "bits": lambda: [loss / math.log(2) for loss in losses()],
        "sign": lambda: [-loss for loss in losses()],
    },
    "7.7": {
        "chosen on few": lambda: latent_size(chosen_on=0),
        "chosen on test": lambda: latent_size(chosen_on=2),
        "reported on valid": lambda: latent_size(reported_on=1),
        "sign": lambda: [(size := latent_size())[0], *(-nll for nll in size[1:])],
        "full ink": lambda: [(size := latent_size())[0], *(nll - 49 * math.log(10) for nll in size[1:])],
    },
}
