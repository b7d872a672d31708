"""The step of `step.Step`, sooner: recorded and replayed, or compiled.

A small network spends a good part of each step on bookkeeping: distributions are made, autograd draws up its graph,
walks back through it and throws it away. All of this is the same in every step. So it is done once more, slowly, while
every tensor operation is written down, down to Adam's; from then on only these are called, one after the other. They
are the operations of the plain step on the same numbers, so on a CPU the weights are the same, bit for bit; but for
large matrix products on processors where another library is faster (see `products`), which agree to rounding. PyTorch's
compiler makes a faster program of the record; its numbers agree with those of the plain step to rounding as well.
"""

import math
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from .. import processes
from ..bounds import Terms
from ..randomness import RandomStream
from . import products
from .step import PlainAdam, Step, laid_out, set_lr

# Steps of a training; with fewer, what is to save time would cost more of it: up to two seconds to record, 15 to 30 to
# compile what is not cached, against 1.5 (W1) to 3 ms (W2 of `benchmarks/speed.py`) that a compiled step saves.
RECORD_FROM, COMPILE_FROM = 500, 10_000

# Operations that compute nothing: another look at the same numbers, from the first one on.
_VIEWS = ("detach", "expand", "permute", "squeeze", "t", "transpose", "unsqueeze", "view")


def faster(step: Step, steps: int, compile: bool | str) -> "Step | Fast":
    """The step itself, or its fast form where that pays.

    Args:
        step: the plain step.
        steps: how many the whole training will take.
        compile: True compiles in any case, False never and leaves the step as it is. "auto" records from
            `RECORD_FROM` steps on and, on a CPU, compiles from `COMPILE_FROM` steps on, where all modules and the
            objective are torch's or this library's and have no hooks: code of another origin may do more than call
            tensor operations, and what it does besides would not be repeated. One line says so.
    """
    if compile is True:
        return Fast(step, compiled=True)
    if compile is False or steps < RECORD_FROM or step.weights[0].device.type != "cpu":
        return step
    foreign = _foreign(step.model, step.objective)
    if foreign:
        _say(f"{foreign} is not torch's or vaelib's own: each step is run as it stands; compile=True makes it faster")
        return step
    return Fast(step, compiled=steps >= COMPILE_FROM)


