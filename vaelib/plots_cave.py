"""The cave in space, by firelight: for the pictures of notebook 01, whose subject is not how they are drawn.

matplotlib's third axis points up: what is drawn at (x, depth, y) is at (x, y, depth) in the world of `data.cave`.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .data import cave

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap
    from mpl_toolkits.mplot3d import Axes3D

NIGHT, STONE, FLAME = "#17100e", "#f6dfb2", "#ffa133"
ROCK, GAZE = (0.17, 0.12, 0.10), "#56B4E9"

_FLOOR = -2.42


@functools.cache
def firelight() -> "LinearSegmentedColormap":
    """The colours of a wall by firelight, from 0, lit, to 1, in full shadow."""
    return _colours("firelight", STONE, "#b07a45", NIGHT)


@functools.cache
def clay() -> "LinearSegmentedColormap":
    """The colours of a solid, from 0, turned away from the fire, to 1, turned towards it."""
    return _colours("clay", "#30203a", "#8a4a3c", "#d98a4a", "#ffdc9f")


def _colours(name: str, *colours: str) -> "LinearSegmentedColormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(name, colours)


def draw_cave(ax: "Axes3D", solids: Tensor, opacity: Sequence[float] = ()) -> None:
    """The fire, the solids with these latents (n, 10), three prisoners, and on the wall the shadow of the first solid.

    Args:
        ax: axes in space, made with `computed_zorder=False`.
        opacity: one for each solid, 0 to 1; all are opaque unless given.
    Raises:
        ValueError: Where there is no solid, or not one opacity for each, and as `cave.render`.
    """
    if not isinstance(solids, Tensor) or solids.shape[1:] != (len(cave.LATENTS),) or not len(solids):
        got = f"of shape {tuple(solids.shape)}" if isinstance(solids, Tensor) else type(solids).__name__
        raise ValueError(
            f"solids is {got}: expected a tensor (n, {len(cave.LATENTS)}) with n >= 1; torch.stack makes one of rows"
        )
    shares = [float(one) for one in opacity] or [1.0] * len(solids)
    if len(shares) != len(solids):
        raise ValueError(f"opacity has {len(shares)} entries: expected {len(solids)}, one for each solid")
    _add(ax, _rectangle((-2.6, 2.6), (_FLOOR, _FLOOR), (3.0, cave.WALL)), np.full((1, 1, 4), (*ROCK, 1.0)), -2)
    _add(ax, _rectangle((-2.6, 2.6), (_FLOOR, 2.6), (cave.WALL, cave.WALL)), np.full((1, 1, 4), (*ROCK, 0.7)), -1)
    edge = torch.linspace(-cave.HALF, cave.HALF, cave.PIXELS + 1)
    wall = torch.stack(torch.broadcast_tensors(edge, -edge[:, None], torch.tensor(cave.WALL)), 2)
    _add(ax, wall, firelight()(cave.render(solids[:1])[0, 0].numpy()), 0)
    _draw_rays(ax, cave.scene(solids[0]))
    depth = cave.LATENTS.index("depth")
    far_first = sorted(zip(solids, shares, strict=True), key=lambda pair: -pair[0][depth])
    for order, (row, alpha) in enumerate(far_first, start=2):
        draw_solid(ax, row, order, alpha)
    for order, x in enumerate((-1.1, -0.3, 0.5)):
        ax.plot((x, x), (6.2, cave.WALL), (-1.63, -0.9), color=GAZE, lw=0.9, ls="--", zorder=50)
        draw_solid(ax, cave.place("cone", size=0.34, x=x, y=-2.06, depth=6.2), 60 + order)
        draw_solid(ax, cave.place("sphere", size=0.15, x=x, y=-1.63, depth=6.2), 60 + order)
    fire = (solids[0, cave.LATENTS.index("fire_x")], 0, solids[0, cave.LATENTS.index("fire_y")])
    for r in range(4, 40, 3):
        ax.scatter(*fire, s=r**2, marker="o", color=FLAME, alpha=0.5 / r**0.6, lw=0, zorder=99, depthshade=False)
    for place, name, colour in (
        ((0.0, 0.0, -1.0), "the fire", STONE),
        ((-0.9, cave.WALL, 1.55), "the wall", NIGHT),
        ((-0.3, 6.2, -2.9), "the prisoners", STONE),
    ):
        ax.text(*place, name, color=colour, ha="center", zorder=100)
    ax.set(xlim=(-2, 2), ylim=(0, cave.WALL), zlim=(-2, 2))
    ax.set_box_aspect((4, 8, 4), zoom=1.36)
    ax.view_init(elev=11, azim=-54)
    ax.set_axis_off()


def _draw_rays(ax: "Axes3D", scene: cave.Scene) -> None:
    """Two dozen rays that graze the solid, evenly around its shadow."""
    around = torch.cat([torch.zeros(1), scene.shadow.diff(dim=0).norm(dim=1).cumsum(0)]).numpy()
    for step in np.linspace(0, around[-1], 24, endpoint=False):
        i = int(np.searchsorted(around, step))
        # On the far side of the shadow a ray ends at the solid: behind it, it would be drawn across the shadow.
        end = scene.shadow[i] if scene.shadow[i, 0] < scene.shadow[:, 0].mean() else scene.rim[i]
        ax.plot(*zip(_upright(scene.fire), _upright(end), strict=True), color=FLAME, lw=0.7, alpha=0.55, zorder=1)


def draw_solid(ax: "Axes3D", latents: Tensor, order: int = 1, alpha: float = 1.0) -> None:
    """The solid with these latents (10,), lit by its fire: brightest where the light falls at a right angle."""
    fire, mesh, _, _ = cave.scene(latents)
    a, b, c, d = mesh[:-1, :-1], mesh[1:, :-1], mesh[1:, 1:], mesh[:-1, 1:]
    middle, normal = (a + b + c + d) / 4, torch.linalg.cross(c - a, d - b)
    normal *= ((middle - mesh.mean((0, 1))) * normal).sum(2, keepdim=True).sign()  # outwards
    colours = clay()(torch.cosine_similarity(normal, fire - middle, dim=2).clamp(0, 1).numpy())
    colours[..., 3] = alpha
    _add(ax, mesh, colours, order)


def _rectangle(x: tuple[float, float], y: tuple[float, float], depth: tuple[float, float]) -> Tensor:
    """A mesh (2, 2, 3): two of the ranges span it, the third is a point."""
    corners = [[(x[0], y[0], depth[0]), (x[1], y[0], depth[0])], [(x[0], y[1], depth[1]), (x[1], y[1], depth[1])]]
    return torch.tensor(corners)


def _upright(point: Tensor) -> tuple[float, float, float]:
    x, y, depth = point.tolist()
    return x, depth, y


def _add(ax: "Axes3D", mesh: Tensor, colours: np.ndarray, order: int) -> None:
    x, y, depth = mesh.permute(2, 0, 1).numpy()
    style = {"rcount": 99, "ccount": 99, "shade": False, "linewidth": 0, "antialiased": False}
    ax.plot_surface(x, depth, y, facecolors=colours, zorder=order, **style)
