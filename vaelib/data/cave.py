"""The Cave: a small world whose latents are known, after the allegory in Plato's Republic (514a to 520a).

Solids pass in front of a fire and cast shadows on a wall. x is the shadow, all that the prisoners see, and z what they
never see: which solid it is, its size, its pose, its place and where the fire burns.

**The world.** Lengths are in metres, angles in radians. Coordinates are (x, y, depth): x to the right, y up, depth from
the fire's plane towards the wall, as the prisoners look. The fire is the point F = (fire_x, fire_y, 0), the wall the
square |x| <= 2, |y| <= 2 at depth 8. A point p between them casts its shadow at F + (p - F) 8 / p_depth.

**The solids.** Each fits the cube [-1, 1]^3 in its own frame q = (q1, q2, q3), with q2 along its axis; ||.|| is the
Euclidean norm and ||.||_inf the largest absolute value::

    sphere      ||(q1, q2, q3)|| <= 1
    cylinder    ||(q1, q3)||     <= 1               |q2| <= 1
    cone        ||(q1, q3)||     <= (1 - q2) / 2    |q2| <= 1
    cube        ||(q1, q3)||_inf <= 1               |q2| <= 1
    pyramid     ||(q1, q3)||_inf <= (1 - q2) / 2    |q2| <= 1

In the world the solid is the set of p = c + size R q with c = (x, y, depth) and R = R_roll R_pitch R_yaw. Yaw spins the
solid about its own axis, then pitch tips its top towards the wall (at pi/2 the base faces the fire), then roll turns it
anticlockwise as the prisoners see it.

**The shadow.** A point w of the wall is dark if the ray F + t (w - F) meets the solid. In the solid's frame, with t
rescaled, this is the ray o + t u with o = R^T (F - c) / size and u = R^T (w - F). A pixel is the share of 13 rays
through it that meet the solid: 0 is the lit wall and 1 full shadow, as 1 is ink in the digits.

**Many z, one x.** Size and place enter through o alone, so (c, size) and (F + k (c - F), k size) cast the same shadow
for every k > 0. Kinds share shadows too: with the base to the fire, cube and pyramid cast the same square, cylinder and
cone the same disc, and a sphere of size depth r / sqrt(8^2 + r^2) straight ahead of the fire a disc of radius r.

    >>> images, latents = sample(3, seed=0)
    >>> images.shape, latents.shape
    (torch.Size([3, 1, 28, 28]), torch.Size([3, 10]))
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arguments import integers
from ..randomness import generator_from

KINDS = ("sphere", "cylinder", "cone", "cube", "pyramid")

# The prior p(z): the kind is uniform over KINDS, every other latent is uniform in its range, all are independent. The
# ranges keep every shadow whole on the wall.
RANGES = {
    "size": (0.36, 0.48),
    "yaw": (-math.pi / 4, math.pi / 4),
    "pitch": (-math.pi / 2, math.pi / 2),
    "roll": (-math.pi / 6, math.pi / 6),
    "x": (-0.15, 0.15),
    "y": (-0.15, 0.15),
    "depth": (4.6, 5.8),
    "fire_x": (-0.3, 0.3),
    "fire_y": (-0.3, 0.3),
}
LATENTS = ("kind", *RANGES)

WALL = 8.0  # depth of the wall
HALF = 2.0  # half the wall's width
PIXELS = 28

# Radius of the smallest ball about its centre that holds a solid of size 1.
_REACH = torch.tensor([1.0, 2.0, 2.0, 3.0, 3.0], dtype=torch.float64).sqrt()

# Where in a pixel its rays end, (13, 2), in pixels from its centre: the Fibonacci lattice of 13 points. No two share a
# row or a column, so upright edges get 13 shades (a 4 x 4 grid gives them 4), and quarter turns map it onto itself.
_RAYS = torch.tensor([(i, (8 * i + 6) % 13 - 6) for i in range(-6, 7)], dtype=torch.float64) / 13


def sample(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """n draws from the prior p(z), and their shadows, the same for the same n and seed. About 5,000 a second on a core.

    Returns:
        Images (n, 1, 28, 28) in [0, 1] and latents (n, 10), whose columns are `LATENTS`; both float32.
    Raises:
        ValueError: n < 1, seed < 0 or seed >= 2^64, or one is no integer.
    """
    (n,), (seed,) = integers(n=n), integers(0, seed=seed)
    uniform = torch.rand(n, len(LATENTS), generator=generator_from(seed), dtype=torch.float32, device="cpu")
    low, high = torch.tensor([(0.0, len(KINDS)), *RANGES.values()], dtype=torch.float32, device="cpu").T
    latents = low + (high - low) * uniform
    latents[:, 0] = latents[:, 0].floor()
    return render(latents), latents


def place(kind: str = "cube", **latents: float) -> Tensor:
    """One row of latents (10,), in metres and radians: those that are named; the others in the middle of `RANGES`.

    Raises:
        ValueError: `kind` is none of `KINDS`, or another name none of `RANGES`.

    >>> render(torch.stack([place("cone"), place("cylinder", pitch=math.pi / 2)])).shape
    torch.Size([2, 1, 28, 28])
    """
    if kind not in KINDS:
        raise ValueError(f"no solid called {kind!r}: expected one of {', '.join(KINDS)}")
    row = {name: (low + high) / 2 for name, (low, high) in RANGES.items()} | latents
    if len(row) > len(RANGES):
        raise ValueError(f"no latent called {list(row)[-1]!r}: expected {', '.join(RANGES)}")
    return torch.tensor([KINDS.index(kind), *row.values()], dtype=torch.float32)


@torch.no_grad()
def render(latents: Tensor) -> Tensor:
    """The shadows that latents cast: images (N, 1, 28, 28), float32 in [0, 1], top row first.

    Args:
        latents: (N, 10), columns `LATENTS`. Values outside `RANGES` are fine.
    Raises:
        ValueError: no tensor, another shape, a value that is not finite, a kind that is no index into `KINDS`, a size
            that is not positive, or a solid whose bounding ball reaches the fire's plane or the wall.
    """
    kind, fire, centre, size, rotation = _unpack(latents)
    images = torch.empty(len(latents), 1, PIXELS, PIXELS, dtype=torch.float32, device="cpu")
    for index, name in enumerate(KINDS):
        # 64 images at a time keep the working set in a core's cache.
        for batch in (kind == index).nonzero().squeeze(1).split(64):
            images[batch, 0] = _cast(name, fire[batch], centre[batch], size[batch], rotation[batch])
    return images


def _cast(kind: str, fire: Tensor, centre: Tensor, size: Tensor, rotation: Tensor) -> Tensor:
    """The shadows (B, 28, 28) of solids of one kind."""
    pixel = 2 * HALF / PIXELS
    middles = (torch.arange(PIXELS, dtype=torch.float64) + 0.5) * pixel - HALF
    x = (middles + pixel * _RAYS[:, :1]) - fire[:, :1, None]  # (B, 13, 28)
    y = -(middles + pixel * _RAYS[:, 1:]) - fire[:, 1:2, None]  # (B, 13, 28), top row first
    right, up, ahead = rotation[:, :, :, None, None].unbind(1)  # (B, 3, 1, 1) each

    # u = R^T (w - F) is a part for the column of w plus a part for its row, so a ray costs a few additions. Rounding is
    # least where o is small: t = 0 is put where the ray passes the centre's depth, which keeps o such a sum.
    columns, rows = x[:, None] * right, y[:, None] * up + WALL * ahead  # (B, 3, 13, 28)
    origin = ((fire - centre) / size[:, None]).unsqueeze(1) @ rotation  # R^T (F - c) / size as a row: (B, 1, 3)
    pace = (centre[:, 2] / (WALL * size))[:, None, None, None]
    terms = (columns * pace, rows * pace + origin.mT[..., None], columns, rows)
    o_columns, o_rows, u_columns, u_rows = (term.float() for term in terms)

    met = torch.zeros(len(fire), PIXELS, PIXELS, dtype=torch.float32)
    for ray in range(len(_RAYS)):
        o = o_columns[:, :, ray, None, :] + o_rows[:, :, ray, :, None]  # (B, 3, 28, 28)
        u = u_columns[:, :, ray, None, :] + u_rows[:, :, ray, :, None]
        met += _meets(kind, o.unbind(1), u.unbind(1))
    return met / len(_RAYS)


def _unpack(latents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Checked latents (N, 10) as kind (N,), fire (N, 3), centre (N, 3), size (N,), rotation (N, 3, 3), in float64."""
    _check_tensor(latents)
    if latents.ndim != 2 or latents.shape[1] != len(LATENTS):
        expected = f"(N, {len(LATENTS)}), columns {', '.join(LATENTS)}"
        raise ValueError(f"latents have shape {tuple(latents.shape)}: expected {expected}")
    latents = latents.detach().to("cpu", torch.float64)
    if not latents.isfinite().all():
        raise ValueError("latents hold NaN or infinite values: expected finite numbers")
    kind, size, yaw, pitch, roll, x, y, depth, fire_x, fire_y = latents.unbind(1)
    if not torch.isin(kind, torch.arange(len(KINDS)).double()).all():
        raise ValueError(f"latents hold a kind that is not one of 0 to {len(KINDS) - 1} ({', '.join(KINDS)})")
    if (size <= 0).any():
        raise ValueError(f"latents hold a size of {size.min():g} m: expected a positive size")
    kind = kind.long()
    reach = _REACH[kind] * size
    outside = ((depth - reach <= 0) | (depth + reach >= WALL)).nonzero()
    if len(outside):
        row = int(outside[0])
        solid = f"the {KINDS[kind[row]]} in row {row} (size {size[row]:g} m, depth {depth[row]:g} m)"
        depths = f"between {reach[row]:.3f} m and {WALL - reach[row]:.3f} m"
        raise ValueError(f"{solid} may reach the fire or the wall: expected a depth {depths}, or a smaller size")
    fire = torch.stack([fire_x, fire_y, torch.zeros_like(depth)], 1)
    return kind, fire, torch.stack([x, y, depth], 1), size, _rotation(yaw, pitch, roll)


