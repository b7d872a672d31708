"""Bad inputs over the whole public API: each is one clear error that says what was wrong and what is expected."""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import distributions, nn
from torch.utils.data import TensorDataset

import vaelib as vl
from vaelib import diagnostics, nets, sandwich
from vaelib.exact import LinearGaussian, LinearGaussianChain, grid, ppca
from vaelib.models import LIKELIHOODS
from vaelib.training.step import PlainAdam

EVENT = (1, 4, 4)
QUICK = {"epochs": 1, "progress": False, "device": "cpu"}


def x(batch: int = 6) -> torch.Tensor:
    return torch.zeros(batch, *EVENT)


def vae(likelihood: str = "bernoulli", **options) -> vl.VAE:
    return vl.VAE.mlp(EVENT, 3, (4,), likelihood=likelihood, **options)


def chain(likelihood: str = "bernoulli", **options) -> vl.MHVAE:
    return vl.MHVAE.mlp(EVENT, (3, 2), ((4,), (3,)), likelihood, **options)


def hierarchy(likelihood: str = "bernoulli", **options) -> vl.HVAE:
    return vl.HVAE.mlp(EVENT, (3, 2), ((4,), (3,)), likelihood, **options)


def tiny() -> vl.VAE:
    """One latent number, for grids."""
    return vl.VAE.mlp(EVENT, 1, (3,))


def ladder() -> vl.Ladder:
    return vl.Ladder(16, (3, 2), ((4,), (3,)))


def z() -> torch.Tensor:
    return torch.zeros(2, 6, 3)


def exchanged(prior=None, decoder=None, encoder=None) -> vl.VAE:
    """A VAE that got another part after it was built."""
    model = vae()
    model.prior = prior or model.prior
    model.decoders[0], model.encoders[0] = decoder or model.decoders[0], encoder or model.encoders[0]
    return model


def diffusion() -> vl.diffusion.Diffusion:
    guess = vl.diffusion.BinaryGuess(16, torch.full((16,), 0.5), (8,))
    return vl.diffusion.Diffusion(guess, EVENT, torch.linspace(2, -6, 3), binary=True)


