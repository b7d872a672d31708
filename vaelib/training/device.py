"""Where a training computes, and how precisely."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from .. import processes

PRECISIONS = ("auto", "float32", "tf32", "bfloat16")


@contextmanager
def products(precision: str, device: torch.device) -> Generator[None]:
    """Matrix products of float32 in this block are computed with this precision."""
    if device.type != "cuda":
        yield
        return
    old = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        with torch.backends.cudnn.flags(allow_tf32=precision == "tf32"):
            yield
    finally:
        torch.set_float32_matmul_precision(old)


def available(precision: str, device: torch.device) -> str:
    """The precision that there is on this device; one line says so where another was asked for. Raises ValueError."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}: expected one of {', '.join(PRECISIONS)}")
    if precision == "tf32" and device.type != "cuda":
        print(f"precision: {device.type} has no tf32; float32 is used", file=sys.stderr)
        return "float32"
    return "float32" if precision == "auto" else precision


def device_named(name: str | torch.device) -> torch.device:
    """The device of this name, or ValueError; "auto" is a GPU where there is one, under torchrun the process's own."""
    if str(name) == "auto":
        return processes.own_gpu() if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        expected = 'expected "auto", "cpu" or a device present here such as "cuda"'
        raise ValueError(f"device is {name!r}: {expected}") from error
    return device


def taken(data: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """These examples, on the device. From a host's memory they go through pinned memory, so that nobody waits."""
    if data.device == device:
        return data.index_select(0, index)
    batch = data.new_empty(len(index), *data.shape[1:], pin_memory=True)
    return torch.index_select(data, 0, index, out=batch).to(device, non_blocking=True)


def placed(data: Tensor, device: torch.device) -> Tensor:
    """On the device if they fill no more than half of its free memory, else where they are."""
    if device.type == "cuda" and data.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return data.cpu()
    return data.to(device)
