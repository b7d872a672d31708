"""Conditional distributions as modules: `forward` returns a `torch.distributions` object.

An encoder is q(z_t | z_{t-1}) with z_0 = x; a decoder is p(z_{t-1} | z_t). Both are the same kind of thing: a network
that turns the condition into the parameters of a distribution. Any `nn.Module` whose `forward` returns a distribution
with the right `event_shape` can take the place of those below, and any module that returns enough numbers the place of
their network.

    >>> encoder = Gaussian(784, 16, hidden=(200,), norm="layer")
    >>> encoder(torch.zeros(5, 1, 28, 28)).mean.shape
    torch.Size([5, 16])
    >>> decoder = Bernoulli(16, (1, 28, 28), net=nn.Linear(16, 784))
    >>> decoder(torch.zeros(3, 5, 16)).log_prob(torch.ones(5, 1, 28, 28)).shape
    torch.Size([3, 5])

Argument validation of the distributions is switched off here: it reads every value, which on a GPU makes the host wait.
The data are checked once, where they enter (see `Hierarchy.check`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Independent, Normal

from . import distributions
from .arguments import integers, is_number
from .nets import mlp

Shape = int | Sequence[int]

RANK = 8  # numbers per pixel from which `Categorical` makes 256 logits


def shape_of(event: Shape, name: str = "event") -> tuple[int, ...]:
    """An integer or a shape as a tuple. Raises ValueError for anything else."""
    sizes = event if isinstance(event, list | tuple) else (event,)
    try:
        shape = tuple(integers(**{name: size})[0] for size in sizes)
    except ValueError:
        shape = ()
    if not shape:
        raise ValueError(f"{name} is {event!r}: expected a positive integer or a shape such as (1, 28, 28)")
    return shape


class Conditional(nn.Module):
    """What the bundled conditionals share: a network that gives P parameters for each entry of the event.

    Parameters
    ----------
    inputs: number of entries of the condition, e.g. 784 for 28 x 28 images or the size of a latent, or its shape.
    event: size of the variable, an integer or a shape such as `(1, 28, 28)`.
    hidden: sizes of the hidden layers of a multilayer perceptron, which ends in one linear head per parameter.
    activation, norm, gated: its layers, see `vaelib.nets.mlp`.
    net: a module of your own in its place, (N, *inputs) -> (N, P * entries), all of the first parameter first.

    Raises ValueError where a size is not as said, or the condition or the net's output does not fit.
    """

    def __init__(
        self,
        inputs: Shape,
        event: Shape,
        hidden: Sequence[int] = (200, 200),
        *,
        heads: int,
        activation: Callable[[], nn.Module] = nn.Tanh,
        norm: str | None = None,
        gated: bool = False,
        net: nn.Module | None = None,
    ):
        super().__init__()
        self.condition = shape_of(inputs, "inputs")
        self.inputs = math.prod(self.condition)
        self.event = shape_of(event)
        self.net = net
        if net is not None and not isinstance(net, nn.Module):
            raise ValueError(f"net is {net!r}: expected a torch module, whose weights can be trained")
        if net is not None and (norm is not None or gated):
            raise ValueError("norm or gated is given with a net, which replaces those layers: expected neither")
        if net is None:
            self.body = mlp(self.inputs, hidden, activation, norm, gated)
            self.hidden = tuple(hidden)
            width = hidden[-1] if hidden else self.inputs
            self.heads = nn.ModuleList(nn.Linear(width, math.prod(self.event)) for _ in range(heads))
        else:
            self.parameters_per_entry = heads

    def parameters_at(self, condition: Tensor) -> Sequence[Tensor]:
        """The parameters, each (..., *event), for a condition (..., inputs) or an image batch (B, *shape)."""
        if not isinstance(condition, Tensor) or not condition.is_floating_point():
            got = condition.dtype if isinstance(condition, Tensor) else type(condition).__name__
            raise ValueError(f"the condition is {got}: expected a floating-point tensor")
        flat = condition if condition.shape[-1] == self.inputs else condition.flatten(1)  # (..., inputs)
        if flat.ndim < 2 or flat.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} takes {self.inputs} numbers per example, got a tensor of shape "
                f"{tuple(condition.shape)}: expected (batch, {self.inputs}) or images with {self.inputs} pixels"
            )
        lead = flat.shape[:-1]
        rows = flat.reshape(-1, self.inputs)  # (N, inputs): batch normalisation and convolutions know one batch axis
        if self.net is None:
            features = self.body(rows)
            return [head(features).to(flat.dtype).view(*lead, *self.event) for head in self.heads]
        output = self.net(rows.unflatten(-1, self.condition))
        want = self.parameters_per_entry * math.prod(self.event)
        if output.shape[:1] != rows.shape[:1] or output[0].numel() != want:
            raise ValueError(
                f"net gave shape {tuple(output.shape)} for {len(rows)} examples: {type(self).__name__} needs {want} "
                f"numbers per example, {self.parameters_per_entry} for each entry of the event {self.event}"
            )
        return output.to(flat.dtype).reshape(*lead, self.parameters_per_entry, *self.event).unbind(len(lead))

    def independent(self, base: Distribution) -> Independent:
        """The distribution of the event as a whole, whose log_prob is the sum over its entries."""
        return Independent(base, len(self.event), validate_args=False)


class _LocationScale(Conditional):
    def __init__(
        self,
        inputs: Shape,
        event: Shape,
        hidden: Sequence[int] = (200, 200),
        scale: float | str | None = None,
        **options: Any,
    ):
        super().__init__(inputs, event, hidden, heads=2 if scale is None else 1, **options)
        self.scale = scale
        if scale is not None and scale != "shared" and not is_number(scale, above=0):
            raise ValueError(f'scale is {scale!r}: expected None (per dimension), "shared" or a positive number')
        if scale == "shared":
            self.log_scale = nn.Parameter(torch.zeros(()))

    def location_and_scale(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        loc, *rest = self.parameters_at(condition)
        if rest:
            return loc, rest[0].clamp(-10, 10).exp()
        if isinstance(self.scale, int | float):
            return loc, torch.full_like(loc, self.scale)
        return loc, self.log_scale.clamp(-10, 10).exp().expand_as(loc)


class Gaussian(_LocationScale):
    """N(y; mu(c), diag sigma(c)^2): independent Gaussian dimensions, given the condition c.

    Parameters
    ----------
    inputs, event, hidden and the keywords activation, norm, gated, net: see `Conditional`.
    scale: where the standard deviation sigma comes from. `None`: the network gives one per dimension (P = 2, else 1);
        a positive number: fixed; `"shared"`: one number, learned with the weights.

    `forward(c)` takes c of shape (..., inputs), or images (B, *shape), and returns `Independent(Normal(mu, sigma))`
    with batch shape (...) and event shape `event`. The network gives log sigma, kept within [-10, 10] so that no
    density overflows. Data: any finite numbers.

    Raises ValueError as `Conditional` does, or where `scale` is not as said.

    Source: Kingma & Welling 2014 (arXiv 1312.6114), appendix C.2.
    """

    def forward(self, condition: Tensor) -> Independent:
        loc, scale = self.location_and_scale(condition)
        return self.independent(Normal(loc, scale, validate_args=False))


class DiscretisedLogistic(_LocationScale):
    """A logistic density, gathered into the 256 grey levels of an 8-bit image: neighbouring levels are alike.

    Parameters as for `Gaussian`; log_prob is the log of a probability, in nats per example.
    Data: grey levels k / 255 with k = 0 ... 255.

    Source: Salimans et al. 2017 (arXiv 1701.05517), eq. 2, one component.
    """

    def forward(self, condition: Tensor) -> Independent:
        loc, scale = self.location_and_scale(condition)
        return self.independent(distributions.LogisticGreyLevels(loc, scale))


class Bernoulli(Conditional):
    """Bern(y; p(c)): independent binary pixels, given the condition c.

    Parameters
    ----------
    inputs, event, hidden and the keywords activation, norm, gated, net: see `Conditional`.
    mean: the mean of the training data, of shape `event`, if at hand. The network then starts from these pixel
        probabilities, kept within [0.001, 0.999], and need not spend its first epochs on learning the background.
        Not with a `net`, whose last layer is its own.

    `forward(c)` returns `Independent(Bernoulli(logits))`, whose log_prob is in nats per example. Data: y in {0, 1}.

    Raises ValueError as `Conditional` does, and where `mean` has another shape or values outside [0, 1].

    Source: Kingma & Welling 2014 (arXiv 1312.6114), appendix C.1; mean: the code of Burda et al. 2016.
    """

    def __init__(
        self,
        inputs: Shape,
        event: Shape,
        hidden: Sequence[int] = (200, 200),
        mean: Tensor | None = None,
        **options: Any,
    ):
        super().__init__(inputs, event, hidden, heads=1, **options)
        if mean is not None:
            if self.net is not None:
                raise ValueError("mean is given with a net: set the bias of the net's last layer instead")
            if not isinstance(mean, Tensor):
                raise ValueError(f"mean is {mean!r}: expected a tensor of pixel means in [0, 1] of shape {self.event}")
            if mean.shape != self.event or not (mean.min() >= 0 and mean.max() <= 1):
                raise ValueError(
                    f"mean has shape {tuple(mean.shape)}: expected pixel means in [0, 1] of shape {self.event}"
                )
            with torch.no_grad():
                self.get_parameter("heads.0.bias").copy_(torch.logit(mean.clamp(0.001, 0.999)).flatten())

    def forward(self, condition: Tensor) -> Independent:
        (logits,) = self.parameters_at(condition)
        return self.independent(BernoulliDistribution(logits=logits, validate_args=False))


class ContinuousBernoulli(Conditional):
    """A density on [0, 1] per pixel: the Bernoulli's formula for grey levels, with the normaliser that it then needs.

    Parameters: see `Conditional`; the network gives one logit per pixel. Data: y in [0, 1]. A log_prob may be positive,
    as densities may exceed one.

    Source: Loaiza-Ganem & Cunningham 2019 (arXiv 1907.06845).
    """

    def __init__(self, inputs: Shape, event: Shape, hidden: Sequence[int] = (200, 200), **options: Any):
        super().__init__(inputs, event, hidden, heads=1, **options)

    def forward(self, condition: Tensor) -> Independent:
        (logits,) = self.parameters_at(condition)
        return self.independent(distributions.ContinuousBernoulliDensity(logits))


class Categorical(Conditional):
    """A probability for each of the 256 grey levels of an 8-bit image, for each pixel on its own.

    The network gives `rank` numbers per pixel; one linear layer, the same for all pixels, turns them into 256 logits.
    (A head of its own per pixel would take 256 x 784 outputs for MNIST.) Data: grey levels k / 255 with k = 0 ... 255.

    Parameters: see `Conditional`. Source: van den Oord et al. 2016 (arXiv 1601.06759), section 3.3, of which this is
    the likelihood alone, without the autoregression.
    """

    numbers_per_entry = distributions.LEVELS  # what `nll` reckons with to keep its memory bounded

    def __init__(
        self, inputs: Shape, event: Shape, hidden: Sequence[int] = (200, 200), rank: int = RANK, **options: Any
    ):
        integers(rank=rank)
        super().__init__(inputs, event, hidden, heads=rank, **options)
        self.levels = nn.Linear(rank, distributions.LEVELS)

    def forward(self, condition: Tensor) -> Independent:
        features = torch.stack(list(self.parameters_at(condition)), -1)  # (..., *event, rank)
        return self.independent(distributions.CategoricalGreyLevels(self.levels(features)))
