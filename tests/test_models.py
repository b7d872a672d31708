import math

import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Independent, Laplace, Normal

import vaelib as vl


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
    q1 = model.encoders[0](x)
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
    from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain

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
    assert terms.kl is None
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
        (torch.zeros(2, 1, 5, 5), "takes 16 numbers per example"),
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
        (lambda: vl.MHVAE([vl.Gaussian(16, 3)], []), "1 encoders and 0 decoders"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=(5, 4), hidden=((8,),)), "one latent size and one tuple"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=5, hidden=((8,),)), "one latent size and one tuple"),
        (lambda: vl.MHVAE.mlp((1, 4, 4), latents=(5,), hidden=(8,)), "hidden is 8"),
        (
            lambda: vl.VAE.mlp((1, 4, 4), likelihood="poisson"),
            "unknown likelihood 'poisson': choose one of bernoulli, categorical",
        ),
        (lambda: vl.VAE.mlp((1, 4, 4), latent=0), r"latents\[0\] is 0"),
        (lambda: vl.VAE(vl.Gaussian(16, 3), vl.Bernoulli(4, 16)), "z_1 of 3 latents, but decoder 1 takes 4"),
        (
            lambda: vl.MHVAE([vl.Gaussian(16, 3), vl.Gaussian(4, 2)], [vl.Bernoulli(3, 16), vl.Gaussian(2, 3)]),
            "encoder 2 takes 4",
        ),
        (
            lambda: vl.MHVAE([vl.Gaussian(16, 3), vl.Gaussian(3, 2)], [vl.Bernoulli(3, 16), vl.Gaussian(2, 4)]),
            "decoder 2 gives 4",
        ),
        (lambda: vl.VAE(lambda x: x, vl.Bernoulli(3, 16)), "is no torch module"),
        (lambda: vl.VAE(vl.Gaussian(16, 3), vl.Bernoulli(3, 16), prior=Normal(0, 1)), "is no torch module"),
        (lambda: vl.VAE(Plain(), vl.Bernoulli(3, (1, 4, 4))), r"pass prior=StandardNormal\(size of z_T\)"),
        (lambda: chain(2)(binary(), samples=0), "samples is 0"),
        (lambda: chain(2).sample(0), "n is 0"),
        (lambda: chain(2).decode(torch.zeros(1, 4), level=3), "level is 3"),
        (lambda: chain(2).reconstruct(binary(), level=0), "level is 0"),
    ],
)
def test_bad_arguments_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()
