"""Conditional distributions as modules: `forward` returns a `torch.distributions` object.

An encoder is q(z_t | z_{t-1}) with z_0 = x; a decoder is p(z_{t-1} | z_t). Both are the same kind of thing: a network
that turns the condition into the parameters of a distribution. Any `nn.Module` whose `forward` returns a distribution
with the right `event_shape` can take the place of those below.

Argument validation of the distributions is switched off here: it reads every value, which on a GPU makes the host wait.
The data are checked once, where they enter (see `MHVAE.check`).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Independent, Normal

Shape = int | Sequence[int]


def _event(event: Shape, name: str = "event") -> tuple[int, ...]:
    shape = (event,) if isinstance(event, int) else tuple(event)
    if not shape or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(f"{name} is {event!r}: expected a positive integer or a shape such as (1, 28, 28)")
    return shape


def _mlp(inputs: int, hidden: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers)


class _MLPConditional(nn.Module):
    """The part that Gaussian and Bernoulli share: a multilayer perceptron with one linear head per parameter."""

    def __init__(
        self, inputs: int, event: Shape, hidden: Sequence[int], activation: Callable[[], nn.Module], heads: int
    ):
        super().__init__()
        (self.inputs,) = _event(inputs, "inputs")
        self.event = _event(event)
        if isinstance(hidden, int) or any(not isinstance(size, int) or size < 1 for size in hidden):
            raise ValueError(f"hidden is {hidden!r}: expected a sequence of positive layer sizes such as (200, 200)")
        self.hidden = tuple(hidden)
        self.body = _mlp(self.inputs, hidden, activation)
        width = hidden[-1] if hidden else self.inputs
        self.heads = nn.ModuleList(nn.Linear(width, math.prod(self.event)) for _ in range(heads))

    def parameters_at(self, condition: Tensor) -> list[Tensor]:
        """The heads' outputs, each (..., *event), for a condition (..., inputs) or an image batch (B, *shape)."""
        flat = condition if condition.shape[-1] == self.inputs else condition.flatten(1)  # (..., inputs)
        if flat.ndim < 2 or flat.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} takes {self.inputs} numbers per example, got a tensor of shape "
                f"{tuple(condition.shape)}: expected (batch, {self.inputs}) or images with {self.inputs} pixels"
            )
        features = self.body(flat)
        return [head(features).unflatten(-1, self.event) for head in self.heads]


class Gaussian(_MLPConditional):
    """N(y; mu(c), diag sigma(c)^2): independent Gaussian dimensions, given the condition c.

    Parameters
    ----------
    inputs: number of entries of the condition, e.g. 784 for 28 x 28 images or the size of a latent.
    event: size of y, an integer or a shape such as `(1, 28, 28)`.
    hidden: sizes of the hidden layers.
    scale: where the standard deviation sigma comes from. `None`: the network gives one per dimension;
        a positive number: fixed; `"shared"`: one number, learned with the weights.
    activation: makes the non-linearity of a hidden layer.

    `forward(c)` takes c of shape (..., inputs), or images (B, *shape), and returns `Independent(Normal(mu, sigma))`
    with batch shape (...) and event shape `event`. The network gives log sigma, kept within [-10, 10] so that no
    density overflows.

    Raises ValueError where a size or `scale` is not as said, or the condition does not fit.

    Source: Kingma & Welling 2014 (arXiv 1312.6114), appendix C.2.
    """

    def __init__(
        self,
        inputs: int,
        event: Shape,
        hidden: Sequence[int] = (200, 200),
        scale: float | str | None = None,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ):
        super().__init__(inputs, event, hidden, activation, heads=2 if scale is None else 1)
        self.scale = scale
        if scale is not None and scale != "shared" and not (isinstance(scale, int | float) and 0 < scale < math.inf):
            raise ValueError(f'scale is {scale!r}: expected None (per dimension), "shared" or a positive number')
        if scale == "shared":
            self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, condition: Tensor) -> Independent:
        loc, *rest = self.parameters_at(condition)
        if rest:
            scale = rest[0].clamp(-10, 10).exp()
        elif isinstance(self.scale, int | float):
            scale = torch.full_like(loc, self.scale)
        else:
            scale = self.log_scale.clamp(-10, 10).exp().expand_as(loc)
        return Independent(Normal(loc, scale, validate_args=False), len(self.event), validate_args=False)


class Bernoulli(_MLPConditional):
    """Bern(y; p(c)): independent binary pixels, given the condition c.

    Parameters
    ----------
    inputs, event, hidden, activation: as for `Gaussian`.
    mean: the mean of the training data, of shape `event`, if at hand. The network then starts from these pixel
        probabilities, kept within [0.001, 0.999], and need not spend its first epochs on learning the background.

    `forward(c)` returns `Independent(Bernoulli(logits))`, whose log_prob is in nats per example and needs y in {0, 1}.

    Raises ValueError as `Gaussian` does, and where `mean` has another shape or values outside [0, 1].

    Source: Kingma & Welling 2014 (arXiv 1312.6114), appendix C.1; mean: the code of Burda et al. 2016.
    """

    def __init__(
        self,
        inputs: int,
        event: Shape,
        hidden: Sequence[int] = (200, 200),
        mean: Tensor | None = None,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ):
        super().__init__(inputs, event, hidden, activation, heads=1)
        if mean is not None:
            if mean.shape != self.event or not (mean.min() >= 0 and mean.max() <= 1):
                raise ValueError(
                    f"mean has shape {tuple(mean.shape)}: expected pixel means in [0, 1] of shape {self.event}"
                )
            with torch.no_grad():
                self.get_parameter("heads.0.bias").copy_(torch.logit(mean.clamp(0.001, 0.999)).flatten())

    def forward(self, condition: Tensor) -> Independent:
        (logits,) = self.parameters_at(condition)
        bernoulli = BernoulliDistribution(logits=logits, validate_args=False)
        return Independent(bernoulli, len(self.event), validate_args=False)


class StandardNormal(nn.Module):
    """The prior N(0, I) over a latent of the given size. `forward()` returns the distribution."""

    zeros: Tensor

    def __init__(self, event: Shape):
        super().__init__()
        self.event = _event(event)
        # A buffer, so that the prior follows the model to its device and dtype.
        self.register_buffer("zeros", torch.zeros(self.event), persistent=False)

    def forward(self) -> Independent:
        normal = Normal(self.zeros, torch.ones_like(self.zeros), validate_args=False)
        return Independent(normal, len(self.event), validate_args=False)
