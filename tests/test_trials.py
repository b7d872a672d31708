"""Shapes that once gave wrong numbers without a word: each is right, or one clear error where the model is built."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Laplace, Normal, Uniform

import vaelib as vl
from vaelib.trials import in_evaluation

FAMILIES = ["VAE", "MHVAE", "HVAE"]


def built(family: str, event, likelihood: str = "gaussian") -> vl.Hierarchy:
    torch.manual_seed(0)
    if family == "VAE":
        return vl.VAE.mlp(event, 4, (8,), likelihood)
    return getattr(vl, family).mlp(event, (4, 2), ((8,), (8,)), likelihood)


# Events that begin with ones, such as the (1, L) of signals with one channel.


@pytest.mark.parametrize("event", [(1, 64), (1, 1), (1, 1, 7), (1, 4), (1, 1, 1), (2, 1), (1,)])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [1, 4, 7])  # 4 is the number of latents
def test_an_event_that_begins_with_ones_counts_as_its_entries_in_a_row(family, event, batch):
    shaped, flat = built(family, event), built(family, int(np.prod(event)))
    flat.load_state_dict(shaped.state_dict())
    x = torch.randn(batch, *event, generator=torch.Generator().manual_seed(1))
    assert shaped.event == event
    for bound in (vl.elbo, vl.iwae):
        torch.manual_seed(2)
        ours = bound(shaped(x, samples=3))
        torch.manual_seed(2)
        assert torch.equal(ours, bound(flat(x.flatten(1), samples=3)))
        assert ours.shape == (batch,)
    ours, theirs = vl.nll(shaped, x, samples=5), vl.nll(flat, x.flatten(1), samples=5)
    assert torch.equal(ours.per_example, theirs.per_example)
    assert ours.per_example.shape == (batch,)
    assert shaped.reconstruct(x).shape == x.shape
    assert shaped.sample(2).shape == (2, *event)


@pytest.mark.parametrize("likelihood", sorted(vl.models.LIKELIHOODS))
def test_a_row_of_pixels_suits_every_likelihood(likelihood):
    terms = built("VAE", (1, 1, 5), likelihood)(torch.ones(3, 1, 1, 5), samples=2)
    assert terms.log_px.shape == (2, 3)


def test_one_dimensional_convolutions_are_given_signals_in_their_shape():
    seen = []

    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv1d(1, 3, 4, stride=4), nn.Flatten(), nn.Linear(12, 8))

        def forward(self, signals):
            seen.append(tuple(signals.shape[1:]))
            return self.layers(signals)

    decode = nn.Sequential(nn.Linear(4, 16), nn.Unflatten(1, (1, 16)), nn.Conv1d(1, 2, 3, padding=1))
    model = vl.VAE(vl.Gaussian((1, 16), 4, net=Conv()), vl.Gaussian(4, (1, 16), net=decode))
    assert vl.elbo(model(torch.randn(5, 1, 16), samples=2)).shape == (5,)
    assert set(seen) == {(1, 16)}


@pytest.mark.parametrize("c", [torch.zeros(3, 1, 4, 4), torch.zeros(16), torch.zeros(3, 4, 4)])
def test_a_conditional_takes_rows_and_nothing_else(c):
    with pytest.raises(ValueError, match=r"takes 16 numbers per example, got .*x.flatten\(1\)"):
        vl.Gaussian(16, 2)(c)
    assert vl.Gaussian(16, 2)(torch.zeros(3, 1, 16)).batch_shape == (3, 1)


# A distribution without its event axes, or with other shapes.


class Own(nn.Module):
    """A module of a user's own: `make` turns the numbers of a linear layer into what is returned."""

    def __init__(self, inputs: int, outputs: int, make, **declared):
        super().__init__()
        self.net, self.make = nn.Linear(inputs, outputs), make
        vars(self).update(declared)

    def forward(self, c):
        return self.make(self.net(c))


class OwnPrior(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self):
        return self.made


def bare(y):
    return Normal(y, torch.ones_like(y))


