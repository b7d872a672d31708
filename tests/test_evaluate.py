import gc
import math

import numpy as np
import pytest
import torch
import torch.utils.data

import vaelib as vl
from vaelib import evaluate
from vaelib.exact import LinearGaussian, LinearGaussianChain


def exact_case() -> tuple[LinearGaussianChain, list[LinearGaussian], torch.Tensor]:
    """A two-level chain, encoders that are somewhat too wide, and 30 draws from the model itself."""
    chain = LinearGaussianChain.random([4, 3, 2], seed=2)
    encoders = [LinearGaussian(q.weight, q.bias, 1.3 * q.covariance) for q in chain.posteriors()]
    torch.manual_seed(0)
    return chain, encoders, chain.model().sample(30)


def test_nll_with_the_exact_posterior_is_exact_for_any_number_of_samples():
    chain, _, x = exact_case()
    for samples in (1, 7):
        assert torch.allclose(vl.nll(chain.model(), x, samples=samples).per_example, -chain.log_px(x), atol=1e-10)


def test_nll_converges_to_the_exact_value():
    chain, encoders, x = exact_case()
    estimate = vl.nll(chain.model(encoders), x, samples=20_000).per_example
    # The weights' variance is below 2 here, so a standard error is below sqrt(2 / 20000) = 0.01.
    assert torch.allclose(estimate, -chain.log_px(x), atol=0.05, rtol=0)
    elbo = vl.nll(chain.model(encoders), x, samples=1).per_example
    assert (elbo - estimate).mean() > 0.05  # E9, E21: minus the ELBO is another, larger number


def test_nll_counts_every_sample(monkeypatch):
    """E21: chunks of any size give the log of the mean of *all* weights, the last short chunk included."""
    chain, encoders, x = exact_case()
    seen = []
    monkeypatch.setattr(evaluate, "_BUDGET", 4 * 64)
    model = chain.model(encoders)
    monkeypatch.setattr(evaluate, "iwae", lambda terms: seen.append(terms.log_weights) or vl.iwae(terms))
    result = vl.nll(model, x[:1], samples=150)
    assert [len(weights) for weights in seen] == [64, 64, 22]
    want = math.log(150) - torch.logsumexp(torch.cat(seen), 0)
    assert torch.allclose(result.per_example, want, atol=1e-12)


def test_nll_counts_every_example_once(monkeypatch):
    chain, _, x = exact_case()
    monkeypatch.setattr(evaluate, "_BUDGET", 4 * 8)
    result = vl.nll(chain.model(), x, samples=1)
    assert result.per_example.shape == (30,)
    assert result.mean == pytest.approx(-chain.log_px(x).mean().item(), abs=1e-10)
    assert result.stderr == pytest.approx(chain.log_px(x).std().item() / 30**0.5, abs=1e-10)


def test_nll_is_seeded_and_leaves_the_callers_random_numbers_alone():
    chain, encoders, x = exact_case()
    model = chain.model(encoders)
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    first = vl.nll(model, x, samples=3)
    assert torch.equal(torch.rand(3), want)
    assert torch.equal(first.per_example, vl.nll(model, x, samples=3).per_example)
    assert not torch.equal(first.per_example, vl.nll(model, x, samples=3, seed=1).per_example)


def test_nll_restores_training_mode():
    model = vl.VAE.mlp(4, latent=2, hidden=(3,))
    for mode in (True, False):
        model.train(mode)
        vl.nll(model, torch.zeros(2, 4), samples=2)
        assert model.training is mode


@pytest.mark.parametrize(("x", "samples"), [(torch.zeros(2, 4), 0), (torch.zeros(2, 4), 2.5), (torch.zeros(2, 3), 5)])
def test_bad_input_is_one_clear_error(x, samples):
    with pytest.raises(ValueError, match="expected"):
        vl.nll(vl.VAE.mlp(4, latent=2, hidden=(3,)), x, samples=samples)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_where_memory_runs_out_nll_takes_smaller_slices_and_gives_the_same_answer(error, monkeypatch):
    chain, encoders, x = exact_case()
    model = chain.model(encoders)
    want = vl.nll(model, x, samples=150).per_example
    likelihood, sizes = model.likelihood, []

    def short_of_memory(latents):
        sizes.append(len(latents[0]))
        if sizes[-1] > 40:
            raise error
        return likelihood(latents)

    monkeypatch.setattr(model, "likelihood", short_of_memory)
    monkeypatch.setattr(model, "check", lambda x: None)
    assert torch.allclose(vl.nll(model, x, samples=150).per_example, want, atol=1e-12)
    assert {150, 75, 38} <= set(sizes)


