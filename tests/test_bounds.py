import copy
import math
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal
from torch.fx.experimental.proxy_tensor import make_fx

import vaelib as vl
from vaelib import hierarchy
from vaelib.exact import grid


def terms(levels: int = 2, samples: int = 5, batch: int = 3) -> vl.Terms:
    torch.manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64)  # noqa: E731
    return vl.Terms(draw(samples, batch) - 5, draw(levels, samples, batch), draw(levels, samples, batch))


def test_log_weights_written_out():
    t = terms()
    for k in range(5):
        for b in range(3):
            want = t.log_px[k, b] + sum(t.log_pz[level, k, b] - t.log_qz[level, k, b] for level in range(2))
            assert t.log_weights[k, b] == pytest.approx(want.item(), abs=1e-14)


def test_elbo_is_the_mean_log_weight_and_iwae_the_log_of_the_mean_weight():
    t = terms()
    w = t.log_weights.exp()
    assert torch.allclose(vl.elbo(t), w.log().mean(0), atol=1e-12)
    assert torch.allclose(vl.iwae(t), w.mean(0).log(), atol=1e-12)
    # E10: the mean of the logs, and a missing log K, are other numbers.
    assert (vl.iwae(t) - vl.elbo(t)).min() > 0.1
    assert torch.allclose(torch.logsumexp(t.log_weights, 0) - vl.iwae(t), torch.tensor(math.log(5)).double())


def test_one_sample_makes_the_two_bounds_equal():
    t = terms(samples=1)
    assert torch.allclose(vl.iwae(t), vl.elbo(t), atol=1e-12)


def test_iwae_survives_weights_that_underflow():
    t = terms()
    low = t._replace(log_px=t.log_px - 1e4)
    assert torch.allclose(vl.iwae(low), vl.iwae(t) - 1e4, atol=1e-9)


def test_beta_scales_the_rates_and_nothing_else():
    t = terms()
    assert torch.allclose(vl.elbo(t, beta=0.0), t.log_px.mean(0))
    assert torch.allclose(vl.elbo(t, beta=2.0), (t.log_px - 2 * t.rates.sum(0)).mean(0))


def test_closed_form_rates_take_the_place_of_sampled_ones_in_the_elbo_only():
    t = terms()
    kl = torch.ones_like(t.log_pz)
    closed = t._replace(kl=kl)
    assert torch.allclose(vl.elbo(closed), (t.log_px - 2).mean(0))
    assert torch.equal(vl.iwae(closed), vl.iwae(t))  # E21: no KL inside the weight


def test_free_bits_clamp_each_levels_rate_per_example_and_then_sum():
    """E19: the clamp comes before any averaging or scaling."""
    rates = torch.tensor([[[0.2, 3.0]], [[1.0, 0.1]]], dtype=torch.float64)  # (T, K, B) = (2, 1, 2)
    t = terms(samples=1, batch=2)._replace(kl=rates)
    assert torch.allclose(vl.free_bits(t, nats=0.5), t.log_px[0] - torch.tensor([0.5 + 1.0, 3.0 + 0.5]))
    assert torch.allclose(vl.free_bits(t, 2.0, nats=0.5), t.log_px[0] - 2 * torch.tensor([1.5, 3.5]))
    wrong = t.log_px[0].mean() - rates.mean(2).clamp_min(0.5).sum()  # averaged first: nothing would be clamped
    assert abs(vl.free_bits(t, nats=0.5).mean() - wrong) > 0.3
    assert torch.allclose(vl.free_bits(t, nats=0.0), vl.elbo(t))


def test_free_bits_average_over_samples_before_the_clamp():
    rates = torch.tensor([[[0.2], [1.0]]], dtype=torch.float64)  # two samples of one rate, mean 0.6
    t = terms(levels=1, samples=2, batch=1)._replace(kl=rates)
    assert torch.allclose(vl.free_bits(t, nats=0.5), t.log_px.mean(0) - 0.6)


