"""A module tried once, where a model is built, so that what does not fit is said in words, then and there."""

import functools
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.parameter import is_lazy

from .conditionals import Conditional
from .randomness import RandomStream


@contextmanager
def in_evaluation(module: nn.Module) -> Generator[None]:
    """Within this block the module is in evaluation mode; after it each part has the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def device_of(module: nn.Module) -> torch.device:
    """Where the module's weights lie, or its buffers where it has none."""
    return next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def dtype_of(module: nn.Module) -> torch.dtype | None:
    """The dtype of the module's weights, or of its buffers where it has none; None without either."""
    buffers = [buffer.dtype for buffer in module.buffers() if buffer.is_floating_point()]
    promoted = functools.reduce(torch.promote_types, buffers) if buffers else None
    return next((weight.dtype for weight in module.parameters()), promoted)


def returned(name: str, module: nn.Module, *given: Tensor) -> Any:
    """What a module returns, tried once, in evaluation mode, for made-up examples.

    The caller's random numbers are left as they were, unless lazy layers need them to draw their weights.
    """
    if isinstance(module, Conditional) and given and given[0].shape[-1] != module.inputs:
        raise ValueError(f"{name} takes {module.inputs} numbers and is given {given[0].shape[-1]}: expected the same")
    lazy = any(is_lazy(weight) for weight in module.parameters())
    try:
        with torch.no_grad(), in_evaluation(module), nullcontext() if lazy else RandomStream(0, device_of(module)):
            return module(*given)
    except Exception as error:
        if isinstance(module, Conditional) and isinstance(error, ValueError):
            raise ValueError(f"{name}: {error}") from error
        on = "".join(f" on made-up input of shape {tuple(x.shape)}" for x in given)
        kind = type(error).__name__
        raise ValueError(f"{name} was tried{on}: expected a distribution, got {kind}: {error}") from error


def tried(
    name: str, module: nn.Module, *given: Tensor, batch: tuple[int, ...] = (), event: tuple[int, ...] | None = None
) -> Distribution:
    """`returned`, which must be a distribution of this batch shape and, where it is known, this event shape."""
    if event is None and isinstance(module, Conditional):
        event = module.event
    return as_expected(name, returned(name, module, *given), batch, event)


def as_expected(name: str, got: Any, batch: tuple[int, ...] = (), event: tuple[int, ...] | None = None) -> Distribution:
    """A distribution of this batch shape and, where it is known, this event shape, else a ValueError that says so."""
    if not isinstance(got, Distribution):
        raise ValueError(
            f"{name} returned a {type(got).__name__}: expected a distribution; vl.Gaussian(inputs, event, net=module) "
            "makes one of a plain network"
        )
    shapes = tuple(got.batch_shape), tuple(got.event_shape)
    whole = shapes[0] + shapes[1]
    if event is None and whole[: len(batch)] == batch:
        event = whole[len(batch) :]
    if event and shapes == (batch, event):
        return got
    missing = len(event) - len(shapes[1]) if event and whole == batch + event else 0
    hint = f"; wrap it in Independent(..., {missing})" if missing > 0 else ""
    raise ValueError(
        f"{name} returned a distribution of batch shape {shapes[0]} and event shape {shapes[1]}: expected batch shape "
        f"{batch}, event shape {event or 'of one axis or more'}{hint}"
    )
