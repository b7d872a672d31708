"""Bounds on log p(x): pure functions of `Terms`, in nats per example.

One quantity carries everything, the log-weight of a sample z = (z_1 ... z_T) ~ q(z | x)::

    log w = log p(x | z_1) + sum_t [ log p(z_t | z_{t+1}) - log q(z_t | z_{t-1}) ],  z_0 = x, p(z_T | z_{T+1}) = p(z_T)

Its mean under q is the ELBO; the log of the mean of K weights is the IWAE bound.

    >>> import vaelib as vl
    >>> _ = torch.manual_seed(0)
    >>> terms = vl.VAE.mlp(4, latent=2, hidden=(3,))(torch.ones(5, 4), samples=10)
    >>> vl.elbo(terms).shape, bool((vl.iwae(terms) >= terms.log_weights.mean(0)).all())
    (torch.Size([5]), True)
    >>> vl.warmup(4)(1), vl.cosine(1e-3, epochs=10)(10)
    (0.25, 0.0)
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arguments import is_number

_Latents = tuple[Tensor, ...]


class _Densities(NamedTuple):
    log_px: Tensor
    log_pz: Tensor
    log_qz: Tensor
    kl: Tensor | None = None
    latents: _Latents | None = None


class Terms(_Densities):
    """Every log-density of K samples for B examples under a model of T levels.

    Args:
        log_px: (K, B), log p(x | z_1).
        log_pz: (T, K, B), log p(z_t | z_{t+1}), level z_1 first; the last is the prior log p(z_T).
        log_qz: (T, K, B), log q(z_t | z_{t-1}), with z_0 = x.
        kl: (T, K, B) or None: each level's rate with closed forms in place of samples where the model has them.
        latents: z_1 ... z_T, each (K, B, L_t), or None: kept by `model(x, path=True)` alone.
    Raises:
        ValueError: Where the shapes are others: a number that two axes make by accident would pass for a bound.
    """

    __slots__ = ()

    def __new__(
        cls, log_px: Tensor, log_pz: Tensor, log_qz: Tensor, kl: Tensor | None = None, latents: _Latents | None = None
    ) -> "Terms":
        named = {"log_px": log_px, "log_pz": log_pz, "log_qz": log_qz, "kl": kl}
        shapes = {name: tuple(value.shape) for name, value in named.items() if value is not None}
        k_b, *levels = shapes.values()
        if len(k_b) != 2 or levels[0][1:] != k_b or len(set(levels)) > 1:
            got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"these terms are {got}: expected log_px (K, B) and the others (T, K, B)")
        for z in latents or ():
            if z.ndim != 3 or z.shape[:2] != k_b:
                raise ValueError(f"a latent is {tuple(z.shape)}, log_px {k_b}: expected (K, B, L_t) and (K, B)")
        return super().__new__(cls, log_px, log_pz, log_qz, kl, latents)

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> "Terms":  # what `_replace` makes is checked, too
        return cls(*iterable)

    @property
    def log_weights(self) -> Tensor:
        """log w: (K, B). Source: Burda et al. 2016 (arXiv 1509.00519), the weights in eq. 8."""
        return _tempered(self, 1)

    @property
    def rates(self) -> Tensor:
        """Each level's rate, (T, K, B): `kl` where given, else the sampled log q - log p, which may be negative."""
        return self.log_qz - self.log_pz if self.kl is None else self.kl


def elbo(terms: Terms, beta: float | Tensor = 1.0) -> Tensor:
    """log p(x | z_1) - beta * sum_t rate_t, averaged over the K samples: (B,); with beta = 1 the ELBO, a lower bound.

    Source: Kingma & Welling 2014 (arXiv 1312.6114), eq. 3; beta: Higgins et al. 2017.
    """
    return (terms.log_px - _weight(beta, terms) * terms.rates.sum(0)).mean(0)


