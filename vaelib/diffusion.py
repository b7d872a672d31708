"""Diffusion models: MHVAEs with a fixed encoder that adds noise, and decoders that share one guess at the data.

    q(z_t | z_{t-1}) = N(sqrt(alpha_t) z_{t-1}, (1 - alpha_t) I), hence q(z_t | x) = N(sqrt(abar_t) x, (1 - abar_t) I)

with the share abar_t = alpha_1 ... alpha_t of the signal. A level is known by its log signal-to-noise ratio, log abar_t
/ (1 - abar_t), which falls from z_1 to z_T.

>>> _ = torch.manual_seed(0)
>>> data = MixtureGuess(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.1 * torch.eye(2).expand(2, 2, 2))
>>> model, x = Diffusion(data, 2, log_snr=torch.linspace(3, -7, 10)), data.sample(500)
>>> model.measure(x)
>>> terms = model(x)
>>> tuple(terms.rates.shape), bool((terms.rates >= 0).all())  # each in closed form
((10, 1, 500), True)
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from . import nets
from .arguments import check_floating, number
from .conditionals import Conditional, Shape, Sizes, shape_of
from .models import MHVAE
from .trials import in_evaluation

_LARGEST = 30.0  # of a log signal-to-noise ratio: beyond it float64 has nothing left of the smaller share


class Noising(Conditional):
    """q(z_t | z_{t-1}) = N(sqrt(alpha) z_{t-1}, (1 - alpha) I): nothing in it is learned.

    Args:
        size: of z_t and z_{t-1}, D.
        alpha: between 0 and 1.
        noise: 1 - alpha, where that is so small that the alpha of a computer does not have its digits.
    Raises:
        ValueError: Where alpha is not between 0 and 1, or the size no positive integer.
    Source: Ho et al. 2020 (arXiv 2006.11239), the forward process.
    """

    def __init__(self, size: int, alpha: float, noise: float | None = None):
        super().__init__(size, size)
        self.alpha = number(alpha)
        self.noise = 1 - self.alpha if noise is None else number(noise)
        if not (0 < self.alpha <= 1 and 0 < self.noise < 1):
            raise ValueError(f"alpha is {alpha!r}: expected a number between 0 and 1")

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, alpha={self.alpha}"

    def forward(self, condition: Tensor) -> Independent:
        return _vector(math.sqrt(self.alpha) * condition, condition.new_tensor(self.noise))


class Reverse(NamedTuple):
    """q(z_t | z_{t+1}, x) = N(a x + h z_{t+1}, tau I), by Bayes' rule. For z_0 = x that is x: a = 1, h = tau = 0."""

    a: float
    h: float
    tau: float

    @classmethod
    def between(cls, above: float, below: float) -> "Reverse":
        """From the log signal-to-noise ratios of z_{t+1} and z_t; `math.inf` for z_0 = x."""
        (signal, noise), (alpha, step_noise), above_noise = _shares(below), _alpha(below, above), _shares(above)[1]
        share = step_noise / above_noise
        return cls(math.sqrt(signal) * share, math.sqrt(alpha) * noise / above_noise, share * noise)

    def of(self, x: Tensor, z: Tensor, error: float | Tensor = 0.0) -> Independent:
        """The distribution at x and z_{t+1}, (..., D); wider where x is known up to a squared error, entry by entry."""
        return _vector(
            self.a * x + self.h * z, torch.as_tensor(self.tau + self.a**2 * error, dtype=z.dtype, device=z.device)
        )


