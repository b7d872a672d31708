import copy
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import nn

import vaelib as vl
from vaelib.priors import MixturePrior, StandardNormal, VampPrior


def mixture(event=2, components: int = 4) -> MixturePrior:
    """A mixture whose weights, means and sigmas all differ."""
    torch.manual_seed(0)
    prior = MixturePrior(event, components).double()
    with torch.no_grad():
        for weight in prior.parameters():
            weight.copy_(torch.randn_like(weight))
    return prior


def vamp(event=2, components: int = 4, inputs=3) -> VampPrior:
    torch.manual_seed(0)
    encoder = vl.Gaussian(inputs, event, (5,)).double()
    prior = VampPrior(encoder, components, torch.randn(components, encoder.inputs, dtype=torch.float64))
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.copy_(torch.randn_like(weight))
    return prior


def priors_of(encoder: vl.Gaussian, components: int = 5) -> list[nn.Module]:
    return [StandardNormal(encoder.event), MixturePrior(encoder.event, components), VampPrior(encoder, components)]


def binary(n: int = 6) -> torch.Tensor:
    return torch.bernoulli(torch.full((n, 1, 3, 3), 0.4), generator=torch.Generator().manual_seed(1))


def test_a_mixture_is_the_weighted_sum_of_its_gaussians():
    prior, z = mixture(), np.random.default_rng(0).normal(size=(7, 2))
    weights = special.softmax(prior.logits.detach().numpy())
    means, sigmas = prior.means.detach().numpy(), np.exp(prior.log_scales.detach().numpy())
    want = np.log(sum(w * stats.norm(m, s).pdf(z).prod(1) for w, m, s in zip(weights, means, sigmas, strict=True)))
    got = prior().log_prob(torch.tensor(z)).detach()
    assert np.allclose(got, want, atol=1e-12)  # float64, four terms
    equal = np.log(sum(stats.norm(m, s).pdf(z).prod(1) for m, s in zip(means, sigmas, strict=True)) / 4)
    assert not np.allclose(got, equal, atol=0.01)  # the test would notice weights that are left out


def test_a_vamp_prior_is_the_mean_of_the_posteriors_at_its_pseudo_inputs():
    prior, z = vamp(), np.random.default_rng(0).normal(size=(7, 2))
    densities = []
    for u in prior.pseudo_inputs:  # one by one, by the encoder's own numbers
        q = prior.encoder(u[None])
        mean, sigma = q.mean[0].detach().numpy(), q.stddev[0].detach().numpy()
        densities.append(stats.norm(mean, sigma).pdf(z).prod(1))
    assert np.allclose(prior().log_prob(torch.tensor(z)).detach(), np.log(np.mean(densities, 0)), atol=1e-12)


@pytest.mark.parametrize("make", [mixture, vamp])
def test_a_prior_in_one_dimension_integrates_to_one(make):
    prior = make(1)
    with torch.no_grad():
        total, error = integrate.quad(
            lambda z: prior().log_prob(torch.tensor([z], dtype=torch.float64)).exp().item(), -60, 60, points=[-3, 0, 3]
        )
    assert error < 1e-6
    assert total == pytest.approx(1, abs=1e-6)  # within what the quadrature promises


@pytest.mark.parametrize("make", [mixture, vamp])
@pytest.mark.parametrize("event", [3, (2, 2)])
def test_a_prior_has_the_shape_of_its_event_and_broadcasts_over_samples_and_examples(make, event):
    prior = make(event)
    distribution = prior()
    assert distribution.batch_shape == ()
    assert distribution.event_shape == prior.event == ((3,) if event == 3 else (2, 2))
    z = torch.randn(5, 6, *prior.event, dtype=torch.float64)
    together = distribution.log_prob(z)
    assert together.shape == (5, 6)
    assert together[4, 2].item() == pytest.approx(distribution.log_prob(z[4, 2]).item(), abs=1e-12)
    assert distribution.sample((4,)).shape == (4, *prior.event)


def test_a_mixture_of_one_component_at_zero_with_sigma_one_is_the_standard_normal():
    prior = MixturePrior(3, components=1)
    with torch.no_grad():
        prior.means.zero_()
        prior.logits.fill_(2.0)  # the weight of a single component is one, whatever its logit
    z = 3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(prior().log_prob(z), StandardNormal(3)().log_prob(z), atol=1e-5)  # float32, up to 60 nats


def test_draws_of_a_mixture_have_its_mean_and_its_variance():
    prior = mixture()
    distribution = prior()
    torch.manual_seed(0)
    draws = distribution.sample((40_000,))
    weights = prior.logits.softmax(0)[:, None]
    mean = (weights * prior.means).sum(0)
    variance = (weights * (prior.means**2 + (2 * prior.log_scales).exp())).sum(0) - mean**2
    assert ((draws.mean(0) - mean).abs() / (variance / len(draws)).sqrt()).max() < 5  # standard errors
    spread = ((draws - mean) ** 2).std(0) / math.sqrt(len(draws))
    assert (((draws - mean) ** 2).mean(0) - variance).abs().div(spread).max() < 5


