import builtins
import gzip
import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from vaelib.data import load_file

GREY = np.arange(3 * 6 * 5, dtype=np.uint8).reshape(3, 6, 5) * 2
COLOUR = np.stack([GREY, GREY + 1, 255 - GREY], 3)  # (3, 6, 5, 3)
UNIT = torch.from_numpy(GREY)[:, None] / 255
UNIT_COLOUR = torch.from_numpy(COLOUR).permute(0, 3, 1, 2) / 255


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    header = struct.pack(f">4B{array.ndim}i", 0, 0, kind, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def folder(path, images, suffix=".png"):
    path.mkdir(exist_ok=True)
    for index, image in enumerate(images):
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path / f"{index:03}{suffix}")
    return path


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, UNIT),
        (GREY[:, None], UNIT),
        (COLOUR, UNIT_COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), UNIT_COLOUR),
        (COLOUR[:, :3, :3].transpose(0, 3, 1, 2), UNIT_COLOUR[:, :, :3, :3]),
        (GREY.reshape(3, 6, 1, 5), UNIT.reshape(3, 6, 1, 5)),
        (GREY.reshape(3, 30), UNIT.reshape(3, 30)),
        (GREY > 50, (UNIT > 50 / 255).float()),
        ((GREY > 50).astype(np.uint8), (UNIT > 50 / 255).float()),
        (GREY.astype(">f4") / 255, UNIT),
        (np.asfortranarray(GREY), UNIT),
        (GREY.reshape(3, 30).astype(float), torch.from_numpy(GREY).reshape(3, 30).double()),
        (np.zeros((2, 3, 4, 5, 6), np.float32), torch.zeros(2, 3, 4, 5, 6)),
    ],
    ids=[
        "grey",
        "a channel",
        "colour last",
        "colour first",
        "tiny",
        "six channels of one row",
        "rows",
        "bool",
        "0 and 1",
        "floats",
        "Fortran",
        "float64",
        "5",
    ],
)
def test_arrays_become_examples_with_their_channels_first(tmp_path, array, expected):
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.NPZ", array)
    for name in ("x.npy", "x.NPZ"):
        path = tmp_path / name
        if not path.exists():
            path = tmp_path / "x.NPZ.npz"
        x = load_file(path)
        assert torch.equal(x, expected)
        assert x.dtype == expected.dtype


@pytest.mark.parametrize("name", ["images", "x", "data", "train"])
def test_of_several_arrays_the_one_with_a_name_for_data_is_taken(tmp_path, name):
    np.savez(tmp_path / "all.npz", labels=np.arange(3), **{name: GREY})
    assert torch.equal(load_file(str(tmp_path / "all.npz")), UNIT)


@pytest.mark.parametrize("names", [("x_train", "y_train"), ("x", "train", "labels")])
def test_of_several_arrays_that_may_be_meant_none_is_guessed(tmp_path, names):
    np.savez(tmp_path / "all.npz", **dict.fromkeys(names, GREY))
    with pytest.raises(
        ValueError, match=rf"all\.npz holds {', '.join(names)}: expected one array, or one .* images, x,"
    ):
        load_file(tmp_path / "all.npz")


@pytest.mark.parametrize(
    "name",
    [
        "x.idx",
        "x.idx.gz",
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte.gz",
        "train-images.idx3-ubyte",
        "x-ubyte",
    ],
)
def test_idx_files_are_read_packed_or_not(tmp_path, name):
    content = idx(GREY)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert torch.equal(load_file(tmp_path / name), UNIT)


def test_idx_files_of_floats_are_read(tmp_path):
    for kind, array in ((0x0D, np.float32([[1, 2], [3, 4]])), (0x0E, np.float64([[1, 2], [3, 4]]))):
        (tmp_path / "x.idx").write_bytes(idx(array, kind))
        x = load_file(tmp_path / "x.idx")
        assert x.dtype == (torch.float32 if kind == 0x0D else torch.float64)
        assert x.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".PNG", ".webp"])
def test_a_folder_of_pictures_is_read_in_the_order_of_the_names(tmp_path, suffix):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "._000.png").write_bytes(b"what macOS leaves behind")
    (tmp_path / "more").mkdir()
    for images, expected in ((COLOUR, UNIT_COLOUR), (GREY, UNIT)):
        if suffix == ".webp":  # which knows no grey and loses some of the colours
            if images is COLOUR:
                assert load_file(folder(tmp_path, images, suffix)).shape == expected.shape
        else:
            assert torch.equal(load_file(folder(tmp_path, images, suffix)), expected)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", GREY)
    assert torch.equal(load_file("~/x.npy"), UNIT)


def write_npy(array):
    def write(path):
        np.save(path / "x.npy", array, allow_pickle=True)
        return path / "x.npy"

    return write


def write_header_of_terabytes(path):
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2000000000000,), }"
    (path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + head.ljust(117) + b"\n" + bytes(80))
    return path / "x.npy"


def write_bytes(name, content):
    def write(path):
        (path / name).write_bytes(content)
        return path / name

    return write


