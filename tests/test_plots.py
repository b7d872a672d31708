import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

import vaelib as vl
from vaelib import plots
from vaelib.training.run import Epoch, Summary

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def history(levels: int = 2, valid: bool = True) -> vl.History:
    curve = [Summary(-100.0 + e, -80.0 + e, (12.0, 8.0)[:levels]) for e in range(3)]
    return vl.History(Epoch(e, s, s if valid else None, 1e-3, 1.0, e) for e, s in enumerate(curve, start=1))


def drawn(ax) -> np.ndarray:
    return ax.get_images()[0].get_array()


def groups(ax) -> dict[str, np.ndarray]:
    """The points of each entry of the legend."""
    return {group.get_label(): np.asarray(group.get_offsets()) for group in ax.collections}


def test_image_grid_puts_each_image_in_its_tile():
    images = torch.stack([torch.full((1, 4, 4), value) for value in (0.1, 0.2, 0.3, 0.4, 0.5)])
    tiles = drawn(plots.image_grid(images, columns=2))
    assert tiles.shape == (18, 12)
    values = [tiles[6 * (i // 2) + 3, 6 * (i % 2) + 3] for i in range(5)]
    assert values == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert tiles.mask[15, 9]  # the sixth tile is empty
    assert not plots.image_grid(images).axison


def test_ink_is_dark_on_light():
    ax = plots.image_grid(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    image = ax.get_images()[0]
    assert image.get_clim() == (0, 1)
    white, black = image.to_rgba(np.array([0.0, 1.0]))
    assert white[:3] == pytest.approx(1)
    assert black[:3] == pytest.approx(0)


def looks(ax) -> set[tuple[bytes, bytes]]:
    """The colours and markers of the entries of the legend."""
    return {(group.get_facecolor().tobytes(), group.get_paths()[0].vertices.tobytes()) for group in ax.collections}


KINDS = ["array", "channel", "bits", "booleans", "list", "arrays", "numbers", "flipped", "swapped"]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, *KINDS])
def test_grey_images_of_every_kind_are_the_same_picture(kind):
    images = torch.bernoulli(torch.full((5, 1, 4, 3), 0.5), generator=torch.Generator().manual_seed(0))
    changes = {
        "array": lambda x: x.numpy(),
        "channel": lambda x: x[:, 0],
        "bits": lambda x: x.to(torch.uint8),
        "booleans": lambda x: x.bool(),
        "list": lambda x: list(x.clone().requires_grad_()),
        "arrays": lambda x: [image.numpy() for image in x],
        "numbers": lambda x: x.tolist(),
        "flipped": lambda x: x.flip(3).numpy()[..., ::-1],
        "swapped": lambda x: x.numpy().astype(">f4"),
    }
    changed = changes[kind](images) if isinstance(kind, str) else images.to(kind).requires_grad_()
    want, got = (drawn(plots.image_grid(x, columns=2)) for x in (images, changed))
    assert np.array_equal(got.mask, want.mask)
    assert np.array_equal(got.filled(2), want.filled(2))


def test_colour_images_are_drawn_in_their_colours_with_gaps_of_paper():
    torch.manual_seed(0)
    images = torch.rand(5, 3, 4, 6)
    tiles = drawn(plots.image_grid(images, columns=2))
    assert tiles.shape == (18, 16, 4)
    for i in range(5):
        top, left = 6 * (i // 2) + 1, 8 * (i % 2) + 1
        tile = tiles[top : top + 4, left : left + 6]
        assert np.allclose(tile[..., :3], images[i].permute(1, 2, 0))
        assert (tile[..., 3] == 1).all()
    assert tiles[..., 3].sum() == 5 * 4 * 6  # the gaps and the sixth tile are transparent


def test_colours_outside_of_zero_to_one_are_clipped_without_a_word(caplog):
    images = torch.tensor([-0.5, 0.25, 1.5]).view(1, 3, 1, 1)  # what a Gaussian likelihood draws
    assert drawn(plots.image_grid(images))[1, 1].tolist() == [0, 0.25, 1, 1]
    assert not caplog.records  # matplotlib would log a warning for each picture


def test_a_pixel_of_nan_is_left_blank():
    images = torch.zeros(1, 3, 2, 2)
    images[0, 1, 0, 1] = torch.nan
    assert drawn(plots.image_grid(images))[1:3, 1:3, 3].tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "discretised_logistic"])
def test_draws_of_a_colour_model_can_be_looked_at(likelihood):
    torch.manual_seed(0)
    model = vl.VAE.conv((3, 9, 7), latent=4, channels=(4, 8), likelihood=likelihood)
    x = torch.randint(2, (8, 3, 9, 7)).float()
    assert drawn(plots.image_grid(model.sample(8))).shape == (11, 72, 4)
    assert drawn(plots.reconstructions({"x": x, "from z": model.reconstruct(x)})).shape == (22, 72, 4)


def test_images_are_upright_square_and_unruled_whatever_the_user_has_set():
    images = torch.arange(3 * 4 * 5).view(3, 4, 5) / 60
    settings = {"image.origin": "lower", "image.aspect": "auto", "axes.grid": True, "axes.grid.which": "both"}
    settings |= {"xtick.minor.visible": True, "ytick.minor.visible": True}
    for draw in (plots.image_grid, lambda x: plots.reconstructions({"x": x, "y": 1 - x})):
        pictures = []
        for changed in ({}, settings):
            with plt.rc_context(changed):
                ax = draw(images)
                ticks = [tick for axis in (ax.xaxis, ax.yaxis) for tick in (*axis.majorTicks, *axis.get_minor_ticks())]
                assert not (ax.axison and any(tick.gridline.get_visible() for tick in ticks))
                pictures.append((ax.get_ylim(), ax.get_aspect(), ax.get_images()[0].get_extent()))
        assert pictures[0] == pictures[1]


def test_the_names_in_a_graph_can_be_read_whatever_the_user_has_set():
    with plt.style.context("dark_background"):  # which writes in white
        ax = plots.graph([(1, 0)], [])
        assert {text.get_color() for text in ax.texts if text.get_text()} == {"black"}


def test_reconstructions_label_every_row():
    x = torch.rand(5, 1, 4, 4)
    ax = plots.reconstructions({"x": x, "from z1": 1 - x})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "from z1"]
    assert np.allclose(drawn(ax)[1:5, 1:5], x[0, 0])
    assert np.allclose(drawn(ax)[7:11, 1:5], 1 - x[0, 0])


