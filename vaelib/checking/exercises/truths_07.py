"""What the answers of chapter 7 are, and the wrong ones: computed by torch, by rendering, by searches, exactly."""

import functools
import math

import numpy as np

# --- 7.1, by torch ----------------------------------------------------------------------------------------------------


def three_pixels(z=0.5, logarithms=1.0, sigma=0.5):
    """log p(x|z), the rate and the bound of one draw: the pixel logits are 0, -2 z log 3, 2 z log 3; x = (1, 0, 1)."""
    import torch
    from torch.distributions import Bernoulli, Normal, kl_divergence

    logits = 2 * z * math.log(3) * torch.tensor([0.0, -1, 1], dtype=torch.float64)
    log_px = Bernoulli(logits=logits).log_prob(torch.tensor([1.0, 0, 1], dtype=torch.float64)).sum().item()
    one = torch.ones((), dtype=torch.float64)
    rate = kl_divergence(Normal(one, sigma * one), Normal(0 * one, one)).item()
    rate -= (logarithms - 1) * math.log(sigma)
    return np.array([log_px, rate, log_px - rate])


# --- 7.2, by rendering ------------------------------------------------------------------------------------------------


def changed(pitch, what):
    """How many of the five solids cast another shadow when they are turned, at this pitch."""
    import torch

    from vaelib.data import cave

    pairs = [[cave.place(kind, pitch=pitch, **{what: angle}) for angle in (0.0, 0.4)] for kind in cave.KINDS]
    shadows = cave.render(torch.stack([place for pair in pairs for place in pair]))
    return int((shadows[::2] - shadows[1::2]).flatten(1).any(1).sum())


@functools.cache
def turned():
    """Upright: roll, yaw. With the base to the fire: roll, yaw."""
    return tuple(changed(pitch, what) for pitch in (0.0, math.pi / 2) for what in ("roll", "yaw"))


# --- 7.3 --------------------------------------------------------------------------------------------------------------


def codes(rng):
    """What an encoder says of three images in four latents, and the noise."""
    return {
        "mu": rng.normal(size=(3, 4)),
        "log_var": rng.normal(size=(3, 4)),
        "noise": rng.normal(size=(3, 4)),
    }


def draw_and_rate(power=0.5, mean=False, logarithm=0.5, read_as=1):
    """A function of `takes`: the draw, with exp(power log_var) for its width, and then the rate."""

    def of(mu, log_var, noise):
        log_var = read_as * log_var
        rate = (mu**2 + np.exp(log_var) - 1) / 2 - logarithm * log_var
        rate = rate.mean(-1) if mean else rate.sum(-1)
        return np.concatenate([mu + np.exp(power * log_var) * noise, rate[:, None]], -1)

    return of


def by_torch(mu, log_var, noise):
    """The same from a distribution's quantiles and torch's divergence."""
    import torch
    from torch.distributions import Independent, Normal, kl_divergence

    mu, log_var, noise = map(torch.as_tensor, (mu, log_var, noise))
    unit = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    q = Normal(mu, log_var.exp().sqrt())
    z = q.icdf(unit.cdf(noise))
    rate = kl_divergence(Independent(q, 1), Independent(unit, 1))
    return torch.cat([z, rate[:, None]], -1).numpy()


# --- 7.4, from a linear model -----------------------------------------------------------------------------------------


def letter(latents=50):
    """What a rate that is a mean over its latents does, from the best linear model with such a weight."""
    beta = np.full(latents, 1 / latents).mean()  # the weight that each dimension's divergence gets
    return "a" if beta > 1 else "d" if beta == 1 else "b" if best_rate(beta) > best_rate(1) else "c"


def best_rate(beta, variance=4.0):
    """The rate of a linear VAE of one pixel whose noise is 1, for data of this variance, by a search."""
    from scipy import optimize

    def minus(p):
        decode, encode, width = p[0], p[1], math.exp(p[2])
        error = ((1 - decode * encode) ** 2 * variance + decode**2 * width**2) / 2
        return error + beta * rate(encode, width)

    def rate(encode, width):
        return (encode**2 * variance + width**2 - 1) / 2 - math.log(width)

    found = optimize.minimize(minus, [1.0, 0.5, -0.5], tol=1e-10).x
    return rate(found[1], math.exp(found[2]))


# --- 7.5 --------------------------------------------------------------------------------------------------------------


def excess(a, s, x=1.3):
    """What is printed without noise, at its best, less log p(x): by a search, and from the library's exact model."""
    import torch
    from scipy import optimize

    from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain

    def minus(m):
        return (x - a * m) ** 2 / (2 * s**2) + math.log(2 * math.pi * s**2) / 2 + m**2 / 2

    one = torch.eye(1, dtype=torch.float64)
    model = LinearGaussianChain([LinearGaussian(a * one, 0 * one[0], s * s * one)], GaussianPrior(0 * one[0], one))
    return -optimize.minimize_scalar(minus, tol=1e-10).fun - model.log_px(x * one).item()


def weight_and_noise(rng):
    """A decoder's weight and its noise."""
    return {"a": rng.uniform(0.3, 3), "s": rng.uniform(0.2, 2)}


# --- 7.6 and 7.7, exact -----------------------------------------------------------------------------------------------


def from_afar(images, size):
    """Digits as squares of ink in tenths, (N, D)."""
    from torch.nn.functional import avg_pool2d

    return 10 * avg_pool2d(images, size).flatten(1).double()


@functools.cache
def gaussians():
    """Nats above the best linear model: of codes from N(0, I), from the fitted Gaussian, and from two wrong ones."""
    import torch
    from torch.distributions import MultivariateNormal

    import vaelib as vl

    x = from_afar(vl.load("mnist").train.images[:2000], 7)
    best = vl.exact.ppca(x, 2)
    axes = best.weight / best.weight.norm(dim=0)
    codes = (x - best.mean) @ axes
    eye = torch.eye(16, dtype=torch.float64)

    def above(covariance):
        law = MultivariateNormal(best.mean, axes @ covariance @ axes.T + best.sigma**2 * eye)
        return best.log_px - law.log_prob(x).mean().item()

    fitted = torch.cov(codes.T, correction=0)
    of = {
        "unit": eye[:2, :2],
        "fitted": fitted,
        "widths": fitted.diagonal().sqrt().diag(),
        "less noise": fitted - best.sigma**2 * eye[:2, :2],
    }
    return {name: above(covariance) for name, covariance in of.items()}


@functools.cache
def sizes():
    """NLLs of the best linear models of 1 to 30 latents: on 50 training images, on 1,000 for the choice, on 1,000."""
    import vaelib as vl

    digits = vl.load("mnist")
    few, choice, new = (
        from_afar(part.images[:number], 4)
        for part, number in ((digits.train, 50), (digits.valid, 1000), (digits.test, 1000))
    )
    fits = [vl.exact.ppca(few, latents) for latents in range(1, 31)]
    return np.array([[-fit.chain().log_px(part).mean().item() for fit in fits] for part in (few, choice, new)])


def latent_size(by=1, shown=2, last=2, at=29):
    """The best number of latents by a row of `sizes`, and the NLLs of rows: there; and on few and new at 30."""
    table = sizes()
    best = int(table[by].argmin())
    return np.array([best + 1, table[shown, best], table[0, at], table[last, at]])
