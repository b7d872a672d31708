"""What the answers of chapter 11 are, and the wrong ones: by quadrature, exact models, searches and real digits."""

import functools
import math

import numpy as np

# --- 11.1, by quadrature ----------------------------------------------------------------------------------------------


def unit(varies=15 / 16, half=0.5, images=60_000):
    """The average rate of a unit of which this part varies, and how many of them make log N."""
    from numpy.polynomial.hermite_e import hermegauss

    nodes, weights = hermegauss(20)
    variance = 1 - varies
    rates = (varies * nodes**2 + variance - 1) / 2 - half * math.log(variance)
    rate = float(weights @ rates / weights.sum())
    return np.array([rate, math.ceil(math.log(images) / rate)])


# --- 11.2 and 11.6, from the library's exact linear VAE ---------------------------------------------------------------


@functools.cache
def variances():
    """The eigenvalues of the far digits."""
    from torch.nn.functional import avg_pool2d

    import vaelib as vl

    far = 10 * avg_pool2d(vl.load("mnist").train.images[:2000], 7).flatten(1)
    return vl.exact.ppca(far, 8).eigenvalues.numpy()


def read_off(sigma=1.5):
    """How many of eight units live at this noise, and the noise at which none does."""
    return np.array([(variances()[:8] > sigma**2).sum(), variances()[0] ** 0.5])


@functools.cache
def thumbnails():
    """Ten thousand digits of 14 x 14 pixels, flat, and their eigenvalues."""
    from torch.nn.functional import avg_pool2d

    import vaelib as vl

    x = avg_pool2d(vl.load("mnist").train.images[:10_000], 2).flatten(1).double()
    return x, vl.exact.ppca(x, 1).eigenvalues.numpy()


@functools.cache
def rate(sigma=None, latents=20):
    """The average rate of the best linear VAE, from its posterior; its noise is found where none is given."""
    import vaelib as vl

    x, _ = thumbnails()
    fitted = vl.exact.ppca(x, latents, sigma=sigma)
    (encoder,) = fitted.chain().posteriors()
    q = encoder(x)
    return (q.loc.pow(2) + q.variance - 1 - q.variance.log()).sum(1).mean().item() / 2


@functools.cache
def collapse():
    """The noise at which the last unit dies; the rates a tenth below, a tenth above, and where the noise is free."""
    last = math.sqrt(thumbnails()[1][0])
    return np.array([last, rate(0.9 * last), rate(1.1 * last), rate()])


@functools.cache
def other_noise():
    """The last of `collapse` by two wrong noises: the first variance that is left out, and their mean over all D."""
    values = thumbnails()[1]
    return [float(np.log(values[:20] / s2).sum() / 2) for s2 in (values[20], values[20:].sum() / 196)]


@functools.cache
def unfloored():
    """The second and third of `collapse` where the sums run over the units that have died as well."""
    values = thumbnails()[1][:20]
    return [float(np.log(values / (part**2 * values[0])).sum() / 2) for part in (0.9, 1.1)]


# --- 11.3 -------------------------------------------------------------------------------------------------------------


def measured():
    """The letter: whether two reported numbers are the logarithms of the numbers of images."""
    ours, theirs = round(math.log(2000), 1), round(math.log(1000), 1)
    return "b" if (ours, theirs) == (7.6, 6.9) else "a"


# --- 11.4 -------------------------------------------------------------------------------------------------------------


def levels(rng):
    """Distortions of five images, rates of three levels, the free nats and a number of pixels."""
    return {
        "d": rng.uniform(50, 100, 5),
        "R": np.exp(rng.uniform(-3, 3, (3, 5))),
        "lam": rng.uniform(0.5, 2),
        "D": int(rng.integers(20, 100)),
    }


def looped(d, R, lam, D):
    """The loss in nats per pixel, one image and one level after the other."""
    total = 0.0
    for b, distortion in enumerate(d):
        total += distortion
        for t in range(len(R)):
            total += R[t, b] if R[t, b] > lam else lam
    return total / len(d) / D


# --- 11.5 -------------------------------------------------------------------------------------------------------------


def weighted(ell, sigma, beta):
    """The rate of the best linear VAE of one pixel with a weight on the rate: a search over the decoder's weight."""
    from scipy import optimize

    def parts(w):  # at the best encoder v x + s noise for this decoder
        s2, v = 1 / (1 + w * w / (beta * sigma**2)), w / (w * w + beta * sigma**2)
        error = ((1 - w * v) ** 2 * ell + w * w * s2) / (2 * sigma**2)
        return error, (v * v * ell + s2 - 1 - math.log(s2)) / 2

    def loss(w):
        error, nats = parts(w)
        return error + beta * nats

    w = optimize.minimize_scalar(loss, bounds=(0, 10), method="bounded", options={"xatol": 1e-10}).x
    return parts(w)[1]


def variance_noise_weight(rng):
    """A variance above or below beta sigma^2, not very close to it."""
    sigma, beta = rng.uniform(0.5, 1.5), math.exp(rng.uniform(-1.5, 1.5))
    return {"ell": beta * sigma**2 * rng.choice([rng.uniform(0.2, 0.7), rng.uniform(1.5, 8)]), "sigma": sigma} | {
        "beta": beta
    }


# --- 11.7 -------------------------------------------------------------------------------------------------------------


@functools.cache
def shares(shift=1, reach=1, judges=1):
    """In how many pairs a copy is nearer than a test image: plain; with shifts; and new digits, with shifts."""
    import torch

    import vaelib as vl

    digits = vl.load("mnist")
    train = digits.train.images[:5000].flatten(1)
    copies = torch.roll(digits.train.images[:200], shift, -1)
    test, new = digits.test.images[:200], digits.valid.images[:200]

    def nearest(images, reach):
        moves = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
        moved = [torch.roll(images, move, (-2, -1)).flatten(1) for move in moves]
        return torch.stack([torch.cdist(each, train).amin(1) for each in moved]).amin(0)

    def share(images, reach):
        return (nearest(images, reach)[:, None] < nearest(test, min(reach, judges))).double().mean().item()

    return np.array([share(copies, 0), share(copies, reach), share(new, reach)])
