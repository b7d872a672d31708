"""The general hierarchy against scipy's densities, quadrature, and a chain whose log p(x) is known exactly.

Monte-Carlo means are tested at five standard errors: a right one fails once in 1.7 million, so fewer than 100
comparisons in this file have a false-alarm rate below 1e-4, and the seeds are fixed.
"""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torch.distributions import Independent, Normal

import vaelib as vl
from vaelib.exact import GaussianPrior, LinearGaussian, LinearGaussianChain, grid
from vaelib.models import merge

EVENT = (1, 4, 4)
LATENTS = (5, 4, 3)


def binary(batch: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((batch, *EVENT), 0.4, dtype=torch.float64), generator=generator)


def hierarchy(levels: int, latents=LATENTS, **options) -> vl.HVAE:
    """With weights twice as large as usual, so that every level depends visibly on what is above."""
    torch.manual_seed(0)
    model = vl.HVAE.mlp(EVENT, latents[:levels], hidden=((8,),) * levels, **options).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return model


def normal(mean: float, stddev: float) -> Independent:
    return gaussian([mean], [stddev])


def gaussian(mean, stddev) -> Independent:
    return Independent(Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(stddev, dtype=torch.float64)), 1)


# merge


@pytest.mark.parametrize(
    ("a", "b"), [((0.3, 0.7), (-1.2, 1.5)), ((0.0, 1.0), (0.0, 1.0)), ((2.0, 0.05), (-1.0, 3.0)), ((-4.0, 2), (4.0, 2))]
)
def test_merge_is_the_normalised_product_of_the_densities(a, b):
    z = np.linspace(-40, 40, 80_001)  # the trapezoid rule on smooth densities this narrow is exact to rounding
    product = stats.norm(*a).pdf(z) * stats.norm(*b).pdf(z)
    product /= integrate.trapezoid(product, z)
    merged = merge(normal(*a), normal(*b))
    got = merged.log_prob(torch.from_numpy(z)[:, None]).exp()
    assert torch.allclose(got, torch.from_numpy(product), atol=1e-11 * product.max(), rtol=0)
    # Twins: the mean of the two, and variances in place of precisions.
    for mean, stddev in (((a[0] + b[0]) / 2, (a[1] + b[1]) / 2), (merged.mean.item(), math.hypot(a[1], b[1]))):
        assert np.abs(stats.norm(mean, stddev).pdf(z) - product).max() > 0.01


def test_merge_by_its_closed_form_dimension_by_dimension():
    a, b = gaussian([0.3, -2.0, 5.0], [0.5, 2.0, 1.0]), gaussian([1.0, 4.0, -5.0], [0.25, 0.1, 1e3])
    merged = merge(a, b)
    assert merged.event_shape == (3,)
    for i in range(3):
        va, vb = a.variance[i].item(), b.variance[i].item()
        # The gain of a Kalman filter: another way to write the same.
        gain = va / (va + vb)
        assert merged.mean[i].item() == pytest.approx((a.mean + gain * (b.mean - a.mean))[i].item(), abs=1e-14)
        assert merged.variance[i].item() == pytest.approx(va * vb / (va + vb), rel=1e-14)


def test_merge_is_symmetric_and_certain_evidence_wins():
    a, b = gaussian([0.3, -2.0], [0.5, 2.0]), gaussian([1.0, 4.0], [0.25, 0.1])
    for ours, theirs in ((merge(a, b).mean, merge(b, a).mean), (merge(a, b).stddev, merge(b, a).stddev)):
        assert torch.allclose(ours, theirs, atol=1e-15)
    sure = gaussian([7.0, 7.0], [math.exp(-10)] * 2)
    assert torch.allclose(merge(sure, b).mean, torch.tensor(7.0).double(), atol=1e-5)  # (e^-10 / 0.1)^2 * 3 = 6e-7
    assert (merge(sure, b).stddev <= math.exp(-10)).all()
    vague = gaussian([-7.0, -7.0], [math.exp(10)] * 2)
    assert torch.allclose(merge(vague, b).mean, b.mean, atol=1e-6)