def test_nll_keeps_no_tensor_of_the_examples_before(monkeypatch):
    model, counts = vl.VAE.mlp(784, latent=2, hidden=(3,)), []
    infer = model.infer

    def counted(x, samples):
        counts.append(sum(type(thing) is torch.Tensor for thing in gc.get_objects()))
        return infer(x, samples)

    monkeypatch.setattr(model, "infer", counted)
    vl.nll(model, torch.zeros(12, 784), samples=5000)
    assert len(counts) == 12  # one example at a time
    assert len(set(counts[1:])) == 1, "between large tensors that come and go, what stays keeps their memory, too"


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), MemoryError()])
def test_other_errors_and_a_single_sample_too_large_are_raised(error, monkeypatch):
    chain, _, x = exact_case()
    model = chain.model()

    def broken(latents):
        raise error

    monkeypatch.setattr(model, "check", lambda x: None)
    monkeypatch.setattr(model, "likelihood", broken)
    with pytest.raises(type(error)):
        vl.nll(model, x, samples=5)


def test_a_likelihood_with_many_numbers_per_pixel_is_scored_in_smaller_chunks(monkeypatch):
    monkeypatch.setattr(evaluate, "_BUDGET", 4 * 256 * 6)
    model, seen = vl.VAE.mlp(4, 2, (3,), likelihood="categorical"), []
    monkeypatch.setattr(evaluate, "iwae", lambda terms: seen.append(terms.log_px.shape) or vl.iwae(terms))
    vl.nll(model, torch.zeros(5, 4), samples=3)
    assert seen == [(3, 2), (3, 2), (3, 1)]


@pytest.mark.parametrize(("components", "budget"), [(100, 100 * 2 * 6), (1, 4 * 6)])
def test_a_mixture_for_a_prior_is_scored_in_chunks_of_the_larger_of_its_numbers_and_the_decoders(
    components, budget, monkeypatch
):
    """Two latents under each component, four entries of an example: six pairs of sample and example fit the budget."""
    monkeypatch.setattr(evaluate, "_BUDGET", budget)
    model, seen = vl.VAE(vl.Gaussian(4, 2, (3,)), vl.Bernoulli(2, 4, (3,)), vl.MixturePrior(2, components)), []
    monkeypatch.setattr(evaluate, "iwae", lambda terms: seen.append(terms.log_px.shape) or vl.iwae(terms))
    vl.nll(model, torch.zeros(5, 4), samples=3)
    assert seen == [(3, 2), (3, 2), (3, 1)]


def test_nll_leaves_the_statistics_of_a_prior_that_has_some_as_they_were():
    """A VampPrior asks the encoder, which in training mode would count its pseudo-inputs as a batch, and drop some."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    encoder = vl.Gaussian(4, 2, net=torch.nn.Sequential(net, torch.nn.Linear(3, 4)))
    model = vl.VAE(encoder, vl.Bernoulli(2, 4, (3,)), vl.VampPrior(encoder, components=6)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    vl.nll(model, torch.zeros(5, 4), samples=3)
    assert torch.equal(torch.rand(3), want)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Examples(torch.utils.data.Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], 0


@pytest.mark.parametrize(
    "data",
    [
        lambda x: x.numpy(),
        lambda x: x.double(),
        lambda x: x.double().numpy(),
        lambda x: x.half().float().numpy().astype(">f8"),
        Examples,
        lambda x: torch.utils.data.DataLoader(Examples(x), batch_size=3),
    ],
)
def test_evaluation_takes_data_as_users_have_them(data):
    """Single precision is the model's, and these values are exact in half of it."""
    torch.manual_seed(0)
    model = vl.VAE.mlp(4, 2, (3,), "gaussian")
    x = torch.randn(8, 4).half().float()
    assert torch.equal(vl.nll(model, data(x), samples=3).per_example, vl.nll(model, x, samples=3).per_example)
    assert torch.equal(vl.diagnostics.unit_rates(model, data(x))[0], vl.diagnostics.unit_rates(model, x)[0])
    few = {"chains": 2, "steps": 3, "leapfrog": 1}
    assert torch.equal(vl.sandwich.ais(model, data(x), **few), vl.sandwich.ais(model, x, **few))
    assert vl.diagnostics.active_units(model, data(x))[0].shape == (2,)
    assert vl.diagnostics.surgery(model, data(x), samples=5) == vl.diagnostics.surgery(model, x, samples=5)


def test_examples_that_are_dicts_are_read_by_their_key():
    model = vl.VAE.mlp(4, 2, (3,), "gaussian")
    x = torch.randn(5, 4)
    dicts = [{"signal": row, "label": 3} for row in x]
    got = vl.nll(model, dicts, samples=3, key="signal")
    assert torch.equal(got.per_example, vl.nll(model, x, samples=3).per_example)


def test_integers_of_numpy_are_numbers_of_samples():
    model, x = vl.VAE.mlp(4, 2, (3,), "gaussian"), torch.randn(5, 4)
    assert vl.nll(model, x, samples=np.int64(3)).samples == 3
    assert vl.diagnostics.posterior_means(model, x, samples=np.int32(2))[0].shape == (5, 2)
    assert vl.sandwich.bdmc(model, n=np.int64(2), chains=2, steps=np.int64(3), leapfrog=1).lower.shape == (2,)


def test_bits_per_dimension_are_nats_shared_out():
    """A uniform grey level among 256 costs 8 bits a pixel."""
    nats = 12 * math.log(256)
    assert evaluate.NLL(torch.full((3,), nats), nats, 0.0, 10, 12).bits_per_dim == pytest.approx(8, rel=1e-12)