def test_a_level_within_its_free_bits_gets_no_gradient():
    rates = torch.tensor([[[0.2]], [[2.0]]], dtype=torch.float64, requires_grad=True)
    vl.free_bits(terms(samples=1, batch=1)._replace(kl=rates), nats=0.5).sum().backward()
    assert rates.grad is not None
    assert rates.grad.flatten().tolist() == [0.0, -1.0]


def test_beta_tempers_the_weights_of_the_importance_weighted_bounds():
    t = terms()
    want = torch.logsumexp(t.log_px + 0.3 * (t.log_pz - t.log_qz).sum(0), 0) - math.log(5)
    assert torch.allclose(vl.iwae(t, 0.3), want)
    assert torch.allclose(vl.dreg(t._replace(latents=()), 0.3), want)


class Line(nn.Module):
    """N(a y, s^2) with weights a and log s, for scalars."""

    inputs, event = 1, (1,)

    def __init__(self, slope: float, log_scale: float):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.tensor(log_scale, dtype=torch.float64))

    def forward(self, condition):
        return Independent(Normal(self.slope * condition, self.log_scale.exp().expand_as(condition)), 1)


def two_scalar_levels() -> vl.MHVAE:
    model = vl.MHVAE([Line(0.5, -0.5), Line(0.3, -0.2)], [Line(0.9, -0.3), Line(0.8, -0.6)])
    return model.double()


@pytest.mark.slow
@pytest.mark.parametrize("model", [vl.VAE(Line(0.3, -0.2), Line(0.9, -0.3)).double(), two_scalar_levels()])
def test_dreg_has_the_exact_gradient_of_the_expected_iwae_bound(model):
    """Also through q(z_2 | z_1), whose mean moves with z_1, where it is easily got wrong. K = 3."""
    x = torch.full((1, 1), 0.7, dtype=torch.float64)

    def exact() -> float:
        return grid(model, x, points=401 if model.levels == 1 else 161, limit=7.0).iwae(3).item()

    torch.manual_seed(0)
    many = x.expand(1, 40_000).T  # the same example again and again: a batch of independent estimates
    for weight in model.parameters():
        estimates = {}
        for bound, path in ((vl.dreg, True), (vl.iwae, False)):
            value = bound(model(many, samples=3, path=path))
            # The mean gradient in 40 parts, whose scatter gives the standard error.
            parts = torch.stack(
                [torch.autograd.grad(part.mean(), weight, retain_graph=True)[0] for part in value.split(1000)]
            )
            estimates[bound] = parts.mean(), parts.std() / 40**0.5
        with torch.no_grad():
            step = 1e-4
            weight.add_(step)
            above = exact()
            weight.sub_(2 * step)
            slope = (above - exact()) / (2 * step)
            weight.add_(step)
        for mean, stderr in estimates.values():
            # Normal theory with 39 degrees of freedom: |t| > 6 has a chance of 5e-7; twelve comparisons.
            assert abs(mean - slope) < 6 * stderr + 1e-6


@pytest.mark.slow
def test_dreg_scatters_less_than_iwae_for_the_encoder_and_not_at_all_at_the_exact_posterior():
    x = torch.full((500, 1), 0.7, dtype=torch.float64)

    def scatter(model, bound, path):
        torch.manual_seed(0)
        value = bound(model(x, samples=8, path=path))
        slope = model.encoders[0].slope
        return torch.stack([torch.autograd.grad(v, slope, retain_graph=True)[0] for v in value]).std()

    model = vl.VAE(Line(0.3, -0.2), Line(0.9, -0.3)).double()
    assert scatter(model, vl.dreg, True) < 0.8 * scatter(model, vl.iwae, False)
    # p(z | x) = N(a x / (a^2 + s^2), s^2 / (a^2 + s^2)) with a = 0.9, s = e^-0.3
    variance = math.exp(-0.6) / (0.81 + math.exp(-0.6))
    exact = vl.VAE(Line(0.9 / (0.81 + math.exp(-0.6)), 0.5 * math.log(variance)), Line(0.9, -0.3)).double()
    assert scatter(exact, vl.dreg, True) < 1e-12
    assert scatter(exact, vl.iwae, False) > 1e-3


