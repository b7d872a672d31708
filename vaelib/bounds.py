"""Bounds on log p(x): pure functions of `Terms`, in nats per example.

One quantity carries everything, the log-weight of a sample z = (z_1 ... z_T) ~ q(z | x)::

    log w = log p(x | z_1) + sum_t [ log p(z_t | z_{t+1}) - log q(z_t | z_{t-1}) ]

with z_0 = x and p(z_T | z_{T+1}) = p(z_T) at the top.

Its mean under q is the ELBO; the log of the mean of K weights is the IWAE bound.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Terms(NamedTuple):
    """Every log-density of K samples for B examples under a model of T levels.

    log_px: (K, B), log p(x | z_1).
    log_pz: (T, K, B), log p(z_t | z_{t+1}), level z_1 first; the last is the prior log p(z_T).
    log_qz: (T, K, B), log q(z_t | z_{t-1}), with z_0 = x.
    kl: (T, K, B) or None: each level's rate with closed forms in place of samples where the model has them.
    """

    log_px: Tensor
    log_pz: Tensor
    log_qz: Tensor
    kl: Tensor | None = None

    @property
    def log_weights(self) -> Tensor:
        """log w: (K, B). Burda et al. 2016 (arXiv 1509.00519), eq. 5."""
        return self.log_px + (self.log_pz - self.log_qz).sum(0)

    @property
    def rates(self) -> Tensor:
        """The rate of each level, (T, K, B), in nats: `kl` where given, else the sampled log q - log p.

        A sampled rate may be negative; its mean under q need not be non-negative either at a middle level of a chain
        (only the sum over the levels is a KL divergence).
        """
        return self.log_qz - self.log_pz if self.kl is None else self.kl


def elbo(terms: Terms, beta: float | Tensor = 1.0) -> Tensor:
    """ELBO = E_q[ log p(x | z_1) ] - beta * sum_t rate_t, averaged over the K samples: (B,).

    With beta = 1 its expectation is a lower bound on log p(x).

    Source: Kingma & Welling 2014 (arXiv 1312.6114), eq. 3; beta: Higgins et al. 2017, eq. 4.
    """
    return (terms.log_px - beta * terms.rates.sum(0)).mean(0)


def iwae(terms: Terms) -> Tensor:
    """log (1/K) sum_k w_k: (B,). The log of the mean of the weights, not the mean of their logs.

    Its expectation lies between the ELBO (K = 1) and log p(x), and does not decrease with K.

    Source: Burda et al. 2016 (arXiv 1509.00519), eq. 8.
    """
    log_weights = terms.log_weights
    return torch.logsumexp(log_weights, 0) - math.log(log_weights.shape[0])


def warmup(epochs: float) -> Callable[[float], float]:
    """The schedule beta(epoch) = min(1, epoch / epochs): the rate is switched on little by little.

    Source: Sonderby et al. 2016 (arXiv 1602.02282), section 2.3.
    """
    if not 0 < epochs < math.inf:
        raise ValueError(f"warmup over {epochs} epochs: expected a positive number")
    return lambda epoch: min(1.0, epoch / epochs)


def cosine(start: float, epochs: float) -> Callable[[float], float]:
    """The schedule that falls from `start` to 0 along half a cosine over `epochs`, then stays there.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5, without restarts.
    """
    if not 0 < epochs < math.inf or not 0 < start < math.inf:
        raise ValueError(f"cosine({start}, epochs={epochs}): expected two positive numbers")
    return lambda epoch: start * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs)))