def _check_tensor(latents: Any) -> None:
    if not isinstance(latents, Tensor):
        makes = "torch.as_tensor makes one of an array, torch.stack of rows"
        raise ValueError(f"latents is {type(latents).__name__}: expected a tensor; {makes}")


def _rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """R = R_roll R_pitch R_yaw for angles (N,): (N, 3, 3)."""

    def about(axis: int, angle: Tensor) -> Tensor:
        # The identity, with the rotation in the plane of the two other axes.
        i, j = (axis + 1) % 3, (axis + 2) % 3
        matrix = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
        matrix[:, i, i] = matrix[:, j, j] = angle.cos()
        matrix[:, j, i] = angle.sin()
        matrix[:, i, j] = -angle.sin()
        return matrix

    return about(2, roll) @ about(0, pitch) @ about(1, yaw)


def _meets(kind: str, o: tuple[Tensor, ...], u: tuple[Tensor, ...]) -> Tensor:
    """Whether the lines o + t u meet the solid, which lies between the fire and the wall: o, u: 3 x (B, 28, 28)."""
    (o1, o2, o3), (u1, u2, u3) = o, u
    if kind == "sphere":
        # Its distance from the centre is at most 1: (o.u)^2 >= (o.o - 1) u.u.
        ou = o1 * u1 + o2 * u2 + o3 * u3
        return ou * ou >= (o1 * o1 + o2 * o2 + o3 * o3 - 1) * (u1 * u1 + u2 * u2 + u3 * u3)
    # The half-width at height q2 is 1, or (1 - q2) / 2 where the solid is pointed; along the line, h + t k.
    h, k = ((1 - o2) / 2, -u2 / 2) if kind in ("cone", "pyramid") else (1.0, 0.0)
    ends = (-1 - o2) / u2, (1 - o2) / u2
    enter, leave = torch.minimum(*ends), torch.maximum(*ends)  # the slab |q2| <= 1
    if kind in ("cylinder", "cone"):
        # ||(q1, q3)||^2 - h^2 = a t^2 + 2 b t + c is at most 0 somewhere in the slab. A quadratic is least on an
        # interval at one of its ends or at its vertex -b / a.
        a = u1 * u1 + u3 * u3 - k * k
        b = o1 * u1 + o3 * u3 - h * k
        c = o1 * o1 + o3 * o3 - h * h
        first, last, least = ((a * t + 2 * b) * t + c <= 0 for t in (enter, leave, (-b / a).clamp(enter, leave)))
        return first | last | least
    # The line enters every half-space (+-q1 <= h, +-q3 <= h and the slab) before it leaves any (Cyrus & Beck 1978).
    for distance, speed in ((o1 - h, u1 - k), (-o1 - h, -u1 - k), (o3 - h, u3 - k), (-o3 - h, -u3 - k)):
        # A line along the plane (speed 0) gets +inf from outside, so it never enters, and -inf from inside.
        time = distance / speed.abs()
        enter = torch.maximum(enter, torch.where(speed <= 0, time, -math.inf))
        leave = torch.minimum(leave, torch.where(speed > 0, -time, math.inf))
    return enter <= leave


