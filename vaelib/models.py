"""Variational autoencoders: the general hierarchy `HVAE`, the Markovian one, `MHVAE`, and its case T = 1, the `VAE`.

>>> _ = torch.manual_seed(0)
>>> chain = MHVAE.mlp((1, 28, 28), latents=(20, 10), hidden=((50,), (30,)))
>>> x = chain.sample(3)
>>> [tuple(z.shape) for z in chain.encode(x, samples=2)]
[(2, 3, 20), (2, 3, 10)]
>>> bool((HVAE.mlp((1, 28, 28), (20, 10), ((50,), (30,)))(x).rates >= 0).all())  # each in closed form
True
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from . import nets
from .arguments import integers
from .conditionals import LIKELIHOODS as LIKELIHOODS
from .conditionals import Conditional, Gaussian, Shape, Sizes, likelihood_named, shape_of
from .factories import factory
from .hierarchy import Hierarchy
from .priors import StandardNormal
from .trials import as_expected, returned, tried


class MHVAE(Hierarchy):
    """Markovian hierarchical VAE: latents z_1 ... z_T in a chain, z_1 next to the data.

    Generative model   p(x, z) = p(x | z_1) p(z_1 | z_2) ... p(z_{T-1} | z_T) p(z_T)
    Posterior          q(z | x) = q(z_1 | x) q(z_2 | z_1) ... q(z_T | z_{T-1})

    The `rates` are closed-form at the top level, given the sampled z_{T-1}, and log q - log p of the jointly sampled
    levels elsewhere: under the joint q, z_{t+1} depends on z_t, so KL(q(z_t | z_{t-1}) || p(z_t | z_{t+1})) is *not*
    the middle term (Luo 2022, eq. 45, errs here).

    Each module is tried once on made-up data: a shape that does not fit is an error here, not a wrong number later.

    Args:
        encoders: T modules q(z_1 | x), q(z_2 | z_1), ...: `forward(condition)` returns a distribution with `rsample`,
            whose batch shape is that of the condition but for its last axis, and whose event shape is (L_t,). A
            `Conditional` is given x flattened, another module as it is.
        decoders: T modules p(x | z_1), p(z_1 | z_2), ...: likewise; the first may be discrete.
        prior: a module whose `forward()` returns p(z_T), of batch shape (); a standard normal unless given.
    Raises:
        ValueError: Where there is not one of each per level, T >= 1, a module returns anything but a distribution of
            the right shapes, or sizes do not meet.
    Source: Luo 2022 (arXiv 2208.11970), eq. 24 and 29, written with z_t for his latents.
    """

    def __init__(self, encoders: Sequence[nn.Module], decoders: Sequence[nn.Module], prior: nn.Module | None = None):
        super().__init__()
        _check_modules(encoders=encoders, decoders=decoders)
        if len(encoders) != len(decoders):
            raise ValueError(f"{len(encoders)} encoders and {len(decoders)} decoders: expected one of each per level")
        if prior is None:
            size = getattr(encoders[-1], "event", None) or getattr(decoders[-1], "inputs", None)
            if size is None:
                raise ValueError(
                    "nothing says how large z_T is: expected an `event` of the top encoder, `inputs` of the top "
                    "decoder, or prior=StandardNormal(size of z_T)"
                )
            prior = StandardNormal(size)
        _check_modules(prior=[prior])
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.prior = prior
        x, latents, _ = self._learn_shapes()
        given = [_entering(encoders[0], x), *latents[:-1]]
        for level, (encoder, c, size) in enumerate(zip(encoders, given, self.latents, strict=True), start=1):
            q = tried(f"encoder {level}", encoder, c, batch=(2,) if level == 1 else (3, 2), event=(size,))
            if not q.has_rsample:
                raise ValueError(f"encoder {level} draws without rsample: expected a distribution with it (a Gaussian)")

    @classmethod
    @factory
    def mlp(
        cls,
        event: Shape,
        latents: Sizes = (100, 50),
        hidden: Sequence[Sizes] = ((200, 200), (100, 100)),
        likelihood: str = "bernoulli",
        mean: Tensor | None = None,
        **options: Any,
    ) -> "MHVAE":
        """A chain of multilayer perceptrons: level t has `latents[t - 1]` latents and `hidden[t - 1]` layers each way.

        The defaults are the two-layer network of Burda et al. 2016 (arXiv 1509.00519), section 5.

        Args:
            likelihood: "bernoulli", "continuous_bernoulli", "gaussian", "categorical" or "discretised_logistic".
            mean: of the training data, for a Bernoulli likelihood to start from: short trainings gain much by it.
            options: activation, norm and gated of every network, see `vaelib.nets.mlp`.
        Raises:
            ValueError: For an unknown likelihood, a mean for a likelihood that takes none, another option, or sizes
                that do not meet.
        """
        make = likelihood_named(likelihood, mean)
        _check_stack(latents, hidden, options)
        encoders, decoders = [], []
        sizes = [math.prod(shape_of(event)), *latents]
        for level, ((below, above), h) in enumerate(zip(pairwise(sizes), hidden, strict=True)):
            encoders.append(Gaussian(below, above, h, **options))
            kind, shape = (Gaussian, below) if level else (make, event)
            decoders.append(kind(above, shape, encoders[-1].hidden[::-1], **options))
        return cls(encoders, decoders)

    def condition(self, above: Sequence[Tensor]) -> Tensor:
        return above[0]

    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        given = [_entering(self.encoders[0], x), *latents[:-1]]
        return [encoder(below) for encoder, below in zip(self.encoders, given, strict=True)]

    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        posteriors: list[Distribution] = [self.encoders[0](_entering(self.encoders[0], x))]
        latents = [posteriors[0].rsample((samples,))]  # z_1: (K, B, L_1)
        for encoder in self.encoders[1:]:
            posteriors.append(encoder(latents[-1]))
            latents.append(posteriors[-1].rsample())  # z_t: (K, B, L_t)
        return latents, posteriors, self.priors(latents)

    def closed_form(self, level: int) -> bool:
        return level == self.levels

    def posterior(self, x: Tensor) -> Distribution:
        """q(z_1 | x): a distribution with batch shape (B,)."""
        self.check(x)
        return self.encoders[0](_entering(self.encoders[0], x))


class VAE(MHVAE):
    """The variational autoencoder, of q(z | x), p(x | z) and p(z): the case T = 1 of `MHVAE`.

    Source: Kingma & Welling 2014 (arXiv 1312.6114).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: nn.Module | None = None):
        super().__init__([encoder], [decoder], prior)

    @classmethod
    @factory
    def mlp(
        cls,
        event: Shape,
        latent: int = 50,
        hidden: Sizes = (200, 200),
        likelihood: str = "bernoulli",
        mean: Tensor | None = None,
        **options: Any,
    ) -> "VAE":
        """Two multilayer perceptrons, x to z with layers of `hidden` sizes and its mirror image.

        Defaults as in Burda et al. 2016, section 5; further arguments and errors as for `MHVAE.mlp`.
        """
        chain = MHVAE.mlp(event, (latent,), (hidden,), likelihood, mean, **options)
        return cls(chain.encoders[0], chain.decoders[0])

    @classmethod
    @factory
    def conv(cls, event: Sizes, latent: int = 50, channels: Sizes = (32, 64), likelihood: str = "bernoulli") -> "VAE":
        """Two convolutional networks for images (C, H, W), see `vaelib.nets.ConvEncoder`; else as for `MHVAE.mlp`.

        Raises:
            ValueError: For an unknown likelihood, or an event or channels that convolutions cannot take.
        """
        make = likelihood_named(likelihood)
        encoder = Gaussian(event, latent, net=nets.ConvEncoder(event, 2 * latent, channels))
        outputs = (make.parameters_per_entry * event[0], *event[1:])
        return cls(encoder, make(latent, event, net=nets.ConvDecoder(latent, outputs, channels[::-1])))


