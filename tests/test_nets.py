import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import vaelib as vl
from vaelib.nets import ConvDecoder, ConvEncoder, Gated, mlp


def kinds(net: nn.Sequential) -> list[type]:
    return [type(layer) for layer in net]


def test_a_gated_layer_written_out_by_hand():
    torch.manual_seed(0)
    layer, h = Gated(3, 2), torch.randn(4, 3)
    value = h @ layer.value.weight.T + layer.value.bias
    gate = h @ layer.gate.weight.T + layer.gate.bias
    want = value / (1 + torch.exp(-gate))
    assert torch.allclose(layer(h), want, atol=1e-6)  # float32, sums of four terms of size about one
    assert not torch.allclose(layer(h), torch.sigmoid(value) * gate, atol=1e-2)  # the roles exchanged
    assert layer(h).shape == (4, 2)


def test_an_mlp_is_linear_then_norm_then_activation():
    assert kinds(mlp(4, (3, 2))) == [nn.Linear, nn.Tanh] * 2
    assert kinds(mlp(4, (3, 2), nn.ReLU, norm="layer")) == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2
    assert kinds(mlp(4, (3, 2), norm="batch")) == [nn.Linear, nn.BatchNorm1d, nn.Tanh] * 2
    assert kinds(mlp(4, (3, 2), gated=True)) == [Gated] * 2  # the gate is the activation
    assert kinds(mlp(4, (3,), norm="layer", gated=True)) == [Gated, nn.LayerNorm]
    assert kinds(mlp(4, ())) == []


def test_layer_sizes_are_those_asked_for():
    net = mlp(5, (4, 3), norm="layer")
    assert [layer.weight.shape for layer in net[::3]] == [(4, 5), (3, 4)]
    assert [layer.normalized_shape for layer in net[1::3]] == [(4,), (3,)]
    assert net(torch.zeros(7, 5)).shape == (7, 3)
    assert mlp(5, (4, 3), gated=True)(torch.zeros(7, 5)).shape == (7, 3)
    assert mlp(5, [4])(torch.zeros(7, 5)).shape == (7, 4)  # any sequence


def test_layer_normalisation_is_that_of_the_preactivations():
    torch.manual_seed(0)
    net, x = mlp(4, (6,), norm="layer"), torch.randn(5, 4)
    h = net[0](x)
    normalised = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(net(x), torch.tanh(normalised), atol=1e-5)
    assert not torch.allclose(net(x), functional.layer_norm(torch.tanh(h), (6,)), atol=1e-2)  # after the activation


def test_batch_normalisation_looks_at_batch_mates_in_training_only():
    torch.manual_seed(0)
    net, x = mlp(4, (6,), norm="batch"), torch.randn(5, 4)
    moved = x.clone()
    moved[1:] += 1.0
    assert (net(x)[0] - net(moved)[0]).abs().max() > 1e-2
    net.eval()
    assert torch.equal(net(x)[0], net(moved)[0])


def test_layers_do_not_share_an_activation_with_weights():
    net = mlp(4, (3, 3), nn.PReLU)
    assert net[1] is not net[3]
    assert len(list(net.parameters())) == 6


@pytest.mark.parametrize("options", [{}, {"norm": "layer"}, {"gated": True}, {"norm": "layer", "gated": True}])
def test_options_reach_every_network_of_a_model(options):
    x = torch.bernoulli(torch.full((3, 1, 4, 4), 0.4))
    for model in (
        vl.VAE.mlp((1, 4, 4), 2, (3,), **options),
        vl.MHVAE.mlp((1, 4, 4), (3, 2), ((4,), (3,)), **options),
        vl.HVAE.mlp((1, 4, 4), (3, 2), ((4,), (3,)), **options),
    ):
        count = 2 * model.levels
        assert sum(isinstance(part, nn.LayerNorm) for part in model.modules()) == ("norm" in options) * count
        assert sum(isinstance(part, Gated) for part in model.modules()) == ("gated" in options) * count
        assert sum(isinstance(part, nn.Tanh) for part in model.modules()) == ("gated" not in options) * count
        assert torch.isfinite(vl.elbo(model(x))).all()