class Denoising(Conditional):
    """p(z_t | z_{t+1}): q(z_t | z_{t+1}, x) with a guess in the place of x, and with room for its error.

    It is N(a x_hat + h z_{t+1}, diag(tau + a^2 e)) with the constants of `Reverse`, the guess x_hat at z_{t+1}, and its
    mean squared error e, entry by entry, the buffer `error`. The last step, to x, is N(x_hat, diag(e)).

    Args:
        guess: a module, shared by all levels: `guess(z, log_snr)` takes z (..., D) and a log signal-to-noise ratio, ()
            or (..., 1), and returns x_hat, (..., D).
        event: the shape of z_t, with D entries.
        above, below: the log signal-to-noise ratios of z_{t+1} and z_t; `math.inf` for z_0 = x.
    Source: Luo 2022 (arXiv 2208.11970), eq. 58, where it is turned into denoising; e: Bao et al. 2022 (2201.06503).
    """

    error: Tensor
    log_snr: Tensor

    def __init__(self, guess: nn.Module, event: Shape, above: float, below: float = math.inf):
        super().__init__(math.prod(shape_of(event)), event)
        self.guess, self.above, self.below = guess, above, below
        self.step = Reverse.between(above, below)
        self.register_buffer("error", torch.ones(self.inputs))
        self.register_buffer("log_snr", torch.tensor(above), persistent=False)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, above={self.above}, below={self.below}"

    def forward(self, condition: Tensor) -> Independent:
        guessed = self.guess(condition, self.log_snr)
        if guessed.shape != condition.shape:
            raise ValueError(f"the guess at z {tuple(condition.shape)} is {tuple(guessed.shape)}: expected that shape")
        flat = self.step.of(guessed, condition, self.error)
        mean, scale = (each.unflatten(-1, self.event) for each in (flat.mean, flat.stddev))
        return Independent(Normal(mean, scale, validate_args=False), len(self.event), validate_args=False)


class BernoulliDenoising(Conditional):
    """p(x | z_1) = Bern(x_hat): the last step for binary data, whose guess is a probability as it is.

    Arguments as for `Denoising`.
    """

    log_snr: Tensor

    def __init__(self, guess: nn.Module, event: Shape, above: float):
        super().__init__(math.prod(shape_of(event)), event)
        self.guess, self.above = guess, above
        self.register_buffer("log_snr", torch.tensor(above), persistent=False)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, above={self.above}"

    def forward(self, condition: Tensor) -> Independent:
        x_hat = self.guess(condition, self.log_snr).unflatten(-1, self.event)
        return Independent(Bernoulli(probs=x_hat, validate_args=False), len(self.event), validate_args=False)


