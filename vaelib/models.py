"""Variational autoencoders: the Markovian hierarchy `MHVAE` and its case T = 1, the `VAE`."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints, kl_divergence

from .bounds import Terms
from .conditionals import Bernoulli, Gaussian, Shape, StandardNormal

LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian": Gaussian}


class MHVAE(nn.Module):
    """Markovian hierarchical VAE: latents z_1 ... z_T in a chain, z_1 next to the data.

    Generative model   p(x, z) = p(x | z_1) p(z_1 | z_2) ... p(z_{T-1} | z_T) p(z_T)
    Posterior          q(z | x) = q(z_1 | x) q(z_2 | z_1) ... q(z_T | z_{T-1})

    Parameters
    ----------
    encoders: T modules q(z_1 | x), q(z_2 | z_1), ...: `forward(condition)` returns a distribution with `rsample`.
    decoders: T modules p(x | z_1), p(z_1 | z_2), ...: likewise; the first may be discrete.
    prior: a module whose `forward()` returns p(z_T); a standard normal unless given.

    Raises ValueError where there is no level, the numbers of encoders and decoders differ, or sizes do not meet.

    Source: Luo 2022 (arXiv 2208.11970), eq. 23-29, written with z_t for his latents.
    """

    def __init__(self, encoders: Sequence[nn.Module], decoders: Sequence[nn.Module], prior: nn.Module | None = None):
        super().__init__()
        if not encoders or len(encoders) != len(decoders):
            raise ValueError(
                f"{len(encoders)} encoders and {len(decoders)} decoders: expected one of each per level, T >= 1"
            )
        for module in [*encoders, *decoders, *([] if prior is None else [prior])]:
            if not isinstance(module, nn.Module):
                raise ValueError(f"{module!r} is no torch module: expected one whose forward returns a distribution")
        _check_sizes(encoders, decoders)
        if prior is None:
            event = getattr(encoders[-1], "event", None)
            if event is None:
                raise ValueError("the top encoder has no `event` shape: pass prior=StandardNormal(size of z_T)")
            prior = StandardNormal(event)
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
    ) -> "MHVAE":
        """A chain of multilayer perceptrons: level t has `latents[t - 1]` latents and `hidden[t - 1]` layers each way.

        The defaults are the two-layer network of Burda et al. 2016 (arXiv 1509.00519), section 5.
        Raises ValueError for an unknown likelihood, or where `latents` and `hidden` differ in length.
        """
        if isinstance(latents, int) or len(latents) != len(hidden):
            raise ValueError(
                f"latents={latents!r} and hidden={hidden!r}: expected one latent size and one tuple of layer sizes "
                "per level, such as latents=(100, 50), hidden=((200, 200), (100, 100))"
            )
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"unknown likelihood {likelihood!r}: choose one of {', '.join(sorted(LIKELIHOODS))}")
        pixels = event if isinstance(event, int) else math.prod(event)
        encoders, decoders = [], []
        for level, ((below, above), h) in enumerate(zip(pairwise([pixels, *latents]), hidden, strict=True)):
            encoders.append(Gaussian(below, above, h))
            kind, shape = (Gaussian, below) if level else (LIKELIHOODS[likelihood], event)
            decoders.append(kind(above, shape, encoders[-1].hidden[::-1]))
        return cls(encoders, decoders)

    @property
    def levels(self) -> int:
        """The number T of latent levels."""
        return len(self.encoders)

    def forward(self, x: Tensor, samples: int = 1, check: bool = True) -> Terms:
        """Sample z ~ q(z | x) and weigh it: every log-density of `samples` draws for each example.

        x: (B, *event). samples: K >= 1. Returns `Terms`, whose `kl` is closed-form at the top level, given the sampled
        z_{T-1}, and log q - log p of the jointly sampled levels elsewhere: under the joint q, z_{t+1} depends on z_t,
        so KL(q(z_t | z_{t-1}) || p(z_t | z_{t+1})) is *not* the middle term (Luo 2022, eq. 45, errs here).
        check: see `check`; a loop that has checked its data once may leave it out.
        """
        if check:
            self.check(x)
            if not isinstance(samples, int) or samples < 1:
                raise ValueError(f"samples is {samples!r}: expected an integer of at least 1")
        posteriors: list[Distribution] = [self.encoders[0](x)]
        latents = [posteriors[0].rsample((samples,))]  # z_1: (K, B, L_1)
        for encoder in self.encoders[1:]:
            posteriors.append(encoder(latents[-1]))
            latents.append(posteriors[-1].rsample())  # z_t: (K, B, L_t)
        priors: list[Distribution] = [decoder(z) for decoder, z in zip(self.decoders[1:], latents[1:], strict=True)]
        priors.append(self.prior())
        log_px = self.decoders[0](latents[0]).log_prob(x)  # (K, B)
        log_pz = torch.stack([p.log_prob(z) for p, z in zip(priors, latents, strict=True)])  # (T, K, B)
        log_qz = torch.stack([q.log_prob(z) for q, z in zip(posteriors, latents, strict=True)])  # (T, K, B)
        try:
            top = kl_divergence(posteriors[-1], priors[-1]).expand_as(log_px)  # (K, B)
        except NotImplementedError:  # no closed form for this pair of families
            return Terms(log_px, log_pz, log_qz)
        return Terms(log_px, log_pz, log_qz, torch.cat([(log_qz - log_pz)[:-1], top[None]]))

    def check(self, x: Tensor) -> None:
        """Raise ValueError, saying what was expected, unless x is a batch (B, *event) that p(x | z_1) can score."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x is {kind}: expected a floating-point tensor (divide 8-bit images by 255)")
        if x.ndim < 2 or len(x) == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected (batch, *event) with at least one example")
        if not torch.isfinite(x).all():
            raise ValueError("x has values that are NaN or infinite: remove or repair these examples")
        with torch.no_grad():
            posterior = self.encoders[0](x[:1])
            # Any latent tells the likelihood's event shape and support; a draw would use up random numbers.
            likelihood = self.decoders[0](x.new_zeros(posterior.batch_shape + posterior.event_shape))
        if likelihood.event_shape != x.shape[1:]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: expected a batch of shape "
                f"{tuple(likelihood.event_shape)} per example, that is (batch, *event)"
            )
        if not likelihood.support.check(x).all():
            raise ValueError(_support_message(likelihood, x))

    def posterior(self, x: Tensor) -> Distribution:
        """q(z_1 | x): a distribution with batch shape (B,)."""
        self.check(x)
        return self.encoders[0](x)

    @torch.no_grad()
    def encode(self, x: Tensor, samples: int = 1) -> list[Tensor]:
        """Draw z ~ q(z | x): the list of z_1 ... z_T, each (K, B, L_t)."""
        self.check(x)
        latents = [self.encoders[0](x).sample((samples,))]
        for encoder in self.encoders[1:]:
            latents.append(encoder(latents[-1]).sample())
        return latents

    @torch.no_grad()
    def decode(self, latent: Tensor, level: int = 1) -> Distribution:
        """p(x | z_1) for a latent (..., L_level), drawing z_{level-1} ... z_1 on the way down from `level`."""
        if not 1 <= level <= self.levels:
            raise ValueError(f"level is {level}: expected 1 (next to the data) to {self.levels} (the top)")
        for decoder in reversed(self.decoders[1:level]):
            latent = decoder(latent).sample()
        return self.decoders[0](latent)

    def sample(self, n: int, mean: bool = False) -> Tensor:
        """n draws from the model, (n, *event): z_T from the prior, then down the chain.

        mean=True gives the mean of p(x | z_1) in place of a draw from it, which is easier on the eye for binary pixels.
        """
        if n < 1:
            raise ValueError(f"n is {n}: expected at least one sample")
        likelihood = self.decode(self.prior().sample((n,)), level=self.levels)
        return likelihood.mean if mean else likelihood.sample()

    def reconstruct(self, x: Tensor, level: int = 1) -> Tensor:
        """Encode x up to z_level, decode from there: the mean of p(x | z_1), (B, *event)."""
        if not 1 <= level <= self.levels:
            raise ValueError(f"level is {level}: expected 1 (next to the data) to {self.levels} (the top)")
        return self.decode(self.encode(x)[level - 1][0], level).mean