def whole(y):
    return Independent(bare(y), 1)


@pytest.mark.parametrize("latents", [1, 2, 3, 16])  # 2 and 3 are the sizes of the batch and the samples of the trial
def test_an_encoder_that_forgot_its_event_axis_is_refused(latents):
    says = (
        f"encoder 1 returned a distribution of batch shape (2, {latents}) and event shape (): expected batch shape "
        f"(2,), event shape ({latents},); wrap it in Independent(..., 1)"
    )
    with pytest.raises(ValueError, match=re.escape(says)):
        vl.VAE(Own(6, latents, bare), vl.Gaussian(latents, 6, (8,)), vl.StandardNormal(latents))


def chain_of_two(**parts):
    """z_1 of 3 latents, z_2 of 2."""
    parts = {"q1": Own(6, 3, whole), "q2": Own(3, 2, whole), "p0": Own(3, 6, whole), "p1": Own(2, 3, whole)} | parts
    prior = parts.get("prior", vl.StandardNormal(2))
    return vl.MHVAE([parts["q1"], parts["q2"]], [parts["p0"], parts["p1"]], prior)


def hierarchy_of_two(encoder=None, p0=None, p1=None, prior=None):
    """The same sizes, for the general hierarchy."""
    encoder = encoder or Own(6, 5, lambda y: [whole(y[..., :3]), whole(y[..., 3:])])
    return vl.HVAE(encoder, [p0 or Own(5, 6, whole), p1 or Own(2, 3, whole)], prior or vl.StandardNormal(2))