class Scene(NamedTuple):
    """What there is to draw, in the world's coordinates (x, y, depth).

    Args:
        fire: (3,).
        surface: (A, B, 3), a mesh over the solid.
        rim: (360, 3), for each degree around the shadow the point of the solid that the light grazes there.
        shadow: (360, 3), where that light meets the wall: the shadow's outline.
    """

    fire: Tensor
    surface: Tensor
    rim: Tensor
    shadow: Tensor


def scene(latents: Tensor) -> Scene:
    """The fire, the solid and the outline of its shadow for one row of latents (10,), to draw the cave in space.

    Raises:
        ValueError: as `render` does, and for more than one row.
    """
    _check_tensor(latents)
    if latents.ndim != 1:
        raise ValueError(f"latents have shape {tuple(latents.shape)}: expected one row, ({len(LATENTS)},)")
    kind, fire, centre, size, rotation = (part[0] for part in _unpack(latents[None]))
    surface = centre + size * _surface(KINDS[kind]) @ rotation.T
    points = surface.flatten(0, 1)
    shadows = fire + (points - fire) * WALL / points[:, 2:]
    # A convex outline is made of the shadows that lie farthest out, one for each direction on the wall.
    angle = torch.arange(360, dtype=torch.float64) * math.pi / 180
    farthest = (shadows[:, :2] @ torch.stack([angle.cos(), angle.sin()])).argmax(0)
    return Scene(fire, surface, points[farthest], shadows[farthest])


def _surface(kind: str) -> Tensor:
    """A mesh (A, B, 3) over the solid in its own frame: its profile (A points) carried around a ring (B points)."""
    if kind in ("cube", "pyramid"):
        ring = torch.tensor([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)])
    else:
        angle = torch.linspace(0, 2 * math.pi, 73)
        ring = torch.stack([angle.cos(), angle.sin()], 1)
    if kind == "sphere":
        angle = torch.linspace(-math.pi / 2, math.pi / 2, 37)
        profile = torch.stack([angle.cos(), angle.sin()], 1)  # (half-width, height)
    elif kind in ("cone", "pyramid"):
        profile = torch.tensor([(0.0, -1.0), (1.0, -1.0), (0.0, 1.0)])
    else:
        profile = torch.tensor([(0.0, -1.0), (1.0, -1.0), (1.0, 1.0), (0.0, 1.0)])
    width, height = profile[:, :1], profile[:, 1:].expand(-1, len(ring))
    return torch.stack([width * ring[:, 0], height, width * ring[:, 1]], 2).double()
