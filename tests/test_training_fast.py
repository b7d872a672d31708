from functools import partial

import pytest
import torch
from torch import nn

import vaelib as vl
from vaelib.training import fast as steps
from vaelib.training import loop as train

QUICK = {"progress": False, "device": "cpu", "batch_size": 20, "lr": 1e-2}


@pytest.fixture(autouse=True)
def record_soon(monkeypatch):
    monkeypatch.setattr(steps, "RECORD_FROM", 5)


def images(n: int = 90) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def chain(**options) -> vl.MHVAE:
    return vl.MHVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)), **options)


def shared_scale() -> vl.VAE:
    return vl.VAE(vl.Gaussian(16, 1, (8,)), vl.Gaussian(1, (1, 4, 4), (8,), scale="shared"))


def trained(make, compile, objective=vl.elbo, **options) -> tuple[vl.Hierarchy, vl.History]:
    torch.manual_seed(0)
    model = make()
    options = {"transform": torch.bernoulli, "epochs": 4, "beta": vl.warmup(2), **options}
    return model, vl.fit(model, images(), objective=objective, compile=compile, **QUICK, **options)


def same(a: vl.Hierarchy, b: vl.Hierarchy) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (chain, {}),
        (lambda: chain(norm="batch"), {}),
        (lambda: chain(norm="layer", gated=True), {"objective": vl.iwae, "samples": 3}),
        (chain, {"objective": vl.dreg, "samples": 3}),
        (chain, {"objective": partial(vl.free_bits, nats=0.5)}),
        (lambda: vl.HVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,))), {}),
        (lambda: vl.VAE.conv((1, 4, 4), 2, channels=(4,)), {}),
        (lambda: chain(likelihood="continuous_bernoulli"), {"transform": None}),
        (
            lambda: vl.VAE(vl.Gaussian(16, 1, (8,)), vl.Gaussian(1, (1, 4, 4), (8,), scale="shared")),
            {"transform": None},
        ),
    ],
)
def test_a_recorded_step_is_the_plain_step_bit_for_bit(make, options, monkeypatch):
    plain, want = trained(make, False, **options)
    records = []
    record = steps.Step._record
    monkeypatch.setattr(steps.Step, "_record", lambda self, *a: records.append(1) or record(self, *a))
    recorded, got = trained(make, "auto", **options)
    assert records == [1]  # once, for the batches of 20; the last ones of 10 are run as they stand
    assert same(plain, recorded)
    assert want.train == got.train


def test_a_recorded_step_follows_the_data_and_beta():
    """What a record must not hold fast: another batch, another beta, other weights change the result."""
    model = chain()
    step = steps.Step(model, vl.elbo, 1, 100, "auto", "auto")
    x, y = torch.bernoulli(images(20)), torch.bernoulli(images(40)[20:])

    def at(x, beta):
        torch.manual_seed(3)
        want = step.gradients(x, beta, 20)
        torch.manual_seed(3)
        loss, totals = step(x, 0.0, beta, 20)
        assert torch.equal(loss, want.loss)
        assert torch.equal(totals, want.totals)
        return loss.item()

    first = at(x, 1.0)
    assert len(step.recorded) == 1
    assert len({first, at(y, 1.0), at(x, 0.5)}) == 3
    with torch.no_grad():
        model.decoders[0].heads[0].bias += 1
    assert at(x, 1.0) != first


def test_a_recorded_step_follows_the_learning_rate():
    moved = []
    for lr in (0.0, 1e-3, 1e-2):
        torch.manual_seed(0)
        model = chain()
        step = steps.Step(model, vl.elbo, 1, 100, "auto", "auto")
        before = model.decoders[0].heads[0].bias.detach().clone()
        step(torch.bernoulli(images(20)), lr, 1.0, 20)
        assert len(step.recorded) == 1
        moved.append((model.decoders[0].heads[0].bias - before).abs().max().item())
    assert moved == pytest.approx([0.0, 1e-3, 1e-2], rel=1e-3)  # the first step of Adam is as long as lr


