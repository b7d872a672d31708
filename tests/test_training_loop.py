import math
import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import vaelib as vl
from vaelib.exact import LinearGaussianChain
from vaelib.training import checks, device
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
@pytest.mark.parametrize("compile", [False, True])
def test_training_on_a_gpu_reaches_what_the_cpu_reaches(compile):
    gpu, cpu = model(2), model(2)
    options = {"transform": torch.bernoulli, "epochs": 20, "lr": 5e-3, "progress": False}
    on_gpu = vl.fit(gpu, stripes(2000), **options, device="cuda", compile=compile).train[-1].elbo
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


# --- Data as they come ------------------------------------------------------------------------------------------------


def weights(m: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in m.parameters()])


def binary(n: int = 90) -> torch.Tensor:
    return torch.bernoulli(stripes(n), generator=torch.Generator().manual_seed(1))


class Stream(IterableDataset):
    def __iter__(self):
        return iter(binary())


class Dicts(Dataset):
    def __len__(self):
        return 90

    def __getitem__(self, i):
        return {"image": binary()[i], "label": 0}


def test_a_stream_is_trained_on_batch_by_batch():
    """Loaders of the same batches give the same training, whatever they load; a stream is cut into batches."""
    x = binary()
    results = []
    for data in (
        DataLoader(TensorDataset(x, torch.zeros(90)), batch_size=20),
        DataLoader(x, batch_size=20),
        DataLoader(Stream(), batch_size=20),
    ):
        trained = model()
        history = vl.fit(trained, data, x[:20], epochs=3, batch_size=20, lr=1e-2, **QUICK)
        results.append((weights(trained), history.train, history.lr))
    for got, *rest in results[1:]:
        assert torch.equal(got, results[0][0])
        assert rest == list(results[0][1:])
    history = vl.fit(model(), Stream(), x[:20], epochs=3, batch_size=20, lr=1e-2, **QUICK)
    for curve in (results[0][1], history.train, history.valid):
        assert curve[-1].elbo > curve[0].elbo


def test_a_shuffled_loader_follows_the_seed_of_the_training_and_is_resumed_bit_for_bit(tmp_path):
    def train(epochs, seed=0, **options):
        loader = DataLoader(binary(), batch_size=20, shuffle=True)
        vl.fit(m := model(), loader, epochs=epochs, seed=seed, lr=1e-2, **QUICK, **options)
        return weights(m)

    whole = train(3)
    torch.rand(7)  # what others draw is no matter
    assert torch.equal(whole, train(3))
    assert not torch.equal(whole, train(3, seed=1))
    train(1, run=vl.Run(tmp_path))
    assert torch.equal(whole, train(3, run=vl.Run(tmp_path, resume=True)))


def test_a_schedule_over_a_stream_of_unknown_length_moves_within_an_epoch_from_the_second_on():
    seen = []
    schedule = lambda epoch: seen.append(epoch) or 1e-3  # noqa: E731
    vl.fit(model(), Stream(), epochs=2, batch_size=30, lr=schedule, **QUICK)
    assert seen == pytest.approx([0, 0, 0, 1, 1 + 1 / 3, 1 + 2 / 3])


def test_what_a_stream_brings_is_checked_as_it_comes():
    x = binary()
    x[70] = 0.5
    with pytest.raises(ValueError, match=r"outside \{0, 1\}"):
        vl.fit(model(), DataLoader(x, batch_size=20), epochs=1, **QUICK)
    with pytest.raises(ValueError, match=r"train has values outside \[0, 1\]"):
        vl.fit(model(), DataLoader(x + 1, batch_size=20), epochs=1, transform=vl.binarise, **QUICK)


@pytest.mark.parametrize("transform", [None, vl.binarise, torch.bernoulli])
def test_a_batch_of_nothing_is_refused_in_words(transform):
    loader = DataLoader([binary(3), binary(0)], batch_size=None)
    with pytest.raises(ValueError, match="at least one example"):
        vl.fit(model(), loader, epochs=1, transform=transform, **QUICK)


