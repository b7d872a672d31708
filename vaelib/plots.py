"""Pictures of data, latents and training. Every function draws into `ax` (a new figure unless given) and returns it.

Colours are Okabe & Ito's, which colour-blind readers can tell apart, without their yellow, which is lost on white.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .arguments import integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .training import History

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_MOST_IN_A_LEGEND = 20


def image_grid(images: Tensor, columns: int = 8, title: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Images side by side: grey ones as ink, dark on light, and colour ones in their colours.

    Args:
        images: values in [0, 1] of shape (N, 1, H, W) or (N, H, W), ink, or (N, 3, H, W), red, green and blue. Values
            outside are drawn as the nearest inside.
        columns: the number of images in a row.
        title: of the picture.
        ax: where to draw; a new figure unless given.

    Returns:
        The axes that were drawn into.

    Raises:
        ValueError: For images of another shape or integers above 1, and for `columns` that is no positive integer.
    """
    (columns,) = integers(columns=columns)
    tiles = _tiles(images, columns)
    height, width = tiles.shape[:2]
    ax = _axes(ax, (8, min(8, 8 * height / width + 0.4)))
    _show(tiles, ax)
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return ax


def reconstructions(rows: Mapping[str, Tensor], title: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """One labelled row of images each, such as {"x": x, "from z1": model.reconstruct(x)}.

    Args:
        rows: images by label, of the kinds that `image_grid` takes; as many in each row, and of one size.
        title: of the picture.
        ax: where to draw; a new figure unless given.

    Returns:
        The axes that were drawn into.

    Raises:
        ValueError: For rows that differ in the number, the size or the channels of their images, and as `image_grid`.
    """
    tiles = [_tiles(images, max(1, len(images))) for images in rows.values()]
    if len({row.shape for row in tiles}) != 1:
        shapes = [tuple(images.shape) for images in rows.values()]
        raise ValueError(f"the rows hold images of shapes {shapes}: expected one or more rows of the same shape")
    height, width = len(rows) * tiles[0].shape[0], tiles[0].shape[1]
    ax = _axes(ax, (8, 7 * height / width + 0.4))
    _show(np.concatenate(tiles), ax)
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
    labels: Any,
    names: Sequence[str] | None = None,
    title: str = "Latents",
    ax: "Axes | None" = None,
) -> "Axes":
    """The first two coordinates of latents, one colour and one marker per label.

    Labels that are real numbers with more than 20 different values get a colour scale in place of a legend.

    Args:
        latents: (N, L) with L >= 2.
        labels: (N,), a tensor, an array or a list of integers, floats, strings or booleans.
        names: what the legend calls the integer labels 0, 1, ...
        title: of the picture.
        ax: where to draw; a new figure unless given.

    Returns:
        The axes that were drawn into.

    Raises:
        ValueError: Where the shapes differ from these, or `names` has no entry for a label.
    """
    points, labels = _array(latents), _array(labels)
    if points.ndim != 2 or points.shape[1] < 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"latents {points.shape} and labels {labels.shape}: expected (N, L) with L >= 2 and (N,)")
    if labels.dtype == object:  # as pandas keeps strings
        labels = labels.astype(str)
    distinct, places = np.unique(labels, return_inverse=True)
    legend = _legend(distinct, names)
    ax = _axes(ax, (6.4, 5.4))
    if labels.dtype.kind == "f" and len(distinct) > _MOST_IN_A_LEGEND:
        _scatter_by_value(points, labels, ax)
    else:
        _scatter_by_label([points[places == place] for place in range(len(distinct))], legend, ax)
    ax.set(xlabel="latent dimension 1", ylabel="latent dimension 2", title=title)
    return ax


def training_curves(history: "History", title: str = "Training", ax: "Axes | None" = None) -> "Axes":
    """-ELBO by epoch in nats per example, for the training and, where there is one, the validation data.

    Args:
        history: what a training returned; its lists `train` and `valid` are read.
        title: of the picture.
        ax: where to draw; a new figure unless given.

    Returns:
        The axes that were drawn into.
    """
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