@pytest.mark.parametrize("sign", [(-10, -10), (-10, 10), (10, 10)])
def test_merge_stays_finite_in_float32_at_the_smallest_and_largest_scales(sign):
    stddev = [torch.full((1,), s).float().exp().requires_grad_() for s in sign]
    merged = merge(*(Independent(Normal(torch.ones(1), s), 1) for s in stddev))
    assert torch.isfinite(merged.log_prob(torch.zeros(1)))
    assert torch.allclose(merged.mean, torch.ones(1))
    gradients = torch.autograd.grad(merged.stddev.sum(), stddev)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_merge_broadcasts_evidence_of_a_batch_against_a_prior_of_samples_and_batch():
    evidence = Independent(Normal(torch.randn(3, 2), torch.rand(3, 2)), 1)
    prior = Independent(Normal(torch.randn(5, 3, 2), torch.rand(5, 3, 2)), 1)
    merged = merge(evidence, prior)
    assert merged.batch_shape == (5, 3)
    alone = merge(*(Independent(Normal(d.mean[i], d.stddev[i]), 1) for d, i in ((evidence, 1), (prior, (4, 1)))))
    assert torch.allclose(merged.mean[4, 1], alone.mean)
    assert torch.allclose(merged.stddev[4, 1], alone.stddev)


# HVAE.forward


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_terms_written_out_by_hand(levels):
    model, x, samples = hierarchy(levels), binary(), 4
    torch.manual_seed(3)
    terms = model(x, samples=samples)
    assert terms.log_px.shape == (samples, 6)
    assert terms.log_pz.shape == terms.log_qz.shape == terms.rates.shape == (levels, samples, 6)

    torch.manual_seed(3)
    d, evidence = x.flatten(1), []  # bottom-up: d_t = net_t(d_{t-1})
    for t in range(levels):
        d = torch.tanh(d @ model.encoder.bodies[t][0].weight.T + model.encoder.bodies[t][0].bias)
        mean, log_sigma = (d @ head.weight.T + head.bias for head in model.encoder.heads[t].heads)
        evidence.append((mean.detach(), log_sigma.exp().detach()))
    z: dict[int, torch.Tensor] = {}
    atol = 1e-10  # sums of at most 5 float64 terms of size up to 100
    for t in range(levels, 0, -1):  # top-down
        m, s = evidence[t - 1]
        if t == levels:
            mu, sigma, mean, stddev = torch.zeros_like(m), torch.ones_like(s), m, s
        else:
            above = torch.cat([z[u] for u in range(t + 1, levels + 1)], -1)
            prior = model.decoders[t](above)
            mu, sigma = prior.mean.detach(), prior.stddev.detach()
            precision = 1 / s**2 + 1 / sigma**2
            mean, stddev = (m / s**2 + mu / sigma**2) / precision, precision**-0.5
        z[t] = mean + stddev * torch.randn(samples, 6, LATENTS[t - 1], dtype=torch.float64)
        log_q = torch.from_numpy(stats.norm(mean, stddev).logpdf(z[t])).sum(-1)
        log_p = torch.from_numpy(stats.norm(mu, sigma).logpdf(z[t])).sum(-1)
        kl = (torch.log(sigma / stddev) + (stddev**2 + (mean - mu) ** 2) / (2 * sigma**2) - 0.5).sum(-1)
        assert torch.allclose(terms.log_qz[t - 1], log_q, atol=atol)
        assert torch.allclose(terms.log_pz[t - 1], log_p, atol=atol)
        assert torch.allclose(terms.rates[t - 1], kl.expand(samples, 6), atol=atol)
        if t < levels:
            # E25: the rate is taken against the top-down prior; against N(0, I) it is another number.
            standard = 0.5 * (mean**2 + stddev**2 - 1 - 2 * stddev.log()).sum(-1)
            assert (terms.rates[t - 1] - standard).abs().min() > 1e-3
    p = model.decoders[0](torch.cat([z[t] for t in range(1, levels + 1)], -1)).mean.detach()
    log_px = torch.from_numpy(stats.bernoulli(p).logpmf(x)).sum((-3, -2, -1))
    assert torch.allclose(terms.log_px, log_px, atol=atol)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_scores_at_given_latents_are_those_of_the_draw(levels):
    model, x = hierarchy(levels), binary()
    torch.manual_seed(3)
    terms = model(x, samples=4)
    torch.manual_seed(3)
    latents = model.encode(x, samples=4)
    log_px, log_pz = model.log_joint(x, latents)
    assert torch.allclose(log_px, terms.log_px, atol=1e-12)
    assert torch.allclose(log_pz, terms.log_pz.sum(0), atol=1e-12)
    assert torch.allclose(model.log_posterior(x, latents), terms.log_qz.sum(0), atol=1e-12)


