"""`audit` on free bits, several levels, data sets batch by batch, and estimators of a gradient."""

import itertools
import math

import pytest
import torch
from torch import distributions as td
from torch.nn import functional as F

from vaelib.checking.audit import audit

SUMS = {"sum": torch.sum, "mean": torch.mean, "examples": lambda value: value, "percent": lambda v: 100 * v.mean()}


def nats(mu, logvar):
    """Nats per example and dimension."""
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar)


CLAMPS = {
    "examples": lambda r, least: r.sum(1).clamp_min(least),
    "dimensions": lambda r, least: r.clamp_min(least).sum(1),
    "maximum": lambda r, least: torch.maximum(r.sum(1), torch.tensor(least, dtype=r.dtype)),
    "by where": lambda r, least: torch.where(r > least, r, torch.full_like(r, least)).sum(1),
    "batch": lambda r, least: r.sum(1).mean().clamp_min(least).expand(len(r)),
    "batch, dimensions": lambda r, least: r.mean(0).clamp_min(least).sum().expand(len(r)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("clamp", "total"), [*itertools.product(CLAMPS, ("sum", "examples"))])
def test_free_bits_are_no_false_alarm(clamp, total):
    def alone(mu, logvar, free_bits):
        return SUMS[total](CLAMPS[clamp](nats(mu, logvar), free_bits))

    def loss(logits, x, mu, logvar, free_bits):
        error = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        return SUMS[total](error + CLAMPS[clamp](nats(mu, logvar), free_bits))

    for function in (alone, loss):
        found = audit(function, free_bits=0.5)
        assert found.right, str(found)
        assert "free bits of 0.5 nats" in found.verdict


@pytest.mark.parametrize("total", SUMS)
@pytest.mark.parametrize("scale", ["J", "number"])
def test_a_clamp_after_rescaling_is_e19(total, scale):
    def late(mu, logvar, free_bits, pixels):
        by = mu.shape[1] if scale == "J" else pixels
        return SUMS[total]((nats(mu, logvar).sum(1) / by).clamp_min(free_bits))

    found = audit(late, free_bits=0.5, pixels=4)
    assert (found.right, found.number) == (False, "E19"), str(found)
    assert f"{1.5 if scale == 'J' else 2:g} nats are free, not 0.5" in found.verdict

    def early(mu, logvar, free_bits, pixels):
        return SUMS[total](nats(mu, logvar).sum(1).clamp_min(free_bits) / pixels)

    assert audit(early, free_bits=0.5, pixels=4).right


def test_a_given_rate_with_free_bits():
    assert "example by example" in audit(lambda kl, lam: kl.clamp_min(lam).mean(), lam=2.0).verdict
    assert "at the mean of the batch" in audit(lambda kl, lam: kl.mean().clamp_min(lam), lam=2.0).verdict
    for pixels in (28, 784):
        found = audit(lambda kl, lam, pixels: (kl / pixels).mean().clamp_min(lam), lam=0.1, pixels=pixels)
        assert found.number == "E19"
    wrong = audit(lambda log_px, kl, lam: (kl.clamp_min(lam) + log_px.mean(0)).mean(), lam=2.0)
    assert wrong.number == "E18b"
    mean = audit(lambda log_px, kl, lam: -log_px.sum(0).mean() + kl.clamp_min(lam).mean(), lam=2.0)
    assert mean.number == "E14"
    assert audit(lambda kl: kl.clamp_min(2.0).mean()).right is None  # its threshold is not said


def test_a_rate_or_a_likelihood_alone_lacks_nothing():
    assert "the rate" in audit(lambda kl: kl.mean()).verdict
    assert audit(lambda kl: kl.sum()).right
    assert "minus the log-likelihood" in audit(lambda log_px: -log_px.mean()).verdict


@pytest.mark.parametrize(("levels", "total", "sign"), [*itertools.product((1, 2, 3, 4), SUMS, (1, -1))])
def test_all_levels_are_no_false_alarm(levels, total, sign):
    names = [f"rate_{level}" for level in range(1, levels + 1)]
    text = f"lambda log_px, {', '.join(names)}: sign * total({' + '.join(names)} - log_px.mean(0))"
    found = audit(eval(text, {"sign": sign, "total": SUMS[total]}))
    assert found.right, str(found)
    assert "the ELBO" in found.verdict


def test_levels_that_are_left_out_or_turned_round():
    top = audit(lambda log_px, kl_1, kl_2: (kl_1 - log_px.mean(0)).mean() + 0 * kl_2.sum())
    assert (top.right, top.number) == (False, "E25b")
    below = audit(lambda log_px, kl_1, kl_2: (kl_2 - log_px.mean(0)).mean() + 0 * kl_1.sum())
    assert (below.right, below.verdict) == (False, "rate_1 is left out")
    assert audit(lambda log_px, kl_1, kl_2: (kl_1 - kl_2 - log_px.mean(0)).mean()).number == "E18b"
    warm = audit(lambda log_px, kl_1, kl_2: (kl_1 + 0.1 * kl_2 - log_px.mean(0)).mean())
    assert warm.right
    assert "0.1 for rate_2" in warm.verdict
    assert audit(lambda kl_1, kl_2: (kl_1 + kl_2).mean()).right
    assert audit(lambda log_px, kl_1, kl_2: (kl_1 * kl_2 - log_px.mean(0)).mean()).right is None


def running(batches):
    mean, count = 0.0, 0
    for batch in batches:
        count += len(batch)
        mean = mean + (batch.mean() - mean) * len(batch) / count
    return -mean


def test_a_level_that_float32_hides_is_not_called_left_out():
    warm = audit(lambda log_px, kl_1, kl_2: (kl_1 + 1e-4 * kl_2 - log_px.mean(0)).float().mean())
    assert warm.right is None
    assert "rate_2 is there, but too small" in str(warm)
    assert audit(lambda log_px, kl_1, kl_2: (kl_1 - log_px.mean(0)).float().mean() + 0 * kl_2.sum()).number == "E25b"


COUNTED = {
    "all at once": lambda batches: -torch.cat(batches).mean(),
    "sum over number": lambda batches: -sum(b.sum() for b in batches) / sum(map(len, batches)),
    "weighted means": lambda batches: -sum(b.mean() * len(b) for b in batches) / sum(map(len, batches)),
    "a running mean": running,
    "a sum": lambda batches: -sum(b.sum() for b in batches),
    "a float": lambda batches: -math.fsum(x for b in batches for x in b.tolist()) / sum(map(len, batches)),
    "in bits": lambda batches: -torch.cat(batches).mean() / math.log(2),
    "per pixel": lambda batches, pixels=784: -torch.cat(batches).mean() / pixels,
    "among others": lambda batches: {"count": 9.0, "loss": -torch.cat(batches).mean()},
}


@pytest.mark.parametrize("name", COUNTED)
def test_each_example_counted_once_is_no_false_alarm(name):
    found = audit(COUNTED[name], called="nll")
    assert found.right, str(found)


MISCOUNTED = {
    "E21: no minus": lambda batches: torch.cat(batches).mean(),
    "E21c: the last batch": lambda batches: -[b.mean() for b in batches][-1],
    "E21c: the last batch's sum": lambda batches: -[b.sum() for b in batches][-1],
    "E21c: the first counts as 0": lambda batches: -sum(b.sum() for b in batches[1:]) / sum(map(len, batches)),
    "E21d: the mean of batch means": lambda batches: -torch.stack([b.mean() for b in batches]).mean(),
    "E21d: the sum of batch means": lambda batches: -sum(b.mean() for b in batches),
}


@pytest.mark.parametrize("name", MISCOUNTED)
def test_examples_that_are_miscounted(name):
    found = audit(MISCOUNTED[name], called="nll")
    assert (found.right, found.number) == (False, name.partition(":")[0]), str(found)


def test_an_average_that_is_none():
    assert audit(lambda batches: torch.cat(batches).median()).right is None
    with pytest.raises(ValueError, match="values that are not finite"):
        audit(lambda batches: torch.cat(batches).log().mean())
    with pytest.raises(ValueError, match=r"fails on .*AttributeError"):
        audit(lambda batches: batches.mean())
    with pytest.raises(ValueError, match=r"returned \(9,\) for its batches: expected one number"):
        audit(lambda batches: torch.cat(batches))


def drawn(mu, sigma):
    """z, log q, log p(z), and the rate."""
    q = td.Normal(mu, sigma)
    z = q.sample()
    prior = td.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return z, q.log_prob(z).sum(1), prior.log_prob(z).sum(1), td.kl_divergence(q, prior).sum(1)


def score(mu, sigma, log_likelihood):
    z, log_q, log_p, _ = drawn(mu, sigma)
    return ((log_likelihood(z) + log_p - log_q).detach() * log_q).mean()


def with_baseline(mu, logvar, log_likelihood):
    z, log_q, log_p, _ = drawn(mu, (logvar / 2).exp())
    signal = (log_likelihood(z) + log_p - log_q).detach()
    return -(signal - signal.mean()) * log_q


def closed_form(mu, sigma, log_likelihood):
    z, log_q, _, rate = drawn(mu, sigma)
    return (rate - log_likelihood(z).detach() * log_q).mean()


def pathwise(mu, log_sigma, log_likelihood):
    z = mu + log_sigma.exp() * torch.randn_like(mu)
    return log_likelihood(z) - drawn(mu, log_sigma.exp())[3]


@pytest.mark.parametrize("estimator", [score, with_baseline, closed_form, pathwise])
def test_a_right_estimator_is_no_false_alarm(estimator):
    found = audit(estimator)
    assert found.right, str(found)
    assert "the gradient of the ELBO in mu" in found.verdict


def left_out(mu, sigma, log_likelihood):
    z, log_q, _, _ = drawn(mu, sigma)
    return -(log_likelihood(z).detach() * log_q).mean()


def reversed_sign(mu, sigma, log_likelihood):
    z, log_q, log_p, _ = drawn(mu, sigma)
    return ((log_likelihood(z) - log_p + log_q).detach() * log_q).mean()


def no_score(mu, sigma, log_likelihood):
    z, log_q, log_p, _ = drawn(mu, sigma)
    return (log_likelihood(z) + log_p - log_q).mean()


def rate_alone(mu, sigma, log_likelihood):
    z, _, _, rate = drawn(mu, sigma)
    return (rate - log_likelihood(z)).mean()


@pytest.mark.parametrize(
    ("estimator", "number"), [(left_out, "E15e"), (reversed_sign, "E15b"), (no_score, "E15c"), (rate_alone, "E15c")]
)
def test_a_wrong_estimator_is_named(estimator, number):
    found = audit(estimator)
    assert (found.right, found.number) == (False, number), str(found)


def test_an_estimator_without_a_gradient():
    with pytest.raises(ValueError, match=r"fails on .*KeyError"):
        audit(lambda mu, sigma, log_likelihood: {}["z"])
    assert "no gradient reaches mu" in audit(lambda mu, sigma, log_likelihood: log_likelihood(mu.detach())).verdict
    odd = audit(lambda mu, sigma, log_likelihood: (mu**3).sum(1) + log_likelihood(mu))
    assert odd.right is None
