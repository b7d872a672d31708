"""Own data for the command line: an array in a file, or a folder of pictures."""

import gzip
import math
import re
import zipfile
import zlib
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .inputs import as_tensor, picture

NAMES = ("images", "x", "data", "train")  # of the array that is meant, where a file holds several
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
EXPECTED = "expected .npy, .npz, .idx (as MNIST's -ubyte files, .gz too) or a folder of pictures"

# What the third byte of an IDX file says of its values; all are big-endian.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_file(path: str | PathLike[str]) -> Tensor:
    """Data of one's own, from a file or a folder: floats (N, *event).

    Bytes become [0, 1], divided by 255, unless all are 0 or 1. Images (N, H, W) become (N, 1, H, W), and those with
    their channels last (N, C, H, W).

    Args:
        path: `.npy` or `.npz` (the only array in it, or the one called images, x, data or train); `.idx` or a file
            named like MNIST's (`train-images-idx3-ubyte`), also packed as `.gz`; or a folder of pictures of one size
            and mode, taken in the order of their names, which needs pillow. Pickled objects are never read.
    Raises:
        ValueError: the file or the folder is damaged, empty, of another kind, or holds no such data.
        FileNotFoundError: there is none.
        ModuleNotFoundError: pillow is missing.
    """
    path = Path(path).expanduser()
    name = path.name.lower()
    if path.is_dir():
        return _pictures(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}: {EXPECTED}")
    if name.endswith((".npy", ".npz")):
        return _events(_numpy(path), path)
    if re.search(r"(\.idx|-ubyte)(\.gz)?$", name):
        return _events(_idx(path), path)
    if name.endswith(PICTURES):
        raise ValueError(f"{path} is one picture: expected a folder of pictures")
    raise ValueError(f"{path} is a file of another kind: {EXPECTED}")


def _numpy(path: Path) -> np.ndarray:
    """The array of a .npy file, or the one that is meant in a .npz file."""
    from lzma import LZMAError  # some builds of Python lack it; they can still import vaelib

    damage = (OSError, EOFError, ValueError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error, LZMAError)
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            if {"format", "shape", "data"} <= set(found.files):
                raise ValueError("a sparse matrix of scipy; .toarray() makes an array of it")
            chosen = found.files if len(found.files) == 1 else [name for name in NAMES if name in found.files]
            if len(chosen) == 1 and isinstance(one := found[chosen[0]], np.ndarray):
                return one
    except MemoryError:
        raise ValueError(f"{path} is damaged, or too large: its header asks for more memory than there is") from None
    except damage as error:
        # NumPy's own words on pickles tell how to run the code of strangers.
        why = "pickled objects are never read, as they could run code" if "pickle" in str(error) else error
        raise ValueError(f"{path} is damaged, or holds no numbers of NumPy's: {why}") from None
    among = ", ".join(found.files) or "nothing"
    raise ValueError(f"{path} holds {among}: expected one array, or one of them called {', '.join(NAMES)}")


def _idx(path: Path) -> np.ndarray:
    """The IDX format: two zero bytes, the type, the number of axes, their sizes, the values; all big-endian."""
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path} is damaged, or no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}")
    kind, start = np.dtype(IDX_TYPES[content[2]]), 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    whole = start + math.prod(shape) * kind.itemsize
    if len(content) != whole:
        raise ValueError(f"{path} is damaged: it holds {len(content):,} bytes, and its header asks for {whole:,}")
    return np.frombuffer(content, kind, offset=start).reshape(shape)


def _events(array: np.ndarray, path: Path) -> Tensor:
    """The array as floats (N, *event), images with their channels first."""
    data = array
    if array.dtype in (np.uint8, np.bool_):
        white = 255 if array.max(initial=0) > 1 else 1  # pixels of 0 and 1 are no grey levels, but ink or none
        data = torch.from_numpy(array.copy()) / white
    x = as_tensor(data, name=str(path))
    if x.ndim < 2:
        raise ValueError(f"{path} has shape {tuple(x.shape)}: expected (N, *event); labels are no data to train on")
    if x.ndim == 3:
        return x[:, None]  # (N, 1, H, W)
    if x.ndim == 4 and x.shape[3] <= 4 < x.shape[1]:
        return x.movedim(3, 1).contiguous()  # (N, C, H, W)
    return x


def _pictures(folder: Path) -> Tensor:
    """All pictures of the folder, in the order of their names: (N, C, H, W). Bytes that are all 0 or 1 are masks."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != ".")
    if not files:
        inner = any(file.is_dir() for file in folder.iterdir())
        hint = "; it holds folders, of which one may be meant" if inner else ""
        raise ValueError(f"{folder} holds no pictures: expected files such as {', '.join(PICTURES)}{hint}")
    x = torch.empty(0)
    for index, file in enumerate(files):
        image = _picture(file)
        if index == 0:
            x = image.new_empty(len(files), *image.shape)
        if image.shape != x.shape[1:]:
            sizes = f"{tuple(image.shape)}, and {files[0].name} {tuple(x.shape[1:])}"
            raise ValueError(f"{file} has shape {sizes}: expected one size and one mode; resize or convert them")
        x[index] = image
    return (255 * x).round() if x.max() <= 1 / 255 else x


def _picture(file: Path) -> Tensor:
    try:
        from PIL import Image  # for those who have pictures
    except ImportError as error:
        say = "a folder of pictures is read by pillow, which is missing: pip install pillow, or give a .npy"
        raise ModuleNotFoundError(say) from error
    with ExitStack() as stack:
        try:
            image = stack.enter_context(Image.open(file))
            levels = str([tile[-1] for tile in image.tile])  # as the file keeps them, before it is read
            image.load()
        except Exception as error:  # Pillow's readers raise whatever they run into
            raise ValueError(f"{file} is damaged, or no picture: {error}") from error
        if image.mode == "RGB" and (";16" in levels or "65535" in levels):
            raise ValueError(f"{file} has 16 bits for a colour, of which pillow reads eight: expected one of 8 bits")
        return picture(image, str(file))