def test_closed_form_rates_are_the_mean_of_the_sampled_ones():
    """Given the levels above, E_q[log q - log p] is a KL divergence, at every level and jointly sampled."""
    model, x = hierarchy(3), binary(3)
    torch.manual_seed(1)
    with torch.no_grad():
        terms = model(x, samples=20_000)
    difference = terms.log_qz - terms.log_pz - terms.rates  # (T, K, B)
    z = difference.mean(1) / (difference.std(1) / 20_000**0.5)
    assert z.abs().max() < 5
    assert ((difference + 0.2).mean(1) / (difference.std(1) / 20_000**0.5)).abs().min() > 5  # it would notice


def test_closed_form_rates_agree_with_quadrature():
    model, x = hierarchy(3), binary(1)
    torch.manual_seed(1)
    with torch.no_grad():
        latents, posteriors, priors = model.infer(x)
    torch.manual_seed(1)
    rates = model(x).rates[:, 0, 0]
    for t, (q, p) in enumerate(zip(posteriors, priors, strict=True)):
        total = 0.0
        for i in range(LATENTS[t]):
            m, s = (value.reshape(-1)[i].item() for value in (q.mean, q.stddev))
            mu, sigma = (value.reshape(-1)[i].item() for value in (p.mean, p.stddev))
            density = lambda z, m=m, s=s, mu=mu, sigma=sigma: (  # noqa: E731
                stats.norm.pdf(z, m, s) * (stats.norm.logpdf(z, m, s) - stats.norm.logpdf(z, mu, sigma))
            )
            value, error = integrate.quad(density, m - 12 * s, m + 12 * s, epsabs=1e-10)
            assert error < 1e-8
            total += value
        assert rates[t].item() == pytest.approx(total, abs=1e-7)  # five quadratures
    assert len(latents) == 3


@pytest.mark.parametrize(("changed", "level"), [(2, 1), (3, 1), (3, 2)])
def test_every_level_depends_on_all_levels_above(changed, level):
    """z_changed alone is moved, what lies between stays: the prior and the posterior of z_level move, too."""
    general, x = hierarchy(3), binary()
    torch.manual_seed(0)
    chain = vl.MHVAE.mlp(EVENT, LATENTS, hidden=((8,),) * 3).double()
    latents = [torch.randn(2, 6, size, dtype=torch.float64) for size in LATENTS]
    moved = [z + 1 if t == changed else z for t, z in enumerate(latents, start=1)]

    def move(model, of) -> float:
        before, after = (
            getattr(model, of)(*([x] if of == "posteriors" else []), z)[level - 1] for z in (latents, moved)
        )
        return (before.mean - after.mean).abs().min().item()

    assert move(general, "priors") > 1e-4
    assert move(general, "posteriors") > 1e-4
    # In the Markovian chain the prior sees the next level alone.
    assert (move(chain, "priors") > 1e-4) == (changed == level + 1)


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_the_likelihood_depends_on_all_levels(changed):
    model, x = hierarchy(3), binary()
    latents = [torch.randn(2, 6, size, dtype=torch.float64) for size in LATENTS]
    moved = [z + 1 if t == changed else z for t, z in enumerate(latents, start=1)]
    difference = model.log_joint(x, latents)[0] - model.log_joint(x, moved)[0]
    assert difference.abs().min() > 1e-4