def test_own_modules_of_the_right_shapes_are_taken_whatever_the_family():
    for model in (chain_of_two(), hierarchy_of_two()):
        assert (model.event, model.latents) == ((6,), (3, 2))
        assert vl.elbo(model(torch.randn(5, 6), samples=4)).shape == (5,)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: chain_of_two(q2=Own(3, 2, bare)),
            r"encoder 2 .*batch shape \(3, 2, 2\).*wrap it in Independent\(..., 1",
        ),
        (
            lambda: chain_of_two(p0=Own(3, 6, bare)),
            r"decoder 1 .*batch shape \(3, 2, 6\).*wrap it in Independent\(..., 1",
        ),
        (lambda: chain_of_two(p1=Own(2, 3, bare)), r"decoder 2 .*expected batch shape \(3, 2\), event shape \(3,\)"),
        (
            lambda: chain_of_two(p0=Own(3, 6, lambda y: Independent(bare(y.unflatten(-1, (2, 3))), 1))),
            r"decoder 1 .*event shape \(3,\): expected batch shape \(3, 2\), event shape \(2, 3\); .*\(..., 1\)",
        ),
        (
            lambda: chain_of_two(p0=Own(3, 6, lambda y: Independent(bare(y), 2))),
            r"decoder 1 .*event shape \(2, 6\): expected batch shape \(3, 2\), event shape \(6,\)$",
        ),
        (lambda: chain_of_two(p0=Own(3, 6, lambda y: bare(y.sum(-1)))), "decoder 1 .*event shape of one axis or more"),
        (lambda: chain_of_two(q1=Own(6, 3, lambda y: whole(y[0]))), r"encoder 1 .*batch shape \(\) .*expected batch"),
        (lambda: chain_of_two(q1=Own(6, 4, whole)), r"encoder 1 .*event shape \(4,\): expected .*event shape \(3,\)"),
        (lambda: chain_of_two(prior=OwnPrior(bare(torch.zeros(2)))), r"the prior .*batch shape \(2,\).*Independent\("),
        (lambda: chain_of_two(prior=OwnPrior(whole(torch.zeros(2, 2)))), r"the prior .*expected batch shape \(\)"),
        (
            lambda: chain_of_two(prior=vl.StandardNormal((1, 2))),
            r"prior is over a z_2 of shape \(1, 2\): expected one ax",
        ),
        (
            lambda: chain_of_two(p1=vl.Gaussian(2, (3, 1))),
            r"decoder 2 is over a z_1 of shape \(3, 1\): expected one axis",
        ),
        (
            lambda: hierarchy_of_two(Own(6, 5, lambda y: [bare(y[..., :3]), whole(y[..., 3:])])),
            r"for z_1 .*Independent\(",
        ),
        (
            lambda: hierarchy_of_two(Own(6, 5, lambda y: [whole(y[..., :3]), bare(y[..., 3:])])),
            r"for z_2 .*Independent\(",
        ),
        (lambda: hierarchy_of_two(p1=Own(2, 3, bare)), "decoder 2 .*wrap it in Independent"),
        (lambda: hierarchy_of_two(p0=Own(5, 6, bare)), "decoder 1 .*wrap it in Independent"),
        (lambda: hierarchy_of_two(prior=OwnPrior(bare(torch.zeros(2)))), "the prior .*wrap it in Independent"),
        (
            lambda: hierarchy_of_two(p1=Own(2, 3, lambda y: Independent(Laplace(y, 1.0), 1))),
            "expected Gaussians, .*merged",
        ),
        (
            lambda: hierarchy_of_two(
                Own(6, 5, lambda y: [Independent(Laplace(y[..., :3], 1.0), 1), whole(y[..., 3:])])
            ),
            "z_1 of the encoder is .*Laplace.*expected Gaussians",
        ),
        (
            lambda: hierarchy_of_two(Own(6, 5, lambda y: [whole(y)])),
            "the encoder returned a list of 1 for 2 decoders: expected",
        ),
        (
            lambda: hierarchy_of_two(Own(6, 5, whole)),
            "the encoder returned Independent for 2 decoders: expected a list",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Plain networks where distributions are expected.


class MuLogSigma(nn.Module):
    """What nearly every tutorial writes."""

    def __init__(self, inputs: int = 6, outputs: int = 2):
        super().__init__()
        self.body, self.mu, self.log_sigma = nn.Linear(inputs, 16), nn.Linear(16, outputs), nn.Linear(16, outputs)

    def forward(self, x):
        h = self.body(x).relu()
        return self.mu(h), self.log_sigma(h)


PLAIN = r"expected a distribution; vl.Gaussian\(inputs, event, net=module\) makes one of a plain network"


def plain(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: vl.VAE(plain(6, 4), vl.Gaussian(2, 6), vl.StandardNormal(2)), "encoder 1 returned a Tensor: " + PLAIN),
        (lambda: vl.VAE(plain(6, 4), vl.Gaussian(2, 6)), "encoder 1 returned a Tensor: " + PLAIN),
        (lambda: vl.VAE(MuLogSigma(), vl.Gaussian(2, 6)), "encoder 1 returned a tuple: " + PLAIN),
        (lambda: vl.VAE(vl.Gaussian(6, 2), plain(2, 6)), "decoder 1 returned a Tensor: " + PLAIN),
        (lambda: chain_of_two(q2=MuLogSigma(3, 2)), "encoder 2 returned a tuple: " + PLAIN),
        (lambda: chain_of_two(p1=plain(2, 3)), "decoder 2 returned a Tensor: " + PLAIN),
        (lambda: chain_of_two(prior=OwnPrior(torch.zeros(2))), "the prior returned a Tensor: expected a distribution"),
        (lambda: hierarchy_of_two(plain(6, 5)), "the encoder returned Tensor for 2 decoders: expected"),
        (lambda: hierarchy_of_two(Own(6, 5, lambda y: [y, y])), "the encoder for z_1 returned a Tensor: " + PLAIN),
        (lambda: vl.VAE(vl.Gaussian(6, 2), plain(3, 6)), r"decoder 1 was tried on made-up input of shape \(3, 2, 2\)"),
        (lambda: vl.VAE(nn.Module(), vl.Gaussian(2, 6)), "encoder 1 was tried .*expected a distribution, got NotImpl"),
        (lambda: vl.VAE(plain(6, 4), plain(2, 6)), "nothing says how large z_T is: expected an `event` of the top enc"),
        (lambda: vl.VAE(vl.Bernoulli(6, 2), vl.Gaussian(2, 6)), "encoder 1 .*without rsample: expected"),
        (
            lambda: vl.VAE(vl.Gaussian(6, 2, scale=0.1, net=MuLogSigma()), vl.Gaussian(2, 6)),
            "encoder 1: net gave a tuple of shape .*Gaussian needs 2 numbers per example, 1 for each .*a tuple of 1",
        ),
        (
            lambda: vl.VAE(vl.Gaussian(6, 3, net=MuLogSigma()), vl.Gaussian(3, 6)),
            "encoder 1: net gave a tuple .*needs 6",
        ),
        (
            lambda: vl.Gaussian(6, 2, net=Own(6, 2, whole))(torch.zeros(4, 6)),
            "net gave Independent for 4 examples: Gaussian needs 4 numbers per example",
        ),
    ],
)
def test_what_is_no_distribution_is_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_net_may_return_its_parameters_one_by_one():
    torch.manual_seed(0)
    net = MuLogSigma()
    x = torch.randn(5, 6)
    q = vl.Gaussian(6, 2, net=net)(x)
    assert torch.equal(q.mean, net(x)[0])
    assert torch.allclose(q.stddev, net(x)[1].exp())
    model = vl.VAE(vl.Gaussian(6, 2, net=net), vl.Gaussian(2, (2, 3), net=Own(2, 6, lambda y: [y.view(-1, 2, 3)] * 2)))
    assert vl.elbo(model(torch.randn(5, 2, 3), samples=3)).shape == (5,)