class Flow(nn.Module):
    """N(c W, 1), bent: torch has no mean of it in closed form."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.net = nn.Linear(inputs, outputs)

    def forward(self, condition):
        base = distributions.Independent(distributions.Normal(self.net(condition), 1.0), 1)
        return distributions.TransformedDistribution(base, [distributions.TanhTransform()])


def without_mean() -> vl.VAE:
    return vl.VAE(Flow(4, 3), Flow(3, 4), vl.StandardNormal(3))


def cases(table):
    return [pytest.param(make, says, id=name) for name, make, says in table]


MODELS = [
    ("no such likelihood", lambda: vae("poisson"), "unknown likelihood 'poisson': choose one of bernoulli, cat"),
    ("a likelihood's name in capitals", lambda: vae("Bernoulli"), "unknown likelihood 'Bernoulli'"),
    ("a likelihood that is a number", lambda: chain(3), "unknown likelihood 3"),
    ("no likelihood", lambda: hierarchy(None), "unknown likelihood None"),
    ("an event of nothing", lambda: vl.VAE.mlp(0), "expected an? (positive )?integer or a shape"),
    ("an event without axes", lambda: vl.VAE.mlp(()), r"event is \(\): expected a positive integer or a shape"),
    ("an event with a negative size", lambda: vl.HVAE.mlp((1, -4, 4)), "expected a positive integer or a shape"),
    ("no latents", lambda: vl.VAE.mlp(EVENT, 0), "expected an? (positive )?integer"),
    (
        "no latents at one level",
        lambda: vl.MHVAE.mlp(EVENT, (3, 0), ((4,), (3,))),
        "expected an? (positive )?integer",
    ),
    ("hidden is one number", lambda: vl.VAE.mlp(EVENT, 3, 200), "hidden is 200: expected a sequence of positive layer"),
    ("a layer of nothing", lambda: vl.HVAE.mlp(EVENT, (3, 2), ((4,), (0,))), r"hidden\[0\] is 0: expected an integer"),
    (
        "fewer stacks than levels",
        lambda: vl.MHVAE.mlp(EVENT, (3, 2), ((4,),)),
        "expected one latent size and one tuple",
    ),
    ("no levels", lambda: vl.HVAE.mlp(EVENT, (), ()), "T >= 1"),
    (
        "latents of a hierarchy as one number",
        lambda: vl.HVAE.mlp(EVENT, 3, ((4,),)),
        "expected one latent size and one",
    ),
    ("an unknown norm", lambda: hierarchy(norm="group"), 'norm is \'group\': expected None, "batch" or "layer"'),
    ("no encoder", lambda: vl.VAE(None, vl.Bernoulli(3, EVENT)), "None is no torch module: expected one whose forward"),
    ("a class for a module", lambda: vl.VAE(vl.Gaussian(16, 3), vl.Bernoulli), "is no torch module: expected one"),
    ("a prior of no kind", lambda: vl.HVAE(ladder(), [vl.Bernoulli(5, EVENT), vl.Gaussian(2, 3)], None), "None is no"),
    (
        "one encoder, two decoders",
        lambda: vl.MHVAE([vl.Gaussian(16, 3)], [vl.Bernoulli(3, EVENT), vl.Gaussian(2, 3)]),
        "1 encoders and 2 decoders: expected one of",
    ),
    (
        "a ladder with too few decoders",
        lambda: vl.HVAE(ladder(), [vl.Bernoulli(2, EVENT)], vl.StandardNormal(2)),
        "the encoder returned a list of 2 for 1 decoders: expected a list",
    ),
    (
        "a decoder of another latent size",
        lambda: vl.VAE(vl.Gaussian(16, 3), vl.Bernoulli(4, 16)),
        "decoder 1 takes 4 numbers and is given 3: expected the same",
    ),
    ("one pixel for convolutions", lambda: vl.VAE.conv((1, 1, 1)), "expected a height and width of at least 4"),
    ("a flat event for convolutions", lambda: vl.VAE.conv(784), "event is 784: expected the shape"),
    ("no samples", lambda: vae()(x(), samples=0), "samples is 0: expected an integer of at least 1"),
    ("half a sample", lambda: chain()(x(), samples=2.5), "samples is 2.5: expected an integer of at least 1"),
    ("samples as a word", lambda: hierarchy()(x(), samples="2"), "samples is '2': expected an integer of at least 1"),
    ("no images to draw", lambda: vae().sample(0), "n is 0: expected an integer of at least 1"),
    ("fewer than no images", lambda: hierarchy().sample(-1), "n is -1: expected an integer of at least 1"),
    ("a level above the top", lambda: chain().reconstruct(x(), 3), r"level is 3: expected 1 \(next to the data\) to 2"),
    ("level 0", lambda: hierarchy().decode(torch.zeros(2, 2), level=0), "level is 0: expected 1"),
    ("latents of another size", lambda: vae().decode(torch.zeros(2, 4)), r"\(2, 4\): expected .*z_1 \(\.\.\., 3\)"),
    ("one latent without a batch", lambda: vae().decode(torch.zeros(3)), r"shape \(3,\): expected \(batch, 3\)"),
    ("one level of a hierarchy's two", lambda: hierarchy().decode(torch.zeros(2, 3)), "takes 5 numbers per example"),
    (
        "scoring latents of another size",
        lambda: vae().log_joint(x(), [torch.zeros(2, 6, 4)]),
        r"latents are of shape \(2, 6, 4\): expected the tensors z_1 \(\.\.\., 3\)",
    ),
]

CONDITIONALS = [
    (
        "a condition of another size",
        lambda: vl.Gaussian(16, 2)(torch.zeros(3, 5)),
        "takes 16 numbers per example, got shape",
    ),
    ("a negative scale", lambda: vl.Gaussian(16, 2, scale=-1.0), "scale is -1.0: expected None"),
    (
        "a scale that is not a number",
        lambda: vl.DiscretisedLogistic(16, 2, scale=math.nan),
        "scale is nan: expected None",
    ),
    ("a scale of no kind", lambda: vl.Gaussian(16, 2, scale="learned"), "scale is 'learned': expected None"),
    ("hidden is a word", lambda: vl.Gaussian(16, 2, hidden="ab"), "hidden is 'ab': expected a sequence"),
    ("a fraction of a layer", lambda: vl.Bernoulli(16, 2, hidden=(1.5,)), r"hidden\[0\] is 1.5: expected"),
    ("inputs are a word", lambda: vl.Gaussian("x", 2), "inputs is 'x': expected a positive integer"),
    ("a rank of nothing", lambda: vl.Categorical(16, 2, rank=0), "rank is 0: expected an integer"),
    ("a mean of another shape", lambda: vl.Bernoulli(3, 4, mean=torch.zeros(5)), r"mean has shape \(5,\): expected"),
    ("a mean beyond one", lambda: vl.Bernoulli(3, 4, mean=torch.full((4,), 1.1)), r"expected pixel means in \[0, 1\]"),
    ("a mean of NaN", lambda: vl.Bernoulli(3, 4, mean=torch.full((4,), math.nan)), r"expected pixel means in \[0, 1\]"),
    (
        "a mean for a net",
        lambda: vl.Bernoulli(3, 4, mean=torch.zeros(4), net=nn.Linear(3, 4)),
        "mean is given with a net",
    ),
    (
        "a net of another size",
        lambda: vl.Gaussian(5, 3, net=nn.Linear(5, 5))(torch.zeros(4, 5)),
        "Gaussian needs 6 numbers",
    ),
    ("a prior of nothing", lambda: vl.StandardNormal(0), "event is 0: expected a positive integer"),
]

NETS = [
    ("an unknown norm of a net", lambda: nets.mlp(4, (3,), norm="instance"), "norm is 'instance': expected None"),
    ("a negative layer", lambda: nets.mlp(4, (3, -1)), r"hidden\[1\] is -1: expected an integer"),
    ("an image halved too often", lambda: nets.ConvEncoder((1, 28, 7), 5, (8, 8, 8)), "of at least 8, as each"),
    ("a decoder's narrow image", lambda: nets.ConvDecoder(5, (1, 28, 3)), r"event is \(1, 28, 3\): expected a height"),
    ("no channels", lambda: nets.ConvEncoder((1, 28, 28), 5, ()), r"channels is \(\): expected"),
]

BOUNDS = [
    ("negative free bits", lambda: vl.free_bits(vae()(x()), nats=-1), "nats is -1: expected a finite number"),
    ("free bits of NaN", lambda: vl.free_bits(vae()(x()), nats=math.nan), "nats is nan: expected a finite number"),
    ("endless free bits", lambda: vl.free_bits(vae()(x()), nats=math.inf), "nats is inf: expected a finite number"),
    ("dreg without latents", lambda: vl.dreg(vae()(x())), r"no latents: dreg needs model\(x, samples=K, path=True\)"),
    ("a warm-up over nothing", lambda: vl.warmup(0), "warmup over 0 epochs: expected a positive number"),
    ("an endless warm-up", lambda: vl.warmup(math.inf), "warmup over inf epochs: expected a positive number"),
    ("a cosine over NaN epochs", lambda: vl.cosine(1e-3, math.nan), "epochs=nan.*expected two positive numbers"),
    ("a cosine from below zero", lambda: vl.cosine(-1e-3, 5), "cosine.-0.001.*expected two positive numbers"),
]

EVALUATION = [
    ("nll of no samples", lambda: vl.nll(vae(), x(), samples=0), "samples is 0: expected an integer of at least 1"),
    ("nll of samples as a word", lambda: vl.nll(vae(), x(), samples="5"), "samples is '5': expected an integer"),
    ("nll of bytes", lambda: vl.nll(vae(), x().byte(), 2), "x is uint8: expected floating-point numbers; divide 8-bit"),
    ("nll of no images", lambda: vl.nll(vae(), x(0), 2), "x is empty: expected data with at least one example"),
    ("nll of a number", lambda: vl.nll(vae(), 3, 2), "x is of type int: expected a tensor, an array"),
    ("an unknown data set", lambda: vl.load("cifar"), "no dataset called 'cifar': expected one of binarized_mnist"),
    ("a data set's number", lambda: vl.load(3), "no dataset called 3: expected one of binarized_mnist"),
    ("means of no samples", lambda: diagnostics.posterior_means(vae(), x(), samples=0), "samples is 0: expected"),
    (
        "active units of bytes",
        lambda: diagnostics.active_units(vae(), x().byte()),
        "x is uint8: expected floating-point",
    ),
    ("rates of grey images", lambda: diagnostics.unit_rates(vae(), x() + 0.5), "needs binary data"),
    (
        "rates of dimensions that hang together",
        lambda: diagnostics.unit_rates(LinearGaussianChain.random([2, 2]).model(), torch.zeros(3, 2).double()),
        "level 1 has correlated dimensions",
    ),
    ("surgery of no images", lambda: diagnostics.surgery(vae(), x(0)), "with at least one example"),
    ("a report of no samples", lambda: diagnostics.collapse_report(vae(), x(), samples=0), "samples is 0: expected"),
    (
        "a unit beyond the last",
        lambda: diagnostics.traverse(vae(), torch.zeros(3), 3, [0.0]),
        "unit is 3: expected 0 to 2",
    ),
    (
        "a unit before the first",
        lambda: diagnostics.traverse(vae(), torch.zeros(3), -1, [0.0]),
        "unit is -1: expected 0",
    ),
    (
        "a traversal of no level",
        lambda: diagnostics.traverse(vae(), torch.zeros(3), 0, [0.0], 2),
        "level is 2: expected 1",
    ),
    (
        "a line of one point",
        lambda: diagnostics.lerp(torch.zeros(3), torch.ones(3), 1),
        "steps is 1: expected an integer of at least 2",
    ),
    ("an arc from the origin", lambda: diagnostics.slerp(torch.zeros(3), torch.ones(3), 3), "no direction: use lerp"),
    ("an arc to the antipode", lambda: diagnostics.slerp(-torch.ones(3), torch.ones(3), 3), "no one arc between them"),
    ("a limit of grey levels", lambda: diffusion().limit(x() + 200), r"outside \{0, 1\} \(min 200, max 200\)"),
    ("no neighbour", lambda: diagnostics.nearest(x(), x(), 0), "k is 0: expected an integer of at least 1"),
    ("more neighbours than images", lambda: diagnostics.nearest(x(), x(), 7), "k=7: expected images of one shape"),
    ("neighbours of another shape", lambda: diagnostics.nearest(x(), x()[..., :2]), "expected images of one shape"),
    ("no chains", lambda: sandwich.ais(vae(), x(), chains=0), "chains is 0: expected an integer of at least 1"),
    ("no annealing steps", lambda: sandwich.ais(vae(), x(), steps=0), "steps is 0: expected an integer of at least 1"),
    ("half a leapfrog", lambda: sandwich.ais(vae(), x(), leapfrog=0.5), "leapfrog is 0.5: expected an integer"),
    ("annealing with grey images", lambda: sandwich.ais(vae(), x() + 0.5), "needs binary data"),
    ("a sandwich of nothing", lambda: sandwich.bdmc(vae(), n=0), "n is 0: expected an integer of at least 1"),
]

EXACT = [
    ("a chain of nothing", lambda: LinearGaussianChain([], None), "a chain needs at least one decoder"),
    ("a chain without latents", lambda: LinearGaussianChain.random([3]), "sizes are \\[3\\]: expected"),
    (
        "a bias of another size",
        lambda: LinearGaussian(torch.zeros(2, 3), torch.zeros(3), torch.eye(2)),
        r"bias \(3,\).*expected \(size, inputs\), \(size,\) and \(size, size\)",
    ),
    ("the chain of a bent model", lambda: LinearGaussianChain.of(vae("gaussian")), r"not linear: expected Gaussian\("),
    ("the chain of a Bernoulli model", lambda: LinearGaussianChain.of(vae()), r"decoder 1 is not linear: expected"),
    ("pPCA of a vector", lambda: ppca(torch.zeros(5), 1), r"x \(5,\), latent 1: expected finite x of shape \(N, D\)"),
    ("pPCA with as many latents as data", lambda: ppca(torch.randn(5, 3), 3), "latent 3: expected .* latent < D"),
    ("pPCA without noise", lambda: ppca(torch.randn(5, 3), 1, sigma=0), "sigma is 0: expected a positive number"),
    ("pPCA of constant data", lambda: ppca(torch.zeros(5, 3), 1), "the data may lie in 1 dimensions"),
    ("a grid over three latents", lambda: grid(vae(), x()), r"\[3\] latents: a grid is for one or two numbers"),
    ("a grid for grey images", lambda: grid(tiny(), x() + 0.5), "needs binary data"),
    (
        "a table's bound of no samples",
        lambda: grid(tiny(), x(), points=11).iwae(0),
        "samples is 0: expected an integer of at least 1",
    ),
]

TABLE = [*MODELS, *CONDITIONALS, *NETS, *BOUNDS, *EVALUATION, *EXACT]


@pytest.mark.parametrize(("make", "says"), cases(TABLE))
def test_bad_arguments_are_one_clear_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_the_table_has_no_two_rows_alike():
    assert len({name for name, _, _ in TABLE}) == len(TABLE) >= 60


# Data that a likelihood cannot score, at every door of every model.

OFF = {  # a value that this likelihood has no probability for, and what is said about it
    "bernoulli": (0.5, r"outside \{0, 1\} \(min 0, max 0.5\).*needs binary data"),
    "categorical": (0.5, r"not one of the 256 grey levels k / 255 \(min 0, max 0.5\): divide 8-bit images by 255"),
    "continuous_bernoulli": (1.2, r"outside the likelihood's support.*\(min 0, max 1.2\)"),
    "discretised_logistic": (-1 / 255, r"not one of the 256 grey levels k / 255 \(min -0.003922, max 0\)"),
}


def with_one(value: float) -> torch.Tensor:
    data = x()
    data[5, 0, 3, 3] = value  # the last entry of the last example
    return data


def bad_data(likelihood: str):
    yield "bytes", x().byte(), "uint8: expected .*divide 8-bit images by 255"
    yield "integers", x().long(), "int64: expected"
    yield "truth values", x().bool(), "bool: expected"
    yield "complex numbers", x().to(torch.complex64), "complex64: expected"
    yield "NaN", with_one(math.nan), "NaN or infinite: remove or repair"
    yield "infinity", with_one(-math.inf), "NaN or infinite: remove or repair"
    yield "nothing", x(0), "with at least one example"
    yield "one image alone", x()[0, 0, 0], r"x has shape \(4,\): expected a batch"
    yield "rows of pixels", x().flatten(1), r"x has shape \(6, 16\): expected a batch of shape \(1, 4, 4\)"
    yield "no channel", x()[:, 0], r"x has shape \(6, 4, 4\): expected a batch of shape \(1, 4, 4\)"
    yield "a list", [0.0], "(list|float): expected"
    yield "none", None, "NoneType: expected"
    yield "a word", "mnist", "(str|'mnist'): expected"
    if likelihood in OFF:
        value, says = OFF[likelihood]
        yield "off the support", with_one(value), says
        yield "bytes as numbers", with_one(255.0), "max 255"


DATA = [
    pytest.param(likelihood, bad, says, id=f"{likelihood}-{name}")
    for likelihood in sorted(LIKELIHOODS)
    for name, bad, says in bad_data(likelihood)
]
DOORS = {
    "forward": lambda model, bad: model(bad),
    "encode": lambda model, bad: model.encode(bad),
    "reconstruct": lambda model, bad: model.reconstruct(bad),
    "nll": lambda model, bad: vl.nll(model, bad, samples=2),
    "surgery": lambda model, bad: diagnostics.surgery(model, bad, samples=4),
    "unit_rates": lambda model, bad: diagnostics.unit_rates(model, bad),
}


@pytest.mark.parametrize(("likelihood", "bad", "says"), DATA)
@pytest.mark.parametrize("make", [vae, chain, hierarchy])
def test_bad_data_are_one_clear_error_at_every_door(make, likelihood, bad, says):
    model = make(likelihood)
    for door in DOORS.values():
        with pytest.raises(ValueError, match=says):
            door(model, bad)


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
@pytest.mark.parametrize("make", [vae, chain, hierarchy])
def test_good_data_pass_the_same_doors(make, likelihood):
    for door in DOORS.values():
        door(make(likelihood), with_one(1.0))


def test_a_gaussian_likelihood_takes_any_finite_number():
    assert "gaussian" not in OFF
    assert torch.isfinite(vae("gaussian")(with_one(-1e3)).log_px).all()


# fit refuses before it has taken a step.


@pytest.fixture
def steps(monkeypatch):
    """Counts the optimiser's steps."""
    taken = []
    step = PlainAdam.step
    monkeypatch.setattr(PlainAdam, "step", lambda self, *args: (taken.append(1), step(self, *args))[1])
    return taken


