"""What every model of the library can do: the interface `Hierarchy` that bounds, training and diagnostics rely on."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints, kl_divergence

from . import distributions
from .arguments import integers
from .bounds import Terms


class Hierarchy(nn.Module, ABC):
    """What all models share: latents z_1 ... z_T, z_1 next to the data, with p(x, z) and q(z | x) that can be scored.

    Latents are passed as the list [z_1, ..., z_T], each (K, B, L_t).
    """

    decoders: nn.ModuleList
    prior: nn.Module

    @property
    def levels(self) -> int:
        """The number T of latent levels."""
        return len(self.decoders)

    @abstractmethod
    def likelihood(self, latents: Sequence[Tensor]) -> Distribution:
        """p(x | z), with batch shape (K, B)."""

    @abstractmethod
    def priors(self, latents: Sequence[Tensor]) -> list[Distribution]:
        """p(z_t | the levels above) for t = 1 ... T, at these latents; the last is the prior p(z_T)."""

    @abstractmethod
    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        """q(z_t | x and the latents that it is drawn after) for t = 1 ... T, at these latents."""

    @abstractmethod
    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        """Draw z ~ q(z | x), differentiably: the latents, and `posteriors` and `priors` at them."""

    @abstractmethod
    def closed_form(self, level: int) -> bool:
        """Whether the rate of this level, 0 for z_1, is a KL divergence given the latents drawn before it."""

    @abstractmethod
    def _zeros(self, x: Tensor) -> list[Tensor]:
        """Latents of the right shapes for x, without drawing any: to ask the likelihood what it accepts."""

    def forward(self, x: Tensor, samples: int = 1, check: bool = True, path: bool = False) -> Terms:
        """Sample z ~ q(z | x) and weigh it: every log-density of `samples` draws for each example.

        x: (B, *event). samples: K >= 1. check: see `check`; a loop that has checked its data once may leave it out.
        path: evaluate log q with the weights held fixed and keep the latents in the `Terms`, so that gradients reach
        the encoder through the latents alone, as `dreg` needs (Roeder et al. 2017, arXiv 1703.09194).
        """
        if check:
            self.check(x)
            integers(samples=samples)
        latents, posteriors, priors = self.infer(x, samples)
        if path:
            latents = [z.view_as(z) for z in latents]  # what the densities see, apart from what the encoders saw
            with _weights_fixed(self):
                posteriors = self.posteriors(x, latents)
            priors = self.priors(latents)
        log_px = self.likelihood(latents).log_prob(x)  # (K, B)
        log_pz = torch.stack([p.log_prob(z) for p, z in zip(priors, latents, strict=True)])  # (T, K, B)
        log_qz = torch.stack([q.log_prob(z) for q, z in zip(posteriors, latents, strict=True)])  # (T, K, B)
        if path:
            return Terms(log_px, log_pz, log_qz, latents=tuple(latents))
        try:
            rates = [
                kl_divergence(q, p).expand_as(log_px) if self.closed_form(level) else log_qz[level] - log_pz[level]
                for level, (q, p) in enumerate(zip(posteriors, priors, strict=True))
            ]
        except NotImplementedError:  # no closed form for these families
            return Terms(log_px, log_pz, log_qz)
        return Terms(log_px, log_pz, log_qz, torch.stack(rates))

    def log_joint(self, x: Tensor, latents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """log p(x | z) and log p(z), all levels together, each (K, B), at latents of your own; x is not checked."""
        self._check_latents(latents)
        return self.likelihood(latents).log_prob(x), _scored(self.priors(latents), latents)

    def log_posterior(self, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """log q(z | x) summed over the levels, (K, B), at latents of your own."""
        self._check_latents(latents)
        return _scored(self.posteriors(x, latents), latents)

    @torch.no_grad()
    def check(self, x: Tensor) -> None:
        """Raise ValueError, saying what was expected, unless x is a batch (B, *event) that p(x | z) can score."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x is {kind}: expected a floating-point tensor (divide 8-bit images by 255)")
        if x.ndim < 2 or len(x) == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected (batch, *event) with at least one example")
        dtype = next((weight.dtype for weight in self.parameters()), x.dtype)
        if x.dtype != dtype:
            raise ValueError(
                f"x is {x.dtype} and the model {dtype}: expected the same; x.to({dtype}) or model.double()"
            )
        if not torch.isfinite(x).all():
            raise ValueError("x has values that are NaN or infinite: remove or repair these examples")
        was_training = self.training
        self.eval()  # one example is no batch that could be normalised
        try:
            likelihood = self.likelihood(self._zeros(x[:1]))
        finally:
            self.train(was_training)
        if likelihood.event_shape != x.shape[1:]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}: expected a batch of shape "
                f"{tuple(likelihood.event_shape)} per example, that is (batch, *event)"
            )
        support = likelihood.support
        if support is not None and not support.check(x).all():
            raise ValueError(_support_message(likelihood, x))

    @torch.no_grad()
    def encode(self, x: Tensor, samples: int = 1) -> list[Tensor]:
        """Draw z ~ q(z | x): the list of z_1 ... z_T, each (K, B, L_t)."""
        self.check(x)
        integers(samples=samples)
        return self.infer(x, samples)[0]

    @torch.no_grad()
    def decode(self, latent: Tensor | Sequence[Tensor], level: int = 1) -> Distribution:
        """p(x | z) for a latent z_level, (..., L_level), drawing z_{level-1} ... z_1 on the way down.

        A general hierarchy needs all levels from `level` upwards: the list [z_level, ..., z_T].
        """
        self._check_level(level)
        latents = [latent] if isinstance(latent, Tensor) else latent
        if isinstance(latents, str) or not latents or not all(isinstance(z, Tensor) for z in latents):
            raise ValueError(
                f"latent is {latent!r}: expected a tensor (..., L_{level}), or the list of z_{level} and up"
            )
        dtype = next((weight.dtype for weight in self.decoders.parameters()), latents[0].dtype)
        if any(z.dtype != dtype for z in latents):
            raise ValueError(f"latent is {latents[0].dtype} and the model {dtype}: expected the same")
        return self.likelihood(self.draw_below(latents, level))

    @torch.no_grad()
    def draw_below(self, latents: Sequence[Tensor], level: int) -> list[Tensor]:
        """[z_1, ..., z_T] from [z_level, ...]: the levels below are drawn from p(z_t | the levels above)."""
        complete = list(latents)
        for below in range(level - 1, 0, -1):
            complete.insert(0, self._prior_below(complete, below).sample())
        return complete

    @abstractmethod
    def _prior_below(self, above: Sequence[Tensor], level: int) -> Distribution:
        """p(z_level | above), where above = [z_{level+1}, ...]."""

    def sample(self, n: int, mean: bool = False) -> Tensor:
        """n draws from the model, (n, *event): z_T from the prior, then down the levels.

        mean=True gives the mean of p(x | z) in place of a draw from it, which is easier on the eye for binary pixels.
        """
        integers(n=n)
        likelihood = self.decode(self.prior().sample((n,)), level=self.levels)
        return likelihood.mean if mean else likelihood.sample()

    def reconstruct(self, x: Tensor, level: int = 1) -> Tensor:
        """Encode x, keep z_level and what is above, draw the rest anew: the mean of p(x | z), (B, *event)."""
        self._check_level(level)
        return self.decode([z[0] for z in self.encode(x)[level - 1 :]], level).mean

    def _check_latents(self, latents: Sequence[Tensor]) -> None:
        if not isinstance(latents, list | tuple) or len(latents) != self.levels:
            raise ValueError(f"latents are {latents!r}: expected a list of {self.levels} tensors, one per level")

    def _check_level(self, level: int) -> None:
        if not isinstance(level, int) or not 1 <= level <= self.levels:
            raise ValueError(f"level is {level!r}: expected 1 (next to the data) to {self.levels} (the top)")


def _scored(levels: Sequence[Distribution], latents: Sequence[Tensor]) -> Tensor:
    for level, (d, z) in enumerate(zip(levels, latents, strict=True), start=1):
        if z.shape[z.ndim - len(d.event_shape) :] != d.event_shape:
            raise ValueError(f"z_{level} has shape {tuple(z.shape)}: expected its end to be {tuple(d.event_shape)}")
    return functools.reduce(torch.add, [d.log_prob(z) for d, z in zip(levels, latents, strict=True)])


@contextmanager
def _weights_fixed(module: nn.Module) -> Generator[None]:
    """Within this block the module's weights are constants to autograd."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


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
    if support is distributions.on_grid:
        return (
            f"x has values that are not one of the 256 grey levels k / 255 (min {low:.4g}, max {high:.4g}): divide "
            "8-bit images by 255, without noise, blur or rescaling after that"
        )
    return f"x has values outside the likelihood's support, {support} (min {low:.4g}, max {high:.4g})"