# What the trial leaves behind.


def test_the_trial_leaves_random_numbers_modes_and_statistics_as_they_were():
    torch.manual_seed(3)
    encoder = vl.Gaussian(6, 2, net=nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 4)))
    decoder, noisy = vl.Gaussian(2, 6), Own(6, 2, lambda y: whole(y + torch.rand_like(y)))
    encoder.net[0].eval()
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    vl.VAE(encoder, decoder)
    vl.VAE(noisy, decoder)
    assert torch.equal(torch.rand(3), want)
    assert [encoder.net[0].training, encoder.net[1].training, decoder.training] == [False, True, True]
    assert encoder.net[0].num_batches_tracked == 0
    assert all(weight.grad is None for weight in encoder.parameters())


def test_lazy_layers_learn_their_sizes_and_draw_their_weights_from_the_callers_random_numbers():
    def lazy(seed):
        torch.manual_seed(seed)
        return vl.VAE(vl.Gaussian(6, 2, net=nn.LazyLinear(4)), vl.Gaussian(2, 6, net=nn.LazyLinear(12)))

    first, again, other = lazy(0), lazy(0), lazy(1)
    assert first.encoders[0].net.weight.shape == (4, 6)
    assert torch.equal(first.encoders[0].net.weight, again.encoders[0].net.weight)
    assert not torch.equal(first.encoders[0].net.weight, other.encoders[0].net.weight)


def test_an_encoder_that_takes_a_logarithm_is_not_refused():
    """The made-up data are no zeros, which would give NaN; torch's distributions refuse that."""
    log = Own(6, 2, whole)
    log.net = nn.Sequential()
    log.forward = lambda x: whole(x.log()[:, :2])
    assert vl.VAE(log, vl.Gaussian(2, 6)).latents == (2,)


def test_a_module_of_ones_own_is_given_x_as_it_is():
    seen = []

    def look(y):
        seen.append(tuple(y.shape))
        return whole(y.flatten(1)[:, :2])

    encoder = Own(4, 4, look)
    model = vl.VAE(encoder, vl.Bernoulli(2, (1, 3, 4)))
    model(torch.zeros(5, 1, 3, 4))
    assert seen == [(2, 1, 3, 4), (5, 1, 3, 4)]


class Sure(vl.Conditional):
    """A conditional of a user's own, without a network."""

    def forward(self, condition):
        return whole(condition[..., : self.event[0]])


