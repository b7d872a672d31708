"""Exact answers, where there are any: the oracle that tests everything else. All in nats per example.

`LinearGaussianChain`: all Gaussian and linear, any depth, by matrix algebra. `ppca`: the best linear VAE there is, in
closed form. `Table`: any model with few latents, by enumeration of discrete ones or quadrature over continuous ones.

    >>> chain = LinearGaussianChain.random([3, 2], seed=1)
    >>> x = torch.ones(1, 3, dtype=torch.float64)
    >>> table = grid(chain.model(), x)
    >>> bool((table.log_px() - chain.log_px(x)).abs() < 1e-9), bool((table.iwae(7) - table.log_px()).abs() < 1e-9)
    (True, True)
    >>> data = torch.randn(100, 3, dtype=torch.float64)
    >>> fitted = ppca(data, latent=1)
    >>> bool(fitted.chain().log_px(data).mean() == fitted.log_px)
    True
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, constraints

from .arguments import check_floating, integers, is_number
from .conditionals import Conditional, Gaussian
from .hierarchy import Hierarchy
from .models import MHVAE
from .priors import StandardNormal
from .randomness import generator_from
from .trials import in_evaluation

_STEP = 1 / 4  # of the trapezoid rule in `Table.iwae`, whose error is of the order exp(-pi^2 / step)


class LinearGaussian(Conditional):
    """N(y; A c + b, S): `forward(c)` takes c (..., inputs) and returns a MultivariateNormal over y (..., size).

    A, the weight, is (size, inputs), b, the bias, (size,), and S (size, size), symmetric and positive definite.

    Raises:
        ValueError: For other shapes, what is no floating-point tensor, or another S.
    """

    support = constraints.real
    weight: Tensor
    bias: Tensor
    covariance: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, covariance: Tensor):
        for name, value in (("weight", weight), ("bias", bias), ("covariance", covariance)):
            check_floating(name, value)
        rows = weight.shape[:1]  # (size,)
        if weight.ndim != 2 or bias.shape != rows or covariance.shape != rows + rows:
            shapes = f"weight {tuple(weight.shape)}, bias {tuple(bias.shape)}, covariance {tuple(covariance.shape)}"
            raise ValueError(f"{shapes}: expected (size, inputs), (size,) and (size, size)")
        _check_covariance(covariance)
        super().__init__(weight.shape[1], *rows)
        for name, value in (("weight", weight), ("bias", bias), ("covariance", covariance)):
            self.register_buffer(name, value)

    def forward(self, condition: Tensor) -> MultivariateNormal:
        return _normal(condition @ self.weight.T + self.bias, self.covariance)


class GaussianPrior(nn.Module):
    """The prior N(m, S) of a chain's top level: m of shape (size,), S (size, size), symmetric and positive definite.

    Raises:
        ValueError: For other shapes, what is no floating-point tensor, or another S.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor):
        super().__init__()
        check_floating("mean", mean)
        check_floating("covariance", covariance)
        if mean.ndim != 1 or covariance.shape != mean.shape * 2:
            shapes = f"mean {tuple(mean.shape)}, covariance {tuple(covariance.shape)}"
            raise ValueError(f"{shapes}: expected (size,) and (size, size)")
        _check_covariance(covariance)
        self.event = tuple(mean.shape)
        self.register_buffer("mean", mean)
        self.register_buffer("covariance", covariance)

    def forward(self) -> MultivariateNormal:
        return _normal(self.mean, self.covariance)