def normalised(*layers: nn.Module) -> vl.MHVAE:
    """A chain of two levels whose upper encoder has these layers in it."""
    model = vl.MHVAE.mlp(6, (3, 2), ((5,), (4,)))
    model.encoders[1].body.extend(layers)
    return model


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.BatchNorm1d(4), r"BatchNorm1d \(encoders\.1\.body\.2\): it makes the draws of one example"),
        (nn.BatchNorm1d(4, track_running_stats=False).eval(), "BatchNorm1d"),
        (nn.SyncBatchNorm(4), "SyncBatchNorm"),
        (nn.Dropout(0.1), r"Dropout \(encoders\.1\.body\.2\): log q would be evaluated with other entries dropped"),
        (nn.AlphaDropout(0.5), "AlphaDropout"),
    ],
)
def test_path_gradients_are_refused_where_they_would_be_wrong(layer, reason):
    model, x = normalised(layer), torch.rand(8, 6).round()
    if not isinstance(layer, nn.SyncBatchNorm):
        assert torch.isfinite(vl.iwae(model(x, samples=3))).all()
    with pytest.raises(ValueError, match=reason):
        model(x, samples=3, path=True)
    with pytest.raises(ValueError, match=reason):
        vl.fit(model, x, epochs=1, batch_size=4, samples=3, objective=vl.dreg, progress=False)


def test_path_gradients_bear_what_leaves_examples_apart():
    x = torch.rand(8, 6).round()
    for layer in (nn.LayerNorm(4), nn.BatchNorm1d(4).eval(), nn.Dropout(0.0), nn.Dropout(0.5).eval()):
        model = normalised(layer)
        assert torch.isfinite(vl.dreg(model(x, samples=3, path=True))).all()
    assert torch.isfinite(vl.dreg(normalised(nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()(x, samples=3, path=True))).all()


@pytest.mark.slow
def test_batch_normalisation_would_make_the_path_gradient_wrong(monkeypatch):
    """Why it is refused: with it, the mean gradients of dreg and iwae differ by more than chance."""
    monkeypatch.setattr(hierarchy, "_check_apart", lambda model: None)

    def apart(**options) -> float:  # in standard errors, the mean square over the encoders' weights: 1 by chance
        torch.manual_seed(0)
        model, x = vl.MHVAE.mlp(6, (3, 2), ((5,), (4,)), **options).double(), torch.rand(6, 6).round().double()
        weights = list(model.encoders.parameters())
        with torch.no_grad():
            for weight in weights:
                weight.mul_(3 if weight.ndim == 2 else 1)
        means = []
        for bound, path in ((vl.dreg, True), (vl.iwae, False)):
            grads = [torch.autograd.grad(bound(model(x, 3, path=path)).sum(), weights) for _ in range(800)]
            flat = torch.stack([torch.cat([g.flatten() for g in grad]) for grad in grads])
            means.append((flat.mean(0), flat.std(0) / 800**0.5))
        (dreg, one), (iwae, other) = means
        return ((dreg - iwae) / torch.hypot(one, other).clamp_min(1e-9)).square().mean().item()

    assert apart() < 2
    assert apart(norm="batch") > 3


def test_dreg_has_the_value_of_iwae_and_needs_the_latents():
    model, x = two_scalar_levels(), torch.full((4, 1), 0.7, dtype=torch.float64)
    torch.manual_seed(0)
    path = model(x, samples=3, path=True)
    torch.manual_seed(0)
    assert torch.equal(vl.dreg(path), vl.iwae(model(x, samples=3)))
    assert all(weight.requires_grad for weight in model.parameters())  # held fixed for a moment only
    with pytest.raises(ValueError, match=r"dreg needs model\(x, samples=K, path=True\)"):
        vl.dreg(model(x, samples=3))


@pytest.mark.parametrize("nats", [-0.1, math.inf, math.nan])
def test_free_bits_refuse_what_cannot_be_meant(nats):
    with pytest.raises(ValueError, match="expected a finite number of at least 0"):
        vl.free_bits(terms(), nats=nats)


@pytest.mark.parametrize("bound", [vl.elbo, vl.iwae, partial(vl.free_bits, nats=0.5), vl.dreg])
def test_bounds_have_the_right_gradient(bound):
    t = terms()._replace(latents=())
    inputs = [value.requires_grad_() for value in t[:3]]
    assert torch.autograd.gradcheck(lambda *values: bound(vl.Terms(*values, latents=())), inputs)


def test_warmup_rises_to_one_and_stays():
    beta = vl.warmup(4)
    assert [beta(epoch) for epoch in (0, 1, 4, 9)] == [0, 0.25, 1, 1]


def test_cosine_falls_from_start_to_zero_and_stays():
    lr = vl.cosine(2e-3, epochs=10)
    assert lr(0) == 2e-3
    assert lr(5) == pytest.approx(1e-3)
    assert lr(10) == lr(12) == 0


def test_schedules_take_fractions_of_an_epoch():
    assert vl.warmup(0.5)(0.25) == 0.5
    assert vl.cosine(1e-3, epochs=0.5)(0.25) == pytest.approx(5e-4)


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan])
def test_schedules_refuse_what_cannot_be_meant(bad):
    with pytest.raises(ValueError, match="expected a positive number"):
        vl.warmup(bad)
    with pytest.raises(ValueError, match="expected two positive numbers"):
        vl.cosine(1e-3, epochs=bad)
    with pytest.raises(ValueError, match="expected two positive numbers"):
        vl.cosine(bad, epochs=3)


