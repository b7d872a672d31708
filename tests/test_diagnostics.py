import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Laplace, MixtureSameFamily, Normal

import vaelib as vl
from vaelib.exact import LinearGaussianChain


def images(batch: int = 40) -> torch.Tensor:
    return torch.bernoulli(torch.full((batch, 1, 4, 4), 0.4), generator=torch.Generator().manual_seed(0))


def models() -> list[vl.Hierarchy]:
    torch.manual_seed(0)
    stack = {"latents": (5, 4), "hidden": ((8,), (8,))}
    return [vl.VAE.mlp((1, 4, 4), 3, (8,)), vl.MHVAE.mlp((1, 4, 4), **stack), vl.HVAE.mlp((1, 4, 4), **stack)]


each_model = pytest.mark.parametrize("model", models(), ids=["VAE", "MHVAE", "HVAE"])


class Half(nn.Module):
    """q(z | x) = N((x_1, 0), (0.5^2, 1)): the first unit follows x, the second is the prior."""

    def forward(self, x):
        mean = torch.stack([x[:, 0], torch.zeros_like(x[:, 0])], 1)
        return Independent(Normal(mean, torch.tensor([0.5, 1.0]).to(x)), 1)


def half(scale: float = 1.0) -> vl.VAE:
    return vl.VAE(Half(), vl.Gaussian(2, 1, hidden=(), scale=scale), prior=vl.StandardNormal(2))


def test_units_that_follow_x_are_active_and_units_that_repeat_the_prior_are_not():
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    (active,) = vl.diagnostics.active_units(half(), x)
    assert active.tolist() == [True, False]
    (means,) = vl.diagnostics.posterior_means(half(), x)
    assert torch.allclose(means[:, 0], x[:, 0])
    assert not vl.diagnostics.active_units(half(), 0.05 * x)[0].any()  # variance 0.0025: below the threshold
    assert vl.diagnostics.active_units(half(), 0.05 * x, threshold=0.001)[0].tolist() == [True, False]


def test_unit_rates_are_the_closed_form_of_each_unit():
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    (rates,) = vl.diagnostics.unit_rates(half(), x)
    want = 0.5 * ((x**2).mean().item() + 0.25 - 1 - math.log(0.25))
    assert rates.tolist() == pytest.approx([want, 0.0], abs=1e-5)  # float32


@each_model
def test_unit_rates_sum_to_the_rates_of_the_levels(model):
    per_unit = vl.diagnostics.unit_rates(model, images(), samples=2000)
    assert not any(units.requires_grad for units in per_unit)
    torch.manual_seed(1)
    with torch.no_grad():
        rates = model(images(), samples=2000).rates.mean(2)  # (T, K)
    for units, level in zip(per_unit, rates, strict=True):
        # Both sides are means over 2,000 draws of the latents for each of 40 images.
        stderr = level.std() / 2000**0.5
        assert abs(units.sum() - level.mean()) < 5 * 2**0.5 * stderr + 1e-4


@each_model
def test_chunks_change_nothing(model, monkeypatch):
    """In evaluation of the same noise; here each level's conditional means by many draws."""
    whole = vl.diagnostics.posterior_means(model, images(), samples=400)
    monkeypatch.setattr(vl.diagnostics, "_CHUNK", 7)
    parts = vl.diagnostics.posterior_means(model, images(), samples=400)
    assert [len(level) for level in parts] == [40] * model.levels
    for a, b in zip(whole, parts, strict=True):
        assert (a - b).abs().max() < 0.3  # 6 standard errors of a mean of 400 draws with scale below 1


def test_surgery_of_gaussians_in_closed_form():
    """x ~ N(0, 1) and q(z | x) = N(x, 1/4): the aggregated posterior is N(0, 5/4), the information ln(5) / 2."""
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = vl.diagnostics.surgery(half().double(), x, samples=4000)
    aggregate = 0.5 * (1.25 - 1 - math.log(1.25))
    for got, stderr, want in (
        (s.aggregate_kl, s.aggregate_kl_stderr, aggregate),
        (s.mutual_information, s.mutual_information_stderr, 0.5 * math.log(5)),
        (s.rate, s.rate_stderr, 0.5 * (1 + 0.25 - 1 - math.log(0.25))),
    ):
        # 4,000 draws of z, and a population of 4,000 x in place of all: about as much again.
        assert 0 < stderr < 0.02
        assert abs(got - want) < 5 * 1.5 * stderr
    assert s.rate == pytest.approx(s.mutual_information + s.aggregate_kl, abs=1e-10)


@each_model
def test_surgery_splits_the_rate_of_all_levels(model):
    s = vl.diagnostics.surgery(model, images(), samples=2000)
    rates = [level.sum().item() for level in vl.diagnostics.unit_rates(model, images(), samples=200)]
    assert s.rate == pytest.approx(s.mutual_information + s.aggregate_kl, abs=1e-4)
    assert abs(s.rate - sum(rates)) < 5 * s.rate_stderr + 0.05
    assert -4 * s.mutual_information_stderr < s.mutual_information < math.log(40) + 4 * s.mutual_information_stderr
    assert s.aggregate_kl > -4 * s.aggregate_kl_stderr


def test_information_is_at_most_the_log_of_the_number_of_examples():
    far = 100 * torch.arange(4.0)[:, None]  # four posteriors that do not overlap
    s = vl.diagnostics.surgery(half(), far, samples=200)
    assert s.mutual_information == pytest.approx(math.log(4), abs=1e-4)


def test_the_collapse_report_says_in_words_what_the_numbers_are():
    torch.manual_seed(0)
    model = vl.MHVAE.mlp((1, 4, 4), latents=(20, 4), hidden=((8,), (8,)))
    with torch.no_grad():
        for head in (*model.encoders[0].heads, *model.encoders[1].heads, *model.decoders[1].heads):
            head.weight.zero_()
            head.bias.zero_()
    report = vl.diagnostics.collapse_report(model, images())
    assert report.splitlines() == [
        "z1: rate 0.00 nats, 0 of 20 units active: collapsed: it carries next to nothing",
        "z2: rate 0.00 nats, 0 of 4 units active: collapsed: it carries next to nothing",
    ]
    with torch.no_grad():
        model.encoders[0].heads[0].bias.fill_(2.0)
    report = vl.diagnostics.collapse_report(model, images())
    assert 38 < float(report.split()[2]) < 42  # 20 units, each 2^2 / 2 nats from the prior; sampled
    assert "0 of 20 units active: away from the prior, yet with one mean for every x" in report
    with torch.no_grad():
        model.encoders[0].heads[0].weight[0].normal_(0, 3)
    assert "1 of 20 units active: nearly collapsed" in vl.diagnostics.collapse_report(model, images())
    with torch.no_grad():
        model.encoders[0].heads[0].weight[:15].normal_(0, 3)
    assert "15 of 20 units active: in use, 5 idle" in vl.diagnostics.collapse_report(model, images())
    with torch.no_grad():
        model.encoders[0].heads[0].weight.normal_(0, 3)
    assert "20 of 20 units active: in use, every unit" in vl.diagnostics.collapse_report(model, images())


def test_correlated_levels_have_no_rate_per_unit():
    c = LinearGaussianChain.random([3, 2], seed=0)
    with pytest.raises(ValueError, match="level 1 has correlated dimensions"):
        vl.diagnostics.unit_rates(c.model(), c.model().sample(4))


def test_diagnostics_are_seeded_and_leave_the_model_and_the_random_numbers_as_they_were():
    model = models()[1]
    for call in (vl.diagnostics.posterior_means, vl.diagnostics.unit_rates, vl.diagnostics.surgery):
        torch.manual_seed(5)
        want = torch.rand(2)
        torch.manual_seed(5)
        first = call(model, images(), samples=3)
        assert torch.equal(torch.rand(2), want)
        second, other = call(model, images(), samples=3), call(model, images(), samples=3, seed=1)
        pick = (lambda r: torch.tensor(r.rate)) if call is vl.diagnostics.surgery else (lambda r: r[-1])
        assert torch.equal(pick(first), pick(second))
        assert not torch.equal(pick(first), pick(other))
        assert model.training


# --- Walks through the latents ----------------------------------------------------------------------------------------


