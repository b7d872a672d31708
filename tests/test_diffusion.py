import math
import re
from itertools import pairwise

import pytest
import sympy
import torch
from scipy import integrate, stats
from torch import nn
from torch.distributions import kl_divergence

import vaelib as vl
from vaelib.diffusion import BinaryGuess, Denoising, Diffusion, MixtureGuess, Noising, Reverse, noised

pytestmark = pytest.mark.usefixtures("float64")
CORRELATED = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def gaussian(covariance: torch.Tensor = CORRELATED) -> MixtureGuess:
    """The best guess for x ~ N(0, covariance)."""
    return MixtureGuess(torch.zeros(1, len(covariance)), covariance[None])


def two_points() -> MixtureGuess:
    return MixtureGuess(torch.tensor([[-1.0], [2.0]]), torch.tensor([[[0.04]], [[0.25]]]))


def chain(levels: int, guess: nn.Module | None = None, size: int = 2) -> Diffusion:
    return Diffusion(guess or gaussian(), size, torch.linspace(-6, 4, levels).flip(0))


# --- The encoder ------------------------------------------------------------------------------------------------------


def test_steps_of_noise_add_up_to_the_noise_of_a_level():
    model, x = chain(5), torch.randn(3, 2)
    mean, variance = x, torch.zeros(3, 2)
    for encoder, level in zip(model.encoders, model.log_snr, strict=True):
        mean, variance = encoder(mean).mean, encoder.alpha * variance + encoder(mean).variance
        whole = noised(x, level)
        assert torch.allclose(mean, whole.mean, atol=1e-12)  # a few products of numbers of size one
        assert torch.allclose(variance, whole.variance, atol=1e-12)


def test_the_reverse_of_a_step_is_bayes_rule():
    below, above, x = 1.5, -0.5, torch.tensor([[0.7]])
    share = [1 / (1 + math.exp(-level)) for level in (below, above)]
    step = Noising(1, share[1] / share[0])
    z_t, z_next = torch.randn(50, 1), torch.randn(50, 1)
    want = noised(x, below).log_prob(z_t) + step(z_t).log_prob(z_next) - noised(x, above).log_prob(z_next)
    got = Reverse.between(above, below).of(x, z_next).log_prob(z_t)
    assert torch.allclose(got, want, atol=1e-10)


@pytest.mark.parametrize("level", [-30.0, 2.0, 24.0, 30.0])
def test_the_last_step_reaches_x_itself(level):
    assert Reverse.between(level, math.inf) == pytest.approx((1.0, 0.0, 0.0), abs=1e-14)


@pytest.mark.parametrize(("above", "below"), [(-30, -29.9), (0, 1e-9), (26, 30), (29.9, 30), (29.9999, 30), (-30, 30)])
def test_small_shares_of_noise_keep_their_digits(above, below):
    """Where hardly any noise is left: against sixty digits."""
    a, b = (sympy.Float(repr(level), 60) for level in (above, below))
    low, high = (1 / (1 + sympy.exp(-level)) for level in (a, b))
    alpha, noise, above_noise = low / high, (high - low) / high, 1 - low
    want = [sympy.sqrt(high) * noise / above_noise, sympy.sqrt(alpha) * (1 - high) / above_noise]
    want.append(noise * (1 - high) / above_noise)
    rounded = 4e-8 if below - above < 1e-6 else 1e-13  # the difference of two floats is all that is known of a step
    assert [*Reverse.between(above, below)] == pytest.approx([float(w) for w in want], rel=rounded)
    first = Diffusion(gaussian(), 2, [below, above]).encoders[1]
    assert (first.alpha, first.noise) == pytest.approx((float(alpha), float(noise)), rel=rounded)


