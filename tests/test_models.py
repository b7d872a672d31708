import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Independent, Laplace, Normal

import vaelib as vl
from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain
from vaelib.models import merge


def binary(batch: int = 6) -> torch.Tensor:
    return torch.bernoulli(torch.full((batch, 1, 4, 4), 0.4), generator=torch.Generator().manual_seed(0))


def chain(levels: int, **options) -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 4, 4), latents=(5, 4, 3)[:levels], hidden=((8,),) * levels, **options)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_terms_have_a_row_per_level_a_sample_axis_and_a_batch_axis(levels):
    terms = chain(levels)(binary(), samples=7)
    assert terms.log_px.shape == (7, 6)
    assert terms.log_pz.shape == terms.log_qz.shape == terms.rates.shape == (levels, 7, 6)
    assert vl.elbo(terms).shape == vl.iwae(terms).shape == (6,)


def test_mlp_decoders_mirror_their_encoders():
    model = vl.MHVAE.mlp((1, 4, 4), latents=(5, 4), hidden=((9, 8, 7), (6, 3)))

    def widths(conditional):
        return [conditional.inputs, *(layer.out_features for layer in conditional.body[::2]), conditional.event]

    assert [widths(q) for q in model.encoders] == [[16, 9, 8, 7, (5,)], [5, 6, 3, (4,)]]
    assert [widths(p) for p in model.decoders] == [[5, 7, 8, 9, (1, 4, 4)], [4, 3, 6, (5,)]]
    assert isinstance(model.decoders[0], vl.Bernoulli)
    assert isinstance(vl.VAE.mlp(4, likelihood="gaussian").decoders[0], vl.Gaussian)


@pytest.mark.parametrize("family", [vl.MHVAE, vl.HVAE])
def test_mlp_starts_from_the_mean_of_the_data(family):
    mean = torch.linspace(0.1, 0.9, 16).reshape(1, 4, 4)
    model = family.mlp((1, 4, 4), (3, 2), ((8,), (5,)), mean=mean)
    assert torch.equal(model.decoders[0].heads[0].bias, torch.logit(mean).flatten())
    assert torch.equal(vl.VAE.mlp((1, 4, 4), 3, (8,), mean=mean).decoders[0].heads[0].bias, torch.logit(mean).flatten())


def test_mlp_defaults_are_the_networks_of_burda_et_al():
    flat, chain_of_two = vl.VAE.mlp(784), vl.MHVAE.mlp(784)
    assert [flat.encoders[0].hidden, flat.encoders[0].event] == [(200, 200), (50,)]
    assert [q.hidden for q in chain_of_two.encoders] == [(200, 200), (100, 100)]
    assert [q.event for q in chain_of_two.encoders] == [(100,), (50,)]


def test_terms_written_out_by_hand_for_two_levels():
    model, x = chain(2).double(), binary().double()
    torch.manual_seed(3)
    terms = model(x, samples=4)
    torch.manual_seed(3)
    q1 = model.encoders[0](x.flatten(1))
    z1 = q1.mean + q1.stddev * torch.randn(4, 6, 5, dtype=torch.float64)
    q2 = model.encoders[1](z1)
    z2 = q2.mean + q2.stddev * torch.randn(4, 6, 4, dtype=torch.float64)
    p1 = model.decoders[1](z2)

    def log_density(d, z):
        return torch.from_numpy(stats.norm(d.mean.detach(), d.stddev.detach()).logpdf(z.detach()))

    atol = 1e-10  # sums of at most 5 float64 terms
    assert torch.allclose(terms.log_qz[0], log_density(q1, z1).sum(-1), atol=atol)
    assert torch.allclose(terms.log_qz[1], log_density(q2, z2).sum(-1), atol=atol)
    assert torch.allclose(terms.log_pz[0], log_density(p1, z1).sum(-1), atol=atol)
    assert torch.allclose(terms.log_pz[1], torch.from_numpy(stats.norm.logpdf(z2.detach())).sum(-1), atol=atol)
    m, s = q2.mean, q2.stddev
    closed = 0.5 * (m**2 + s**2 - 1 - 2 * s.log()).sum(-1)  # KL(N(m, s^2) || N(0, I)), nats per example
    assert torch.allclose(terms.rates[1], closed, atol=atol)
    assert torch.allclose(terms.rates[0], terms.log_qz[0] - terms.log_pz[0], atol=atol)