def test_components_differ_at_the_start_and_none_has_more_weight():
    torch.manual_seed(0)
    prior = MixturePrior((2, 3), 10)
    assert len({tuple(mean.flatten().tolist()) for mean in prior.means}) == 10
    assert (prior.logits == 0).all()
    assert (prior.log_scales == 0).all()
    assert len({tuple(u.tolist()) for u in VampPrior(vl.Gaussian(4, 2, (3,)), 10).pseudo_inputs}) == 10


def test_gradients_reach_all_of_a_mixture():
    prior = mixture()
    prior().log_prob(torch.randn(5, 2, dtype=torch.float64)).sum().backward()
    assert all((weight.grad != 0).all() for weight in prior.parameters())


def test_gradients_reach_the_pseudo_inputs_and_the_encoder():
    prior = vamp()
    prior().log_prob(torch.randn(5, 2, dtype=torch.float64)).sum().backward()
    assert (prior.pseudo_inputs.grad != 0).all()
    assert all((weight.grad != 0).all() for weight in prior.encoder.parameters())
    for weight in (prior.pseudo_inputs, prior.encoder.heads[0].bias):  # by finite differences, too
        weight.grad, eps, z = None, 1e-6, torch.randn(5, 2, dtype=torch.float64)
        prior().log_prob(z).sum().backward()
        values = []
        for step in (eps, -eps):
            with torch.no_grad():
                weight.view(-1)[0] += step
                values.append(prior().log_prob(z).sum().item())
                weight.view(-1)[0] -= step
        assert weight.grad.view(-1)[0].item() == pytest.approx((values[0] - values[1]) / (2 * eps), rel=1e-6)


def test_pseudo_inputs_start_at_the_examples_given_and_leave_them_alone():
    encoder, x = vl.Gaussian(9, 2, (4,)), binary(6)
    prior = VampPrior(encoder, 6, start=x)
    assert torch.equal(prior.pseudo_inputs, x.flatten(1))
    with torch.no_grad():
        prior.pseudo_inputs.add_(1)
    assert torch.equal(x, binary(6))
    flat = x.flatten(1)
    assert VampPrior(encoder, 6, start=flat).pseudo_inputs.data_ptr() != flat.data_ptr()
    assert VampPrior(encoder).pseudo_inputs.shape == (500, 9)
    assert MixturePrior(2).means.shape == (10, 2)


def test_the_best_prior_of_an_encoder_is_its_aggregate_posterior():
    """With every example a pseudo-input, the mean rate is the mutual information of x and z, below log N."""
    torch.manual_seed(0)
    encoder, x = vl.Gaussian(9, 2, (4,)), binary(6)
    with torch.no_grad():
        encoder.heads[1].bias.fill_(-3.0)  # posteriors that hardly overlap
        q, z = encoder(x.flatten(1)), encoder(x.flatten(1)).sample((4000,))
        rates = {}
        for name, prior in {"aggregate": VampPrior(encoder, 6, x), "normal": StandardNormal(2)}.items():
            rates[name] = (q.log_prob(z) - prior().log_prob(z)).mean().item()
    assert 0 < rates["aggregate"] < math.log(6) + 1e-3  # float32
    assert rates["normal"] > rates["aggregate"] + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", range(3))
def test_a_vae_and_a_chain_take_every_prior(number, dtype):
    torch.manual_seed(0)
    encoders = [vl.Gaussian(9, 3, (5,)), vl.Gaussian(3, 2, (4,))]
    decoders = [vl.Bernoulli(3, (1, 3, 3), (5,)), vl.Gaussian(2, 3, (4,))]
    models = [
        vl.VAE(encoders[0], decoders[0], prior=priors_of(encoders[0])[number]),
        vl.MHVAE(copy.deepcopy(encoders), decoders, prior=None),
    ]
    models[1].prior = priors_of(models[1].encoders[1])[number]
    x = binary().to(dtype)
    for model in models:
        model.to(dtype)
        terms = model(x, samples=4)
        assert terms.log_weights.shape == (4, 6)
        assert terms.log_weights.dtype == model.sample(5).dtype == dtype
        sampled = terms.log_qz - terms.log_pz
        assert torch.equal(terms.rates[-1], sampled[-1]) == (number > 0)  # a mixture has no closed form
        vl.elbo(terms).mean().backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
        assert model.sample(5).shape == (5, 1, 3, 3)
        assert model.reconstruct(x, level=model.levels).shape == x.shape
        path = model(x, samples=4, path=True)
        assert torch.isfinite(vl.dreg(path)).all()


def test_a_top_down_hierarchy_takes_a_mixture():
    torch.manual_seed(0)
    made = vl.HVAE.mlp((1, 3, 3), (3, 2), ((5,), (4,)))
    model = vl.HVAE(made.encoder, made.decoders, MixturePrior(2))
    vl.elbo(model(binary(), samples=2)).mean().backward()
    assert (model.prior.means.grad != 0).any()
    assert model.sample(5).shape == (5, 1, 3, 3)


