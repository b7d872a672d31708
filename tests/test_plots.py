import matplotlib
import numpy as np
import pytest
import torch

from vaelib import plots
from vaelib.training.run import History, Summary

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    matplotlib.pyplot.close("all")


def history(levels: int = 2, valid: bool = True) -> History:
    curve = [Summary(-100.0 + e, -80.0 + e, (12.0, 8.0)[:levels]) for e in range(3)]
    return History(train=curve, valid=curve if valid else [])


def test_image_grid_puts_each_image_in_its_tile():
    images = torch.stack([torch.full((1, 4, 4), value) for value in (0.1, 0.2, 0.3, 0.4, 0.5)])
    drawn = plots.image_grid(images, columns=2).get_images()[0].get_array()
    assert drawn.shape == (18, 12)
    values = [drawn[6 * (i // 2) + 3, 6 * (i % 2) + 3] for i in range(5)]
    assert values == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert drawn.mask[15, 9]  # the sixth tile is empty


def test_reconstructions_label_every_row():
    x = torch.rand(5, 1, 4, 4)
    ax = plots.reconstructions({"x": x, "from z1": 1 - x})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "from z1"]
    drawn = ax.get_images()[0].get_array()
    assert np.allclose(drawn[1:5, 1:5], x[0, 0])
    assert np.allclose(drawn[7:11, 1:5], 1 - x[0, 0])


def test_latent_scatter_tells_labels_apart_without_colour_alone():
    ax = plots.latent_scatter(torch.randn(100, 2), torch.arange(100) % 10)
    looks = {(c.get_facecolor().tobytes(), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 10


def test_curves_carry_units_and_the_data():
    ax = plots.training_curves(history())
    assert "nats" in ax.get_ylabel()
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    assert list(ax.lines[0].get_ydata()) == [100, 99, 98]
    assert len(plots.training_curves(history(valid=False)).lines) == 1


def test_rate_per_level_has_a_line_per_level():
    ax = plots.rate_per_level(history())
    assert [line.get_label() for line in ax.lines[:2]] == ["z1", "z2"]
    assert list(ax.lines[1].get_ydata()) == [8, 8, 8]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.image_grid(torch.zeros(4)),
        lambda: plots.image_grid(torch.zeros(0, 1, 4, 4)),
        lambda: plots.reconstructions({"a": torch.zeros(2, 4, 4), "b": torch.zeros(3, 4, 4)}),
        lambda: plots.latent_scatter(torch.zeros(4, 1), torch.zeros(4)),
    ],
)
def test_wrong_shapes_are_one_clear_error(draw):
    with pytest.raises(ValueError, match="expected"):
        draw()