def test_dicts_are_trained_on_by_key_and_a_split_is_its_images():
    a, b, c = model(), model(), model()
    vl.fit(a, binary(), binary(20), epochs=2, **QUICK)
    vl.fit(b, Dicts(), Dicts(), epochs=2, key="image", **QUICK)
    vl.fit(c, vl.Split(binary(), torch.zeros(90)), vl.Split(binary(20)), epochs=2, **QUICK)
    assert torch.equal(weights(a), weights(b))
    assert torch.equal(weights(a), weights(c))
    with pytest.raises(ValueError, match="expected key= to name the entry"):
        vl.fit(model(), Dicts(), epochs=1, **QUICK)


# --- What changes nothing, and what ends a training -------------------------------------------------------------------


def test_validation_changes_nothing_in_the_training_and_draws_the_same_in_each_epoch():
    a, b = model(2), model(2)
    alone = vl.fit(a, stripes(), transform=torch.bernoulli, epochs=3, **QUICK)
    watched = vl.fit(b, stripes(), stripes(50), transform=torch.bernoulli, epochs=3, **QUICK)
    assert torch.equal(weights(a), weights(b))
    assert alone.train == watched.train
    still = vl.fit(model(2), stripes(), stripes(50), transform=torch.bernoulli, epochs=3, lr=0.0, **QUICK)
    assert still.valid[0] == still.valid[1] == still.valid[2]
    assert still.train[0] != still.train[1]


def test_data_of_a_scale_that_no_learning_rate_can_cure_are_named():
    """Where the very first loss is not finite; later it is the learning rate."""
    x = torch.rand(64, 8, generator=torch.Generator().manual_seed(0))
    for scale in (1e20, -1e25, 1e30):
        torch.manual_seed(0)
        m = vl.VAE.mlp(8, 2, (32,), "gaussian")
        with pytest.raises(FloatingPointError, match=r"step 1 of 2: the loss is .*scale the data, which lie"):
            vl.fit(m, x * scale, epochs=2, lr=1e-9, batch_size=32, **QUICK)
        assert weights(m).isfinite().all()
    with pytest.raises(FloatingPointError, match="lower lr"):
        vl.fit(vl.VAE.mlp(8, 2, (32,), "gaussian"), x, epochs=20, lr=1e30, batch_size=32, **QUICK)


def test_an_outlier_that_stops_weights_for_ever_is_named():
    """The square of its gradient is infinite in float32: Adam would divide by it from then on."""
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    x[3, 0] = 1e12
    torch.manual_seed(0)
    m = vl.VAE.mlp(6, 2, (8,), "gaussian")
    with pytest.raises(FloatingPointError, match=r"optimiser's moments not finite .* look for outliers in the data"):
        vl.fit(m, x, epochs=2, batch_size=64, **QUICK)
    vl.fit(m, x.clamp(-10, 10), epochs=2, batch_size=64, **QUICK)


def test_clipping_bounds_the_step_of_plain_gradient_descent():
    x, moved = torch.randn(64, 6, generator=torch.Generator().manual_seed(0)), []
    for clip in (None, 0.1):
        torch.manual_seed(0)
        m = vl.VAE.mlp(6, 2, (8,), "gaussian")
        before = weights(m)
        vl.fit(m, x, epochs=1, batch_size=64, lr=1.0, optimizer=torch.optim.SGD, clip=clip, **QUICK)
        moved.append((weights(m) - before).norm().item())
    assert moved[0] > 0.2
    assert moved[1] == pytest.approx(0.1, rel=1e-3)


def test_a_training_that_cannot_be_meant_is_refused_in_words():
    frozen = model()
    frozen.requires_grad_(False)
    with pytest.raises(ValueError, match="every weight of the model is frozen: expected one or more"):
        vl.fit(frozen, binary(), epochs=1, **QUICK)
    with torch.no_grad(), pytest.raises(ValueError, match=r"training under torch\.no_grad: expected"):
        vl.fit(model(), binary(), epochs=1, **QUICK)
    for options, says in (
        ({"clip": 0}, "clip is 0: expected"),
        ({"clip": math.inf}, "clip is inf: expected"),
        ({"precision": "half"}, "precision is 'half': expected one of auto"),
        ({"optimizer": torch.optim.Adam([nn.Parameter(torch.ones(1))])}, "optimizer is a Adam: expected a function"),
        ({"optimizer": "adam"}, "optimizer is a str: expected a function"),
        ({"compile": "yes"}, "compile is 'yes': expected"),
        ({"run": "runs/a"}, r"run is 'runs/a': expected vaelib\.Run"),
    ):
        with pytest.raises(ValueError, match=says):
            vl.fit(model(), binary(), epochs=1, **QUICK, **options)


