import math
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import vaelib as vl
from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain, Table, grid, ppca

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


@pytest.mark.slow
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


@pytest.mark.slow
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


def linear(covariance: torch.Tensor) -> LinearGaussian:
    return LinearGaussian(torch.ones(len(covariance), 1), torch.zeros(len(covariance)), covariance)


def prior(size: int) -> GaussianPrior:
    return GaussianPrior(torch.zeros(size), torch.eye(size))


def decoders(*sizes: int) -> list[LinearGaussian]:
    return [LinearGaussian(torch.ones(below, above), torch.zeros(below), torch.eye(below)) for above, below in sizes]


LOPSIDED = torch.tensor([[1.0, 5.0], [0.0, 1.0]])  # the algebra would read its lower half alone
OF_TWO_SCALES = torch.tensor([[1e8, 0.5], [0.0, 1e-8]], dtype=torch.float64)  # 0.5 is half of what could be there


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LinearGaussian(torch.zeros(2, 3), torch.zeros(3), torch.eye(2)), r"expected \(size, inputs\)"),
        (lambda: LinearGaussian([[1.0]], [0.0], [[1.0]]), "weight is list: expected a floating-point tensor"),
        (lambda: LinearGaussian(torch.ones(1, 1), torch.zeros(1), [[1.0]]), "covariance is list: expected"),
        (lambda: linear(LOPSIDED), r"not symmetric or not finite: expected S equal to S\.T"),
        (lambda: linear(OF_TWO_SCALES), r"expected S equal to S\.T"),
        (lambda: linear(torch.full((2, 2), math.nan)), "not finite: expected"),
        (lambda: linear(torch.ones(2, 2)), "singular or has negative variances: expected it positive definite"),
        (lambda: linear(torch.zeros(2, 2)), "expected it positive definite"),
        (lambda: linear(torch.diag(torch.tensor([1.0, -1.0]))), "expected it positive definite"),
        (lambda: GaussianPrior(torch.zeros(2), LOPSIDED), r"expected S equal to S\.T"),
        (lambda: GaussianPrior(torch.zeros(2), torch.ones(2, 2)), "expected it positive definite"),
        (
            lambda: GaussianPrior(torch.zeros(3), torch.eye(2)),
            r"mean \(3,\), covariance \(2, 2\): expected \(size,\) and",
        ),
        (lambda: GaussianPrior(torch.zeros(1, 2), torch.eye(2)), r"mean \(1, 2\), .* expected"),
        (lambda: GaussianPrior(torch.zeros(2), torch.ones(2)), r"covariance \(2,\): expected"),
        (lambda: LinearGaussianChain([], prior(2)), "at least one decoder"),
        (
            lambda: LinearGaussianChain(decoders((3, 2)), prior(5)),
            "decoder 1 takes 3 numbers, the prior is of 5: expected as many",
        ),
        (lambda: LinearGaussianChain(decoders((3, 2)), prior(2)), "decoder 1 takes 3 numbers, the prior is of 2"),
        (
            lambda: LinearGaussianChain(decoders((3, 2), (1, 4)), prior(1)),
            "decoder 1 takes 3 numbers, decoder 2 gives 4: expected as many",
        ),
        (
            lambda: chain(2).log_px(torch.zeros(5, 1, 4)),
            r"\(5, 1, 4\): expected \(B, 4\); give images as x.flatten\(1\)",
        ),
        (lambda: chain(2).log_px(torch.zeros(4)), r"x has shape \(4,\): expected \(B, 4\)"),
        (lambda: chain(2).elbo(torch.zeros(4), chain(2).posteriors()), r"x has shape \(4,\): expected \(B, 4\)"),
        (lambda: chain(2).elbo(torch.zeros(2, 5, 4), chain(2).posteriors()), r"\(2, 5, 4\): expected \(B, 4\)"),
        (lambda: chain(2).elbo(x_for(2), chain(2).posteriors()[:1]), r"\[\(4, 3\)\]: expected \[\(4, 3\), \(3, 2\)\]"),
        (lambda: chain(2).elbo(x_for(2), []), r"\[\]: expected \[\(4, 3\), \(3, 2\)\], one for each level"),
        (lambda: chain(1).elbo(x_for(1), decoders((4, 2), (2, 1))), r"\[\(4, 2\), \(2, 1\)\]: expected \[\(4, 3\)\]"),
        (lambda: chain(1).elbo(x_for(1), decoders((4, 1))), r"expected \[\(4, 3\)\], one for each level"),
        (lambda: chain(1).elbo(x_for(1), decoders((3, 4))), r"\[\(3, 4\)\]: expected \[\(4, 3\)\]"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_covariance_may_be_as_asymmetric_as_rounding_makes_it(dtype):
    root = torch.randn(40, 60, generator=torch.Generator().manual_seed(0)).to(dtype)
    covariance = torch.linalg.inv(root @ root.T / 60)
    assert not torch.equal(covariance, covariance.T)
    assert torch.equal(linear(covariance).covariance, covariance)


# --- Probabilistic PCA ------------------------------------------------------------------------------------------------


def data(samples: int = 400, size: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    scales = torch.tensor([3.0, 2.0, 1.0, 0.6, 0.5], dtype=torch.float64)[:size]
    draws = torch.randn(samples, size, generator=generator, dtype=torch.float64) * scales
    return draws @ torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0] + 1.0


def test_ppca_is_the_multivariate_normal_that_it_says():
    x, fitted = data(), ppca(data(), latent=2)
    covariance = fitted.weight @ fitted.weight.T + fitted.sigma**2 * torch.eye(5)
    want = stats.multivariate_normal(fitted.mean, covariance).logpdf(x)
    assert torch.allclose(fitted.chain().log_px(x), torch.from_numpy(want), atol=1e-10)
    assert fitted.log_px == pytest.approx(want.mean(), abs=1e-12)


def test_ppca_has_the_published_log_likelihood():
    fitted = ppca(data(), latent=2)
    kept = fitted.eigenvalues[:2].log().sum().item()
    want = -0.5 * (5 * np.log(2 * np.pi) + kept + 3 * np.log(fitted.sigma**2) + 5)
    assert fitted.log_px == pytest.approx(want, abs=1e-12)
    forgotten = -0.5 * (5 * np.log(2 * np.pi) + kept + np.log(fitted.sigma**2) + 5)  # D - K forgotten
    assert abs(fitted.log_px - forgotten) > 0.1


def test_ppca_is_an_optimum_of_every_parameter():
    x, best = data(), ppca(data(), latent=2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        shift = 0.02 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
        other = best._replace(weight=best.weight + shift)
        assert other.chain().log_px(x).mean() < best.log_px
    for sigma in (0.98 * best.sigma, 1.02 * best.sigma):
        assert best._replace(sigma=sigma).chain().log_px(x).mean() < best.log_px
    assert best._replace(mean=best.mean + 0.02).chain().log_px(x).mean() < best.log_px


def test_with_sigma_held_fixed_the_dimensions_below_it_collapse():
    """Lucas et al. 2019: as many active dimensions as eigenvalues above sigma^2."""
    eigenvalues = ppca(data(), latent=4).eigenvalues
    sigma = float(eigenvalues[1:3].mean().sqrt())  # between the second and the third
    fitted = ppca(data(), latent=4, sigma=sigma)
    assert (fitted.weight.norm(dim=0) > 0).tolist() == [True, True, False, False]
    assert fitted.sigma == sigma
    grown = fitted.weight.clone()
    grown[:, 2] = 0.1 * torch.linalg.eigh(torch.cov(data().T, correction=0))[1][:, -3]
    assert fitted._replace(weight=grown).chain().log_px(data()).mean() < fitted.log_px


@pytest.mark.parametrize(
    ("x", "latent", "sigma", "says"),
    [
        (torch.zeros(5), 1, None, "expected finite x of shape"),
        (torch.randn(9, 3), 3, None, "1 <= latent < D"),
        (torch.randn(9, 3), 0, None, "latent is 0"),
        (torch.randn(9, 3), 1, -1.0, "sigma is -1.0"),
        (torch.ones(9, 3), 1, None, "may lie in 1 dimensions"),
    ],
)
def test_ppca_refuses_what_has_no_answer(x, latent, sigma, says):
    with pytest.raises(ValueError, match=says):
        ppca(x, latent, sigma)


# --- Trained linear models reach their oracle -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_linear_vae_trained_by_fit_reaches_the_ppca_optimum():
    x = data().float()
    torch.manual_seed(0)
    model = vl.VAE(vl.Gaussian(5, 2, hidden=()), vl.Gaussian(2, 5, hidden=(), scale="shared"))
    before = LinearGaussianChain.of(model).log_px(x.double()).mean().item()
    vl.fit(model, x, epochs=300, batch_size=50, lr=vl.cosine(2e-2, 300), progress=False)
    best = ppca(x, latent=2).log_px
    assert before < best - 1
    assert 0 < best - LinearGaussianChain.of(model).log_px(x.double()).mean().item() < 0.01
    torch.manual_seed(0)
    bound = vl.elbo(model(x, samples=500)).mean().item()
    assert -0.003 < best - bound < 0.01 + 0.003


@pytest.mark.slow
def test_a_three_level_linear_chain_trained_by_fit_reaches_its_exact_marginal():
    x = data().float()
    torch.manual_seed(0)
    sizes = [5, 3, 2, 1]
    model = vl.MHVAE(
        [vl.Gaussian(below, above, hidden=()) for below, above in pairwise(sizes)],
        [vl.Gaussian(above, below, hidden=(), scale="shared") for below, above in pairwise(sizes)],
    )
    # Path gradients of four samples: with the noise of one the three levels settle nats below what they can reach.
    lr = vl.cosine(1e-2, 300)
    vl.fit(model, x, epochs=300, batch_size=40, lr=lr, samples=4, objective=vl.dreg, progress=False)
    exact = LinearGaussianChain.of(model).log_px(x.double())
    torch.manual_seed(0)
    gap = exact - model(x, samples=200).log_weights  # (K, B)
    stderr = gap.mean(1).std() / 200**0.5
    assert stderr < 0.002
    assert -0.005 < gap.mean() < 0.02
    assert exact.mean() > ppca(x, latent=3).log_px - 0.02


def test_the_chain_of_a_model_is_read_off_its_weights():
    torch.manual_seed(1)
    model = vl.MHVAE(
        [vl.Gaussian(3, 2, hidden=()), vl.Gaussian(2, 1, hidden=())],
        [vl.Gaussian(2, 3, hidden=(), scale=0.7), vl.Gaussian(1, 2, hidden=(), scale="shared")],
    ).double()
    with torch.no_grad():
        model.decoders[1].log_scale.fill_(-0.4)
    x = torch.randn(4, 3, dtype=torch.float64)
    c = LinearGaussianChain.of(model)
    exact = vl.nll(c.model(), x, samples=1).per_example  # exact encoders
    assert torch.allclose(-c.log_px(x), exact, atol=1e-10)
    latents = [torch.randn(5, 4, 2, dtype=torch.float64), torch.randn(5, 4, 1, dtype=torch.float64)]
    for ours, theirs in zip(c.model().log_joint(x, latents), model.log_joint(x, latents), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)
    for decoder in (vl.Gaussian(2, 3, hidden=(4,), scale=1.0), vl.Gaussian(2, 3, hidden=()), vl.Bernoulli(2, 3, ())):
        with pytest.raises(ValueError, match="decoder 1 is not linear"):
            LinearGaussianChain.of(vl.VAE(vl.Gaussian(3, 2), decoder))
    linear = vl.Gaussian(2, 3, hidden=(), scale=1.0)
    with pytest.raises(ValueError, match="the prior is MixturePrior: expected StandardNormal"):
        LinearGaussianChain.of(vl.VAE(vl.Gaussian(3, 2), linear, vl.MixturePrior(2, 4)))


# --- Tables -----------------------------------------------------------------------------------------------------------


def discrete(states: int = 4, examples: int = 3) -> Table:
    generator = torch.Generator().manual_seed(5)
    joint = 0.3 * torch.rand(states, examples, generator=generator, dtype=torch.float64)
    q = torch.rand(states, examples, generator=generator, dtype=torch.float64)
    return Table(joint.log(), (q / q.sum(0)).log(), torch.zeros((), dtype=torch.float64))


def test_a_discrete_table_by_enumeration():
    t = discrete()
    joint, q = t.log_joint.exp(), t.log_q.exp()
    assert torch.allclose(t.log_px(), joint.sum(0).log(), atol=1e-14)
    assert torch.allclose(t.posterior(), joint / joint.sum(0), atol=1e-14)
    assert torch.allclose(t.elbo(), (q * (joint / q).log()).sum(0), atol=1e-14)
    gap = t.log_px() - t.elbo()
    assert torch.allclose(gap, (q * (q / t.posterior()).log()).sum(0), atol=1e-14)  # KL(q || posterior)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (
            [(3, 3), (3,), ()],
            r"log_joint \(3, 3\), log_q \(3,\), log_volume \(\): expected \(M, B\), \(M, B\) and \(M,\)",
        ),
        ([(3, 4), (3, 1), ()], r"log_q \(3, 1\).*: expected"),
        ([(3,), (3,), ()], r"log_joint \(3,\).*: expected"),
        ([(3, 2), (3, 2), (2,)], r"log_volume \(2,\): expected"),
        ([(3, 2), (3, 2), (1,)], r"log_volume \(1,\): expected"),
        ([(3, 3), (3, 3), (3, 3)], r"log_volume \(3, 3\): expected"),
    ],
)
def test_a_table_of_other_shapes_is_refused_however_it_is_made(shapes, says):
    parts = [torch.zeros(shape) for shape in shapes]
    with pytest.raises(ValueError, match=says):
        Table(*parts)
    with pytest.raises(ValueError, match=says):
        discrete()._replace(**dict(zip(Table._fields, parts, strict=True)))