def test_the_middle_rate_is_sampled_jointly_not_a_conditional_kl():
    """E13: against Luo 2022, eq. 45, whose value is lower by 0.9051 nats in this case."""
    number = lambda value: torch.full((1, 1), value, dtype=torch.float64)  # noqa: E731
    zero = torch.zeros(1, dtype=torch.float64)
    p = [LinearGaussian(number(0.9), zero, number(0.49)), LinearGaussian(number(0.8), zero, number(0.25))]
    q = [LinearGaussian(number(a**0.5), zero, number(1 - a)) for a in (0.6, 0.5)]
    c = LinearGaussianChain(p, GaussianPrior(zero, number(1.0)))
    torch.manual_seed(0)
    x = torch.full((1, 1), 0.7, dtype=torch.float64)
    draws = c.model(q)(x, samples=200_000)
    values = (draws.log_px - draws.rates.sum(0))[:, 0]
    stderr = values.std() / len(values) ** 0.5
    assert abs(values.mean() - c.elbo(x, q)) < 5 * stderr
    assert abs(values.mean() - -2.2807) > 100 * stderr


def test_defaults_are_one_draw_and_the_level_next_to_the_data():
    model, x = chain(2), binary()
    assert model(x).log_px.shape == (1, 6)
    torch.manual_seed(1)
    default = model.reconstruct(x)
    torch.manual_seed(1)
    assert torch.equal(default, model.reconstruct(x, level=1))


def test_vae_is_the_one_level_chain():
    model, x = vl.VAE.mlp((1, 4, 4), latent=3, hidden=(8,)), binary()
    same = vl.MHVAE([model.encoders[0]], [model.decoders[0]])
    torch.manual_seed(0)
    ours = model(x, samples=2)
    torch.manual_seed(0)
    theirs = same(x, samples=2)
    assert ours.latents is theirs.latents is None
    assert all(torch.equal(a, b) for a, b in zip(ours[:4], theirs[:4], strict=True))


@pytest.mark.parametrize("levels", [1, 2])
def test_elbo_gradients_match_finite_differences(levels):
    """Reparameterised: with the noise held fixed the sampled ELBO is a smooth function of every weight."""
    model, x = chain(levels).double(), binary(2).double()
    parameters = dict(model.named_parameters())

    def value(*weights):
        torch.manual_seed(0)
        terms = torch.func.functional_call(model, dict(zip(parameters, weights, strict=True)), (x, 2, False))
        return vl.elbo(terms)

    assert torch.autograd.gradcheck(value, tuple(parameters.values()), fast_mode=True)


def test_an_example_does_not_depend_on_its_batch_mates():
    model, x = chain(2), binary()
    with torch.no_grad():
        z = model.encode(x)
        together = model.decoders[0](z[0]).log_prob(x)
        alone = model.decoders[0](z[0][:, 2:3]).log_prob(x[2:3])
    assert torch.allclose(together[:, 2:3], alone, atol=1e-5)  # float32, sums of 16 terms


def test_levels_and_shapes_of_sampling_encoding_and_reconstructing():
    model, x = chain(3), binary()
    assert [tuple(z.shape) for z in model.encode(x, samples=2)] == [(2, 6, 5), (2, 6, 4), (2, 6, 3)]
    assert model.sample(4).shape == (4, 1, 4, 4)
    assert model.sample(1).shape == (1, 1, 4, 4)
    assert set(model.sample(4).unique().tolist()) <= {0.0, 1.0}
    assert 0 < model.sample(4, mean=True).min() < model.sample(4, mean=True).max() < 1
    assert all(model.reconstruct(x, level=level).shape == x.shape for level in (1, 2, 3))
    assert model.posterior(x).batch_shape == (6,)
    assert model.decode(torch.zeros(2, 3), level=3).mean.shape == (2, 1, 4, 4)


def test_samples_follow_the_model_in_a_case_with_known_moments():
    """z ~ N(0, 1), x | z ~ N(2 z, 0.5^2): x has mean 0 and variance 4.25."""

    class Line(nn.Module):
        inputs, event = 1, (1,)

        def forward(self, z):
            return Independent(Normal(2 * z, torch.full_like(z, 0.5)), 1)

    model = vl.VAE(vl.Gaussian(1, 1, hidden=()), Line())
    torch.manual_seed(0)
    x = model.sample(40_000)
    assert abs(x.mean()) < 5 * 4.25**0.5 / 200
    assert abs(x.var() - 4.25) < 5 * 4.25 * (2 / 40_000) ** 0.5
    assert abs(model.sample(40_000, mean=True).var() - 4) < 5 * 4 * (2 / 40_000) ** 0.5


