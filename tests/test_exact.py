import numpy as np
import pytest
import torch
from scipy import integrate, stats

import vaelib as vl
from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain

SIZES = {1: [4, 3], 2: [4, 3, 2], 3: [4, 3, 2, 2]}


def chain(levels: int) -> LinearGaussianChain:
    return LinearGaussianChain.random(SIZES[levels], seed=levels)


def x_for(levels: int, batch: int = 5) -> torch.Tensor:
    return torch.randn(batch, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def scalar_chain() -> LinearGaussianChain:
    """KNOWN case E13: T = 2, p(x | z1) = N(.9 z1, .7^2), p(z1 | z2) = N(.8 z2, .5^2), p(z2) = N(0, 1)."""
    number = lambda value: torch.full((1, 1), value, dtype=torch.float64)  # noqa: E731
    zero = torch.zeros(1, dtype=torch.float64)
    decoders = [LinearGaussian(number(0.9), zero, number(0.49)), LinearGaussian(number(0.8), zero, number(0.25))]
    return LinearGaussianChain(decoders, GaussianPrior(zero, number(1.0)))


def scalar_encoders() -> list[LinearGaussian]:
    """q(z1 | x) = N(sqrt(.6) x, .4), q(z2 | z1) = N(sqrt(.5) z1, .5): a variance-preserving diffusion."""
    number = lambda value: torch.full((1, 1), value, dtype=torch.float64)  # noqa: E731
    zero = torch.zeros(1, dtype=torch.float64)
    return [LinearGaussian(number(a**0.5), zero, number(1 - a)) for a in (0.6, 0.5)]


def test_marginal_of_a_scalar_chain_by_quadrature():
    def integrand(z1, z2, x=0.7):
        return stats.norm.pdf(x, 0.9 * z1, 0.7) * stats.norm.pdf(z1, 0.8 * z2, 0.5) * stats.norm.pdf(z2)

    value, error = integrate.dblquad(integrand, -8, 8, -8, 8, epsabs=1e-10)
    exact = scalar_chain().log_px(torch.tensor([[0.7]], dtype=torch.float64)).item()
    assert error < 1e-7
    assert exact == pytest.approx(np.log(value), abs=1e-7)  # the quadrature's own error bound
    assert exact == pytest.approx(-1.2169, abs=5e-5)


def test_elbo_of_a_scalar_chain_and_its_wrong_twin():
    x = torch.tensor([[0.7]], dtype=torch.float64)
    elbo = scalar_chain().elbo(x, scalar_encoders()).item()
    assert elbo == pytest.approx(-1.3756, abs=5e-5)
    # E13: Luo 2022, eq. 45 gives -2.2807; the gap is b sqrt(alpha_2) (1 - alpha_1) / s^2.
    assert elbo + 2.2807 == pytest.approx(0.8 * 0.5**0.5 * 0.4 / 0.25, abs=1e-4)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_posterior_is_joint_over_marginal(levels):
    c, x = chain(levels), x_for(levels)
    weights = c.model()(x, samples=7).log_weights  # log p(x, z) - log p(z | x): the same for every z
    assert torch.allclose(weights, c.log_px(x).expand(7, -1), atol=1e-10, rtol=0)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_elbo_at_the_exact_posterior_is_log_px(levels):
    c, x = chain(levels), x_for(levels)
    terms = c.model()(x, samples=3)
    sampled = vl.elbo(terms._replace(kl=None))  # every rate sampled: each draw gives log p(x) itself
    assert torch.allclose(c.elbo(x, c.posteriors()), c.log_px(x), atol=1e-10, rtol=0)
    assert torch.allclose(sampled, c.log_px(x), atol=1e-10, rtol=0)
    assert torch.allclose(vl.iwae(terms), c.log_px(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_wrong_posterior_lowers_the_elbo(levels):
    c, x = chain(levels), x_for(levels)
    encoders = c.posteriors()
    encoders[0] = LinearGaussian(encoders[0].weight, encoders[0].bias + 0.3, encoders[0].covariance)
    assert (c.log_px(x) - c.elbo(x, encoders)).min() > 1e-3


def test_halving_the_variance_costs_its_closed_form():
    c, x = chain(1), x_for(1)
    (q,) = c.posteriors()
    halved = [LinearGaussian(q.weight, q.bias, q.covariance / 2)]
    cost = c.log_px(x) - c.elbo(x, halved)
    want = 3 * 0.5 * (np.log(2) - 0.5)  # 0.09657 nats per latent dimension
    assert torch.allclose(cost, torch.full_like(cost, want), atol=1e-10)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_sampled_elbo_agrees_with_the_exact_one(levels):
    c, x = chain(levels), x_for(levels)
    encoders = [LinearGaussian(q.weight, q.bias + 0.2, 1.5 * q.covariance) for q in c.posteriors()]
    torch.manual_seed(0)
    terms = c.model(encoders)(x, samples=20_000)
    for draws in (terms.log_weights, terms.log_px - terms.rates.sum(0)):  # rates sampled, and closed-form at the top
        z = (draws.mean(0) - c.elbo(x, encoders)) / (draws.std(0) / 20_000**0.5)
        # Five examples, six comparisons: |z| > 5 has a chance of 2e-5 in all.
        assert z.abs().max() < 5
    biased = (terms.log_weights.mean(0) + 0.05 - c.elbo(x, encoders)) / (terms.log_weights.std(0) / 20_000**0.5)
    assert biased.abs().max() > 5  # the test would notice 0.05 nats


def test_iwae_lies_between_the_elbo_and_log_px_and_rises():
    c, x = chain(2), x_for(2)
    encoders = [LinearGaussian(q.weight, q.bias, 2 * q.covariance) for q in c.posteriors()]
    torch.manual_seed(0)
    model = c.model(encoders)
    mean = [torch.stack([vl.iwae(model(x, samples=k)) for _ in range(2000)]).mean(0) for k in (1, 5, 50)]
    assert (mean[0] < mean[1]).all()
    assert (mean[1] < mean[2]).all()
    assert (mean[2] < c.log_px(x) + 0.01).all()  # 0.01: three standard errors


def test_random_chains_are_seeded_and_in_double_precision():
    a, b, other = (LinearGaussianChain.random([4, 3, 2], seed=seed) for seed in (1, 1, 2))
    x = x_for(2)
    assert torch.equal(a.log_px(x), b.log_px(x))
    assert not torch.allclose(a.log_px(x), other.log_px(x))
    assert a.log_px(x).dtype == torch.float64
    assert torch.equal(LinearGaussianChain.random([4, 3]).log_px(x), LinearGaussianChain.random([4, 3], 0).log_px(x))


def test_exact_densities_are_not_validated_either():
    assert scalar_chain().prior()._validate_args is False


def test_wrong_shapes_are_refused():
    eye = torch.eye(2)
    with pytest.raises(ValueError, match="expected \\(size, inputs\\)"):
        LinearGaussian(torch.zeros(2, 3), torch.zeros(3), eye)
    with pytest.raises(ValueError, match="at least one decoder"):
        LinearGaussianChain([], GaussianPrior(torch.zeros(2), eye))
