import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from vaelib.data import cave

# A ray that ends closer than this to the edge of a shadow, in metres, may count on either side of it: a ray is rounded
# to 6e-8 of the 8 m it is long, and the hulls below are 1e-6 m too small. It is 7e-5 of a pixel.
EDGE = 1e-5
UP = np.array([0.0, 1.0, 0.0])
CORNERS = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]


def ray_ends() -> np.ndarray:
    """Where the 13 rays of each pixel meet the wall: (28, 28, 13, 2), top row first."""
    lattice = [(i, next(j for j in range(-6, 7) if (j - 8 * i) % 13 == 0)) for i in range(-6, 7)]
    middles = -2 + 4 / 28 * (np.arange(28) + 0.5)
    offsets = np.array(lattice) / 13 * 4 / 28
    x = middles[None, :, None] + offsets[:, 0]
    y = middles[::-1, None, None] - offsets[:, 1]
    return np.stack(np.broadcast_arrays(x, y), -1)


def extreme_points(row: np.ndarray) -> np.ndarray:
    """Points of the solid whose convex hull has the solid's shadow: corners, rims, or a sphere's circle of tangency."""
    kind, size, yaw, pitch, roll, x, y, depth, fire_x, fire_y = row
    centre, fire = np.array([x, y, depth]), np.array([fire_x, fire_y, 0])
    angle = np.linspace(0, 2 * np.pi, 2_000)  # the hull of so many points is 1e-6 of a radius inside the circle
    circle = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1)
    name = cave.KINDS[int(kind)]
    if name == "sphere":
        towards = fire - centre
        distance = np.linalg.norm(towards)
        towards /= distance
        across = np.cross(towards, [0, 1, 0])
        across /= np.linalg.norm(across)
        radius = size * math.sqrt(1 - (size / distance) ** 2)
        plane = radius * circle[:, [0, 2]] @ np.stack([across, np.cross(towards, across)])
        return centre + towards * size**2 / distance + plane
    own = {
        "cylinder": np.concatenate([circle + UP, circle - UP]),
        "cone": np.concatenate([circle - UP, UP[None]]),
        "cube": np.array(CORNERS),
        "pyramid": np.array([c for c in CORNERS if c[1] < 0] + [(0, 1, 0)]),
    }[name]
    return centre + size * Rotation.from_euler("yxz", [yaw, pitch, roll]).apply(own)


def depth_in_shadow(row: np.ndarray) -> np.ndarray:
    """How far inside (negative) or outside (positive) the shadow each ray ends, in metres: (28, 28, 13)."""
    points, fire = extreme_points(row), np.array([row[8], row[9], 0])
    shadows = fire + (points - fire) * 8 / points[:, 2:]
    hull = ConvexHull(shadows[:, :2])
    normals, offsets = hull.equations[:, :2], hull.equations[:, 2]
    ends = ray_ends().reshape(-1, 2)
    return np.concatenate([(part @ normals.T + offsets).max(1) for part in np.array_split(ends, 8)]).reshape(28, 28, 13)


def agrees(images: torch.Tensor, latents: torch.Tensor) -> bool:
    """Whether every pixel counts the rays that end in the hull's shadow, but for those that end on its very edge."""
    for image, row in zip(images[:, 0].double().numpy() * 13, latents.double().numpy(), strict=True):
        depth = depth_in_shadow(row)
        fewest, most = (depth < -EDGE).sum(-1), (depth < EDGE).sum(-1)
        assert (most - fewest).sum() <= 8, "the edge is too wide to judge by"
        if not ((fewest - 1e-4 <= image) & (image <= most + 1e-4)).all():
            return False
    return True


def scaled_about_the_fire(latents: torch.Tensor, factor: float) -> torch.Tensor:
    """The solids moved along the rays of light and made larger by the same factor."""
    latents = latents.double()
    fire = torch.nn.functional.pad(latents[:, 8:], (0, 1))
    latents[:, 1] *= factor
    latents[:, 5:8] = fire + factor * (latents[:, 5:8] - fire)
    return latents