def test_a_traversal_moves_one_unit_and_nothing_else():
    model = models()[0]
    z = torch.tensor([0.3, -0.2, 0.9])
    values = [-1.0, 0.0, 2.0]
    walk = vl.diagnostics.traverse(model, z, unit=1, values=values)
    for image, value in zip(walk, values, strict=True):
        want = model.decode(torch.tensor([[0.3, value, 0.9]])).mean[0]
        assert torch.allclose(image, want, atol=1e-6)
    assert z.tolist() == pytest.approx([0.3, -0.2, 0.9])  # not changed in place
    with pytest.raises(ValueError, match="unit is 3: expected 0 to 2"):
        vl.diagnostics.traverse(model, z, unit=3, values=values)


def test_upper_levels_are_traversed_too():
    _, chain, general = models()
    assert vl.diagnostics.traverse(chain, torch.zeros(4), unit=0, values=[0.0, 1.0], level=2).shape == (2, 1, 4, 4)
    levels = [torch.zeros(5), torch.zeros(4)]
    assert vl.diagnostics.traverse(general, levels, unit=4, values=[0.0, 1.0]).shape == (2, 1, 4, 4)
    assert vl.diagnostics.traverse(general, levels[1:], unit=3, values=[0.0], level=2).shape == (1, 1, 4, 4)


def test_the_line_and_the_arc_between_two_latents():
    start, end = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    line, arc = vl.diagnostics.lerp(start, end, 5), vl.diagnostics.slerp(start, end, 5)
    for path in (line, arc):
        assert torch.allclose(path[[0, -1]], torch.stack([start, end]), atol=1e-6)
    assert torch.allclose(line[2], torch.tensor([1.5, 2.0]))
    assert torch.allclose(arc.norm(dim=1), torch.linspace(3, 4, 5), atol=1e-5)  # lengths change evenly
    angles = torch.atan2(arc[:, 1], arc[:, 0])
    assert torch.allclose(angles, torch.linspace(0, math.pi / 2, 5), atol=1e-5)  # and so do directions
    assert line[2].norm() < 2.6 < arc[2].norm()  # the line cuts the corner


@pytest.mark.parametrize(
    ("walk", "says"),
    [
        (lambda: vl.diagnostics.slerp(torch.ones(3), torch.zeros(3), 4), "is the origin"),
        (lambda: vl.diagnostics.slerp(torch.ones(3), -torch.ones(3), 4), "no one arc"),
        (lambda: vl.diagnostics.slerp(torch.ones(3), 2 * torch.ones(3), 4), "no one arc"),
        (lambda: vl.diagnostics.slerp(torch.ones(3), torch.eye(3)[0], 1), "at least 2"),
        (lambda: vl.diagnostics.lerp(torch.ones(3), torch.zeros(3), 1), "at least 2"),
        (lambda: vl.diagnostics.nearest(torch.zeros(2, 3), torch.zeros(5, 4)), "expected images of one shape"),
        (lambda: vl.diagnostics.nearest(torch.zeros(2, 3), torch.zeros(5, 3), k=6), "k=6"),
        (lambda: vl.diagnostics.unit_rates(half(), torch.zeros(2, 1), samples=0), "samples is 0"),
    ],
)
def test_bad_arguments_are_one_clear_error(walk, says):
    with pytest.raises(ValueError, match=says):
        walk()


def test_nearest_neighbours_by_brute_force(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images, train = torch.rand(11, 1, 3, 3, generator=generator), torch.rand(50, 1, 3, 3, generator=generator)
    monkeypatch.setattr(vl.diagnostics, "_CHUNK", 4)
    distances, indices = vl.diagnostics.nearest(images, train, k=3)
    for image, distance, index in zip(images, distances, indices, strict=True):
        all_distances = torch.stack([(image - other).square().sum().sqrt() for other in train])
        order = all_distances.argsort()[:3]
        assert index.tolist() == order.tolist()
        assert torch.allclose(distance, all_distances[order], atol=1e-5)


def test_a_memorised_image_is_found_at_distance_zero():
    train = images()
    distances, indices = vl.diagnostics.nearest(train[7:9], train)
    assert distances.max() < 1e-3
    assert torch.equal(train[indices[:, 0]], train[7:9])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [20, 40])  # from 26 rows on torch multiplies matrices, which loses digits