def test_the_posterior_is_drawn_from_the_top_and_sees_x_at_every_level():
    model, x = hierarchy(3), binary()
    latents = [torch.randn(2, 6, size, dtype=torch.float64) for size in LATENTS]
    here, elsewhere = model.posteriors(x, latents), model.posteriors(1 - x, latents)
    assert all((q.mean - other.mean).abs().min() > 1e-4 for q, other in zip(here, elsewhere, strict=True))
    moved = [latents[0] + 1, latents[1] + 1, latents[2]]  # what lies below is drawn later
    assert torch.equal(model.posteriors(x, moved)[2].mean, here[2].mean)
    moved[1] = latents[1]
    assert torch.equal(model.posteriors(x, moved)[1].mean, here[1].mean)


def test_every_level_has_a_closed_form_and_rates_that_are_not_negative():
    model = hierarchy(3)
    assert model.levels == 3
    assert all(model.closed_form(level) for level in (1, 2, 3))
    terms = model(binary(), samples=5)
    assert terms.kl is not None
    assert (terms.rates >= 0).all()
    assert terms.latents is None


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_elbo_gradients_match_finite_differences(levels):
    """Reparameterised through every level: with the noise held fixed the ELBO is a smooth function of the weights."""
    model, x = hierarchy(levels), binary(2)
    parameters = dict(model.named_parameters())

    def value(*weights):
        torch.manual_seed(0)
        terms = torch.func.functional_call(model, dict(zip(parameters, weights, strict=True)), (x, 2, False))
        return vl.elbo(terms)

    assert torch.autograd.gradcheck(value, tuple(parameters.values()), fast_mode=True)


def test_one_level_is_the_vae():
    model, x = hierarchy(1), binary()
    encoder = vl.Gaussian(16, 5, (8,)).double()
    encoder.body.load_state_dict(model.encoder.bodies[0].state_dict())
    encoder.heads.load_state_dict(model.encoder.heads[0].heads.state_dict())
    flat = vl.VAE(encoder, model.decoders[0]).double()
    torch.manual_seed(0)
    ours = model(x, samples=2)
    torch.manual_seed(0)
    theirs = flat(x, samples=2)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours[:4], theirs[:4], strict=True))


@pytest.mark.slow
def test_dreg_has_the_gradient_of_iwae_also_for_weights_that_p_and_q_share():
    """A level's prior is part of its posterior: decoder 2 receives a gradient from both roles."""
    torch.manual_seed(0)
    model = vl.HVAE.mlp(2, latents=(1, 1), hidden=((3,), (3,)), likelihood="gaussian").double()
    with torch.no_grad():
        for weight in model.decoders[1].parameters():
            weight.mul_(3)  # z_1 depends on z_2 visibly
    many = torch.tensor([[0.7, -0.4]], dtype=torch.float64).expand(40_000, 2)
    names, weights = zip(*model.named_parameters(), strict=True)
    estimates = []
    for bound, path in ((vl.dreg, True), (vl.iwae, False)):
        value = bound(model(many, samples=3, path=path))
        parts = [torch.autograd.grad(part.mean(), weights, retain_graph=True) for part in value.split(1000)]
        estimates.append([torch.stack(column) for column in zip(*parts, strict=True)])
    for name, dreg, iwae in zip(names, *estimates, strict=True):
        difference = (dreg.mean(0) - iwae.mean(0)) / torch.hypot(dreg.std(0), iwae.std(0)) * 40**0.5
        # Normal theory with some 70 degrees of freedom: |t| > 6 has a chance of 1e-7, for each of 80 numbers.
        assert difference.abs().max() < 6, name
        # Gradients of zero would be noticed.
        assert (iwae.mean(0).abs() / iwae.std(0) * 40**0.5).max() > 6 or name.startswith("encoder"), name