@pytest.mark.parametrize("samples", [1, 3])
def test_the_bounds_of_an_encoder_that_may_draw_what_cannot_be_are_minus_infinity(samples):
    t = discrete()
    joint, q = t.log_joint.clone(), t.log_q.clone()
    joint[2, 0] = -math.inf  # of the first example only, and both bounds of the others stay as they are
    joint[1, 2] = q[1, 2] = -math.inf  # never drawn
    never = t._replace(log_joint=joint, log_q=q)
    assert never.elbo().isneginf().tolist() == never.iwae(samples).isneginf().tolist() == [True, False, False]
    kept = Table(joint[:, 1:], q[:, 1:], t.log_volume)
    assert torch.allclose(never.iwae(samples)[1:], kept.iwae(samples), atol=1e-10)
    assert torch.allclose(never.iwae(samples)[1], t.iwae(samples)[1], atol=1e-10)
    nothing = Table(torch.full_like(joint, -math.inf), t.log_q, t.log_volume)
    assert nothing.iwae(samples).isneginf().all()


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_expected_iwae_of_a_table_by_enumerating_all_samples(samples):
    t = discrete()
    log_w = t.log_joint - t.log_q
    want = torch.zeros(3, dtype=torch.float64)
    for chosen in product(range(4), repeat=samples):
        index = torch.tensor(chosen)
        probability = t.log_q[index].sum(0).exp()
        want += probability * (torch.logsumexp(log_w[index], 0) - math.log(samples))
    assert torch.allclose(t.iwae(samples), want, atol=1e-10)  # the trapezoid rule's stated error