@pytest.mark.parametrize("top", [18.0, 26.0, 30.0])
def test_the_bound_stays_below_the_evidence_and_near_it_however_little_noise_there_is(top):
    guess = MixtureGuess(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]).double(), 0.1 * torch.eye(2).double().expand(2, 2, 2))
    torch.manual_seed(0)
    x = guess.sample(500)
    model = Diffusion(guess, 2, torch.linspace(top, -7, 5)).double()
    model.measure(x)
    with torch.no_grad():
        lost = guess.log_px(x).mean() - vl.elbo(model(x)).mean()
    assert 0 < lost < 1.2


def no_guess(of):
    """A guess of another shape than z."""

    class Guess(nn.Module):
        def forward(self, z, log_snr):
            return of(z)

    return Guess()


@pytest.mark.parametrize("of", [lambda z: z[..., :1], lambda z: z.mean(), lambda z: z[0], lambda z: z.flatten()])
@pytest.mark.parametrize("binary", [False, True])
def test_a_guess_that_is_not_one_number_per_entry_is_refused(of, binary):
    with pytest.raises(ValueError, match=r"decoder 2: the guess at z \(3, 2, 2\) is .*: expected that shape"):
        Diffusion(no_guess(of), 2, [1.0, -5.0], binary=binary)


def test_a_draw_from_the_top_down_has_the_density_of_a_draw_from_below():
    model, x = chain(6), torch.randn(4, 2)
    from_below = vl.MHVAE(model.encoders, model.decoders)
    latents = model.encode(x, samples=3)
    assert torch.allclose(model.log_posterior(x, latents), from_below.log_posterior(x, latents), atol=1e-9)
    assert torch.allclose(torch.stack(model.log_joint(x, latents)), torch.stack(from_below.log_joint(x, latents)))


# --- The bound --------------------------------------------------------------------------------------------------------


def test_a_rate_is_half_the_step_in_snr_times_the_squared_error():
    model, x = chain(4), torch.randn(5, 2)
    for decoder in model.decoders[1:]:
        decoder.error.zero_()
    latents, posteriors, priors = model.infer(x, samples=7)
    snr = [math.exp(level) for level in model.log_snr]
    for t, (low, high) in enumerate(pairwise(snr[::-1])):
        level = len(snr) - 2 - t
        guess = model.guess(latents[level + 1], torch.tensor(model.log_snr[level + 1]))
        want = 0.5 * (high - low) * (x - guess).pow(2).sum(-1)
        assert torch.allclose(kl_divergence(posteriors[level], priors[level]), want, rtol=1e-8)


@pytest.mark.parametrize("levels", [1, 2, 10])
def test_one_gaussian_dimension_loses_nothing_but_the_top(levels):
    variance = torch.tensor([[1.7]])
    model, x = chain(levels, gaussian(variance), 1), math.sqrt(1.7) * torch.randn(40_000, 1)
    for decoder in model.decoders:  # the exact errors
        decoder.error.fill_(1.7 / (1 + 1.7 * math.exp(decoder.above)))
    abar = 1 / (1 + math.exp(-model.log_snr[-1]))
    top = stats.norm(0, 1)
    marginal = abar * 1.7 + 1 - abar
    lost = 0.5 * (marginal - 1 - math.log(marginal))  # KL(q(z_T) || p(z_T))
    gap = gaussian(variance).log_px(x) - vl.elbo(model(x))
    assert top.std() == 1
    assert abs(gap.mean() - lost) < 4 * gap.std() / 200
    below = gaussian(variance).log_px(x) - vl.elbo(vl.MHVAE(model.encoders, model.decoders)(x))
    assert abs(below.mean() - lost) < 4 * below.std() / 200 + 1e-9


def total_correlations(model: Diffusion) -> list[float]:
    """What each step of a chain for N(0, CORRELATED) loses, by eigenvalues, the last step first; sets exact errors."""
    values = torch.linalg.eigvalsh(CORRELATED)
    lost = []
    for decoder in model.decoders:
        errors = values / (1 + values * math.exp(decoder.above))
        decoder.error.fill_(errors.mean())
        reverse = decoder.step.tau + decoder.step.a**2 * errors
        lost.append((reverse.mean().log() - reverse.log().mean()).item())
    return lost