@pytest.mark.parametrize("how", ["auto", True], ids=["recorded", "compiled"])
def test_recording_takes_no_step(how):
    """It runs the step to see what it does; weights, Adam's state and random numbers are as before."""
    torch.manual_seed(0)
    model = chain(norm="batch")
    step = steps.Step(model, vl.elbo, 1, 100, how, "auto")
    tensors = [*model.state_dict().values(), *(tensor for of in step.adam.state.values() for tensor in of)]
    before, random = [tensor.clone() for tensor in tensors], torch.get_rng_state()
    x = torch.bernoulli(images(20), generator=torch.Generator().manual_seed(1))
    program = step._record(x, 20)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    step.lr.fill_(1e-3)
    program(x)
    assert not torch.equal(before[0], tensors[0])
    assert step.adam.state["step"][0] == 1


@pytest.mark.parametrize("how", [False, "auto", True], ids=["plain", "recorded", "compiled"])
def test_another_layout_is_another_record(how):
    """A compiled program takes the order of the pixels in memory for granted."""
    step = steps.Step(chain(), vl.elbo, 1, 100, how, "auto")
    x = torch.bernoulli(images(20))
    turned = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)  # the same numbers, stored in another order
    losses = []
    for batch in (x, turned):
        torch.manual_seed(3)
        losses.append(step(batch, 0.0, 1.0, 20)[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(step.recorded) == (2 if how else 0)


@pytest.mark.parametrize("update", ["step", "written_out"])
def test_adam_is_that_of_torch(update):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((5, 3), (3,), ())]
    ours, theirs = [w.clone() for w in start], [w.clone().requires_grad_() for w in start]
    adam, optimiser = steps.Adam(ours), torch.optim.Adam(theirs, lr=1.0, fused=True)
    for number in range(20):
        gradients = [torch.randn(w.shape, generator=generator) * 10 ** (number % 5 - 3) for w in start]
        lr = 0.01 * (number + 1)
        getattr(adam, update)(gradients, torch.tensor(lr, dtype=torch.float64))
        optimiser.param_groups[0]["lr"] = lr
        for weight, gradient in zip(theirs, gradients, strict=True):
            weight.grad = gradient
        optimiser.step()
    state = optimiser.state_dict()["state"]
    pairs = list(zip(ours, theirs, strict=True))
    pairs += [(mine[i], state[i][name]) for name, mine in adam.state.items() for i in range(len(mine))]
    for mine, other in pairs:
        if update == "step":
            assert torch.equal(mine, other)
        torch.testing.assert_close(mine, other.detach(), rtol=2e-6, atol=1e-6)
    assert adam.state["step"][0] == 20


def test_short_trainings_and_code_of_another_origin_are_not_recorded(monkeypatch):
    monkeypatch.setattr(steps.Step, "_record", lambda *a: pytest.fail("recorded"))

    class Loud(nn.Tanh):
        """A module that does more than call tensor operations."""

    def hooked():
        model = chain()
        model.decoders[0].register_forward_hook(lambda *args: None)
        return model

    trained(lambda: chain(activation=Loud), "auto")
    trained(hooked, "auto")
    trained(chain, "auto", objective=lambda terms, beta: vl.elbo(terms, beta))
    trained(chain, False)
    monkeypatch.setattr(steps, "RECORD_FROM", 1000)
    trained(chain, "auto")


def test_a_step_that_cannot_be_recorded_is_run_as_it_stands(monkeypatch, capsys):
    class Picky(nn.Tanh):
        def forward(self, features):
            return super().forward(features) if features.sum().item() > -1e9 else features  # looks at a number

    Picky.__module__ = "torch.picky"
    recorded, _ = trained(lambda: chain(activation=Picky), "auto")
    assert capsys.readouterr().err.count("compile: this step cannot be recorded") == 1
    plain, _ = trained(lambda: chain(activation=Picky), False)
    assert same(plain, recorded)


def test_a_step_that_cannot_be_compiled_is_replayed(monkeypatch, capsys):
    def no_compiler(*args):
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr(steps, "_compiled", no_compiler)
    replayed, _ = trained(chain, True)
    assert "no C++ compiler was found); it is replayed" in capsys.readouterr().err
    assert same(replayed, trained(chain, False)[0])


def test_long_trainings_on_a_cpu_are_compiled():
    def step(steps_in_all, model=None, **options):
        return steps.Step(
            model or chain(), vl.elbo, 1, steps_in_all, **{"compile": "auto", "precision": "auto"} | options
        )

    assert [step(n).compiles for n in (4, 9_999, 10_000)] == [False, False, True]
    assert [step(n).records for n in (4, 5, 10_000)] == [False, True, True]
    assert not step(10_000, compile=False).records
    assert step(1, compile=True).compiles

    class Loud(nn.Tanh):
        pass

    assert not step(10_000, chain(activation=Loud)).records
    assert not step(10_000, chain().to("meta")).compiles


@pytest.mark.parametrize("transform", [torch.bernoulli, vl.binarise])
def test_a_compiled_step_agrees_to_rounding(transform, capsys):
    compiled, got = trained(chain, True, epochs=2, transform=transform)
    assert "compile:" not in capsys.readouterr().err
    plain, want = trained(chain, False, epochs=2, transform=transform)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, atol=1e-4, rtol=1e-3)
    assert got.train[-1].elbo == pytest.approx(want.train[-1].elbo, abs=1e-4)


