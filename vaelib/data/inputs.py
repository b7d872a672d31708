"""What users hand in as data, made into what the library works with."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


def as_images(data: Any) -> Tensor:
    """One floating-point tensor (N, *event) from a tensor, an array, or a map-style `Dataset` of x or (x, ...) items.

    Raises ValueError for anything else, with what to do.
    """
    if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
        data = torch.from_numpy(data)
    elif isinstance(data, Dataset) and hasattr(data, "__len__") and len(data) > 0:
        items = (data[i] for i in range(len(data)))
        data = torch.stack([torch.as_tensor(item[0] if isinstance(item, tuple | list) else item) for item in items])
    if not isinstance(data, Tensor):
        raise ValueError(
            f"data of type {type(data).__name__}: expected a tensor, a numpy array or a map-style Dataset, not empty"
        )
    if not data.is_floating_point():
        raise ValueError(f"data of dtype {data.dtype}: expected floating-point (divide 8-bit images by 255)")
    return data


def as_tensor(data: Any, *, key: str | None = None, name: str = "x", dtype: torch.dtype | None = None) -> Tensor:
    """`as_images`, in this dtype."""
    return as_images(data).to(dtype)