def test_neighbours_far_from_the_origin_are_told_apart(count, dtype):
    train = 100 + 0.01 * torch.randn(count, 784, generator=torch.Generator().manual_seed(0))
    distances, indices = vl.diagnostics.nearest(train[:5].to(dtype), train)
    assert indices[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert distances.max() == 0
    distances, indices = vl.diagnostics.nearest(train[:5] + 0.001, train)
    assert indices[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert distances.flatten().tolist() == pytest.approx([0.028] * 5, rel=0.01)


class Sign(nn.Module):
    """N(3 sign(c) + shift, 1)."""

    def __init__(self, shift: float = 0.0):
        super().__init__()
        self.shift = shift

    def forward(self, c):
        return Independent(Normal(3 * c[..., :1].sign() + self.shift, 1e-3 + torch.ones_like(c[..., :1])), 1)


class Narrow(nn.Module):
    def forward(self, c):
        return Independent(Normal(c.sign(), 1e-3 * torch.ones_like(c)), 1)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (0.0, "next to no rate: what moves with x, its prior knows"),
        (0.435, "next to no rate: what moves with x, its prior knows"),  # 0.095 nats
        (0.46, "in use, every unit"),  # 0.106 nats
    ],
)
def test_a_level_of_a_chain_whose_prior_moves_along_has_no_rate_and_is_not_called_collapsed(shift, verdict):
    """q(z_1 | x) = N(+-3, 1), p(z_1 | z_2) = N(+-3 + shift, 1), and z_2 tells the sign: the rate is shift^2 / 2."""
    decoders = [vl.Gaussian(1, 1, (), scale=1.0), Sign(shift)]
    model = vl.MHVAE([Sign(), Narrow()], decoders, vl.StandardNormal(1))
    x = torch.tensor([[-5.0], [5.0]]).repeat(200, 1)
    first, second = vl.diagnostics.collapse_report(model, x, samples=200).splitlines()  # sampled to 0.002 nats
    assert f"1 of 1 units active: {verdict}" in first
    assert "1 of 1 units active: in use, every unit" in second


def test_a_level_that_moves_a_little_while_its_prior_does_not_is_not_said_to_be_known_from_above():
    """q(z_1 | x) = N(x / 5, 1) against N(0, 1): a rate of 0.02 nats, of which the level above knows nothing."""
    encoder, decoder, ignorant = (vl.Gaussian(1, 1, (), scale=1.0) for _ in range(3))
    for layer, weight in ((encoder, 0.2), (decoder, 1.0), (ignorant, 0.0)):
        torch.nn.init.constant_(layer.heads[0].weight, weight)
        torch.nn.init.zeros_(layer.heads[0].bias)
    model = vl.MHVAE([encoder, Narrow()], [decoder, ignorant], vl.StandardNormal(1))
    x = torch.tensor([[-1.0], [1.0]]).repeat(200, 1)
    first = vl.diagnostics.collapse_report(model, x, samples=200).splitlines()[0]
    assert (
        "1 of 1 units active: next to no rate: what moves with x moves little, and its prior does not know it" in first
    )


# Priors without a closed form


class Prior(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self):
        return self.made


def bimodal() -> Independent:
    """Two dimensions, each a mixture of N(-1, 1/2^2) and N(1, 1/2^2) of its own."""
    means = torch.tensor([-1.0, 1.0]).expand(2, 2)
    return Independent(MixtureSameFamily(Categorical(torch.ones(2, 2)), Normal(means, 0.5)), 1)


@pytest.mark.parametrize("prior", [bimodal(), Independent(Laplace(torch.zeros(2), 1.0), 1)])
def test_without_a_closed_form_unit_rates_are_sampled(prior):
    model = vl.VAE(Half(), vl.Gaussian(2, 1, hidden=(), scale=1.0), prior=Prior(prior))
    x = torch.randn(300, 1, generator=torch.Generator().manual_seed(0))
    (rates,) = vl.diagnostics.unit_rates(model, x, samples=400)
    z = torch.linspace(-9, 9, 4001)[:, None]
    for unit, rate in enumerate(rates):
        q = Normal(x[:, 0], 0.5) if unit == 0 else Normal(torch.zeros(300), 1.0)
        log_p = prior.base_dist.log_prob(z.expand(-1, 2))[:, unit, None]
        want = torch.trapezoid(q.log_prob(z).exp() * (q.log_prob(z) - log_p), z[:, 0], dim=0).mean()
        assert abs(rate - want) < 0.02  # 120,000 draws of log-ratios with a spread near 1: 0.003 each
    total = rates.sum().item()
    assert f"rate {total:.{2 if total < 1 else 1}f} nats" in vl.diagnostics.collapse_report(model, x, samples=400)


