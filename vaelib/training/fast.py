"""One training step, forward, backward and Adam: run as it stands, recorded and replayed, or compiled.

A small network spends a good part of each step on bookkeeping: distributions are made, autograd draws up its graph,
walks back through it and throws it away. All of this is the same in every step. So it is done once more, slowly, while
every tensor operation is written down, down to Adam's; from then on only these are called, one after the other. They
are the operations of the plain step on the same numbers, so on a CPU the weights are the same, bit for bit. On a GPU
the record is captured as a CUDA graph. PyTorch's compiler makes a faster program of it, on either.
"""

import math
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from .. import processes
from ..bounds import Terms, dreg
from ..hierarchy import Hierarchy

# Steps of a training; with fewer, what is to save time would cost more of it: up to two seconds to record, 15 to 30 to
# compile what is not cached, against 1.5 (W1) to 3 ms (W2 of `benchmarks/speed.py`) that a compiled step saves.
RECORD_FROM, COMPILE_FROM = 500, 10_000
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")


class Gradients(NamedTuple):
    """loss: (), of the batch. totals: (1 + T,), reconstruction and rates, summed over examples. weights: one each."""

    loss: Tensor
    totals: Tensor
    weights: list[Tensor]


class Adam:
    """Kingma & Ba 2015 (arXiv 1412.6980), algorithm 1, with its own beta_1, beta_2 and epsilon.

    state: as `torch.optim.Adam` would hold it, one tensor per weight for each name, but one `step` for all.
    """

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, weights: list[Tensor]):
        self.weights = weights
        self.state = {
            "step": [torch.zeros((), device=weights[0].device)],
            "exp_avg": [torch.zeros_like(weight) for weight in weights],
            "exp_avg_sq": [torch.zeros_like(weight) for weight in weights],
        }

    @torch.no_grad()
    def step(self, gradients: list[Tensor], lr: Tensor) -> None:
        """PyTorch's fused function: the weights of `torch.optim.Adam`, bit for bit, without its bookkeeping."""
        self.state["step"][0] += 1
        torch._fused_adam_(
            self.weights,
            gradients,
            self.state["exp_avg"],
            self.state["exp_avg_sq"],
            [],
            self.state["step"] * len(self.weights),
            lr=lr,
            beta1=self.BETA_1,
            beta2=self.BETA_2,
            weight_decay=0.0,
            eps=self.EPSILON,
            amsgrad=False,
            maximize=False,
        )

    @torch.no_grad()
    def written_out(self, gradients: list[Tensor], lr: Tensor) -> None:
        """The same to rounding, for a compiler, which fuses it with what makes the gradients."""
        self.state["step"][0] += 1
        t = self.state["step"][0].double()  # in float32 1 - 0.999^t would lose four digits
        size = lr / (1 - torch.exp(t * math.log(self.BETA_1)))
        width = (1 - torch.exp(t * math.log(self.BETA_2))).rsqrt()
        moments = zip(self.state["exp_avg"], self.state["exp_avg_sq"], strict=True)
        for weight, gradient, (m, v) in zip(self.weights, gradients, moments, strict=True):
            m.mul_(self.BETA_1).add_(gradient, alpha=1 - self.BETA_1)
            v.mul_(self.BETA_2).addcmul_(gradient, gradient, value=1 - self.BETA_2)
            weight -= size.to(weight.dtype) * m / (v.sqrt() * width.to(weight.dtype) + self.EPSILON)


