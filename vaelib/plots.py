"""Pictures of data, latents and training. Every function draws into `ax` (a new figure unless given) and returns it.

Colours are Okabe & Ito's, which colour-blind readers can tell apart, without their yellow, which is lost on white.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from .training import History

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    return plt.subplots(figsize=size, dpi=100, layout="constrained")[1]


def _tiles(images: Tensor, columns: int) -> np.ndarray:
    """(N, 1, H, W) or (N, H, W) to one picture of rows of `columns` images with a thin gap of paper between them."""
    images = images.detach().float().cpu()
    if images.ndim not in (3, 4) or len(images) == 0:
        raise ValueError(f"images have shape {tuple(images.shape)}: expected (N, 1, H, W) or (N, H, W), N >= 1")
    images = images.reshape(len(images), *images.shape[-2:])
    rows = math.ceil(len(images) / columns)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), value=math.nan)  # (N, H + 2, W + 2)
    blank = torch.full((rows * columns - len(images), *padded.shape[1:]), math.nan)
    height, width = padded.shape[1:]
    grid = torch.cat([padded, blank]).reshape(rows, columns, height, width)
    return grid.permute(0, 2, 1, 3).reshape(rows * height, columns * width).numpy()


def image_grid(images: Tensor, columns: int = 8, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Images side by side, ink dark on light. images: (N, 1, H, W) or (N, H, W) in [0, 1]."""
    tiles = _tiles(images, columns)
    height, width = tiles.shape
    ax = _axes(ax, (8, min(8, 8 * height / width + 0.4)))
    ax.imshow(tiles, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return ax


def reconstructions(rows: Mapping[str, Tensor], title: str | None = None, ax: Axes | None = None) -> Axes:
    """One labelled row of images each, e.g. {"x": x, "from z1": model.reconstruct(x)}; all rows of equal length."""
    lengths = {len(images) for images in rows.values()}
    if len(lengths) != 1:
        raise ValueError(f"the rows hold {sorted(lengths)} images: expected the same number in each")
    (columns,) = lengths
    tiles = np.concatenate([_tiles(images, columns) for images in rows.values()])
    height, width = tiles.shape
    ax = _axes(ax, (8, 7 * height / width + 0.4))
    ax.imshow(tiles, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    step = height / len(rows)
    ax.set_yticks([step * (i + 0.5) for i in range(len(rows))], list(rows))
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(title)
    return ax


def latent_scatter(
    latents: Tensor,
    labels: Tensor,
    names: Sequence[str] | None = None,
    title: str = "Latents",
    ax: Axes | None = None,
) -> Axes:
    """The first two coordinates of latents (N, L >= 2), one colour and one marker per label (N,)."""
    if latents.ndim != 2 or latents.shape[1] < 2 or len(labels) != len(latents):
        raise ValueError(
            f"latents {tuple(latents.shape)} and labels {tuple(labels.shape)}: expected (N, L) with L >= 2 and (N,)"
        )
    ax = _axes(ax, (6.4, 5.4))
    points, labels = latents.detach().cpu(), labels.cpu()
    # Ten digits need more than the seven colours: the marker tells apart what shares a colour.
    for label in labels.unique().tolist():
        chosen = points[labels == label]
        name = str(label) if names is None else names[label]
        colour, marker = COLOURS[label % len(COLOURS)], "ox^"[label // len(COLOURS) % 3]
        ax.scatter(chosen[:, 0], chosen[:, 1], s=9, alpha=0.7, linewidths=0.8, label=name, color=colour, marker=marker)
    ax.set(xlabel="latent dimension 1", ylabel="latent dimension 2", title=title)
    ax.legend(markerscale=2, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return ax


def training_curves(history: History, title: str = "Training", ax: Axes | None = None) -> Axes:
    """-ELBO by epoch in nats per example, for the training and, where there is one, the validation data."""
    ax = _axes(ax, (6.4, 3.6))
    for (name, curve), colour, dash in zip(
        (("training", history.train), ("validation", history.valid)), COLOURS, ("--", "-"), strict=False
    ):
        if curve:
            epochs = range(1, len(curve) + 1)
            ax.plot(epochs, [-summary.elbo for summary in curve], dash, marker="o", ms=3, color=colour, label=name)
    ax.set(xlabel="epoch", ylabel="-ELBO (nats per example)", title=title)
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


def rate_per_level(history: History, title: str = "Rate of each level", ax: Axes | None = None) -> Axes:
    """The rate of each latent level by epoch, nats per example; validation data where there are any."""
    ax = _axes(ax, (6.4, 3.6))
    curve = history.valid or history.train
    for level, rates in enumerate(zip(*(summary.rates for summary in curve), strict=True), start=1):
        colour = COLOURS[(level - 1) % len(COLOURS)]
        ax.plot(range(1, len(rates) + 1), rates, "os^Dv"[(level - 1) % 5] + "-", ms=4, color=colour, label=f"z{level}")
    ax.axhline(0, color="black", lw=0.8)
    ax.set(xlabel="epoch", ylabel="rate (nats per example)", title=title)
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax
