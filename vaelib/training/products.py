"""Which library multiplies the matrices of a recorded step: MKL, as torch chooses, or oneDNN, also part of torch.

On a processor that is not Intel's, MKL takes its kernels for 256 bits. That is all that a core of AMD's Zen 4 computes
at once: there both libraries reach 95 to 100 GFLOP/s on one core, and MKL calls cost less (AMD EPYC, family 25). From
family 26 on (Zen 5) a core computes 512 bits at once: MKL stays at 112 GFLOP/s for 128 x 784 x 200, and oneDNN reaches
219 to 243. A rule and not a measurement at each start, as the numbers differ by rounding: a training that is continued
on the same machine has to multiply in the same way. torch has no public switch between the two; outside a record, in
single calls from Python, what oneDNN saves is lost again in calling it.
"""

import functools
import os
import re
from pathlib import Path

import torch
from torch import Tensor
from torch.fx import GraphModule

# A call of oneDNN takes 10 to 25 us longer to begin, which a product of fewer multiplications does not win back.
ONEDNN_FROM = 4_000_000


@functools.cache
def library() -> str:
    """ "mkl" or "onednn": the environment variable VAELIB_PRODUCTS where it is set, else the faster one by the rule.

    Raises:
        ValueError: For another value of the variable.
    """
    asked = os.environ.get("VAELIB_PRODUCTS", "")
    if asked not in ("", "mkl", "onednn"):
        raise ValueError(f'VAELIB_PRODUCTS is {asked!r}: expected "mkl" or "onednn", or that it is not set')
    return asked or by_rule(_processor())


def by_rule(processor: str) -> str:
    """The faster library on the processor that is described in the form of Linux's /proc/cpuinfo."""
    family = re.search(r"^cpu family\s*: (\d+)", processor, re.MULTILINE)
    zen_5 = "AuthenticAMD" in processor and family is not None and int(family[1]) >= 26
    return "onednn" if zen_5 and torch.backends.mkldnn.is_available() else "mkl"


def exchange(program: GraphModule, compiled: bool) -> int:
    """Lets oneDNN compute the large products in float32 of a recorded program, in place; how many these are.

    compiled: the program will be compiled. The compiler knows the operation itself for constant weights only, so it is
    given one that it does not look into.
    """
    aten, exchanged = torch.ops.aten, 0
    for node in list(program.graph.nodes):
        if node.target not in (aten.mm.default, aten.addmm.default) or node.kwargs:
            continue
        *bias, a, b = node.args
        values: list[Tensor] = [argument.meta["val"] for argument in (*bias, a, b)]
        rows, inner, columns = *values[-2].shape, values[-1].shape[1]
        large = rows * inner * columns >= ONEDNN_FROM
        if not large or any(v.dtype != torch.float32 or v.device.type != "cpu" for v in values):
            continue
        if bias and values[0].shape != (columns,):
            continue
        with program.graph.inserting_before(node):
            operation = torch.ops.vaelib.product.default if compiled else multiplied
            new = program.graph.call_function(operation, (a, b, bias[0] if bias else None))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        program.graph.erase_node(node)
        exchanged += 1
    program.recompile()
    return exchanged


def multiplied(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """a b + bias by oneDNN, (M, N), for a: (M, K), b: (K, N), bias: (N,), in float32 on a CPU."""
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")


product = torch.library.custom_op("vaelib::product", multiplied, mutates_args=())


@product.register_fake
def _shape(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[1])


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:  # not Linux
        return ""