# An exact case: x | z_1, z_1 | z_2, z_2 | z_3 scalar, linear and Gaussian; the evidence is the likelihood of x in z_t.


class Line(nn.Module):
    """N(a z_t + b, s^2), which of the concatenation [z_t, ..., z_T] reads z_t alone."""

    def __init__(self, step: LinearGaussian):
        super().__init__()
        self.step = step

    def forward(self, condition):
        mean = condition[..., :1] * self.step.weight[0, 0] + self.step.bias
        return Independent(Normal(mean, self.step.covariance[0].sqrt().expand_as(mean)), 1)


class Evidence(nn.Module):
    """N((x - c_t) / a_t, v_t / a_t^2), the likelihood of x = a_t z_t + c_t + noise of variance v_t, as seen by z_t.

    At the top it is multiplied with the prior N(m, s^2) to give the exact posterior; `shift` spoils one level's mean.
    """

    def __init__(self, chain: LinearGaussianChain, shift: dict[int, float] | None = None, wide: float = 1.0):
        super().__init__()
        a, c, v = 1.0, 0.0, 0.0
        self.parts = []
        for t, step in enumerate(chain.decoders, start=1):  # x = a (w z + b + e) + c + noise
            weight, bias, variance = (value.item() for value in (step.weight, step.bias, step.covariance))
            a, c, v = a * weight, c + a * bias, v + a**2 * variance
            self.parts.append((a, c + a * (shift or {}).get(t, 0.0), v * wide))
        self.top = chain.prior.mean.item(), chain.prior.covariance.item()

    def forward(self, x):
        evidence = [
            Independent(Normal((x - c) / a, torch.full_like(x, math.sqrt(v) / abs(a))), 1) for a, c, v in self.parts
        ]
        a, c, v = self.parts[-1]
        m, s2 = self.top
        variance = 1 / (1 / s2 + a**2 / v)  # Bishop 2006, eq. 2.113-2.117
        mean = variance * (m / s2 + a * (x - c) / v)
        evidence[-1] = Independent(Normal(mean, torch.full_like(x, math.sqrt(variance))), 1)
        return evidence


class ScalarPrior(nn.Module):
    def __init__(self, prior: GaussianPrior):
        super().__init__()
        self.prior = prior

    def forward(self):
        return Independent(Normal(self.prior.mean, self.prior.covariance[0].sqrt()), 1)


def exact_case(levels: int = 3, **options) -> tuple[LinearGaussianChain, vl.HVAE, torch.Tensor]:
    number = lambda *values: torch.tensor(values, dtype=torch.float64)  # noqa: E731
    steps = [(0.9, 0.3, 0.49), (0.8, -0.2, 0.25), (-1.1, 0.5, 0.36), (0.7, 0.0, 0.5)][:levels]
    decoders = [LinearGaussian(number(w)[None], number(b), number(v)[None]) for w, b, v in steps]
    chain = LinearGaussianChain(decoders, GaussianPrior(number(0.4), number(1.5)[None]))
    model = vl.HVAE(Evidence(chain, **options), [Line(step) for step in chain.decoders], ScalarPrior(chain.prior))
    return chain, model.double(), torch.tensor([[-2.0], [0.3], [1.7]], dtype=torch.float64)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_with_the_exact_evidence_every_weight_is_log_px(levels):
    """p(z_t | z_{t+1}, x) is the prior times the likelihood of x in z_t, normalised: what `merge` does."""
    chain, model, x = exact_case(levels)
    torch.manual_seed(0)
    terms = model(x, samples=9)
    want = chain.log_px(x)
    assert torch.allclose(terms.log_weights, want.expand(9, 3), atol=1e-10, rtol=0)
    assert torch.allclose(vl.iwae(terms), want, atol=1e-10, rtol=0)
    assert torch.allclose(-vl.nll(model, x, samples=3).per_example, want, atol=1e-10, rtol=0)