def free_bits(terms: Terms, beta: float | Tensor = 1.0, *, nats: float) -> Tensor:
    """The ELBO with each level's rate, per example, counted as at least `nats`: (B,). An objective, not an ELBO.

    A level that costs less than it is allowed has no gradient that pushes it to the prior. A rate is averaged over the
    K samples, then clamped, then scaled and summed over levels; the mean over examples comes last. Where rates are
    sampled, not closed-form, their noise meets the clamp: use more samples there.

    Raises:
        ValueError: Where `nats` is negative or not finite.
    Source: Kingma et al. 2016 (arXiv 1606.04934), free bits; they clamp the batch mean of the rate.
    """
    if not is_number(nats) or nats < 0:
        raise ValueError(f"nats is {nats!r}: expected a finite number of at least 0, the rate that each level has free")
    return terms.log_px.mean(0) - _weight(beta, terms) * terms.rates.mean(1).clamp_min(nats).sum(0)


def iwae(terms: Terms, beta: float | Tensor = 1.0) -> Tensor:
    """log (1/K) sum_k w_k: (B,). The log of the mean of the weights, not the mean of their logs.

    Its expectation lies between the ELBO (K = 1) and log p(x), and does not decrease with K. With beta other than 1,
    for a warm-up, w = p(x | z) (p(z) / q(z | x))^beta, which is no bound.

    Source: Burda et al. 2016 (arXiv 1509.00519), eq. 8.
    """
    log_weights = _tempered(terms, beta)
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def dreg(terms: Terms, beta: float | Tensor = 1.0) -> Tensor:
    """The value of `iwae`, (B,), with a gradient of the same mean and less variance: the doubly reparameterised one.

    With v_k = w_k / sum_j w_j, the weights of p receive sum_k v_k d log w_k, as in `iwae`, and those of q receive
    sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi). Needs `model(x, samples=K, path=True)`, which holds back the direct
    dependence of log q on phi. Where p and q share weights, as in an `HVAE`, and p(z_t | ...) is narrow, the gradients
    of these scatter far more than those of `iwae`: take that one there.

    Raises:
        ValueError: For terms without latents.
    Source: Tucker et al. 2019 (arXiv 1810.04152), the estimator for IWAE.
    """
    if terms.latents is None:
        needs = "dreg needs model(x, samples=K, path=True), and training objective=vaelib.dreg"
        raise ValueError(f"these terms have no latents: {needs}")
    value = iwae(terms, beta)
    reached = [z for z in terms.latents if z.requires_grad]
    if not (value.requires_grad and reached):
        return value
    share = _tempered(terms, beta).detach().softmax(0)[..., None]  # v: (K, B, 1)
    slopes = torch.autograd.grad(value.sum(), reached, retain_graph=True, allow_unused=True)
    for z, slope in zip(reached, slopes, strict=True):
        if slope is not None:  # on its way to z it has met v once, as the derivative of the logsumexp
            again = ((share - 1) * slope * z).sum((0, 2))  # a term of value 0 that makes v^2 of v
            value = value + (again - again.detach())
    return value


def _weight(beta: float | Tensor, terms: Terms) -> float | Tensor:
    """beta, one number or one for each example; another shape would be spread over samples or levels in silence."""
    examples = terms.log_px.shape[1:]
    if isinstance(beta, Tensor) and beta.shape not in ((), examples):
        given = tuple(beta.shape)
        raise ValueError(f"beta has shape {given}: expected a number, or one for each example, {tuple(examples)}")
    return beta


def _tempered(terms: Terms, beta: float | Tensor) -> Tensor:
    return terms.log_px + _weight(beta, terms) * (terms.log_pz - terms.log_qz).sum(0)


def warmup(epochs: float) -> Callable[[float], float]:
    """The schedule beta(epoch) = min(1, epoch / epochs): the rate is switched on little by little.

    Raises:
        ValueError: Where `epochs` is no positive number.
    Source: Sønderby et al. 2016 (arXiv 1602.02282), section 2.3.
    """
    if not is_number(epochs, above=0):
        raise ValueError(f"warmup over {epochs!r} epochs: expected a positive number")
    return lambda epoch: min(1.0, epoch / epochs)


def cosine(start: float, epochs: float) -> Callable[[float], float]:
    """The schedule that falls from `start` to 0 along half a cosine over `epochs`, then stays there.

    Raises:
        ValueError: Where a number is not positive.
    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5, without restarts.
    """
    if not is_number(epochs, above=0) or not is_number(start, above=0):
        raise ValueError(f"cosine({start!r}, epochs={epochs!r}): expected two positive numbers")
    return lambda epoch: start * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs)))
