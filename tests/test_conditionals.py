import math

import numpy as np
import pytest
import torch
from scipy import stats

import vaelib as vl
from vaelib.conditionals import LIKELIHOODS
from vaelib.exact import LinearGaussian


def images(batch: int = 3) -> torch.Tensor:
    """(batch, 16), as a model gives them to its encoder."""
    torch.manual_seed(1)
    return torch.rand(batch, 16)


@pytest.mark.parametrize("scale", [None, 0.3, "shared"])
def test_gaussian_log_prob_is_the_sum_over_dimensions(scale):
    gaussian = vl.Gaussian(16, (2, 3), hidden=(5,), scale=scale).double()
    y = torch.randn(3, 2, 3, dtype=torch.float64)
    p = gaussian(images().double())
    assert p.event_shape == (2, 3)
    assert p.batch_shape == (3,)
    want = stats.norm(p.mean.detach(), p.stddev.detach()).logpdf(y).sum((1, 2))
    # Both sides add six float64 numbers of size about 1.
    assert torch.allclose(p.log_prob(y), torch.from_numpy(want), atol=1e-12)
    assert not torch.allclose(p.log_prob(y), torch.from_numpy(want) / 6, atol=1e-3)  # E1: the mean is another number


def test_bernoulli_log_prob_is_the_sum_over_pixels():
    bernoulli = vl.Bernoulli(16, (1, 4, 4), hidden=()).double()
    x = torch.bernoulli(images()).double().view(-1, 1, 4, 4)
    p = bernoulli(images().double())
    want = stats.bernoulli(p.mean.detach()).logpmf(x).sum((1, 2, 3))
    assert torch.allclose(p.log_prob(x), torch.from_numpy(want), atol=1e-12)


def test_bernoulli_starts_from_the_mean_of_the_data():
    mean = torch.linspace(0, 1, 16).reshape(1, 4, 4)
    bernoulli = vl.Bernoulli(3, (1, 4, 4), hidden=(5,), mean=mean)
    torch.nn.init.zeros_(bernoulli.heads[0].weight)
    assert torch.allclose(bernoulli(torch.zeros(2, 3)).mean, mean.clamp(0.001, 0.999).expand(2, 1, 4, 4), atol=1e-6)


def test_leading_axes_are_kept():
    gaussian = vl.Gaussian(16, 2)
    assert gaussian(images()).batch_shape == (3,)
    assert gaussian(torch.zeros(5, 3, 16)).batch_shape == (5, 3)
    assert gaussian(torch.zeros(5, 1, 3, 16)).batch_shape == (5, 1, 3)


@pytest.mark.parametrize(
    ("conditional", "says"),
    [
        (lambda: vl.Gaussian((4, 4), 2, (3,), scale=0.3), "inputs=(4, 4), event=(2,), scale=0.3"),
        (lambda: vl.Gaussian(16, 2, (3,), scale="shared"), "inputs=(16,), event=(2,), scale='shared'"),
        (lambda: vl.DiscretisedLogistic(16, 2, (3,)), "inputs=(16,), event=(2,), scale=None"),
        (lambda: vl.Bernoulli(16, (1, 2), (3,)), "inputs=(16,), event=(1, 2)"),
        (lambda: vl.Categorical(16, 2, (3,), rank=5), "inputs=(16,), event=(2,)"),
        (lambda: LinearGaussian(torch.zeros(2, 3), torch.zeros(2), torch.eye(2)), "inputs=(3,), event=(2,)"),
    ],
)
def test_the_representation_says_what_the_parts_do_not(conditional, says):
    """A saved model is compared by it."""
    made = conditional()
    assert made.extra_repr() == says
    assert says in repr(made)
    if isinstance(made, vl.Gaussian):
        made.scale = 0.7
        assert "scale=0.7" in repr(made)


@pytest.mark.parametrize(("name", "kind"), sorted(LIKELIHOODS.items()))
def test_the_class_knows_how_many_parameters_a_pixel_has_and_what_data_it_scores(name, kind):
    made = kind(3, (2, 2), (4,))
    assert made.parameters_per_entry == kind.parameters_per_entry == len(made.heads)
    x = made(torch.zeros(1, 3)).sample()
    assert kind.support.check(x).all()
    assert not kind.support.check(x + 1.3).all() or name == "gaussian"


def test_sizes_may_be_integers_of_numpy():
    gaussian = vl.Gaussian(np.int64(16), (np.int32(2), 3), (4,))
    assert (gaussian.inputs, gaussian.event) == (16, (2, 3))
    assert all(type(size) is int for size in (gaussian.inputs, *gaussian.event))


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_networks_may_be_half_as_precise_but_densities_may_not(name):
    torch.manual_seed(0)
    conditional, z = LIKELIHOODS[name](3, (1, 2, 2), (4,)), torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = conditional(z)
        assert half.log_prob(torch.ones(5, 1, 2, 2)).dtype == torch.float32
    base, whole = half.base_dist, conditional(z).base_dist
    for parameter in base.arg_constraints:
        if parameter != "probs":  # which torch makes of the logits
            assert getattr(base, parameter).dtype == torch.float32
            assert torch.allclose(getattr(base, parameter), getattr(whole, parameter), atol=0.02)  # of a bfloat16


