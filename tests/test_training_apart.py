"""Trainings that go on with what was put in the place of what they began with, or that see more than tensors."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from makers import same
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

import vaelib as vl
from vaelib.training import fast
from vaelib.training.loop import validate

QUICK = {"progress": False, "device": "cpu", "batch_size": 20, "lr": 1e-2}


@pytest.fixture(autouse=True)
def record_soon(monkeypatch):
    monkeypatch.setattr(fast, "RECORD_FROM", 5)


def images(n: int = 60) -> torch.Tensor:
    x = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return x.round()


def vae(**options) -> vl.VAE:
    torch.manual_seed(0)
    return vl.VAE.mlp((1, 4, 4), 2, (8,), **options)


def training(model, **options) -> vl.Training:
    return vl.Training(model, images(), epochs=4, **QUICK | options)


def finish(some: vl.Training) -> None:
    for _ in some:
        pass


# --- What a record is called with -------------------------------------------------------------------------------------


class Einsum(nn.Module):
    """A linear map whose gradient torch lays out in the other order."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(4, 16))

    def forward(self, x):
        return torch.einsum("bi,oi->bo", x.flatten(1), self.weight)


class Summed(nn.Module):
    """A weight used through its sum: its gradient is one number, seen seven times."""

    def __init__(self):
        super().__init__()
        self.map, self.shift = nn.Linear(16, 4), nn.Parameter(torch.zeros(7))

    def forward(self, x):
        return self.map(x.flatten(1)) + self.shift.sum()


def orthogonal() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.utils.parametrizations.orthogonal(nn.Linear(16, 4)))


@pytest.mark.parametrize("net", [Einsum, Summed, orthogonal])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_is_laid_out_as_its_weight(net, clip, monkeypatch):
    """Adam's fused kernel reads both by their place in memory."""

    def trained(compile):
        torch.manual_seed(0)
        model = vl.VAE(vl.Gaussian((1, 4, 4), 2, net=net()), vl.Bernoulli(2, (1, 4, 4), (8,)))
        vl.fit(model, images(), epochs=3, compile=compile, clip=clip, **QUICK)
        return model

    plain = trained(False)
    monkeypatch.setattr(fast, "_foreign", lambda *_: "")  # record also what is not vaelib's own
    assert same(trained("auto"), plain)


@pytest.mark.parametrize("compile", ["auto", False])
def test_a_training_that_was_left_and_is_iterated_again_goes_on(compile, tmp_path):
    """The folder's tensors have taken the place of those that were recorded."""
    finish(training(whole := vae(), compile=compile))
    again = training(left := vae(), compile=compile, run=vl.Run(tmp_path, resume=True))
    for epoch in again:
        if epoch.number == 2:
            break
    finish(again)
    assert same(left, whole)


@pytest.mark.parametrize("exchange", [lambda state: state, lambda state: copy.deepcopy(state)])
def test_an_optimiser_that_is_given_its_own_state_anew_changes_nothing(exchange):
    finish(training(whole := vae()))
    other = training(vae())
    for _ in other:
        other.optimizer.load_state_dict(exchange(other.optimizer.state_dict()))
    assert same(other.model, whole)


def test_an_optimiser_that_is_emptied_begins_anew():
    recorded, plain = training(vae()), training(vae(), compile=False)
    for some in (recorded, plain):
        for epoch in some:
            if epoch.number == 2:
                some.optimizer.state.clear()
    assert same(recorded.model, plain.model)


def test_a_copy_of_a_training_trains_the_copy():
    finish(training(whole := vae()))
    begun = training(vae())
    for epoch in begun:
        if epoch.number == 2:
            break
    other, still = copy.deepcopy(begun), copy.deepcopy(begun.model)
    finish(other)
    assert same(begun.model, still)
    assert same(other.model, whole)


# --- What is not recorded ---------------------------------------------------------------------------------------------


def held_back(model, seen):
    model.decoders[0].heads[0].weight.register_hook(lambda g: seen.append(1) or g * 0)


def clipped(model, seen):
    for weight in model.parameters():
        weight.register_post_accumulate_grad_hook(lambda w: seen.append(w.grad.clamp_(-1e-3, 1e-3)))


def replaced(model, seen):
    forward = model.decoders[0].forward
    model.decoders[0].forward = lambda z: seen.append(1) or forward(z * 0.5)


@pytest.mark.parametrize("change", [held_back, clipped, replaced])
def test_hooks_of_weights_and_replaced_forwards_are_called_at_each_step(change, capsys):
    counts = []
    for compile in ("auto", False):
        change(model := vae(), seen := [])
        finish(training(model, compile=compile))
        counts.append((len(seen), model))
    assert counts[0][0] == counts[1][0] >= 12
    assert same(counts[0][1], counts[1][1])
    assert "is not torch's or vaelib's own" in capsys.readouterr().err


# --- What resumes as if it had never stopped --------------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self):
        return iter(images(20))


class Wrong(Stream):
    def __len__(self):
        return 40