class LaplacePrior(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("loc", torch.zeros(size))

    def forward(self):
        return Independent(Laplace(self.loc, torch.ones_like(self.loc)), 1)


class Plain(nn.Module):
    """A user's own encoder: no base class, no declared sizes."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, x):
        return Independent(Normal(self.layer(x.flatten(1)), 1.0), 1)


def test_any_module_that_returns_a_distribution_plugs_in():
    model = vl.VAE(Plain(), vl.Bernoulli(3, (1, 4, 4)), prior=LaplacePrior(3))
    terms = model(binary(), samples=3)
    free = nn.Sequential(nn.Linear(2, 3))
    free.forward = lambda z: Independent(Normal(free[0](z), 1.0), 1)
    two = vl.MHVAE([Plain(), vl.Gaussian(3, 2)], [vl.Bernoulli(3, (1, 4, 4)), free])
    assert vl.elbo(two(binary())).shape == (6,)
    assert torch.isfinite(vl.elbo(terms)).all()
    assert model.sample(2).shape == (2, 1, 4, 4)


def test_a_pair_without_a_closed_form_is_sampled():
    class Student(nn.Module):
        def forward(self, x):
            return Independent(torch.distributions.StudentT(torch.full((len(x), 3), 5.0)), 1)

    terms = vl.VAE(Student(), vl.Bernoulli(3, (1, 4, 4)), prior=vl.StandardNormal(3))(binary(), samples=3)
    assert terms.log_px.shape == (3, 6)
    assert torch.equal(terms.rates, terms.log_qz - terms.log_pz)


def test_state_dict_round_trip():
    model, other, x = chain(2), chain(2), binary()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1.0)
    other.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    a = vl.elbo(model(x))
    torch.manual_seed(0)
    assert torch.equal(a, vl.elbo(other(x)))


NAN = torch.full((2, 1, 4, 4), math.nan)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.zeros(2, 4, 4), r"x has shape \(2, 4, 4\): expected a batch of shape \(1, 4, 4\)"),
        (torch.zeros(2, 1, 5, 5), r"x has shape \(2, 1, 5, 5\): expected a batch of shape \(1, 4, 4\)"),
        (torch.zeros(16), "x has shape"),
        (torch.zeros(0, 1, 4, 4), "at least one example"),
        (NAN, "NaN or infinite"),
        (NAN.nan_to_num(math.inf), "NaN or infinite"),
        (torch.full((2, 1, 4, 4), -0.42), r"outside \{0, 1\} \(min -0.42, max -0.42\)"),
        (torch.full((2, 1, 4, 4), 0.5), r"needs binary data"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "x is torch.uint8: .*divide 8-bit images by 255"),
        ([[0.0]], "x is list"),
    ],
)
@pytest.mark.parametrize("entry", ["__call__", "posterior", "encode", "reconstruct"])
def test_bad_images_are_one_clear_error(bad, says, entry):
    with pytest.raises(ValueError, match=says):
        getattr(chain(2), entry)(bad)


def test_support_of_another_likelihood_is_checked_too():
    class Exponential(nn.Module):
        inputs, event = 3, (16,)

        def forward(self, z):
            return Independent(torch.distributions.Exponential(torch.ones(*z.shape[:-1], 16)), 1)

    with pytest.raises(ValueError, match="outside the likelihood's support"):
        vl.VAE(vl.Gaussian(16, 3), Exponential())(torch.full((2, 16), -1.0))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: vl.MHVAE([], []), "T >= 1"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=(), hidden=()), "T >= 1"),
        (lambda: vl.MHVAE([vl.Gaussian(16, 3)], []), r"decoders are \[\]: expected a list with one module per level"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=(5, 4), hidden=((8,),)), "one latent size and one tuple"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=5, hidden=((8,),)), "one latent size and one tuple"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=(5,), hidden=(8,)), "hidden is 8"),
        (
            lambda: vl.VAE.mlp((1, 4, 4), likelihood="poisson"),
            "unknown likelihood 'poisson': choose one of bernoulli, categorical",
        ),
        (lambda: vl.VAE.mlp((1, 4, 4), latent=0), r"latents\[0\] is 0"),
        (
            lambda: vl.VAE(vl.Gaussian(16, 3), vl.Bernoulli(4, 16)),
            "decoder 1 takes 4 numbers and is given 3: expected the same",
        ),
        (
            lambda: vl.MHVAE([vl.Gaussian(16, 3), vl.Gaussian(4, 2)], [vl.Bernoulli(3, 16), vl.Gaussian(2, 3)]),
            "encoder 2 takes 4 numbers and is given 3: expected",
        ),
        (
            lambda: vl.MHVAE([vl.Gaussian(16, 3), vl.Gaussian(3, 2)], [vl.Bernoulli(3, 16), vl.Gaussian(2, 4)]),
            "decoder 1 takes 3 numbers and is given 4: expected",
        ),
        (lambda: vl.VAE(lambda x: x, vl.Bernoulli(3, 16)), "is no torch module"),
        (lambda: vl.VAE(vl.Gaussian(16, 3), vl.Bernoulli(3, 16), prior=Normal(0, 1)), "is no torch module"),
        (lambda: vl.VAE(Plain(), Plain()), r"prior=StandardNormal\(size of z_T\)"),
        (lambda: chain(2)(binary(), samples=0), "samples is 0"),
        (lambda: chain(2).sample(0), "n is 0"),
        (lambda: chain(2).decode(torch.zeros(1, 4), level=3), "level is 3"),
        (lambda: chain(2).reconstruct(binary(), level=0), "level is 0"),
    ],
)
def test_bad_arguments_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("make", [vl.VAE.mlp, lambda e, z, h: vl.MHVAE.mlp(e, (z, 2), (h, h))])
def test_sizes_may_be_integers_of_numpy(make):
    model = make(np.prod((2, 3)), np.int64(4), (8,))
    assert (model.event, model.latents[0]) == ((6,), 4)


def test_without_a_prior_the_size_of_the_top_latent_is_the_encoders_or_the_decoders():
    assert vl.VAE(Plain(), vl.Bernoulli(3, (1, 4, 4))).prior.event == (3,)
    free = nn.Sequential(nn.Linear(3, 16))
    free.forward = lambda z: Independent(Normal(free[0](z), 1.0), 1)
    assert vl.VAE(vl.Gaussian(16, 3), free).prior.event == (3,)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda model, a: model.decode(a), r"of type ndarray: expected the first .*tensors z_1 \(\.\.\., 5\)"),
        (lambda model, a: model.decode([a]), r"of type list: expected the first or more .*torch.as_tensor"),
        (lambda model, a: model.log_joint(binary(), a), r"of type ndarray: expected the tensors .* z_2 \(\.\.\., 4\)"),
        (lambda model, a: model.log_joint(binary(), [a, a]), "latents are of type list: expected the tensors z_1 "),
        (
            lambda model, a: model.log_posterior(a, [torch.zeros(1, 6, 5), torch.zeros(1, 6, 4)]),
            "x is ndarray: expected",
        ),
        (lambda model, a: model.log_joint(a, [torch.zeros(1, 6, 5), torch.zeros(1, 6, 4)]), "x is ndarray: expected"),
        (lambda model, a: model(a), "x is ndarray: expected a floating-point tensor; use torch.as_tensor"),
        (lambda model, a: model.posterior(a), "x is ndarray: expected"),
        (lambda model, a: model.encode(a), "x is ndarray: expected"),
        (lambda model, a: model.reconstruct(a), "x is ndarray: expected"),
    ],
)
def test_arrays_are_refused_in_words_wherever_tensors_are_due(call, says):
    with pytest.raises(ValueError, match=says):
        call(chain(2), np.zeros((6, 5), np.float32))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda model: model.decode([torch.zeros(1, 5), torch.zeros(1, 4)], level=2),
            r"shape \(1, 5\), \(1, 4\): expected",
        ),
        (
            lambda model: model.decode(torch.zeros(1, 4), level=1),
            r"expected the first or more of the tensors z_1 \(\.\.\., 5\)",
        ),
        (
            lambda model: model.decode([torch.zeros(1, 4)] * 2, level=2),
            r"expected the first or more of the tensors z_2 \(\.\.\., 4\), listed",
        ),
        (lambda model: model.decode([], level=2), r"latents are of shape \(\): expected .*z_2"),
        (lambda model: model.log_joint(binary()[:, 0], [torch.zeros(1, 6, 5), torch.zeros(1, 6, 4)]), "x has shape"),
        (
            lambda model: model.log_joint(binary(), [torch.zeros(1, 6, 4), torch.zeros(1, 6, 5)]),
            r"\(1, 6, 4\), \(1, 6, 5\): expected the tensors z_1 \(\.\.\., 5\), z_2 \(\.\.\., 4\)",
        ),
    ],
)
def test_latents_and_data_of_other_shapes_are_refused_where_they_would_broadcast(call, says):
    with pytest.raises(ValueError, match=says):
        call(chain(2))


# Temperature


class Wide(nn.Module):
    """p(z_1 | z_2) = N(z_2, 2^2)."""

    def forward(self, z):
        return Independent(Normal(z, torch.full_like(z, 2.0)), 1)


def gaussian_chain(prior: nn.Module | None = None) -> vl.MHVAE:
    """z_2 ~ N(0, 1) unless given, z_1 | z_2 ~ N(z_2, 2^2), and the mean of x is z_1."""
    decoder = vl.Gaussian(1, 1, (), scale=0.1)
    with torch.no_grad():
        decoder.heads[0].weight.fill_(1.0)
        decoder.heads[0].bias.zero_()
    return vl.MHVAE([vl.Gaussian(1, 1, ()), vl.Gaussian(1, 1, ())], [decoder, Wide()], prior)


@pytest.mark.parametrize(
    ("temperature", "variance"), [(1.0, 5.0), (0.5, 1.25), ([0.5, 1.0], 2.0), ((1, 0), 4.0), ([0.0, 1], 1.0), (2, 20.0)]
)
def test_a_temperature_multiplies_the_standard_deviation_of_each_level(temperature, variance):
    model = gaussian_chain()
    torch.manual_seed(0)
    means = model.sample(40_000, mean=True, temperature=temperature)
    assert abs(means.var() - variance) < 5 * variance * (2 / 40_000) ** 0.5
    drawn = model.sample(40_000, temperature=temperature)  # the noise of p(x | z) stays
    assert abs(drawn.var() - variance - 0.01) < 5 * (variance + 0.01) * (2 / 40_000) ** 0.5
    below = temperature if isinstance(temperature, int | float) else temperature[0]
    want = (2 * below) ** 2
    decoded = model.decode(torch.ones(40_000, 1), level=2, temperature=temperature).mean
    assert abs(decoded.mean() - 1) <= 5 * (want / 40_000) ** 0.5
    assert abs(decoded.var() - want) <= 5 * want * (2 / 40_000) ** 0.5
    x = torch.zeros(40_000, 1)
    torch.manual_seed(1)
    spread = (model.reconstruct(x, 2, temperature) - model.encode(x)[1][0]).var()
    assert spread >= want * 0.9
    assert model.reconstruct(x[:3], temperature=temperature).shape == (3, 1)


@pytest.mark.parametrize("family", [vl.MHVAE, vl.HVAE])
def test_the_temperature_of_one_draws_what_is_drawn_without(family):
    torch.manual_seed(0)
    model = family.mlp(4, (3, 2), ((5,), (5,)), "gaussian")
    draws = []
    for options in ({}, {"temperature": 1.0}, {"temperature": (1, 1.0)}, {"temperature": 0.999999}):
        torch.manual_seed(1)
        draws.append(model.sample(5, **options))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])
    assert torch.allclose(draws[0], draws[3], atol=1e-4)  # the same noise, 1e-6 shorter


def test_the_components_of_a_mixture_are_drawn_at_a_temperature():
    prior = vl.MixturePrior(1, components=2)
    with torch.no_grad():
        prior.means.copy_(torch.tensor([[-3.0], [3.0]]))
    model = gaussian_chain(prior)
    torch.manual_seed(0)
    cold = model.sample(2000, mean=True, temperature=0.0)
    assert set(cold.flatten().tolist()) == {-3.0, 3.0}  # each at the mean of its component
    some = model.sample(40_000, mean=True, temperature=[0.0, 0.5])
    assert abs((some.abs() - 3).var() - 0.25) < 0.01  # five standard errors of a variance of 1/4 are 0.009


def test_a_correlated_prior_is_drawn_at_a_temperature():
    covariance = torch.tensor([[2.0, 0.6], [0.6, 1.0]])
    prior = GaussianPrior(torch.ones(2), covariance)
    decoder = vl.Gaussian(2, 2, (), scale=0.1)
    with torch.no_grad():
        decoder.heads[0].weight.copy_(torch.eye(2))
        decoder.heads[0].bias.zero_()
    torch.manual_seed(0)
    z = vl.VAE(vl.Gaussian(2, 2), decoder, prior).sample(40_000, mean=True, temperature=0.5)
    assert torch.allclose(z.T.cov(), covariance / 4, atol=0.02)  # five standard errors of a variance of 1/2 are 0.018
    assert torch.allclose(z.mean(0), torch.ones(2), atol=0.02)


@pytest.mark.parametrize("temperature", [-0.1, math.nan, math.inf, "cold", None, True, [1.0], [1.0, -1.0], [1.0, "a"]])
def test_a_temperature_that_cannot_be_meant_is_one_clear_error(temperature):
    model = chain(2)
    for draw in (
        lambda: model.sample(2, temperature=temperature),
        lambda: model.decode(torch.zeros(1, 4), level=2, temperature=temperature),
        lambda: model.reconstruct(binary(), temperature=temperature),
    ):
        with pytest.raises(ValueError, match="expected a number from 0 on, or a list of one for each of the 2 levels"):
            draw()


def test_a_prior_that_has_no_temperature_says_so():
    model = vl.VAE(Plain(), vl.Bernoulli(3, (1, 4, 4)), prior=LaplacePrior(3))
    assert model.sample(2, temperature=1.0).shape == (2, 1, 4, 4)
    with pytest.raises(ValueError, match="a prior Laplace: expected a Gaussian or a mixture of Gaussians"):
        model.sample(2, temperature=0.5)


def test_the_decoders_of_a_ladder_see_the_next_level_only_and_its_posterior_is_that_of_an_hvae():
    torch.manual_seed(0)
    ladder = vl.HVAE.mlp((1, 4, 4), (5, 4, 3), ((8,), (7,), (6,)), markov=True)
    assert [decoder.inputs for decoder in ladder.decoders] == [5, 4, 3]
    x = binary()
    latents = ladder.encode(x, samples=2)
    other = [latents[0], *(z + 1 for z in latents[1:])]
    assert torch.equal(ladder.likelihood(latents).mean, ladder.likelihood(other).mean)  # sees z_1
    other = [latents[0] + 1, latents[1], latents[2] + 1]
    assert torch.equal(ladder.priors(latents)[0].mean, ladder.priors(other)[0].mean)  # sees z_2
    posteriors, (*evidence, top) = ladder.posteriors(x, latents), ladder.encoder(x.flatten(1))
    for q, e, p in zip(posteriors[:-1], evidence, ladder.priors(latents)[:-1], strict=True):
        assert torch.equal(q.mean, merge(e, p).mean)
    assert torch.equal(posteriors[-1].mean, top.mean)
    assert (ladder(x).rates >= 0).all()
    assert ladder.sample(2).shape == (2, 1, 4, 4)
    assert ladder.reconstruct(x, level=2).shape == x.shape
    assert not vl.HVAE.mlp((1, 4, 4), (5, 4), ((8,), (7,))).markov


def test_a_decoder_of_all_levels_does_not_fit_a_ladder():
    parts = vl.Ladder(16, (5, 4), ((8,), (7,))), [vl.Bernoulli(9, (1, 4, 4)), vl.Gaussian(4, 5)], vl.StandardNormal(4)
    assert vl.HVAE(*parts).latents == (5, 4)
    with pytest.raises(ValueError, match="decoder 1"):
        vl.HVAE(*parts, markov=True)


def test_a_ladder_is_saved_and_made_again(tmp_path):
    ladder = vl.HVAE.mlp((1, 4, 4), (5, 4), ((8,), (7,)), markov=True)
    vl.save(ladder, tmp_path / "ladder.safetensors")
    again = vl.load_model(tmp_path / "ladder.safetensors")
    assert again.markov
    assert torch.equal(again.decoders[0].heads[0].weight, ladder.decoders[0].heads[0].weight)