@pytest.mark.parametrize("spoiled", [{"shift": {1: 1.0}}, {"shift": {2: 1.0}}, {"shift": {3: 1.0}}, {"wide": 2.0}])
def test_with_a_wrong_evidence_the_weights_scatter_below_log_px(spoiled):
    chain, model, x = exact_case(**spoiled)
    torch.manual_seed(0)
    terms = model(x, samples=2000)
    weights = terms.log_weights
    assert (weights.std(0) > 0.01).all()
    assert ((chain.log_px(x) - weights.mean(0)) / (weights.std(0) / 2000**0.5) > 5).all()


def test_with_the_exact_evidence_the_elbo_with_closed_form_rates_is_log_px_in_the_mean():
    """Rates in closed form scatter where sampled ones do not; their mean is the same."""
    chain, model, x = exact_case()
    torch.manual_seed(0)
    terms = model(x, samples=20_000)
    values = terms.log_px - terms.rates.sum(0)
    z = (values.mean(0) - chain.log_px(x)) / (values.std(0) / 20_000**0.5)
    assert z.abs().max() < 5
    # E25: rates against N(0, 1) at the levels with a top-down prior.
    _, posteriors, _ = model.infer(x, 20_000)
    standard = [0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).sum(-1) for q in posteriors[:2]]
    wrong = terms.log_px - terms.rates[2] - sum(standard)
    assert ((wrong.mean(0) - chain.log_px(x)) / (wrong.std(0) / 20_000**0.5)).abs().max() > 50


def test_encoding_draws_from_the_true_posterior():
    chain, model, x = exact_case()
    torch.manual_seed(2)
    z = torch.cat(model.encode(x, samples=40_000), -1)  # (K, B, 3)
    mean, covariance = chain.moments()
    gain = covariance[1:, :1] / covariance[0, 0]
    want = mean[1:] + (x - mean[0]) @ gain.T  # E[z | x], Bishop 2006, eq. 2.81
    want_covariance = covariance[1:, 1:] - gain @ covariance[:1, 1:]
    assert (((z.mean(0) - want) / (z.std(0) / 200)).abs() < 5).all()
    centred = z - want
    for i in range(3):
        for j in range(i, 3):
            product = centred[..., i] * centred[..., j]
            assert (((product.mean(0) - want_covariance[i, j]) / (product.std(0) / 200)).abs() < 5).all()


def test_sampling_has_the_models_moments():
    chain, model, _ = exact_case()
    mean, covariance = chain.moments()
    torch.manual_seed(1)
    n = 40_000
    x = model.sample(n)
    assert x.shape == (n, 1)
    assert abs(x.mean() - mean[0]) < 5 * (covariance[0, 0] / n) ** 0.5
    assert abs(x.var() - covariance[0, 0]) < 5 * covariance[0, 0] * (2 / n) ** 0.5
    means = model.sample(n, mean=True)  # without the noise of p(x | z_1)
    inner = covariance[0, 0] - chain.decoders[0].covariance[0, 0]
    assert abs(means.var() - inner) < 5 * inner * (2 / n) ** 0.5
    assert abs(means.var() - covariance[0, 0]) > 5 * inner * (2 / n) ** 0.5


@pytest.mark.parametrize("level", [1, 2, 3])
def test_decoding_draws_what_is_below_anew(level):
    """x | z_level = 1 has mean a_level + c_level and variance v_level, those of the composed steps."""
    chain, model, _ = exact_case()
    a, c, v = Evidence(chain).parts[level - 1]
    torch.manual_seed(0)
    n = 20_000
    latents = [torch.ones(n, 1, dtype=torch.float64) for _ in range(level, 4)]
    x = model.decode(latents, level).sample()
    assert abs(x.mean() - (a + c)) < 5 * (v / n) ** 0.5
    assert abs(x.var() - v) < 5 * v * (2 / n) ** 0.5


def test_reconstructing_keeps_the_level_and_all_above():
    """The mean of p(x | z_1) with z_1 from p(z_1 | z_level) and z_level from the posterior, many times over."""
    chain, model, _ = exact_case()
    x = torch.full((20_000, 1), 1.7, dtype=torch.float64)
    mean, covariance = chain.moments()
    torch.manual_seed(0)
    for level in (1, 2, 3):
        a, c, _ = Evidence(chain).parts[level - 1]
        latent = mean[level] + covariance[level, 0] / covariance[0, 0] * (1.7 - mean[0])  # E[z_level | x]
        got = model.reconstruct(x, level)
        assert got.shape == x.shape
        assert abs(got.mean() - (a * latent + c)) < 5 * got.std() / 20_000**0.5


def test_the_densities_of_a_model_with_two_latents_integrate_to_one():
    """q(z | x) and p(z) on a grid; log p(x) by quadrature against importance sampling."""
    torch.manual_seed(0)
    model = vl.HVAE.mlp(EVENT, latents=(1, 1), hidden=((6,), (6,))).double()
    x = binary(2)
    table = grid(model, x, points=401, limit=9.0)
    ones = torch.zeros(2, dtype=torch.float64)
    # The trapezoid rule for smooth densities, some tenths wide, on a mesh of 0.045.
    assert torch.allclose(torch.logsumexp(table.log_q + table.log_volume, 0), ones, atol=1e-9)
    axis = torch.linspace(-9, 9, 401, dtype=torch.float64)
    mesh = torch.cartesian_prod(axis, axis)[:, None]
    log_pz = model.log_joint(x[:1], list(mesh.split(1, -1)))[1]
    assert torch.allclose(torch.logsumexp(log_pz + table.log_volume, 0), ones[:1], atol=1e-9)
    torch.manual_seed(0)
    weights = model(x, samples=50_000).log_weights.exp()
    z = (weights.mean(0) - table.log_px().exp()) / (weights.std(0) / 50_000**0.5)
    assert z.abs().max() < 5


# Shapes, plumbing and errors


def test_shapes_of_encoding_decoding_sampling_and_reconstructing():
    model, x = hierarchy(3), binary()
    latents = model.encode(x, samples=2)
    assert [tuple(z.shape) for z in latents] == [(2, 6, 5), (2, 6, 4), (2, 6, 3)]
    assert all(not z.requires_grad for z in latents)
    assert model.sample(4).shape == model.sample(4, mean=True).shape == (4, *EVENT)
    assert set(model.sample(4).unique().tolist()) <= {0.0, 1.0}
    for level in (1, 2, 3):
        assert model.reconstruct(x, level).shape == x.shape
        assert model.decode(latents[level - 1 :], level).batch_shape == (2, 6)
    assert model.decode(latents[2], level=3).event_shape == EVENT  # the top level alone, as a tensor
    torch.manual_seed(1)
    default = model.reconstruct(x)
    torch.manual_seed(1)
    assert torch.equal(default, model.reconstruct(x, level=1))


def test_mlp_builds_a_ladder_and_decoders_of_the_concatenated_latents():
    model = vl.HVAE.mlp(EVENT, latents=(5, 4, 3), hidden=((9, 8), (7,), (6,)), likelihood="gaussian")
    assert [p.inputs for p in model.decoders] == [12, 7, 3]
    assert [p.event for p in model.decoders] == [EVENT, (5,), (4,)]
    assert [p.hidden for p in model.decoders] == [(8, 9), (7,), (6,)]
    assert all(isinstance(p, vl.Gaussian) for p in model.decoders)
    assert isinstance(vl.HVAE.mlp(EVENT, (5,), ((8,),)).decoders[0], vl.Bernoulli)
    assert [body[0].weight.shape for body in model.encoder.bodies] == [(9, 16), (7, 8), (6, 7)]
    assert [head.event for head in model.encoder.heads] == [(5,), (4,), (3,)]
    assert model.prior.event == (3,)


