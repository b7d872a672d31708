"""Conditional distributions as modules: `forward` takes a condition (..., inputs) and returns a distribution of torch.

An encoder is q(z_t | z_{t-1}) with z_0 = x; a decoder is p(z_{t-1} | z_t). Any `nn.Module` whose `forward` returns a
distribution with the right shapes can take the place of those below, and any module that returns enough numbers the
place of their network.

>>> decoder = Bernoulli(16, (1, 28, 28), net=nn.Linear(16, 784))
>>> decoder(torch.zeros(3, 5, 16)).log_prob(torch.ones(5, 1, 28, 28)).shape
torch.Size([3, 5])

The distributions do not validate their arguments, which on a GPU makes the host wait: the data are checked once, where
they enter (see `Hierarchy.check`).
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Independent, Normal, constraints

from . import distributions
from .arguments import check_floating, integers, is_number, plain
from .nets import mlp

Sizes = Sequence[int]
Shape = int | Sizes

RANK = 8  # numbers per pixel from which `Categorical` makes 256 logits


def shape_of(event: Shape, name: str = "event") -> tuple[int, ...]:
    """An integer or a shape as a tuple. Raises ValueError for anything else."""
    sizes: Sequence[Any] = event if isinstance(event, list | tuple) else (event,)
    try:
        shape = tuple(integers(1, **{name: size})[0] for size in sizes)
    except ValueError:
        shape = ()
    if not shape:
        raise ValueError(f"{name} is {event!r}: expected a positive integer or a shape such as (1, 28, 28)")
    return shape


class Conditional(nn.Module, ABC):
    """A distribution of a variable, given a condition: the interface of encoders and decoders.

    For one of your own hand the two sizes to `__init__` and define `forward`.

    Args:
        inputs: the number of entries of the condition, or the shape that a net is to see them in.
        event: the size of the variable, an integer or a shape such as `(1, 28, 28)`.
    Attributes:
        inputs, condition: the number of entries of the condition, and their shape.
        event: the shape of the variable.
        support: what data it can score as a likelihood. `None`: whatever the distribution says that it supports.
        numbers_per_entry: how many numbers per entry of the event it works with, for `nll` to bound its memory.
    Raises:
        ValueError: Where a size is no positive integer and no shape.
    """

    inputs: int
    event: tuple[int, ...]
    support: constraints.Constraint | None = None
    numbers_per_entry = 1

    def __init__(self, inputs: Shape, event: Shape):
        super().__init__()
        self.condition = shape_of(inputs, "inputs")
        self.inputs = math.prod(self.condition)
        self.event = shape_of(event)

    @abstractmethod
    def forward(self, condition: Tensor) -> Distribution:
        """The distribution given a condition (..., inputs): batch shape (...), event shape `event`."""

    def extra_repr(self) -> str:
        """Whatever decides what is computed, beside the modules within: a saved model is compared by it."""
        return f"inputs={self.condition}, event={self.event}"


class NetworkConditional(Conditional):
    """What the bundled conditionals share: a network that gives P parameters for each entry of the event.

    Args:
        inputs, event: see `Conditional`.
        hidden, activation, norm, gated: see `vaelib.nets.mlp`, which one linear head per parameter follows.
        heads: P, for the class to say.
        net: a module of your own in its place, which is given (N, *inputs). It returns (N, P * entries), all of the
            first parameter first, or in the event's shape (N, P, *event); for images also with P * C channels. Or it
            returns a tuple of P tensors (N, entries) or (N, *event), such as (mu, log sigma).
    Raises:
        ValueError: Where a size is not as said, or the condition or the net's output does not fit.
    """

    parameters_per_entry = 1  # P, unless an option says otherwise

    def __init__(
        self,
        inputs: Shape,
        event: Shape,
        hidden: Sizes = (200, 200),
        *,
        heads: int = 1,
        activation: Callable[[], nn.Module] = nn.Tanh,
        norm: str | None = None,
        gated: bool = False,
        net: nn.Module | None = None,
    ):
        super().__init__(inputs, event)
        self.parameters_per_entry = heads
        self.net = net
        if net is None:
            self.body = mlp(self.inputs, hidden, activation, norm, gated)
            self.hidden = tuple(hidden)
            width = hidden[-1] if hidden else self.inputs
            self.heads = nn.ModuleList(nn.Linear(width, math.prod(self.event)) for _ in range(heads))
        elif not isinstance(net, nn.Module):
            raise ValueError(f"net is {net!r}: expected a torch module, whose weights can be trained")
        elif norm is not None or gated:
            raise ValueError("norm or gated is given with a net, which replaces those layers: expected neither")

    def parameters_at(self, condition: Tensor) -> Sequence[Tensor]:
        """The P parameters, each (..., *event), for a condition (..., inputs) with one leading axis or more."""
        check_floating("the condition", condition)
        if condition.ndim < 2 or condition.shape[-1] != self.inputs:
            raise ValueError(
                f"{type(self).__name__} takes {self.inputs} numbers per example, got shape {tuple(condition.shape)}: "
                f"expected (batch, {self.inputs}), with any axes in front; give images as x.flatten(1)"
            )
        lead = condition.shape[:-1]
        rows = condition.reshape(-1, self.inputs)  # (N, inputs): networks know one batch axis
        if self.net is None:
            features = self.body(rows)
            return [head(features).to(rows.dtype).view(*lead, *self.event) for head in self.heads]
        output = self.net(rows.unflatten(-1, self.condition))
        several = isinstance(output, tuple | list)
        parts, want, entries = output if several else [output], self.parameters_per_entry, math.prod(self.event)
        # Any other shape of as many numbers may have its axes in another order: (N, entries, P), (N, H, W, C).
        shapes = [(entries,), self.event]
        if not several:
            first, *rest = self.event
            shapes = [(want * entries,), (want, entries), (want, *self.event), (want * first, *rest)]
        fits = [
            isinstance(part, Tensor) and part.shape[:1] == rows.shape[:1] and part.shape[1:] in shapes for part in parts
        ]
        if not all(fits) or (several and len(fits) != want):
            flat, shaped = (len(rows), want * entries), (len(rows), want, *self.event)
            raise ValueError(
                f"net gave {_described(output)} for {len(rows)} examples: {type(self).__name__} needs {want * entries} "
                f"numbers per example, {want} for each entry of {self.event}: expected one tensor, {flat} or {shaped}, "
                f"or a tuple of {want}"
            )
        if several:
            return [part.to(rows.dtype).reshape(*lead, *self.event) for part in output]
        return output.to(rows.dtype).reshape(*lead, want, *self.event).unbind(len(lead))

    def independent(self, base: Distribution) -> Independent:
        """The distribution of the event as a whole, whose log_prob is the sum over its entries."""
        return Independent(base, len(self.event), validate_args=False)


def _described(output: Any) -> str:
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {', '.join(map(_described, output)) or 'nothing'}"
    return f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__


class _LocationScale(NetworkConditional):
    parameters_per_entry = 2

    def __init__(
        self, inputs: Shape, event: Shape, hidden: Sizes = (200, 200), scale: float | str | None = None, **options: Any
    ):
        super().__init__(inputs, event, hidden, heads=2 if scale is None else 1, **options)
        self.scale = plain(scale)
        if self.scale == "shared":
            self.log_scale = nn.Parameter(torch.zeros(()))
        elif scale is not None and not is_number(scale, above=0):
            raise ValueError(f'scale is {scale!r}: expected None (per dimension), "shared" or a positive number')

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale!r}"

    def location_and_scale(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        loc, *rest = self.parameters_at(condition)
        if rest:
            return loc, rest[0].clamp(-10, 10).exp()
        if self.scale == "shared":
            return loc, self.log_scale.clamp(-10, 10).exp().expand_as(loc)
        return loc, torch.full_like(loc, self.scale)


class Gaussian(_LocationScale):
    """N(y; mu(c), diag sigma(c)^2): independent Gaussian dimensions, given the condition c.

    `forward(c)` takes c of shape (..., inputs) and returns `Independent(Normal(mu, sigma))` with batch shape (...) and
    event shape `event`. The network gives log sigma (not log sigma^2), kept within [-10, 10] so that no density
    overflows. Data: any finite numbers. Further arguments and errors: see `NetworkConditional`.

    Args:
        scale: sigma. `None`: the network gives one per dimension (P = 2, else 1); a positive number: fixed; `"shared"`:
            one number, learned with the weights.
    Source: Kingma & Welling 2014 (arXiv 1312.6114), appendix C.2.
    """

    support = constraints.real

    def forward(self, condition: Tensor) -> Independent:
        return self.independent(Normal(*self.location_and_scale(condition), validate_args=False))


class DiscretisedLogistic(_LocationScale):
    """A logistic density, gathered into the 256 grey levels of an 8-bit image: neighbouring levels are alike.

    The log_prob is the log of a probability, in nats per example. Data: grey levels k / 255 with k = 0 ... 255.
    Arguments and errors as for `Gaussian`.

    Source: Salimans et al. 2017 (arXiv 1701.05517), section 2.1, one component.
    """

    support = distributions.on_grid

    def forward(self, condition: Tensor) -> Independent:
        return self.independent(distributions.LogisticGreyLevels(*self.location_and_scale(condition)))


class Bernoulli(NetworkConditional):
    """Bern(y; p(c)): independent binary pixels, given the condition c.

    `forward(c)` returns `Independent(Bernoulli(logits))`, whose log_prob is in nats per example. Data: y in {0, 1}.
    Further arguments and errors: see `NetworkConditional`.

    Args:
        mean: the mean of the training data, of shape `event`, with values in [0, 1]. The network then starts from these
            pixel probabilities, kept within [0.001, 0.999], and need not spend its first epochs on learning the
            background. Not with a `net`, whose last layer is its own.
    Source: Kingma & Welling 2014 (arXiv 1312.6114), appendix C.1; mean: the code of Burda et al. 2016.
    """

    support = constraints.boolean

    def __init__(
        self, inputs: Shape, event: Shape, hidden: Sizes = (200, 200), mean: Tensor | None = None, **options: Any
    ):
        super().__init__(inputs, event, hidden, **options)
        if mean is None:
            return
        if self.net is not None:
            raise ValueError("mean is given with a net: set the bias of the net's last layer instead")
        if not isinstance(mean, Tensor) or mean.shape != self.event or not (mean.min() >= 0 and mean.max() <= 1):
            got = f"has shape {tuple(mean.shape)}" if isinstance(mean, Tensor) else f"is {mean!r}"
            raise ValueError(f"mean {got}: expected pixel means in [0, 1] of shape {self.event}")
        with torch.no_grad():
            self.get_parameter("heads.0.bias").copy_(torch.logit(mean.clamp(0.001, 0.999)).flatten())

    def forward(self, condition: Tensor) -> Independent:
        (logits,) = self.parameters_at(condition)
        return self.independent(BernoulliDistribution(logits=logits, validate_args=False))


class ContinuousBernoulli(NetworkConditional):
    """A density on [0, 1] per pixel: the Bernoulli's formula for grey levels, with the normaliser that it then needs.

    The network gives one logit per pixel. Data: y in [0, 1]. A log_prob may be positive, as densities may exceed one.
    Arguments and errors as for `NetworkConditional`.

    Source: Loaiza-Ganem & Cunningham 2019 (arXiv 1907.06845).
    """

    support = constraints.unit_interval

    def forward(self, condition: Tensor) -> Independent:
        (logits,) = self.parameters_at(condition)
        return self.independent(distributions.ContinuousBernoulliDensity(logits))


class Categorical(NetworkConditional):
    """A probability for each of the 256 grey levels of an 8-bit image, for each pixel on its own.

    The network gives `rank` numbers per pixel; one linear layer, the same for all pixels, turns them into 256 logits.
    (A head of its own per pixel would take 256 x 784 outputs for MNIST.) Data: grey levels k / 255 with k = 0 ... 255.
    Further arguments and errors: see `NetworkConditional`.

    Source: van den Oord et al. 2016 (arXiv 1601.06759), section 2.2, the likelihood alone, without the autoregression.
    """

    support = distributions.on_grid
    numbers_per_entry = distributions.LEVELS
    parameters_per_entry = RANK

    def __init__(self, inputs: Shape, event: Shape, hidden: Sizes = (200, 200), rank: int = RANK, **options: Any):
        integers(rank=rank)
        super().__init__(inputs, event, hidden, heads=rank, **options)
        self.logits = nn.Linear(rank, distributions.LEVELS)

    def forward(self, condition: Tensor) -> Independent:
        features = torch.stack(list(self.parameters_at(condition)), -1)  # (..., *event, rank)
        return self.independent(distributions.CategoricalGreyLevels(self.logits(features).to(features.dtype)))


LIKELIHOODS: dict[str, type[NetworkConditional]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretised_logistic": DiscretisedLogistic,
    "gaussian": Gaussian,
}


def likelihood_named(name: str, mean: Tensor | None = None) -> Any:
    """The class of this likelihood; with a mean, what makes a `Bernoulli` that starts from it."""
    if name not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {name!r}: choose one of {', '.join(sorted(LIKELIHOODS))}")
    if mean is None:
        return LIKELIHOODS[name]
    if name != "bernoulli":
        raise ValueError(f"mean is given with a {name} likelihood: expected a Bernoulli, whose logits it sets")
    return functools.partial(Bernoulli, mean=mean)