@pytest.fixture(scope="module")
def shadows():
    return cave.sample(5000, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", cave.KINDS)
def test_shadow_is_the_hull_of_the_projected_solid(shadows, kind):
    images, latents = shadows
    chosen = (latents[:, 0] == cave.KINDS.index(kind)).nonzero().squeeze(1)[:12]
    assert agrees(images[chosen], latents[chosen])


@pytest.mark.parametrize("kind", cave.KINDS)
def test_shadow_is_right_far_outside_the_prior(kind):
    wild = torch.stack(
        [
            cave.place(
                kind, size=0.9, yaw=2.0, pitch=2.5, roll=-2.0, x=0.8, y=-0.7, depth=6.0, fire_x=0.9, fire_y=-1.5
            ),
            cave.place(
                kind, size=0.2, yaw=-1.0, pitch=0.3, roll=3.0, x=-0.1, y=0.2, depth=1.0, fire_x=-0.2, fire_y=0.1
            ),
            cave.place(kind, pitch=math.pi / 2, x=1.5, fire_x=-1.0),
            cave.place(kind, x=9.0),
        ]
    )
    images = cave.render(wild)
    assert agrees(images, wild)
    assert images[3].max() == 0  # carried where its shadow misses the wall


# Wrong in one way each: what `agrees` must not accept.
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("sphere", {"size": 0.43}),
        ("cylinder", {"pitch": -0.6}),
        ("cone", {"roll": -0.3}),
        ("cube", {"yaw": -0.4}),
        ("pyramid", {"kind": "cone"}),
        ("cube", {"fire_x": 0.02}),
        ("sphere", {"depth": 5.3}),
    ],
)
def test_the_hull_rejects_the_shadow_of_other_latents(kind, wrong):
    right = {"kind": kind, "yaw": 0.4, "pitch": 0.6, "roll": 0.3}
    assert agrees(cave.render(cave.place(**right)[None]), cave.place(**right)[None])
    assert not agrees(cave.render(cave.place(**right | wrong)[None]), cave.place(**right)[None])


def test_the_hull_rejects_pictures_upside_down_or_mirrored(shadows):
    images, latents = shadows[0][:4], shadows[1][:4]
    assert agrees(images, latents)
    assert not agrees(images.flip(2), latents)
    assert not agrees(images.flip(3), latents)


def test_sphere_ahead_of_the_fire_casts_a_disc_of_closed_form_radius():
    # The tangent ray makes an angle with sine size / depth, so the radius is 8 tan(arcsin(size / depth)).
    radius = 8 * math.tan(math.asin(0.6 / 3))
    image = cave.render(cave.place("sphere", size=0.6, depth=3.0)[None])[0, 0].double().numpy()
    distance = np.hypot(*ray_ends().transpose(3, 0, 1, 2))
    assert abs(distance - radius).min() > EDGE
    assert np.allclose(image * 13, (distance < radius).sum(-1), atol=1e-5)
    # The shadow of the great circle, size * 8 / depth, is 2 % smaller, and is told apart.
    assert not np.allclose(image * 13, (distance < 0.6 * 8 / 3).sum(-1), atol=1e-5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("cube", {}), ("pyramid", {"pitch": math.pi / 2})),
        (("cylinder", {"pitch": math.pi / 2}), ("cone", {"pitch": math.pi / 2})),
        (
            ("cylinder", {"pitch": math.pi / 2}),
            ("sphere", {"size": 5.0 * 0.42 / math.hypot(5.2 - 0.42, 0.42), "depth": 5.0}),
        ),
        (("cube", {"yaw": 0.3}), ("cube", {"yaw": 0.3 + math.pi / 2})),
        (("cone", {"yaw": 0.0, "pitch": 0.4}), ("cone", {"yaw": 0.7, "pitch": 0.4})),
        (("sphere", {"pitch": 0.0}), ("sphere", {"pitch": 0.9})),
    ],
)
def test_different_solids_share_a_shadow(one, other):
    a, b = (cave.place(kind, **rest) for kind, rest in (one, other))
    images = cave.render(torch.stack([a, b]))
    assert not torch.equal(a, b)
    assert torch.equal(images[0], images[1])
    assert images[0].sum() > 50


def test_from_the_side_a_cylinder_is_nearly_a_cube_and_a_cone_nearly_a_pyramid():
    square, round_, pointed, sharp, disc = cave.render(
        torch.stack([cave.place(kind) for kind in ("cube", "cylinder", "cone", "pyramid", "sphere")])
    ).squeeze(1)

    def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.minimum(a, b).sum() / torch.maximum(a, b).sum())

    assert overlap(square, round_) > 0.85
    assert overlap(pointed, sharp) > 0.85
    assert overlap(square, disc) < 0.75
    assert overlap(round_, pointed) < 0.75


def test_size_and_distance_cannot_be_told_apart(shadows):
    images, latents = shadows[0][:200], shadows[1][:200]
    # Half the size at half the distance rounds alike, so every bit is the same. Other factors may move a ray that ends
    # on an edge.
    assert torch.equal(cave.render(scaled_about_the_fire(latents, 0.5)), images)
    moved = (cave.render(scaled_about_the_fire(latents, 0.8)) - images).abs() * 13
    assert moved.sum() <= 4
    # It is the place that must scale with the size: one alone changes the shadow.
    larger = latents.clone()
    larger[:, 1] *= 1.25
    assert ((cave.render(larger) - images).abs().sum((1, 2, 3)) > 1).all()


