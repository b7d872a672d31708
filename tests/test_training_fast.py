from functools import partial

import pytest
import torch
from torch import nn

import vaelib as vl
from vaelib.training import fast
from vaelib.training.step import PlainAdam, Step, set_lr

QUICK = {"progress": False, "device": "cpu", "batch_size": 20, "lr": 1e-2}


@pytest.fixture(autouse=True)
def record_soon(monkeypatch):
    monkeypatch.setattr(fast, "RECORD_FROM", 5)


def images(n: int = 90) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def binary(n: int = 20) -> torch.Tensor:
    return torch.bernoulli(images(n), generator=torch.Generator().manual_seed(1))


def chain(**options) -> vl.MHVAE:
    return vl.MHVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,)), **options)


def shared_scale() -> vl.VAE:
    return vl.VAE(vl.Gaussian(16, 1, (8,)), vl.Gaussian(1, (1, 4, 4), (8,), scale="shared"))


def idle_weights() -> vl.MHVAE:
    """A weight that no output depends on gets no gradient."""
    model = chain()
    model.decoders[0].idle = nn.Parameter(torch.ones(3))
    return model


class TwoShifts(nn.Module):
    """The gradients of a and b are one tensor."""

    __module__ = "torch.nn"  # else it would be of another origin, and not be recorded

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8))

    def forward(self, features):
        return features + (self.a + self.b)


def two_shifts() -> vl.MHVAE:
    model = chain()
    model.encoders[0].body.append(TwoShifts())
    return model


def mixture() -> vl.VAE:
    return vl.VAE(vl.Gaussian(16, 2, (8,)), vl.Bernoulli(2, (1, 4, 4), (8,)), vl.MixturePrior(2, 3))


def trained(make, compile, objective=vl.elbo, **options) -> tuple[vl.Hierarchy, vl.History]:
    torch.manual_seed(0)
    model = make()
    options = {"transform": torch.bernoulli, "epochs": 4, "beta": vl.warmup(2), **options}
    return model, vl.fit(model, images(), objective=objective, compile=compile, **QUICK, **options)


def same(a: vl.Hierarchy, b: vl.Hierarchy) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def stepper(compiled: bool = False, model: vl.Hierarchy | None = None) -> fast.Fast:
    model = chain() if model is None else model
    return fast.Fast(Step(model, vl.elbo, 1, PlainAdam(list(model.parameters()))), compiled)


CASES = {
    "chain": (chain, {}),
    "batch normalisation": (lambda: chain(norm="batch"), {}),
    "gates, iwae": (lambda: chain(norm="layer", gated=True), {"objective": vl.iwae, "samples": 3}),
    "dreg": (chain, {"objective": vl.dreg, "samples": 3}),
    "free bits": (chain, {"objective": partial(vl.free_bits, nats=0.5)}),
    "HVAE": (lambda: vl.HVAE.mlp((1, 4, 4), (3, 2), ((8,), (5,))), {}),
    "convolutions": (lambda: vl.VAE.conv((1, 4, 4), 2, channels=(4,)), {}),
    "grey": (lambda: chain(likelihood="continuous_bernoulli"), {"transform": None}),
    "shared scale": (shared_scale, {"transform": None}),
    "an idle weight": (idle_weights, {}),
    "mixture prior": (mixture, {}),
    "clipped": (chain, {"clip": 0.5}),
    "clipped, two gradients that are one": (two_shifts, {"clip": 0.05}),
    "another optimiser": (chain, {"optimizer": partial(torch.optim.AdamW, weight_decay=0.1)}),
    "momentum": (chain, {"optimizer": partial(torch.optim.SGD, momentum=0.9), "lr": 1e-3}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "options"), CASES.values(), ids=CASES.keys())
def test_a_recorded_step_is_the_plain_step_bit_for_bit(make, options, monkeypatch, capsys):
    options = dict(options)
    monkeypatch.setitem(QUICK, "lr", options.pop("lr", 1e-2))
    plain, want = trained(make, False, **options)
    records = []
    record = fast.Fast._recorded
    monkeypatch.setattr(fast.Fast, "_recorded", lambda self, *a: records.append(1) or record(self, *a))
    recorded, got = trained(make, "auto", **options)
    assert records == [1]  # once, for the batches of 20; the last ones of 10 are run as they stand
    assert same(plain, recorded)
    assert want.train == got.train
    assert capsys.readouterr().err == ""