class Fast:
    """A `Step` that replays what it recorded with its first batch, for batches laid out as that one.

    A weight that is frozen or thawed later has the steps run as they stand. Another change to the model is not seen.

    Whatever cannot be recorded or compiled is said in one line and done in the slower way.
    """

    def __init__(self, step: Step, compiled: bool):
        self.step, self.compiled = step, compiled
        self.layout: tuple[Any, ...] | None = None  # what a record takes for granted
        self.program: Callable[..., tuple[Tensor, ...]] | None = None
        self.inputs = 0  # of the program
        self.whole = False  # whether the program takes the whole step, Adam's too
        self.fixed: list[Tensor] = []  # weights and buffers, which are changed in place
        self.used: list[Tensor] = []  # the weights that get a gradient
        like = step.weights[0]
        self.beta = torch.zeros((), dtype=like.dtype, device=like.device)

    def __call__(self, x: Tensor, lr: float, beta: float) -> tuple[Tensor, Tensor]:
        """As the plain step."""
        layout = (x.shape, x.stride(), x.dtype, *(weight.requires_grad for weight in self.step.weights))
        self.layout = layout if self.layout is None else self.layout
        if layout != self.layout:
            return self.step(x, lr, beta)
        self.program = self._made(x) if self.program is None else self.program
        if self.program is None:
            self.layout = ()  # as no batch is laid out: all are run as they stand
            return self.step(x, lr, beta)
        inputs = self._inputs(x)
        if len(inputs) != self.inputs:  # the optimiser was emptied; its next step fills it
            return self.step(x, lr, beta)
        self.beta.fill_(beta)
        set_lr(self.step.optimizer, lr)
        # Inference mode spares a record the bookkeeping of versions, but would not let go of gradients.
        spared = self.whole and isinstance(self.program, GraphModule)
        with torch.inference_mode() if spared else torch.no_grad():
            loss, totals, *gradients = self.program(*inputs)
        if spared:
            return loss.clone(), totals.clone()
        if not self.whole:
            for weight, gradient in zip(self.used, gradients, strict=True):
                weight.grad = gradient
            self.step.update(lr)
        return loss, totals

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"program": None}  # a copy records anew

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """What the program is called with; the optimiser's tensors as they are now: a resumed training has others."""
        optimizer = self.step.optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        entries = [optimizer.state[weight] for weight in self.step.weights if weight in optimizer.state]
        state = [values[name] for values in entries for name in sorted(values)]
        return [x, self.beta, *self.fixed, *filter(torch.is_tensor, [*rates, *state])]

    def _made(self, x: Tensor) -> Callable[..., tuple[Tensor, ...]] | None:
        self.fixed = [*self.step.weights, *self.step.model.buffers()]
        inputs = self._inputs(x)
        self.inputs = len(inputs)
        program: Callable[..., tuple[Tensor, ...]] | None = None
        with _rehearsal(inputs[1:]), torch.no_grad():
            if self.compiled:
                try:
                    program = _compiled(self._recorded(inputs, _adam_written_out), inputs)
                except Exception as error:  # above all where no compiler is installed
                    _say(f"this step cannot be compiled ({_line(error)}); it is replayed as recorded")
            try:
                if program is None:
                    record = self._recorded(inputs, _adam_as_it_is)
                    record(*inputs)
                    program = record
            except Exception as error:
                _say(f"this step cannot be recorded ({_line(error)}); it is run as it stands")
        return program

    def _recorded(self, inputs: list[Tensor], update: Callable[[torch.optim.Optimizer, Any, Any], None]) -> GraphModule:
        """The step as a program of tensor operations; gradients are left to be used where it cannot take them in."""
        from torch.fx.experimental.proxy_tensor import make_fx  # takes a while, and not every training records

        step = self.step
        self.whole = isinstance(step.optimizer, PlainAdam) and step.clip is None and processes.world() == 1

        def recorded(x: Tensor, beta: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                loss, totals = step.forward(x, beta)
            found = torch.autograd.grad(loss, step.weights, allow_unused=True)
            pairs = [(w, gradient) for w, gradient in zip(step.weights, found, strict=True) if gradient is not None]
            self.used = [weight for weight, _ in pairs]
            gradients = tuple(laid_out(gradient, weight) for weight, gradient in pairs)
            if not self.whole:
                return loss.detach(), totals, *_apart(gradients)
            update(step.optimizer, self.used, gradients)
            return loss.detach(), totals

        program = make_fx(recorded)(*inputs)
        program.graph.eliminate_dead_code()  # log-densities that no bound asked for
        if products.library() == "onednn":
            products.exchange(program, self.compiled)
        if update is _adam_as_it_is:
            _tidy(program)
        program.recompile()
        return program


def _apart(gradients: tuple[Tensor, ...]) -> list[Tensor]:
    """Each in a storage of its own, as `clip` changes them in place: those of a + b are one tensor."""
    places = [gradient.untyped_storage().data_ptr() for gradient in gradients]
    return [g.clone() if place in places[:i] else g for i, (g, place) in enumerate(zip(gradients, places, strict=True))]


def _adam_as_it_is(optimizer: torch.optim.Optimizer, weights: list[Tensor], gradients: tuple[Tensor, ...]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimizer.step()
    optimizer.zero_grad()


def _adam_written_out(optimizer: torch.optim.Optimizer, weights: list[Tensor], gradients: tuple[Tensor, ...]) -> None:
    """The same to rounding, for a compiler, which fuses it with what makes the gradients."""
    group = optimizer.param_groups[0]
    (beta_1, beta_2), lr, epsilon = group["betas"], group["lr"], group["eps"]
    t = optimizer.state[weights[0]]["step"].double() + 1  # in float32 1 - 0.999^t would lose four digits
    size = lr / (1 - torch.exp(t * math.log(beta_1)))
    width = (1 - torch.exp(t * math.log(beta_2))).rsqrt()
    for weight, gradient in zip(weights, gradients, strict=True):
        state = optimizer.state[weight]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m.mul_(beta_1).add_(gradient, alpha=1 - beta_1)
        v.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        weight -= size.to(weight.dtype) * m / (v.sqrt() * width.to(weight.dtype) + epsilon)
    torch._foreach_add_([optimizer.state[weight]["step"] for weight in weights], 1)


def _tidy(program: GraphModule) -> None:
    """Leaves out of a record what computes nothing, and has the rest called by the shortest way; no number changes.

    What computes nothing: marks for a profiler, and views of numbers that lie there already, looked at in the same way.
    `torch.mul` is the same operation as `torch.ops.aten.mul`, but called in about half the time, which is long beside
    small tensors.
    """
    nodes = [node for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    if any(torch.Tag.inplace_view in node.target.tags for node in nodes):
        return  # somebody's own code turns a tensor in place: one view of it does not do for two

    def place(node: Node) -> tuple[Any, ...]:
        tensor = node.meta.get("val")  # a constant has none
        if not torch.is_tensor(tensor):
            return (node,)
        return tensor.dtype, tensor.shape, tensor.stride()

    for node in reversed([node for node in nodes if node.target.namespace == "profiler"]):
        program.graph.erase_node(node)
    roots: dict[Any, Any] = {}  # of a view, the tensor that it looks at
    views: dict[tuple[Any, ...], Node] = {}
    for node in [node for node in nodes if _name(node) in _VIEWS]:
        root = roots.get(node.args[0], node.args[0])
        views.setdefault((root, place(root)), root)
        view = views.setdefault((root, place(node)), node)
        roots[node] = root
        node.replace_all_uses_with(view)
    program.graph.eliminate_dead_code()  # which knows by their long names what works in place, and must stay
    for node in program.graph.nodes:
        name = _name(node)
        if isinstance(getattr(torch, name, None), BuiltinFunctionType):
            node.target = getattr(torch, name)
        elif isinstance(getattr(Tensor, name, None), MethodDescriptorType):
            node.op, node.target = "call_method", name


def _name(node: Node) -> str:
    """Of one of PyTorch's own operations, such as mul; of another, nothing."""
    schema = node.target._schema.name if isinstance(node.target, torch._ops.OpOverload) else ""
    return schema.removeprefix("aten::") if schema.startswith("aten::") else ""


def _compiled(program: GraphModule, inputs: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    # The random numbers of the plain step, not a stream of the compiler's own. On a CPU the calls are made from C++.
    # The program is called with tensors of one layout alone, which need not be looked at in each step.
    on_cpu = inputs[0].device.type == "cpu"
    options: dict[str, Any] = {"fallback_random": True, "size_asserts": False, "cpp_wrapper": on_cpu}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, of PyTorch's own use of itself
        compiled = _compiled_alone(program, inputs, options) if on_cpu else None
        if compiled is None:
            options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
            compiled = torch.compile(program, fullgraph=True, dynamic=False, options=options)
        compiled(*inputs)
    return compiled


def _compiled_alone(program: GraphModule, inputs: list[Tensor], options: dict[str, Any]) -> Callable[..., Any] | None:
    """What `torch.compile` makes, without what it does at each call, 4 to 5 % of a step; None where torch has changed.

    This function of torch is not a settled one.
    """
    try:
        from torch._inductor import standalone_compile

        how = {"config_patches": options}
        return standalone_compile(program, list(inputs), dynamic_shapes="from_example_inputs", options=how)
    except (ImportError, TypeError):
        return None


@contextmanager
def _rehearsal(tensors: list[Tensor]) -> Generator[None]:
    """What runs in this block leaves random numbers and these tensors as they were."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        with RandomStream(0, tensors[0].device):
            yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)


def _foreign(model: nn.Module, objective: Callable[[Terms, Any], Tensor]) -> str:
    """The first part of another origin, by name, or of which a hook or a replaced forward is one; else nothing."""
    parts: list[Any] = [getattr(objective, "func", objective), *map(type, model.modules())]
    for part in parts:
        if part.__module__.partition(".")[0] not in ("torch", "vaelib"):
            return getattr(part, "__qualname__", type(part).__qualname__)
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if getattr(torch.nn.modules.module, "_has_any_global_hook", bool)():
        return "a hook of all modules"
    for module in model.modules():
        if any(getattr(module, name, None) for name in hooks):
            return f"a hook of {type(module).__name__}"
        if "forward" in vars(module):
            return f"the forward of a {type(module).__name__}"
    for name, weight in model.named_parameters():
        if weight._backward_hooks or weight._post_accumulate_grad_hooks:
            return f"a hook of {name}"
    return ""


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _say(what: str) -> None:
    print(f"compile: {what}", file=sys.stderr)