def one_latent() -> LinearGaussianChain:
    weight = torch.tensor([[0.8], [-0.5], [0.3], [1.1]], dtype=torch.float64)
    double = torch.float64
    decoder = LinearGaussian(weight, torch.zeros(4, dtype=double), torch.eye(4, dtype=double))
    return LinearGaussianChain([decoder], GaussianPrior(torch.zeros(1, dtype=double), torch.eye(1, dtype=double)))


def test_expected_iwae_rises_from_the_elbo_to_log_px_and_halving_the_variance_costs_its_closed_form():
    c, x = one_latent(), x_for(1)
    (q,) = c.posteriors()
    t = grid(c.model([LinearGaussian(q.weight, q.bias, q.covariance / 2)]), x, points=2001)
    bounds = [t.iwae(samples) for samples in (1, 2, 5, 20, 100, 1000)]
    assert torch.allclose(t.log_px(), c.log_px(x), atol=1e-10)
    assert torch.allclose(bounds[0], t.elbo(), atol=1e-10)
    assert (c.log_px(x) - bounds[0] - 0.5 * (math.log(2) - 0.5)).abs().max() < 1e-10  # 0.09657 nats
    assert all((lower < higher).all() for lower, higher in pairwise([*bounds, t.log_px()]))
    assert (t.log_px() - bounds[-1]).max() < 0.001  # IWAE closes the gap