@pytest.mark.parametrize(
    "prior", [lambda encoder: vl.MixturePrior(3, 4), lambda encoder: vl.VampPrior(encoder, components=6)]
)
def test_a_prior_whose_dimensions_hang_together_has_a_report_and_no_unit_rates(prior):
    torch.manual_seed(0)
    encoder = vl.Gaussian(16, 3, (8,))
    with torch.no_grad():
        encoder.heads[0].weight.mul_(10)
    model = vl.VAE(encoder, vl.Bernoulli(3, (1, 4, 4), (8,)), prior(encoder))
    torch.manual_seed(1)
    with torch.no_grad():
        rate = model(images(), samples=400).rates.mean().item()
    report = vl.diagnostics.collapse_report(model, images(), samples=400)
    # Means over 16,000 draws of a log-ratio with a spread of one or two nats, twice.
    assert float(report.split()[2]) == pytest.approx(rate, abs=0.1)
    assert "3 of 3 units active: in use, every unit" in report
    with pytest.raises(ValueError, match="level 1 has correlated dimensions"):
        vl.diagnostics.unit_rates(model, images())


def shifted(x_scale: float, shift: float) -> vl.VAE:
    """q(z | x) = N((x_scale x, shift), 1): the first unit follows x, the second has a rate of shift^2 / 2 nats."""

    class Shifted(nn.Module):
        def forward(self, x):
            mean = torch.stack([x_scale * x[:, 0], torch.full_like(x[:, 0], shift)], 1)
            return Independent(Normal(mean, torch.ones_like(mean)), 1)

    return vl.VAE(Shifted(), vl.Gaussian(2, 1, hidden=(), scale=1.0), prior=vl.StandardNormal(2))


@pytest.mark.parametrize(
    ("shift", "says"),
    [
        (0.43, "rate 0.09 nats, 0 of 2 units active: collapsed"),
        (0.46, "rate 0.11 nats, 0 of 2 units active: away from"),
    ],
)
def test_a_level_is_called_collapsed_below_a_tenth_of_a_nat(shift, says):
    x = torch.tensor([[-1.0], [1.0]]).repeat(5, 1)
    assert says in vl.diagnostics.collapse_report(shifted(0.0, shift), x)


@pytest.mark.parametrize(("x_scale", "active"), [(0.096, False), (0.104, True)])
def test_a_unit_is_active_above_a_variance_of_one_hundredth(x_scale, active):
    x = torch.tensor([[-1.0], [1.0]]).repeat(500, 1)  # its variance is 1000 / 999
    assert vl.diagnostics.active_units(shifted(x_scale, 0.0), x)[0].tolist() == [active, False]


@pytest.mark.parametrize(("size", "says"), [(10, "in use, 9 idle"), (11, "nearly collapsed: nine units in ten")])
def test_a_level_is_called_nearly_collapsed_where_fewer_than_one_unit_in_ten_moves(size, says):
    class One(nn.Module):
        def forward(self, x):
            mean = torch.cat([x, torch.zeros(len(x), size - 1)], 1)
            return Independent(Normal(mean, torch.ones_like(mean)), 1)

    model = vl.VAE(One(), vl.Gaussian(size, 1, hidden=(), scale=1.0), prior=vl.StandardNormal(size))
    report = vl.diagnostics.collapse_report(model, torch.tensor([[-1.0], [1.0]]).repeat(5, 1))
    assert f"1 of {size} units active: {says}" in report


