"""What every model of the library can do: the interface `Hierarchy` that bounds, training and diagnostics rely on."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints, kl_divergence

from . import distributions
from .arguments import check_floating, integers, is_number
from .bounds import Terms
from .conditionals import Conditional
from .priors import at_temperature
from .trials import device_of, dtype_of, in_evaluation, tried

Temperature = float | Sequence[float]


class Hierarchy(nn.Module, ABC):
    """What all models share: latents z_1 ... z_T, z_1 next to the data, with p(x, z) and q(z | x) that can be scored.

    Data are batches x, (B, *event); latents are lists [z_1, ..., z_T], each (K, B, L_t), and `latents` are the sizes
    (L_1, ..., L_T). Levels are counted from 1.
    """

    decoders: nn.ModuleList
    prior: nn.Module
    event: tuple[int, ...]
    latents: tuple[int, ...]
    _support: constraints.Constraint | None

    @property
    def support(self) -> constraints.Constraint | None:
        """What values of x the likelihood can score: what its decoder declares, else what was seen as it was tried."""
        declared = self.decoders[0].support if isinstance(self.decoders[0], Conditional) else None
        return self._support if declared is None else declared

    @property
    def levels(self) -> int:
        """The number T of latent levels."""
        return len(self.decoders)

    @abstractmethod
    def condition(self, above: Sequence[Tensor]) -> Tensor:
        """What a decoder is given of all the latents above it, [z_t, ..., z_T]: (..., inputs)."""

    @abstractmethod
    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        """q(z_t | x and the latents that it is drawn after) for t = 1 ... T, at these latents."""

    @abstractmethod
    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        """Draw z ~ q(z | x), differentiably: the latents, and `posteriors` and `priors` at them."""

    @abstractmethod
    def closed_form(self, level: int) -> bool:
        """Whether the rate of this level is a KL divergence given the latents drawn before it."""

    def likelihood(self, latents: Sequence[Tensor]) -> Distribution:
        """p(x | z), with batch shape (K, B)."""
        return self.decoders[0](self.condition(latents))

    def _log_px(self, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
        return _score(self.likelihood(latents), x, tuple(x.shape[1:]), "x")

    def priors(self, latents: Sequence[Tensor]) -> list[Distribution]:
        """p(z_t | the levels above) for t = 1 ... T, at these latents; the last is the prior p(z_T)."""
        return [*(self._prior_below(latents[level:], level) for level in range(1, self.levels)), self.prior()]

    def _prior_below(self, above: Sequence[Tensor], level: int) -> Distribution:
        """p(z_level | above), where above = [z_{level+1}, ...]."""
        return self.decoders[level](self.condition(above))

    def forward(self, x: Tensor, samples: int = 1, check: bool = True, path: bool = False) -> Terms:
        """Sample z ~ q(z | x), `samples` times for each example of x (B, *event), and score every draw.

        Args:
            check: see `check`; a loop that has checked its data once may leave it out.
            path: evaluate log q with the weights held fixed and keep the latents in the `Terms`, so that gradients
                reach the encoder through the latents alone, as `dreg` needs (Roeder et al. 2017, arXiv 1703.09194).
        Raises:
            ValueError: Where x does not suit the model, or `samples` is no positive integer; with `path`, where batch
                normalisation makes examples depend on one another, or dropout would give log q another network.
        """
        if check:
            self.check(x)
            (samples,) = integers(samples=samples)
        if path:
            _check_apart(self)
        latents, posteriors, priors = self.infer(x, samples)
        if path:
            latents = [z.view_as(z) for z in latents]  # what the densities see, apart from what the encoders saw
            with _weights_fixed(self):
                posteriors = self.posteriors(x, latents)
            priors = self.priors(latents)
        log_px = self._log_px(x, latents)  # (K, B)
        log_pz = torch.stack(_scores(priors, latents))  # (T, K, B)
        log_qz = torch.stack(_scores(posteriors, latents))  # (T, K, B)
        if path:
            return Terms(log_px, log_pz, log_qz, latents=tuple(latents))
        rates = [
            self.rate(level, q, p, log_qz[level - 1] - log_pz[level - 1])
            for level, (q, p) in enumerate(zip(posteriors, priors, strict=True), start=1)
        ]
        return Terms(log_px, log_pz, log_qz, torch.stack(rates))

    def rate(self, level: int, posterior: Distribution, prior: Distribution, sampled: Tensor) -> Tensor:
        """A level's rate, shaped like `sampled`, its log q - log p: a closed form where there is one, else that."""
        if not self.closed_form(level):
            return sampled
        try:
            return kl_divergence(posterior, prior).expand_as(sampled)
        except NotImplementedError:  # not for these families, such as a mixture
            return sampled

    def log_joint(self, x: Tensor, latents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """log p(x | z) and log p(z), all levels together, each (K, B), at latents of your own.

        Raises:
            ValueError: Where a shape does not suit the model; the values of x are not looked at.
        """
        self._check_shape(x)
        self._check_latents(latents, batch=x.shape[:1])
        return self._log_px(x, latents), functools.reduce(torch.add, _scores(self.priors(latents), latents))

    def log_posterior(self, x: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """log q(z | x) summed over the levels, (K, B), at latents of your own; errors as for `log_joint`."""
        self._check_shape(x)
        self._check_latents(latents, batch=x.shape[:1])
        return functools.reduce(torch.add, _scores(self.posteriors(x, latents), latents))

    @torch.no_grad()
    def check(self, x: Tensor) -> None:
        """Raise ValueError, saying what was expected, unless x is a batch (B, *event) that p(x | z) can score."""
        self._check_shape(x)
        if len(x) == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected (batch, *event) with at least one example")
        dtype = next((weight.dtype for weight in self.parameters()), x.dtype)
        if x.dtype != dtype:
            raise ValueError(f"x is {x.dtype}, the model {dtype}: expected the same; x.to({dtype}) or model.double()")
        if not torch.isfinite(x).all():
            raise ValueError("x has values that are NaN or infinite: remove or repair these examples")
        if self.support is not None and not self.support.check(x).all():
            raise ValueError(_support_message(self.support, f"(min {x.min().item():.4g}, max {x.max().item():.4g})"))

    @torch.no_grad()
    def encode(self, x: Tensor, samples: int = 1) -> list[Tensor]:
        """Draw z ~ q(z | x), in evaluation mode: the list of z_1 ... z_T, each (K, B, L_t)."""
        self.check(x)
        (samples,) = integers(samples=samples)
        with in_evaluation(self):
            return self.infer(x, samples)[0]

    @torch.no_grad()
    def decode(self, latent: Tensor | Sequence[Tensor], level: int = 1, temperature: Temperature = 1.0) -> Distribution:
        """p(x | z), of batch shape (...), for z_level (..., L_level); the levels below are drawn, in evaluation mode.

        Args:
            latent: z_level, or the list [z_level, ..., z_T], which a general hierarchy needs.
            temperature: see `sample`.
        Raises:
            ValueError: Where there is no such level, or a latent is no tensor of its size and of the model's dtype.
        """
        self._check_level(level)
        latents = [latent] if isinstance(latent, Tensor) else latent
        self._check_latents(latents, level, least=1)
        dtype = next((weight.dtype for weight in self.decoders.parameters()), latents[0].dtype)
        if any(z.dtype != dtype for z in latents):
            raise ValueError(f"latent is {latents[0].dtype} and the model {dtype}: expected the same")
        with in_evaluation(self):
            return self.likelihood(self.draw_below(latents, level, temperature))

    @torch.no_grad()
    def draw_below(self, latents: Sequence[Tensor], level: int, temperature: Temperature = 1.0) -> list[Tensor]:
        """[z_1, ..., z_T] from [z_level, ...]: the levels below are drawn from p(z_t | the levels above)."""
        temperatures, complete = self._temperatures(temperature), list(latents)
        for below in range(level - 1, 0, -1):
            prior = at_temperature(self._prior_below(complete, below), temperatures[below - 1])
            complete.insert(0, prior.sample())
        return complete

    @torch.no_grad()
    def sample(self, n: int, mean: bool = False, temperature: Temperature = 1.0) -> Tensor:
        """n draws from the model, (n, *event), in evaluation mode: z_T from the prior, then down the levels.

        Args:
            mean: take the mean of p(x | z) in place of a draw from it, which is easier on the eye for binary pixels.
            temperature: what the standard deviations of the priors are multiplied with, for all levels or one for each,
                z_1 first. Below 1 samples become more typical and less varied; p(x | z) stays as it is.
        Raises:
            ValueError: Where `n` is no positive integer, a temperature is negative, or one other than 1 is for a prior
                that is neither Gaussian nor a mixture of Gaussians.
        """
        (n,) = integers(n=n)
        top = self._temperatures(temperature)[-1]
        with in_evaluation(self):
            likelihood = self.decode(at_temperature(self.prior(), top).sample((n,)), self.levels, temperature)
        return mean_of(likelihood) if mean else likelihood.sample()

    def reconstruct(self, x: Tensor, level: int = 1, temperature: Temperature = 1.0) -> Tensor:
        """Encode x, keep z_level and above, draw the rest anew at a temperature: the mean of p(x | z), (B, *event)."""
        self._check_level(level)
        return mean_of(self.decode([z[0] for z in self.encode(x)[level - 1 :]], level, temperature))

    def _check_shape(self, x: Tensor) -> None:
        check_floating("x", x)
        if x.ndim == 0 or x.shape[1:] != self.event:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected a batch of shape {self.event} per example")

    def _check_latents(
        self, latents: Sequence[Tensor], level: int = 1, least: int | None = None, batch: Sequence[int] = ()
    ) -> None:
        """From z_level on, all of them or at least so many, for so many examples."""
        sizes = self.latents[level - 1 :]
        tensors = isinstance(latents, list | tuple) and all(isinstance(z, Tensor) for z in latents)
        shapes = [tuple(z.shape) for z in latents] if tensors else []
        fit = all(shape[-1:] == (size,) for shape, size in zip(shapes, sizes, strict=False))
        if not fit or not (least or len(sizes)) <= len(shapes) <= len(sizes):
            got = f"of shape {', '.join(map(str, shapes)) or '()'}" if tensors else f"of type {type(latents).__name__}"
            wanted = ", ".join(f"z_{t} (..., {size})" for t, size in enumerate(sizes, start=level))
            some = "the first or more of " if least else ""
            raise ValueError(f"latents are {got}: expected {some}the tensors {wanted}, listed; see torch.as_tensor")
        try:
            torch.broadcast_shapes(batch, *(shape[:-1] for shape in shapes))
        except RuntimeError:
            examples = f" for {batch[0]} examples of x" if batch else ""
            raise ValueError(f"latents are of shape {shapes}{examples}: expected one batch shape, (K, B)") from None

    def _check_level(self, level: int) -> None:
        if not isinstance(level, Integral) or not 1 <= level <= self.levels:
            raise ValueError(f"level is {level!r}: expected 1 (next to the data) to {self.levels} (the top)")

    def _temperatures(self, temperature: Temperature) -> list[float]:
        """One for each level, z_1 first."""
        values: list[Any] = list(temperature) if isinstance(temperature, list | tuple) else [temperature] * self.levels
        if len(values) != self.levels or not all(is_number(value) and value >= 0 for value in values):
            raise ValueError(
                f"temperature is {temperature!r}: expected a number from 0 on, or a list of one for each of the "
                f"{self.levels} levels, z_1 first"
            )
        return [float(value) for value in values]

    def _learn_shapes(self) -> tuple[Tensor, list[Tensor], list[Distribution]]:
        """Tries the prior and the decoders from the top down, which says what `event`, `latents` and `support` are.

        Returns made-up data (2, *event) and latents (3, 2, L_t) to try the encoders on, and the priors that were tried.
        """
        dtype, device = dtype_of(self) or torch.get_default_dtype(), device_of(self)
        variables: list[Tensor] = []  # from z_T down to x
        tried_on: list[Distribution] = []
        for level in range(self.levels, -1, -1):
            if level == self.levels:
                name, p = "the prior", tried("the prior", self.prior)
            else:
                name = f"decoder {level + 1}"
                p = tried(name, self.decoders[level], self.condition(variables), batch=(3, 2))
            if level and len(p.event_shape) != 1:
                shape = tuple(p.event_shape)
                raise ValueError(f"{name} is over a z_{level} of shape {shape}: expected one axis, (L_{level},)")
            tried_on.insert(0, p)
            # 1/2 lies within nearly every support and is no point of a singularity.
            variables.insert(0, torch.full((3, 2, *p.event_shape), 0.5, dtype=dtype, device=device))
        (x, *latents), (likelihood, *priors) = variables, tried_on
        self.event = tuple(likelihood.event_shape)
        self.latents = tuple(z.shape[-1] for z in latents)
        self._support = _support_of(likelihood)
        return x[0], latents, priors


def check_model(model: Any) -> None:
    """Raises ValueError where it is no `Hierarchy`."""
    if not isinstance(model, Hierarchy):
        raise ValueError(f"model is {type(model).__name__}: expected a VAE, MHVAE, HVAE or another vaelib.Hierarchy")


def _scores(levels: Sequence[Distribution], latents: Sequence[Tensor]) -> list[Tensor]:
    pairs = enumerate(zip(levels, latents, strict=True), start=1)
    return [_score(d, z, tuple(z.shape[-1:]), f"z_{level}") for level, (d, z) in pairs]


def _score(distribution: Distribution, value: Tensor, event: tuple[int, ...], name: str) -> Tensor:
    """log_prob. The density of a part that was exchanged for one of another size would be broadcast in silence."""
    if tuple(distribution.event_shape) != event:
        shapes = f"a density of {name} has event shape {tuple(distribution.event_shape)}, {name} is {event}"
        raise ValueError(f"{shapes}: expected parts of the model that fit each other")
    return distribution.log_prob(value)


@contextmanager
def _weights_fixed(module: nn.Module) -> Generator[None]:
    """Within this block the module's weights are constants to autograd."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _check_apart(model: nn.Module) -> None:
    """Refuses what path gradients cannot bear: they treat examples one by one, and evaluate log q a second time."""
    for name, module in model.named_modules():
        reason = ""
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            reason = "it makes the draws of one example change the densities of the others"
        elif isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0:
            reason = "log q would be evaluated with other entries dropped than z was drawn with"
        if reason:
            kind = type(module).__name__
            raise ValueError(f"path=True, as dreg needs it, cannot do with {kind} ({name}): {reason}; iwae can")


def mean_of(likelihood: Distribution) -> Tensor:
    """Its mean. Raises ValueError, where torch has an error without words, unless there is one in closed form."""
    try:
        return likelihood.mean
    except NotImplementedError:
        kind = type(likelihood).__name__
        raise ValueError(f"p(x | z) is a {kind}, without a mean in closed form: expected one, or take draws") from None


def _support_of(likelihood: Distribution) -> constraints.Constraint | None:
    """Entry by entry; None where the distribution does not say, or it depends on the latents."""
    try:
        support: Any = likelihood.support
    except NotImplementedError:
        return None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return None if any(isinstance(value, Tensor) for value in vars(support).values()) else support


def _support_message(support: constraints.Constraint, extremes: str) -> str:
    if isinstance(support, type(constraints.boolean)):
        return (
            f"x has values outside {{0, 1}} {extremes}: a Bernoulli likelihood needs binary data; scale it to [0, 1] "
            "and pass transform=vl.binarise to `fit` for dynamic binarisation, or binarise it"
        )
    if isinstance(support, type(distributions.on_grid)):
        return (
            f"x has values that are not one of the 256 grey levels k / 255 {extremes}: divide 8-bit images by 255, "
            "without noise, blur or rescaling after that"
        )
    return f"x has values outside the likelihood's support, {support} {extremes}"