def test_expected_iwae_at_the_exact_posterior_does_not_depend_on_k():
    t = grid(one_latent().model(), x_for(1), points=2001)
    for samples in (1, 7, 500):
        assert torch.allclose(t.iwae(samples), t.log_px(), atol=1e-10)


@pytest.mark.slow
def test_sampled_iwae_agrees_with_the_expected_one():
    torch.manual_seed(0)
    model = vl.VAE.mlp(3, latent=2, hidden=(4,), likelihood="bernoulli").double()
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    t = grid(model, x)
    for samples in (1, 4, 16):
        draws = vl.iwae(model(x.expand(20_000, 3), samples=samples))
        z = (draws.mean() - t.iwae(samples)) / (draws.std() / 20_000**0.5)
        assert abs(z) < 5  # a chance of 6e-7 each
        biased = (draws.mean() + math.log(samples + 1) - t.iwae(samples)) / (draws.std() / 20_000**0.5)
        assert abs(biased) > 5  # E10: another constant would be noticed


@pytest.mark.slow
def test_grid_agrees_with_scipy_for_a_two_level_model_of_scalars():
    torch.manual_seed(0)
    model = vl.MHVAE.mlp(2, latents=(1, 1), hidden=((3,), (3,))).double()
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)

    def joint(z2, z1):
        latents = [torch.tensor([[[z]]], dtype=torch.float64) for z in (z1, z2)]
        return math.exp(sum(v.item() for v in model.log_joint(x, latents)))

    with torch.no_grad():
        want, error = integrate.dblquad(joint, -7, 7, -7, 7, epsabs=1e-6)
    assert error < 1e-5 * want  # of the value, and so the error of its logarithm
    assert grid(model, x).log_px().item() == pytest.approx(math.log(want), abs=1e-5)


def test_a_grid_leaves_out_what_only_training_does():
    net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    model = vl.VAE(vl.Gaussian(2, 1, (3,)), vl.Bernoulli(1, 2, net=torch.nn.Sequential(net, torch.nn.Linear(3, 2))))
    x = torch.tensor([[1.0, 0.0]])
    want = grid(model.eval(), x).log_px()
    assert torch.equal(grid(model.train(), x).log_px(), want)
    assert model.training


def test_a_grid_is_for_few_latents():
    with pytest.raises(ValueError, match=r"the levels have \[2, 1\] latents"):
        grid(vl.MHVAE.mlp(2, latents=(2, 1), hidden=((3,), (3,))), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="samples is 0"):
        discrete().iwae(0)