class LinearGaussianChain:
    """A linear-Gaussian MHVAE with all its exact answers: its joint distribution is one multivariate normal.

    z_T ~ N(m, S_T), the prior, and z_{t-1} | z_t ~ N(A_t z_t + b_t, S_{t-1}), the decoders, one at least; z_0 = x.

    Raises:
        ValueError: Without a decoder, or where one does not take as many numbers as the level above it has.
    Source: Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.113-2.117.
    """

    def __init__(self, decoders: Sequence[LinearGaussian], prior: GaussianPrior):
        if not decoders:
            raise ValueError("a chain needs at least one decoder, p(x | z_1)")
        self.decoders, self.prior = list(decoders), prior
        self.sizes = [decoder.event[0] for decoder in decoders] + [prior.event[0]]  # [D, L_1, ..., L_T]
        for level, (decoder, above) in enumerate(zip(self.decoders, self.sizes[1:], strict=True), start=1):
            if decoder.inputs != above:
                made_by = "the prior is of" if level == len(self.decoders) else f"decoder {level + 1} gives"
                raise ValueError(f"decoder {level} takes {decoder.inputs} numbers, {made_by} {above}: expected as many")

    @classmethod
    def random(cls, sizes: Sequence[int], seed: int = 0) -> "LinearGaussianChain":
        """A chain with random float64 parameters; sizes: [D, L_1, ..., L_T], so T = len(sizes) - 1.

        Raises:
            ValueError: For fewer than two sizes, or sizes or a seed that are none.
        """
        if len(sizes) < 2:
            raise ValueError(f"sizes are {sizes!r}: expected [D, L_1, ...], two or more")
        integers(**{f"sizes[{index}]": size for index, size in enumerate(sizes)})
        generator = generator_from(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        def covariance(size: int) -> Tensor:
            root = draw(size, size) / math.sqrt(size)
            return root @ root.T + 0.2 * torch.eye(size, dtype=torch.float64)

        decoders = [
            LinearGaussian(draw(below, above) / math.sqrt(above), draw(below), covariance(below))
            for below, above in pairwise(sizes)
        ]
        return cls(decoders, GaussianPrior(draw(sizes[-1]), covariance(sizes[-1])))

    @classmethod
    def of(cls, model: MHVAE) -> "LinearGaussianChain":
        """A model with prior N(0, I) and linear decoders, their scales fixed or shared, as a chain in float64.

        Its x are flat, (B, D), whatever the model's event: give images as x.flatten(1).

        Raises:
            ValueError: Where the prior is no `StandardNormal`, or a decoder no `Gaussian` with hidden=() and a scale.
        """
        if not isinstance(model.prior, StandardNormal):
            raise ValueError(f"the prior is {type(model.prior).__name__}: expected StandardNormal, N(0, I)")
        decoders = []
        for level, decoder in enumerate(model.decoders, start=1):
            if not isinstance(decoder, Gaussian) or decoder.net or decoder.hidden or decoder.scale is None:
                raise ValueError(f"decoder {level} is not linear: expected Gaussian(..., hidden=(), scale=a number)")
            weight, bias = (decoder.get_parameter(f"heads.0.{name}").detach() for name in ("weight", "bias"))
            scale = decoder(weight.new_zeros(1, decoder.inputs)).stddev.detach().double().flatten()
            decoders.append(LinearGaussian(weight.double(), bias.double(), torch.diag(scale**2)))
        return cls(decoders, _standard(decoders[-1].inputs))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of (x, z_1, ..., z_T), concatenated into one vector, x first."""
        mean, covariance = self.prior.mean, self.prior.covariance
        for decoder in reversed(self.decoders):
            above = decoder.inputs  # the block of z_t stands first in what is there so far
            cross = decoder.weight @ covariance[:above]  # Cov(z_{t-1}, what is there so far)
            own = cross[:, :above] @ decoder.weight.T + decoder.covariance
            mean = torch.cat([decoder.weight @ mean[:above] + decoder.bias, mean])
            covariance = torch.cat([torch.cat([own, cross], 1), torch.cat([cross.T, covariance], 1)], 0)
        return mean, covariance

    def log_px(self, x: Tensor) -> Tensor:
        """log p(x), exactly, in nats per example: x (B, D) -> (B,); ValueError for another shape."""
        self._check(x)
        (mean, covariance), size = self.moments(), self.sizes[0]
        return _normal(mean[:size], covariance[:size, :size]).log_prob(x)

    def posteriors(self) -> list[LinearGaussian]:
        """The true posterior as encoders q(z_1 | x), q(z_2 | z_1), ...: p(z_t | z_{t-1}, ..., x) = p(z_t | z_{t-1})."""
        mean, covariance = self.moments()
        means = mean.split(self.sizes)
        blocks = [rows.split(self.sizes, 1) for rows in covariance.split(self.sizes)]  # Cov(z_s, z_t), z_0 = x
        encoders = []
        for t in range(1, len(self.sizes)):  # Bishop 2006, eq. 2.81-2.82
            weight = torch.linalg.solve(blocks[t - 1][t - 1], blocks[t - 1][t]).T
            residual = blocks[t][t] - weight @ blocks[t - 1][t]
            encoders.append(LinearGaussian(weight, means[t] - weight @ means[t - 1], (residual + residual.T) / 2))
        return encoders

    def elbo(self, x: Tensor, encoders: Sequence[LinearGaussian]) -> Tensor:
        """The ELBO of linear-Gaussian encoders q(z_1 | x), q(z_2 | z_1), ..., exactly: x (B, D) -> (B,).

        Raises:
            ValueError: For x of another shape, or encoders that are not one for each level, from its size to its size.
        """
        self._check(x)
        given = [(encoder.inputs, *encoder.event) for encoder in encoders]
        if given != (needed := list(pairwise(self.sizes))):
            raise ValueError(f"the encoders are of sizes (inputs, size) {given}: expected {needed}, one for each level")
        joint, mean = self.moments(), encoders[0](x).loc  # (B, L_1)
        means, covariance = [x, mean], encoders[0].covariance
        for encoder in encoders[1:]:
            below = encoder.inputs  # the block of z_{t-1} stands last in what is there so far
            cross = encoder.weight @ covariance[-below:]
            own = cross[:, -below:] @ encoder.weight.T + encoder.covariance
            mean = encoder(mean).loc
            means.append(mean)
            covariance = torch.cat([torch.cat([covariance, cross.T], 1), torch.cat([cross, own], 1)], 0)
        point = torch.cat(means, -1)  # (B, D + L_1 + ... + L_T)
        precision = torch.linalg.inv(joint[1])[self.sizes[0] :, self.sizes[0] :]
        # The expectation of log p(x, z), a quadratic form, and the entropy of q(z | x).
        log_joint = _normal(*joint).log_prob(point) - 0.5 * (precision * covariance).sum()
        return log_joint + _normal(torch.zeros_like(covariance[0]), covariance).entropy()

    def model(self, encoders: Sequence[nn.Module] | None = None) -> MHVAE:
        """The same chain as a `vaelib.MHVAE`; its encoders are the exact posteriors unless given."""
        return MHVAE(self.posteriors() if encoders is None else encoders, self.decoders, self.prior)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            flat = "; give images as x.flatten(1)" if x.ndim > 2 else ""
            raise ValueError(f"x has shape {tuple(x.shape)}: expected (B, {self.sizes[0]}){flat}")


class PPCA(NamedTuple):
    """The linear VAE of highest likelihood: x = W z + mean + sigma noise with z ~ N(0, I).

    weight: W, (D, K), its columns orthogonal, the longest first. mean: (D,). sigma: float. log_px: the average of
    log p(x) over the data it was fitted to. eigenvalues: of the data's covariance, (D,), the largest first.
    """

    weight: Tensor
    mean: Tensor
    sigma: float
    log_px: float
    eigenvalues: Tensor

    def chain(self) -> LinearGaussianChain:
        """The same model with all its exact answers; `.chain().model()` is a `VAE`-like `MHVAE` with its posterior."""
        size, latent = self.weight.shape
        noise = self.sigma**2 * torch.eye(size, dtype=torch.float64)
        return LinearGaussianChain([LinearGaussian(self.weight, self.mean, noise)], _standard(latent))


def ppca(x: Tensor, latent: int, sigma: float | None = None) -> PPCA:
    """Probabilistic PCA, exactly: the optimum of every linear VAE with `latent` = K dimensions on x (N, D).

    log p* = -1/2 [ D ln 2 pi + sum_{i<=K} ln lambda_i + (D - K) ln sigma^2 + D ], sigma^2 the mean of the other lambda.
    A given `sigma` is held fixed, and dimensions with lambda_i <= sigma^2 get a column of zeros: they collapse.

    Raises:
        ValueError: Where x is no finite (N, D), `latent` not in 1 ... D - 1, or sigma (found or given) not positive.
    Source: Tipping & Bishop 1999, the maximum-likelihood estimates; Lucas et al. 2019 (arXiv 1911.02469), section 4.
    """
    integers(latent=latent)
    if x.ndim != 2 or len(x) == 0 or latent >= x.shape[1] or not torch.isfinite(x).all():
        raise ValueError(f"x {tuple(x.shape)}, latent {latent}: expected finite x of shape (N, D), 1 <= latent < D")
    x = x.double()
    values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0).reshape(x.shape[1], -1))
    values, vectors = values.flip(0), vectors.flip(1)
    sigma = math.sqrt(max(values[latent:].mean().item(), 0)) if sigma is None else sigma
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma is {sigma}: expected a positive number (the data may lie in {latent} dimensions)")
    weight = vectors[:, :latent] * (values[:latent] - sigma**2).clamp_min(0).sqrt()
    fitted = PPCA(weight, x.mean(0), sigma, 0.0, values)
    return fitted._replace(log_px=fitted.chain().log_px(x).mean().item())


class _Columns(NamedTuple):
    log_joint: Tensor
    log_q: Tensor
    log_volume: Tensor


class Table(_Columns):
    """A model whose latent z takes M values, so that every expectation is a sum over them; for B examples.

    log_joint: log p(x, z), (M, B). log_q: log q(z | x), (M, B). Both may be densities, weighted with
    log_volume: the log of the volume that each z stands for, (M,) or a scalar; 0 for discrete latents.

    Raises:
        ValueError: Where the shapes are others: a number that two axes make by accident would pass for a bound.
    """

    __slots__ = ()

    def __new__(cls, log_joint: Tensor, log_q: Tensor, log_volume: Tensor) -> "Table":
        shapes = [tuple(part.shape) for part in (log_joint, log_q, log_volume)]
        if len(shapes[0]) != 2 or shapes[1] != shapes[0] or shapes[2] not in ((), shapes[0][:1]):
            got = ", ".join(f"{name} {shape}" for name, shape in zip(cls._fields, shapes, strict=True))
            raise ValueError(f"this table is {got}: expected (M, B), (M, B) and (M,) or a scalar")
        return super().__new__(cls, log_joint, log_q, log_volume)

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> "Table":  # what `_replace` makes is checked, too
        return cls(*iterable)

    def log_px(self) -> Tensor:
        """log p(x) = log sum_z p(x, z): (B,)."""
        return torch.logsumexp(self._log_mass(self.log_joint), 0)

    def posterior(self) -> Tensor:
        """p(z | x), the mass of each z: (M, B)."""
        return self._log_mass(self.log_joint).softmax(0)

    def elbo(self) -> Tensor:
        """E_q[log p(x, z) - log q(z | x)]: (B,)."""
        mass = self._log_mass(self.log_q).exp()
        return torch.where(mass > 0, mass * (self.log_joint - self.log_q), 0).sum(0)

    def iwae(self, samples: int) -> Tensor:
        """The expected IWAE bound of K = `samples`, E log (1/K) sum_k w_k, exactly: (B,).

        log a = int_0^inf (e^-t - e^-(t a)) dt / t. For the mean a of K independent weights, E e^-(t a) is the K-th
        power of E_q e^-(t w / K); so one integral over s = ln t gives the bound of any K. Its integrand is analytic and
        flat at both ends: the trapezoid rule errs by less than 1e-10.

        -inf where q gives mass to a z with p(x, z) = 0: all K draws may be such z.
        """
        integers(samples=samples)
        log_px, mass, share = self.log_px(), self._log_mass(self.log_q).exp(), self.posterior()
        lost = ((mass > 0) & (self.log_joint == -math.inf)).any(0)  # (B,)
        share = torch.where(lost, mass, share)  # keeps the integral of these, which does not count, off its limits
        rows = ((mass > 1e-20) | (share > 1e-20)).any(1)  # most of a grid is far from everything
        mass, share = mass[rows], share[rows]
        log_w = (self.log_joint - self.log_q - log_px)[rows]  # of a weight with mean one
        log_w = torch.where((mass > 0) & ~lost, log_w, 0)
        # What lies beyond these ends, in mass or in its part of the mean, moves the integral by less than 1e-11.
        ordered, order = log_w.sort(0)
        low = ordered[mass.gather(0, order).cumsum(0) > 1e-13].min().item()
        high = ordered[share.gather(0, order).flip(0).cumsum(0).flip(0) > 1e-13].max().item()
        start, end = -20 - max(high, 0), 4 - min(low, 0) + math.log(samples)
        total = torch.zeros_like(log_px)
        for s in torch.arange(start, end, _STEP, dtype=log_w.dtype, device=log_w.device):
            mean = (mass * torch.expm1(-torch.exp(s + log_w - math.log(samples)))).sum(0)  # E_q e^-(t w / K) - 1
            total += torch.exp(-torch.exp(s)) - torch.exp(samples * torch.log1p(mean.clamp_min(-1)))
        return torch.where(lost, -math.inf, log_px + _STEP * total)

    def _log_mass(self, log_density: Tensor) -> Tensor:
        return log_density + self.log_volume.reshape(-1, 1)


@torch.no_grad()
def grid(model: Hierarchy, x: Tensor, points: int = 401, limit: float = 8.0) -> Table:
    """The `Table` of a model with one or two latent numbers in all, by the trapezoid rule on [-limit, limit].

    Exact to rounding where densities are smooth on the scale of the mesh, of `points` per latent number, and nothing
    lies beyond the limit; compare two meshes to see whether that holds. x: (B, *event).

    Raises:
        ValueError: For more than two latent numbers, a mesh that is none, or where x does not suit the model.
    """
    model.check(x)
    integers(2, points=points)
    if not is_number(limit, above=0):
        raise ValueError(f"limit is {limit!r}: expected a positive number")
    with in_evaluation(model):
        sizes = [z.shape[-1] for z in model.infer(x[:1])[0]]  # a draw that stored numbers of the course were made after
        if sum(sizes) > 2:
            raise ValueError(f"the levels have {sizes} latents: a grid is for one or two numbers in all")
        axis = torch.linspace(-limit, limit, points, dtype=x.dtype, device=x.device)
        mesh = torch.cartesian_prod(*[axis] * sum(sizes)).reshape(-1, 1, sum(sizes))  # (M, 1, L_1 + ... + L_T)
        latents = mesh.split(sizes, -1)  # one mesh for all examples: the decoders see it once
        log_px, log_pz = model.log_joint(x, latents)
        return Table(log_px + log_pz, model.log_posterior(x, latents), sum(sizes) * torch.log(axis[1] - axis[0]))


def _check_covariance(covariance: Tensor) -> None:
    """Raise ValueError unless this square matrix is symmetric, but for rounding, and positive definite."""
    found = covariance.detach()
    deviations = found.diagonal().clamp_min(0).sqrt()
    # In correlations, as the entries of one matrix may differ by orders of magnitude; the algebra reads one half only.
    slack = math.sqrt(torch.finfo(found.dtype).eps) * deviations[:, None] * deviations
    if not ((found - found.T).abs() <= slack).all():
        raise ValueError("the covariance is not symmetric or not finite: expected S equal to S.T")
    if torch.linalg.cholesky_ex(found).info:
        raise ValueError("the covariance is singular or has negative variances: expected it positive definite")


def _normal(mean: Tensor, covariance: Tensor) -> MultivariateNormal:
    return MultivariateNormal(mean, covariance, validate_args=False)


def _standard(size: int) -> GaussianPrior:
    return GaussianPrior(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))
