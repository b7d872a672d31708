"""Variational autoencoders: the general hierarchy `HVAE`, the Markovian one, `MHVAE`, and its case T = 1, the `VAE`.

>>> _ = torch.manual_seed(0)
>>> chain = MHVAE.mlp((1, 28, 28), latents=(20, 10), hidden=((50,), (30,)))
>>> x = chain.sample(3)
>>> [tuple(z.shape) for z in chain.encode(x, samples=2)]
[(2, 3, 20), (2, 3, 10)]
>>> bool((HVAE.mlp((1, 28, 28), (20, 10), ((50,), (30,)))(x).rates >= 0).all())  # each in closed form
True
>>> VAE.conv((1, 28, 28), latent=8, likelihood="gaussian").reconstruct(x).shape
torch.Size([3, 1, 28, 28])
"""

import functools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from . import conditionals, nets
from .arguments import integers
from .conditionals import Conditional, Gaussian, Shape, shape_of
from .hierarchy import Hierarchy
from .priors import StandardNormal
from .remembered import Described

LIKELIHOODS = {
    "bernoulli": conditionals.Bernoulli,
    "categorical": conditionals.Categorical,
    "continuous_bernoulli": conditionals.ContinuousBernoulli,
    "discretised_logistic": conditionals.DiscretisedLogistic,
    "gaussian": conditionals.Gaussian,
}


class MHVAE(Hierarchy):
    """Markovian hierarchical VAE: latents z_1 ... z_T in a chain, z_1 next to the data.

    Generative model   p(x, z) = p(x | z_1) p(z_1 | z_2) ... p(z_{T-1} | z_T) p(z_T)
    Posterior          q(z | x) = q(z_1 | x) q(z_2 | z_1) ... q(z_T | z_{T-1})

    Parameters
    ----------
    encoders: T modules q(z_1 | x), q(z_2 | z_1), ...: `forward(condition)` returns a distribution with `rsample`.
    decoders: T modules p(x | z_1), p(z_1 | z_2), ...: likewise; the first may be discrete.
    prior: a module whose `forward()` returns p(z_T); a standard normal unless given.

    `forward` gives a `kl` that is closed-form at the top level, given the sampled z_{T-1}, and log q - log p of the
    jointly sampled levels elsewhere: under the joint q, z_{t+1} depends on z_t, so KL(q(z_t | z_{t-1}) ||
    p(z_t | z_{t+1})) is *not* the middle term (Luo 2022, eq. 45, errs here).

    Raises ValueError where there is no level, the numbers of encoders and decoders differ, or sizes do not meet.

    Source: Luo 2022 (arXiv 2208.11970), eq. 23-29, written with z_t for his latents.
    """

    def __init__(self, encoders: Sequence[nn.Module], decoders: Sequence[nn.Module], prior: nn.Module | None = None):
        super().__init__()
        for name, modules in (("encoders", encoders), ("decoders", decoders)):
            if not isinstance(modules, list | tuple | nn.ModuleList):
                raise ValueError(f"{name} is a {type(modules).__name__}: expected a list with one module per level")
        if not encoders or len(encoders) != len(decoders):
            raise ValueError(
                f"{len(encoders)} encoders and {len(decoders)} decoders: expected one of each per level, T >= 1"
            )
        _check_modules([*encoders, *decoders, *([] if prior is None else [prior])])
        _check_sizes(encoders, decoders)
        if prior is None:
            event = getattr(encoders[-1], "event", None)
            if event is None:
                raise ValueError("the top encoder has no `event` shape: pass prior=StandardNormal(size of z_T)")
            prior = StandardNormal(event)
        _check_prior(prior, getattr(encoders[-1], "event", None))
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(decoders)
        self.prior = prior

    @classmethod
    def mlp(
        cls,
        event: Shape,
        latents: Sequence[int] = (100, 50),
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        likelihood: str = "bernoulli",
        mean: Tensor | None = None,
        **options: Any,
    ) -> "MHVAE":
        """A chain of multilayer perceptrons: level t has `latents[t - 1]` latents and `hidden[t - 1]` layers each way.

        The defaults are the two-layer network of Burda et al. 2016 (arXiv 1509.00519), section 5.
        likelihood: "bernoulli", "continuous_bernoulli", "gaussian", "categorical" or "discretised_logistic".
        mean: the mean of the training data, for a Bernoulli likelihood to start from: short trainings gain much by it.
        options: activation, norm and gated of every network, see `vaelib.nets.mlp`.

        Raises ValueError for an unknown likelihood, a mean for another than Bernoulli, or where `latents` and `hidden`
        differ in length.
        """
        make = _likelihood(likelihood, mean)
        _check_stack(latents, hidden)
        encoders, decoders = [], []
        for level, ((below, above), h) in enumerate(zip(pairwise([_size(event), *latents]), hidden, strict=True)):
            encoders.append(Gaussian(below, above, h, **options))
            kind, shape = (Gaussian, below) if level else (make, event)
            decoders.append(kind(above, shape, encoders[-1].hidden[::-1], **options))
        return cls(encoders, decoders)

    def likelihood(self, latents: Sequence[Tensor]) -> Distribution:
        return self.decoders[0](latents[0])

    def priors(self, latents: Sequence[Tensor]) -> list[Distribution]:
        return [*(decoder(z) for decoder, z in zip(self.decoders[1:], latents[1:], strict=True)), self.prior()]

    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        return [encoder(below) for encoder, below in zip(self.encoders, [x, *latents[:-1]], strict=True)]

    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        posteriors: list[Distribution] = [self.encoders[0](x)]
        latents = [posteriors[0].rsample((samples,))]  # z_1: (K, B, L_1)
        for encoder in self.encoders[1:]:
            posteriors.append(encoder(latents[-1]))
            latents.append(posteriors[-1].rsample())  # z_t: (K, B, L_t)
        return latents, posteriors, self.priors(latents)

    def closed_form(self, level: int) -> bool:
        return level == self.levels - 1

    def posterior(self, x: Tensor) -> Distribution:
        """q(z_1 | x): a distribution with batch shape (B,)."""
        self.check(x)
        return self.encoders[0](x)

    def _zeros(self, x: Tensor) -> list[Tensor]:
        posterior = self.encoders[0](x)
        return [x.new_zeros(posterior.batch_shape + posterior.event_shape)]

    def _prior_below(self, above: Sequence[Tensor], level: int) -> Distribution:
        return self.decoders[level](above[0])