@pytest.mark.parametrize("levels", [1, 2, 10, 50])
def test_what_a_step_loses_is_the_correlation_that_its_noise_cannot_have(levels):
    model, x = chain(levels), gaussian().sample(20_000)
    lost = sum(total_correlations(model))
    abar = 1 / (1 + math.exp(-model.log_snr[-1]))
    marginal = abar * torch.linalg.eigvalsh(CORRELATED) + 1 - abar
    lost += 0.5 * (marginal - 1 - marginal.log()).sum().item()
    gap = gaussian().log_px(x) - vl.elbo(vl.MHVAE(model.encoders, model.decoders)(x))
    assert abs(gap.mean() - lost) < 4 * gap.std() / math.sqrt(len(x))


def test_more_levels_lose_less():
    steps = [total_correlations(chain(levels)) for levels in (1, 2, 10, 100, 1000)]
    lost = [sum(each) for each in steps]
    assert lost == sorted(lost, reverse=True)
    # As 1 / T, but for the last step, which goes from z_1 to x for every T.
    assert sum(steps[-2][1:]) / sum(steps[-1][1:]) == pytest.approx(10, rel=0.05)


def test_the_measured_error_is_the_best():
    model, x = chain(3, two_points(), 1), two_points().sample(20_000)
    model.measure(x)

    def bound() -> float:
        torch.manual_seed(1)
        return vl.elbo(model(x)).mean().item()

    best = bound()
    for decoder in model.decoders:
        kept = decoder.error.clone()
        for factor in (0.8, 1.25):
            decoder.error.copy_(factor * kept)
            assert bound() < best
        decoder.error.copy_(kept)


def test_errors_are_measured_entry_by_entry():
    variances = torch.tensor([1.0, 0.1])
    data = gaussian(variances.diag())
    model = chain(3, data)
    model.measure(data.sample(20_000))
    for decoder in model.decoders:
        exact = variances / (1 + variances * math.exp(decoder.above))
        assert torch.allclose(decoder.error, exact, rtol=0.05)  # five standard errors, sqrt(2 / 20,000)


@pytest.mark.slow
def test_the_limit_is_the_bound_of_very_many_levels():
    guess, x = two_points(), two_points().sample(4000)
    many = chain(400, guess, 1)
    many.measure(x)
    with torch.no_grad():
        bound = vl.elbo(vl.MHVAE(many.encoders, many.decoders)(x)).mean()
        draws = torch.stack([many.limit(x) for _ in range(60)])
    error = draws.mean(1).std() / math.sqrt(60)
    assert abs(draws.mean() - bound) < 4 * error + 0.02  # 1 / T of what is lost by ten
    assert abs(2 * draws.mean() - bound) > 10 * error


def test_the_limit_is_the_information_in_closed_form_for_gaussian_data():
    model, x = Diffusion(gaussian(torch.tensor([[1.0]])), 1, [3.0, -1.0]), torch.randn(200_000, 1)
    model.decoders[0].error.fill_(1 / (1 + math.exp(3)))
    spread = 0.5 * math.log(2 * math.pi * math.e / (1 + math.exp(3)))  # -E log p(x | z_1)
    information = 0.5 * math.log((1 + math.exp(3)) / (1 + math.exp(-1)))
    top = 0.5 * math.log(1 + math.exp(-1))  # E KL(q(z_T | x) || p(z_T)), for a z_T of variance one
    draws = model.limit(x)
    assert abs(draws.mean() + spread + information + top) < 4 * draws.std() / math.sqrt(len(x))


def test_more_samples_tighten_the_bound():
    model, x = chain(5), gaussian().sample(500)
    model.measure(x)
    assert vl.nll(model, x, samples=50).mean < -vl.elbo(model(x, samples=50)).mean()


