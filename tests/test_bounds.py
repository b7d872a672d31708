import math

import pytest
import torch

import vaelib as vl


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


@pytest.mark.parametrize("bound", [vl.elbo, vl.iwae])
def test_bounds_have_the_right_gradient(bound):
    t = terms()
    inputs = [value.requires_grad_() for value in t[:3]]
    assert torch.autograd.gradcheck(lambda *values: bound(vl.Terms(*values)), inputs)


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