FIT = [
    ({"epochs": 0}, "epochs is 0: expected an integer of at least 1"),
    ({"epochs": 1.5}, "epochs is 1.5: expected an integer of at least 1"),
    ({"epochs": True}, "epochs is True: expected an integer of at least 1"),
    ({"epochs": "3"}, "epochs is '3': expected an integer of at least 1"),
    ({"epochs": None}, "epochs is None: expected an integer of at least 1"),
    ({"batch_size": 0}, "batch_size is 0: expected an integer of at least 1"),
    ({"batch_size": 3.0}, "batch_size is 3.0: expected an integer of at least 1"),
    ({"samples": -2}, "samples is -2: expected an integer of at least 1"),
    ({"samples": 1.0}, "samples is 1.0: expected an integer of at least 1"),
    ({"lr": math.nan}, "lr is nan: expected a finite number of at least 0, or a schedule"),
    ({"lr": -1e-3}, "lr is -0.001: expected a finite number of at least 0, or a schedule"),
    ({"lr": math.inf}, "lr is inf: expected a finite number of at least 0, or a schedule"),
    ({"beta": -1.0}, "beta is -1.0: expected a finite number of at least 0, or a schedule"),
    ({"beta": math.nan}, "beta is nan: expected a finite number of at least 0, or a schedule"),
    ({"device": "gpu"}, "device is 'gpu': expected"),
    ({"device": 3}, "device is 3: expected|device is .*expected"),
    ({"objective": functools.partial(vl.free_bits, nats=-1)}, "nats is -1: expected a finite number"),
    ({"transform": lambda data: None}, "x is NoneType: expected a floating-point tensor"),
    ({"transform": lambda data: data + 0.5}, "needs binary data"),
    ({"transform": lambda data: data.long()}, "torch.int64: expected"),
    ({"transform": lambda data: data[:, :, :2]}, r"x has shape \(6, 1, 2, 4\): expected"),
    ({"transform": torch.bernoulli, "train": x() + 1.5}, r"train has values outside \[0, 1\] \(min 1.5, max 1.5\)"),
    ({"transform": torch.bernoulli, "valid": x() - 0.5}, r"valid has values outside \[0, 1\] \(min -0.5, max -0.5\)"),
    ({"transform": vl.binarise, "train": x() + 1.5}, r"train has values outside \[0, 1\] \(min 1.5, max 1.5\)"),
    ({"transform": vl.binarise, "valid": with_one(math.nan)}, "NaN: dynamic binarisation needs"),
    (
        {"train": TensorDataset(x().byte())},
        "example 0 of train is uint8: expected floating-point numbers; divide 8-bit images",
    ),
    ({"train": np.zeros((3, *EVENT), dtype=np.int64)}, "train is int64: expected floating-point"),
    ({"train": [x()]}, r"x has shape \(1, 6, 1, 4, 4\): expected a batch of shape \(1, 4, 4\) per example"),
    ({"train": None}, "train is of type NoneType: expected"),
    ({"train": x() + 0.5}, r"outside \{0, 1\} .*pass transform=vl.binarise"),
    ({"train": x(0)}, "with at least one example"),
    ({"train": x()[:, 0]}, r"x has shape \(6, 4, 4\): expected a batch of shape"),
    ({"train": with_one(math.nan)}, "NaN or infinite: remove or repair"),
    ({"valid": x(0)}, "with at least one example"),
    ({"valid": x() + 0.5}, "needs binary data"),
    ({"valid": 3}, "valid is of type int: expected"),
]