def test_a_quarter_turn_of_the_world_turns_the_picture(shadows):
    # (x, y) to (-y, x), for the solid, the fire and, the lattice of rays being its own quarter turn, for the pixels.
    latents = shadows[1][:100].double()
    turned = latents.clone()
    turned[:, 4] += math.pi / 2
    turned[:, [5, 6]] = torch.stack([-latents[:, 6], latents[:, 5]], 1)
    turned[:, [8, 9]] = torch.stack([-latents[:, 9], latents[:, 8]], 1)
    moved = (cave.render(turned) - cave.render(latents).rot90(1, (2, 3))).abs() * 13
    assert moved.sum() <= 4  # rays that end on an edge, as above


def test_light_along_a_face_does_not_enter_from_outside():
    # The fire stands exactly at a column's middle, so its middle rays never leave the plane x = fire_x, and an upright
    # cube half a metre to the side does not reach that plane.
    latents = cave.place("cube").double()[None]
    latents[0, 8] = (13 + 0.5) * (4 / 28) - 2
    latents[0, 5] = latents[0, 8] + 0.5
    image = cave.render(latents)[0, 0]
    assert image[:, 13].max() == 0
    assert agrees(image[None, None], latents)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(shadows):
    before = torch.get_rng_state()
    images, latents = cave.sample(5000, seed=3)
    assert torch.equal(images, shadows[0])
    assert torch.equal(latents, shadows[1])
    assert not torch.equal(cave.sample(10, seed=4)[1], latents[:10])
    assert torch.equal(cave.sample(np.int64(10), np.uint8(4))[0], cave.sample(10, seed=4)[0])
    assert torch.equal(before, torch.get_rng_state())  # torch's own generator is left alone


def test_a_shadow_does_not_depend_on_its_company(shadows):
    images, latents = shadows
    assert torch.equal(cave.render(latents[40:43]), images[40:43])
    assert torch.equal(cave.render(latents.flip(0)[:100]), images.flip(0)[:100])
    assert cave.render(latents[:0]).shape == (0, 1, 28, 28)


def test_prior_is_uniform_in_its_ranges_and_independent(shadows):
    latents = shadows[1].double()
    n = len(latents)
    low, high = torch.tensor([(0, len(cave.KINDS)), *cave.RANGES.values()], dtype=torch.float64).T
    assert tuple(cave.LATENTS) == ("kind", *cave.RANGES)
    # Kinds are 0 ... 4, and adding the half in the middle of each step makes their mean that of the range.
    share = (latents + torch.tensor([0.5] + [0.0] * 9) - low) / (high - low)
    assert share.min() >= 0
    assert share.max() < 1 + 1e-6
    # Within 5 standard errors: the mean 1/2 (variance 1/12), the variance 1/12 (variance 1/180), no correlation.
    assert ((share.mean(0) - 1 / 2).abs() < 5 * math.sqrt(1 / 12 / n)).all()
    assert ((share[:, 1:].var(0) - 1 / 12).abs() < 5 * math.sqrt(1 / 180 / n)).all()
    assert (share.T.corrcoef() - torch.eye(10)).abs().max() < 5 / math.sqrt(n)
    counts = latents[:, 0].long().bincount()
    assert ((counts - n / 5).abs() < 5 * math.sqrt(n * 0.16)).all()


def test_images_are_shares_of_13_rays_and_whole_on_the_wall(shadows):
    images = shadows[0]
    assert images.shape == (5000, 1, 28, 28)
    assert images.dtype == torch.float32
    assert torch.allclose(images * 13, (images * 13).round(), atol=1e-5)
    assert images.amax((1, 2, 3)).min() == 1
    for border in (images[:, :, 0], images[:, :, -1], images[..., 0], images[..., -1]):
        assert border.max() == 0


def test_ranges_keep_the_largest_nearest_shadow_on_the_wall():
    generator = np.random.default_rng(0)
    angles = [generator.uniform(*cave.RANGES[name], 50_000) for name in ("yaw", "pitch", "roll")]
    corners = Rotation.from_euler("yxz", np.stack(angles, 1)).as_matrix() @ np.array(CORNERS).T  # (50000, 3, 8)
    place = np.array([cave.RANGES["x"][1], cave.RANGES["y"][1], cave.RANGES["depth"][0]])[:, None]
    fire = np.array([cave.RANGES["fire_x"][0], cave.RANGES["fire_y"][0], 0])[:, None]
    points = place + cave.RANGES["size"][1] * corners  # every other kind fits in the cube
    shadow = fire + (points - fire) * 8 / points[:, 2:]
    assert 1.95 < shadow[:, :2].max() < 2  # on the wall, and the ranges are not needlessly narrow


