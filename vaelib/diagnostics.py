"""What a trained model does with its latents: who carries information, and what the decoder makes of it.

Rates and information are in nats per example; levels are numbered from 1, next to the data. x is (N, *event) or a data
set, `samples` the number of draws of z per example, `seed` that of the draws. What takes them raises ValueError where x
does not suit the model or `samples` is no positive integer.

    >>> import vaelib as vl
    >>> _ = torch.manual_seed(0)
    >>> model = vl.VAE.mlp(4, latent=3, hidden=(8,))
    >>> x = torch.bernoulli(torch.full((50, 4), 0.5))
    >>> unit_rates(model, x)[0].shape, active_units(model, x)[0].shape
    (torch.Size([3]), torch.Size([3]))
    >>> split = surgery(model, x)
    >>> abs(split.rate - split.mutual_information - split.aggregate_kl) < 1e-4
    True
    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), steps=3)[1]
    tensor([0.7071, 0.7071])
"""

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from .arguments import check_floating, integers, is_number
from .evaluate import evaluation, suited
from .hierarchy import Hierarchy, mean_of

_CHUNK = 500  # examples encoded at once


def posterior_means(model: Hierarchy, x: Any, samples: int = 10, seed: int = 0) -> list[Tensor]:
    """E_q[z_t | x] for each level, [(N, L_1), ..., (N, L_T)].

    The mean of q(z_t | ...) where it depends on x alone; elsewhere averaged over draws of what it depends on, and of
    z_t itself where q has no mean in closed form, such as a flow.
    """

    def mean(_level: int, z: Tensor, q: Distribution, _p: Distribution) -> Tensor:
        return _means(q, z).mean(0)

    return [torch.cat(parts) for parts in _per_level(model, suited(model, x), samples, seed, mean)]


def active_units(model: Hierarchy, x: Any, threshold: float = 0.01, samples: int = 10, seed: int = 0) -> list[Tensor]:
    """Which latent dimensions move with x: [(L_1,), ..., (L_T,)] of True where Var_x(E_q[z | x]) > threshold.

    Where E_q[z | x] is a mean over `samples` draws of another level, what varies by these alone is taken off. Below the
    top of a hierarchy the prior may move along, and a unit can be active without any rate: look at both.

    Raises:
        ValueError: Also where `threshold` is no number from 0 on, or there is one example or one sample only.
    Source: Burda et al. 2016 (arXiv 1509.00519), section 5.2.
    """
    if not is_number(threshold) or threshold < 0:
        raise ValueError(f"threshold is {threshold!r}: expected a number from 0 on")
    return [moved > threshold for moved in _movement(model, x, samples, seed)]


def _movement(model: Hierarchy, x: Any, samples: int, seed: int, prior: bool = False) -> list[Tensor]:
    """Var_x(E[z_t | x]) of each dimension under the posteriors, or under the priors: [(L_1,), ..., (L_T,)].

    A mean of K draws varies by itself, by the variance between the draws over K; without that an estimate may be < 0.
    """
    (samples,) = integers(2, samples=samples)
    x = suited(model, x)
    if len(x) < 2:
        raise ValueError("x has one example: expected two or more, as a variance over them is taken")

    def moments(_level: int, z: Tensor, q: Distribution, p: Distribution) -> Tensor:
        means = _means(p if prior else q, z)
        return torch.stack([means.mean(0), means.var(0) / samples])

    levels = [torch.cat(parts, 1) for parts in _per_level(model, x, samples, seed, moments)]  # (2, N, L_t) each
    return [means.var(0) - noise.mean(0) for means, noise in levels]


def unit_rates(model: Hierarchy, x: Any, samples: int = 10, seed: int = 0) -> list[Tensor]:
    """The rate of each latent dimension, averaged over x: [(L_1,), ..., (L_T,)], each level summing to its rate.

    In closed form where the model's own rates are (see `Hierarchy.closed_form`), else the mean of log q - log p over
    the draws, which may be negative.

    Raises:
        ValueError: Also where a level's dimensions are not independent given the levels that it depends on, as under a
            mixture for a prior: `collapse_report` has the rate of the level as a whole.
    """
    rates = _rates(model, x, samples, seed)
    for level, (found, size) in enumerate(zip(rates, model.latents, strict=True), start=1):
        if found.shape != (size,):
            raise ValueError(f"level {level} has correlated dimensions: only their rate as a whole is defined")
    return rates


def _rates(model: Hierarchy, x: Any, samples: int, seed: int) -> list[Tensor]:
    """`unit_rates`; of a level whose dimensions hang together, the rate as a whole, ()."""

    def rate(level: int, z: Tensor, q: Distribution, p: Distribution) -> Tensor:
        if isinstance(q, Independent) and isinstance(p, Independent):
            q, p = q.base_dist, p.base_dist
        log_ratio = q.log_prob(z) - p.log_prob(z)  # (K, B, L_t), or (K, B)
        return model.rate(level, q, p, log_ratio).mean(0).sum(0)

    x = suited(model, x)
    return [torch.stack(parts).sum(0) / len(x) for parts in _per_level(model, x, samples, seed, rate)]


