"""Oracles: mpmath with enough digits, scipy's logistic and quadrature, and plain enumeration of the 256 levels.

Samples are tested at five standard errors, chi-square statistics at p = 1e-6. A right sampler fails one such comparison
in a million; with fewer than 50 comparisons in this file that is a false-alarm rate below 1e-4, and seeds are fixed.
"""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.distributions import Independent, constraints

import vaelib as vl
from vaelib.distributions import LEVELS, CategoricalGreyLevels, ContinuousBernoulliDensity, LogisticGreyLevels, on_grid

GRID = torch.arange(LEVELS, dtype=torch.float64) / 255
ROUND32, ROUND64 = 2.0**-24, 2.0**-53  # the relative error of one rounding
# Around 0.1, where the series hands over to the formula: one rounding and one per mille to each side.
SWITCH = [float(np.nextafter(0.1, 0)), 0.1, float(np.nextafter(0.1, 1)), 0.0999, 0.1001]
POSITIVE = [1e-300, 1e-8, 1e-3, *SWITCH, 0.2, 0.5, 1.0, 3.0, 16.0, 50.0, 700.0, 1e4]
LOGITS = [0.0, *POSITIVE, *(-l for l in POSITIVE)]


def f64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def standard_errors(draws: torch.Tensor, mean: torch.Tensor) -> float:
    """How far the mean of draws, (S, ...), is from where it should be: the largest of all entries."""
    return ((draws.mean(0) - mean).abs() / (draws.std(0) / math.sqrt(len(draws)))).max().item()


# ContinuousBernoulliDensity: the density l e^(l x) / (e^l - 1) on [0, 1].


def exact_log_prob(logit: float, x: float) -> float:
    with mpmath.workdps(60):
        l = mpmath.mpf(logit)
        return 0.0 if l == 0 else float(mpmath.log(l / mpmath.expm1(l)) + l * mpmath.mpf(x))


def exact_mean(logit: float) -> float:
    with mpmath.workdps(700):  # at l = 1e-300 some 300 digits cancel
        l = mpmath.mpf(logit)
        return 0.5 if l == 0 else float(-1 / mpmath.expm1(-l) - 1 / l)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_is_right_to_the_last_digits_at_every_logit(logit):
    p = ContinuousBernoulliDensity(f64(logit))
    for x in (0.0, 1e-9, 0.3, 0.5, 1.0):
        # A sum of terms of size up to 1 + |l|, with a few roundings in each.
        atol = 8 * ROUND64 * (1 + abs(logit))
        assert p.log_prob(f64(x)).item() == pytest.approx(exact_log_prob(logit, x), abs=atol, rel=0)
    # At l = 0.1 the mean is the difference of 10.5 and 10, each with a rounding or two.
    assert p.mean.item() == pytest.approx(exact_mean(logit), abs=40 * ROUND64, rel=0)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_gradient_of_continuous_bernoulli_is_x_minus_the_mean(logit):
    """d log p / dl = x - E[x], as in every exponential family."""
    l = f64(logit).requires_grad_()
    (gradient,) = torch.autograd.grad(ContinuousBernoulliDensity(l).log_prob(f64(0.3)).sum(), l)
    # The series lacks 73 / 34214400 l^10, whose derivative at 0.1 is 2.1e-14.
    assert gradient.item() == pytest.approx(0.3 - exact_mean(logit), abs=3e-14, rel=0)