class HVAE(Hierarchy):
    """General hierarchical VAE: each level sees all levels above it, and the posterior goes top-down, too.

    Generative model   p(x, z) = p(x | z_1 ... z_T) prod_t p(z_t | z_{t+1} ... z_T)
    Posterior          q(z | x) = q(z_T | x) prod_{t<T} q(z_t | z_{t+1} ... z_T, x)

    A bottom-up network looks at x and gives N(m_t, s_t^2) for each level. At the top this is q(z_T | x). Below, it is
    merged with the prior N(mu, sigma^2) = p(z_t | z_{t+1} ... z_T), each weighted with its precision::

        q(z_t | z_{t+1} ... z_T, x) = N( (m_t / s_t^2 + mu / sigma^2) v, v ),   1 / v = 1 / s_t^2 + 1 / sigma^2

    Given the levels above, both q and p of a level are known, so each rate is a KL divergence in closed form.

    With `markov` each decoder sees the one level above it and no other: the generative model of an `MHVAE` under this
    posterior, which is the ladder VAE of the source. Of two levels, it is p(x | ...) that then sees z_1 only.

    Args:
        encoder: a module; `forward(x)` returns the T Gaussians [N(m_1, s_1^2), ...], each with batch shape (B,) and one
            event axis. A `Ladder` is given x flattened, another module as it is.
        decoders: T modules p(x | z_1 ... z_T), p(z_1 | z_2 ... z_T), ..., p(z_{T-1} | z_T), Gaussian but for the first;
            their condition is the concatenation [z_t, ..., z_T] of the latents, (..., L_t + ... + L_T).
        prior: a module whose `forward()` returns p(z_T), of batch shape ().
        markov: decoders p(x | z_1), p(z_1 | z_2), ... in place of those, with conditions z_t, (..., L_t).
    Raises:
        ValueError: Where there is no level, a module returns anything but what is said above, or sizes do not meet.
    Source: Sønderby et al. 2016 (arXiv 1602.02282), section 2.2, with the dependence on all levels above
        of Luo 2022 (arXiv 2208.11970), where hierarchical VAEs are introduced.
    """

    def __init__(self, encoder: nn.Module, decoders: Sequence[nn.Module], prior: nn.Module, markov: bool = False):
        super().__init__()
        _check_modules(encoder=[encoder], decoders=decoders, prior=[prior])
        self.markov = markov
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders)
        self.prior = prior
        x, _, priors = self._learn_shapes()
        evidence = returned("the encoder", encoder, _entering(encoder, x))
        if not isinstance(evidence, list | tuple) or len(evidence) != self.levels:
            got = f"a list of {len(evidence)}" if isinstance(evidence, list | tuple) else type(evidence).__name__
            raise ValueError(f"the encoder returned {got} for {self.levels} decoders: expected a list of Gaussians")
        for level, (q, p, size) in enumerate(zip(evidence, priors, self.latents, strict=True), start=1):
            as_expected(f"the encoder for z_{level}", q, (2,), (size,))
            gaussian = all(isinstance(d, Independent) and isinstance(d.base_dist, Normal) for d in (q, p))
            if level < self.levels and not gaussian:
                raise ValueError(
                    f"z_{level} of the encoder is {q}, of decoder {level + 1} {p}: expected Gaussians, "
                    "Independent(Normal(...), 1), which can be merged"
                )

    @classmethod
    @factory
    def mlp(
        cls,
        event: Shape,
        latents: Sizes = (100, 50),
        hidden: Sequence[Sizes] = ((200, 200), (100, 100)),
        likelihood: str = "bernoulli",
        mean: Tensor | None = None,
        markov: bool = False,
        **options: Any,
    ) -> "HVAE":
        """A hierarchy of multilayer perceptrons; `markov` as above, other arguments and errors as for `MHVAE.mlp`."""
        make = likelihood_named(likelihood, mean)
        _check_stack(latents, hidden, options)
        decoders: list[nn.Module] = []
        for level, (below, h) in enumerate(zip([event, *latents[:-1]], hidden, strict=True)):
            above = latents[level] if markov else sum(latents[level:])
            decoders.append((Gaussian if level else make)(above, below, tuple(h)[::-1], **options))
        ladder = Ladder(math.prod(shape_of(event)), latents, hidden, **options)
        return cls(ladder, decoders, StandardNormal(latents[-1]), markov)

    def condition(self, above: Sequence[Tensor]) -> Tensor:
        return above[0] if self.markov else torch.cat(list(above), -1)

    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        *evidence, top = self.encoder(_entering(self.encoder, x))
        return [*(merge(e, p) for e, p in zip(evidence, self.priors(latents)[:-1], strict=True)), top]

    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        *evidence, top = self.encoder(_entering(self.encoder, x))
        latents, posteriors, priors = [top.rsample((samples,))], [top], [self.prior()]  # z_T: (K, B, L_T)
        for level in range(self.levels - 1, 0, -1):
            priors.insert(0, self._prior_below(latents, level))
            posteriors.insert(0, merge(evidence[level - 1], priors[0]))
            latents.insert(0, posteriors[0].rsample())  # z_t: (K, B, L_t)
        return latents, posteriors, priors

    def closed_form(self, level: int) -> bool:
        return True


