"""Exact answers for models in which everything is Gaussian and linear: the oracle that tests the others.

A chain  z_T ~ N(m, S_T),  z_{t-1} | z_t ~ N(A_t z_t + b_t, S_{t-1}),  z_0 = x,  of any depth T. Its joint distribution
is one multivariate normal, so log p(x), every posterior and the ELBO of linear-Gaussian encoders are matrix algebra.

Source: Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.113-2.117.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from .models import MHVAE


class LinearGaussian(nn.Module):
    """N(y; A c + b, S): `forward(c)` takes c (..., inputs) and returns a MultivariateNormal over y (..., size).

    weight: A, (size, inputs). bias: b, (size,). covariance: S, (size, size), positive definite.
    """

    weight: Tensor
    bias: Tensor
    covariance: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, covariance: Tensor):
        super().__init__()
        size, self.inputs = weight.shape
        if bias.shape != (size,) or covariance.shape != (size, size):
            raise ValueError(
                f"weight {tuple(weight.shape)}, bias {tuple(bias.shape)}, covariance {tuple(covariance.shape)}: "
                "expected (size, inputs), (size,) and (size, size)"
            )
        self.event = (size,)
        for name, value in (("weight", weight), ("bias", bias), ("covariance", covariance)):
            self.register_buffer(name, value)

    def forward(self, condition: Tensor) -> MultivariateNormal:
        return _normal(condition @ self.weight.T + self.bias, self.covariance)


class GaussianPrior(nn.Module):
    """The prior N(m, S) of a chain's top level; mean: (size,), covariance: (size, size)."""

    mean: Tensor
    covariance: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor):
        super().__init__()
        self.event = tuple(mean.shape)
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", covariance)

    def forward(self) -> MultivariateNormal:
        return _normal(self.mean, self.covariance)


class LinearGaussianChain:
    """A linear-Gaussian MHVAE with all its exact answers.

    decoders: p(x | z_1), p(z_1 | z_2), ..., T of them. prior: p(z_T).
    """

    def __init__(self, decoders: Sequence[LinearGaussian], prior: GaussianPrior):
        if not decoders:
            raise ValueError("a chain needs at least one decoder, p(x | z_1)")
        self.decoders, self.prior = list(decoders), prior
        self.sizes = [decoder.event[0] for decoder in decoders] + [prior.event[0]]  # [D, L_1, ..., L_T]

    @classmethod
    def random(cls, sizes: Sequence[int], seed: int = 0) -> "LinearGaussianChain":
        """A chain with random float64 parameters; sizes: [D, L_1, ..., L_T], so T = len(sizes) - 1."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        def covariance(size: int) -> Tensor:
            root = draw(size, size) / math.sqrt(size)
            return root @ root.T + 0.2 * torch.eye(size, dtype=torch.float64)

        decoders = [
            LinearGaussian(draw(below, above) / math.sqrt(above), draw(below), covariance(below))
            for below, above in pairwise(sizes)
        ]
        return cls(decoders, GaussianPrior(draw(sizes[-1]), covariance(sizes[-1])))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of (x, z_1, ..., z_T), concatenated into one vector, x first."""
        mean, covariance = self.prior.mean, self.prior.covariance
        for decoder in reversed(self.decoders):
            above = decoder.inputs  # the block of z_t stands first in what is there so far
            cross = decoder.weight @ covariance[:above]  # Cov(z_{t-1}, what is there so far)
            own = cross[:, :above] @ decoder.weight.T + decoder.covariance
            mean = torch.cat([decoder.weight @ mean[:above] + decoder.bias, mean])
            covariance = torch.cat([torch.cat([own, cross], 1), torch.cat([cross.T, covariance], 1)], 0)
        return mean, covariance

    def log_px(self, x: Tensor) -> Tensor:
        """log p(x), exactly, in nats per example: x (B, D) -> (B,)."""
        (mean, covariance), size = self.moments(), self.sizes[0]
        return _normal(mean[:size], covariance[:size, :size]).log_prob(x)

    def posteriors(self) -> list[LinearGaussian]:
        """The true posterior as encoders q(z_1 | x), q(z_2 | z_1), ...: p(z_t | z_{t-1}, ..., x) = p(z_t | z_{t-1})."""
        mean, covariance = self.moments()
        edges = [0, *torch.tensor(self.sizes).cumsum(0).tolist()]
        blocks = [slice(start, end) for start, end in pairwise(edges)]
        return [_condition(mean, covariance, above, below) for below, above in pairwise(blocks)]

    def elbo(self, x: Tensor, encoders: Sequence[LinearGaussian]) -> Tensor:
        """The ELBO of linear-Gaussian encoders q(z_1 | x), q(z_2 | z_1), ..., exactly: x (B, D) -> (B,).

        E_q[log p(x, z)] of a quadratic form, plus the entropy of q(z | x).
        """
        joint_mean, joint_covariance = self.moments()
        mean = encoders[0](x).loc  # (B, L_1)
        means, covariance = [x, mean], encoders[0].covariance
        for encoder in encoders[1:]:
            below = encoder.inputs  # the block of z_{t-1} stands last in what is there so far
            cross = encoder.weight @ covariance[-below:]
            own = cross[:, -below:] @ encoder.weight.T + encoder.covariance
            mean = encoder(mean).loc
            means.append(mean)
            covariance = torch.cat([torch.cat([covariance, cross.T], 1), torch.cat([cross, own], 1)], 0)
        point = torch.cat(means, -1)  # (B, D + L_1 + ... + L_T)
        precision = torch.linalg.inv(joint_covariance)[self.sizes[0] :, self.sizes[0] :]
        expected_log_joint = (
            _normal(joint_mean, joint_covariance).log_prob(point) - 0.5 * (precision * covariance).sum()
        )
        return expected_log_joint + _normal(torch.zeros_like(covariance[0]), covariance).entropy()

    def model(self, encoders: Sequence[nn.Module] | None = None) -> MHVAE:
        """The same chain as a `vaelib.MHVAE`; its encoders are the exact posteriors unless given."""
        return MHVAE(self.posteriors() if encoders is None else encoders, self.decoders, self.prior)


def _normal(mean: Tensor, covariance: Tensor) -> MultivariateNormal:
    return MultivariateNormal(mean, covariance, validate_args=False)


def _condition(mean: Tensor, covariance: Tensor, target: slice, given: slice) -> LinearGaussian:
    """p(target | given) of a normal with this mean and covariance. Bishop 2006, eq. 2.81-2.82."""
    weight = torch.linalg.solve(covariance[given, given], covariance[given, target]).T
    bias = mean[target] - weight @ mean[given]
    residual = covariance[target, target] - weight @ covariance[given, target]
    return LinearGaussian(weight, bias, (residual + residual.T) / 2)