# Shapes of Terms


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda t: vl.Terms(t.log_px[0], t.log_pz, t.log_qz), r"log_px \(3,\), .*expected log_px \(K, B\)"),
        (lambda t: vl.Terms(t.log_px, t.log_pz[0], t.log_qz[0]), r"log_pz \(5, 3\), .*the others \(T, K, B\)"),
        (lambda t: vl.Terms(t.log_px[:, :1], t.log_pz, t.log_qz), r"log_px \(5, 1\), log_pz \(2, 5, 3\)"),
        (lambda t: vl.Terms(t.log_px, t.log_pz[:, :, :1], t.log_qz), r"log_pz \(2, 5, 1\), log_qz \(2, 5, 3\)"),
        (lambda t: vl.Terms(t.log_px, t.log_pz, t.log_qz[:1]), r"log_qz \(1, 5, 3\)"),
        (lambda t: vl.Terms(t.log_px, t.log_pz, t.log_qz, t.log_px), r"kl \(5, 3\): expected"),
        (lambda t: vl.Terms(t.log_px.sum(), t.log_pz, t.log_qz), r"log_px \(\)"),
        (lambda t: vl.Terms(t.log_px[..., None], t.log_pz, t.log_qz), r"log_px \(5, 3, 1\)"),
        (
            lambda t: vl.Terms(t.log_px, t.log_pz, t.log_qz, latents=(t.log_px,)),
            r"latent is \(5, 3\), .*\(K, B, L_t\)",
        ),
        (lambda t: vl.Terms(t.log_px, t.log_pz, t.log_qz, latents=(t.log_pz,)), r"latent is \(2, 5, 3\)"),
        (lambda t: t._replace(log_px=t.log_px.T), r"log_px \(3, 5\), log_pz \(2, 5, 3\)"),
        (lambda t: t._replace(kl=t.log_pz.mean(1)), r"kl \(2, 3\)"),
    ],
)
def test_terms_of_other_shapes_are_one_clear_error_where_they_are_made(make, says):
    with pytest.raises(ValueError, match=says):
        make(terms())


def test_terms_are_a_named_tuple_that_can_be_copied_and_unpacked():
    t = terms()._replace(kl=torch.ones(2, 5, 3, dtype=torch.float64))
    for other in (vl.Terms(*t), vl.Terms(**t._asdict()), pickle.loads(pickle.dumps(t)), copy.deepcopy(t)):
        assert isinstance(other, vl.Terms)
        assert all(torch.equal(a, b) for a, b in zip(other[:4], t[:4], strict=True))
    log_px, *_, latents = t
    assert log_px is t.log_px
    assert latents is None


# dreg is a pure function of the terms