class Ladder(nn.Module):
    """The bottom-up network of an `HVAE`: d_t = net_t(d_{t-1}) with d_0 = x, and N(m_t, s_t^2) read off each d_t.

    Args:
        inputs: the number of entries of x.
        latents, hidden: (L_1, ..., L_T), and the layer sizes of each net_t.
        options: see `vaelib.nets.mlp`.
    Raises:
        ValueError: Where a size is no positive integer, or a level has no layers.
    """

    def __init__(self, inputs: int, latents: Sizes, hidden: Sequence[Sizes], **options: Any):
        super().__init__()
        _check_stack(latents, hidden, options)
        if any(not isinstance(sizes, list | tuple) or not sizes for sizes in hidden):
            raise ValueError(f"hidden is {hidden!r}: expected one or more layer sizes for each level")
        self.inputs = inputs
        widths = [inputs, *(h[-1] for h in hidden)]
        self.bodies = nn.ModuleList(nets.mlp(w, h, **options) for w, h in zip(widths, hidden, strict=False))
        self.heads = nn.ModuleList(Gaussian(w, size, ()) for w, size in zip(widths[1:], latents, strict=True))

    def forward(self, x: Tensor) -> list[Distribution]:
        """The Gaussians of z_1 ... z_T, each with batch shape (B,), for x (B, inputs)."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected (batch, {self.inputs}); flatten images before")
        features, evidence = x, []
        for body, head in zip(self.bodies, self.heads, strict=True):
            features = body(features)  # (B, hidden[t][-1])
            evidence.append(head(features.to(x.dtype)))  # a density, also where autocast blurs the networks
        return evidence


def merge(a: Distribution, b: Distribution) -> Independent:
    """The Gaussian proportional to the product of two over one event axis, entry by entry: precisions add.

    Source: Sønderby et al. 2016 (arXiv 1602.02282), section 2.2.
    """
    precision_a, precision_b = a.stddev**-2, b.stddev**-2
    variance = 1 / (precision_a + precision_b)
    mean = (a.mean * precision_a + b.mean * precision_b) * variance
    return Independent(Normal(mean, variance.sqrt(), validate_args=False), 1, validate_args=False)


def _entering(encoder: nn.Module, x: Tensor) -> Tensor:
    return x.flatten(1) if isinstance(encoder, Conditional | Ladder) else x


def _check_stack(latents: Sizes, hidden: Sequence[Sizes], options: dict[str, Any]) -> None:
    for name in options.keys() - {"activation", "norm", "gated"}:
        raise ValueError(
            f"{name} is no option of every network: expected activation, norm or gated; what one conditional alone is "
            "to have it is given where it is made, as in vl.VAE(vl.Gaussian(784, 50), vl.Gaussian(50, 784, scale=0.1))"
        )
    lists = all(isinstance(sizes, list | tuple) for sizes in (latents, hidden))
    if not lists or not latents or len(latents) != len(hidden):
        raise ValueError(
            f"latents={latents!r} and hidden={hidden!r}: expected one latent size and one tuple of layer sizes "
            "per level, T >= 1, such as latents=(100, 50), hidden=((200, 200), (100, 100))"
        )
    integers(**{f"latents[{level}]": size for level, size in enumerate(latents)})


def _check_modules(**parts: Sequence[nn.Module]) -> None:
    for name, modules in parts.items():
        if not isinstance(modules, list | tuple | nn.ModuleList) or not modules:
            raise ValueError(f"{name} are {modules!r}: expected a list with one module per level, T >= 1")
        for module in modules:
            if not isinstance(module, nn.Module):
                raise ValueError(f"{module!r} is no torch module: expected one whose forward returns a distribution")
