"""Pack the bundled image data from the originals that vaelib/data/DATA_CARD.md describes.

    python tools/pack_data.py MNIST_DIR BINARIZED_DIR OMNIGLOT_FILE OUTPUT_DIR

MNIST_DIR holds the four original .gz files, BINARIZED_DIR the three binarized_mnist_{train,valid,test}.amat text files,
OMNIGLOT_FILE is an npz with `images` (32460, 28, 28), `character`, `drawer` and `evaluation`, in the authors' order.

Each output is an npz whose members are LZMA compressed, which np.load reads as it reads any other. The same input gives
the same bytes: the stored times are fixed.
"""

import gzip
import sys
import zipfile
from pathlib import Path

import numpy as np


def pack(path: Path, **arrays: np.ndarray) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_LZMA
            member.create_system = 3  # Unix, wherever this runs
            with archive.open(member, "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def idx(path: Path) -> np.ndarray:
    """An array from a gzipped idx file: two zero bytes, type 8 (uint8), the number of axes, their sizes, the values."""
    raw = gzip.decompress(path.read_bytes())
    axes = raw[3]
    shape = np.frombuffer(raw, ">u4", count=axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def amat(path: Path) -> np.ndarray:
    """(N, 98) uint8, eight pixels to a byte, from lines of 784 digits 0 or 1 with single spaces between them."""
    digits = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 784, 2)[:, :, 0]
    return np.packbits(digits == ord("1"), axis=1)


def main(mnist: Path, binarized: Path, omniglot: Path, output: Path) -> None:
    pack(
        output / "mnist.npz",
        train_images=idx(mnist / "train-images-idx3-ubyte.gz"),
        train_labels=idx(mnist / "train-labels-idx1-ubyte.gz"),
        test_images=idx(mnist / "t10k-images-idx3-ubyte.gz"),
        test_labels=idx(mnist / "t10k-labels-idx1-ubyte.gz"),
    )
    parts = {part: amat(binarized / f"binarized_mnist_{part}.amat") for part in ("train", "valid", "test")}
    pack(output / "binarized_mnist.npz", **parts)
    with np.load(omniglot) as source:
        pack(output / "omniglot.npz", **{key: source[key] for key in ("images", "character", "drawer", "evaluation")})


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
