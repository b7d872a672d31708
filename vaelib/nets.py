"""Networks: plain stacks of torch layers, which any module of yours may replace.

>>> ConvDecoder(16, (3, 27, 29))(torch.zeros(5, 16)).shape
torch.Size([5, 3, 27, 29])
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .arguments import integers

NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Gated(nn.Module):
    """The layer (A h + a) * sigmoid(B h + b): the second factor decides how much of each feature passes.

    Source: Dauphin et al. 2017 (arXiv 1612.08083); in VAEs: Tomczak & Welling 2018 (arXiv 1705.07120).
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
    """A multilayer perceptron, (N, inputs) -> (N, hidden[-1]).

    Args:
        activation: what makes an activation when called, such as `nn.ReLU`.
        norm: "batch" or "layer" normalisation before each activation. With batch normalisation an example's bound
            depends on its batch mates while training; `model.eval()` ends that.
        gated: `Gated` layers, which need no activation.
    Raises:
        ValueError: For sizes that are not positive integers, an unknown norm, or an activation that makes no module.
    """
    (inputs,) = integers(inputs=inputs)
    if not isinstance(hidden, list | tuple):
        raise ValueError(f"hidden is {hidden!r}: expected a sequence of positive layer sizes such as (200, 200)")
    sizes = [inputs, *_sizes("hidden", hidden)]
    if norm is not None and norm not in NORMS:
        raise ValueError(f'norm is {norm!r}: expected None, "batch" or "layer"')
    try:
        made = activation()
    except TypeError:
        made = None
    if not isinstance(made, nn.Module):
        raise ValueError(f"activation is {activation!r}: expected what makes a module when called, such as nn.Tanh")
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers.append(Gated(fan_in, fan_out) if gated else nn.Linear(fan_in, fan_out))
        if norm is not None:
            layers.append(NORMS[norm](fan_out))
        if not gated:
            layers.append(activation())
    return nn.Sequential(*layers)


class ConvEncoder(nn.Module):
    """Images (N, C, H, W) -> (N, outputs): convolutions that halve the image, then a linear layer.

    Args:
        event: (C, H, W), of any size that can be halved, rounding down, once for each of `channels`.
        channels: those after each convolution.
    Raises:
        ValueError: Where the event is no shape of images, or a side would fall below one pixel.
    """

    def __init__(self, event: Sequence[int], outputs: int, channels: Sequence[int] = (32, 64)):
        super().__init__()
        widths, sides = _pyramid(event, channels)
        (outputs,) = integers(outputs=outputs)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Conv2d(fan_in, fan_out, kernel_size=4, stride=2, padding=1), nn.SiLU()]
        height, width = sides[-1]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * height * width, outputs))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class ConvDecoder(nn.Module):
    """(N, inputs) -> images (N, C, H, W): the mirror image of `ConvEncoder`.

    For a likelihood with P parameters per pixel let the event have P C channels: all of the first parameter come first.
    `channels` are those before each transposed convolution; errors as for `ConvEncoder`.
    """

    def __init__(self, inputs: int, event: Sequence[int], channels: Sequence[int] = (64, 32)):
        super().__init__()
        (inputs,) = integers(inputs=inputs)
        widths, sides = _pyramid(event, channels[::-1] if isinstance(channels, list | tuple) else channels)
        height, width = sides[-1]
        layers: list[nn.Module] = [nn.Linear(inputs, widths[-1] * height * width)]
        layers.append(nn.Unflatten(1, (widths[-1], height, width)))
        for fan_in, fan_out, (height, width) in zip(widths[:0:-1], widths[-2::-1], sides[-2::-1], strict=True):
            # Doubled, an odd side lacks the pixel that halving it had dropped.
            odd = (height % 2, width % 2)
            layers += [nn.SiLU(), nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, output_padding=odd)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


def _pyramid(event: Sequence[int], channels: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """From the image to the smallest stage: the channels of each, and the (height, width) of each."""
    if not isinstance(event, list | tuple) or len(event) != 3:
        raise ValueError(f"event is {event!r}: expected the shape (C, H, W) of an image, such as (3, 32, 32)")
    if not isinstance(channels, list | tuple) or not channels:
        raise ValueError(f"channels is {channels!r}: expected one number for each convolution, such as (32, 64)")
    first, *sides = _sizes("event", event)
    widths, least = [first, *_sizes("channels", channels)], 2 ** len(channels)
    if min(sides) < least:
        raise ValueError(
            f"event is {event!r}: expected a height and width of at least {least}, as each of the {len(channels)} "
            "convolutions halves them; use fewer channels, or a multilayer perceptron"
        )
    return widths, [(sides[0] >> stage, sides[1] >> stage) for stage in range(len(widths))]


def _sizes(name: str, sizes: Sequence[int]) -> list[int]:
    return integers(**{f"{name}[{i}]": size for i, size in enumerate(sizes)})