@pytest.mark.parametrize(("options", "says"), FIT)
def test_fit_refuses_before_the_first_step(options, says, steps):
    model = vae()
    before = copy.deepcopy(model.state_dict())
    seen = []
    if "objective" not in options:  # an objective speaks up when it first sees terms, which is before the step
        model.register_forward_hook(lambda *args: seen.append(1))
    with pytest.raises(ValueError, match=says):
        vl.fit(model, **{"train": x(), **QUICK, **options})
    assert not steps
    assert not seen
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_the_counter_of_steps_counts(steps):
    vl.fit(vae(), x(), batch_size=3, **QUICK)
    assert len(steps) == 2


def test_a_diverging_run_is_a_floating_point_error():
    with pytest.raises(
        FloatingPointError, match=r"training diverged in epoch 2, step . of .: the loss is .*; lower lr"
    ):
        vl.fit(vae(), x(), lr=1e30, **{**QUICK, "epochs": 5})


@pytest.mark.parametrize("door", DOORS)
def test_a_refusal_leaves_the_callers_random_numbers_alone(door):
    model = vae()
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="needs binary data"):
        DOORS[door](model, x() + 0.5)
    assert torch.equal(torch.rand(3), want)


# More of the kind, found by trying.


def fit(**options):
    return vl.fit(options.pop("model", None) or vae(), **{"train": x(), **QUICK, **options})


