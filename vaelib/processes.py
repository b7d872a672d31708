"""Several processes, one training: started by torchrun, a training and any `nll` after it share the work.

What they find is what one process finds, but for the order of sums.

    torchrun --nproc-per-node 2 -m vaelib train --out runs/a

Gradients of the whole batch are one sum over the processes. Each process holds all data and draws the random numbers
of the whole batch, the ones that a single process would use, and computes with its own part of them.

Two kinds of layers see only that part, and with them the result is *not* that of one process: batch normalisation
normalises by it (its running statistics are averaged over the processes after each epoch, so that all processes hold
one model), and dropout draws its masks for it.
"""

import atexit
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

# Imported later, by the compiler say, its functions would take the group that exists by then as their default and keep
# it for ever: its threads would outlive `destroy_process_group`, and one that hands a tensor back to a Python that is
# ending aborts the process ("terminate called without an active exception").
import torch.distributed.nn.functional
from torch import Tensor, distributed
from torch.overrides import TorchFunctionMode


def start(device: torch.device) -> None:
    """Join the processes that torchrun started, unless that has been done or there are none.

    The group lasts as long as the program, for an `nll` after the training, and is ended, with its threads, before
    Python is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_stop)


def _stop() -> None:
    if distributed.is_initialized():  # the user may have ended it
        distributed.destroy_process_group()


def own_gpu() -> torch.device:
    """The GPU of this process: torchrun numbers the processes of a machine from 0."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def rank() -> int:
    """The number of this process, 0 where there is one only."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def part(count: int) -> tuple[slice, int]:
    """This process's rows of a batch of `count` examples, and the weight with which they count.

    The weight is 1; a process for which there is no row computes with the first one, which then counts 0 times, so that
    each process takes part in each sum. Parts differ by one example at most.
    """
    start, end = count * rank() // world(), count * (rank() + 1) // world()
    return (slice(start, end), 1) if end > start else (slice(0, 1), 0)


def sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one message."""
    if world() > 1 and tensors:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


def average_over_processes(tensors: Iterable[Tensor]) -> None:
    """Replace each floating-point tensor by its mean over all processes."""
    if world() > 1:
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]
        sum_over_processes(floating)
        for tensor in floating:
            tensor.div_(world())


def noise_of(count: int) -> AbstractContextManager[Any]:
    """Within this block, reparameterisation noise (K, B, ...) is this process's part of that of `count` examples."""
    return _NoiseOfTheWholeBatch(count) if world() > 1 else nullcontext()


class _NoiseOfTheWholeBatch(TorchFunctionMode):
    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.normal_ and args[0].ndim > 1:
            own = args[0]
            whole = own.new_empty(own.shape[0], self.count, *own.shape[2:]).normal_()
            return own.copy_(whole[:, part(self.count)[0]])
        return func(*args, **(kwargs or {}))