class VAE(MHVAE):
    """The variational autoencoder: one level of latents, the case T = 1 of `MHVAE`.

    encoder: module for q(z | x). decoder: module for p(x | z). prior: module for p(z), N(0, I) unless given.

    Source: Kingma & Welling 2014 (arXiv 1312.6114).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: nn.Module | None = None):
        super().__init__([encoder], [decoder], prior)

    @classmethod
    def mlp(  # ty: ignore[incompatible-method-override] - one level has one latent size, not a sequence
        cls, event: Shape, latent: int = 50, hidden: Sequence[int] = (200, 200), likelihood: str = "bernoulli"
    ) -> "VAE":
        """Two multilayer perceptrons, x to z and its mirror image; defaults as in Burda et al. 2016, section 5."""
        chain = MHVAE.mlp(event, (latent,), (hidden,), likelihood)
        return cls(chain.encoders[0], chain.decoders[0])


def _check_sizes(encoders: Sequence[nn.Module], decoders: Sequence[nn.Module]) -> None:
    """Every size at which two bundled conditionals meet agrees (a module without `inputs`/`event` is not looked at)."""

    def size_out(module: nn.Module) -> int | None:
        event = getattr(module, "event", None)
        return None if event is None else math.prod(event)

    for level, (encoder, decoder) in enumerate(zip(encoders, decoders, strict=True), start=1):
        latent = size_out(encoder)
        others = {f"decoder {level} takes": getattr(decoder, "inputs", None)}
        if level < len(encoders):
            others[f"encoder {level + 1} takes"] = getattr(encoders[level], "inputs", None)
            others[f"decoder {level + 1} gives"] = size_out(decoders[level])
        for what, size in others.items():
            if latent is not None and size is not None and latent != size:
                raise ValueError(f"encoder {level} gives a z_{level} of {latent} latents, but {what} {size}")


def _support_message(likelihood: Distribution, x: Tensor) -> str:
    low, high = x.min().item(), x.max().item()
    support = likelihood.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if support is constraints.boolean:
        return (
            f"x has values outside {{0, 1}} (min {low:.4g}, max {high:.4g}): a Bernoulli likelihood needs binary data; "
            "scale it to [0, 1] and pass transform=torch.bernoulli to `fit` for dynamic binarisation, or binarise it"
        )
    return f"x has values outside the likelihood's support, {support} (min {low:.4g}, max {high:.4g})"
