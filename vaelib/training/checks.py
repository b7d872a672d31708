"""What can be said of a training before it begins: whether its arguments can be meant, and what it is."""

import functools
import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from .. import processes
from ..arguments import is_number
from ..bounds import Terms, dreg
from ..data.inputs import Streamed
from ..hierarchy import check_model
from . import saving

CHECKED = 1000  # examples at a time, so that looking at the data takes no memory to speak of


def arguments(model: Any, transform: Any, optimizer: Any, compile: Any, clip: Any) -> None:
    """Raises ValueError, saying what was expected, where one of them cannot be meant."""
    check_model(model)
    if transform is not None and not callable(transform):
        raise ValueError(f"transform is {transform!r}: expected a function of a batch, such as vaelib.binarise")
    if optimizer is not None and not callable(optimizer):
        kind = type(optimizer).__name__
        raise ValueError(f"optimizer is a {kind}: expected a function of the weights, such as torch.optim.AdamW")
    if compile != "auto" and not isinstance(compile, bool):
        raise ValueError(f'compile is {compile!r}: expected "auto", True or False')
    if clip is not None and not is_number(clip, above=0):
        raise ValueError(f"clip is {clip!r}: expected the largest norm that a gradient may have, a positive number")
    if not torch.is_grad_enabled():
        raise ValueError("training under torch.no_grad: expected gradients to be switched on")


def of_these(optimizer: Any, weights: list[Tensor]) -> None:
    """Raises ValueError unless this is an optimiser of nothing but these weights, which takes one gradient a step."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(f"optimizer returned {optimizer!r}: expected an optimiser of torch.optim, or one like these")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("optimizer returned LBFGS, which wants the loss several times in a step: expected another")
    known = {id(weight) for weight in weights}
    if any(id(weight) not in known for group in optimizer.param_groups for weight in group["params"]):
        expected = "expected those it is given, as in optimizer=lambda weights: torch.optim.AdamW(weights)"
        raise ValueError(f"optimizer took weights that are not this model's, or are frozen: {expected}")


def settings(optimizer: torch.optim.Optimizer, model: nn.Module) -> str:
    """What an optimiser is, but for its learning rate: one text, equal for equal ones."""
    names = {weight: name for name, weight in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        kept = {name: value for name, value in group.items() if name not in ("lr", "params")}
        groups.append(f"{kept} for {', '.join(names[weight] for weight in group['params'])}")
    return f"{type(optimizer).__name__}({'; '.join(groups)})"


def trial(objective: Any, levels: int, samples: int) -> None:
    """Tried on terms of two examples, before any time is spent."""
    log_px, log_pz = torch.zeros(samples, 2), torch.zeros(levels, samples, 2)
    try:
        value = objective(Terms(log_px, log_pz, log_pz, log_pz, () if objective is dreg else None), 1.0)
    except Exception as error:
        expected = "expected a function of terms and beta; on a trial it said"
        raise ValueError(f"objective is {objective!r}: {expected} {error}") from error
    if not isinstance(value, Tensor) or value.shape != (2,):
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise ValueError(f"objective gave {got} for a batch of two: expected one number per example, (2,)")


def normalisation(model: nn.Module, examples: int, batch_size: int) -> None:
    """Batch normalisation in training needs two examples in each process's part of each batch."""
    smallest = min(batch_size, examples % batch_size or batch_size, examples) // processes.world()
    if smallest < 2 and any(isinstance(m, nn.BatchNorm1d) for m in model.modules()):
        left = f"{examples} examples in batches of {batch_size} leave a process a batch of {smallest}"
        raise ValueError(f"{left}: expected two or more to normalise by; choose another batch_size")


def digest(data: "Tensor | Streamed | None") -> str | None:
    """A fingerprint of the data, by which a training that is continued knows its own."""
    if not isinstance(data, Tensor):
        return None if data is None else "streamed"
    sha = hashlib.sha256(f"{tuple(data.shape)} {data.dtype}".encode())
    for some in data.split(CHECKED):
        sha.update(some.cpu().contiguous().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def named(function: Any) -> str | None:
    """A function by name, with what is bound to it."""
    if isinstance(function, functools.partial):
        return f"{named(function.func)}({saving.words([function.args, function.keywords], {})})"
    return None if function is None else getattr(function, "__name__", type(function).__name__)