class Diffusion(MHVAE):
    """An MHVAE whose latents are as large as the data and whose encoder only adds noise, read from the top down.

    Generative model   p(x | z_1) p(z_1 | z_2) ... p(z_T), each a `Denoising` with the same guess
    Posterior          q(z_T | x) q(z_{T-1} | z_T, x) ... q(z_1 | z_2, x), which is q(z_1 | x) q(z_2 | z_1) ... again

    Given the level above, every rate is a KL divergence of two Gaussians: `forward` gives the denoising form of the
    bound. `MHVAE(model.encoders, model.decoders)` is the same model, drawn and scored from below.

    Args:
        guess: see `Denoising`; it is all that is learned.
        event: the shape of x.
        log_snr: of z_1 ... z_T, falling. The last should be low: p(z_T) is N(0, I).
        binary: whether x is 0 or 1, and p(x | z_1) Bernoulli.
    Raises:
        ValueError: Where log_snr does not fall or leaves [-30, 30], or the guess does not return one number per entry.
    Source: Luo 2022 (arXiv 2208.11970), eq. 58; Kingma et al. 2021 (arXiv 2107.00630) for the signal-to-noise ratio.
    """

    def __init__(self, guess: nn.Module, event: Shape, log_snr: Sequence[float] | Tensor, binary: bool = False):
        levels = torch.as_tensor(log_snr, dtype=torch.float64).flatten().tolist()
        if not levels or max(map(abs, levels)) > _LARGEST or any(a <= b for a, b in pairwise(levels)):
            raise ValueError(f"log_snr is {levels}: expected numbers that fall, from {_LARGEST} at most to -{_LARGEST}")
        size = math.prod(shape_of(event))
        encoders = [Noising(size, *_alpha(below, above)) for below, above in pairwise([math.inf, *levels])]
        decoders = [Denoising(guess, size, above, below) for below, above in pairwise(levels)]
        last = BernoulliDenoising if binary else Denoising
        super().__init__(encoders, [last(guess, event, levels[0]), *decoders])
        self.guess, self.log_snr, self.steps = guess, levels, [decoder.step for decoder in decoders]

    def posteriors(self, x: Tensor, latents: Sequence[Tensor]) -> list[Distribution]:
        flat = x.flatten(1)
        known = [step.of(flat, above) for step, above in zip(self.steps, latents[1:], strict=True)]
        return [*known, noised(flat, self.log_snr[-1])]

    def infer(self, x: Tensor, samples: int = 1) -> tuple[list[Tensor], list[Distribution], list[Distribution]]:
        flat = x.flatten(1)
        posteriors: list[Distribution] = [noised(flat, self.log_snr[-1])]
        latents = [posteriors[0].rsample((samples,))]  # z_T: (K, B, D)
        for step in reversed(self.steps):
            posteriors.insert(0, step.of(flat, latents[0]))
            latents.insert(0, posteriors[0].rsample())  # z_t: (K, B, D)
        return latents, posteriors, self.priors(latents)

    def closed_form(self, level: int) -> bool:
        return True

    @torch.no_grad()
    def measure(self, x: Tensor) -> None:
        """Sets the `error` of each decoder to the mean squared error of its guess over x (B, *event).

        For a given guess, in evaluation mode, this is the error with the highest ELBO (Bao et al. 2022).

        Raises:
            ValueError: Where x does not suit the model, or the guess of grey data has no error at z_1 in an entry.
        """
        self.check(x)
        flat = x.flatten(1)
        with in_evaluation(self):
            for decoder in self.decoders:
                if isinstance(decoder, Denoising):
                    guessed = self.guess(noised(flat, decoder.above).sample(), decoder.log_snr)
                    error = (flat - guessed).pow(2).mean(0)
                    if decoder is self.decoders[0] and (exact := int((error == 0).sum())):
                        raise ValueError(
                            f"x is guessed without error in {exact} of {len(error)} entries: p(x | z_1) has no density "
                            "there; leave out entries that never change, or add noise to them"
                        )
                    decoder.error.copy_(error)

    def limit(self, x: Tensor) -> Tensor:
        """The ELBO of the same guess with infinitely many levels from z_1 to z_T, in nats: one unbiased draw, (B,).

        log p(x | z_1) - KL(q(z_T | x) || p(z_T)) - 1/2 int |x - x_hat|^2 d snr, the integral over one level of each
        example, drawn evenly in log snr. It costs two guesses whatever T is, and so is what to train on.

        Raises:
            ValueError: Where x does not suit the model.
        Source: Kingma et al. 2021 (arXiv 2107.00630), the continuous-time loss and its low-discrepancy draws.
        """
        self.check(x)
        flat, count = x.flatten(1), len(x)
        high, low = self.log_snr[0], self.log_snr[-1]
        log_px = self.decoders[0](noised(flat, high).sample()).log_prob(x)
        even = (torch.rand(()) + torch.arange(count) / count) % 1
        log_snr = (low + (high - low) * even[torch.randperm(count)])[:, None].to(flat)  # (B, 1)
        error = (flat - self.guess(noised(flat, log_snr).sample(), log_snr)).pow(2).sum(-1)  # (B,)
        top = kl_divergence(noised(flat, low), self.prior())
        return log_px - top - 0.5 * (high - low) * log_snr[:, 0].exp() * error