def test_fixed_scale_is_the_standard_deviation_not_the_variance():
    gaussian = vl.Gaussian(16, 2, scale=0.3)  # E24
    assert torch.equal(gaussian(images()).stddev, torch.full((3, 2), 0.3))


@pytest.mark.parametrize("scale", [2, np.float32(2), torch.tensor(2.0)])
def test_a_fixed_scale_is_a_number_whoever_made_it(scale):
    gaussian = vl.Gaussian(16, 2, scale=scale)
    assert torch.equal(gaussian(images()).stddev, torch.full((3, 2), 2.0))
    assert type(gaussian.scale) in (int, float)  # what a saved model is compared by
    with pytest.raises(ValueError, match=r"scale is .*: expected"):
        vl.Gaussian(16, 2, scale=np.full(2, 2.0))


def test_shared_scale_is_learned():
    gaussian = vl.Gaussian(16, 2, scale="shared")
    gaussian(images()).log_prob(torch.zeros(3, 2)).sum().backward()
    assert gaussian.log_scale.grad is not None
    assert gaussian.log_scale.grad != 0


@pytest.mark.parametrize("sign", [-1, 1])
def test_log_sigma_is_kept_within_ten_of_zero(sign):
    free, shared = vl.Gaussian(16, 2, hidden=()), vl.Gaussian(16, 2, hidden=(), scale="shared")
    with torch.no_grad():
        free.heads[1].bias.fill_(sign * 1e4)
        shared.log_scale.fill_(sign * 1e4)
        for gaussian in (free, shared):
            assert torch.allclose(gaussian(images()).stddev.log(), torch.tensor(sign * 10.0))


def test_extreme_network_outputs_stay_finite():
    gaussian = vl.Gaussian(16, 2, hidden=())
    with torch.no_grad():
        gaussian.heads[1].weight.fill_(1e4)
        p = gaussian(images())
        assert torch.isfinite(p.log_prob(torch.full((3, 2), 1e3))).all()
        gaussian.heads[1].weight.fill_(-1e4)
        assert torch.isfinite(gaussian(images()).log_prob(torch.full((3, 2), 1e3))).all()


@pytest.mark.parametrize("conditional", [vl.Gaussian, vl.Bernoulli, vl.StandardNormal])
def test_arguments_are_not_validated_in_the_hot_loop(conditional):
    made = conditional(2)() if conditional is vl.StandardNormal else conditional(4, 2)(torch.zeros(3, 4))
    assert made._validate_args is made.base_dist._validate_args is False


def test_the_prior_adds_nothing_to_the_state_dict():
    assert not vl.StandardNormal(3).state_dict()


@pytest.mark.parametrize(("scale", "heads"), [(None, 2), (0.3, 1), ("shared", 1)])
def test_there_is_one_head_per_parameter_and_a_layer_per_hidden_size(scale, heads):
    gaussian = vl.Gaussian(16, (2, 3), hidden=(5, 1), scale=scale)
    assert [layer.weight.shape for layer in gaussian.body[::2]] == [(5, 16), (1, 5)]
    assert [head.weight.shape for head in gaussian.heads] == [(6, 1)] * heads


def test_standard_normal_follows_the_dtype_of_its_module():
    prior = vl.StandardNormal(3).double()
    p = prior()
    assert p.mean.dtype == torch.float64
    assert p.log_prob(torch.zeros(3).double()).item() == pytest.approx(-1.5 * math.log(2 * math.pi), abs=1e-14)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: vl.Gaussian(0, 2), "inputs is 0"),
        (lambda: vl.Gaussian(16, 0), "event is 0"),
        (lambda: vl.Gaussian(16, (1, -2)), "event is"),
        (lambda: vl.Gaussian(16, ()), "event is"),
        (lambda: vl.Gaussian(16, 2, hidden=200), "hidden is 200"),
        (lambda: vl.Gaussian(16, 2, hidden=(200, 0)), r"hidden\[1\] is 0"),
        (lambda: vl.Gaussian(16, 2, scale=-1.0), "scale is -1.0"),
        (lambda: vl.Gaussian(16, 2, scale=0), "scale is 0"),
        (lambda: vl.Gaussian(16, 2, scale=math.inf), "scale is inf"),
        (lambda: vl.Gaussian(16, 2, scale=math.nan), "scale is nan"),
        (lambda: vl.Gaussian(16, 2, scale="per-pixel"), "scale is 'per-pixel'"),
        (lambda: vl.Bernoulli(16, 2, hidden=(1.5,)), r"hidden\[0\] is 1.5"),
        (lambda: vl.Bernoulli(3, (1, 4, 4), mean=torch.zeros(16)), r"mean has shape \(16,\)"),
        (lambda: vl.Bernoulli(3, 4, mean=torch.full((4,), -0.1)), r"pixel means in \[0, 1\]"),
        (lambda: vl.Bernoulli(3, 4, mean=torch.full((4,), 1.1)), r"pixel means in \[0, 1\]"),
        (lambda: vl.StandardNormal(0), "event is 0"),
        (lambda: vl.Gaussian(16, 2)(torch.zeros(3, 5)), "Gaussian takes 16 numbers per example"),
        (lambda: vl.Gaussian(16, 2)(torch.zeros(16)), "takes 16 numbers per example"),
        (lambda: vl.Bernoulli(16, 2)(torch.zeros(3, 1, 5, 5)), "takes 16 numbers per example"),
    ],
)
def test_bad_arguments_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()