def test_rows_of_colour_keep_their_order():
    x = torch.rand(5, 3, 4, 4)
    tiles = drawn(plots.reconstructions({"x": x, "from z1": 1 - x}))
    assert np.allclose(tiles[1:5, 7:11, :3], x[1].permute(1, 2, 0))
    assert np.allclose(tiles[7:11, 7:11, :3], 1 - x[1].permute(1, 2, 0))


def test_rows_of_grey_images_may_differ_in_the_channel_axis():
    x = torch.rand(5, 1, 4, 4)
    assert drawn(plots.reconstructions({"a": x, "b": x[:, 0], "c": x.numpy(), "d": list(x)})).shape == (24, 30)


def test_rows_of_lists_that_differ_are_told_in_words():
    with pytest.raises(ValueError, match=r"shapes \[\(2, 4, 4\), \(2, 4, 5\)\]: expected one or more rows"):
        plots.reconstructions({"a": torch.zeros(2, 4, 4), "b": [torch.zeros(4, 5)] * 2})


def test_latent_scatter_tells_labels_apart_without_colour_alone():
    ax = plots.latent_scatter(torch.randn(100, 2), torch.arange(100) % 10)
    assert len(looks(ax)) == 10


@pytest.mark.parametrize(
    "labels", [[0, 21], [5, 26], [-1, 20], [1, 22, 43], list(range(1, 22)), [2**62, 0], list(range(0, 420, 21))]
)
@pytest.mark.parametrize("names", [False, True])
def test_no_two_integers_share_a_look(labels, names):
    if names:
        labels = [label for label in labels if 0 <= label < 500]
    named = [f"c{i}" for i in range(500)] if names else None
    ax = plots.latent_scatter(torch.randn(len(labels), 2), labels, named)
    assert len(looks(ax)) == len(groups(ax)) == len(labels)