@torch.no_grad()
def _per_level(
    model: Hierarchy, x: Tensor, samples: int, seed: int, function: Callable[..., Tensor]
) -> list[list[Tensor]]:
    """A function of each level's number, draws, posterior and prior: for each level, of the chunks of x."""
    (samples,) = integers(samples=samples)
    found: list[list[Tensor]] = [[] for _ in range(model.levels)]
    with evaluation(model, seed):
        for batch in x.split(_CHUNK):
            for level, drawn in enumerate(zip(*model.infer(batch, samples), strict=True), start=1):
                found[level - 1].append(function(level, *drawn))
    return found


class Surgery(NamedTuple):
    """rate E_x KL(q(z | x) || p(z)) = mutual_information I(z; n), at most log N, + aggregate_kl KL(q(z) || p(z)).

    With the aggregated posterior q(z) = mean_n q(z | x_n). Nats per example, all levels together; the standard errors
    are of the Monte-Carlo averages over z.
    """

    rate: float
    mutual_information: float
    aggregate_kl: float
    rate_stderr: float
    mutual_information_stderr: float
    aggregate_kl_stderr: float


@torch.no_grad()
def surgery(model: Hierarchy, x: Any, samples: int = 1000, seed: int = 0) -> Surgery:
    """Splits the rate into what z tells about x and how far the aggregated posterior is from the prior.

    x is taken as the whole population: `samples` z in all, two or more, are drawn from posteriors of random x, and each
    is weighted under all N posteriors, the exact mixture.

    Source: Hoffman & Johnson 2016, the decomposition of the average rate.
    """
    (samples,) = integers(2, samples=samples)
    x = suited(model, x)
    rows = []
    with evaluation(model, seed):
        for chosen in torch.randint(len(x), (samples,)).split(100):
            latents = model.infer(x[chosen])[0]  # each (1, M, L_t)
            own = model.log_posterior(x[chosen], latents)[0]  # (M,)
            log_pz = model.log_joint(x[chosen], latents)[1][0]
            across = [z[0][:, None] for z in latents]  # (M, 1, L_t): each z against every example
            mixture = torch.cat([model.log_posterior(part, across) for part in x.split(_CHUNK)], 1)  # (M, N)
            aggregate = torch.logsumexp(mixture, 1) - math.log(len(x))
            rows.append(torch.stack([own - log_pz, own - aggregate, aggregate - log_pz]).double())
    values = torch.cat(rows, 1)  # (3, samples)
    return Surgery(*values.mean(1).tolist(), *(values.std(1) / math.sqrt(samples)).tolist())


def collapse_report(model: Hierarchy, x: Any, samples: int = 10, seed: int = 0) -> str:
    """One line per level: its rate, its active units, and in words whether the posterior has collapsed to the prior.

    A level below the top of a chain may have next to no rate and yet be in use, where its prior p(z_t | z_{t+1}) goes
    along: where the prior's mean has at least half the variance over x that the posterior's mean has.
    """
    lines = []
    active = active_units(model, x, samples=samples, seed=seed)

    def goes_along(level: int, units: Tensor) -> bool:
        prior, posterior = (_movement(model, x, samples, seed, of)[level - 1][units].sum() for of in (True, False))
        return bool(2 * prior > posterior)

    for level, (units, rates) in enumerate(zip(active, _rates(model, x, samples, seed), strict=True), start=1):
        rate, used, size = rates.sum().item(), int(units.sum()), len(units)
        if rate < 0.1 and (used == 0 or model.closed_form(level)):
            verdict = "collapsed: it carries next to nothing"
        elif rate < 0.1 and goes_along(level, units):
            verdict = "next to no rate: what moves with x, its prior knows from the level above"
        elif rate < 0.1:
            verdict = "next to no rate: what moves with x moves little, and its prior does not know it"
        elif used == 0:
            verdict = "away from the prior, yet with one mean for every x: what it carries, its spread alone can tell"
        elif used < size / 10:
            verdict = "nearly collapsed: nine units in ten do not move with x"
        else:
            verdict = "in use, every unit" if used == size else f"in use, {size - used} idle"
        shown = f"{rate:.2f}" if rate < 1 else f"{rate:.1f}"
        lines.append(f"z{level}: rate {shown} nats, {used} of {size} units active: {verdict}")
    return "\n".join(lines)


@torch.no_grad()
def traverse(
    model: Hierarchy, latents: Sequence[Tensor] | Tensor, unit: int, values: Sequence[float], level: int = 1
) -> Tensor:
    """Images (V, *event): the means of p(x | z) as one dimension of z_level takes each of the V values.

    `latents` are one example's, as `Hierarchy.decode` takes them: (L_level,), or the list of the levels from there on.
    The dimension is `unit`, from 0 on; the levels below are drawn anew for every value.

    Raises:
        ValueError: Where there is no such unit, level or value, or the latents do not fit.
    """
    many = [latents] if isinstance(latents, Tensor) else list(latents)
    steps = torch.as_tensor(values)
    if steps.ndim != 1 or len(steps) == 0 or not many or any(z.ndim != 1 for z in many):
        shapes = [tuple(z.shape) for z in many]
        raise ValueError(f"values {values!r}, latents {shapes}: expected one or more values and latents of one example")
    rows = [z.expand(len(steps), -1).clone() for z in many]
    if not isinstance(unit, Integral) or not 0 <= unit < rows[0].shape[-1]:
        raise ValueError(f"unit is {unit!r}: expected 0 to {rows[0].shape[-1] - 1}, level {level} has no other")
    rows[0][:, unit] = steps.to(rows[0])
    return mean_of(model.decode(rows, level))


def lerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points on the straight line between two latents (L,), ends included: (steps, L).

    Raises:
        ValueError: Where the ends are no floating-point tensors of one size, or steps is less than 2.
    """
    weight = _weights(start, end, steps)
    return (1 - weight) * start + weight * end


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Points on the arc between two latents (L,), the length changing evenly: (steps, L).

    In many dimensions the draws of N(0, I) lie close to a sphere of radius sqrt(L), which a straight line leaves.

    Raises:
        ValueError: As for `lerp`, and where an end is the origin, or there is no one arc between the two.
    Source: White 2016 (arXiv 1609.04468), section 2.1, for the arc; there the length is left to the formula.
    """
    _weights(start, end, steps)
    a, b = start.double(), end.double()  # the angle between near directions needs the digits
    weight = _weights(a, b, steps)
    if min(a.norm(), b.norm()) == 0:
        raise ValueError("an end of the arc is the origin, which has no direction: use lerp")
    angle = torch.arccos(((a / a.norm()) @ (b / b.norm())).clamp(-1, 1))
    if angle.sin() < 1e-6:
        raise ValueError("the ends point the same way or in opposite ways: there is no one arc between them; use lerp")
    arc = torch.sin((1 - weight) * angle) * a / a.norm() + torch.sin(weight * angle) * b / b.norm()
    return (arc / angle.sin() * ((1 - weight) * a.norm() + weight * b.norm())).to(start.dtype)


def nearest(images: Tensor, train: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Euclidean distances (N, k) and indices (N, k) of the k nearest training images, nearest first.

    A model that has memorised its data draws samples that lie much closer to training images than held-out images do.

    Raises:
        ValueError: Where the images are no floating-point tensors of one shape, or k is not from 1 to the number of
            training images.
    """
    integers(k=k)
    check_floating("images", images)
    check_floating("train", train)
    if images.shape[1:] != train.shape[1:] or k > len(train):
        shapes = f"images {tuple(images.shape)}, train {tuple(train.shape)}"
        raise ValueError(f"{shapes}, k={k}: expected images of one shape and k at most the number of training images")
    images = images if images.dtype == torch.float64 else images.float()
    known = train.flatten(1).to(images)
    middle = known.mean(0)
    parts = [_nearest(part.flatten(1), known, middle, k) for part in images.split(_CHUNK)]
    return torch.cat([values for values, _ in parts]), torch.cat([indices for _, indices in parts])


def _nearest(images: Tensor, train: Tensor, middle: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Of rows. `cdist` is quick by |a|^2 + |b|^2 - 2 a b, which loses digits: it only says which rows may be near."""
    centred = ((rows - middle).double() for rows in (images, train))
    near = torch.cdist(*centred).topk(min(k + 10, len(train)), largest=False).indices
    values, order = torch.linalg.vector_norm(images[:, None] - train[near], dim=-1).topk(k, largest=False)
    return values, near.gather(1, order)


def _means(distribution: Distribution, like: Tensor) -> Tensor:
    """Of each example given each draw that the distribution depends on, (K, B, L_t); a draw where it knows no mean."""
    try:
        each = distribution.mean
    except NotImplementedError:
        each = distribution.sample(like.shape[: like.ndim - 1 - len(distribution.batch_shape)])
    return each.expand_as(like)


def _weights(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """The share of the end at each step from 0 to 1, (steps, 1), for two ends that fit each other."""
    integers(2, steps=steps)
    check_floating("start", start)
    check_floating("end", end)
    if start.ndim != 1 or start.shape != end.shape:
        raise ValueError(f"ends {tuple(start.shape)} and {tuple(end.shape)}: expected two latents of one size, (L,)")
    return torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None]