def test_the_encoder_is_shared_not_copied():
    encoder = vl.Gaussian(9, 2, (4,))
    model = vl.VAE(encoder, vl.Bernoulli(2, (1, 3, 3), (4,)), prior=VampPrior(encoder, 5))
    assert model.prior.encoder is model.encoders[0]
    assert len(list(model.parameters())) == len(list(encoder.parameters())) * 2 - 1 * 2 + 1  # one Bernoulli head less
    again = copy.deepcopy(model)
    assert again.prior.encoder is again.encoders[0]


def test_priors_follow_the_model_to_another_device():
    """On torch's device without values, where any tensor left on the CPU would be an error."""
    for prior in priors_of(vl.Gaussian(9, 2, (4,))):
        assert prior.to("meta")().log_prob(torch.zeros(4, 2, device="meta")).device.type == "meta"
    encoder = vl.Gaussian(9, 2, (4,)).to("meta")
    assert VampPrior(encoder, 5).pseudo_inputs.device.type == "meta"
    assert VampPrior(vl.Gaussian(9, 2, (4,)).double(), 5).pseudo_inputs.dtype == torch.float64


@pytest.mark.parametrize("number", [1, 2])
def test_the_likelihood_under_a_learned_prior_is_the_integral_over_z(number):
    torch.manual_seed(0)
    encoder = vl.Gaussian(9, 1, (4,))
    with torch.no_grad():
        encoder.heads[1].bias.fill_(0.8)  # draws from it reach wherever a prior has mass
    model = vl.VAE(encoder, vl.Bernoulli(1, (1, 3, 3), (4,)), prior=priors_of(encoder)[number]).double()
    x = binary().double()
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    with torch.no_grad():
        log_joint = model.prior().log_prob(z[:, None])[:, None] + model.decoders[0](z[:, None, None]).log_prob(x)
        exact = torch.logsumexp(log_joint, 0) + math.log(24 / 4000)  # (6,); the ends of the grid have no mass
    estimate = vl.nll(model, x, samples=20_000)
    assert torch.allclose(-estimate.per_example, exact, atol=0.03)  # some three standard errors of the estimate


def two_clusters() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    side = torch.arange(256) % 2 * 2.0 - 1
    return torch.stack([2 * side, side], 1) + 0.2 * torch.randn(256, 2, generator=generator)


def trained(number: int) -> float:
    """The ELBO, in nats per example, of a model with this prior, whose posteriors gather in two places."""
    torch.manual_seed(0)
    x = two_clusters()
    encoder = vl.Gaussian(2, 1, ())
    prior = [StandardNormal(1), MixturePrior(1, 4), VampPrior(encoder, 4, x[:4])][number]
    model = vl.VAE(encoder, vl.Gaussian(1, 2, (), scale=0.2), prior)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(500):
        optimizer.zero_grad()
        (-vl.elbo(model(x, samples=4)).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        return vl.elbo(model(x, samples=200)).mean().item()


@pytest.mark.slow
def test_learned_priors_reach_more_where_the_aggregate_posterior_has_two_modes():
    """The decoder is linear, so that it cannot make two clusters of one: the prior has to. Both gain 1.7 nats."""
    normal, mixture, vamp = (trained(number) for number in range(3))
    assert mixture > normal + 1
    assert vamp > normal + 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: StandardNormal(0), "event is 0: expected a positive integer"),
        (lambda: MixturePrior(0), "event is 0: expected a positive integer"),
        (lambda: MixturePrior(2, 0), "components is 0: expected an integer of at least 1"),
        (lambda: MixturePrior(2, 2.5), "components is 2.5: expected an integer"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 0), "components is 0: expected an integer"),
        (lambda: VampPrior(nn.Linear(4, 2)), "encoder is Linear: expected a Conditional such as Gaussian"),
        (lambda: VampPrior(None), "encoder is NoneType: expected a Conditional"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 3, torch.zeros(2, 4)), r"\(2, 4\): expected 3 examples, one per"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 3, torch.zeros(3, 5)), "of 4 numbers each"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 3, torch.zeros(3)), r"shape \(3,\): expected"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 3, torch.zeros(3, 4).long()), "start is torch.int64: expected a float"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 3, [[0.0] * 4] * 3), "start is list: expected a floating-point tensor"),
        (lambda: VampPrior(vl.Gaussian(4, 2), 3, torch.full((3, 4), math.nan)), "start has values that are NaN"),
        (
            lambda: vl.VAE(vl.Gaussian(4, 2), vl.Bernoulli(2, 4), MixturePrior(3)),
            "decoder 1 takes 2 numbers and is given 3: expected the same",
        ),
    ],
)
def test_bad_arguments_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_the_number_of_components_may_be_an_integer_of_numpy():
    assert MixturePrior(2, np.int64(3)).means.shape == (3, 2)
    assert VampPrior(vl.Gaussian(4, 2), np.int32(3)).pseudo_inputs.shape == (3, 4)