def test_a_digit_keeps_its_colour_whichever_others_are_there():
    ax = plots.latent_scatter(torch.randn(20, 2), torch.arange(20) % 2 * 2 + 3, names=[f"digit {i}" for i in range(10)])
    assert list(groups(ax)) == ["digit 3", "digit 5"]
    for group, colour in zip(ax.collections, (plots.COLOURS[3], plots.COLOURS[5]), strict=True):
        assert group.get_facecolor()[0, :3] == pytest.approx(to_rgba(colour)[:3])


WORDS = ["sphere", "cone", "cube"]


@pytest.mark.parametrize(
    ("labels", "legend"),
    [
        (torch.arange(20).float(), [str(i) for i in range(20)]),
        (torch.arange(20).numpy(), [str(i) for i in range(20)]),
        (torch.arange(20, dtype=torch.uint8) % 3, ["0", "1", "2"]),
        (torch.arange(20) % 3 - 1, ["-1", "0", "1"]),
        (np.arange(20) % 4 / 2, ["0", "0.5", "1", "1.5"]),
        ((torch.arange(20) % 2).bfloat16(), ["0", "1"]),
        (torch.arange(20) > 9, ["False", "True"]),
        (np.arange(20) > 9, ["False", "True"]),
        ([i % 2 for i in range(20)], ["0", "1"]),
        ([WORDS[i % 3] for i in range(20)], ["cone", "cube", "sphere"]),
        (np.array([WORDS[i % 3] for i in range(20)]), ["cone", "cube", "sphere"]),
        (np.array([WORDS[i % 3] for i in range(20)], dtype=object), ["cone", "cube", "sphere"]),
        ([0.5, float("nan")] * 10, ["0.5", "nan"]),
        ([None, "cube"] * 10, ["None", "cube"]),
    ],
)
def test_labels_of_every_kind_have_a_legend_and_their_points(labels, legend):
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    ax = plots.latent_scatter(z, labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == legend
    assert sum(len(points) for points in groups(ax).values()) == 20
    first = [i for i, label in enumerate(labels) if str(label) == str(labels[0])]
    of_first = next(points for points in groups(ax).values() if np.allclose(points[0], z[0, :2]))
    assert np.allclose(of_first, z[first, :2])
    assert len(looks(ax)) == len(legend)


def test_a_label_that_matplotlib_would_hide_is_in_the_legend_in_quotes():
    def legend(labels, names=None):
        ax = plots.latent_scatter(torch.randn(len(labels), 2), labels, names)
        return [text.get_text() for text in ax.get_legend().get_texts()]

    assert legend(["_a", "b", ""]) == ["''", "'_a'", "b"]
    assert legend([0, 1], ["_none", "one"]) == ["'_none'", "one"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_that_six_digits_do_not_tell_apart_have_names_in_full(kind):
    labels = np.array([1e6 + 0.1, 1e6 + 0.2, 1e6 + 0.3, 0.5], dtype=kind)
    ax = plots.latent_scatter(torch.randn(4, 2), labels)
    assert [float(name) for name in groups(ax)] == pytest.approx(sorted(labels.tolist()), rel=1e-7)
    assert next(iter(groups(ax))) == "0.5"
    assert len(groups(ax)) == 4


def test_names_are_for_integers_and_booleans():
    z = torch.randn(6, 2)
    assert list(groups(plots.latent_scatter(z, torch.arange(6) > 2, names=["no", "yes"]))) == ["no", "yes"]
    with pytest.raises(ValueError, match="names has 2 entries, and a label is 2: expected integers from 0 to 1"):
        plots.latent_scatter(z, torch.arange(6), names=["no", "yes"])
    for labels in ([-1] * 6, [0.5] * 6, ["no"] * 6):
        with pytest.raises(ValueError, match="expected integers from 0 to 1, one for each name"):
            plots.latent_scatter(z, labels, names=["no", "yes"])


@pytest.mark.parametrize(
    "labels",
    [
        torch.arange(21) / 2,
        np.linspace(-1, 1, 21),
        [0.1 * i for i in range(21)],
        torch.arange(22),
        torch.arange(22, dtype=torch.uint8),
        np.arange(1_623) - 5,
    ],
)
def test_many_numbers_have_a_colour_scale(labels):
    ax = plots.latent_scatter(torch.randn(len(labels), 2), labels)
    assert ax.get_legend() is None
    (points,) = ax.collections
    assert np.allclose(points.get_array(), labels)
    assert [axes.get_ylabel() for axes in ax.figure.axes] == ["latent dimension 2", "label"]


def test_a_legend_has_up_to_21_entries_and_more_are_refused_in_words():
    numbers, words = list(range(21)), [f"w{i:02}" for i in range(22)]
    for labels, names in ((numbers, None), (numbers, words), (words[:21], None)):
        ax = plots.latent_scatter(torch.randn(21, 2), labels, names)
        assert len(ax.get_legend().get_texts()) == len(looks(ax)) == 21
    plt.close("all")
    for labels, names in (([*numbers, 21], words), (words, None)):
        with pytest.raises(ValueError, match="labels have 22 different values: expected at most 21"):
            plots.latent_scatter(torch.randn(22, 2), labels, names)
    assert not plt.get_fignums()


def test_a_point_without_a_label_is_still_drawn():
    labels = torch.arange(30).float()
    labels[3] = torch.nan
    ax = plots.latent_scatter(torch.randn(30, 2), labels)
    ax.figure.canvas.draw()
    (points,) = ax.collections
    assert points.get_clim() == (0, 29)
    assert not np.ma.getmaskarray(points.get_offsets()).any()
    assert points.get_facecolor()[3, :3] == pytest.approx(to_rgba("lightgrey")[:3])


def test_latents_may_be_an_array_and_may_have_a_gradient():
    z = torch.randn(4, 2)
    for latents in (z.numpy(), z.clone().requires_grad_(), z.bfloat16()):
        (points,) = groups(plots.latent_scatter(latents, [1] * 4)).values()
        assert np.allclose(points, z, atol=0.02)  # eight bits of a bfloat16


@pytest.mark.slow
def test_spread_is_where_the_density_of_a_gaussian_has_fallen_to_exp_minus_two():
    mean, stddev = torch.tensor([1.0, -2.0], requires_grad=True), torch.tensor([0.5, 3.0])
    ax = plots.spread(mean, stddev, plt.subplots()[1], color="red")
    points = torch.as_tensor(np.array(ax.lines[0].get_data()).T)
    gaussian = torch.distributions.Normal(mean.detach().double(), stddev.double())
    fallen = (gaussian.log_prob(points) - gaussian.log_prob(gaussian.mean)).sum(1)
    assert torch.allclose(fallen, torch.full((200,), -2.0, dtype=torch.float64))
    assert ax.lines[0].get_color() == "red"


@pytest.mark.parametrize(("mean", "stddev"), [((0, 0), 1), (0, (1, 1)), ((0, 0, 0), (1, 1, 1)), (torch.zeros(2), [1])])
def test_a_spread_of_other_than_two_numbers_each_is_refused_in_words(mean, stddev):
    with pytest.raises(ValueError, match=r"mean \(.*\) and stddev \(.*\): expected \(2,\) each"):
        plots.spread(mean, stddev, plt.subplots()[1])


def test_plots_need_neither_the_training_nor_matplotlib_to_be_imported():
    code = """
import sys, vaelib.arguments
before = set(sys.modules)
import vaelib.plots
assert "matplotlib" not in sys.modules
assert not any(name.startswith("vaelib.") for name in set(sys.modules) - before - {"vaelib.plots"})
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_curves_carry_units_and_the_data():
    ax = plots.training_curves(history())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "-ELBO (nats per example)")
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    assert list(ax.lines[0].get_ydata()) == [100, 99, 98]
    assert len(plots.training_curves(history(valid=False)).lines) == 1


def test_rate_per_level_has_a_line_per_level():
    ax = plots.rate_per_level(history())
    assert ax.get_ylabel() == "rate (nats per example)"
    assert [line.get_label() for line in ax.lines[:2]] == ["z1", "z2"]
    assert list(ax.lines[1].get_ydata()) == [8, 8, 8]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.image_grid(torch.zeros(4)),
        lambda: plots.image_grid(torch.zeros(4, 4)),
        lambda: plots.image_grid(torch.zeros(0, 1, 4, 4)),
        lambda: plots.image_grid(torch.zeros(2, 1, 0, 4)),
        lambda: plots.image_grid(torch.zeros(2, 2, 4, 4)),
        lambda: plots.image_grid(torch.zeros(2, 4, 4, 4)),
        lambda: plots.image_grid(torch.zeros(2, 4, 4, 3)),
        lambda: plots.image_grid(torch.zeros(1, 2, 3, 4, 4)),
        lambda: plots.image_grid(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)),
        lambda: plots.image_grid(np.full((2, 4, 4), 2)),
        lambda: plots.image_grid(torch.zeros(2, 4, 4), columns=0),
        lambda: plots.image_grid(None),
        lambda: plots.image_grid([None]),
        lambda: plots.image_grid([torch.distributions.Normal(0, 1)]),
        lambda: plots.image_grid(torch.zeros(2, 4, 4, dtype=torch.complex64)),
        lambda: plots.image_grid([torch.zeros(4, 4), torch.zeros(4, 5)]),
        lambda: plots.image_grid([np.zeros((4, 4)), np.zeros((4, 5))]),
        lambda: plots.image_grid(torch.distributions.Normal(torch.zeros(2, 4, 4), 1)),  # `.mean` was forgotten
        lambda: plots.image_grid(vl.Split(torch.zeros(2, 1, 4, 4))),
        lambda: plots.reconstructions([torch.zeros(2, 4, 4)]),
        lambda: plots.reconstructions({"a": None}),
        lambda: plots.reconstructions({"a": torch.tensor(0.0)}),
        lambda: plots.reconstructions({"a": torch.distributions.Normal(torch.zeros(2, 4, 4), 1)}),
        lambda: plots.graph([], []),
        lambda: plots.reconstructions({}),
        lambda: plots.reconstructions({"a": torch.zeros(2, 4, 4), "b": torch.zeros(3, 4, 4)}),
        lambda: plots.reconstructions({"a": torch.zeros(2, 4, 4), "b": torch.zeros(2, 4, 5)}),
        lambda: plots.reconstructions({"a": torch.zeros(2, 1, 4, 4), "b": torch.zeros(2, 3, 4, 4)}),
        lambda: plots.reconstructions({"a": torch.zeros(0, 4, 4)}),
        lambda: plots.latent_scatter(torch.zeros(4, 1), torch.zeros(4)),
        lambda: plots.latent_scatter(torch.zeros(4), torch.zeros(4)),
        lambda: plots.latent_scatter(torch.zeros(4, 2), torch.zeros(3)),
        lambda: plots.latent_scatter(torch.zeros(4, 2), torch.zeros(4, 1)),
        lambda: plots.latent_scatter(torch.zeros(4, 2), 3),
    ],
)
def test_wrong_shapes_are_one_clear_error(draw):
    with pytest.raises(ValueError, match=": expected"):
        draw()
    assert not plt.get_fignums()  # and no empty figure is left behind


def test_the_style_of_the_course_has_the_colours_and_one_resolution_for_all():
    with plt.style.context("vaelib.course"):
        assert tuple(plt.rcParams["axes.prop_cycle"].by_key()["color"]) == plots.COLOURS
        assert plots.image_grid(torch.zeros(4, 1, 8, 8)).figure.dpi == plt.rcParams["figure.dpi"] == 160


def test_gap_bars_stack_the_elbo_and_the_gap_up_to_the_evidence():
    ax = plots.gap_bars([-3.0, -2.0, -1.5], -1.5, floor=-4.0)
    lower, gap = ([(bar.get_y(), bar.get_height()) for bar in bars] for bars in ax.containers)
    assert lower == [(-4.0, 1.0), (-4.0, 2.0), (-4.0, 2.5)]
    assert gap == [(-3.0, 1.5), (-2.0, 0.5), (-1.5, 0.0)]
    (lines,) = ax.collections
    ends = [point for segment in lines.get_segments() for point in segment]
    assert np.allclose(
        ends, [(at + side, -1.5) for at in range(3) for side in (-0.372, 0.372)]
    )  # a bit beyond the bars
    own = plots.gap_bars([-3.0, -2.0], [-1.0, -1.5], at=[1, 5])  # a line for each bar, from a floor below them
    assert [bar.get_x() + bar.get_width() / 2 for bar in own.containers[0]] == [1, 5]
    assert own.get_ylim()[0] == -3.5


@pytest.mark.parametrize("beyond", [0.0, 1e-7, -1e-7])  # one ELBO is log p(x), or is but for rounding
def test_bars_without_a_gap_stand_on_a_floor_a_little_below_them(beyond):
    ax = plots.gap_bars([-3.0, -3.0], -3.0 + beyond)
    assert [bar.get_height() for bar in ax.containers[0]] == [0.25, 0.25]
    assert ax.get_ylim()[0] == -3.25


@pytest.mark.parametrize(
    "kind", [torch.Tensor.bfloat16, torch.Tensor.requires_grad_, list, lambda x: list(x.requires_grad_())]
)
def test_gap_bars_take_what_a_bound_gives(kind):
    ax = plots.gap_bars(kind(torch.tensor([-3.0, -2.0])), torch.tensor(-1.5, requires_grad=True), floor=-4.0)
    assert [bar.get_height() for bar in ax.containers[0]] == [1, 2]


@pytest.mark.parametrize(
    ("elbos", "log_px", "at", "says"),
    [
        (-3.0, 0.0, None, r"elbos \(\), log_px \(\), at \(1,\): expected"),
        ([], 0.0, None, r"elbos \(0,\).*: expected \(n,\) with n >= 1"),
        (torch.full((2, 3), -3.0), 0.0, None, r"elbos \(2, 3\)"),
        ([-3.0, -2.0], [0.0] * 3, None, r"log_px \(3,\)"),
        ([-3.0], [0.0] * 3, None, r"log_px \(3,\)"),
        ([-3.0, -2.0], 0.0, [1, 2, 3], r"at \(3,\): expected"),
        ([-3.0, float("nan")], 0.0, None, "NaN or infinite: expected finite numbers"),
        ([-3.0, -float("inf")], 0.0, None, "NaN or infinite: expected finite numbers"),
    ],
)
def test_gap_bars_of_other_shapes_or_numbers_are_one_clear_error(elbos, log_px, at, says):
    with pytest.raises(ValueError, match=says):
        plots.gap_bars(elbos, log_px, at)
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", [plots.training_curves, plots.rate_per_level])
@pytest.mark.parametrize("given", [history().train, list(history()), None])
def test_what_is_no_history_is_refused_in_words(draw, given):
    with pytest.raises(ValueError, match=f"history is {type(given).__name__}: expected the History that fit returned"):
        draw(given)
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", [plots.training_curves, plots.rate_per_level])
@pytest.mark.parametrize("valid", [True, False])
def test_a_part_of_a_history_is_drawn_at_its_own_epochs(draw, valid):
    lines = [line for line in draw(history(valid=valid)[1:]).lines if not line.get_label().startswith("_")]
    assert {tuple(line.get_xdata()) for line in lines} == {(2, 3)}


def test_validation_data_are_drawn_at_the_epochs_that_have_them():
    mixed = vl.History([*history(valid=False)[:1], *history()[1:]])
    training, validation = plots.training_curves(mixed).lines
    assert (list(training.get_xdata()), list(validation.get_xdata())) == ([1, 2, 3], [2, 3])
    assert list(validation.get_ydata()) == [99, 98]
    assert list(plots.rate_per_level(mixed).lines[0].get_xdata()) == [2, 3]


def test_no_elbo_may_exceed_the_evidence():
    with pytest.raises(ValueError, match=r"exceeds log p\(x\) by 0.5 nats: expected a lower bound"):
        plots.gap_bars([-3.0, -1.0], -1.5)
    assert not plt.get_fignums()


def test_a_graph_has_a_circle_for_each_variable_and_an_arrow_for_each_dependence():
    ax = plots.graph([(2, 1), (1, 0), (2, 0)], [(0, 1), (1, 2)], title="HVAE")
    circles = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert circles == {"$x$": (0, 0), "$z_{1}$": (0, 1), "$z_{2}$": (0, 2)}
    arrows = [(a.xyann[1], a.xy[1], a.arrow_patch.get_edgecolor()) for a in ax.texts if not a.get_text()]
    solid, dashed = (to_rgba(colour) for colour in plots.COLOURS[:2])
    assert arrows == [(2, 1, solid), (1, 0, solid), (2, 0, solid), (0, 1, dashed), (1, 2, dashed)]
    bends = [a.arrow_patch.get_connectionstyle().rad for a in ax.texts if not a.get_text()]
    assert bends == [-0.25, -0.25, -0.55, -0.25, -0.25]  # what generates on one side, what infers on the other
    assert ax.get_title() == "HVAE"


def test_the_index_of_a_level_from_ten_on_is_one_number():
    names = [text.get_text() for text in plots.graph([(10, 9)], []).texts if text.get_text()]
    assert names[-2:] == ["$z_{9}$", "$z_{10}$"]


@pytest.fixture
def played(monkeypatch):
    """A function to draw with, the arguments of its calls, and the widgets that were shown."""
    interaction = pytest.importorskip("ipywidgets.widgets.interaction")
    calls, shown = [], []
    monkeypatch.setattr(interaction, "display", shown.append)
    monkeypatch.delenv("VAELIB_STILL", raising=False)

    def draw(size=2.0, kind="sphere"):
        calls.append((size, kind))

    return draw, calls, shown


def test_play_draws_anew_when_a_control_is_moved(played):
    draw, calls, shown = played
    plots.play(draw, size=(0.0, 3.0, 0.5), kind=["cone", "sphere"])
    assert calls == [(2.0, "sphere")]  # the defaults, not the middle of the slider nor the first of the list
    size, kind = shown[0].children[:2]
    assert (size.min, size.max, size.step) == (0.0, 3.0, 0.5)
    size.value = 0.5
    kind.value = "cone"
    assert calls[1:] == [(0.5, "sphere"), (0.5, "cone")]


def test_play_takes_a_control_of_any_name(played):
    _, calls, shown = played
    plots.play(lambda draw=1: calls.append(draw), draw=(1, 3))
    shown[0].children[0].value = 3
    assert calls == [1, 3]


def test_play_draws_once_and_shows_no_control_where_a_notebook_is_to_be_stored(played, monkeypatch):
    draw, calls, shown = played
    monkeypatch.setenv("VAELIB_STILL", "1")
    plots.play(draw, size=(0.0, 3.0, 0.5))
    assert (calls, shown) == ([(2.0, "sphere")], [])


def test_play_draws_once_without_ipywidgets(played, monkeypatch):
    draw, calls, shown = played
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    plots.play(draw, size=(0.0, 3.0, 0.5))
    assert (calls, shown) == ([(2.0, "sphere")], [])
