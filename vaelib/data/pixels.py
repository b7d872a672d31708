"""Pixel intensities read as probabilities of ink."""

import torch
from torch import Tensor

from ..arguments import check_floating

SCALE = "dynamic binarisation needs pixel intensities in [0, 1]; divide 8-bit images by 255"


def binarise(x: Tensor, check: bool = True) -> Tensor:
    """Pixels of 0 and 1, each 1 with probability x, in the dtype and shape of x: dynamic binarisation.

    Drawn anew in each call, hence made to be the `transform` of `fit`. It is `torch.bernoulli` with a stream of its
    own: in float32 on a CPU less than half of the time, as one draw of 64 random bits serves four pixels. A probability
    is then rounded to a multiple of 2^-16, so it is off by at most 2^-17; 0 and 1 stay certain.

    Args:
        check: whether to refuse values outside [0, 1] and NaN (on a CPU; a GPU would have to be waited for).
    Raises:
        ValueError: x is no floating-point tensor, or a value is outside [0, 1] or NaN.
    Source: Salakhutdinov & Murray 2008, "On the quantitative analysis of deep belief networks".
    """
    check_floating("x", x)
    if check and x.device.type == "cpu" and x.numel() and not in_unit_interval(x):
        raise ValueError(f"x has values outside [0, 1] or NaN: {SCALE}")
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return torch.bernoulli(x)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    n = words.view(torch.int16)[: x.numel()].view(x.shape)  # uniform on -32,768 ... 32,767
    # Ink where x > u = n / 2^16 + 1/2 + 2^-17, one of the midpoints of 65,536 equal parts of [0, 1].
    return torch.sub(x, n, alpha=2**-16).gt_(0.5 + 2**-17)


def in_unit_interval(x: Tensor) -> bool:
    """Whether all values lie in [0, 1]; NaN does not."""
    low, high = x.aminmax()
    return bool(low >= 0 and high <= 1)
