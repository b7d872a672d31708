import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from vaelib import cave
from vaelib.plots_cave import clay, draw_cave, draw_solid, firelight

matplotlib.use("Agg")


@pytest.fixture
def ax():
    yield plt.figure().add_subplot(projection="3d", computed_zorder=False)
    plt.close("all")


def faces(ax, order: int) -> np.ndarray:
    """The colours of the surface that is drawn in this place of the order."""
    (surface,) = (part for part in ax.collections if part.zorder == order and hasattr(part, "_facecolor3d"))
    return np.asarray(surface._facecolor3d)


def test_on_the_wall_is_the_shadow_of_the_first_solid(ax):
    solids = torch.stack([cave.place("cone", depth=4.6), cave.place("cube", depth=5.4)])
    draw_cave(ax, solids)
    shadow = firelight()(cave.render(solids[:1])[0, 0].numpy()).reshape(-1, 4)
    assert np.allclose(faces(ax, 0), shadow)


def test_far_solids_are_drawn_before_near_ones_each_as_opaque_as_asked(ax):
    solids = torch.stack([cave.place("cube", depth=4.6), cave.place("cube", depth=5.4)])
    draw_cave(ax, solids, opacity=(0.8, 0.3))
    assert set(faces(ax, 2)[:, 3]) == {0.3}
    assert set(faces(ax, 3)[:, 3]) == {0.8}


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_opacities_may_be_a_list_an_array_or_a_tensor(ax, kind):
    draw_cave(ax, torch.stack([cave.place(depth=4.6), cave.place(depth=5.4)]), opacity=kind([1.0, 0.5]))
    assert set(faces(ax, 2)[:, 3]) == {0.5}
    assert set(faces(ax, 3)[:, 3]) == {1.0}


@pytest.mark.parametrize(
    ("solids", "opacity", "says"),
    [
        (cave.place()[None][:0], (), r"solids is of shape \(0, 10\): expected a tensor \(n, 10\) with n >= 1"),
        (cave.place(), (), r"solids is of shape \(10,\): expected"),
        ([cave.place()], (), "solids is list: expected"),
        (cave.place()[None], (1.0, 0.5), "opacity has 2 entries: expected 1, one for each solid"),
    ],
)
def test_other_solids_and_opacities_are_one_clear_error(ax, solids, opacity, says):
    with pytest.raises(ValueError, match=says):
        draw_cave(ax, solids, opacity)
    assert not ax.collections  # nothing is drawn before


def test_the_fire_burns_whatever_marker_the_user_has_set(ax):
    with plt.rc_context({"scatter.marker": "x"}):  # whose lines have no width here
        draw_cave(ax, cave.place()[None])
    assert all(len(part.get_paths()[0]) > 10 for part in ax.collections if part.zorder == 99)


def test_rays_end_at_the_solid_or_at_the_left_half_of_its_shadow(ax):
    row = cave.place("sphere", fire_x=0.1, fire_y=-0.2)
    draw_cave(ax, row[None])
    scene = cave.scene(row)
    rays = [line.get_data_3d() for line in ax.lines if line.zorder == 1]
    assert len(rays) == 24
    for x, depth, y in rays:
        assert np.allclose((x[0], depth[0], y[0]), (0.1, 0, -0.2), atol=1e-6)
        at_wall = depth[1] == cave.WALL
        assert at_wall == (cave.WALL / depth[1] * (x[1] - 0.1) + 0.1 < scene.shadow[:, 0].mean().item())


def test_a_face_that_looks_at_the_fire_is_bright_and_one_that_looks_away_is_dark(ax):
    draw_solid(ax, cave.place("cube", size=0.4, depth=5.0, fire_x=0.0, fire_y=0.0, x=0.0, y=0.0), order=7)
    colours = faces(ax, 7)
    assert any(np.allclose(colour, clay()(1.0), atol=0.02) for colour in colours)
    assert any(np.allclose(colour, clay()(0.0), atol=0.02) for colour in colours)