class BinaryGuess(nn.Module):
    """The probability that each entry of binary x is 1, given z_t: a network that sees all entries, and Bayes' rule.

    logit x_hat_d = logit mean_d + sqrt(abar) network_d(z, log snr)
                    + log N(z_d; sqrt(abar), 1 - abar) - log N(z_d; 0, 1 - abar)

    What z_d itself says of x_d is known exactly, so the network need only say what the other entries do; and where no
    signal is left, the guess is the mean.

    Args:
        size: D.
        mean: of the data, with D entries in any shape; kept within [0.001, 0.999].
        hidden: layer sizes of the network.
        options: see `vaelib.nets.mlp`.
    Raises:
        ValueError: Where there is no layer, a size is no positive integer, or the mean no tensor of D floats.
    """

    mean: Tensor

    def __init__(self, size: int, mean: Tensor, hidden: Sizes = (512, 512), **options: Any):
        super().__init__()
        self.body = nets.mlp(size + 3, hidden, **options)
        if not hidden:
            raise ValueError("hidden is empty: expected one or more layer sizes")
        check_floating("mean", mean)
        if mean.numel() != size:
            raise ValueError(f"mean has {mean.numel()} entries: expected {size}, one for each of the data")
        self.head = nn.Linear(hidden[-1], size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.logit(mean.flatten().clamp(0.001, 0.999)))

    def forward(self, z: Tensor, log_snr: Tensor) -> Tensor:
        signal, noise = torch.sigmoid(log_snr), torch.sigmoid(-log_snr)
        level = log_snr.expand(*z.shape[:-1], 1)
        features = self.body(torch.cat([z, level / 5, level.sin(), level.cos()], -1))
        others = self.mean + signal.sqrt() * self.head(features)
        return torch.sigmoid(others + (signal.sqrt() * z - signal / 2) / noise)


class MixtureGuess(nn.Module):
    """The best guess there is, E[x | z_t], for data from a mixture of Gaussians of equal weights: an oracle.

    Args:
        means: (C, D), of the C components.
        covariances: (C, D, D).
    """

    means: Tensor
    covariances: Tensor

    def __init__(self, means: Tensor, covariances: Tensor):
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("covariances", covariances)

    def parts(self, log_snr: Tensor) -> MultivariateNormal:
        """The components of q(z_t), averaged over the data; at log_snr = inf, those of the data."""
        signal, noise = torch.sigmoid(log_snr)[..., None], torch.sigmoid(-log_snr)[..., None]
        eye = torch.eye(self.means.shape[1]).to(self.means)
        spread = signal[..., None] * self.covariances + noise[..., None] * eye  # (..., C, D, D)
        return MultivariateNormal(signal.sqrt() * self.means, spread, validate_args=False)

    def log_px(self, x: Tensor) -> Tensor:
        """log p(x) of the data, exactly: (B, D) -> (B,)."""
        parts = self.parts(x.new_tensor(math.inf))
        return parts.log_prob(x[..., None, :]).logsumexp(-1) - math.log(len(self.means))

    def sample(self, n: int) -> Tensor:
        """n examples, (n, D)."""
        drawn = self.parts(self.means.new_tensor(math.inf)).sample((n,))  # (n, C, D)
        return drawn[torch.arange(n), torch.randint(len(self.means), (n,))]

    def forward(self, z: Tensor, log_snr: Tensor) -> Tensor:
        parts = self.parts(log_snr)
        share = parts.log_prob(z[..., None, :]).softmax(-1)  # (..., C)
        precision = torch.linalg.inv(parts.covariance_matrix)  # (..., C, D, D)
        gain = torch.sigmoid(log_snr).sqrt()[..., None, None] * self.covariances @ precision
        means = self.means + torch.einsum("...cij,...cj->...ci", gain, z[..., None, :] - parts.loc)  # (..., C, D)
        return torch.einsum("...c,...ci->...i", share, means)


def noised(x: Tensor, log_snr: float | Tensor) -> Independent:
    """q(z_t | x) = N(sqrt(abar_t) x, (1 - abar_t) I) for x (B, D): log_snr is a number, or (B, 1)."""
    level = torch.as_tensor(log_snr, dtype=x.dtype, device=x.device)
    return _vector(torch.sigmoid(level).sqrt() * x, torch.sigmoid(-level))


def _shares(log_snr: float) -> tuple[float, float]:
    """The shares of signal and noise, abar and 1 - abar."""
    return 1 / (1 + math.exp(-log_snr)), 0.0 if log_snr == math.inf else 1 / (1 + math.exp(log_snr))


def _alpha(below: float, above: float) -> tuple[float, float]:
    """alpha and 1 - alpha of the step between two log signal-to-noise ratios, each to all digits."""
    signal, noise = _shares(above)
    return signal / _shares(below)[0], -noise * math.expm1(above - below)


def _vector(mean: Tensor, variance: Tensor) -> Independent:
    return Independent(Normal(mean, variance.sqrt().expand_as(mean), validate_args=False), 1, validate_args=False)