class VAE(MHVAE):
    """The variational autoencoder: one level of latents, the case T = 1 of `MHVAE`.

    encoder: module for q(z | x). decoder: module for p(x | z). prior: module for p(z), N(0, I) unless given.

    Source: Kingma & Welling 2014 (arXiv 1312.6114).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: nn.Module | None = None):
        super().__init__([encoder], [decoder], prior)

    @classmethod
    def mlp(  # ty: ignore[incompatible-method-override] - one level has one latent size, not a sequence
        cls,
        event: Shape,
        latent: int = 50,
        hidden: Sequence[int] = (200, 200),
        likelihood: str = "bernoulli",
        mean: Tensor | None = None,
        **options: Any,
    ) -> "VAE":
        """Two multilayer perceptrons, x to z and its mirror image; defaults as in Burda et al. 2016, section 5."""
        chain = MHVAE.mlp(event, (latent,), (hidden,), likelihood, mean, **options)
        return cls(chain.encoders[0], chain.decoders[0])

    @classmethod
    def conv(
        cls,
        event: Sequence[int],
        latent: int = 50,
        channels: Sequence[int] = (32, 64),
        likelihood: str = "bernoulli",
    ) -> "VAE":
        """Two convolutional networks for images (C, H, W), see `vaelib.nets.ConvEncoder`; all likelihoods of `mlp`."""
        encoder = Gaussian(event, latent, net=nets.ConvEncoder(event, 2 * latent, channels))
        make = _likelihood(likelihood)
        per_pixel = {Gaussian: 2, conditionals.DiscretisedLogistic: 2, conditionals.Categorical: conditionals.RANK}.get(
            make, 1
        )
        outputs = (per_pixel * event[0], *event[1:])
        return cls(encoder, make(latent, event, net=nets.ConvDecoder(latent, outputs, channels[::-1])))


class HVAE(Hierarchy):
    """General hierarchical VAE: each level sees all levels above it, and the posterior goes top-down, too.

    Generative model   p(x, z) = p(x | z_1 ... z_T) prod_t p(z_t | z_{t+1} ... z_T)
    Posterior          q(z | x) = q(z_T | x) prod_{t<T} q(z_t | z_{t+1} ... z_T, x)

    A bottom-up network looks at x and gives N(m_t, s_t^2) for each level. At the top this is q(z_T | x). Below, it is
    merged with the prior N(mu, sigma^2) = p(z_t | z_{t+1} ... z_T), each weighted with its precision::

        q(z_t | z_{t+1} ... z_T, x) = N( (m_t / s_t^2 + mu / sigma^2) v, v ),   1 / v = 1 / s_t^2 + 1 / sigma^2

    Given the levels above, both q and p of a level are known, so each rate is a KL divergence in closed form.

    Parameters
    ----------
    encoder: a module; `forward(x)` returns the T Gaussians [N(m_1, s_1^2), ...], each with batch shape (B,) and one
        event axis; such as `Ladder`.
    decoders: T modules p(x | z_1 ... z_T), p(z_1 | z_2 ... z_T), ..., p(z_{T-1} | z_T), Gaussian but for the first;
        their condition is the concatenation [z_t, ..., z_T] of the latents, (..., L_t + ... + L_T).
    prior: a module whose `forward()` returns p(z_T).

    Source: Sonderby et al. 2016 (arXiv 1602.02282), eq. 10-12 and section 2.2, with the dependence on all levels above
    of Luo 2022 (arXiv 2208.11970), section 2.2.
    """

    def __init__(self, encoder: nn.Module, decoders: Sequence[nn.Module], prior: nn.Module):
        super().__init__()
        _check_hierarchy(encoder, decoders, prior)
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders)
        self.prior = prior

    @classmethod
    def mlp(
        cls,
        event: Shape,
        latents: Sequence[int] = (100, 50),
        hidden: Sequence[Sequence[int]] = ((200, 200), (100, 100)),
        likelihood: str = "bernoulli",
        mean: Tensor | None = None,
        **options: Any,
    ) -> "HVAE":
        """A hierarchy of multilayer perceptrons; parameters and errors as for `MHVAE.mlp`."""
        make = _likelihood(likelihood, mean)
        _check_stack(latents, hidden)
        decoders: list[nn.Module] = []
        for level, (below, h) in enumerate(zip([event, *latents[:-1]], hidden, strict=True)):
            above = sum(latents[level:])
            decoders.append((Gaussian if level else make)(above, below, tuple(h)[::-1], **options))
        return cls(Ladder(_size(event), latents, hidden, **options), decoders, StandardNormal(latents[-1]))

    def likelihood(self, latents: Sequence[Tensor]) -> Distribution:
        return self.decoders[0](torch.cat(list(latents), -1))

    def priors(self, latents: Sequence[Tensor]) -> list[Distribution]:
        return [*(self._prior_below(latents[t:], t) for t in range(1, self.levels)), self.prior()]

    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        *evidence, top = self.encoder(x)
        return [*(merge(e, p) for e, p in zip(evidence, self.priors(latents)[:-1], strict=True)), top]

    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        *evidence, top = self.encoder(x)
        latents, posteriors, priors = [top.rsample((samples,))], [top], [self.prior()]  # z_T: (K, B, L_T)
        for level in range(self.levels - 1, 0, -1):
            priors.insert(0, self._prior_below(latents, level))
            posteriors.insert(0, merge(evidence[level - 1], priors[0]))
            latents.insert(0, posteriors[0].rsample())  # z_t: (K, B, L_t)
        return latents, posteriors, priors

    def closed_form(self, level: int) -> bool:
        return True

    def _zeros(self, x: Tensor) -> list[Tensor]:
        return [x.new_zeros(q.batch_shape + q.event_shape) for q in self.encoder(x)]

    def _prior_below(self, above: Sequence[Tensor], level: int) -> Distribution:
        return self.decoders[level](torch.cat(list(above), -1))


class Ladder(Described, nn.Module):
    """The bottom-up network of an `HVAE`: d_t = net_t(d_{t-1}) with d_0 = x, and N(m_t, s_t^2) read off each d_t.

    inputs: entries of x. latents: (L_1, ..., L_T). hidden: layer sizes of net_t. options: see `vaelib.nets.mlp`.
    """

    def __init__(self, inputs: int, latents: Sequence[int], hidden: Sequence[Sequence[int]], **options: Any):
        super().__init__()
        _check_stack(latents, hidden)
        if any(not isinstance(sizes, list | tuple) or not sizes for sizes in hidden):
            raise ValueError(f"hidden is {hidden!r}: expected one or more layer sizes for each level")
        self.inputs = inputs
        self.levels, self.latents = len(latents), tuple(latents)
        widths = [inputs, *(h[-1] for h in hidden)]
        self.bodies = nn.ModuleList(nets.mlp(w, h, **options) for w, h in zip(widths, hidden, strict=False))
        self.heads = nn.ModuleList(Gaussian(w, size, ()) for w, size in zip(widths[1:], latents, strict=True))

    def forward(self, x: Tensor) -> list[Distribution]:
        features, evidence = x.flatten(1), []
        if features.shape[1] != self.inputs:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected {self.inputs} numbers per example")
        for body, head in zip(self.bodies, self.heads, strict=True):
            features = body(features)  # (B, hidden[t][-1])
            evidence.append(head(features))
        return evidence


def merge(a: Distribution, b: Distribution) -> Independent:
    """The Gaussian proportional to the product of two, dimension by dimension: precisions add.

    a, b: over one event axis, with `mean` and `stddev`. Source: Sonderby et al. 2016 (arXiv 1602.02282), eq. 11-12.
    """
    precision_a, precision_b = a.stddev**-2, b.stddev**-2
    variance = 1 / (precision_a + precision_b)
    mean = (a.mean * precision_a + b.mean * precision_b) * variance
    return Independent(Normal(mean, variance.sqrt(), validate_args=False), 1, validate_args=False)


def _size(event: Shape) -> int:
    return math.prod(shape_of(event))


def _likelihood(name: str, mean: Tensor | None = None) -> Callable[..., nn.Module]:
    if name not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {name!r}: choose one of {', '.join(sorted(LIKELIHOODS))}")
    if mean is None:
        return LIKELIHOODS[name]
    if name != "bernoulli":
        raise ValueError(f"mean is given with a {name} likelihood: expected a Bernoulli, whose logits it sets")
    return functools.partial(conditionals.Bernoulli, mean=mean)


def _check_stack(latents: Sequence[int], hidden: Sequence[Sequence[int]]) -> None:
    lists = all(isinstance(sizes, list | tuple) for sizes in (latents, hidden))
    if not lists or not latents or len(latents) != len(hidden):
        raise ValueError(
            f"latents={latents!r} and hidden={hidden!r}: expected one latent size and one tuple of layer sizes "
            "per level, T >= 1, such as latents=(100, 50), hidden=((200, 200), (100, 100))"
        )
    integers(**{f"latents[{level}]": size for level, size in enumerate(latents)})


def _check_modules(modules: Sequence[nn.Module]) -> None:
    for module in modules:
        if not isinstance(module, nn.Module):
            raise ValueError(f"{module!r} is no torch module: expected one whose forward returns a distribution")


def _check_hierarchy(encoder: nn.Module, decoders: Sequence[nn.Module], prior: nn.Module) -> None:
    _check_modules([encoder, *decoders, prior])
    levels = getattr(encoder, "levels", len(decoders))
    if not decoders or levels != len(decoders):
        raise ValueError(f"the encoder has {levels} levels, with {len(decoders)} decoders: expected T >= 1 of each")
    for level, decoder in enumerate(decoders[1:], start=2):
        if isinstance(decoder, Conditional) and not isinstance(decoder, Gaussian):
            raise ValueError(f"decoder {level} is {type(decoder).__name__}: expected a Gaussian, which can be merged")
    latents = getattr(encoder, "latents", None)
    if latents is not None:
        for level, decoder in enumerate(decoders):
            takes, gives = getattr(decoder, "inputs", None), _size_out(decoder) if level else None
            if takes not in (None, sum(latents[level:])) or gives not in (None, latents[level - 1]):
                raise ValueError(
                    f"decoder {level + 1} takes {takes} and gives {gives} numbers: expected it to take all "
                    f"{sum(latents[level:])} latents above it, and to give its own level of {latents}"
                )
        _check_prior(prior, latents[-1:])


def _size_out(module: nn.Module) -> int | None:
    event = getattr(module, "event", None)
    return None if event is None else math.prod(event)


def _check_prior(prior: nn.Module, event: Sequence[int] | None) -> None:
    got = getattr(prior, "event", None)
    if event is not None and got is not None and tuple(got) != tuple(event):
        raise ValueError(
            f"the prior is over {tuple(got)}, and the top latent has shape {tuple(event)}: expected the same"
        )


def _check_sizes(encoders: Sequence[nn.Module], decoders: Sequence[nn.Module]) -> None:
    """Every size at which two bundled conditionals meet agrees (a module without `inputs`/`event` is not looked at)."""

    for level, (encoder, decoder) in enumerate(zip(encoders, decoders, strict=True), start=1):
        latent = _size_out(encoder)
        others = {f"decoder {level} takes": getattr(decoder, "inputs", None)}
        if level < len(encoders):
            others[f"encoder {level + 1} takes"] = getattr(encoders[level], "inputs", None)
            others[f"decoder {level + 1} gives"] = _size_out(decoders[level])
        for what, size in others.items():
            if latent is not None and size is not None and latent != size:
                raise ValueError(
                    f"encoder {level} gives a z_{level} of {latent} latents, but {what} {size}: expected the same"
                )
