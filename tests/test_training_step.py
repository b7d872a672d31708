import pytest
import torch

import vaelib as vl
from vaelib.training.loop import validate
from vaelib.training.step import PlainAdam, Step, totals


def chain() -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)))


def binary(n: int = 20) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()


def test_the_loss_is_minus_the_objectives_batch_mean_at_this_beta():
    model, x = chain(), binary()
    step = Step(model, vl.elbo, 3, PlainAdam(list(model.parameters())))
    torch.manual_seed(1)
    loss, sums = step.forward(x, 0.5)
    torch.manual_seed(1)
    terms = model(x, samples=3)
    assert loss.item() == pytest.approx(-vl.elbo(terms, 0.5).mean().item(), rel=1e-6)
    assert sums[0].item() == pytest.approx(terms.log_px.mean(0).sum().item(), rel=1e-6)
    for level in range(2):
        assert sums[1 + level].item() == pytest.approx(terms.rates[level].mean(0).sum().item(), rel=1e-5)


def test_totals_are_means_over_samples_and_sums_over_examples():
    log_px = torch.tensor([[1.0, 2.0], [3.0, 6.0]])  # (K, B)
    log_qz = torch.tensor([[[1.0, 1.0], [3.0, 5.0]]])  # (T, K, B)
    assert totals(vl.Terms(log_px, torch.zeros(1, 2, 2), log_qz)).tolist() == [2.0 + 4.0, 2.0 + 3.0]


def test_what_an_epoch_and_validation_report_are_means_over_the_examples():
    """E21 and its like: a divisor of N - 1, or of whole batches."""
    model, x = chain(), binary(21)
    torch.manual_seed(4)
    terms = model(x)
    summary = validate(model, x, batch_size=21, seed=4)
    assert summary.elbo == pytest.approx(vl.elbo(terms).mean().item(), rel=1e-5)
    assert summary.reconstruction == pytest.approx(terms.log_px.mean().item(), rel=1e-5)
    assert summary.rates == pytest.approx(terms.rates.mean((1, 2)).tolist(), rel=1e-4)
    # 20 examples and one: with lr = 0 nothing but the draws tells the epoch from the mean over many of them.
    history = vl.fit(model, x, epochs=60, batch_size=20, lr=0.0, progress=False, device="cpu")
    reported = torch.tensor([epoch.train.reconstruction for epoch in history])
    torch.manual_seed(5)
    many = model(x, samples=1000).log_px.mean().item()
    # A mean over 19 or 20 in place of 21 would be off by 5 % of some 11 nats, half a nat.
    assert reported.mean().item() == pytest.approx(many, abs=0.05)


def test_a_training_trains_in_training_mode_and_ends_in_evaluation_mode():
    torch.manual_seed(0)
    model = vl.VAE.mlp((1, 4, 4), 2, (8,), norm="batch").eval()
    before = model.encoders[0].body[1].running_mean.clone()
    vl.fit(model, binary(), epochs=1, batch_size=10, progress=False, device="cpu")
    assert not torch.equal(before, model.encoders[0].body[1].running_mean)
    assert not any(module.training for module in model.modules())


def test_the_objective_that_needs_paths_gets_them():
    model, seen = chain(), []
    step = Step(model, vl.dreg, 2, PlainAdam(list(model.parameters())))
    model.register_forward_hook(lambda module, inputs, terms: seen.append(terms.latents is not None))
    step(binary(), 1e-3, 1.0)
    step.objective = vl.iwae
    step(binary(), 1e-3, 1.0)
    assert seen == [True, False]