def test_mlp_defaults_are_those_of_the_chain():
    model = vl.HVAE.mlp(784)
    assert [head.event for head in model.encoder.heads] == [(100,), (50,)]
    assert [p.hidden for p in model.decoders] == [(200, 200), (100, 100)]


def test_the_ladder_reads_each_level_off_the_features_of_its_depth():
    torch.manual_seed(0)
    ladder = vl.Ladder(16, (2, 3), ((5,), (4,)))
    x = binary(3).float()
    first, second = ladder(x.flatten(1))
    d1 = ladder.bodies[0](x.flatten(1))
    assert torch.equal(first.mean, ladder.heads[0](d1).mean)
    assert torch.equal(second.mean, ladder.heads[1](ladder.bodies[1](d1)).mean)
    assert [d.batch_shape for d in (first, second)] == [(3,), (3,)]


@pytest.mark.parametrize("likelihood", sorted(vl.models.LIKELIHOODS))
def test_any_likelihood_fits_a_hierarchy(likelihood):
    model = hierarchy(2, likelihood=likelihood)
    terms = model(binary(), samples=3)
    assert terms.log_px.shape == (3, 6)
    assert model.sample(2).shape == (2, *EVENT)


def test_state_dict_round_trip():
    model, other, x = hierarchy(2), hierarchy(2), binary()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(1.0)
    torch.manual_seed(0)
    want = vl.elbo(model(x))
    torch.manual_seed(0)
    assert not torch.equal(want, vl.elbo(other(x)))
    other.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    assert torch.equal(want, vl.elbo(other(x)))


def test_a_hierarchy_trains():
    model, x = hierarchy(2).float(), binary(200).float()
    history = vl.fit(model, x, epochs=8, lr=5e-3, progress=False, device="cpu")
    assert history.train[-1].elbo > history.train[0].elbo + 1
    assert len(history.train[-1].rates) == 2


def ladder(levels: int = 2) -> vl.Ladder:
    return vl.Ladder(16, LATENTS[:levels], ((8,),) * levels)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: vl.HVAE(ladder(), [], vl.StandardNormal(4)), r"decoders are \[\]: expected .* T >= 1"),
        (
            lambda: vl.HVAE(ladder(), [vl.Bernoulli(4, EVENT)], vl.StandardNormal(4)),
            "the encoder returned a list of 2 for 1 decoders: expected a list",
        ),
        (lambda: vl.HVAE(lambda x: x, [vl.Bernoulli(9, EVENT)], vl.StandardNormal(4)), "is no torch module"),
        (lambda: vl.HVAE(ladder(1), [lambda z: z], vl.StandardNormal(4)), "is no torch module"),
        (lambda: vl.HVAE(ladder(1), [vl.Bernoulli(5, EVENT)], None), "is no torch module"),
        (lambda: vl.HVAE.mlp(EVENT, (), ()), "T >= 1"),
        (lambda: vl.HVAE.mlp(EVENT, 5, ((8,),)), "one latent size and one tuple"),
        (lambda: vl.HVAE.mlp(EVENT, (5, 4), ((8,),)), "one latent size and one tuple"),
        (lambda: vl.HVAE.mlp(EVENT, (5,), ((8,),), likelihood="poisson"), "unknown likelihood 'poisson'"),
        (lambda: vl.HVAE.mlp(EVENT, (5,), ((8,),), norm="group"), "norm is 'group'"),
        (lambda: hierarchy(2)(binary() / 2), "needs binary data"),
        (lambda: hierarchy(2)(binary(), samples=0), "samples is 0"),
        (lambda: hierarchy(2).decode(torch.zeros(1, 4).double(), level=3), "level is 3"),
        (lambda: hierarchy(2).decode(torch.zeros(1, 5).double(), level=1), "takes 9 numbers per example"),
        (lambda: hierarchy(2).reconstruct(binary(), level=0), "level is 0"),
        (lambda: hierarchy(2).sample(0), "n is 0"),
    ],
)
def test_bad_arguments_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()