@pytest.mark.parametrize(
    ("event", "channels", "flat"),
    [
        ((1, 28, 28), (32, 64), 64 * 7 * 7),
        ((3, 8, 16), (4,), 4 * 4 * 8),
        ((2, 8, 8), (3, 4, 5), 5),
        ((1, 27, 29), (4, 6), 6 * 6 * 7),
        ((3, 13, 7), (4, 6), 6 * 3 * 1),
        ((3, 218, 178), (4, 6, 8), 8 * 27 * 22),
        ((1, 3, 2), (4,), 4),
        ((5, 15, 31), (2, 3, 4), 4 * 1 * 3),
    ],
)
def test_convolutions_halve_the_image_once_per_channel_count(event, channels, flat):
    encoder = ConvEncoder(event, 10, channels)
    assert encoder(torch.zeros(2, *event)).shape == (2, 10)
    assert encoder.layers[-1].in_features == flat
    convolutions = [layer for layer in encoder.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == list(channels)
    decoder = ConvDecoder(10, event, channels[::-1])
    assert decoder(torch.zeros(2, 10)).shape == (2, *event)
    assert decoder.layers[0].out_features == flat
    mirrored = [layer for layer in decoder.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in mirrored] == list(channels[::-1])
    assert not isinstance(decoder.layers[-1], nn.SiLU)  # parameters of a distribution, of either sign


def test_the_defaults_of_the_two_convolutional_networks_mirror_each_other():
    encoder, decoder = ConvEncoder((1, 28, 28), 10), ConvDecoder(10, (1, 28, 28))
    assert [layer.out_channels for layer in encoder.layers if isinstance(layer, nn.Conv2d)] == [32, 64]
    assert [layer.in_channels for layer in decoder.layers if isinstance(layer, nn.ConvTranspose2d)] == [64, 32]


@pytest.mark.parametrize("event", [(1, 4, 6), (1, 27, 29), (2, 7, 13), (1, 5, 8)])
def test_every_pixel_is_seen_and_every_pixel_is_written(event):
    """Halving an odd side rounds down, but its last pixel must not be lost on either way."""
    torch.manual_seed(0)
    x, z = torch.randn(1, *event, requires_grad=True), torch.randn(3, 5)
    ConvEncoder(event, 4, (3, 3))(x).sum().backward()
    assert (x.grad != 0).all()
    decoder = ConvDecoder(5, event, (3, 3))
    moved = (decoder(z) - decoder(z)[:1])[1:].abs().amax((0, 1))  # what depends on z, not on the biases alone
    assert (moved > 0).all()


def test_images_that_halve_exactly_have_the_weights_that_they_always_had():
    """The stored numbers of the course were trained with these weights: drawn in this order, padded by nothing."""
    torch.manual_seed(0)
    decoder = ConvDecoder(5, (3, 8, 16), (4, 6))
    torch.manual_seed(0)
    linear, first, second = (
        nn.Linear(5, 4 * 2 * 4),
        nn.ConvTranspose2d(4, 6, 4, 2, 1),
        nn.ConvTranspose2d(6, 3, 4, 2, 1),
    )
    z = torch.randn(2, 5)
    h = functional.silu(linear(z).view(2, 4, 2, 4))
    assert torch.equal(decoder(z), second(functional.silu(first(h))))
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 8, 16), 5, (6, 4))
    torch.manual_seed(0)
    first, second, linear = nn.Conv2d(3, 6, 4, 2, 1), nn.Conv2d(6, 4, 4, 2, 1), nn.Linear(4 * 2 * 4, 5)
    x = torch.randn(2, 3, 8, 16)
    assert torch.equal(encoder(x), linear(functional.silu(second(functional.silu(first(x)))).flatten(1)))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_sizes_may_be_integers_of_numpy(kind):
    torch.manual_seed(0)
    net = mlp(kind(5), [kind(4), kind(3)], norm="layer")
    torch.manual_seed(0)
    same = mlp(5, (4, 3), norm="layer")
    assert repr(net) == repr(same)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))
    assert all(type(layer.in_features) is int for layer in net if isinstance(layer, nn.Linear))
    event, channels = [kind(3), kind(13), kind(7)], [kind(4), kind(6)]
    assert repr(ConvEncoder(event, kind(5), channels)) == repr(ConvEncoder((3, 13, 7), 5, (4, 6)))
    assert repr(ConvDecoder(kind(5), event, channels)) == repr(ConvDecoder(5, (3, 13, 7), (4, 6)))