@pytest.mark.parametrize("logit", [-50.0, -3.0, -0.05, 0.0, 0.05, 0.2, 3.0, 50.0])
def test_continuous_bernoulli_integrates_to_one_and_to_its_mean(logit):
    p = ContinuousBernoulliDensity(f64(logit))

    def integral(log_density, power: int = 0) -> float:
        value, error = integrate.quad(lambda x: x**power * math.exp(log_density(f64(x))), 0, 1, epsabs=1e-10)
        assert error < 2e-9
        return value

    assert integral(p.log_prob) == pytest.approx(1, abs=2e-9)  # the quadrature's own error bound
    assert integral(p.log_prob, power=1) == pytest.approx(p.mean.item(), abs=2e-9)
    # E9: a Bernoulli's formula on grey levels, without the normaliser C >= 2, holds a mass of 1 / C.
    bernoulli = torch.distributions.Bernoulli(logits=f64(logit), validate_args=False)
    assert integral(bernoulli.log_prob) == pytest.approx(math.exp(-p.log_normaliser.item()), abs=2e-9)
    assert integral(bernoulli.log_prob) <= 0.5 + 2e-9
    # So does its negative: the sign of the normaliser counts.
    assert abs(integral(lambda x: p.log_prob(x) - 2 * p.log_normaliser) - 1) > 0.7


def test_torchs_own_continuous_bernoulli_is_off_at_large_logits():
    """Why the library has one of its own: torch clamps the probability, and with it the normaliser."""
    for dtype, off in ((torch.float32, 1.1), (torch.float64, 0.3)):  # by nats per pixel
        for logit in (-50.0, 50.0):
            for x in (0.0, 0.3, 1.0):
                logits, at = torch.tensor(logit, dtype=dtype), torch.tensor(x, dtype=dtype)
                exact = exact_log_prob(logit, at.item())
                theirs = torch.distributions.ContinuousBernoulli(logits=logits).log_prob(at).item()
                assert abs(theirs - exact) > off
                assert ContinuousBernoulliDensity(logits).log_prob(at).item() == pytest.approx(exact, abs=4e-6)


def test_between_the_extremes_both_continuous_bernoullis_agree():
    logits, x = torch.linspace(-8, 8, 33, dtype=torch.float64)[:, None], GRID
    theirs = torch.distributions.ContinuousBernoulli(logits=logits, lims=(0.49999, 0.50001))
    ours = ContinuousBernoulliDensity(logits)
    # Their 1 - 2 p and artanh lose digits near p = 1/2 and p = 1: errors of a few 1e-13 times e^8.
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x), atol=1e-9, rtol=0)
    assert torch.allclose(ours.mean, theirs.mean, atol=1e-9, rtol=0)


# LogisticGreyLevels: F((k + 1/2) / 255) - F((k - 1/2) / 255), the tails in the first and the last level.

LOGISTICS = [(0.5, 0.1), (0.2, 0.004), (-0.3, 0.2), (1.4, 0.5), (0.0, 3.0), (1.0, 0.02)]


@pytest.mark.parametrize(("loc", "scale"), LOGISTICS)
def test_discretised_logistic_is_a_difference_of_distribution_functions(loc, scale):
    edges = stats.logistic.cdf((np.arange(257) - 0.5) / 255, loc, scale)
    edges[0], edges[-1] = 0, 1
    got = LogisticGreyLevels(f64(loc), f64(scale)).log_prob(GRID).exp()
    # F is at most 1, its slope at most 1/4 per scale: roundings of 1, and of (1 + |loc|) / scale in its argument.
    atol = 4 * ROUND64 * (1 + (1 + abs(loc)) / scale)
    assert torch.allclose(got, torch.from_numpy(np.diff(edges)), atol=atol, rtol=0)


def exact_level(k: int, loc: float, scale: float) -> float:
    """log P(k), by a subtraction with enough digits to survive it."""
    with mpmath.workdps(60 + int((1 + abs(loc)) / scale)):
        half, loc, scale = mpmath.mpf(1) / 2, mpmath.mpf(loc), mpmath.mpf(scale)
        lower, upper = (1 / (1 + mpmath.exp((loc - (k + h) / 255) / scale)) for h in (-half, half))
        return float(mpmath.log((upper if k < 255 else 1) - (lower if k > 0 else 0)))