def test_numbers_of_numpy_are_numbers():
    options = {"epochs": np.int64(1), "batch_size": np.int32(32), "samples": np.int8(2), "seed": np.uint8(3)}
    history = vl.fit(model(), binary(), lr=np.float64(1e-3), beta=np.float32(1), clip=np.float32(9), **options, **QUICK)
    assert len(history) == 1


def test_data_that_do_not_fit_on_a_gpu_stay_where_they_are(monkeypatch):
    """Without a GPU: what decides, with a GPU's free memory made up."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 8000))
    moved = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: moved.append(device) or self)
    few, many = torch.zeros(10, 50), torch.zeros(11, 50)
    assert device.placed(few, torch.device("cuda")) is few
    assert moved == [torch.device("cuda")]
    assert device.placed(many, torch.device("cuda")) is many
    assert moved == [torch.device("cuda")]


def test_a_precision_that_is_not_here_falls_back_with_one_line(capsys):
    vl.fit(model(), binary(), epochs=1, precision="tf32", **QUICK)
    assert capsys.readouterr().err == "precision: cpu has no tf32; float32 is used\n"


@pytest.mark.parametrize("data", [TensorDataset, list, lambda x: x, lambda x: x.numpy()])
def test_a_transform_that_works_in_place_leaves_the_data_alone(data):
    def trained(transform):
        x = 255 * stripes(60)
        m = model()
        history = vl.fit(m, data(x), data(x[:20]), epochs=2, transform=transform, lr=1e-2, **QUICK)
        assert x.equal(255 * stripes(60))
        return history.train, history.valid

    def in_place(batch):
        return batch.div_(255).round_()

    assert trained(in_place) == trained(lambda batch: (batch / 255).round())


class Counting(nn.Module):
    """Keeps a setting beside its weights."""

    def __init__(self):
        super().__init__()
        self.kept = {"unit": "nats"}
        self.net = nn.Linear(16, 6)

    def forward(self, features):
        return self.net(features)

    def get_extra_state(self):
        return self.kept

    def set_extra_state(self, state):
        self.kept = state


def test_a_module_that_keeps_more_than_tensors_is_trained(tmp_path):
    torch.manual_seed(0)
    m = vl.VAE(vl.Gaussian(16, 3, net=Counting()), vl.Bernoulli(3, (1, 4, 4), (8,)))
    history = vl.fit(m, stripes(), epochs=2, transform=vl.binarise, run=vl.Run(tmp_path), **QUICK)
    assert len(history) == 2
    with pytest.raises(FloatingPointError, match="diverged in epoch 1"):
        vl.fit(m, stripes(), epochs=1, transform=vl.binarise, objective=lambda t, b: vl.elbo(t, b) / 0, **QUICK)
    assert m.encoders[0].net.kept == {"unit": "nats"}


class Foreign(nn.Module):
    """Makes its distribution of whatever its layer returns."""

    def __init__(self, cast: bool):
        super().__init__()
        self.cast, self.net = cast, nn.Linear(16, 3)

    def forward(self, x):
        mean = self.net(x.flatten(1))
        mean = mean.float() if self.cast else mean
        return torch.distributions.Independent(torch.distributions.Normal(mean, torch.ones_like(mean)), 1)


@pytest.mark.parametrize("cast", [True, False])
def test_densities_are_never_computed_in_bfloat16(cast):
    torch.manual_seed(0)
    m = vl.VAE(Foreign(cast), vl.Bernoulli(3, (1, 4, 4), (8,)))
    with nullcontext() if cast else pytest.raises(ValueError, match=r"torch.bfloat16: expected a module of"):
        vl.fit(m, stripes(), epochs=1, transform=vl.binarise, precision="bfloat16", **QUICK)