def test_convolutions_see_neighbourhoods_not_batch_mates():
    torch.manual_seed(0)
    encoder, x = ConvEncoder((1, 8, 8), 5, (3,)), torch.randn(3, 1, 8, 8)
    assert torch.allclose(encoder(x)[1:2], encoder(x[1:2]), atol=1e-6)
    features = encoder.layers[:2](x)  # the first convolution and its activation
    moved = x.clone()
    moved[0, 0, 0, 0] += 1
    changed = (encoder.layers[:2](moved) - features).abs().sum((0, 1)) > 0
    assert changed[0, 0]
    assert changed.sum() == 1  # stride 2, kernel 4, padding 1: the corner pixel is in one window


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: mlp(4, 200), "hidden is 200: expected a sequence of positive layer sizes"),
        (lambda: mlp(4, (3, 0)), r"hidden\[1\] is 0: expected an integer of at least 1"),
        (lambda: mlp(4, (3, -1)), r"hidden\[1\] is -1"),
        (lambda: mlp(4, (3.0,)), r"hidden\[0\] is 3.0"),
        (lambda: mlp(4, ("3",)), r"hidden\[0\] is '3'"),
        (lambda: mlp(4, (True,)), r"hidden\[0\] is True"),
        (lambda: mlp(4, (3,), norm="group"), "norm is 'group': expected None"),
        (lambda: ConvEncoder(28, 10), r"event is 28: expected the shape \(C, H, W\)"),
        (lambda: ConvEncoder((28, 28), 10), r"event is \(28, 28\): expected the shape"),
        (lambda: ConvEncoder((1, 28, 28), 10, ()), r"channels is \(\): expected one number for each convolution"),
        (lambda: ConvEncoder((1, 28, 28), 10, 32), "channels is 32: expected"),
        (lambda: ConvEncoder((1, 28, 28), 10, (8, 0)), r"channels\[1\] is 0: expected"),
        (lambda: ConvEncoder((1, 28, 28), 0), "outputs is 0: expected"),
        (lambda: ConvEncoder((1, 7, 28), 10, (8, 8, 8)), r"event is \(1, 7, 28\): expected a height .*at least 8, as"),
        (lambda: ConvEncoder((1, 28, 3), 10), "at least 4, as each of the 2 convolutions halves them"),
        (lambda: ConvEncoder((1, 1, 1), 10, (8,)), "at least 2.* use fewer channels, or a multilayer perceptron"),
        (lambda: ConvEncoder((0, 28, 28), 10), r"event\[0\] is 0: expected"),
        (lambda: ConvEncoder((1, 28, -28), 10), r"event\[2\] is -28: expected"),
        (lambda: ConvEncoder((1, 28.0, 28), 10), r"event\[1\] is 28.0: expected"),
        (lambda: ConvDecoder(10, 28), "event is 28: expected the shape"),
        (lambda: ConvDecoder(10, (1, 28, 3)), "at least 4"),
        (lambda: ConvDecoder(10, (1, 28, 28), ()), r"channels is \(\)"),
        (lambda: ConvDecoder(10, (1, 28, 28), 32), "channels is 32"),
        (lambda: ConvDecoder(0, (1, 28, 28)), "inputs is 0"),
        (lambda: vl.VAE.conv((1, 1, 1), 2), "at least 4"),
        (lambda: vl.VAE.conv((1, 28, 3), 2), "at least 4"),
        (lambda: vl.VAE.conv(784, 2), "event is 784"),
    ],
)
def test_bad_sizes_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# A network of your own: (N, *inputs) -> (N, P * entries), all of the first parameter first.


class Constant(nn.Module):
    """The same numbers for every example, whatever the condition."""

    def __init__(self, *shape: int):
        super().__init__()
        self.output = nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, condition):
        return self.output.expand(len(condition), *self.output.shape)


class Pair(nn.Module):
    """A tuple of as many such numbers."""

    def __init__(self, *shapes: tuple[int, ...]):
        super().__init__()
        self.parts = nn.ModuleList(Constant(*shape) for shape in shapes)

    def forward(self, condition):
        return tuple(part(condition) for part in self.parts)