# --- The guesses ------------------------------------------------------------------------------------------------------


def test_the_mixture_guess_is_the_mean_of_x_given_z():
    guess, log_snr = two_points(), 0.4
    abar = 1 / (1 + math.exp(-log_snr))

    def joint(x: float, z: float) -> float:
        data = (stats.norm.pdf(x, -1, 0.2) + stats.norm.pdf(x, 2, 0.5)) / 2
        return data * stats.norm.pdf(z, math.sqrt(abar) * x, math.sqrt(1 - abar))

    for z in (-1.3, 0.2, 2.0):
        below, above = (
            integrate.quad(lambda x, power=power, z=z: x**power * joint(x, z), -6, 8, limit=200)[0] for power in (0, 1)
        )
        got = guess(torch.tensor([[z]]), torch.tensor(log_snr)).item()
        assert got == pytest.approx(above / below, abs=1e-7)  # the quadrature's error


def test_the_mixture_knows_its_own_density():
    x = torch.tensor([[-1.1], [0.4], [2.2]])
    want = (stats.norm.pdf(x[:, 0], -1, 0.2) + stats.norm.pdf(x[:, 0], 2, 0.5)) / 2
    assert torch.allclose(two_points().log_px(x).exp(), torch.as_tensor(want), atol=1e-12)
    drawn = two_points().sample(100_000)
    assert abs(drawn.mean() - 0.5) < 4 * drawn.std() / math.sqrt(len(drawn))


def test_a_guess_may_be_asked_about_a_level_of_each_example():
    z, levels = torch.randn(3, 2), torch.tensor([[2.0], [0.0], [-4.0]])
    for guess in (gaussian(), BinaryGuess(2, torch.rand(2), (5,))):
        together = guess(z, levels)
        for row, (one, level) in enumerate(zip(z, levels, strict=True)):
            assert torch.allclose(together[row], guess(one[None], level[0])[0], atol=1e-12)


def test_the_binary_guess_starts_from_the_posterior_of_independent_pixels():
    mean, log_snr = torch.tensor([0.1, 0.6]), torch.tensor(0.3)
    abar, z = torch.sigmoid(log_snr), torch.randn(20, 2)
    ink, none = (
        torch.exp(torch.distributions.Normal(centre, (1 - abar).sqrt()).log_prob(z)) for centre in (abar.sqrt(), 0.0)
    )
    want = mean * ink / (mean * ink + (1 - mean) * none)
    assert torch.allclose(BinaryGuess(2, mean, (5,))(z, log_snr), want, atol=1e-10)


def test_without_signal_the_binary_guess_is_the_mean_within_limits():
    guess = BinaryGuess(3, torch.tensor([0.0, 0.3, 1.0]), (5,))
    nn.init.normal_(guess.head.weight)
    got = guess(torch.randn(4, 3), torch.tensor(-25.0))
    assert torch.allclose(got, torch.tensor([0.001, 0.3, 0.999]).expand(4, 3), atol=1e-4)


# --- As a model -------------------------------------------------------------------------------------------------------


def test_it_trains_like_any_other_model():
    torch.set_default_dtype(torch.float32)
    x = torch.ones(64, 3) * (torch.rand(64, 1) > 0.5)  # three pixels, always alike
    model = Diffusion(BinaryGuess(3, x.mean(0), (16,)), 3, torch.linspace(2, -5, 6), binary=True)
    model.measure(x)
    history = vl.fit(model, x, epochs=60, lr=1e-2, compile=False, progress=False)
    assert history.train[-1].elbo > history.train[0].elbo + 0.3