def by_hooks(terms: vl.Terms, beta: float = 1.0) -> torch.Tensor:
    """The same gradient by hooks on the latents, which change them for whoever comes after."""
    log_weights = terms.log_px + beta * (terms.log_pz - terms.log_qz).sum(0)
    share = log_weights.detach().softmax(0)[..., None]
    for z in terms.latents:
        z.register_hook(lambda gradient: share * gradient)
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


MODELS = [
    lambda: vl.VAE(Line(0.3, -0.2), Line(0.9, -0.3)).double(),
    two_scalar_levels,
    lambda: vl.HVAE.mlp(1, latents=(2, 1), hidden=((3,), (3,)), likelihood="gaussian").double(),
]


def drawn(model: vl.Hierarchy, samples: int = 3, path: bool = True) -> vl.Terms:
    torch.manual_seed(0)
    return model(torch.full((4, 1), 0.7, dtype=torch.float64), samples=samples, path=path)


def gradients(model: vl.Hierarchy, value: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(value.mean(), list(model.parameters()), retain_graph=True, materialize_grads=True))


def close(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-13, rtol=1e-11) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_dreg_has_the_gradient_that_hooks_on_the_latents_give(make, beta, samples):
    torch.manual_seed(0)
    model = make()
    terms = drawn(model, samples)
    value = vl.dreg(terms, beta)
    ours, theirs = gradients(model, value), gradients(model, by_hooks(drawn(model, samples), beta))
    assert close(ours, theirs)
    assert torch.equal(value, vl.iwae(terms, beta))
    # With two samples or more the factor v is felt; with one it is 1.
    plain = gradients(model, vl.iwae(terms, beta))
    assert close(ours, plain) == (samples == 1)


@pytest.mark.parametrize("make", MODELS)
def test_dreg_may_be_called_again_and_followed_by_another_bound(make):
    torch.manual_seed(0)
    model = make()
    first, elbo = gradients(model, vl.dreg(drawn(model))), gradients(model, vl.elbo(drawn(model)))
    terms = drawn(model)
    vl.dreg(terms)
    with torch.no_grad():
        logged = vl.dreg(terms)
    again = vl.dreg(terms)
    assert torch.equal(logged, again)
    assert close(gradients(model, again), first)
    assert close(gradients(model, vl.elbo(terms)), elbo)
    assert close(gradients(model, vl.iwae(terms)), gradients(model, vl.iwae(drawn(model))))
    total = gradients(model, vl.dreg(terms) + vl.elbo(terms))
    assert close(total, [a + b for a, b in zip(first, elbo, strict=True)])


def test_dreg_without_gradients_is_the_value_of_iwae():
    model = two_scalar_levels()
    with torch.no_grad():
        terms = drawn(model)
        assert torch.equal(vl.dreg(terms), vl.iwae(terms))
    frozen = drawn(two_scalar_levels().requires_grad_(False))
    assert not vl.dreg(frozen).requires_grad


def test_dreg_weighs_examples_as_the_loss_does():
    """Each example's gradient is its own, whatever the others weigh."""
    model = vl.VAE(Line(0.3, -0.2), Line(0.9, -0.3)).double()
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5], dtype=torch.float64)
    whole = gradients(model, weights * vl.dreg(drawn(model)))
    hooked = gradients(model, weights * by_hooks(drawn(model)))
    assert close(whole, hooked)


@pytest.mark.parametrize("family", [vl.MHVAE, vl.HVAE])
def test_dreg_can_be_traced(family):
    """As a training that is compiled does it, with its gradient."""
    torch.manual_seed(0)
    model = family.mlp(1, latents=(2, 1), hidden=((3,), (3,)), likelihood="gaussian").double()
    weights = list(model.parameters())

    def step(x):
        with torch.enable_grad():
            value = vl.dreg(model(x, 3, check=False, path=True))
            return value.detach(), *torch.autograd.grad(value.mean(), weights, materialize_grads=True)

    x = torch.full((4, 1), 0.7, dtype=torch.float64)
    program = make_fx(step)(x)
    for seed in (1, 2):
        torch.manual_seed(seed)
        want = step(x)
        torch.manual_seed(seed)
        assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(program(x), want, strict=True))