@pytest.mark.parametrize(("loc", "scale"), [(0.5, 1e-3), (-3.0, 1e-3), (4.0, 0.05), (0.3, math.exp(10)), (50.0, 1.0)])
def test_discretised_logistic_keeps_its_digits_where_a_difference_would_lose_them(loc, scale):
    p = LogisticGreyLevels(f64(loc), f64(scale))
    for k in (0, 1, 100, 128, 254, 255):
        want = exact_level(k, loc, scale)
        # Roundings of the argument, of size (1 + |loc|) / scale, and of the result; 1e-13 for log(1 - e^(-1 / 255 s)),
        # whose argument is 1 / 255 s.
        atol = 4 * ROUND64 * ((1 + abs(loc)) / scale + abs(want)) + 1e-13
        assert p.log_prob(GRID[k]).item() == pytest.approx(want, abs=atol, rel=0)


def test_the_naive_difference_is_not_finite_where_ours_is():
    loc, scale = f64(-3.0), f64(1e-3)
    naive = torch.log(torch.sigmoid((GRID[100] + 0.5 / 255 - loc) / scale) - torch.sigmoid((GRID[100] - loc) / scale))
    assert torch.isinf(naive).all()
    assert torch.isfinite(LogisticGreyLevels(loc, scale).log_prob(GRID)).all()


@pytest.mark.parametrize(("loc", "scale"), [*LOGISTICS, (-1e4, 1.0), (1e4, math.exp(-10)), (0.5, math.exp(10))])
def test_the_levels_of_a_discretised_logistic_sum_to_one_and_to_its_mean(loc, scale):
    p = LogisticGreyLevels(f64(loc), f64(scale))
    probability = p.log_prob(GRID).exp()
    # 256 numbers, each with a relative error of some roundings of (1 + |loc|) / scale, those of a narrow one near 1.
    assert probability.sum().item() == pytest.approx(1, abs=1e-12)
    assert (probability @ GRID).item() == pytest.approx(p.mean.item(), abs=1e-12)


def test_a_density_at_the_levels_is_no_probability():
    """The width of a level times the logistic density, the mass beyond the ends left out, sums to less than one."""
    density = stats.logistic.pdf(GRID.numpy(), 0.2, 0.1).sum() / 255
    assert density < 0.9
    assert LogisticGreyLevels(f64(0.2), f64(0.1)).log_prob(GRID).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_the_tails_belong_to_the_first_and_the_last_level():
    p = LogisticGreyLevels(f64(-1.0, 2.0), f64(0.1, 0.1))
    assert torch.allclose(p.log_prob(f64(0.0, 1.0)), f64(0.0, 0.0), atol=1e-4)  # sigmoid(10.02) = 1 - 4.5e-5
    assert torch.allclose(p.mean, f64(0.0, 1.0), atol=1e-4)
    inside = p.log_prob(f64(1 / 255, 254 / 255))  # without a tail they hold next to nothing
    assert (inside < -12).all()


# CategoricalGreyLevels: a softmax over the 256 levels.