def test_images_keep_their_shape():
    torch.set_default_dtype(torch.float32)
    model = Diffusion(BinaryGuess(16, torch.rand(16), (8,)), (1, 4, 4), [1.0, -1.0, -5.0], binary=True)
    assert model.sample(3).shape == (3, 1, 4, 4)
    assert model(torch.ones(2, 1, 4, 4), samples=5).log_weights.shape == (5, 2)
    assert model.limit(torch.ones(2, 1, 4, 4)).shape == (2,)
    real = Diffusion(BinaryGuess(16, torch.rand(16), (8,)), (1, 4, 4), [1.0, -5.0])
    assert real.sample(3).shape == (3, 1, 4, 4)


def test_a_model_that_was_saved_is_the_same(tmp_path):
    torch.set_default_dtype(torch.float32)
    made = [
        Diffusion(BinaryGuess(4, torch.full((4,), 0.5), (8,)), 4, torch.linspace(2, -5, 3), binary=True)
        for _ in range(2)
    ]
    x = torch.ones(5, 4)
    made[0].measure(x)
    vl.save(made[0], tmp_path / "model.safetensors")
    vl.load_model(tmp_path / "model.safetensors", into=made[1])
    bounds = []
    for model in made:
        torch.manual_seed(3)
        bounds.append(vl.elbo(model(x)))
    assert torch.equal(*bounds)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Noising(2, 1.0), "alpha is 1.0: expected a number between 0 and 1"),
        (lambda: Noising(2, 0.5, noise=-0.5), "alpha is 0.5: expected a number between 0 and 1"),
        (lambda: Noising(2, float("nan")), "alpha is nan: expected a number between 0 and 1"),
        (lambda: Diffusion(gaussian(), 2, []), "log_snr is []: expected numbers that fall"),
        (lambda: Diffusion(gaussian(), 2, [1.0, 1.0]), "log_snr is [1.0, 1.0]: expected numbers that fall"),
        (lambda: Diffusion(gaussian(), 2, [40.0, 1.0]), "from 30.0 at most to -30.0"),
        (lambda: Diffusion(gaussian(), 3, [1.0, -5.0]), "decoder 2 was tried"),
        (lambda: BinaryGuess(2, torch.tensor([0.5])), "mean has 1 entries: expected 2, one for each of the data"),
        (lambda: BinaryGuess(2, [0.5, 0.5]), "mean is list: expected a floating-point tensor"),
        (lambda: Denoising(gaussian(), "two", 1.0), "event is 'two': expected a positive integer or a shape"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(make, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        make()


def test_a_guess_without_error_has_no_density_at_the_data_and_is_refused():
    """Entries that never change, as the corners of digits."""

    class Corner(nn.Module):
        def forward(self, z, log_snr):
            return torch.cat([torch.full_like(z[..., :1], 0.5), 0 * z[..., 1:]], -1)

    x = torch.randn(50, 2)
    x[:, 0] = 0.5
    with pytest.raises(ValueError, match=r"x is guessed without error in 1 of 2 entries: .* add noise to them"):
        chain(3, Corner()).measure(x)
    x[:, 1], binary = 1.0, Diffusion(Corner(), 2, [1.0, -5.0], binary=True)
    x[:, 0] = 0.0
    binary.measure(x)  # p(x | z_1) is Bernoulli there
    assert binary(x).log_pz.isfinite().all()


class Noisy(nn.Module):
    """A guess that is another while it is trained."""

    def __init__(self):
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(2)

    def forward(self, z, log_snr):
        return self.norm(self.drop(z.flatten(0, -2))).view(z.shape)


def test_errors_are_measured_in_evaluation_mode():
    model, x = chain(3, Noisy()), torch.randn(400, 2)
    model.train()
    torch.manual_seed(1)
    model.measure(x)
    found = [decoder.error.clone() for decoder in model.decoders[1:]]
    assert model.guess.norm.running_mean.tolist() == [0, 0]
    assert all(part.training for part in model.modules())
    model.eval()
    torch.manual_seed(1)
    model.measure(x)
    assert all(a.equal(decoder.error) for a, decoder in zip(found, model.decoders[1:], strict=True))