@pytest.mark.parametrize("shape", [(2 * 2 * 3 * 3,), (4, 3, 3), (2, 2, 3, 3), (2, 18)])
def test_all_of_the_first_parameter_come_first(shape):
    """A net with 2 C channels: the mean is the first C of them, the log standard deviation the others."""
    net = Constant(*shape)
    p = vl.Gaussian(5, (2, 3, 3), net=net)(torch.zeros(4, 5))
    flat = net.output.flatten()
    assert torch.equal(p.mean[1].flatten(), flat[:18])
    assert torch.allclose(p.stddev[1].flatten(), flat[18:].exp())
    # Interleaved, as (entries, P) would be, it is another distribution.
    assert not torch.equal(p.mean[1].flatten(), flat[0::2])


@pytest.mark.parametrize(
    ("event", "net"),
    [
        (6, Constant(6, 2)),
        (6, Constant(3, 4)),
        (6, Constant(1, 12)),
        ((2, 3, 3), Constant(3, 3, 4)),
        ((2, 3, 3), Constant(2, 3, 3, 2)),
        ((2, 3, 3), Constant(18, 2)),
        ((2, 3), Constant(3, 4)),
        (6, Pair((2, 3), (2, 3))),
        (6, Pair((6,), (6, 1))),
        ((2, 3, 3), Pair((3, 3, 2), (3, 3, 2))),
        ((2, 3, 3), Pair((18,), (3, 2, 3))),
        ((2, 3, 3), Pair((2, 3, 3))),
        ((2, 3, 3), Pair((2, 3, 3), (2, 3, 3), (2, 3, 3))),
    ],
)
def test_as_many_numbers_in_another_shape_may_be_in_another_order(event, net):
    with pytest.raises(ValueError, match=r"net gave .* for 4 examples: Gaussian needs .*: expected one tensor, \(4, "):
        vl.Gaussian(5, event, net=net)(torch.zeros(4, 5))


@pytest.mark.parametrize("shape", [(3, 3, 2), (3, 2, 3), (3, 6)])
def test_one_number_per_pixel_may_be_in_another_order_too(shape):
    with pytest.raises(ValueError, match=r"expected one tensor, \(4, 18\) or \(4, 1, 2, 3, 3\), or a tuple of 1"):
        vl.Bernoulli(5, (2, 3, 3), net=Constant(*shape))(torch.zeros(4, 5))


@pytest.mark.parametrize("shapes", [((18,), (18,)), ((2, 3, 3), (2, 3, 3)), ((18,), (2, 3, 3))])
def test_a_tuple_has_a_tensor_for_each_parameter(shapes):
    net = Pair(*shapes)
    p = vl.Gaussian(5, (2, 3, 3), net=net)(torch.zeros(4, 5))
    mean, log_scale = (part.output.flatten() for part in net.parts)
    assert torch.equal(p.mean[1].flatten(), mean)
    assert torch.allclose(p.stddev[1].flatten(), log_scale.exp())


def test_a_convolutional_decoder_of_twice_the_channels_gives_means_then_scales():
    torch.manual_seed(0)
    net, z = ConvDecoder(5, (2 * 3, 8, 8), (4,)), torch.randn(2, 5)
    p = vl.Gaussian(5, (3, 8, 8), net=net)(z)
    assert torch.equal(p.mean, net(z)[:, :3])
    assert torch.allclose(p.stddev, net(z)[:, 3:].exp())
    logistic = vl.DiscretisedLogistic(5, (3, 8, 8), net=net)(z).base_dist
    assert torch.equal(logistic.loc, net(z)[:, :3])
    assert torch.allclose(logistic.scale, net(z)[:, 3:].exp())


def test_a_net_for_a_fixed_or_shared_scale_gives_the_mean_alone():
    net, z = Constant(6), torch.zeros(4, 5)
    for scale in (0.3, "shared"):
        p = vl.Gaussian(5, (2, 3), scale=scale, net=net)(z)
        assert torch.equal(p.mean[0].flatten(), net.output)
    for likelihood in (vl.Bernoulli, vl.ContinuousBernoulli):
        p = likelihood(5, (2, 3), net=net)(z)
        assert torch.equal(p.base_dist.logits[2].flatten(), net.output)


def test_a_categorical_net_gives_rank_numbers_per_pixel_and_one_layer_turns_them_into_logits():
    net = Constant(3, 2, 2)
    p = vl.Categorical(5, (2, 2), rank=3, net=net)
    logits = p(torch.zeros(4, 5)).base_dist.logits
    assert logits.shape == (4, 2, 2, 256)
    for i in range(2):
        for j in range(2):
            want = p.logits.weight @ net.output[:, i, j] + p.logits.bias
            assert torch.allclose(logits[1, i, j], want, atol=1e-5)
    assert vl.Categorical(5, 4).logits.in_features == 8  # the rank unless given