def recorded_operations(quick: fast.Fast) -> list:
    return [node for node in quick._made(binary()).graph.nodes if node.op.startswith("call")]


@pytest.mark.slow
def test_a_record_holds_only_what_computes_something(monkeypatch):
    lean = recorded_operations(stepper())
    monkeypatch.setattr(fast, "_tidy", lambda program: None)
    full = recorded_operations(stepper())
    names = [str(node.target) for node in full]
    assert [name for name in names if "profiler" in name or "detach" in name]
    assert not [node for node in lean if "profiler" in str(node.target) or "detach" in str(node.target)]
    views = [(node.target, str(node.args)) for node in lean if str(node.target) in ("view", "expand")]
    assert len(views) == len(set(views)) < names.count("aten.view.default") + names.count("aten.expand.default")
    slow = [node for node in lean if isinstance(node.target, torch._ops.OpOverload)]
    assert len(slow) < len(full) / 10  # what torch gives no shorter name


@pytest.mark.slow
def test_code_that_turns_a_tensor_in_place_keeps_all_its_views(capsys):
    class Turned(nn.Module):
        __module__ = "torch.nn"

        def forward(self, features):
            shifted = features + 1
            first, second = shifted.view(-1, 2, 4), shifted.view(-1, 2, 4)
            first.transpose_(0, 1)  # of second, too, if the record had one view for both
            return second.flatten(1) + first.sum()

    def turned():
        model = chain()
        model.encoders[0].body.append(Turned())
        return model

    recorded, _ = trained(turned, "auto")
    assert capsys.readouterr().err == ""
    assert same(recorded, trained(turned, False)[0])


@pytest.mark.slow
def test_a_record_that_does_not_run_is_one_line_and_the_plain_step(monkeypatch, capsys):
    def spoilt(program):
        for node in program.graph.nodes:
            if node.target is torch.ops.aten.tanh.default:
                node.target = torch.mul  # which takes two

    monkeypatch.setattr(fast, "_tidy", spoilt)
    model, _ = trained(chain, "auto")
    assert capsys.readouterr().err.count("compile: this step cannot be recorded") == 1
    assert same(model, trained(chain, False)[0])


@pytest.mark.slow
def test_a_recorded_step_follows_the_data_and_beta():
    """What a record must not hold fast: another batch, another beta, other weights change the result."""
    model = chain()
    quick = stepper(model=model)
    x, y = binary(), torch.bernoulli(images(40)[20:])

    def at(x, beta):
        torch.manual_seed(3)
        loss, totals = quick.step.forward(x, beta)
        torch.manual_seed(3)
        quick_loss, quick_totals = quick(x, 0.0, beta)
        assert torch.equal(quick_loss, loss)
        assert torch.equal(quick_totals, totals)
        return loss.item()

    first = at(x, 1.0)
    assert quick.program is not None
    assert len({first, at(y, 1.0), at(x, 0.5)}) == 3
    with torch.no_grad():
        model.decoders[0].heads[0].bias += 1
    assert at(x, 1.0) != first


@pytest.mark.slow
def test_a_recorded_step_follows_the_learning_rate():
    moved = []
    for lr in (0.0, 1e-3, 1e-2):
        torch.manual_seed(0)
        quick = stepper()
        bias = quick.step.model.decoders[0].heads[0].bias
        before = bias.detach().clone()
        quick(binary(), lr, 1.0)
        assert quick.program is not None
        moved.append((bias - before).abs().max().item())
    assert moved == pytest.approx([0.0, 1e-3, 1e-2], rel=1e-3)  # the first step of Adam is as long as lr


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_recording_takes_no_step(compiled):
    """It runs the step to see what it does; weights, Adam's state, statistics and random numbers are as before."""
    torch.manual_seed(0)
    quick = stepper(compiled, vl.VAE.mlp((1, 4, 4), 3, (8,), norm="batch"))  # a chain takes the compiler twice as long
    state = [value for entries in quick.step.optimizer.state.values() for value in entries.values()]
    tensors = [*quick.step.model.state_dict().values(), *state]
    before, random = [tensor.clone() for tensor in tensors], torch.get_rng_state()
    program = quick._made(binary())
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    set_lr(quick.step.optimizer, 1e-3)
    program(*quick._inputs(binary()))
    assert not torch.equal(before[0], tensors[0])
    assert all(entries["step"] == 1 for entries in quick.step.optimizer.state.values())


def test_weights_that_are_frozen_or_thawed_between_epochs_are_heeded():
    def frozen(compile):
        torch.manual_seed(0)
        model = chain()
        for epoch in vl.Training(model, images(), epochs=4, compile=compile, transform=torch.bernoulli, **QUICK):
            model.encoders.requires_grad_(epoch.number == 2)
        return model

    assert same(frozen("auto"), frozen(False))


def test_what_is_laid_out_otherwise_is_run_as_it_stands():
    """A compiled program takes the order of the pixels in memory for granted."""
    quick = stepper()
    x = binary()
    turned = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)  # the same numbers, stored in another order
    calls = []
    forward = quick.step.forward
    quick.step.forward = lambda *args: calls.append(1) or forward(*args)
    losses = []
    for batch in (x, x, x, turned, x[:10]):
        torch.manual_seed(3)
        losses.append(quick(batch, 0.0, 1.0)[0].item())
    assert len(calls) == 3  # the record, and the two that are laid out otherwise
    assert losses[:4] == pytest.approx([losses[0]] * 4, rel=1e-6)


def test_adam_written_out_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((5, 3), (3,), ())]
    ours, theirs = [w.clone().requires_grad_() for w in start], [w.clone().requires_grad_() for w in start]
    adam, optimiser = PlainAdam(ours), torch.optim.Adam(theirs, lr=1.0, fused=True)
    for number in range(20):
        gradients = [torch.randn(w.shape, generator=generator) * 10 ** (number % 5 - 3) for w in start]
        set_lr(adam, 0.01 * (number + 1))
        set_lr(optimiser, 0.01 * (number + 1))
        for weight, other, gradient in zip(ours, theirs, gradients, strict=True):
            weight.grad, other.grad = gradient.clone(), gradient.clone()
        with torch.no_grad():
            fast._adam_written_out(adam, ours, tuple(gradients))
        optimiser.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-6, atol=1e-6)  # float32, twenty steps
        for name, value in optimiser.state[other].items():
            torch.testing.assert_close(adam.state[mine][name], value, rtol=2e-6, atol=1e-6)


class Loud(nn.Tanh):
    """A module of another origin, which may do more than call tensor operations."""


def test_code_of_another_origin_is_not_recorded_and_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(fast.Fast, "_made", lambda *a: pytest.fail("recorded"))

    def hooked():
        model = chain()
        model.decoders[0].register_forward_hook(lambda *args: None)
        return model

    def mine(terms, beta):
        return vl.elbo(terms, beta)

    for make, options, named in (
        (lambda: chain(activation=Loud), {}, "Loud"),
        (hooked, {}, "a hook of Bernoulli"),
        (chain, {"objective": mine}, "mine"),
        (chain, {"objective": partial(mine)}, "mine"),
    ):
        trained(make, "auto", **options)
        said = capsys.readouterr().err
        assert named in said
        assert said.startswith("compile: ")
        assert said.endswith("compile=True makes it faster\n")
        assert said.count("\n") == 1
        trained(make, False, **options)
        assert capsys.readouterr().err == ""
    everywhere = nn.modules.module.register_module_forward_hook(lambda *args: None)
    try:
        trained(chain, "auto")
    finally:
        everywhere.remove()
    assert "a hook of all modules" in capsys.readouterr().err
    monkeypatch.setattr(fast, "RECORD_FROM", 1000)
    trained(lambda: chain(activation=Loud), "auto")
    trained(chain, "auto")
    assert capsys.readouterr().err == ""


def test_a_step_that_cannot_be_recorded_is_run_as_it_stands(capsys):
    class Picky(nn.Tanh):
        def forward(self, features):
            return super().forward(features) if features.sum().item() > -1e9 else features  # looks at a number

    Picky.__module__ = "torch.picky"
    recorded, _ = trained(lambda: chain(activation=Picky), "auto")
    assert capsys.readouterr().err.count("compile: this step cannot be recorded") == 1
    plain, _ = trained(lambda: chain(activation=Picky), False)
    assert same(plain, recorded)


