"""What several test files make: small data that are the same in every run, and a comparison of models."""

import torch
from torch import Tensor, nn


def images(number: int = 50, event: tuple[int, ...] = (1, 4, 4)) -> Tensor:
    """Grey images in [0, 1): (number, *event)."""
    return torch.rand(number, *event, generator=torch.Generator().manual_seed(0))


def binary(number: int = 6, event: tuple[int, ...] = (1, 4, 4), dtype: torch.dtype = torch.float32) -> Tensor:
    """Binary images, two pixels of five set: (number, *event)."""
    generator = torch.Generator().manual_seed(0)
    return torch.bernoulli(torch.full((number, *event), 0.4, dtype=dtype), generator=generator)


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules have the same weights and buffers, bit for bit, under the same names."""
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(i == j and torch.equal(x, y) for (i, x), (j, y) in pairs)
