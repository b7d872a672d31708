"""What holds for every model, likelihood, event shape, depth, number of samples and precision.

Hypothesis chooses the cases, always the same ones. Where two ways to the same number are compared, they differ by
rounding alone: sums of at most some 50 terms of size below 100, so 1e-10 in float64 and 1e-3 in float32.
"""

import copy
import itertools
import math
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import special, stats
from torch import Tensor

import vaelib as vl
from vaelib.models import LIKELIHOODS

ATOL = {torch.float32: 1e-3, torch.float64: 1e-10}


class Case(NamedTuple):
    kind: type[vl.Hierarchy]
    levels: int
    likelihood: str
    event: int | tuple[int, ...]
    samples: int
    batch: int
    dtype: torch.dtype
    norm: str | None
    gated: bool
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.event,) if isinstance(self.event, int) else self.event

    @property
    def latents(self) -> tuple[int, ...]:
        return (3, 1, 2, 2)[: self.levels]

    @property
    def atol(self) -> float:
        return ATOL[self.dtype]

    def model(self, seed: int | None = None) -> vl.Hierarchy:
        """In evaluation mode, as it is after some training: its batch normalisation has seen data."""
        torch.manual_seed(self.seed if seed is None else seed)
        hidden, options = (5,), {"likelihood": self.likelihood, "norm": self.norm, "gated": self.gated}
        if self.kind is vl.VAE:
            model = vl.VAE.mlp(self.event, self.latents[0], hidden, **options)
        else:
            model = self.kind.mlp(self.event, self.latents, (hidden,) * self.levels, **options)
        with torch.no_grad():
            model.train()(self._data(8), check=False)
        return model.to(self.dtype).eval()

    def _data(self, batch: int) -> Tensor:
        x = torch.rand(batch, *self.shape, generator=torch.Generator().manual_seed(self.seed))
        rounded = {"bernoulli": 1, "categorical": 255, "discretised_logistic": 255}.get(self.likelihood)
        return x if rounded is None else (x * rounded).round() / rounded

    def x(self) -> Tensor:
        x = self._data(self.batch)
        if self.dtype == torch.float64 and self.likelihood in ("categorical", "discretised_logistic"):
            return (x.double() * 255).round() / 255
        return x.to(self.dtype)

    def given(self, *lead: int) -> list[Tensor]:
        """Latents of your own, each (*lead, L_t)."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return [
            torch.randn(*lead, size, generator=generator, dtype=torch.float64).to(self.dtype) for size in self.latents
        ]


@some.composite
def a_case(draw) -> Case:
    kind = draw(some.sampled_from([vl.VAE, vl.MHVAE, vl.HVAE]))
    return Case(
        kind=kind,
        levels=1 if kind is vl.VAE else draw(some.integers(1, 4)),
        likelihood=draw(some.sampled_from(sorted(LIKELIHOODS))),
        event=draw(some.sampled_from([1, 4, (3,), (1, 2, 3), (2, 3, 2), (2, 1), (1, 1), (1, 4), (1, 1, 3)])),
        samples=draw(some.integers(1, 4)),
        batch=draw(some.integers(1, 4)),
        dtype=draw(some.sampled_from([torch.float32, torch.float64])),
        norm=draw(some.sampled_from([None, "layer", "batch"])),
        gated=draw(some.booleans()),
        seed=draw(some.integers(0, 1000)),
    )


def over_cases(max_examples: int = 40):
    def decorate(test):
        return settings(derandomize=True, deadline=None, database=None, max_examples=max_examples)(
            given(case=a_case())(test)
        )

    return decorate


@contextmanager
def noise(batch: int, rows, seed: int = 0):
    """Every draw of a normal takes its noise from a table (K, batch, L), the columns `rows` of it."""
    calls = itertools.count()

    def draw(shape, dtype, device):
        generator = torch.Generator().manual_seed(1000 * seed + next(calls))
        table = torch.randn(shape[0], batch, *shape[2:], generator=generator, dtype=torch.float64)
        return table[:, rows].to(dtype)

    with mock.patch("torch.distributions.normal._standard_normal", draw):
        yield


def same_seed(model: vl.Hierarchy, case: Case, **options) -> vl.Terms:
    torch.manual_seed(case.seed)
    return model(case.x(), samples=case.samples, **options)


@pytest.mark.slow
@over_cases(80)
def test_terms_have_their_shapes_and_dtype_and_make_the_log_weights(case):
    terms = same_seed(case.model(), case)
    assert terms.log_px.shape == (case.samples, case.batch)
    assert terms.log_pz.shape == terms.log_qz.shape == terms.rates.shape == (case.levels, case.samples, case.batch)
    assert all(value.dtype == case.dtype and torch.isfinite(value).all() for value in terms[:4])
    want = terms.log_px.clone()
    for level in range(case.levels):
        want += terms.log_pz[level] - terms.log_qz[level]
    assert torch.allclose(terms.log_weights, want, atol=case.atol)
    assert vl.elbo(terms).shape == vl.iwae(terms).shape == vl.free_bits(terms, nats=0.1).shape == (case.batch,)


def entries(likelihood: str, base, x: Tensor) -> Tensor:
    """log p of each entry, by scipy or a formula of its own."""
    x = x.double().expand(base.batch_shape)
    if likelihood == "bernoulli":
        return torch.from_numpy(stats.bernoulli(base.probs.double()).logpmf(x))
    if likelihood == "gaussian":
        return torch.from_numpy(stats.norm(base.mean.double(), base.stddev.double()).logpdf(x))
    if likelihood == "continuous_bernoulli":
        l = base.logits.double()
        return torch.log(l / torch.expm1(l)) + l * x
    if likelihood == "categorical":
        table = torch.from_numpy(special.log_softmax(base.logits.double().numpy(), -1))
        return table.gather(-1, (x * 255).round().long()[..., None])[..., 0]
    logistic = stats.logistic(base.loc.double(), base.scale.double())
    upper = torch.from_numpy(logistic.cdf(x + 0.5 / 255)).masked_fill(x == 1, 1)
    return torch.log(upper - torch.from_numpy(logistic.cdf(x - 0.5 / 255)).masked_fill(x == 0, 0))


@over_cases(80)
@torch.no_grad()
def test_the_log_likelihood_is_the_sum_over_the_events_entries(case):
    model, x = case.model(), case.x()
    likelihood = model.likelihood(case.given(case.samples, case.batch))
    assert likelihood.event_shape == case.shape
    assert likelihood.batch_shape == (case.samples, case.batch)
    each = entries(case.likelihood, likelihood.base_dist, x)
    want = each.flatten(2).sum(-1)
    got, _ = model.log_joint(x, case.given(case.samples, case.batch))
    # Near l = 0 the oracle for the continuous Bernoulli loses digits, as does the difference for the logistic.
    assert torch.allclose(got.double(), want, atol=max(case.atol, 1e-6))
    if math.prod(case.shape) > 1:  # E1: the mean over the entries is another number
        assert not torch.allclose(got.double(), each.flatten(2).mean(-1), atol=1e-3)


@over_cases()
@torch.no_grad()
def test_an_example_does_not_depend_on_its_batch_mates(case):
    """Forward with the same noise, and the densities at given latents."""
    model, x = case.model(), case.x()
    with noise(case.batch, slice(None)):
        together = model(x, samples=case.samples)
    latents = case.given(case.samples, case.batch)
    joint, posterior = model.log_joint(x, latents), model.log_posterior(x, latents)
    for i in range(case.batch):
        with noise(case.batch, slice(i, i + 1)):
            alone = model(x[i : i + 1], samples=case.samples)
        for ours, theirs in zip(alone[:4], together[:4], strict=True):
            assert torch.allclose(ours[..., 0], theirs[..., i], atol=case.atol)
        own = [z[:, i : i + 1] for z in latents]
        for ours, theirs in zip(model.log_joint(x[i : i + 1], own), joint, strict=True):
            assert torch.allclose(ours[:, 0], theirs[:, i], atol=case.atol)
        assert torch.allclose(model.log_posterior(x[i : i + 1], own)[:, 0], posterior[:, i], atol=case.atol)


@over_cases()
@torch.no_grad()
def test_permuting_the_batch_permutes_the_terms(case):
    model, x = case.model(), case.x()
    order = torch.randperm(case.batch, generator=torch.Generator().manual_seed(case.seed))
    with noise(case.batch, slice(None)):
        terms = model(x, samples=case.samples)
    with noise(case.batch, order):
        permuted = model(x[order], samples=case.samples)
    for ours, theirs in zip(permuted[:4], terms[:4], strict=True):
        assert torch.allclose(ours, theirs[..., order], atol=case.atol)
    latents = case.given(case.samples, case.batch)
    at = [z[:, order] for z in latents]
    for ours, theirs in zip(model.log_joint(x[order], at), model.log_joint(x, latents), strict=True):
        assert torch.allclose(ours, theirs[:, order], atol=case.atol)


@over_cases()
@torch.no_grad()
def test_permuting_the_samples_permutes_the_terms_and_leaves_the_bounds(case):
    model, x, latents = case.model(), case.x(), case.given(case.samples, case.batch)
    turned = [z.flip(0) for z in latents]
    for ours, theirs in zip(model.log_joint(x, turned), model.log_joint(x, latents), strict=True):
        assert torch.allclose(ours.flip(0), theirs, atol=case.atol)
    assert torch.allclose(model.log_posterior(x, turned).flip(0), model.log_posterior(x, latents), atol=case.atol)
    terms = same_seed(model, case)
    flipped = vl.Terms(terms.log_px.flip(0), terms.log_pz.flip(1), terms.log_qz.flip(1), terms.rates.flip(1))
    for bound in (vl.elbo, vl.iwae):
        assert torch.allclose(bound(flipped), bound(terms), atol=case.atol)


@over_cases()
@torch.no_grad()
def test_float32_agrees_with_float64(case):
    """The same weights, data and noise; a model that moves to double and back is what it was, bit for bit."""
    case = case._replace(dtype=torch.float32)
    single = case.model()
    double = copy.deepcopy(single).double()
    with noise(case.batch, slice(None)):
        ours = single(case.x(), samples=case.samples)
    with noise(case.batch, slice(None)):
        theirs = double(case.x().double(), samples=case.samples)
    for a, b in zip(ours[:4], theirs[:4], strict=True):
        assert (a.dtype, b.dtype) == (torch.float32, torch.float64)
        assert torch.allclose(a.double(), b, atol=case.atol, rtol=1e-5)
    with noise(case.batch, slice(None)):
        back = double.float()(case.x(), samples=case.samples)
    assert all(torch.equal(a, b) for a, b in zip(back[:4], ours[:4], strict=True))
    assert single.sample(2).dtype == torch.float32


@over_cases()
@torch.no_grad()
def test_a_state_dict_carries_the_whole_model(case):
    model, other = case.model(), case.model(seed=case.seed + 1)
    want = same_seed(model, case)
    assert not torch.equal(same_seed(other, case).log_weights, want.log_weights)
    other.load_state_dict(model.state_dict())
    got = same_seed(other, case)
    assert all(torch.equal(a, b) for a, b in zip(got[:4], want[:4], strict=True))


@over_cases()
def test_path_changes_no_value(case):
    model = case.model()
    plain, path = same_seed(model, case), same_seed(model, case, path=True)
    for ours, theirs in zip(path[:3], plain[:3], strict=True):
        assert torch.allclose(ours, theirs, atol=case.atol)
    assert plain.latents is None
    assert [tuple(z.shape) for z in path.latents] == [(case.samples, case.batch, size) for size in case.latents]
    assert torch.allclose(vl.dreg(path), vl.iwae(plain), atol=case.atol)
    assert all(weight.requires_grad for weight in model.parameters())


@over_cases()
def test_the_terms_are_the_scores_of_the_latents_they_were_drawn_with(case):
    model = case.model()
    terms = same_seed(model, case, path=True)
    log_px, log_pz = model.log_joint(case.x(), terms.latents)
    assert torch.allclose(log_px, terms.log_px, atol=case.atol)
    assert torch.allclose(log_pz, terms.log_pz.sum(0), atol=case.atol)
    assert torch.allclose(model.log_posterior(case.x(), terms.latents), terms.log_qz.sum(0), atol=case.atol)


@over_cases()
@torch.no_grad()
def test_the_elbo_of_sampled_rates_is_at_most_iwae_of_the_same_draws(case):
    """Jensen: the mean of the logs against the log of the mean; equal for one sample."""
    terms = same_seed(case.model(), case)
    sampled = terms._replace(kl=None)
    gap = vl.iwae(terms) - vl.elbo(sampled)
    assert (gap > -case.atol).all()
    if case.samples == 1:
        assert (gap.abs() < case.atol).all()
    else:  # two different weights leave a gap
        spread = terms.log_weights.amax(0) - terms.log_weights.amin(0)
        assert (gap[spread > 1] > 1e-2).all()
    assert (vl.iwae(terms) <= terms.log_weights.amax(0) + case.atol).all()


@over_cases()
@torch.no_grad()
def test_free_bits_never_exceed_the_elbo(case):
    terms = same_seed(case.model(), case)
    elbo = vl.elbo(terms)
    before = elbo + case.atol
    for nats in (0.0, 0.1, 1.0, 10.0):
        value = vl.free_bits(terms, nats=nats)
        assert (value <= before).all()  # less and less, the more each level is charged at least
        before = value + case.atol
    if (terms.rates.mean(1) >= 0).all():
        assert torch.allclose(vl.free_bits(terms, nats=0.0), elbo, atol=case.atol)


@over_cases()
@torch.no_grad()
def test_closed_form_rates_are_not_negative(case):
    model = case.model()
    terms = same_seed(model, case)
    closed = [level for level in range(case.levels) if model.closed_form(level + 1)]
    assert case.levels - 1 in closed  # the top level at least
    assert (terms.rates[closed] >= -1e-6).all()
    open_levels = [level for level in range(case.levels) if level not in closed]
    assert torch.equal(terms.rates[open_levels], (terms.log_qz - terms.log_pz)[open_levels])
    assert bool(open_levels) == (case.kind is vl.MHVAE and case.levels > 1)


@over_cases()
@torch.no_grad()
def test_latents_without_a_batch_axis_of_their_own_broadcast_against_the_data(case):
    """(M, 1, L) against (B, *event): every latent with every example."""
    model, x, latents = case.model(), case.x(), case.given(3, 1)
    full = [z.expand(3, case.batch, -1) for z in latents]
    log_px, log_pz = model.log_joint(x, latents)
    assert log_px.shape == (3, case.batch)
    assert log_pz.shape == (3, 1)  # the latents alone know their prior
    for ours, theirs in zip((log_px, log_pz.expand_as(log_px)), model.log_joint(x, full), strict=True):
        assert torch.allclose(ours, theirs, atol=case.atol)
    posterior = model.log_posterior(x, latents)
    assert posterior.shape == (3, case.batch)
    assert torch.allclose(posterior, model.log_posterior(x, full), atol=case.atol)


@pytest.mark.slow
@over_cases()
def test_every_weight_moves_the_bounds_and_gets_a_finite_gradient(case):
    for bound, path in ((vl.elbo, False), (vl.iwae, False), (vl.dreg, True)):
        model = case.model()
        bound(same_seed(model, case, path=path)).sum().backward()
        for name, weight in model.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name


@over_cases()
def test_samples_reconstructions_and_decodings_have_the_events_shape_and_support(case):
    model, x = case.model(), case.x()
    torch.manual_seed(case.seed)
    latents = model.encode(x, case.samples)
    assert [tuple(z.shape) for z in latents] == [(case.samples, case.batch, size) for size in case.latents]
    drawn = model.sample(3)
    assert drawn.shape == model.sample(3, mean=True).shape == (3, *case.shape)
    model.check(drawn)  # what a model draws it accepts as data
    for level in range(1, case.levels + 1):
        assert model.reconstruct(x, level).shape == x.shape
        decoded = model.decode(latents[level - 1 :], level)
        assert decoded.batch_shape == (case.samples, case.batch)
        assert decoded.event_shape == case.shape
    assert not drawn.requires_grad


@over_cases(20)
def test_nothing_depends_on_the_mode_but_batch_normalisation(case):
    model = case._replace(batch=4, samples=2).model()
    case = case._replace(batch=4, samples=2)
    evaluating, training = same_seed(model, case), same_seed(model.train(), case)
    same = all(torch.equal(a, b) for a, b in zip(evaluating[:4], training[:4], strict=True))
    assert same == (case.norm != "batch")


@pytest.mark.parametrize("kind", [vl.MHVAE, vl.HVAE])
def test_the_oracle_of_batch_mates_sees_batch_normalisation_in_training(kind):
    """The check above can fail: in training mode an example does depend on its mates."""
    case = Case(kind, 2, "bernoulli", 4, 3, 4, torch.float64, "batch", False, 0)
    model, x = case.model().train(), case.x()
    with torch.no_grad(), noise(4, slice(None)):
        together = model(x, samples=3).log_weights
    with torch.no_grad(), noise(4, slice(0, 2)):
        fewer = model(x[:2], samples=3).log_weights
    assert (together[:, :2] - fewer).abs().max() > 1e-2
