"""Priors p(z_T) of the top latent: modules whose `forward()` returns a distribution.

>>> MixturePrior(16, components=5)().log_prob(torch.zeros(3, 16)).shape
torch.Size([3])

A KL divergence to a mixture has no closed form: under the learned priors the top level's rate is sampled.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal

from .arguments import check_floating, integers
from .conditionals import Conditional, Shape, shape_of


class StandardNormal(nn.Module):
    """The prior N(0, I); `event` is the size of the latent, an integer or a shape."""

    zeros: Tensor

    def __init__(self, event: Shape):
        super().__init__()
        self.event = shape_of(event)
        # A buffer, so that the prior follows the model to its device and dtype.
        self.register_buffer("zeros", torch.zeros(self.event), persistent=False)

    def forward(self) -> Independent:
        normal = Normal(self.zeros, torch.ones_like(self.zeros), validate_args=False)
        return Independent(normal, len(self.event), validate_args=False)


class MixturePrior(nn.Module):
    """A learned mixture of diagonal Gaussians, p(z) = sum_c w_c N(z; mu_c, diag(sigma_c^2)).

    Weights, means and log sigmas are learned with the model. At the start all weights are equal, all sigmas are 1, and
    the means are drawn from N(0, I): components that are alike would stay so.

    Raises:
        ValueError: Where the event is no size or shape, or `components` no positive integer.
    """

    def __init__(self, event: Shape, components: int = 10):
        super().__init__()
        self.event = shape_of(event)
        (components,) = integers(components=components)
        self.logits = nn.Parameter(torch.zeros(components))  # w = softmax(logits)
        self.means = nn.Parameter(torch.randn(components, *self.event))
        self.log_scales = nn.Parameter(torch.zeros(components, *self.event))

    def forward(self) -> MixtureSameFamily:
        normals = Normal(self.means, self.log_scales.exp(), validate_args=False)
        return _mixture(self.logits, Independent(normals, len(self.event), validate_args=False))


class VampPrior(nn.Module):
    """The variational mixture of posteriors, p(z) = 1/C sum_c q(z | u_c), with learned pseudo-inputs u_1 ... u_C.

    The best prior for a given encoder is its aggregate posterior, the mean of q(z | x) over all examples x; this one is
    a mean over C learned inputs. It shares the encoder with the model: both uses of it train the same weights.

    Args:
        encoder: the model's top encoder, q(z | x) of a `VAE` or q(z_T | z_{T-1}) of an `MHVAE`.
        start: what the pseudo-inputs start from, (C, *shape), such as examples of the training data; small random
            numbers unless given.
    Raises:
        ValueError: Where the encoder is no `Conditional`, `components` no positive integer, or `start` does not fit.
    Source: Tomczak & Welling 2018 (arXiv 1705.07120), section 3.
    """

    def __init__(self, encoder: Conditional, components: int = 500, start: Tensor | None = None):
        super().__init__()
        if not isinstance(encoder, Conditional):
            got = type(encoder).__name__
            raise ValueError(f"encoder is {got}: expected a Conditional such as Gaussian, which says its inputs")
        (components,) = integers(components=components)
        if start is None:
            start = 0.1 * torch.randn(components, encoder.inputs)
        check_floating("start", start)
        if start.ndim < 2 or len(start) != components or start[0].numel() != encoder.inputs:
            raise ValueError(
                f"start has shape {tuple(start.shape)}: expected {components} examples, one per component, of "
                f"{encoder.inputs} numbers each"
            )
        if not torch.isfinite(start).all():
            raise ValueError("start has values that are NaN or infinite: expected finite numbers")
        weight = next(encoder.parameters(), start)
        self.event = encoder.event
        self.encoder = encoder
        self.pseudo_inputs = nn.Parameter(start.detach().flatten(1).to(weight.device, weight.dtype, copy=True))

    def forward(self) -> MixtureSameFamily:
        return _mixture(self.pseudo_inputs.new_zeros(len(self.pseudo_inputs)), self.encoder(self.pseudo_inputs))


def _mixture(logits: Tensor, components: Distribution) -> MixtureSameFamily:
    """sum_c softmax(logits)_c p_c, where `components` has batch shape (C,)."""
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), components, validate_args=False)


def at_temperature(prior: Distribution, temperature: float) -> Distribution:
    """The prior with its standard deviations, or those of a mixture's components, multiplied by the temperature."""
    if temperature == 1:
        return prior
    if isinstance(prior, Independent):
        base = at_temperature(prior.base_dist, temperature)
        return Independent(base, prior.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(prior, Normal):
        return Normal(prior.loc, temperature * prior.scale, validate_args=False)
    if isinstance(prior, MultivariateNormal):
        root: Tensor = prior.scale_tril  # ty: ignore[invalid-assignment] - torch's lazy property
        return MultivariateNormal(prior.loc, scale_tril=temperature * root, validate_args=False)
    if isinstance(prior, MixtureSameFamily):
        components = at_temperature(prior.component_distribution, temperature)
        return MixtureSameFamily(prior.mixture_distribution, components, validate_args=False)
    kind = type(prior).__name__
    raise ValueError(f"temperature is {temperature} and a prior {kind}: expected a Gaussian or a mixture of Gaussians")