def test_frozen_weights_stay_where_they_are_and_weights_without_gradient_too():
    def half_frozen():
        model = chain()
        model.encoders.requires_grad_(False)
        return model

    torch.manual_seed(0)
    start = half_frozen()
    model, _ = trained(half_frozen, "auto")
    assert same(start.encoders, model.encoders)
    assert not same(start.decoders, model.decoders)


def test_bfloat16_blurs_the_gradients_and_spares_the_densities():
    model, x = chain(), torch.bernoulli(images(20))
    results = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(3)
        results[precision] = steps.Step(model, vl.elbo, 1, 100, False, precision).gradients(x, 1.0, 20)
    fine, coarse = results["float32"], results["bfloat16"]
    assert coarse.loss.dtype == torch.float32
    assert 0 < abs(fine.loss - coarse.loss).item() < 0.05
    recorded, _ = trained(chain, "auto", precision="bfloat16")
    assert same(recorded, trained(chain, False, precision="bfloat16")[0])
    assert not same(recorded, trained(chain, False)[0])


def test_a_precision_that_is_not_here_falls_back_with_one_line(capsys):
    a, _ = trained(chain, "auto", precision="tf32")
    assert capsys.readouterr().err == "precision: cpu has no tf32; float32 is used\n"
    assert same(a, trained(chain, "auto")[0])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [{"precision": "half"}, {"precision": 16}, {"compile": "yes"}, {"compile": None}])
def test_options_that_cannot_be_meant(options):
    with pytest.raises(ValueError, match="expected"):
        vl.fit(chain(), images(), epochs=1, **QUICK, **options)


def test_data_that_do_not_fit_on_the_device_stay_where_they_are(monkeypatch):
    """Without a GPU: what decides, with a GPU's free memory made up, and a batch taken from a host's memory."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 8000))
    moved = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: moved.append(device) or self)
    few, many = torch.zeros(10, 50), torch.zeros(11, 50)
    assert train._placed(few, torch.device("cuda")) is few
    assert moved == [torch.device("cuda")]
    assert train._placed(many, torch.device("cuda")) is many
    assert moved == [torch.device("cuda")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compile", ["auto", True])
def test_on_a_gpu_the_replayed_step_is_the_plain_one(compile):
    results = []
    for how in (False, compile):
        torch.manual_seed(0)
        model = chain()
        options = QUICK | {"device": "cuda", "transform": torch.bernoulli, "epochs": 4}
        results.append((vl.fit(model, images(), compile=how, **options), model))
    (want, plain), (got, replayed) = results
    assert got.train[-1].elbo == pytest.approx(want.train[-1].elbo, abs=0.1)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(replayed.state_dict()[name], value, atol=1e-2, rtol=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_tf32_reaches_the_replayed_step():
    """The record is replayed as it was captured, whatever the precision is by then."""
    x = torch.rand(256, 512, device="cuda").round()
    losses = {}
    for precision in ("float32", "tf32"):
        torch.manual_seed(0)
        model = vl.VAE.mlp(512, 8, (512,)).cuda()
        step = steps.Step(model, vl.elbo, 1, 100, "auto", precision)
        torch.manual_seed(1)
        losses[precision] = step(x, 0.0, 1.0, 256)[0].item()
        assert len(step.recorded) == 1
    assert losses["tf32"] != losses["float32"]
    assert losses["tf32"] == pytest.approx(losses["float32"], rel=1e-3)