@pytest.mark.parametrize(
    "refused",
    [
        lambda: vl.diagnostics.unit_rates(CORRELATED, torch.zeros(4, 3).double()),
        lambda: vl.diagnostics.posterior_means(HALF, torch.zeros(4, 1), samples=0),
        lambda: vl.diagnostics.surgery(HALF, torch.full((4, 1), math.nan)),
        lambda: vl.diagnostics.collapse_report(HALF, torch.zeros(1, 1)),
    ],
)
def test_a_refusal_leaves_the_callers_random_numbers_where_they_were(refused):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match=r"expected|correlated|NaN") as caught:
        refused()
    assert torch.equal(torch.rand(3), want)
    assert caught.tb is not None  # what the traceback holds on to does not hold the numbers


CORRELATED, HALF = LinearGaussianChain.random([3, 2]).model(), half()


class Bent(nn.Module):
    """exp of N(c, 1/4), of which torch knows no mean: e^(c + 1/8)."""

    def forward(self, condition):
        base = torch.distributions.Independent(torch.distributions.Normal(condition, 0.5), 1)
        return torch.distributions.TransformedDistribution(base, [torch.distributions.ExpTransform()])


def test_a_posterior_without_a_mean_in_closed_form_is_averaged_over_draws():
    model = vl.VAE(Bent(), vl.Gaussian(2, 2, (3,)), vl.StandardNormal(2))
    x = torch.tensor([[0.0, 1.0], [0.5, -1.0]])
    (found,) = vl.diagnostics.posterior_means(model, x, samples=20_000)
    assert torch.allclose(found, (x + 1 / 8).exp(), rtol=0.02)
    assert vl.diagnostics.active_units(model, x, samples=50)[0].tolist() == [True, True]
    assert len(vl.diagnostics.collapse_report(model, x).splitlines()) == 1


class Mixed(nn.Module):
    """q(z_2 | z_1) = N(9/10 z_1, 19/100), which is N(0, 1) where z_1 is: it moves with z_1, and not with x."""

    def __init__(self):
        super().__init__()
        self.event = (1,)

    def forward(self, z):
        return Independent(Normal(0.9 * z, 0.19**0.5 * torch.ones_like(z)), 1)


class Still(nn.Module):
    """q(z_1 | x) = N(0, 1) for every x."""

    def forward(self, x):
        return Independent(Normal(0 * x[:, :1], torch.ones_like(x[:, :1])), 1)


@pytest.mark.parametrize("samples", [2, 10])
def test_what_moves_by_the_draws_alone_is_not_active(samples):
    model = vl.MHVAE([Still(), Mixed()], [vl.Gaussian(1, 1, (), scale=1.0) for _ in range(2)], vl.StandardNormal(1))
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    means = vl.diagnostics.posterior_means(model, x, samples)[1]
    assert means.var() > 0.8 / samples  # 0.81 / K, far above the threshold, and no word about x
    assert [level.tolist() for level in vl.diagnostics.active_units(model, x, threshold=0.03, samples=samples)] == [
        [False],
        [False],
    ]
    assert "z2: rate 0.0" not in (report := vl.diagnostics.collapse_report(model, x, samples=100).splitlines()[1])
    assert "0 of 1 units active: away from the prior, yet with one mean for every x" in report


def test_one_draw_cannot_say_what_moves():
    with pytest.raises(ValueError, match="samples is 1: expected an integer of at least 2"):
        vl.diagnostics.active_units(half(), torch.zeros(3, 1), samples=1)


@pytest.mark.parametrize("spread", ["two groups", "one far image"])
def test_the_nearest_are_found_wherever_the_data_lie(spread):
    generator = torch.Generator().manual_seed(0)
    train, x = (torch.rand(n, 50, generator=generator) for n in (400, 60))
    if spread == "two groups":
        train[::2] += 1000
        train[1::2] -= 1000
        x[::2] += 1000
        x[1::2] -= 1000
    else:
        train[7] = 1e6
    want = np.linalg.norm(x.double().numpy()[:, None] - train.double().numpy(), axis=-1)
    distances, indices = vl.diagnostics.nearest(x, train, k=3)
    assert np.array_equal(indices.numpy(), want.argsort(1)[:, :3])
    assert np.allclose(distances.numpy(), np.sort(want, 1)[:, :3], rtol=1e-4)
