"""Networks: plain stacks of torch layers, which any module of yours may replace.

>>> encoder = ConvEncoder((1, 28, 28), outputs=2 * 16)
>>> encoder(torch.zeros(5, 1, 28, 28)).shape
torch.Size([5, 32])
>>> ConvDecoder(16, (1, 28, 28))(torch.zeros(5, 16)).shape
torch.Size([5, 1, 28, 28])
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .arguments import integers

NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Gated(nn.Module):
    """The layer (A h + a) * sigmoid(B h + b): the second factor decides how much of each feature passes.

    Source: Dauphin et al. 2017 (arXiv 1612.08083), eq. 1; in VAEs: Tomczak & Welling 2018 (arXiv 1705.07120).
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.value, self.gate = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.value(features) * torch.sigmoid(self.gate(features))


def mlp(
    inputs: int,
    hidden: Sequence[int],
    activation: Callable[[], nn.Module] = nn.Tanh,
    norm: str | None = None,
    gated: bool = False,
) -> nn.Sequential:
    """A multilayer perceptron (N, inputs) -> (N, hidden[-1]).

    norm: "batch" or "layer" normalisation before each activation. With batch normalisation an example's bound depends
    on its batch mates while training; `model.eval()` ends that. gated: `Gated` layers, which need no activation.

    Raises ValueError for sizes that are not positive integers, or an unknown norm.
    """
    integers(inputs=inputs)
    if not isinstance(hidden, list | tuple) or any(not isinstance(size, int) or size < 1 for size in hidden):
        raise ValueError(f"hidden is {hidden!r}: expected a sequence of positive layer sizes such as (200, 200)")
    if norm is not None and norm not in NORMS:
        raise ValueError(f'norm is {norm!r}: expected None, "batch" or "layer"')
    try:
        made = activation()
    except TypeError:
        made = None
    if not isinstance(made, nn.Module):
        raise ValueError(f"activation is {activation!r}: expected what makes a module when called, such as nn.Tanh")
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([inputs, *hidden]):
        layers.append(Gated(fan_in, fan_out) if gated else nn.Linear(fan_in, fan_out))
        if norm is not None:
            layers.append(NORMS[norm](fan_out))
        if not gated:
            layers.append(activation())
    return nn.Sequential(*layers)


class ConvEncoder(nn.Module):
    """Images (N, C, H, W) -> (N, outputs): one convolution with stride 2 for each of `channels`, then a linear layer.

    Raises ValueError where H or W cannot be halved that often.
    """

    def __init__(self, event: Sequence[int], outputs: int, channels: Sequence[int] = (32, 64)):
        super().__init__()
        height, width = _halved(event, channels)
        integers(outputs=outputs)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise([event[0], *channels]):
            layers += [nn.Conv2d(fan_in, fan_out, kernel_size=4, stride=2, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, outputs))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class ConvDecoder(nn.Module):
    """(N, inputs) -> images (N, C, H, W): the mirror image of `ConvEncoder`.

    For a likelihood with P parameters per pixel let the event have P C channels: all of the first parameter come first.
    """

    def __init__(self, inputs: int, event: Sequence[int], channels: Sequence[int] = (64, 32)):
        super().__init__()
        height, width = _halved(event, channels)
        layers: list[nn.Module] = [nn.Linear(inputs, channels[0] * height * width)]
        layers.append(nn.Unflatten(1, (channels[0], height, width)))
        for fan_in, fan_out in pairwise([*channels, event[0]]):
            layers += [nn.SiLU(), nn.ConvTranspose2d(fan_in, fan_out, kernel_size=4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


def _halved(event: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    shapes = isinstance(event, list | tuple) and isinstance(channels, list | tuple) and len(event) == 3 and channels
    if shapes:
        integers(**dict(zip("CHW", event, strict=True)), **{f"channels[{i}]": size for i, size in enumerate(channels)})
    factor = 2 ** len(channels) if shapes else 2
    if not shapes or any(size % factor for size in event[1:]):
        raise ValueError(
            f"event is {event!r} with channels={channels!r}: expected images (C, H, W) whose H and W can be divided by "
            f"{factor}, two for each of the channels"
        )
    return event[1] // factor, event[2] // factor