@pytest.mark.parametrize("kind", cave.KINDS)
def test_scene_is_the_solid_and_the_outline_of_its_shadow(kind):
    latents = cave.place(kind, yaw=0.3, pitch=0.5, roll=-0.4, x=0.1, y=-0.1, fire_x=0.2, fire_y=-0.3)
    fire, surface, rim, shadow = cave.scene(latents)
    assert fire.tolist() == pytest.approx([0.2, -0.3, 0])
    # Back in the solid's own frame, every mesh point satisfies the inequality that defines the solid, as an equation.
    turn = Rotation.from_euler("yxz", latents[2:5].double().numpy())
    q = turn.inv().apply((surface - latents[5:8].double()).flatten(0, 1).numpy() / float(latents[1]))
    flat = abs(q[:, [0, 2]]).max(1) if kind in ("cube", "pyramid") else np.hypot(q[:, 0], q[:, 2])
    widest = (1 - q[:, 1]) / 2 if kind in ("cone", "pyramid") else 1
    excess = np.linalg.norm(q, axis=1) - 1 if kind == "sphere" else np.maximum(flat - widest, abs(q[:, 1]) - 1)
    assert abs(excess).max() < 1e-6  # the mesh is made in single precision
    # Rim and shadow lie on the same rays, and the shadow on the wall.
    assert torch.allclose(fire + (rim - fire) * 8 / rim[:, 2:], shadow)
    assert torch.allclose(shadow[:, 2], torch.tensor(8.0, dtype=torch.float64))
    # The outline's area is that of the picture. Rays count an area to about 1 in 13 of the few pixels on its edge.
    x, y = shadow[:, 0], shadow[:, 1]
    area = (x * y.roll(-1) - y * x.roll(-1)).sum() / 2
    assert float(area) == pytest.approx(float(cave.render(latents[None]).sum()) * (4 / 28) ** 2, rel=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z[:, :9], r"shape \(3, 9\): expected \(N, 10\)"),
        (lambda z: z[0], r"shape \(10,\): expected \(N, 10\)"),
        (lambda z: z.index_fill(1, torch.tensor([2]), math.nan), "NaN or infinite"),
        (lambda z: z.index_fill(1, torch.tensor([8]), math.inf), "NaN or infinite"),
        (lambda z: z.index_fill(1, torch.tensor([0]), 5), r"kind that is not one of 0 to 4 \(sphere, cylinder"),
        (lambda z: z.index_fill(1, torch.tensor([0]), 0.5), "kind that is not one of 0 to 4"),
        (lambda z: z.index_fill(1, torch.tensor([1]), 0), "size of 0 m: expected a positive size"),
        (lambda z: z.index_fill(1, torch.tensor([7]), 0.7), r"cube in row 0 .* depth between 0\.727 m and 7\.273 m"),
        (lambda z: z.index_fill(1, torch.tensor([7]), 7.3), "cube in row 0 .* may reach the fire or the wall"),
        (lambda z: z.index_fill(1, torch.tensor([7]), -5), "cube in row 0 .* may reach the fire or the wall"),
    ],
)
def test_impossible_latents_are_one_clear_error(change, message):
    latents = cave.place("cube").repeat(3, 1)
    assert cave.render(latents).max() == 1
    with pytest.raises(ValueError, match=message):
        cave.render(change(latents))


@pytest.mark.parametrize("kind", [torch.Tensor.numpy, torch.Tensor.tolist, list, lambda z: None])
def test_latents_that_are_no_tensor_are_one_clear_error(kind):
    latents = cave.place().repeat(2, 1)
    for draw, given in ((cave.render, kind(latents)), (cave.scene, kind(latents[0]))):
        with pytest.raises(ValueError, match=f"latents is {type(given).__name__}: expected a tensor; torch.as_tensor"):
            draw(given)


def test_whole_numbers_are_latents():
    latents = torch.tensor([[3, 1, 0, 0, 0, 0, 0, 4, 0, 0]])
    assert torch.equal(cave.render(latents), cave.render(latents.double()))


def test_a_solid_stands_upright_in_the_middle_of_the_cave_unless_told_otherwise():
    want = torch.tensor([4, 0.42, 0, 0, 0.1, 0, 0, 5.2, 0, 0])
    assert torch.equal(cave.place("pyramid", roll=0.1), want)


def test_other_misuse_is_one_clear_error():
    with pytest.raises(ValueError, match="n is 0: expected an integer of at least 1"):
        cave.sample(0)
    with pytest.raises(ValueError, match="seed is None: expected an integer of at least 0"):
        cave.sample(1, None)
    with pytest.raises(ValueError, match=r"no solid called 'ball': expected one of sphere, cylinder"):
        cave.place("ball")
    with pytest.raises(ValueError, match="no latent called 'siez': expected size, yaw, pitch, roll, x, y, depth"):
        cave.place("cube", siez=0.4)
    with pytest.raises(ValueError, match=r"shape \(2, 10\): expected one row, \(10,\)"):
        cave.scene(cave.place().repeat(2, 1))