def test_sample_axes_are_one_batch_to_the_net():
    """(K, B, L) latents reach the net as (K B, L), and its images come back as (K, B, *event)."""
    seen = []
    net = nn.Linear(5, 9)
    net.register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    p = vl.Bernoulli(5, (1, 3, 3), net=net)
    z = torch.randn(7, 2, 5)
    assert p(z).mean.shape == (7, 2, 1, 3, 3)
    assert seen == [(14, 5)]
    assert torch.allclose(p(z).mean[4, 1], p(z[4, 1:2]).mean[0], atol=1e-6)


def test_a_net_for_images_receives_images():
    seen = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 6))
    net.register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    q = vl.Gaussian((1, 4, 4), 3, net=net)
    assert q(torch.zeros(2, 16)).batch_shape == (2,)
    assert q(torch.zeros(2, 16)).batch_shape == (2,)
    assert seen == [(2, 1, 4, 4)] * 2


@pytest.mark.parametrize("event", [(2, 8, 8), (1, 27, 29), (3, 13, 7), (4, 32, 32)])
@pytest.mark.parametrize("likelihood", sorted(vl.models.LIKELIHOODS))
def test_a_convolutional_vae_has_every_likelihood_and_any_size(likelihood, event):
    torch.manual_seed(0)
    _check_conv(vl.VAE.conv(event, latent=3, channels=(4, 6), likelihood=likelihood), event)


def test_a_convolutional_vae_of_the_size_of_celeba():
    torch.manual_seed(0)
    event = (3, 218, 178)
    _check_conv(vl.VAE.conv(event, latent=3, channels=(2, 3, 4, 5, 6, 7, 8), likelihood="gaussian"), event)


def _check_conv(model: vl.VAE, event: tuple[int, ...]):
    x = torch.randint(2, (5, *event)).float()
    terms = model(x, samples=3)
    assert terms.log_px.shape == (3, 5)
    assert torch.isfinite(terms.log_weights).all()
    vl.elbo(terms).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert model.sample(2).shape == model.reconstruct(x[:2]).shape == (2, *event)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: vl.Gaussian(5, 3, net=nn.Linear(5, 5)), r"net gave shape \(4, 5\) for 4 examples: Gaussian needs 6"),
        (lambda: vl.Gaussian(5, 3, scale=1.0, net=nn.Linear(5, 6)), "needs 3"),
        (lambda: vl.Bernoulli(5, (2, 2), net=nn.Linear(5, 5)), "Bernoulli needs 4"),
        (lambda: vl.Categorical(5, (2, 2), net=nn.Linear(5, 4)), "Categorical needs 32"),
        (lambda: vl.DiscretisedLogistic(5, 3, net=nn.Linear(5, 3)), "DiscretisedLogistic needs 6"),
        (lambda: vl.Gaussian(5, 3, net=nn.Flatten(0)), r"net gave shape \(20,\) for 4 examples"),
    ],
)
def test_a_net_of_the_wrong_size_is_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()(torch.zeros(4, 5))


def test_a_mean_is_not_for_a_net_of_your_own():
    with pytest.raises(ValueError, match="mean is given with a net"):
        vl.Bernoulli(5, 3, mean=torch.full((3,), 0.5), net=nn.Linear(5, 3))


def test_the_categorical_head_is_small():
    """One linear layer for all pixels: 256 (rank + 1) weights in place of 256 for each of 784 pixels."""
    p = vl.Categorical(10, (1, 28, 28), hidden=(20,))
    assert sum(weight.numel() for weight in p.logits.parameters()) == 256 * 9
    assert sum(weight.numel() for weight in p.parameters()) == 20 * 11 + 8 * 784 * 21 + 256 * 9
    assert math.prod(p(torch.zeros(2, 10)).base_dist.logits.shape) == 2 * 784 * 256


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, partial(nn.LeakyReLU, 0.2)])
def test_any_activation_can_be_asked_for(activation):
    model = vl.VAE.mlp(4, 2, (3,), activation=activation)
    wanted = type(activation())
    assert sum(isinstance(part, wanted) for part in model.modules()) == 2
    assert not any(isinstance(part, nn.Tanh) for part in model.modules())
