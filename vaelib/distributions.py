"""Likelihoods of grey-level images that torch lacks, or computes with too little care at extremes.

Two are distributions over the 256 grey levels {0, 1/255, ..., 1} of an 8-bit image, whose log_prob is the log of a
probability; `ContinuousBernoulliDensity` is a density on [0, 1]. Each is over single pixels: the conditionals make it
one over images, with a log_prob in nats per example.

>>> logistic = LogisticGreyLevels(torch.tensor(0.3), torch.tensor(0.1))
>>> round(logistic.log_prob(torch.arange(256) / 255).exp().sum().item(), 4)
1.0
"""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional
from torch.types import _size

LEVELS = 256


class _OnGrid(constraints.Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        level = value * (LEVELS - 1)
        return (value >= 0) & (value <= 1) & ((level - level.round()).abs() < 1e-3)  # k / 255 is rounded in float32


on_grid = _OnGrid()


class CategoricalGreyLevels(Distribution):
    """A categorical distribution over the 256 grey levels k / 255, by logits (batch shape, 256)."""

    arg_constraints = {"logits": constraints.real_vector}
    support = on_grid

    def __init__(self, logits: Tensor):
        self.logits = logits
        super().__init__(torch.Size(logits.shape[:-1]), validate_args=False)

    @property
    def probs(self) -> Tensor:
        """The probability of each level, (..., 256)."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:
        return self.probs @ torch.linspace(0, 1, LEVELS, device=self.logits.device, dtype=self.logits.dtype)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:
        levels = torch.distributions.Categorical(logits=self.logits, validate_args=False).sample(sample_shape)
        return levels.to(self.logits.dtype) / (LEVELS - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log of the softmax of the logits at the level 255 value."""
        level = (value * (LEVELS - 1)).round().long().expand(torch.broadcast_shapes(value.shape, self.batch_shape))
        logits = self.logits.expand(*level.shape, LEVELS)
        rows = functional.cross_entropy(logits.reshape(-1, LEVELS), level.reshape(-1), reduction="none")
        return -rows.view(level.shape)


class LogisticGreyLevels(Distribution):
    """A logistic density of mean loc and scale s, gathered into the 256 grey levels k / 255.

    P(k) = F((k + 1/2) / 255) - F((k - 1/2) / 255) with F(y) = sigmoid((y - loc) / s); the tails belong to 0 and 255.
    loc and s > 0, in units of white = 1, are broadcast to the batch shape.

    Source: Salimans et al. 2017 (arXiv 1701.05517), the discretised logistic, there for levels in [-1, 1].
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = on_grid

    def __init__(self, loc: Tensor, scale: Tensor):
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """sum_k P(X >= k / 255) / 255, over k = 1 ... 255."""
        edges = (torch.arange(1, LEVELS, device=self.loc.device, dtype=self.loc.dtype) - 0.5) / (LEVELS - 1)
        return torch.sigmoid((self.loc[..., None] - edges) / self.scale[..., None]).mean(-1)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:
        uniform = torch.rand(self._extended_shape(sample_shape), device=self.loc.device, dtype=self.loc.dtype)
        value = self.loc.detach() + self.scale.detach() * torch.logit(uniform, eps=torch.finfo(uniform.dtype).tiny)
        return (value * (LEVELS - 1)).round().clamp(0, LEVELS - 1) / (LEVELS - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """By sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)), which no difference can cancel."""
        half = 0.5 / (LEVELS - 1)
        above = functional.logsigmoid((value + half - self.loc) / self.scale)  # log F at the upper edge
        below = functional.logsigmoid((self.loc - value + half) / self.scale)  # log of 1 - F at the lower edge
        first, last = value < half, value > 1 - half
        width = torch.log(-torch.expm1(-2 * half / self.scale))
        zero = torch.zeros_like(width)
        return torch.where(last, zero, above) + torch.where(first, zero, below) + torch.where(first | last, zero, width)


class ContinuousBernoulliDensity(Distribution):
    """The density C(l) e^(l x) / (1 + e^l) of x in [0, 1], logit l: a Bernoulli's formula that integrates to one.

    C(l) = l / tanh(l / 2), and 2 at l = 0, so the density is l e^(l x) / (e^l - 1). torch's own class clamps the
    probabilities, and with them C, which costs nats beyond |l| = 16 in float32.

    Source: Loaiza-Ganem & Cunningham 2019 (arXiv 1907.06845), the normalising constant, written with logits.
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.unit_interval

    def __init__(self, logits: Tensor):
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def _near_zero(self) -> tuple[Tensor, Tensor]:
        """Where l is so small that the formulas cancel, and l with a harmless 1 in these places."""
        small = self.logits.abs() < 0.1
        return small, torch.where(small, torch.ones_like(self.logits), self.logits)

    @property
    def log_normaliser(self) -> Tensor:
        """log C(l); near 0 by its Taylor series, with an error below 1e-15."""
        small, l = self._near_zero()
        square = torch.where(small, self.logits, torch.zeros_like(l)) ** 2
        series = square * (1 / 12 + square * (-7 / 1440 + square * (31 / 90720 - square * 127 / 4838400)))
        m = l.abs()  # tanh(m / 2) = (1 - e^-m) / (1 + e^-m)
        far = m.log() + torch.log1p(torch.exp(-m)) - torch.log(-torch.expm1(-m))
        return torch.where(small, math.log(2) + series, far)

    @property
    def mean(self) -> Tensor:
        """1 / (1 - e^-l) - 1 / l; near 0 by its Taylor series, with an error below 1e-15."""
        small, l = self._near_zero()
        square = self.logits**2
        series = self.logits * (1 / 12 + square * (-1 / 720 + square * (1 / 30240 - square / 1209600)))
        return torch.where(small, 0.5 + series, -1 / torch.expm1(-l) - 1 / l)

    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:
        """By the inverse of the distribution function; for l > 0 one minus a draw under -l, which cannot overflow."""
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            uniform = torch.rand(shape, device=self.logits.device, dtype=self.logits.dtype)
            m = self.logits.abs().clamp_min(1e-6)
            draw = torch.log1p(uniform * torch.expm1(-m)) / -m
            return torch.where(self.logits > 0, 1 - draw, draw)

    def log_prob(self, value: Tensor) -> Tensor:
        """log C(l) + l x - log(1 + e^l), for l > 0 written as l (x - 1) - log(1 + e^-l), which does not cancel."""
        l = self.logits
        positive, negative = l * (value - 1) - functional.softplus(-l), l * value - functional.softplus(l)
        return self.log_normaliser + torch.where(l > 0, positive, negative)
