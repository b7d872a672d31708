import pytest
import torch
from torch.distributions import Normal, kl_divergence

import vaelib as vl
from vaelib import sandwich
from vaelib.exact import LinearGaussianChain


def chain(levels: int) -> LinearGaussianChain:
    return LinearGaussianChain.random([3, 2, 2, 1][: levels + 1], seed=1)


@pytest.mark.parametrize("levels", [1, 2])
def test_annealed_weights_have_the_mean_that_makes_them_an_estimate_of_px(levels):
    """E[w] = p(x) for any number of steps, here few: 2,000 chains for one x."""
    c = chain(levels)
    torch.manual_seed(0)
    x = c.model().sample(1)
    log_w = vl.sandwich.ais(c.model(), x.expand(2000, -1), chains=1, steps=10, leapfrog=3) - c.log_px(x)
    ratio = log_w.exp()  # w / p(x)
    stderr = ratio.std() / 2000**0.5
    assert stderr < 0.1
    assert abs(ratio.mean() - 1) < 5 * stderr
    assert abs(ratio.mean() - 1.5) > 5 * stderr  # the test would notice a factor of 1.5
    assert log_w.mean() < -5 * log_w.std() / 2000**0.5  # and the log of one weight is a lower bound


@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_sandwich_holds_the_exact_value_and_closes_with_more_steps(levels):
    c = chain(levels)
    gaps = []
    for steps in (5, 100):
        s = vl.sandwich.bdmc(c.model(), n=30, chains=4, steps=steps)
        below, above = c.log_px(s.x) - s.lower, s.upper - c.log_px(s.x)
        for side in (below, above):  # means over 30 examples; each at least zero in expectation
            assert side.mean() > -4 * side.std() / 30**0.5
        gaps.append((s.upper - s.lower).mean().item())
    assert gaps[0] > 2 * gaps[1]
    assert abs(gaps[1]) < 0.4


def test_backwards_from_a_draw_that_is_no_posterior_draw_the_upper_side_fails(monkeypatch):
    """What bdmc rests on: a chain that starts from the prior gives an 'upper bound' that lies below."""
    c = chain(1)
    model = c.model()
    exact = vl.sandwich.bdmc(model, n=200, chains=1, steps=1)
    anneal = sandwich._anneal

    def displaced(model, x, latents, betas, *rest):
        start = sandwich._prior_draws(model, *latents[0].shape[:2]) if betas[0] == 1 else latents
        return anneal(model, x, start, betas, *rest)

    monkeypatch.setattr(sandwich, "_anneal", displaced)
    wrong = vl.sandwich.bdmc(model, n=200, chains=1, steps=1)
    for s, holds in ((exact, True), (wrong, False)):
        above = s.upper - c.log_px(s.x)
        assert bool(above.mean() > -4 * above.std() / 200**0.5) is holds


def test_a_transition_leaves_its_density_invariant():
    """One step of Hamiltonian Monte Carlo from exact draws of f_b, b = 1/2: their moments stay."""
    weight, noise, b = 1.3, 0.6, 0.5

    class Scalar(torch.nn.Module):
        inputs, event = 1, (1,)

        def forward(self, z):
            return torch.distributions.Independent(Normal(weight * z, noise), 1)

    model = vl.VAE(vl.Gaussian(1, 1, hidden=()), Scalar()).double()
    x = torch.full((1, 1), 0.8, dtype=torch.float64)
    precision = 1 + b * weight**2 / noise**2
    mean = b * weight * 0.8 / noise**2 / precision
    torch.manual_seed(0)
    z = [mean + precision**-0.5 * torch.randn(40_000, 1, 1, dtype=torch.float64)]
    moved, chance = sandwich._hmc(model, x, z, b, torch.full((40_000, 1), 0.5, dtype=torch.float64), 3)
    assert 0.5 < chance.mean() < 0.999  # some are refused, so the refusals are tested too
    moments = Normal(moved[0].mean(), moved[0].std())
    # KL of two near Gaussians is about z^2 / (2 n) per moment: 12.5 / n is five standard errors.
    assert kl_divergence(moments, Normal(mean, precision**-0.5)) < 2 * 12.5 / 40_000
    assert (moved[0] - z[0]).abs().mean() > 0.1


def test_ais_is_seeded_and_leaves_the_callers_random_numbers_and_the_weights_alone():
    torch.manual_seed(0)
    model = vl.VAE.mlp(4, latent=2, hidden=(3,))
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    torch.manual_seed(5)
    want = torch.rand(2)
    torch.manual_seed(5)
    first = vl.sandwich.ais(model, x, chains=2, steps=5)
    assert torch.equal(torch.rand(2), want)
    assert torch.equal(first, vl.sandwich.ais(model, x, chains=2, steps=5))
    assert not torch.equal(first, vl.sandwich.ais(model, x, chains=2, steps=5, seed=1))
    assert all(weight.grad is None for weight in model.parameters())
    assert model.training


@pytest.mark.slow
def test_ais_agrees_with_quadrature_for_a_general_hierarchy():
    torch.manual_seed(0)
    model = vl.HVAE.mlp(6, latents=(1, 1), hidden=((4,), (4,))).double()
    with torch.no_grad():
        for weight in model.decoders[0].parameters():
            weight.mul_(4)  # a posterior that is not the prior
    x = torch.bernoulli(torch.full((3, 6), 0.5, dtype=torch.float64))
    exact = vl.exact.grid(model, x).log_px()
    estimate = vl.sandwich.ais(model, x, chains=64, steps=50)
    assert (estimate - exact).abs().max() < 0.1  # 64 weights of spread below 0.3 nats: a standard error of 0.04


def test_with_one_step_ais_is_importance_sampling_from_the_prior():
    c = chain(1)
    torch.manual_seed(0)
    x = c.model().sample(2)
    estimate = vl.sandwich.ais(c.model(), x, chains=5, steps=1, seed=3)
    torch.manual_seed(3)
    c.prior().sample((5, 2))  # the draws of the run that finds step sizes
    z = c.prior().sample((5, 2))
    want = torch.logsumexp(c.decoders[0](z).log_prob(x), 0) - torch.tensor(5.0).log()
    assert torch.allclose(estimate, want)


@pytest.mark.parametrize("wrong", [{"chains": 0}, {"steps": 0}, {"leapfrog": 0}, {"steps": 2.5}])
def test_numbers_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="expected an integer of at least 1"):
        vl.sandwich.ais(chain(1).model(), torch.zeros(1, 3, dtype=torch.float64), **wrong)
    with pytest.raises(ValueError, match="expected an integer of at least 1"):
        vl.sandwich.bdmc(chain(1).model(), **wrong)


def test_the_moves_have_their_gradients_under_inference_mode():
    model, few = chain(1).model(), {"chains": 2, "steps": 3, "leapfrog": 2}
    x = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64)
    want = vl.sandwich.ais(model, x, **few), vl.sandwich.bdmc(model, 2, **few).upper
    with torch.inference_mode():
        x = x.clone()
        assert vl.sandwich.ais(model, x, **few).equal(want[0])
        assert vl.sandwich.bdmc(model, 2, **few).upper.equal(want[1])
    assert vl.sandwich.ais(model, x, **few).equal(want[0])


@pytest.mark.parametrize("model", [None, "chain", vl.VAE, torch.nn.Linear(2, 2)])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(ValueError, match=r"model is \w+: expected a VAE, MHVAE, HVAE or another"):
        vl.sandwich.bdmc(model)
    with pytest.raises(ValueError, match=r"model is \w+: expected a VAE, MHVAE, HVAE or another"):
        vl.sandwich.ais(model, torch.zeros(1, 2))
