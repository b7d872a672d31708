import threading

import numpy as np
import pytest
import torch

import vaelib as vl
from vaelib import diagnostics, sandwich
from vaelib.data import cave
from vaelib.exact import LinearGaussianChain
from vaelib.randomness import RandomStream, generator_from


def test_a_stream_goes_on_where_it_was_left_and_leaves_the_callers_numbers_alone():
    torch.manual_seed(5)
    want = torch.rand(3)
    stream = RandomStream(7)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with stream:
            drawn.append(torch.rand(4))
    assert torch.equal(torch.rand(3), want)
    torch.manual_seed(7)
    assert torch.equal(torch.cat(drawn), torch.rand(8))


def test_a_stream_within_another_changes_neither():
    outer, inner = RandomStream(1), RandomStream(2)
    with outer:
        first = torch.rand(2)
        with inner:
            other = torch.rand(2)
        second = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.cat([first, second]), torch.rand(4))
    torch.manual_seed(2)
    assert torch.equal(other, torch.rand(2))


def test_an_error_within_gives_the_callers_numbers_back():
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(RuntimeError, match="negative"), RandomStream(1):
        torch.rand(-torch.rand(1).ceil().int().item())
    assert torch.equal(torch.rand(3), want)
    with RandomStream(1):  # nobody waits for the block that failed
        torch.rand(1)


def test_a_state_that_is_put_back_repeats_the_numbers():
    stream = RandomStream(3)
    with stream:
        torch.rand(5)
    kept = [state.clone() for state in stream.state]
    with stream:
        want = torch.rand(5)
    stream.state = kept
    with stream:
        assert torch.equal(torch.rand(5), want)


def test_trainings_in_threads_give_the_numbers_of_trainings_one_after_the_other():
    x = torch.bernoulli(torch.full((160, 16), 0.3), generator=torch.Generator().manual_seed(0))

    def start() -> vl.VAE:
        torch.manual_seed(1)
        return vl.VAE.mlp(16, 2, (8,))

    def train(model: vl.VAE) -> None:
        vl.fit(model, x, x[:20], epochs=4, batch_size=32, progress=False, device="cpu")
        vl.nll(model, x[:5], samples=10)

    models = [start() for _ in range(4)]
    threads = [threading.Thread(target=train, args=(model,)) for model in models[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    train(models[0])
    first, *others = (torch.cat([weight.flatten() for weight in model.parameters()]) for model in models)
    assert all(torch.equal(first, other) for other in others)


def small() -> vl.VAE:
    torch.manual_seed(0)
    return vl.VAE.mlp(4, 2, (3,))


def two_levels() -> vl.MHVAE:
    torch.manual_seed(0)
    return vl.MHVAE.mlp(4, (2, 2), ((3,), (3,)))


SEEDED = {
    "nll": lambda seed: vl.nll(small(), torch.ones(3, 4), 2, seed=seed).per_example,
    "ais": lambda seed: sandwich.ais(small(), torch.ones(3, 4), chains=2, steps=2, seed=seed),
    "unit rates": lambda seed: diagnostics.unit_rates(two_levels(), torch.ones(3, 4), seed=seed)[1],
    "cave": lambda seed: cave.sample(2, seed)[0],
    "chain": lambda seed: LinearGaussianChain.random([3, 2], seed).moments()[0],
}


@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint64, np.array, torch.tensor])
def test_a_seed_is_an_integer_whoever_made_it(draw, kind):
    assert torch.equal(draw(kind(3)), draw(3))
    assert not torch.equal(draw(kind(4)), draw(3))


@pytest.mark.parametrize("draw", SEEDED.values(), ids=SEEDED)
@pytest.mark.parametrize("seed", [None, 1.5, 1.0, "1", True, [1], np.ones(1, dtype=int), 2**64, -(2**63) - 1])
def test_a_seed_that_is_none_is_one_clear_error(draw, seed):
    with pytest.raises(ValueError, match=r"seed is .*: expected an integer (of at least|below 2\^64)"):
        draw(seed)


@pytest.mark.parametrize("seed", [-1, -(2**63), 0, 2**64 - 1])
def test_every_seed_of_torch_is_one(seed):
    assert torch.equal(torch.rand(3, generator=generator_from(seed)), torch.rand(3, generator=torch.manual_seed(seed)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_stream_of_a_gpu_leaves_both_generators_alone():
    torch.manual_seed(5)
    want = torch.rand(3), torch.rand(3, device="cuda")
    torch.manual_seed(5)
    for device in ("cpu", "cuda"):
        with RandomStream(1, device):
            torch.rand(10), torch.rand(10, device="cuda" if device == "cuda" else "cpu")
    assert torch.equal(torch.rand(3), want[0])
    assert torch.equal(torch.rand(3, device="cuda"), want[1])
