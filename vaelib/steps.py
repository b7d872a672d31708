"""The gradient of one training step: run as it stands, recorded and replayed, or compiled.

A small network spends a good part of each step on bookkeeping: distributions are made, autograd draws up its graph,
walks back through it and throws it away. All of this is the same in every step. So it is done once more, slowly, while
every tensor operation of the forward and the backward pass is written down; from then on only these are called, one
after the other. They are the operations of the plain step on the same numbers, so on a CPU the weights are the same,
bit for bit. On a GPU the record is captured as a CUDA graph. `torch.compile` makes a faster program of it, on either.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import distributed
from .bounds import Terms, dreg
from .hierarchy import Hierarchy

# Steps of a training; with fewer, what is to save time would cost more of it.
RECORD_FROM, COMPILE_FROM = 500, 20_000
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")


class Gradients(NamedTuple):
    """loss: (), of the batch. totals: (1 + T,), reconstruction and rates, summed over examples. weights: one each."""

    loss: Tensor
    totals: Tensor
    weights: list[Tensor]


class Step:
    """Gradients of the loss, minus the objective's mean over a batch, for the model's weights; see `fit` for the names.

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
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.device = self.weights[0].device
        self.precision = _available(precision, self.device)
        auto = compile == "auto" and _ours(model, objective)
        self.compiles = compile is True or (auto and steps >= COMPILE_FROM and self.device.type == "cpu")
        self.records = self.compiles or (auto and steps >= RECORD_FROM)
        self.recorded: dict[torch.Size, Callable[[Tensor, float], Gradients]] = {}

    def __call__(self, x: Tensor, beta: float, count: int, whole: bool = True) -> Gradients:
        """x: (B, *event), this process's part of a batch of `count`; whole: not the rest at the end of an epoch."""
        if x.shape in self.recorded:
            return self.recorded[x.shape](x, beta)
        if self.records and whole:
            try:
                self.recorded[x.shape] = self._record(x, count)
                return self.recorded[x.shape](x, beta)
            except Exception as error:
                _say("this step cannot be recorded", error, "it is run as it stands")
                self.records = False
        return self.plain(x, beta, count)

    def plain(self, x: Tensor, beta: float | Tensor, count: int) -> Gradients:
        """Forward and backward, as PyTorch runs them."""
        with _computing(self.precision, self.device), distributed.noise_of(count):
            terms = self.model(x, self.samples, check=False, path=self.objective is dreg)
            loss = -self.objective(terms, beta).sum() / count
        weights = torch.autograd.grad(loss, self.weights, materialize_grads=True)
        return Gradients(loss.detach(), totals(terms), list(weights))

    def _record(self, x: Tensor, count: int) -> Callable[[Tensor, float], Gradients]:
        from torch.fx.experimental.proxy_tensor import make_fx  # takes a while, and not every training records

        scale = torch.ones((), dtype=x.dtype, device=x.device)

        def step(x: Tensor, beta: Tensor) -> Gradients:
            with torch.enable_grad():
                return self.plain(x, beta, count)

        with _rehearsal(self.model, self.device), torch.no_grad():
            program: Callable[[Tensor, Tensor], Gradients] = make_fx(step)(x, scale)
            program.graph.eliminate_dead_code()  # log-densities that no bound asked for
            program.recompile()
            if self.compiles:
                program = _compiled(program, x, scale)
            if self.device.type == "cuda":
                program = _captured(program, x, scale)

        @torch.no_grad()
        def replay(x: Tensor, beta: float) -> Gradients:
            return program(x, scale.fill_(beta))

        return replay


def totals(terms: Terms) -> Tensor:
    """Reconstruction and the rate of each level, mean over samples and summed over examples: (1 + T,)."""
    return torch.cat([terms.log_px.detach().mean(0).sum()[None], terms.rates.detach().mean(1).sum(-1)])


def _compiled(program: Callable[..., Gradients], x: Tensor, scale: Tensor) -> Callable[..., Gradients]:
    # The random numbers of the plain step, not a stream of the compiler's own.
    faster = torch.compile(program, fullgraph=True, dynamic=False, options={"fallback_random": True})
    try:
        faster(x, scale)
    except Exception as error:  # above all where no compiler is installed
        _say("this step cannot be compiled", error, "it is replayed as recorded")
        return program
    return faster


def _captured(program: Callable[..., Gradients], x: Tensor, scale: Tensor) -> Callable[..., Gradients]:
    """The program as a CUDA graph: one launch per step. Its results are overwritten by the next step's."""
    static_x, static_scale = x.clone(), scale.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries set themselves up on first calls, which must not be captured
            program(static_x, static_scale)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = program(static_x, static_scale)

    def replay(x: Tensor, scale: Tensor) -> Gradients:
        static_x.copy_(x)
        static_scale.copy_(scale)
        graph.replay()
        return results

    return replay


@contextmanager
def _rehearsal(model: nn.Module, device: torch.device) -> Generator[None]:
    """What runs in this block leaves random numbers and buffers, such as running means, as they were."""
    before = [buffer.clone() for buffer in model.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    for buffer, value in zip(model.buffers(), before, strict=True):
        buffer.copy_(value)


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
    return all(part.__module__.partition(".")[0] in ("torch", __package__) for part in parts)


def _say(what: str, error: Exception, instead: str) -> None:
    print(f"compile: {what} ({str(error).strip().splitlines()[0]}); {instead}", file=sys.stderr)
