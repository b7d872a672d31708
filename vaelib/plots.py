"""Pictures of data, latents and training. Every function draws into `ax` (a new figure unless given) and returns it.

Colours are Okabe & Ito's, which colour-blind readers can tell apart, without their yellow, which is lost on white.
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection
from torch import Tensor

from . import cave
from .train import History

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


_NIGHT, _STONE, _FLAME, _FLOOR, _DUSK, _EMBER = "#17100e", "#f6dfb2", "#ffb454", "#c9793a", "#5b4a63", "#ffd08a"


def _mix(dark: str, light: str, share: np.ndarray) -> np.ndarray:
    """Colours (N, 3) between two, share: (N,) in [0, 1]."""
    share = np.clip(share, 0, 1)[:, None]
    return (1 - share) * np.array(to_rgb(dark)) + share * np.array(to_rgb(light))


def _faces(mesh: np.ndarray) -> np.ndarray:
    """The quadrilaterals (N, 4, 3) of a mesh (A, B, 3)."""
    return np.stack([mesh[:-1, :-1], mesh[1:, :-1], mesh[1:, 1:], mesh[:-1, 1:]], 2).reshape(-1, 4, 3)


def _facing(faces: np.ndarray, fire: np.ndarray, behind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of the angle at which firelight falls on each face, away from `behind`; its distance."""
    middle = faces.mean(1)
    normal = np.cross(faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    normal *= np.sign(((middle - behind) * normal).sum(1, keepdims=True))
    ray = fire - middle
    distance = np.linalg.norm(ray, axis=1)
    return (normal * ray).sum(1) / distance, distance


def _space() -> Axes3D:
    figure = plt.figure(figsize=(8, 4.6), dpi=100, facecolor=_NIGHT)
    place = (-0.17, -0.72, 1.24, 2.2)  # beyond the figure: the view is wide and its margins are empty
    return cast(Axes3D, figure.add_axes(place, projection="3d", computed_zorder=False, facecolor="none"))


def cave_scene(latents: Tensor, title: str | None = None, ax: Axes3D | None = None) -> Axes3D:
    """The fire, the solids of latents (N, 10), and the shadow of the first on the wall, in space.

    Meant for one solid, or for several that cast the same shadow from the same fire.
    """
    ax = _space() if ax is None else ax
    half, wall = cave.HALF, cave.WALL

    def add(faces: np.ndarray, colours: np.ndarray, zorder: float) -> None:
        ax.add_collection3d(
            Poly3DCollection(faces, facecolors=colours, edgecolors=colours, linewidths=0.4, zorder=zorder)
        )

    # Matplotlib's third axis points up: (x, y, depth) becomes (x, depth, y).
    scenes = [[part.numpy()[..., [0, 2, 1]] for part in cave.scene(row)] for row in latents]
    fire, _, _, outline = scenes[0]
    shadow = cave.render(latents[:1]).numpy().ravel()
    edge = np.linspace(-half, half, cave.PIXELS + 1)
    faces = _faces(np.stack(np.broadcast_arrays(edge, wall, edge[::-1, None]), -1))
    add(faces, _mix(_NIGHT, _STONE, _facing(faces, fire, np.array([0, wall + 1, 0]))[0] ** 6 * (1 - 0.93 * shadow)), 0)
    faces = _faces(np.stack(np.broadcast_arrays(edge, np.linspace(-1, wall, 60)[:, None], -half), -1))
    cosine, distance = _facing(faces, fire, np.array([0, 0, -half - 100]))
    add(faces, _mix(_NIGHT, _FLOOR, (2.6 * cosine / distance**1.2).clip(0, 0.62)), -1)

    # Farthest first. Rays graze the solid nearest the fire, at equal steps along the shadow's outline.
    scenes.sort(key=lambda scene: -scene[1][..., 1].mean())
    rim = scenes[-1][2]
    around = np.append(0, np.linalg.norm(np.diff(outline, axis=0, append=outline[:1]), axis=1).cumsum())
    steps = np.linspace(0, around[-1], 16, endpoint=False)
    grazed = np.stack([np.interp(steps, around, np.append(rim[:, i], rim[0, i])) for i in range(3)], 1)
    ends = fire + (grazed - fire) * (wall / grazed[:, 1:2])
    after = np.roll(np.arange(len(rim)), -1)
    umbra = np.stack([rim, rim[after], outline[after], outline], 1)
    ax.add_collection3d(Poly3DCollection(umbra, facecolor=(0, 0, 0, 0.1), edgecolor="none", zorder=1))
    ax.add_collection3d(
        Line3DCollection(list(zip(grazed, ends, strict=True)), colors=_FLAME, linewidths=0.8, alpha=0.55, zorder=2)
    )
    for order, (_, surface, _, _) in enumerate(scenes):
        faces = _faces(surface)
        cosine, _ = _facing(faces, fire, surface.reshape(-1, 3).mean(0))
        add(faces, _mix(_DUSK, _EMBER, cosine), 3 + 0.1 * order)
    ax.add_collection3d(
        Line3DCollection([(fire, point) for point in grazed], colors=_FLAME, linewidths=0.8, alpha=0.8, zorder=4)
    )
    for radius in range(4, 70, 3):
        ax.scatter(
            *fire,
            s=radius**2,
            color=_mix("#fff6d5", "#ff8a1f", np.array([radius / 25]))[0],
            alpha=0.5 if radius < 10 else 0.028,
            linewidths=0,
            zorder=5,
            depthshade=False,
        )
    place = {"color": _STONE, "fontsize": 11, "ha": "center", "zorder": 6}
    ax.text(*(fire - [0, 0, 1.1]), "the fire", **place)
    ax.text(scenes[-1][1][..., 0].mean(), scenes[-1][1][..., 1].mean(), -1.5, "what is: z", **place)
    ax.text(0, wall, half + 0.25, "what is seen: x", **place)
    if title:
        ax.figure.text(0.04, 0.92, title, color=_STONE, fontsize=14)
    ax.set(xlim=(-half, half), ylim=(-1, wall), zlim=(-half, half))
    ax.set_box_aspect((2 * half, wall + 1, 2 * half), zoom=0.78)
    ax.view_init(elev=14, azim=-61)
    ax.set_axis_off()
    return ax