@pytest.mark.slow
@pytest.mark.parametrize("message", ["no C++ compiler was found", ""])
def test_a_step_that_cannot_be_compiled_is_replayed(message, monkeypatch, capsys):
    def no_compiler(*args):
        raise RuntimeError(message)

    monkeypatch.setattr(fast, "_compiled", no_compiler)
    replayed, _ = trained(chain, True)
    assert f"({message or 'RuntimeError'}); it is replayed as recorded" in capsys.readouterr().err
    assert same(replayed, trained(chain, False)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "gone", [["torch.fx.experimental.proxy_tensor.make_fx"], ["torch._inductor.standalone_compile", "torch.compile"]]
)
def test_a_torch_that_has_changed_is_one_line_and_the_plain_step(gone, monkeypatch, capsys):
    """What is not settled in torch may take other arguments one day, or go."""
    for name in gone:
        monkeypatch.setattr(name, changed)
    model, _ = trained(chain, True)
    assert capsys.readouterr().err.startswith("compile: this step cannot be ")
    assert same(model, trained(chain, False)[0])


def changed():
    raise AssertionError("never called with this signature")


@pytest.mark.slow
def test_what_is_public_makes_the_same_program_where_the_quicker_way_has_changed(monkeypatch, capsys):
    def flat():
        return vl.VAE.mlp((1, 4, 4), 3, (8,))

    quicker, _ = trained(flat, True, epochs=2)
    calls, public = [], torch.compile
    monkeypatch.setattr("torch._inductor.standalone_compile", changed)
    monkeypatch.setattr("torch.compile", lambda *args, **options: calls.append(1) or public(*args, **options))
    model, _ = trained(flat, True, epochs=2)
    assert calls == [1]
    assert same(model, quicker)
    assert capsys.readouterr().err == ""


def test_long_trainings_on_a_cpu_are_compiled():
    def chosen(steps, compile="auto", model=None):
        model = chain() if model is None else model
        return fast.faster(Step(model, vl.elbo, 1, PlainAdam(list(model.parameters()))), steps, compile)

    assert [type(chosen(n)) for n in (4, 5)] == [Step, fast.Fast]
    assert [chosen(n).compiled for n in (9_999, 10_000)] == [False, True]
    assert isinstance(chosen(10_000, compile=False), Step)
    assert chosen(1, compile=True).compiled
    assert isinstance(chosen(10_000, model=chain(activation=Loud)), Step)
    assert isinstance(chosen(10_000, model=chain().to("meta")), Step)  # as on a GPU: the plain step, unless asked


@pytest.mark.slow
@pytest.mark.parametrize("transform", [torch.bernoulli, vl.binarise])
def test_a_compiled_step_agrees_to_rounding(transform, capsys):
    compiled, got = trained(chain, True, epochs=2, transform=transform)
    assert "compile:" not in capsys.readouterr().err
    plain, want = trained(chain, False, epochs=2, transform=transform)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, atol=1e-4, rtol=1e-3)
    assert got.train[-1].elbo == pytest.approx(want.train[-1].elbo, abs=1e-4)


def test_frozen_weights_stay_where_they_are():
    def half_frozen():
        model = chain()
        model.encoders.requires_grad_(False)
        return model

    torch.manual_seed(0)
    start = half_frozen()
    model, _ = trained(half_frozen, "auto")
    assert same(start.encoders, model.encoders)
    assert not same(start.decoders, model.decoders)


@pytest.mark.slow
def test_bfloat16_blurs_the_gradients_and_spares_the_densities():
    model, x = chain(), binary()
    losses = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(3)
        step = Step(model, vl.elbo, 1, PlainAdam(list(model.parameters())), precision=precision)
        losses[precision], _ = step.forward(x, 1.0)
    assert losses["bfloat16"].dtype == torch.float32
    assert 0 < abs(losses["float32"] - losses["bfloat16"]).item() < 0.05
    recorded, _ = trained(chain, "auto", precision="bfloat16")
    assert same(recorded, trained(chain, False, precision="bfloat16")[0])
    assert not same(recorded, trained(chain, False)[0])


def test_adam_is_that_of_torch_bit_for_bit():
    """Its state is made before its first step, and its lr is a tensor; neither changes a number."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((5, 3), (3,), ())]
    ours, theirs = [w.clone().requires_grad_() for w in start], [w.clone().requires_grad_() for w in start]
    adam, optimiser = PlainAdam(ours), torch.optim.Adam(theirs, lr=1.0, fused=True)
    for number in range(10):
        for weight, other in zip(ours, theirs, strict=True):
            weight.grad = torch.randn(weight.shape, generator=generator)
            other.grad = weight.grad.clone()
        for one in (adam, optimiser):
            set_lr(one, 0.01 * (number + 1) / 3)
            one.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    mine, other = adam.state[ours[0]], optimiser.state[theirs[0]]
    assert {name: value.dtype for name, value in mine.items()} == {name: value.dtype for name, value in other.items()}