def rate_per_level(history: "History", title: str = "Rate of each level", ax: "Axes | None" = None) -> "Axes":
    """The rate of each latent level by epoch, in nats per example; of validation data where there are any.

    Args:
        history: what a training returned; its lists `train` and `valid` are read.
        title: of the picture.
        ax: where to draw; a new figure unless given.

    Returns:
        The axes that were drawn into.
    """
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


def _axes(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, dpi=100, layout="constrained")[1]


def _array(values: Any) -> np.ndarray:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def _tiles(images: Tensor, columns: int) -> np.ndarray:
    """One picture, (rows, columns) or (rows, columns, 3), of rows of `columns` images with a thin gap of NaN."""
    images = torch.as_tensor(images).detach()
    whole = not images.is_floating_point()
    images = images.float().cpu()
    if images.ndim == 3:
        images = images[:, None]  # (N, 1, H, W)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"images have shape {tuple(images.shape)}: expected (N, 1, H, W), (N, H, W) or, in colour, (N, 3, H, W), "
            "N >= 1"
        )
    if whole and images.max() > 1:
        raise ValueError(f"images are integers up to {images.max():.0f}: expected values in [0, 1]; divide by 255")
    rows = math.ceil(len(images) / columns)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), value=math.nan)  # (N, C, H + 2, W + 2)
    blank = torch.full((rows * columns - len(images), *padded.shape[1:]), math.nan)
    channels, height, width = padded.shape[1:]
    grid = torch.cat([padded, blank]).reshape(rows, columns, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).squeeze(-1).numpy()


def _show(tiles: np.ndarray, ax: "Axes") -> None:
    if tiles.ndim == 3:  # colour: what is NaN becomes transparent, as it does in grey
        opaque = ~np.isnan(tiles).any(-1, keepdims=True)
        tiles = np.concatenate([np.nan_to_num(tiles).clip(0, 1), opaque], -1)
    ax.imshow(tiles, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")


def _legend(labels: np.ndarray, names: Sequence[str] | None) -> list[tuple[int, str]]:
    """A number, which decides on colour and marker, and a name for each of the distinct labels."""
    whole = labels.dtype.kind in "biu"
    legend = [(int(label) if whole else place, label) for place, label in enumerate(labels.tolist())]
    if names is None:
        return [(number, f"{label:g}" if isinstance(label, float) else str(label)) for number, label in legend]
    for number, label in legend:
        if not whole or not 0 <= number < len(names):
            raise ValueError(
                f"names has {len(names)} entries, and a label is {label!r}: expected integers from 0 to "
                f"{len(names) - 1}, one for each name"
            )
    return [(number, names[number]) for number, _ in legend]


def _scatter_by_label(groups: Sequence[np.ndarray], legend: Sequence[tuple[int, str]], ax: "Axes") -> None:
    # Ten digits need more than the seven colours: the marker tells apart what shares a colour.
    for points, (number, name) in zip(groups, legend, strict=True):
        colour, marker = COLOURS[number % len(COLOURS)], "ox^"[number // len(COLOURS) % 3]
        ax.scatter(points[:, 0], points[:, 1], s=9, alpha=0.7, linewidths=0.8, label=name, color=colour, marker=marker)
    ax.legend(markerscale=2, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _scatter_by_value(points: np.ndarray, values: np.ndarray, ax: "Axes") -> None:
    import matplotlib.pyplot as plt

    drawn = ax.scatter(
        points[:, 0],
        points[:, 1],
        s=9,
        alpha=0.7,
        linewidths=0.8,
        c=values,
        cmap=plt.get_cmap("viridis").with_extremes(bad="lightgrey"),
        plotnonfinite=True,  # a label that is not known is no reason to lose the point
    )
    ax.figure.colorbar(drawn, ax=ax, label="label")
