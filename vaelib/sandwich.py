"""log p(x) from below and from above: annealed importance sampling, forwards and backwards.

A sequence of densities leads from the prior to the posterior (times p(x))::

    f_b(z) = p(z) p(x | z)^b,   0 = b_0 < b_1 < ... < b_S = 1

Annealing moves chains through it, each step with a transition that leaves f_b invariant, and collects
w = prod_s p(x | z_s)^(b_s - b_{s-1}). Forwards from prior draws, E[w] = p(x), and the log of a mean of w's is in
expectation a lower bound. Backwards from an exact posterior draw, the mean of 1 / w is 1 / p(x), and the bound lies
above. Where x is drawn from the model, the z it came from is an exact posterior draw, so both sides can be had.

    >>> import vaelib as vl
    >>> chain = vl.exact.LinearGaussianChain.random([3, 1])
    >>> bounds = bdmc(chain.model(), n=4, chains=8, steps=50)
    >>> exact = chain.log_px(bounds.x)
    >>> bool((bounds.lower - exact).mean() < 0.1), bool((bounds.upper - exact).mean() > -0.1)
    (True, True)

Source: Neal 2001, "Annealed importance sampling"; Grosse et al. 2015 (arXiv 1511.02543); for decoders, Wu
et al. 2017 (arXiv 1611.04273).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arguments import integers
from .evaluate import evaluation, suited
from .hierarchy import Hierarchy, check_model

_ACCEPTANCE = 0.65  # the share of proposals that Hamiltonian Monte Carlo should accept (Neal 2011, section 4.4)


class Sandwich(NamedTuple):
    """Of n examples x, (n, *event), drawn from the model: in expectation lower <= log p(x) <= upper, (n,), in nats.

    Their distance bounds the error of both.
    """

    lower: Tensor
    upper: Tensor
    x: Tensor


@torch.inference_mode(False)  # the moves need gradients
def ais(model: Hierarchy, x: Any, chains: int = 16, steps: int = 500, leapfrog: int = 10, seed: int = 0) -> Tensor:
    """log p(x) from below, (B,), in nats, for x (B, *event) or a data set: in expectation a lower bound.

    `chains` per example go from the prior to the posterior in `steps`; more of either make the bound tighter. Each step
    is a transition of Hamiltonian Monte Carlo of `leapfrog` moves. Their sizes are found in a run of its
    own, so that the measured one is exact. Needs a density of z and x that is differentiable in z.

    Raises:
        ValueError: Where x does not suit the model, or a number is below 1.
    """
    chains, steps, leapfrog = integers(chains=chains, steps=steps, leapfrog=leapfrog)
    x = suited(model, x).clone()  # what was made in inference mode has no gradients
    with evaluation(model, seed):
        return _forwards(model, x, chains, _schedule(steps), leapfrog)[0]


@torch.inference_mode(False)
def bdmc(
    model: Hierarchy, n: int = 16, chains: int = 16, steps: int = 500, leapfrog: int = 10, seed: int = 0
) -> Sandwich:
    """Bidirectional Monte Carlo: log p(x) from below and above, for n examples that are drawn from the model.

    What holds for these examples need not hold for real ones, which may be harder. Arguments are those of `ais`.

    Raises:
        ValueError: Where the model is none, or a number is below 1.
    """
    check_model(model)
    n, chains, steps, leapfrog = integers(n=n, chains=chains, steps=steps, leapfrog=leapfrog)
    betas = _schedule(steps)
    with evaluation(model, seed):
        truth = _prior_draws(model, 1, n)
        with torch.no_grad():
            x = model.likelihood(truth).sample()[0]
        lower, sizes = _forwards(model, x, chains, betas, leapfrog)
        exact = [z.expand(chains, *z.shape[1:]) for z in truth]
        upper = -_anneal(model, x, exact, betas.flip(0), leapfrog, sizes.flip(0))[0]
    return Sandwich(lower, upper, x)


def _schedule(steps: int) -> Tensor:
    """b_0 ... b_S along a sigmoid: small steps at both ends, where the densities change fastest (Wu et al. 2017)."""
    ramp = torch.sigmoid(torch.linspace(-4, 4, steps + 1))
    return (ramp - ramp[0]) / (ramp[-1] - ramp[0])


def _prior_draws(model: Hierarchy, chains: int, examples: int) -> list[Tensor]:
    """z_1 ... z_T from the prior, each (C, B, L_t)."""
    with torch.no_grad():
        return model.draw_below([model.prior().sample((chains, examples))], level=model.levels)


def _forwards(model: Hierarchy, x: Tensor, chains: int, betas: Tensor, leapfrog: int) -> tuple[Tensor, Tensor]:
    """Chains from prior draws, with the step sizes that a first run has found: what `_anneal` returns."""
    sizes = _anneal(model, x, _prior_draws(model, chains, len(x)), betas, leapfrog)[1]
    return _anneal(model, x, _prior_draws(model, chains, len(x)), betas, leapfrog, sizes)


def _anneal(
    model: Hierarchy, x: Tensor, latents: list[Tensor], betas: Tensor, leapfrog: int, sizes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Chains along b_0 ... b_S: the log of their mean weight, (B,), and the step sizes between, (S - 1, C, B).

    Without `sizes` each chain's step size follows its own acceptance, which is good for finding sizes only.
    """
    log_weights = torch.zeros(latents[0].shape[:2], dtype=latents[0].dtype, device=x.device)
    step, used = torch.full_like(log_weights, 0.1), []
    for s, (before, beta) in enumerate(pairwise(betas.tolist()), start=1):
        with torch.no_grad():
            log_weights += (beta - before) * model.log_joint(x, latents)[0]
        if s == len(betas) - 1:
            break  # nothing is weighted after the last change of density
        used.append(step if sizes is None else sizes[s - 1])
        latents, accepted = _hmc(model, x, latents, beta, used[-1], leapfrog)
        step = torch.where(accepted > _ACCEPTANCE, step * 1.05, step / 1.05)
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights)), torch.stack(used) if used else step[:0]


def _hmc(
    model: Hierarchy, x: Tensor, latents: list[Tensor], beta: float, step: Tensor, leapfrog: int
) -> tuple[list[Tensor], Tensor]:
    """One transition that leaves f_beta invariant, and its chance, (C, B): Neal 2011 (arXiv 1206.1901), figure 2."""

    def log_density(at: list[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        with torch.enable_grad():
            at = [z.detach().requires_grad_() for z in at]
            log_px, log_pz = model.log_joint(x, at)
            value = log_pz + beta * log_px
            return value.detach(), torch.autograd.grad(value.sum(), at)

    def kinetic(momenta: list[Tensor]) -> Tensor:
        return torch.stack([0.5 * (m**2).sum(-1) for m in momenta]).sum(0)

    step = step[..., None]
    momenta = [torch.randn_like(z) for z in latents]
    value, gradient = log_density(latents)
    start, proposal = value - kinetic(momenta), latents
    for _ in range(leapfrog):
        momenta = [m + 0.5 * step * g for m, g in zip(momenta, gradient, strict=True)]
        proposal = [z + step * m for z, m in zip(proposal, momenta, strict=True)]
        value, gradient = log_density(proposal)
        momenta = [m + 0.5 * step * g for m, g in zip(momenta, gradient, strict=True)]
    chance = (value - kinetic(momenta) - start).nan_to_num(-math.inf).exp().clamp(max=1)  # a chain that flew off stays
    take = (torch.rand_like(chance) < chance)[..., None]
    return [torch.where(take, new, z) for new, z in zip(proposal, latents, strict=True)], chance
