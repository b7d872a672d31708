"""Pictures of data, latents and training. Every function draws into `ax` (a new figure unless given) and returns it.

Colours are Okabe & Ito's, which colour-blind readers can tell apart, without their yellow, which is lost on white. The
course's style, `plt.style.use("vaelib.course")`, has them too, with one type size and one resolution for all pictures.
"""

import functools
import importlib.util
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .arguments import integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .training import History
    from .training.run import Epoch

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# Ten digits need more than the seven colours: the marker tells apart what shares a colour.
_LOOKS = tuple((colour, marker) for marker in "ox^" for colour in COLOURS)


def image_grid(images: Any, columns: int = 8, title: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Images side by side, `columns` in a row: grey ones as ink, dark on light, and colour ones in their colours.

    Args:
        images: values in [0, 1] of shape (N, 1, H, W) or (N, H, W), ink, or (N, 3, H, W), red, green and blue: a
            tensor, an array or a list of them. Values outside are drawn as the nearest inside.
    Raises:
        ValueError: For what holds no numbers, images of another shape or integers above 1, and for `columns` that is
            no positive integer.
    """
    (columns,) = integers(columns=columns)
    tiles = _tiles(images, columns)
    ax = _picture(tiles, min(8, 8 * tiles.shape[0] / tiles.shape[1] + 0.4), title, ax)
    ax.set_axis_off()
    return ax


def reconstructions(rows: Mapping[str, Any], title: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """One labelled row of images each, such as {"x": x, "from z1": model.reconstruct(x)}.

    Args:
        rows: images by label, of the kinds that `image_grid` takes; as many in each row, and of one size.
    Raises:
        ValueError: For rows that differ in the number, the size or the channels of their images or have no labels,
            and as `image_grid`.
    """
    if not isinstance(rows, Mapping):
        raise ValueError(f'rows is {type(rows).__name__}: expected images by label, such as {{"x": x}}')
    tiles = [_tiles(images, None) for images in rows.values()]
    if len({row.shape for row in tiles}) != 1:
        shapes = [_array(images).shape for images in rows.values()]
        raise ValueError(f"the rows hold images of shapes {shapes}: expected one or more rows of the same shape")
    height, width = tiles[0].shape[:2]
    ax = _picture(np.concatenate(tiles), 7 * len(rows) * height / width + 0.4, title, ax)
    ax.set_xticks([])
    ax.set_yticks([height * (i + 0.5) for i in range(len(rows))], list(rows))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False, which="both")  # a user's grid would be ruled across the images
    return ax


def latent_scatter(
    latents: Tensor, labels: Any, names: Sequence[str] | None = None, title: str = "Latents", ax: "Axes | None" = None
) -> "Axes":
    """The first two coordinates of latents, one colour and one marker per label.

    Real numbers with more than 20 different values, and integers without `names` with more than 21, as many as there
    are looks, get a colour scale in place of a legend.

    Args:
        latents: (N, L) with L >= 2.
        labels: (N,), a tensor, an array or a list of integers, floats, strings or booleans.
        names: what the legend calls the integer labels 0, 1, ...
    Raises:
        ValueError: Where the shapes differ from these, `names` has no entry for a label, or a legend would have more
            than 21.
    """
    points, labels = _array(latents), _array(labels)
    if points.ndim != 2 or points.shape[1] < 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"latents {points.shape} and labels {labels.shape}: expected (N, L) with L >= 2 and (N,)")
    if labels.dtype == object:  # as pandas keeps strings
        labels = labels.astype(str)
    distinct, places = np.unique(labels, return_inverse=True)
    most = {"f": 20, "i": len(_LOOKS), "u": len(_LOOKS)}.get(labels.dtype.kind, math.inf)
    legend = None if names is None and len(distinct) > most else _legend(distinct, names)
    ax = _axes(ax, (6.4, 5.4))
    scatter = functools.partial(ax.scatter, s=9, alpha=0.7, linewidths=0.8)
    if legend is None:
        import matplotlib

        colours = matplotlib.colormaps["viridis"].with_extremes(bad="lightgrey")
        drawn = scatter(*points.T[:2], c=labels, cmap=colours, plotnonfinite=True)  # points without a label as well
        ax.figure.colorbar(drawn, ax=ax, label="label")
    else:
        for place, ((colour, marker), name) in enumerate(legend):
            scatter(*points[places == place].T[:2], label=name, color=colour, marker=marker)
        ax.legend(markerscale=2, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    ax.set(xlabel="latent dimension 1", ylabel="latent dimension 2", title=title)
    return ax


def spread(mean: Any, stddev: Any, ax: "Axes", deviations: float = 2, **style: Any) -> "Axes":
    """A Gaussian with independent coordinates in the plane: the ellipse of so many standard deviations around its mean.

    At two, the density has fallen to exp(-2) of its peak.

    Args:
        mean, stddev: two numbers each, for the two axes.
        style: of the line, such as `color` and `ls`.
    Raises:
        ValueError: Where one of them is not two numbers.
    """
    middle, radius = _array(mean), _array(stddev)
    if middle.shape != (2,) or radius.shape != (2,):
        raise ValueError(f"mean {middle.shape} and stddev {radius.shape}: expected (2,) each, one for each axis")
    angle = np.linspace(0, 2 * np.pi, 200)
    across, up = (
        m + deviations * s * turn for m, s, turn in zip(middle, radius, (np.cos(angle), np.sin(angle)), strict=True)
    )
    ax.plot(across, up, **style)
    return ax


def training_curves(history: "History", title: str = "Training", ax: "Axes | None" = None) -> "Axes":
    """-ELBO by epoch in nats per example, for the training and, where there is one, the validation data.

    Raises:
        ValueError: Where `history` is neither what `fit` returned nor a part of it.
    """
    _check_history(history)
    curves = (("training", "o--", history, history.train), ("validation", "o-", _validated(history), history.valid))
    lines = [
        (name, style, epochs, [-summary.elbo for summary in curve]) for name, style, epochs, curve in curves if curve
    ]
    return _by_epoch(lines, 3, "-ELBO", title, ax)


def rate_per_level(history: "History", title: str = "Rate of each level", ax: "Axes | None" = None) -> "Axes":
    """The rate of each latent level by epoch, in nats per example; of validation data where there are any.

    Raises:
        ValueError: Where `history` is neither what `fit` returned nor a part of it.
    """
    _check_history(history)
    levels = zip(*(summary.rates for summary in history.valid or history.train), strict=True)
    epochs = _validated(history) or history
    lines = ((f"z{level + 1}", "os^Dv"[level % 5] + "-", epochs, rates) for level, rates in enumerate(levels))
    ax = _by_epoch(lines, 4, "rate", title, ax)
    ax.axhline(0, color="black", lw=0.8)
    return ax


def gap_bars(
    elbos: Sequence[float],
    log_px: float | Sequence[float],
    at: Sequence[float] | None = None,
    floor: float | None = None,
    width: float = 0.6,
    ax: "Axes | None" = None,
) -> "Axes":
    """log p(x) = ELBO + gap, as bars: blue up to the ELBO, orange from there up to a black line at log p(x).

    Args:
        elbos: one for each bar, in nats.
        log_px: one for all bars, or one for each.
        at: where the bars stand; 0, 1, ... unless given.
        floor: where the bars begin, as a log-probability has no natural zero; a little below the lowest unless given.
    Raises:
        ValueError: Where an "ELBO" exceeds log p(x) by more than rounding, one of them is no finite number, or they or
            `at` are not as many.
    """
    lower, upper = (np.asarray(_array(values), dtype=float) for values in (elbos, log_px))
    places = np.arange(lower.size) if at is None else np.asarray(_array(at), dtype=float)
    if lower.ndim != 1 or not lower.size or upper.shape not in ((), lower.shape) or places.shape != lower.shape:
        got = f"elbos {lower.shape}, log_px {upper.shape}, at {places.shape}"
        raise ValueError(f"{got}: expected (n,) with n >= 1, (n,) or one number, and (n,)")
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise ValueError("an ELBO or log p(x) is NaN or infinite: expected finite numbers")
    upper = np.broadcast_to(upper, lower.shape)
    rounding = 1e-6 * max(1, np.abs(upper).max())
    if (excess := float((lower - upper).max())) > rounding:
        raise ValueError(f"an ELBO exceeds log p(x) by {excess:.3g} nats: expected a lower bound")
    if floor is None:
        height = float(upper.max() - lower.min())
        floor = float(lower.min()) - 0.25 * (height if height > rounding else 1)
    ax = _axes(ax, (6.4, 3.6))
    ax.bar(places, lower - floor, width, bottom=floor, color=COLOURS[0], alpha=0.85, label="ELBO")
    ax.bar(places, upper - lower, width, bottom=lower, color=COLOURS[1], label="gap")
    ax.hlines(upper, places - 0.62 * width, places + 0.62 * width, color=COLOURS[6], lw=2, label="log p(x)")
    ax.set_ylim(bottom=floor)
    return ax


def play(draw: Callable[..., None], /, **controls: Any) -> None:
    """Draws with sliders, where a notebook is alive: `play(draw, sigma=(0.1, 3.0, 0.1))` calls `draw(sigma=...)` anew.

    They start where `draw` has its defaults. Without ipywidgets, or with VAELIB_STILL in the environment, as where
    notebooks are executed to be stored, that is all that is drawn.

    Args:
        draw: makes a figure and shows it.
        controls: for arguments of `draw`, as ipywidgets abbreviates them: a slider (least, most, step), or a list or
            a dict to choose from.
    """
    if "VAELIB_STILL" in os.environ or importlib.util.find_spec("ipywidgets") is None:
        draw()
        return
    import ipywidgets

    ipywidgets.interact(draw, **controls)


def graph(
    generates: Iterable[tuple[int, int]],
    infers: Iterable[tuple[int, int]],
    title: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """What depends on what in a hierarchy: x below, z_1 ... z_T above it; solid arrows generate, dashed ones infer.

    Args:
        generates, infers: arrows (from, to), where 0 is x and t is z_t.
    Raises:
        ValueError: Where there is no arrow.
    """
    kinds = ((list(generates), COLOURS[0], "-"), (list(infers), COLOURS[1], (0, (4, 2))))
    levels = [level for arrows, *_ in kinds for arrow in arrows for level in arrow]
    if not levels:
        raise ValueError("generates and infers are empty: expected arrows (from, to), such as (1, 0) from z_1 to x")
    ax = _axes(ax, (2, 3))
    for arrows, colour, dash in kinds:
        for start, end in arrows:
            bend = (0.25 if abs(start - end) == 1 else 0.55) * (1 if dash != "-" else -1) * (1 if start > end else -1)
            look = {"arrowstyle": "-|>", "color": colour, "ls": dash, "lw": 1.6, "shrinkA": 13, "shrinkB": 13}
            ax.annotate("", (0, end), (0, start), arrowprops=look | {"connectionstyle": f"arc3,rad={bend}"})
    top = max(levels)
    for level in range(top + 1):
        circle = {"boxstyle": "circle", "fc": "white" if level else "0.85"}
        name = f"$z_{{{level}}}$" if level else "$x$"
        ax.text(0, level, name, ha="center", va="center", color="black", bbox=circle)
    ax.set(xlim=(-1, 1), ylim=(-0.35, top + 0.35))
    ax.set_title(title or "", loc="center")
    ax.set_axis_off()
    return ax


def _axes(ax: "Axes | None", size: tuple[float, float]) -> "Axes":
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _check_history(history: Any) -> None:
    if not isinstance(getattr(history, "train", None), list):
        raise ValueError(
            f"history is {type(history).__name__}: expected the History that fit returned, or a part of it"
        )


def _validated(history: "History") -> "list[Epoch]":
    """The epochs whose summaries `history.valid` has."""
    return [epoch for epoch in history if epoch.valid is not None]


def _array(values: Any) -> np.ndarray:
    if isinstance(values, list | tuple) and any(isinstance(value, Tensor) for value in values):
        return np.stack([_array(value) for value in values])
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def _numbers(images: Any) -> np.ndarray:
    """A tensor, an array or a list of them as one array of booleans, integers or floats."""
    kind = type(images).__name__
    if not (isinstance(images, list | tuple) or hasattr(images, "__array__")):
        expected = "a tensor or an array; take the mean of a distribution, the images of a Split"
        raise ValueError(f"images is {kind}: expected {expected}")
    try:
        found = _array(images)
    except ValueError as error:
        raise ValueError(
            f"images is {kind} of parts that make no array ({error}): expected numbers, of one size"
        ) from error
    if found.dtype.kind not in "biuf":
        raise ValueError(f"images is {kind} of {found.dtype}: expected numbers in [0, 1]")
    return found


def _tiles(images: Any, columns: int | None) -> np.ndarray:
    """One picture, (rows, columns) or (rows, columns, 3), of rows of `columns` images with a thin gap of NaN.

    All are in one row where `columns` is None.
    """
    numbers = _numbers(images)
    whole = numbers.dtype.kind != "f"
    # A copy: torch takes neither a flipped array nor another machine's order of bytes.
    images = torch.from_numpy(np.array(numbers, dtype=np.float64, order="C")).float()
    if images.ndim == 3:
        images = images[:, None]  # (N, 1, H, W)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        kinds = "(N, 1, H, W), (N, H, W) or, in colour, (N, 3, H, W), N >= 1"
        raise ValueError(f"images have shape {tuple(images.shape)}: expected {kinds}")
    if whole and images.max() > 1:
        raise ValueError(f"images are integers up to {images.max():.0f}: expected values in [0, 1]; divide by 255")
    columns = columns or len(images)
    rows = math.ceil(len(images) / columns)
    blank = rows * columns - len(images)
    images = torch.nn.functional.pad(images, (1, 1, 1, 1, 0, 0, 0, blank), value=math.nan)
    channels, height, width = images.shape[1:]
    grid = images.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    return grid.reshape(rows * height, columns * width, channels).squeeze(-1).numpy()


def _picture(tiles: np.ndarray, height: float, title: str | None, ax: "Axes | None") -> "Axes":
    """The tiles, in a new figure 8 inches wide unless `ax` is given."""
    ax = _axes(ax, (8, height))
    if tiles.ndim == 3:  # colour: what is NaN becomes transparent, as it does in grey
        opaque = ~np.isnan(tiles).any(-1, keepdims=True)
        tiles = np.concatenate([np.nan_to_num(tiles).clip(0, 1), opaque], -1)
    # Named, though matplotlib has the same defaults: a user's matplotlibrc may have others.
    ax.imshow(tiles, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", origin="upper", aspect="equal")
    if title:
        ax.set_title(title)
    return ax


def _by_epoch(
    lines: "Iterable[tuple[str, str, list[Epoch], Sequence[float]]]",
    size: int,
    what: str,
    title: str,
    ax: "Axes | None",
) -> "Axes":
    """Lines given as (name, style, epochs, a value for each), with markers of one size."""
    ax = _axes(ax, (6.4, 3.6))
    for place, (name, style, epochs, values) in enumerate(lines):
        colour = COLOURS[place % len(COLOURS)]
        ax.plot([epoch.number for epoch in epochs], values, style, ms=size, color=colour, label=name)
    ax.set(xlabel="epoch", ylabel=f"{what} (nats per example)", title=title)
    ax.legend(frameon=False)
    ax.grid(alpha=0.3)
    return ax


def _legend(labels: np.ndarray, names: Sequence[str] | None) -> list[tuple[tuple[str, str], str]]:
    """A look, which is its own, and a name for each of the distinct labels."""
    values, whole = labels.tolist(), labels.dtype.kind in "biu"
    if names is None:
        called = _called(labels)
    else:
        for label in values:
            if not whole or not 0 <= label < len(names):
                expected = f"integers from 0 to {len(names) - 1}, one for each name"
                raise ValueError(f"names has {len(names)} entries, and a label is {label!r}: expected {expected}")
        called = [str(names[int(label)]) for label in values]
    if len(values) > len(_LOOKS):
        most = f"at most {len(_LOOKS)}, as many as can be told apart"
        raise ValueError(f"labels have {len(values)} different values: expected {most}; draw some of them at a time")
    # An integer has the same look whichever others are there, unless two of these would share one.
    numbers = [label % len(_LOOKS) for label in values] if whole else []
    if len(set(numbers)) < len(values):
        numbers = range(len(values))
    # In quotes, as matplotlib's legend leaves out what is empty or begins with "_".
    shown = [repr(name) if name.startswith("_") or not name else name for name in called]
    return [(_LOOKS[number], name) for number, name in zip(numbers, shown, strict=True)]


def _called(labels: np.ndarray) -> list[str]:
    """A name of its own for each of the distinct labels: floats in six digits, or in full where those are the same."""
    if labels.dtype.kind == "f":
        short = [f"{label:g}" for label in labels]
        if len(set(short)) == len(short):
            return short
    return [str(label) for label in labels]
