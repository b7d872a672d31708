import math
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import vaelib as vl
from vaelib.exact import LinearGaussianChain
from vaelib.training import checks
from vaelib.training.loop import validate

QUICK = {"progress": False, "device": "cpu"}


def model(levels: int = 1) -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp((1, 4, 4), latents=(3, 2)[:levels], hidden=((8,),) * levels)


def stripes(n: int = 200) -> torch.Tensor:
    """Images of pixel probabilities with structure to learn: rows or columns that are likely ink."""
    g = torch.Generator().manual_seed(0)
    rows = (torch.rand(n, 1, 4, 1, generator=g) < 0.5).expand(n, 1, 4, 4)
    columns = (torch.rand(n, 1, 1, 4, generator=g) < 0.5).expand(n, 1, 4, 4)
    upright = torch.rand(n, 1, 1, 1, generator=g) < 0.5
    return torch.where(upright, rows, columns).float() * 0.9 + 0.05


@pytest.mark.slow
def test_fit_raises_the_elbo_and_the_held_out_likelihood():
    m, x = model(2), stripes(1000)
    binary = torch.bernoulli(stripes(500), generator=torch.Generator().manual_seed(1))
    before = vl.nll(m, binary, samples=100).mean
    history = vl.fit(m, x, x[:100], transform=torch.bernoulli, epochs=40, batch_size=50, lr=5e-3, **QUICK)
    after = vl.nll(m, binary, samples=100)
    assert history.train[-1].elbo > history.train[0].elbo + 1
    assert after.mean < before - 1
    # Better than the best model of independent pixels: 16 bits of entropy each, 16 ln 2 = 11.09 nats.
    assert after.mean + 3 * after.stderr < 16 * math.log(2)


@pytest.mark.slow
def test_a_linear_gaussian_model_learns_the_entropy_of_its_data():
    """No model can beat -H(x) in expectation; the right family comes close to it."""
    chain = LinearGaussianChain.random([3, 1], seed=4)
    torch.manual_seed(0)
    x = chain.model().sample(4000).float()
    torch.manual_seed(1)
    m = vl.VAE(vl.Gaussian(3, 1, hidden=()), vl.Gaussian(1, 3, hidden=(16,)))
    vl.fit(m, x, epochs=30, batch_size=100, lr=vl.cosine(1e-2, 30), **QUICK)
    learned, best = vl.nll(m, x, samples=200), -chain.log_px(x.double()).mean().item()
    assert best - 0.01 < learned.mean < best + 0.1


def test_history_has_an_entry_per_epoch_and_adds_up():
    history = vl.fit(model(2), stripes(), stripes(50), transform=torch.bernoulli, epochs=3, beta=vl.warmup(2), **QUICK)
    assert [len(c) for c in (history.train, history.valid, history.lr, history.beta, history.seconds)] == [3] * 5
    assert not history.interrupted
    for summary in [*history.train, *history.valid]:
        assert len(summary.rates) == 2
        assert summary.elbo == pytest.approx(summary.reconstruction - sum(summary.rates))
    assert history.seconds == sorted(history.seconds)
    assert history.beta[0] == pytest.approx(0.25)  # the second of two steps of epoch 1: half an epoch of two
    assert history.beta[-1] == 1


def test_epoch_means_weigh_every_example_alike():
    """E21: 200 images in batches of 128 and 72; with lr = 0 the epoch's mean is the mean over all images."""
    m, x = model(), torch.bernoulli(stripes(), generator=torch.Generator().manual_seed(1))
    noiseless = m.encoders[0].heads[1]
    torch.nn.init.zeros_(noiseless.weight)
    torch.nn.init.constant_(noiseless.bias, -10)  # a posterior so narrow that its sampling noise is below 1e-3 nats
    history = vl.fit(m, x, epochs=1, lr=0.0, **QUICK)
    assert history.train[0].elbo == pytest.approx(validate(m, x).elbo, abs=2e-3)
    assert validate(m, x, batch_size=7).elbo == pytest.approx(validate(m, x, batch_size=200).elbo, abs=2e-3)
    short = vl.elbo(m(x[128:])).mean().item()
    assert abs((vl.elbo(m(x[:128])).mean().item() + short) / 2 - validate(m, x).elbo) > 0.005  # the wrong mean differs


def test_same_seed_same_weights_bit_for_bit():
    def train(seed):
        m = model()
        vl.fit(m, stripes(), transform=torch.bernoulli, epochs=2, seed=seed, **QUICK)
        return torch.cat([weight.flatten() for weight in m.parameters()])

    assert torch.equal(train(0), train(0))
    assert not torch.equal(train(0), train(1))


def test_fit_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    want = torch.rand(3)
    m, x = model(), stripes()
    torch.manual_seed(5)
    vl.fit(m, x, transform=torch.bernoulli, epochs=1, **QUICK)
    assert torch.equal(torch.rand(3), want)


def test_beta_reaches_the_objective():
    """E23: a beta that is stored and never used. A large beta squeezes the rate to nothing."""
    rates = []
    for beta in (1.0, 20.0):
        m = model()
        rates.append(vl.fit(m, stripes(1000), transform=torch.bernoulli, epochs=25, lr=1e-2, beta=beta, **QUICK))
    assert rates[0].train[-1].rates[0] > 0.5
    assert rates[1].train[-1].rates[0] < 0.05


def test_arrays_and_data_sets_train_like_tensors():
    x = torch.bernoulli(stripes(), generator=torch.Generator().manual_seed(1))
    results = []
    for data in (x, x.numpy(), TensorDataset(x, torch.zeros(len(x)))):
        results.append(vl.fit(model(), data, epochs=1, **QUICK).train[0])
    assert results[0] == results[1] == results[2]