def test_grey_levels_are_a_softmax_that_sums_to_one():
    torch.manual_seed(0)
    logits = 5 * torch.randn(3, LEVELS, dtype=torch.float64)
    p = CategoricalGreyLevels(logits)
    want = special.log_softmax(logits.numpy(), -1)
    got = p.log_prob(GRID[:, None])  # (256, 3)
    # Numbers of size up to 40, and a sum of 256 terms.
    assert torch.allclose(got.T, torch.from_numpy(want), atol=1e-13, rtol=0)
    assert torch.allclose(got.exp().sum(0), torch.ones(3, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(p.probs, got.exp().T, atol=1e-14, rtol=0)
    assert torch.allclose(p.mean, torch.from_numpy(np.exp(want) @ GRID.numpy()), atol=1e-14, rtol=0)


def test_a_uniform_pixel_costs_eight_bits():
    p = CategoricalGreyLevels(torch.zeros(2, 3, LEVELS, dtype=torch.float64))
    bits = -Independent(p, 1).log_prob(GRID[[0, 100, 255]].expand(2, 3)) / math.log(2)
    assert torch.allclose(bits, f64(24, 24), atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_level_is_rounded_not_cut_off(dtype):
    """Data that passed through another format are a little off: a value just below k / 255 is k, not k - 1."""
    p = CategoricalGreyLevels(torch.arange(LEVELS, dtype=dtype).expand(LEVELS, -1))
    exact = p.log_prob(torch.arange(LEVELS, dtype=dtype) / 255)
    # Logits 0 ... 255: neighbouring levels differ by one nat, and the logits' own rounding by 255 * 2^-24 at most.
    assert torch.allclose(exact - exact[0], torch.arange(LEVELS, dtype=dtype), atol=1e-4)
    for off in (-5e-4, 5e-4):
        value = ((torch.arange(LEVELS, dtype=dtype) + off) / 255).clamp(0, 1)
        assert on_grid.check(value).all()
        assert torch.equal(p.log_prob(value), exact)


def test_one_pixel_alone_has_a_grey_level_too():
    assert CategoricalGreyLevels(torch.zeros(LEVELS)).log_prob(torch.tensor(0.0)).item() == pytest.approx(
        -math.log(256)
    )


# All three.


def continuous_bernoulli(*batch: int, dtype=torch.float64) -> ContinuousBernoulliDensity:
    return ContinuousBernoulliDensity(3 * torch.randn(*batch, dtype=dtype))


def discretised_logistic(*batch: int, dtype=torch.float64) -> LogisticGreyLevels:
    return LogisticGreyLevels(torch.rand(*batch, dtype=dtype), torch.randn(*batch, dtype=dtype).exp() / 5)


def grey_levels(*batch: int, dtype=torch.float64) -> CategoricalGreyLevels:
    return CategoricalGreyLevels(2 * torch.randn(*batch, LEVELS, dtype=dtype))


KINDS = [continuous_bernoulli, discretised_logistic, grey_levels]


@pytest.mark.parametrize("make", KINDS)
def test_log_prob_has_the_gradient_of_finite_differences(make):
    torch.manual_seed(0)
    x = GRID[[0, 1, 77, 254, 255]]
    p = make(5)
    parameters = [getattr(p, name).requires_grad_() for name in p.arg_constraints]
    assert torch.autograd.gradcheck(lambda *values: type(p)(*values).log_prob(x), parameters)


@pytest.mark.parametrize("l", [-0.1, -1e-4, 0.0, 1e-4, 0.1])
def test_continuous_bernoulli_is_smooth_where_the_series_takes_over(l):
    """Gradients of both branches, value and mean; finite differences step across the seam at 0.1."""
    at = f64(l).requires_grad_()
    for f in (lambda l: ContinuousBernoulliDensity(l).log_prob(f64(0.9)), lambda l: ContinuousBernoulliDensity(l).mean):
        assert torch.autograd.gradcheck(f, at)


@pytest.mark.parametrize(
    ("make", "extremes"),
    [
        (ContinuousBernoulliDensity, [(l,) for l in (-1e4, -100.0, -50.0, -0.1, 0.0, 1e-30, 0.1, 50.0, 100.0, 1e4)]),
        (
            LogisticGreyLevels,
            [(loc, math.exp(s)) for loc in (-1e3, -2.0, 0.0, 0.5, 1.0, 3.0, 1e3) for s in (-10, -3, 0, 10)],
        ),
    ],
)
def test_float32_stays_finite_at_extremes_and_agrees_with_float64(make, extremes):
    x = torch.arange(LEVELS).float() / 255
    for values in extremes:
        single = [torch.tensor(value).requires_grad_() for value in values]
        double = [value.detach().double().requires_grad_() for value in single]
        got, want = make(*single).log_prob(x), make(*double).log_prob(x.double())
        assert got.dtype == torch.float32
        assert torch.isfinite(got).all()
        assert torch.isfinite(make(*single).mean)
        # What rounding the largest number in the formula costs: l itself, or (1 + |loc|) / scale.
        size = abs(values[0]) if len(values) == 1 else (1 + abs(values[0])) / values[1]
        assert ((got.double() - want).abs() <= 4 * ROUND32 * (1 + size + want.abs())).all()
        gradients = torch.autograd.grad(got.sum(), single), torch.autograd.grad(want.sum(), double)
        for ours, exact in zip(*gradients, strict=True):
            assert torch.isfinite(ours)
            # A sum of 256 terms, each within 1e-6 of itself; they cancel where x's mean is the distribution's.
            scale = 256 * (1 if len(values) == 1 else (1 + abs(values[0])) / values[1] ** 2 + 1 / values[1])
            assert abs(ours.double() - exact) <= 1e-5 * scale


def test_float32_grey_levels_stay_finite_at_extremes():
    logits = torch.zeros(LEVELS)
    logits[10], logits[20] = 1e4, -1e4
    logits.requires_grad_()
    got = CategoricalGreyLevels(logits).log_prob(torch.arange(LEVELS).float() / 255)
    assert got[[0, 10, 20]].tolist() == [-1e4, 0, -2e4]  # exact: all other terms underflow
    (gradient,) = torch.autograd.grad(got.sum(), logits)
    assert torch.isfinite(gradient).all()
    assert gradient[10] == 1 - LEVELS


@pytest.mark.parametrize("make", KINDS)
def test_samples_have_the_mean_and_lie_in_the_support(make):
    torch.manual_seed(1)
    p = make(4, 2)
    draws = p.sample((20_000,))
    assert draws.shape == (20_000, 4, 2)
    assert draws.dtype == torch.float64
    assert p.support.check(draws).all()
    assert standard_errors(draws, p.mean) < 5
    assert standard_errors(draws, p.mean + 0.02) > 5  # the test would notice
    assert p.sample().shape == (4, 2)
    assert not draws.requires_grad


@pytest.mark.parametrize(
    "p",
    [
        LogisticGreyLevels(f64(0.3), f64(0.01)),
        LogisticGreyLevels(f64(1.0), f64(0.02)),
        CategoricalGreyLevels(torch.linspace(-3, 3, LEVELS)[None]),
    ],
    ids=["inside", "at the edge", "grey levels"],
)
def test_samples_of_levels_have_their_frequencies(p):
    """By a chi-square statistic, which sees draws half a level off, as a floor for rounding would make them."""
    torch.manual_seed(2)
    n = 50_000
    counts = np.bincount((p.sample((n,)).flatten() * 255).round().long(), minlength=LEVELS)
    expected = n * p.log_prob(GRID.to(p.mean.dtype)).exp().double().numpy()
    assert pvalue(counts, expected) > 1e-6
    half_a_level = (counts + np.roll(counts, -1)) / 2
    assert pvalue(half_a_level, expected) < 1e-6


def pvalue(counts: np.ndarray, expected: np.ndarray) -> float:
    rare = expected < 10  # gathered into one cell, as the approximation needs
    got, want = (np.append(c[~rare], c[rare].sum()) for c in (counts, expected))
    if want[-1] < 10:
        got, want = (np.append(c[:-2], c[-2:].sum()) for c in (got, want))
    return stats.chisquare(got, want * got.sum() / want.sum()).pvalue


@pytest.mark.parametrize("logit", [-1e4, -20.0, -1.0, -1e-3, 0.0, 1e-9, 0.5, 20.0, 1e4])
def test_samples_of_continuous_bernoulli_have_its_distribution(logit):
    """Their distribution function (e^(l x) - 1) / (e^l - 1) makes them uniform: tested by its first two moments."""
    torch.manual_seed(3)
    x = ContinuousBernoulliDensity(f64(logit)).sample((20_000,))
    assert ((x >= 0) & (x <= 1)).all()
    if logit > 0:
        x = 1 - x
    l = -abs(logit)
    uniform = torch.expm1(l * x) / math.expm1(l) if l else x
    assert standard_errors(uniform, f64(0.5)) < 5
    assert standard_errors(uniform**2, f64(1 / 3)) < 5


def test_float32_samples_of_extreme_logits_stay_in_the_unit_interval():
    torch.manual_seed(4)
    draws = ContinuousBernoulliDensity(torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30])).sample((1000,))
    assert ((draws >= 0) & (draws <= 1)).all()
    levels = LogisticGreyLevels(torch.tensor([-1e4, 1e4, 0.5]), torch.tensor([1e-4, 1e-4, 1e4])).sample((1000,))
    assert on_grid.check(levels).all()
    assert levels[:, 0].max() == 0
    assert levels[:, 1].min() == 1


@pytest.mark.parametrize("make", KINDS)
def test_sampling_passes_no_gradient(make):
    torch.manual_seed(0)
    p = make(3)
    for name in p.arg_constraints:
        getattr(p, name).requires_grad_()
    assert not p.sample((2,)).requires_grad


@pytest.mark.parametrize("make", KINDS)
def test_sample_axes_broadcast_against_a_batch(make):
    """Parameters (K, B, D) against x (B, D), as in a model; every entry as if it stood alone."""
    torch.manual_seed(0)
    p, x = make(5, 3, 2), GRID[torch.randint(LEVELS, (3, 2))]
    assert p.batch_shape == (5, 3, 2)
    together = p.log_prob(x)
    assert together.shape == (5, 3, 2)
    for k, b, d in ((0, 0, 0), (4, 2, 1), (2, 1, 0)):
        alone = type(p)(*(getattr(p, name)[k, b, d][None] for name in p.arg_constraints))
        assert alone.batch_shape == (1,)
        assert alone.log_prob(x[b, d]).item() == pytest.approx(together[k, b, d].item(), abs=1e-12)
    more = p.log_prob(torch.stack([x[None], 1 - x[None]]))  # (2, 1, B, D) against (K, B, D)
    assert more.shape == (2, 5, 3, 2)
    assert torch.equal(more[0], together)
    assert torch.allclose(Independent(p, 1).log_prob(x), together.sum(-1))


def test_a_shared_scale_broadcasts_against_the_location():
    p = LogisticGreyLevels(torch.zeros(3, 2), torch.ones(()))
    assert p.batch_shape == p.scale.shape == p.mean.shape == (3, 2)


def test_the_grid_is_the_256_grey_levels_in_float32_and_float64():
    for dtype in (torch.float32, torch.float64):
        assert on_grid.check(torch.arange(LEVELS).to(dtype) / 255).all()
        assert on_grid.check(torch.arange(LEVELS).to(dtype) * (1 / 255)).all()
    off = [-1 / 255, 256 / 255, 0.5, 1 / 512, 100.01 / 255, math.nan, math.inf, -math.inf, 1 + 1e-6]
    assert not on_grid.check(torch.tensor(off)).any()
    assert on_grid.is_discrete


def test_supports_are_what_the_formulas_need():
    assert ContinuousBernoulliDensity.support is constraints.unit_interval
    assert CategoricalGreyLevels.support is LogisticGreyLevels.support is on_grid
    inside = ContinuousBernoulliDensity.support.check(torch.tensor([0.0, 0.5, 1.0, -1e-6, 1 + 1e-6, math.nan]))
    assert inside.tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("likelihood", "bad"),
    [
        ("continuous_bernoulli", 1.2),
        ("continuous_bernoulli", -0.01),
        ("continuous_bernoulli", math.nan),
        ("discretised_logistic", 0.5),
        ("discretised_logistic", 256 / 255),
        ("discretised_logistic", math.nan),
        ("categorical", 0.5),
        ("categorical", -1 / 255),
        ("categorical", math.nan),
    ],
)
def test_one_value_off_the_support_is_refused_by_a_model(likelihood, bad):
    model = vl.VAE.mlp(4, latent=2, hidden=(3,), likelihood=likelihood)
    x = torch.full((2, 4), 51 / 255)
    assert torch.isfinite(model(x).log_px).all()
    x[1, 2] = bad
    with pytest.raises(ValueError, match=r"NaN|256 grey levels|outside the likelihood's support"):
        model(x)
