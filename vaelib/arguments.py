"""The numbers that users hand in: taken whoever made them, refused in words where they cannot be meant."""

import math
import operator
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor


def integers(least: int = 1, /, **named: Any) -> list[int]:
    """The named numbers as integers of Python's own.

    Args:
        least: the smallest that can be meant.
        **named: integers of Python, NumPy or torch (one number, not a list of one).

    Raises:
        ValueError: one is no integer (True, False and 2.0 are none), or is less than `least`.
    """
    found = []
    for name, value in named.items():
        plain = _plain(value)
        try:
            number = None if isinstance(plain, bool) else operator.index(plain)
        except TypeError:
            number = None
        if number is None or number < least:
            raise ValueError(f"{name} is {value!r}: expected an integer of at least {least}")
        found.append(number)
    return found


def number(value: Any) -> float:
    """A real number of Python, NumPy or torch as a float of Python's own.

    Returns:
        NaN where value is no real number (True, False, a list of one, a complex number), for which no comparison holds;
        an infinity where it is too large for a float.
    """
    plain = _plain(value)
    if not isinstance(plain, Real) or isinstance(plain, bool):
        return math.nan
    try:
        return float(plain)
    except OverflowError:
        return math.inf if plain > 0 else -math.inf


def is_number(value: Any, above: float = -math.inf) -> bool:
    """Whether this is a finite real number above a bound; True and False are none."""
    return above < number(value) < math.inf


def _plain(value: Any) -> Any:
    """One number of NumPy or torch as Python's own; several, even a list of one, are None; all else as it is."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.item() if value.ndim == 0 else None
    return value