def test_a_schedule_reaches_the_optimiser():
    history = vl.fit(model(), stripes(), transform=torch.bernoulli, epochs=2, lr=lambda e: 0.1 / (1 + e), **QUICK)
    assert history.lr == pytest.approx([0.1 / 1.5, 0.1 / 2.5])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"lr": -1e-3}, "lr is -0.001"),
        ({"lr": math.nan}, "lr is nan"),
        ({"beta": math.inf}, "beta is inf"),
        ({"device": "gpu"}, "device is 'gpu': expected"),
        ({"device": "cuda:99"}, "device is 'cuda:99': expected"),
        ({"transform": None}, r"outside \{0, 1\}"),
    ],
)
def test_bad_options_are_one_clear_error(options, says):
    with pytest.raises(ValueError, match=says):
        vl.fit(model(), stripes(), **{"epochs": 1, "transform": torch.bernoulli, **QUICK, **options})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (torch.full((4, 1, 4, 4), 1.5), r"train has values outside \[0, 1\]"),
        (torch.full((4, 1, 4, 4), -0.1), r"divide 8-bit images by 255"),
        (torch.full((4, 1, 4, 4), math.nan), "NaN"),
        (torch.zeros(4, 4, 4), r"x has shape \(4, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4), "at least one example"),
        (np.zeros((4, 1, 4, 4), dtype=np.uint8), "floating-point"),
        ("images.npz", "train is 'images.npz': expected the data themselves"),
    ],
)
def test_bad_data_are_one_clear_error(data, says):
    with pytest.raises(ValueError, match=says):
        vl.fit(model(), data, transform=torch.bernoulli, epochs=1, **QUICK)


def test_bad_validation_data_are_named():
    with pytest.raises(ValueError, match="valid has values outside"):
        vl.fit(model(), stripes(), stripes() + 1, transform=torch.bernoulli, epochs=1, **QUICK)


def test_divergence_is_said_not_trained_through():
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        vl.fit(model(), stripes(), transform=torch.bernoulli, epochs=50, lr=1e30, **QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "samples"),
    [(vl.iwae, 5), (vl.dreg, 5), (vl.dreg, 1), (partial(vl.free_bits, nats=0.5), 1)],
    ids=["iwae", "dreg", "path gradient", "free bits"],
)
def test_every_objective_trains(objective, samples):
    trained, x = model(2), torch.bernoulli(stripes(200), generator=torch.Generator().manual_seed(1))
    before = vl.nll(trained, x, samples=100).mean
    options = {"transform": torch.bernoulli, "epochs": 30, "batch_size": 10, "lr": 5e-3}
    vl.fit(trained, stripes(), objective=objective, samples=samples, **options, **QUICK)
    assert vl.nll(trained, x, samples=100).mean < before - 1


@pytest.mark.slow
def test_the_objective_gets_terms_and_beta_and_is_what_is_maximised():
    seen = []

    def objective(terms, beta):
        seen.append((terms.latents, beta))
        return -((terms.log_px.mean(0).mean() + 8.0) ** 2).expand(terms.log_px.shape[1])  # -8 nats on average

    trained = model(1)
    options = {"transform": torch.bernoulli, "epochs": 20, "batch_size": 10, "lr": 1e-2, "beta": 0.3}
    history = vl.fit(trained, stripes(), objective=objective, **options, **QUICK)
    assert seen[1] == (None, 0.3)  # the first call is a trial on zeros
    assert history.train[-1].reconstruction == pytest.approx(-8.0, abs=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_reaches_what_the_cpu_reaches():
    gpu, cpu = model(2), model(2)
    options = {"transform": torch.bernoulli, "epochs": 20, "lr": 5e-3, "progress": False}
    on_gpu = vl.fit(gpu, stripes(2000), **options, device="cuda").train[-1].elbo
    on_cpu = vl.fit(cpu, stripes(2000), **options, device="cpu").train[-1].elbo
    assert on_gpu == pytest.approx(on_cpu, abs=0.3)
    x = torch.bernoulli(stripes(500), generator=torch.Generator().manual_seed(1))
    a = vl.nll(gpu, x, samples=500)
    b = vl.nll(gpu.cpu(), x, samples=500)
    assert a.mean == pytest.approx(b.mean, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("progress", "disable", "shown"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_the_progress_bar_can_be_switched_off_by_argument_and_by_environment(progress, disable, shown):
    """The variable is read when tqdm is imported, hence another process."""
    code = f"""
import torch, vaelib as vl
vl.fit(vl.VAE.mlp(4, latent=2, hidden=(3,)), torch.zeros(8, 4), epochs=1, device="cpu", progress={progress})
"""
    environment = {key: value for key, value in os.environ.items() if key != "TQDM_DISABLE"}
    if disable:
        environment["TQDM_DISABLE"] = "1"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ("epoch" in run.stderr) is shown


def test_looking_at_the_data_takes_little_memory(monkeypatch):
    """The transform never sees all the data at once, and every example is looked at."""
    monkeypatch.setattr(checks, "CHECKED", 30)
    seen = []
    with pytest.raises(ValueError, match=r"outside \{0, 1\}"):
        vl.fit(model(), stripes(100), transform=lambda x: seen.append(len(x)) or x, epochs=1, **QUICK)
    assert seen == [30]
    x = torch.bernoulli(stripes(100), generator=torch.Generator().manual_seed(1))
    x[-1] = 0.5
    with pytest.raises(ValueError, match=r"outside \{0, 1\}"):
        vl.fit(model(), x, transform=lambda x: seen.append(len(x)) or x, epochs=1, **QUICK)
    assert seen == [30, 30, 30, 30, 10]