class Step:
    """Steps of Adam on the loss, minus the objective's mean over a batch; see `fit` for the names.

    steps: of the whole training. compile: "auto" records, and on a CPU compiles, what is long enough and consists of
    modules and objectives of torch and this library, without hooks: code of another origin may do more than call tensor
    operations, and what it does besides would not be repeated. True records and compiles in any case, False never.
    """

    def __init__(
        self,
        model: Hierarchy,
        objective: Callable[[Terms, Any], Tensor],
        samples: int,
        steps: int,
        compile: bool | str,
        precision: str,
    ):
        self.model, self.objective, self.samples = model, objective, samples
        self.weights: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
        self.adam = Adam(self.weights)
        self.device = self.weights[0].device
        self.precision = _available(precision, self.device)
        auto = compile == "auto" and _ours(model, objective)
        self.compiles = compile is True or (auto and steps >= COMPILE_FROM and self.device.type == "cpu")
        self.records = self.compiles or (auto and steps >= RECORD_FROM)
        self.recorded: dict[tuple[Any, ...], Callable[[Tensor], tuple[Tensor, ...]]] = {}
        # What a record is given as tensors. Adam takes lr in float32 from a GPU; from the host it may be as precise as
        # Python's numbers.
        on_gpu = self.device.type == "cuda"
        self.lr = torch.zeros(
            (), dtype=torch.float32 if on_gpu else torch.float64, device=self.device if on_gpu else "cpu"
        )
        self.beta = torch.zeros((), dtype=self.weights[0].dtype, device=self.device)

    def __call__(self, x: Tensor, lr: float, beta: float, count: int, whole: bool = True) -> tuple[Tensor, Tensor]:
        """One step; the loss, (), and the `totals` before it, of this process's examples.

        x: (B, *event), this process's part of a batch of `count`. whole: not the rest at the end of an epoch.
        """
        self.lr.fill_(lr)
        layout = (count, x.shape, x.stride(), x.dtype)  # what a record takes for granted
        if self.records and whole and layout not in self.recorded:
            try:
                self.recorded[layout] = self._record(x, count)
            except Exception as error:
                _say("this step cannot be recorded", error, "it is run as it stands")
                self.records = False
        if layout in self.recorded:
            self.beta.fill_(beta)
            loss, totals, *gradients = self.recorded[layout](x)
        else:
            loss, totals, gradients = self.gradients(x, beta, count)
        if gradients:  # else the record has taken the step
            processes.sum_over_processes(gradients)
            self.adam.step(gradients, self.lr)
        return loss, totals

    def gradients(self, x: Tensor, beta: float | Tensor, count: int) -> Gradients:
        """Forward and backward, as PyTorch runs them; the weights stay as they are."""
        with _computing(self.precision, self.device), processes.noise_of(count):
            terms = self.model(x, self.samples, check=False, path=self.objective is dreg)
            loss = -self.objective(terms, beta).sum() / count
        weights = torch.autograd.grad(loss, self.weights, materialize_grads=True)
        return Gradients(loss.detach(), totals(terms), list(weights))

    def _record(self, x: Tensor, count: int) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """The step as a function of x that returns loss and totals; of several processes, gradients instead of Adam."""
        from torch.fx.experimental.proxy_tensor import make_fx  # takes a while, and not every training records

        changed = [*self.weights, *chain(*self.adam.state.values())]
        inputs = [x, self.lr, self.beta, *changed]

        def recorded(update: Callable[[list[Tensor], Tensor], None]) -> GraphModule:
            def step(x: Tensor, lr: Tensor, beta: Tensor, *changed: Tensor) -> tuple[Tensor, ...]:
                with torch.enable_grad():
                    loss, totals, gradients = self.gradients(x, beta, count)
                if processes.world() > 1:
                    return loss, totals, *gradients
                update(gradients, lr)
                return loss, totals

            program = make_fx(step)(*inputs)
            program.graph.eliminate_dead_code()  # log-densities that no bound asked for
            program.recompile()
            return program

        # bfloat16 is a part of the record; tf32 is a way to run it, which a compiler and a CUDA graph hold fast.
        products = _computing("tf32" if self.precision == "tf32" else "float32", self.device)
        with _rehearsal([*changed, *self.model.buffers()], self.device), products, torch.no_grad():
            program: Callable[..., tuple[Tensor, ...]] | None = None
            if self.compiles:
                try:
                    program = _compiled(recorded(self.adam.written_out), inputs)
                except Exception as error:  # above all where no compiler is installed
                    _say("this step cannot be compiled", error, "it is replayed as recorded")
            program = program or recorded(self.adam.step)
            if self.device.type == "cuda":
                return _captured(program, inputs)

        @torch.no_grad()
        def replay(x: Tensor) -> tuple[Tensor, ...]:
            return program(x, *inputs[1:])

        return replay


def totals(terms: Terms) -> Tensor:
    """Reconstruction and the rate of each level, mean over samples and summed over examples: (1 + T,)."""
    return torch.cat([terms.log_px.detach().mean(0).sum()[None], terms.rates.detach().mean(1).sum(-1)])


def _compiled(program: GraphModule, inputs: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    # The random numbers of the plain step, not a stream of the compiler's own. On a CPU the calls are made from C++.
    # `recorded` is kept by size, which need not be asserted in each step.
    options = {"fallback_random": True, "size_asserts": False, "cpp_wrapper": inputs[0].device.type == "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, of PyTorch's own use of itself
        from torch._inductor import standalone_compile  # as torch.compile, without its guards in each step

        faster = standalone_compile(
            program, list(inputs), dynamic_shapes="from_example_inputs", options={"config_patches": options}
        )
        faster(*inputs)
    return faster


def _captured(program: Callable[..., tuple[Tensor, ...]], inputs: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    """The program as a CUDA graph: one launch per step. Its results are overwritten by the next step's."""
    x, *others = inputs
    x = x.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries set themselves up on first calls, which must not be captured
            program(x, *others)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = program(x, *others)

    def replay(batch: Tensor) -> tuple[Tensor, ...]:
        x.copy_(batch)
        graph.replay()
        return results

    return replay


@contextmanager
def _rehearsal(tensors: list[Tensor], device: torch.device) -> Generator[None]:
    """What runs in this block leaves random numbers and these tensors as they were."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)


@contextmanager
def _computing(precision: str, device: torch.device) -> Generator[None]:
    """Matrix products in this block are computed with this precision."""
    if device.type == "cuda":
        old = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        try:
            with torch.backends.cudnn.flags(allow_tf32=precision == "tf32"), _autocast(precision, device):
                yield
        finally:
            torch.set_float32_matmul_precision(old)
    else:
        with _autocast(precision, device):
            yield


def _autocast(precision: str, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def _available(precision: str, device: torch.device) -> str:
    if precision == "tf32" and device.type != "cuda":
        print(f"precision: {device.type} has no tf32; float32 is used", file=sys.stderr)
        return "float32"
    return "float32" if precision == "auto" else precision


def _ours(model: nn.Module, objective: Callable[[Terms, Any], Tensor]) -> bool:
    parts = [getattr(objective, "func", objective), *map(type, model.modules())]
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name) for module in model.modules() for name in hooks):
        return False
    return all(part.__module__.partition(".")[0] in ("torch", "vaelib") for part in parts)


def _say(what: str, error: Exception, instead: str) -> None:
    print(f"compile: {what} ({str(error).strip().splitlines()[0]}); {instead}", file=sys.stderr)