class Counts(torch.optim.Adam):
    """Keeps numbers in its groups, as Prodigy and schedule-free optimisers do."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["weight_decay"] += 0.01
        return super().step(closure)


def loader(nested: bool) -> DataLoader:
    data, g = TensorDataset(images(20)), torch.Generator().manual_seed(3)
    sampler = RandomSampler(data, generator=g)
    if nested:
        return DataLoader(data, batch_sampler=BatchSampler(sampler, 5, False))
    return DataLoader(data, 5, sampler=sampler, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (Stream, {}),
        (Wrong, {}),
        (lambda: DataLoader(Stream(), 5), {}),
        (lambda: loader(nested=True), {}),
        (lambda: loader(nested=False), {}),
        (lambda: images(20), {"optimizer": Counts}),
    ],
)
def test_this_too_is_resumed_bit_for_bit(data, options, tmp_path):
    options = QUICK | {"batch_size": 5, "lr": vl.cosine(1e-2, 4), "beta": vl.warmup(4)} | options
    vl.fit(vae(), data(), epochs=2, run=vl.Run(tmp_path), **options)
    again = vl.fit(resumed := vae(), data(), epochs=4, run=vl.Run(tmp_path, resume=True), **options)
    history = vl.fit(whole := vae(), data(), epochs=4, **options)
    assert again.lr == history.lr
    assert same(resumed, whole)


class Turned(nn.Module):
    """A weight that lies in memory column by column."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter((0.1 * torch.randn(16, 4)).t())

    def forward(self, x):
        return x.flatten(1) @ self.weight.t()


@pytest.mark.parametrize("compile", ["auto", False])
def test_the_moments_of_a_weight_that_lies_turned_are_resumed_as_it_lies(compile, tmp_path):
    """A file keeps rows; Adam's fused kernel goes by places in memory."""

    def turned():
        torch.manual_seed(0)
        return vl.VAE(vl.Gaussian((1, 4, 4), 2, net=Turned()), vl.Bernoulli(2, (1, 4, 4), (8,)))

    options = QUICK | {"compile": compile}
    vl.fit(turned(), images(), epochs=2, run=vl.Run(tmp_path), **options)
    vl.fit(resumed := turned(), images(), epochs=4, run=vl.Run(tmp_path, resume=True), **options)
    vl.fit(whole := turned(), images(), epochs=4, **options)
    assert same(resumed, whole)


def test_without_its_last_checkpoint_a_folder_is_not_written_over(tmp_path):
    vl.fit(vae(), images(), images(), epochs=3, run=vl.Run(tmp_path), **QUICK)
    best = (tmp_path / "best.safetensors").read_bytes()
    (tmp_path / "last.safetensors").unlink()
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"whose last\.safetensors is gone, .*: choose another folder"):
            vl.fit(vae(), images(), images(), epochs=3, run=vl.Run(tmp_path, resume=resume), **QUICK)
    assert (tmp_path / "best.safetensors").read_bytes() == best


@pytest.mark.parametrize("objective", [lambda terms, beta: 2 * vl.dreg(terms, beta), partial(vl.dreg)])
def test_an_objective_made_of_dreg_is_told_what_dreg_needs(objective):
    with pytest.raises(ValueError, match=r"on a trial it said .* and training objective=vaelib\.dreg"):
        training(vae(), samples=2, objective=objective)


# --- What is finite, and what is kept of it ---------------------------------------------------------------------------


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(4, 1, 8, batch_first=True), nn.Linear(16, 4)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(4))

    def forward(self, x):
        return self.head(self.layer(x.view(-1, 4, 4), self.mask).flatten(1))


def test_a_mask_of_minus_infinity_is_no_broken_weight():
    torch.manual_seed(0)
    model = vl.VAE(vl.Gaussian(16, 2, net=Masked()), vl.Bernoulli(2, (1, 4, 4), (8,)))
    (epoch,) = vl.Training(model, images(), epochs=1, **QUICK)
    assert np.isfinite(epoch.train.elbo)


def test_after_a_diverged_epoch_the_same_training_goes_on_with_a_lower_lr():
    torch.manual_seed(0)
    some = vl.Training(
        vae(likelihood="gaussian"), 1e4 * images(), epochs=3, **QUICK | {"lr": lambda e: 1e-3 if e < 1 else 1e30}
    )
    with pytest.raises(FloatingPointError):
        finish(some)
    some.lr = lambda epoch: 1e-3
    assert [epoch.number for epoch in some] == [2, 3]


def test_a_training_that_was_interrupted_and_is_done_is_not_interrupted():
    calls = []

    def transform(x):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return x

    some = training(vae(), transform=transform)
    finish(some)
    assert some.history.interrupted
    finish(some)
    assert len(some.history) == 4
    assert not some.history.interrupted


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_sums_over_an_epoch_do_not_depend_on_torchs_default_type(dtype):
    model = vae()
    torch.set_default_dtype(dtype)
    try:
        got = validate(model, images(20))
    finally:
        torch.set_default_dtype(torch.float32)
    assert got == validate(model, images(20))


def test_the_history_of_a_model_in_float64_is_in_float64():
    x = torch.full((20, 1, 4, 4), 1e20, dtype=torch.float64)
    (epoch,) = vl.Training(vae(likelihood="gaussian").double(), x, x, epochs=1, **QUICK | {"lr": 0.0})
    assert epoch.valid.elbo < -1e39


@pytest.mark.parametrize("markov", [False, True])
def test_an_hvae_is_trained_with_blurred_networks(markov):
    torch.manual_seed(0)
    model = vl.HVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)), markov=markov)
    (epoch,) = vl.Training(model, images(), epochs=1, precision="bfloat16", **QUICK)
    assert np.isfinite(epoch.train.elbo)
    with torch.autocast("cpu", torch.bfloat16):
        assert {q.mean.dtype for q in model.encoder(images().flatten(1))} == {torch.float32}