def whole(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def whole_zip(array):
    stream = io.BytesIO()
    np.savez_compressed(stream, array)
    return stream.getvalue()


RGBA = Image.fromarray(COLOUR[0]).convert("RGBA")
PNG = r"\.bmp, .*\.png"
DAMAGED = {
    "npy cut": (write_bytes("x.npy", whole(GREY)[:-7]), r"x\.npy is damaged, or holds no numbers of NumPy's: "),
    "npy empty": (write_bytes("x.npy", b""), r"x\.npy is damaged, or holds no numbers of NumPy's: "),
    "npy of text": (
        write_bytes("x.npy", b"1, 2, 3\n" * 9),
        r"x\.npy is damaged, or .*: pickled objects are never read",
    ),
    "npz cut": (write_bytes("x.npz", whole_zip(GREY)[:-40]), r"x\.npz is damaged, or holds no numbers of NumPy's: "),
    "npz with a flipped bit": (
        write_bytes("x.npz", whole_zip(GREY)[:90] + b"\xff" + whole_zip(GREY)[91:]),
        r"x\.npz is damaged, or holds no numbers of NumPy's: ",
    ),
    "npz of nothing": (write_bytes("x.npz", b"PK\x05\x06" + bytes(18)), r"x\.npz holds nothing: expected one array"),
    "pickled": (
        write_npy(np.array([GREY, "a"], object)),
        r"x\.npy is damaged, or holds no numbers of NumPy's: pickled objects are never read",
    ),
    "integers": (write_npy(GREY.astype(int)), r"x\.npy is int64: expected floating-point numbers"),
    "words": (write_npy(np.array(["a", "b"])), r"x\.npy is an array of strings: expected numbers"),
    "complex": (write_npy(GREY + 1j), r"x\.npy is complex128: expected real numbers"),
    "labels": (
        write_npy(np.zeros(3, np.float32)),
        r"x\.npy has shape \(3,\): expected \(N, \*event\); labels are no data",
    ),
    "one number": (write_npy(np.float32(1)), r"x\.npy is one number: expected"),
    "terabytes": (
        write_header_of_terabytes,
        r"x\.npy is damaged, or too large: its header asks for more memory than there is",
    ),
    "no rows": (write_npy(GREY[:0]), r"x\.npy is empty: expected data with at least one example"),
    "no columns": (write_npy(GREY[..., :0]), r"x\.npy has shape \(3, 6, 0\): expected examples of at least one number"),
    "idx labels": (write_bytes("t10k-labels-idx1-ubyte", idx(GREY[0, 0])), r"has shape \(5,\): .* labels are no data"),
    "idx cut": (
        write_bytes("x.idx", idx(GREY)[:-1]),
        r"x\.idx is damaged: it holds 105 bytes, and its header asks for 106",
    ),
    "idx with more": (write_bytes("x.idx", idx(GREY) + b"0"), r"it holds 107 bytes, and its header asks for 106"),
    "idx without sizes": (write_bytes("x.idx", idx(GREY)[:9]), r"x\.idx is damaged: it holds 9 bytes"),
    "idx empty": (write_bytes("x.idx", b""), r"x\.idx is damaged, or no IDX file: it begins with nothing"),
    "no idx": (
        write_bytes("x.idx", b"PK\x03\x04" * 9),
        r"x\.idx is damaged, or no IDX file: it begins with 50 4b 03 04",
    ),
    "idx of another type": (
        write_bytes("x.idx", idx(GREY, 7)),
        r"x\.idx is damaged, or no IDX file: it begins with 00 00 07",
    ),
    "gz cut": (write_bytes("x.idx.gz", gzip.compress(idx(GREY))[:-9]), r"x\.idx\.gz is damaged: "),
    "gz with a flipped bit": (
        write_bytes("x.idx.gz", gzip.compress(idx(GREY))[:40] + b"\xff" * 9 + gzip.compress(idx(GREY))[49:]),
        r"x\.idx\.gz is damaged: ",
    ),
    "idx of integers": (
        write_bytes("x.idx", idx(GREY.astype(">i4"), 0x0C)),
        r"x\.idx is int32: expected floating-point",
    ),
    "one picture": (lambda p: folder(p, GREY) / "000.png", r"000\.png is one picture: expected a folder of pictures"),
    "a table": (
        write_bytes("x.csv", b"1,2\n"),
        r"x\.csv is a file of another kind: expected \.npy, \.npz, \.idx .* or a folder",
    ),
    "an empty folder": (lambda p: p, rf"holds no pictures: expected files such as {PNG}"),
    "a folder of folders": (lambda p: folder(p / "cats", GREY).parent, "it holds folders, of which one may be meant"),
    "mixed sizes": (
        lambda p: folder(p, [*GREY, GREY[0, :4]]),
        r"003\.png has shape \(1, 4, 5\), and 000\.png \(1, 6, 5\)",
    ),
    "mixed modes": (
        lambda p: folder(p, [GREY[0], COLOUR[0]]),
        r"001\.png has shape \(3, 6, 5\), .*: expected one size and",
    ),
    "transparency": (lambda p: folder(p, [COLOUR[0], RGBA]), r'001\.png is a picture of mode RGBA: .*convert\("RGB"\)'),
    "sixteen bits": (
        lambda p: folder(p, [GREY[0].astype(np.uint16)]),
        r"000\.png is a picture of mode I;16: expected L",
    ),
    "a picture of text": (
        lambda p: write_bytes("x.png", b"no picture")(p).parent,
        r"x\.png is damaged, or no picture: ",
    ),
    "a picture cut": (
        lambda p: write_bytes("z.png", (folder(p, GREY) / "000.png").read_bytes()[:-30])(p).parent,
        r"z\.png is damaged, or no picture: ",
    ),
}


@pytest.mark.parametrize(("write", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_and_other_files_are_one_clear_error(tmp_path, write, message):
    with pytest.raises(ValueError, match=message):
        load_file(write(tmp_path))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*x\.npy: expected \.npy"):
        load_file(tmp_path / "x.npy")


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "x.npy", np.array([Trap()], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", np.array([Trap()], object))
    for name in ("x.npy", "x.npz"):
        with pytest.raises(ValueError, match="pickled objects are never read, as they could run code"):
            load_file(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "PIL":
            raise ImportError("No module named 'PIL'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match="read by pillow, which is missing: pip install pillow"):
        load_file(folder(tmp_path, GREY))
