"""The data bundled with the package, in splits that do not overlap."""

import importlib.resources
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor

from . import cave


@dataclass(frozen=True, eq=False)
class Split:
    """Examples of a dataset, with what is known of them.

    Args:
        images: (N, 1, 28, 28), float32 in [0, 1]; 1 is ink.
        labels: (N,), int64.
        latents: (N, L), the true ones.
    """

    images: Tensor
    labels: Tensor | None = None
    latents: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | Sequence[int] | np.ndarray | Tensor) -> "Split":
        """The same rows of everything: a slice shares memory with this split, a mask or a list of indices copies.

        Raises:
            ValueError: rows are neither, above all one index: a split of one image without its first axis is none.
        """
        if isinstance(rows, tuple) or not (isinstance(rows, slice) or np.ndim(rows) == 1):
            such = f"of shape {tuple(np.shape(rows))}" if np.ndim(rows) > 1 else f"{rows!r}"
            raise ValueError(
                f"the rows of a Split are {such}: expected a slice, a mask (N,) or indices (n,); one image is "
                "split.images[i], and a DataLoader takes split.images"
            )
        labels, latents = (None if part is None else part[rows] for part in (self.labels, self.latents))
        return Split(self.images[rows], labels, latents)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Splits that do not overlap: `train` to train on, `valid` to choose by, `test` to report.

    `full_train` is train and valid together, in their original order. It may share its memory with them.
    """

    train: Split
    valid: Split
    test: Split
    full_train: Split


def load(name: str) -> Dataset:
    """The dataset of that name, as new tensors that are yours to change.

    - "mnist": handwritten digits; train is the first 50,000 and valid the last 10,000 of the original training set,
      test is 10,000; labels 0 to 9.
    - "binarized_mnist": Larochelle's fixed binarisation, 50,000 / 10,000 / 10,000; no labels. Its test set is sorted by
      class: never evaluate on its first N images, draw N at random.
    - "omniglot": handwritten characters; full_train is the authors' background set (19,280), of which drawers 19 and 20
      are valid (1,928) and drawers 1 to 18 are train (17,352); test is the evaluation set (13,180), other alphabets.
      labels: the character, 0 to 1,622. Not the split of Burda et al. (2016): likelihoods do not compare with theirs.
    - "cave": shadows rendered by `vaelib.cave`, 20,000 / 4,000 / 4,000; labels: the solid, an index into `cave.KINDS`;
      latents: the columns `cave.LATENTS`.

    Each load takes about a second ("cave" about six) and 4 bytes a pixel (MNIST 220 MB).

    Raises:
        ValueError: another name. Models are read by `load_model`, files of your own by `vaelib.data.load_file`.
        OSError: a bundled file is missing or damaged.
    """
    if isinstance(name, str) and name in _LOADERS:
        return _LOADERS[name]()  # anew each time: a cache would hand one user's changes to the next
    if str(name).endswith(".safetensors"):
        raise ValueError(f"no dataset called {str(name)!r}: a model is read by load_model")
    own = "; a file of your own is read by vaelib.data.load_file" if os.path.exists(str(name)) else ""
    raise ValueError(f"no dataset called {name!r}: expected one of {', '.join(sorted(_LOADERS))}{own}")


def _bundled(name: str) -> dict[str, np.ndarray]:
    """The arrays of <name>.npz; the zip format's checksums tell whether they are whole."""
    from lzma import LZMAError  # some builds of Python lack it; they can still import vaelib

    try:
        path = importlib.resources.files("vaelib.data") / f"{name}.npz"
        with path.open("rb") as stream, np.load(stream) as arrays:
            return dict(arrays)
    except (OSError, EOFError, ValueError, RuntimeError, UnpicklingError, zipfile.BadZipFile, LZMAError) as error:
        remedy = "reinstall vaelib (in a clone of the repository: git checkout vaelib/data)"
        raise OSError(f"the bundled data file {name}.npz is missing or damaged: {remedy}") from error


def _split(grey: np.ndarray, labels: np.ndarray) -> Split:
    """Of grey levels (N, 28, 28), uint8 with 255 = ink."""
    return Split(torch.from_numpy(grey).float().div(255).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def _mnist() -> Dataset:
    arrays = _bundled("mnist")
    full, test = (_split(arrays[f"{part}_images"], arrays[f"{part}_labels"]) for part in ("train", "test"))
    return Dataset(full[:50_000], full[50_000:], test, full)


def _binarized_mnist() -> Dataset:
    arrays = _bundled("binarized_mnist")  # eight pixels to a byte

    def split(*parts: str) -> Split:
        bits = np.unpackbits(np.concatenate([arrays[part] for part in parts]), axis=1)
        return Split(torch.from_numpy(bits).float().reshape(-1, 1, 28, 28))

    full = split("train", "valid")
    return Dataset(full[:50_000], full[50_000:], split("test"), full)


def _omniglot() -> Dataset:
    arrays = _bundled("omniglot")
    everything = _split(arrays["images"], arrays["character"])
    background = int((arrays["evaluation"] == 0).sum())  # the background set comes first
    full = everything[:background]
    held_out = torch.from_numpy(arrays["drawer"][:background] > 18)
    return Dataset(full[~held_out], full[held_out], everything[background:], full)


def _cave() -> Dataset:
    def split(n: int, seed: int) -> Split:
        images, latents = cave.sample(n, seed)
        return Split(images, latents[:, 0].long(), latents)

    full = split(24_000, seed=0)
    return Dataset(full[:20_000], full[20_000:], split(4_000, seed=1), full)


_LOADERS = {"mnist": _mnist, "binarized_mnist": _binarized_mnist, "omniglot": _omniglot, "cave": _cave}