def custom(*decoders, prior: int = 2) -> vl.HVAE:
    return vl.HVAE(ladder(), list(decoders), vl.StandardNormal(prior))


PIXELS = vl.Bernoulli(5, EVENT)

REFUSED = [
    pytest.param(lambda: vae().decode(torch.zeros(2, 3).double()), id="decode: float64 latents"),
    pytest.param(lambda: vae().log_posterior(x(), [torch.zeros(2, 6, 4)]), id="log_posterior: another size"),
    pytest.param(lambda: fit(model=vae(norm="batch"), batch_size=5), id="fit: a last batch of one to normalise by"),
    pytest.param(lambda: fit(model=vae(norm="batch"), batch_size=1), id="fit: batches of one to normalise by"),
    pytest.param(lambda: chain().log_joint(x(), [torch.zeros(2, 6, 3)]), id="log_joint: a level is missing"),
    pytest.param(lambda: vae().log_joint(x(), torch.zeros(2, 6, 3)), id="log_joint: a tensor for a list"),
    pytest.param(lambda: vae("gaussian", mean=torch.zeros(EVENT)), id="a mean for a Gaussian"),
    pytest.param(lambda: vae()(x().double()), id="float64 data for a float32 model"),
    pytest.param(lambda: hierarchy()(x()[:, :, :3]), id="a general hierarchy and images of another size"),
    pytest.param(lambda: fit(train=TensorDataset(x(0))), id="fit: a data set without items"),
    pytest.param(lambda: fit(train=np.array(["a"])), id="fit: an array of words"),
    pytest.param(lambda: vl.nll(nn.Linear(3, 3), x(), 2), id="nll: a module that is no hierarchy"),
    pytest.param(lambda: fit(model=nn.Linear(3, 3)), id="fit: a module that is no hierarchy"),
    pytest.param(lambda: fit(beta="a"), id="fit: beta is a word"),
    pytest.param(lambda: fit(beta=None), id="fit: beta is none"),
    pytest.param(lambda: fit(lr="fast"), id="fit: lr is a word"),
    pytest.param(lambda: fit(lr=True), id="fit: lr is True"),
    pytest.param(lambda: fit(objective=3), id="fit: objective is a number"),
    pytest.param(lambda: fit(objective="elbo"), id="fit: objective is a word"),
    pytest.param(lambda: fit(objective=vl.free_bits), id="fit: an objective without its nats"),
    pytest.param(lambda: fit(objective=lambda t, b: vl.elbo(t, b).sum()), id="fit: an objective of a scalar"),
    pytest.param(lambda: fit(objective=lambda t, b: t.log_weights), id="fit: an objective of (K, B)"),
    pytest.param(lambda: fit(objective=lambda t, b: None), id="fit: an objective of nothing"),
    pytest.param(lambda: fit(transform=3), id="fit: transform is a number"),
    pytest.param(lambda: fit(transform=lambda data: data[:2]), id="fit: transform drops images"),
    pytest.param(lambda: fit(lr=lambda epoch: math.nan), id="fit: a schedule to NaN"),
    pytest.param(lambda: fit(lr=lambda epoch: -1.0 if epoch else 0.1, epochs=2), id="fit: a schedule to below zero"),
    pytest.param(lambda: fit(seed=None), id="fit: seed is none"),
    pytest.param(lambda: fit(device=None), id="fit: device is none"),
    pytest.param(lambda: vae()(x(), samples=True), id="samples is True"),
    pytest.param(lambda: vae().encode(x(), samples=0), id="encode: no samples"),
    pytest.param(lambda: vae().encode(x(), samples=1.5), id="encode: half a sample"),
    pytest.param(lambda: vae().sample("3"), id="sample: a word"),
    pytest.param(lambda: vae().sample(2.5), id="sample: a fraction"),
    pytest.param(lambda: vae().decode("z"), id="decode: a word"),
    pytest.param(lambda: vae().decode([]), id="decode: no latents"),
    pytest.param(lambda: vae().decode(torch.zeros(2, 3).long()), id="decode: integers"),
    pytest.param(lambda: vae().decode(torch.zeros(2, 3), level="1"), id="decode: level is a word"),
    pytest.param(lambda: vl.VAE(vl.Gaussian(16, 3), PIXELS, vl.StandardNormal(1)), id="a prior of another size"),
    pytest.param(lambda: vl.VAE.mlp(EVENT, (3, 2)), id="a latent with two axes"),
    pytest.param(lambda: vl.VAE(vl.Bernoulli(16, 3), PIXELS)(x()), id="an encoder that cannot be differentiated"),
    pytest.param(lambda: custom(vl.Bernoulli(4, EVENT), vl.Gaussian(2, 3)), id="HVAE: a decoder of too few latents"),
    pytest.param(lambda: custom(PIXELS, vl.Gaussian(2, 1)), id="HVAE: a decoder to another size"),
    pytest.param(lambda: custom(PIXELS, vl.Bernoulli(2, 3)), id="HVAE: a Bernoulli among the latents"),
    pytest.param(lambda: custom(PIXELS, vl.Gaussian(2, 3), prior=3), id="HVAE: a prior of another size"),
    pytest.param(lambda: vl.HVAE.mlp(EVENT, (3, 2), ((4,), ())), id="HVAE: no hidden layers"),
    pytest.param(lambda: vl.Ladder(16, (3,), ((4,), (3,))), id="a ladder with a stack too many"),
    pytest.param(lambda: vl.MHVAE(vl.Gaussian(16, 3), PIXELS), id="MHVAE: modules outside lists"),
    pytest.param(lambda: vl.VAE.mlp("images"), id="an event that is a word"),
    pytest.param(lambda: chain().reconstruct(x(), 1.5), id="a level between two"),
    pytest.param(lambda: vl.Gaussian(16, None), id="an event of None"),
    pytest.param(lambda: vl.Gaussian(16.0, 2), id="inputs of 16.0"),
    pytest.param(lambda: vl.Gaussian(16, 2, hidden=None), id="hidden is none"),
    pytest.param(lambda: vl.Gaussian(16, 2, scale=True), id="scale is True"),
    pytest.param(lambda: vl.Gaussian(16, 2, activation="tanh"), id="an activation's name"),
    pytest.param(lambda: vl.Gaussian(16, 2, activation=nn.Tanh()), id="an activation already made"),
    pytest.param(lambda: vl.Gaussian(16, 2, activation=torch.tanh), id="an activation's function"),
    pytest.param(lambda: vl.Gaussian(16, 2, net=lambda z: z), id="a net that is no module"),
    pytest.param(lambda: vl.Gaussian(16, 2, net=nn.Linear(16, 4), norm="layer"), id="a norm for a net"),
    pytest.param(lambda: vl.Bernoulli(16, 2, mean=0.5), id="a mean that is a number"),
    pytest.param(lambda: vl.Categorical(16, 2, rank=(2, 3)), id="a rank with two sizes"),
    pytest.param(lambda: vl.Gaussian(16, 2)("a"), id="a condition that is a word"),
    pytest.param(lambda: vl.Gaussian(16, 2)(torch.zeros(3, 16).long()), id="a condition of integers"),
    pytest.param(lambda: nets.mlp(0, (3,)), id="mlp: no inputs"),
    pytest.param(lambda: nets.mlp(-1, (3,)), id="mlp: fewer than no inputs"),
    pytest.param(lambda: nets.ConvEncoder((1, 8, 8), 0), id="conv_encoder: no outputs"),
    pytest.param(lambda: nets.ConvEncoder((1, 8, 8), 3, (0,)), id="conv_encoder: no channel"),
    pytest.param(lambda: nets.ConvEncoder((1, 0, 0), 3), id="conv_encoder: an image of no size"),
    pytest.param(lambda: nets.ConvEncoder((1, -8, 8), 3), id="conv_encoder: a negative height"),
    pytest.param(lambda: vl.VAE.conv((1, 8, 8), 2, 4), id="conv: channels as one number"),
    pytest.param(lambda: vl.VAE.conv(None), id="conv: an event of None"),
    pytest.param(lambda: vl.free_bits(vae()(x()), nats="a"), id="free bits as a word"),
    pytest.param(lambda: vl.warmup("a"), id="a warm-up over a word"),
    pytest.param(lambda: vl.cosine(0.001, None), id="a cosine over None"),
    pytest.param(lambda: vl.nll(vae(), x(), samples=True), id="nll: samples is True"),
    pytest.param(lambda: vl.load(["mnist"]), id="load: a list"),
    pytest.param(lambda: diagnostics.active_units(vae(), x(), threshold=-1), id="active units: a threshold below 0"),
    pytest.param(lambda: diagnostics.active_units(vae(), x(), threshold=math.nan), id="active units: threshold NaN"),
    pytest.param(lambda: diagnostics.active_units(vae(), x(1)), id="active units: one image"),
    pytest.param(lambda: diagnostics.surgery(vae(), x(), samples=0), id="surgery: no samples"),
    pytest.param(lambda: diagnostics.surgery(vae(), x(), samples=1), id="surgery: one sample"),
    pytest.param(lambda: diagnostics.surgery(vae(), x(), samples=2.5), id="surgery: half a sample"),
    pytest.param(lambda: diagnostics.traverse(vae(), torch.zeros(3), 0, []), id="traverse: no values"),
    pytest.param(lambda: diagnostics.traverse(vae(), torch.zeros(3), 1.5, [0.0]), id="traverse: half a unit"),
    pytest.param(lambda: diagnostics.traverse(vae(), [], 0, [0.0]), id="traverse: no latents"),
    pytest.param(lambda: diagnostics.traverse(vae(), torch.zeros(2, 3), 0, [0.0, 1.0]), id="traverse: two latents"),
    pytest.param(lambda: diagnostics.lerp(torch.zeros(3), torch.ones(4), 3), id="lerp: two sizes"),
    pytest.param(lambda: diagnostics.lerp(torch.zeros(3), torch.ones(3), 2.5), id="lerp: 2.5 steps"),
    pytest.param(lambda: diagnostics.lerp(torch.tensor([0, 10]), torch.tensor([10, 0]), 5), id="lerp: whole numbers"),
    pytest.param(lambda: diagnostics.lerp(torch.zeros(2), torch.tensor([1, 2]), 5), id="lerp: one end of them"),
    pytest.param(lambda: diagnostics.slerp(torch.tensor([0, 1]), torch.tensor([1, 0]), 3), id="slerp: whole numbers"),
    pytest.param(lambda: diagnostics.nearest(x(), x(), 1.5), id="nearest: 1.5 neighbours"),
    pytest.param(lambda: diagnostics.nearest(x().byte(), x().byte()), id="nearest: grey levels from 0 to 255"),
    pytest.param(lambda: exchanged(prior=vl.MixturePrior(1, 3))(x()), id="a prior of one latent in place of three"),
    pytest.param(lambda: exchanged(prior=vl.MixturePrior(4, 3))(x()), id="a prior of four"),
    pytest.param(lambda: exchanged(decoder=vl.Bernoulli(3, 4, (4,)))(x()), id="a decoder of four pixels, a row"),
    pytest.param(lambda: exchanged(decoder=vl.Bernoulli(3, 1, (4,))).log_joint(x(), [z()]), id="a decoder of one"),
    pytest.param(lambda: exchanged(encoder=vl.Gaussian(16, 1, (4,))).log_posterior(x(), [z()]), id="an encoder of one"),
    pytest.param(lambda: vl.elbo(vae()(x()), torch.ones(6, 1)), id="elbo: beta as a column"),
    pytest.param(lambda: vl.iwae(vae()(x(), samples=4), torch.ones(4)), id="iwae: beta for each sample"),
    pytest.param(lambda: vl.free_bits(chain()(x()), torch.ones(2), nats=0.1), id="free bits: beta for each level"),
    pytest.param(lambda: chain("gaussian", scale=0.1), id="mlp: a scale, of the encoders too"),
    pytest.param(lambda: vae(scale=0.1), id="mlp: a scale of a Bernoulli"),
    pytest.param(lambda: hierarchy(net=nn.Identity()), id="mlp: a network of one's own"),
    pytest.param(lambda: fit(optimizer=lambda w: None), id="fit: an optimizer that is none"),
    pytest.param(lambda: fit(optimizer=lambda w: torch.optim.LBFGS(w)), id="fit: LBFGS"),
    pytest.param(lambda: fit(optimizer=lambda w: PlainAdam(list(vae().parameters()))), id="fit: weights of another"),
    pytest.param(lambda: diffusion().limit(x()[..., :1]), id="limit: a column of each image"),
    pytest.param(lambda: vl.diffusion.BinaryGuess(16, torch.zeros(16), ()), id="a guess without layers"),
    pytest.param(lambda: diagnostics.traverse(vae(), torch.zeros(3), 0, 3.0), id="traverse: one number"),
    pytest.param(lambda: diagnostics.traverse(vae(), torch.zeros(3), 0, torch.zeros(3, 1)), id="traverse: a column"),
    pytest.param(lambda: vae().log_joint(x(5), [z()]), id="log_joint: latents of six for five"),
    pytest.param(lambda: chain().log_posterior(x(), [z(), torch.zeros(3, 6, 2)]), id="log_posterior: two and three"),
    pytest.param(lambda: hierarchy().decode([torch.zeros(2, 3), torch.zeros(3, 2)]), id="decode: two and three"),
    pytest.param(lambda: without_mean().sample(2, mean=True), id="sample: a mean that torch lacks"),
    pytest.param(lambda: without_mean().reconstruct(torch.zeros(2, 4)), id="reconstruct: a mean that torch lacks"),
    pytest.param(lambda: diffusion().limit(x(0)), id="limit: no data"),
    pytest.param(lambda: diffusion().limit(x().double()), id="limit: in double precision"),
    pytest.param(lambda: sandwich.ais(vae(), x(), chains=True, steps=2), id="ais: chains is True"),
    pytest.param(lambda: LinearGaussianChain.random([3, 0]), id="chain: a size of nothing"),
    pytest.param(lambda: LinearGaussianChain.random([]), id="chain: no sizes"),
    pytest.param(lambda: LinearGaussianChain.random([3, 2]).log_px(torch.zeros(4, 2)), id="chain: x of another size"),
    pytest.param(lambda: LinearGaussian(torch.zeros(2), torch.zeros(2), torch.eye(2)), id="a weight without rows"),
    pytest.param(lambda: ppca(torch.randn(5, 3), 1.5), id="pPCA: half a latent"),
    pytest.param(lambda: ppca(torch.full((5, 3), math.nan), 1), id="pPCA: NaN"),
    pytest.param(lambda: ppca(torch.zeros(0, 3), 1), id="pPCA: no data"),
    pytest.param(lambda: grid(tiny(), x(), points=1), id="grid: one point"),
    pytest.param(lambda: grid(tiny(), x(), limit=0.0), id="grid: a limit of 0"),
    pytest.param(lambda: grid(tiny(), x(), limit=math.nan), id="grid: a limit of NaN"),
    pytest.param(lambda: grid(tiny(), x(), points=11).iwae(2.5), id="grid: 2.5 samples"),
]


@pytest.mark.parametrize("make", REFUSED)
def test_these_bad_inputs_too_are_one_clear_error(make):
    with pytest.raises(ValueError, match=": expected"):
        make()


def test_a_refusal_leaves_the_training_mode_alone():
    model = vae().train()
    with pytest.raises(ValueError, match="x has shape"):
        model(x()[:, :, :3])
    assert model.training


def test_a_loss_of_nan_in_the_last_epoch_is_a_floating_point_error():
    with pytest.raises(FloatingPointError, match="diverged in epoch 1"):
        fit(objective=lambda terms, beta: vl.elbo(terms, beta) * math.nan)


def test_a_schedule_that_turns_into_nan_stops_the_training():
    with pytest.raises(ValueError, match=r"beta is nan at epoch 0\.000: expected a finite number"):
        fit(beta=lambda epoch: math.nan)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(1), 1])
def test_numbers_of_numpy_are_numbers(number):
    assert len(fit(beta=number, lr=number).train) == 1
