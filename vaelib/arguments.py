"""What users hand in: taken whoever made it, refused in words where it cannot be meant."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor


def integers(least: int = 1, /, **named: Any) -> list[int]:
    """The named numbers of Python, NumPy or torch as integers of Python's own.

    Raises:
        ValueError: One is no integer (True, 2.0 and a list of one are none), or is less than `least`.
    """
    found = []
    for name, value in named.items():
        one = plain(value)
        if not isinstance(one, Integral) or isinstance(one, bool) or one < least:
            raise ValueError(f"{name} is {value!r}: expected an integer of at least {least}")
        found.append(int(one))
    return found


def number(value: Any) -> float:
    """A real number of Python, NumPy or torch as a float; an infinity where it is too large for one.

    NaN, for which no comparison holds, where value is no real number: True, a list of one, a complex number.
    """
    one = plain(value)
    try:
        return float(one) if isinstance(one, Real) and not isinstance(one, bool) else math.nan
    except OverflowError:
        return math.inf if one > 0 else -math.inf


def is_number(value: Any, above: float = -math.inf) -> bool:
    """Whether this is a finite real number above a bound; True and False are none."""
    return above < number(value) < math.inf


def plain(value: Any) -> Any:
    """One number of NumPy or torch as Python's own; several, even a list of one, are None; all else as it is."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.item() if value.ndim == 0 else None
    return value


def check_floating(name: str, value: Any) -> None:
    """Raise ValueError unless value is a floating-point tensor."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is {type(value).__name__}: expected a floating-point tensor; use torch.as_tensor")
    if not value.is_floating_point():
        raise ValueError(f"{name} is {value.dtype}: expected a floating-point tensor (divide 8-bit images by 255)")