def test_a_conditional_of_ones_own_is_given_rows_and_says_its_sizes():
    model = vl.VAE(Sure((1, 2, 3), 2), vl.Gaussian(2, (1, 2, 3), (4,)))
    assert vl.elbo(model(torch.zeros(5, 1, 2, 3))).shape == (5,)
    assert repr(Sure((1, 2, 3), 2)) == "Sure(inputs=(1, 2, 3), event=(2,))"
    with pytest.raises(TypeError, match="abstract"):
        vl.Conditional(3, 2)
    with pytest.raises(ValueError, match="decoder 1 takes 3 numbers and is given 2: expected the same"):
        vl.VAE(Sure(6, 2), vl.Gaussian(3, 6))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_checks_as_the_model_does(copied):
    for likelihood in sorted(vl.models.LIKELIHOODS):
        model = copied(built("MHVAE", 4, likelihood))
        assert (model.event, model.latents) == ((4,), (4, 2))
        if likelihood != "gaussian":
            with pytest.raises(ValueError, match=r"x has values"):
                model(torch.full((3, 4), 1.5))


def test_a_support_that_moves_with_the_latents_is_left_to_the_distribution():
    around = Own(2, 3, lambda y: Independent(Uniform(y - 1, y + 1, validate_args=False), 1))
    model = vl.VAE(vl.Gaussian(3, 2), around)
    assert model.support is None
    assert model(torch.zeros(4, 3)).log_px.shape == (1, 4)


def test_the_check_runs_no_network_and_thaws_nothing():
    model = built("VAE", 4)
    model.encoders[0].train()
    model.decoders[0].eval()
    calls = []
    for part in model.modules():
        part.register_forward_hook(lambda *args: calls.append(1))
    model.check(torch.zeros(3, 4))
    assert not calls
    assert [model.training, model.encoders[0].training, model.decoders[0].training] == [True, True, False]


@pytest.mark.parametrize("door", ["sample", "decode", "encode", "reconstruct", "nll", "unit_rates", "surgery", "ais"])
def test_frozen_batch_normalisation_stays_frozen_and_statistics_stay(door):
    torch.manual_seed(0)
    model = vl.MHVAE.mlp(4, (3, 2), ((5,), (4,)), "gaussian", norm="batch").train()
    model.encoders[0].eval()
    x = torch.randn(6, 4)
    modes, state = [part.training for part in model.modules()], copy.deepcopy(model.state_dict())
    {
        "sample": lambda: model.sample(3),
        "decode": lambda: model.decode(torch.zeros(3, 2), level=2),
        "encode": lambda: model.encode(x),
        "reconstruct": lambda: model.reconstruct(x),
        "nll": lambda: vl.nll(model, x, samples=3),
        "unit_rates": lambda: vl.diagnostics.unit_rates(model, x),
        "surgery": lambda: vl.diagnostics.surgery(model, x, samples=4),
        "ais": lambda: vl.sandwich.ais(model, x, chains=2, steps=3, leapfrog=1),
    }[door]()
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())


def test_modes_are_restored_after_an_error_too():
    net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    modes = []

    def fail():
        with in_evaluation(net):
            modes.extend(part.training for part in net.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert modes == [False] * 3
    assert [part.training for part in net.modules()] == [True, True, False]


def test_a_conditional_must_return_the_event_that_it_declares():
    class Flat(vl.Conditional):
        def forward(self, condition):
            return whole(condition.repeat_interleave(3, -1))

    assert vl.VAE(vl.Gaussian(6, 2), Flat(2, 6)).event == (6,)
    with pytest.raises(ValueError, match=r"decoder 1 .*event shape \(6,\): expected .*event shape \(2, 3\)"):
        vl.VAE(vl.Gaussian(6, 2), Flat(2, (2, 3)))


def test_a_model_without_numbers_in_its_weights_can_be_built():
    with torch.device("meta"):
        model = built("HVAE", (1, 4))
    assert (model.event, model.latents) == ((1, 4), (4, 2))
    assert all(weight.is_meta for weight in model.parameters())
