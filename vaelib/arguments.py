"""The numbers that users hand in: refused in words where they cannot be meant."""

import math
import operator
from numbers import Real
from typing import Any

import numpy as np


def integers(least: int = 1, **numbers: Any) -> list[int]:
    """The named numbers as integers of Python's own. Raises ValueError where one is none, or less than `least`."""
    found = []
    for name, value in numbers.items():
        try:
            number = None if isinstance(value, bool | np.bool_) else operator.index(value)
        except TypeError:
            number = None
        if number is None or number < least:
            raise ValueError(f"{name} is {value!r}: expected an integer of at least {least}")
        found.append(number)
    return found


def is_number(value: Any, above: float = -math.inf) -> bool:
    """Whether this is a finite real number above a bound; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and above < float(value) < math.inf
