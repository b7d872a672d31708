"""Data as users hand them in. PIL comes with matplotlib; pandas and datasets are tried where they are installed."""

import gc
import subprocess
import sys
import warnings
import weakref
import zipfile
import zlib
from collections import UserDict, namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import vaelib as vl
from vaelib.data.inputs import Streamed, as_tensor, is_streamed

ARRAY = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
X = torch.from_numpy(ARRAY)
GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 13  # 0 to 247
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], 2)


class Indexed(Dataset):
    """A map-style Dataset of torch, whose items are what a function makes of each row."""

    def __init__(self, item=lambda row: row, count=7):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.item(ARRAY[index])


class Stream(IterableDataset):
    def __init__(self, item=lambda row: row, count=7):
        self.item, self.count = item, count

    def __iter__(self):
        return (self.item(row) for row in ARRAY[: self.count])


class Known(Stream):
    def __len__(self):
        return self.count


class Column:
    """What a Hugging Face Dataset is to a reader: a length and indices, and no class of torch's."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Fresh:
    """Iterable, anew each time, without length or indices."""

    def __iter__(self):
        return iter(ARRAY)


class Makes:
    """Makes an array of itself, as those of jax, TensorFlow, polars and h5py do."""

    def __array__(self, dtype=None, copy=None):
        return ARRAY


def rows(item):
    return [item(row) for row in ARRAY]


Pair = namedtuple("Pair", "x y")

# Each gives X.
SAME = {
    "a tensor": lambda: X,
    "a parameter": lambda: nn.Parameter(X.clone()),
    "an array": lambda: ARRAY,
    "a big-endian array": lambda: ARRAY.astype(">f4"),
    "an array backwards": lambda: ARRAY[::-1].copy()[::-1],
    "an array in Fortran's order": lambda: np.asfortranarray(ARRAY),
    "a view whose steps are not whole numbers": lambda: np.rec.fromarrays([ARRAY[:, 0]] * 2, "f4,i1")["f0"],
    "a masked array where nothing is masked": lambda: np.ma.masked_values(ARRAY, -9999.0),
    "what makes an array of itself": lambda: Makes(),
    "a split": lambda: vl.Split(X, labels=torch.arange(7)),
    "a list of tensors": lambda: list(X),
    "a list of arrays": lambda: list(ARRAY),
    "a list of big-endian arrays": lambda: list(ARRAY.astype(">f4")),
    "a list of (x, label)": lambda: rows(lambda row: (row, 3)),
    "a list of [x, label]": lambda: rows(lambda row: [torch.from_numpy(row), "three"]),
    "a list of named pairs": lambda: rows(lambda row: Pair(row, 3)),
    "a list of dicts": lambda: rows(lambda row: {"label": 3, "image": row}),
    "a list of (dict, label)": lambda: rows(lambda row: ({"image": row}, 3)),
    "a list of dicts of lists": lambda: [{"image": row} for row in ARRAY.tolist()],
    "a TensorDataset": lambda: TensorDataset(X, torch.arange(7)),
    "a Subset": lambda: Subset(TensorDataset(X.flip(0)), range(6, -1, -1)),
    "a Dataset of arrays": lambda: Indexed(),
    "a Dataset of dicts": lambda: Indexed(lambda row: {"image": torch.from_numpy(row), "label": 0}),
    "a Dataset of mappings": lambda: Indexed(lambda row: UserDict(image=row)),
    "an object with a length and indices": lambda: Column(ARRAY),
    "one with items of dicts": lambda: Column(rows(lambda row: {"image": row})),
    "an iterable Dataset": lambda: Stream(),
    "an iterable Dataset of dicts": lambda: Stream(lambda row: {"image": row, "path": "a.png"}),
    "an iterable Dataset of known length": lambda: Known(),
    "an object that is iterated over": lambda: Fresh(),
    "a DataLoader": lambda: DataLoader(TensorDataset(X, torch.arange(7)), 3),
    "a DataLoader of tensors": lambda: DataLoader(list(X), 3),
    "a DataLoader of dicts": lambda: DataLoader(Indexed(lambda row: {"image": row, "label": 0}), 3),
    "a DataLoader over an iterable Dataset": lambda: DataLoader(Stream(), 3),
    "a DataLoader of batches of the user's": lambda: DataLoader(X.split(2), batch_size=None),
}


@pytest.mark.parametrize("made", SAME.values(), ids=SAME)
def test_data_are_taken_in_every_form(made):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = as_tensor(made(), key="image")
    assert torch.equal(x.float(), X[:, 0] if x.ndim == 1 else X)  # a field of the array with fields is one column
    assert type(x) is torch.Tensor
    assert not x.requires_grad


def test_tensors_and_arrays_share_their_memory():
    for data in (X, ARRAY, vl.Split(X)):
        assert as_tensor(data, dtype=torch.float32).data_ptr() == X.data_ptr()


def test_read_only_arrays_and_memory_maps_come_without_a_warning(tmp_path):
    locked = ARRAY.copy()
    locked.flags.writeable = False
    np.save(tmp_path / "x.npy", ARRAY)
    for data in (locked, list(locked), np.load(tmp_path / "x.npy", mmap_mode="r"), np.broadcast_to(ARRAY, ARRAY.shape)):
        assert torch.equal(as_tensor(data), X)  # pytest turns warnings into errors


# Pictures


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY), GREY[None] / np.float32(255)),
        (Image.fromarray(COLOUR), COLOUR.transpose(2, 0, 1) / np.float32(255)),
        (Image.fromarray(GREY > 99), (GREY[None] > 99).astype(np.float32)),
    ],
    ids=["L", "RGB", "1"],
)
@pytest.mark.parametrize("item", [lambda i: i, lambda i: (i, 3), lambda i: {"image": i}], ids=["x", "(x, y)", "dict"])
def test_pictures_become_channels_of_the_unit_interval(image, expected, item):
    for data in ([item(image)] * 2, Column([item(image)] * 2), Stream(lambda row: item(image), 2)):
        x = as_tensor(data, key="image")
        assert torch.equal(x, torch.from_numpy(np.stack([expected] * 2)))
    precise = as_tensor([item(image)], key="image", dtype=torch.float64)[0]
    # In the precision asked for: a float32 would be off by up to 3e-8.
    assert torch.allclose(precise * 255, (torch.from_numpy(expected).double() * 255).round(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "CMYK", "YCbCr"])
def test_pictures_of_other_modes_are_refused_with_what_converts_them(mode):
    image = Image.fromarray(COLOUR).convert("RGBA" if mode == "PA" else "RGB").convert(mode)
    with pytest.raises(ValueError, match=rf'example 1 of train is a picture of mode {mode}: .*convert\("RGB"\) or'):
        as_tensor([Image.fromarray(GREY), image], name="train")


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pictures_of_more_than_eight_bits_are_not_told_to_be_clipped(mode):
    with pytest.raises(ValueError, match=rf"mode {mode}: expected L or RGB; np.asarray\(image\), divided by its white"):
        as_tensor([Image.fromarray(GREY).convert(mode)])


# Precision


@pytest.mark.parametrize("made", [ARRAY.astype(float), X.half(), ARRAY.astype(np.longdouble), list(X.double())])
def test_other_precisions_are_cast_and_said_in_one_line(made, capsys):
    x = as_tensor(made, name="train", dtype=torch.float32)
    assert x.dtype == torch.float32
    assert torch.allclose(x, X, atol=2e-3)  # half a unit of the last place of a float16 below 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err in [f"train is float{bits}: cast to float32, as the model is\n" for bits in (64, 16)]


def test_what_is_not_cast_or_has_no_precision_of_its_own_says_nothing(capsys):
    assert as_tensor(X.double()).dtype == torch.float64
    assert as_tensor(X, dtype=torch.float32).dtype == torch.float32
    assert as_tensor([Image.fromarray(GREY)], dtype=torch.float64).dtype == torch.float64
    assert capsys.readouterr() == ("", "")


def test_pictures_follow_the_default_precision(monkeypatch):
    torch.set_default_dtype(torch.float64)
    try:
        assert as_tensor([Image.fromarray(GREY)]).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


# What is refused


def sparse(layout):
    with warnings.catch_warnings():  # torch says that these are young
        warnings.simplefilter("ignore")
        return X.to_sparse(layout=layout)


def made_quietly(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


ONE = "expected a tensor, an array or a picture"
FLOATS = "expected floating-point numbers; "
REFUSED = {
    "bytes": (X.byte(), rf"train is uint8: {FLOATS}divide 8-bit images by 255$"),
    "bytes of numpy": (ARRAY.astype(np.uint8), rf"train is uint8: {FLOATS}divide 8-bit images by 255$"),
    "bool": (X > 0, rf"train is bool: {FLOATS}\.float\(\) makes 0 and 1 of it$"),
    "bool of numpy": (ARRAY > 0, rf'train is bool: {FLOATS}\.astype\("float32"\) makes 0 and 1 of it$'),
    "integers": (X.long(), rf"train is int64: {FLOATS}\.float\(\), scaled as the likelihood wants$"),
    "sixteen bits": (ARRAY.astype(">u2"), rf'train is uint16: {FLOATS}\.astype\("float32"\), scaled as'),
    "integers in examples": (list(X.int()), "example 0 of train is int32: expected floating-point"),
    "labels first": ([(3, ARRAY[0])], "example 0 of train is a tuple that begins with 3: " + ONE),
    "complex": (X + 1j, r"train is complex64: expected real numbers; \.abs\(\), or \.real and \.imag"),
    "complex of numpy": (ARRAY.astype(np.clongdouble), "train is complex128: expected real numbers"),
    "sparse": (sparse(torch.sparse_coo), r"train is a sparse tensor: expected a dense one; \.to_dense\(\)"),
    "sparse by rows": (sparse(torch.sparse_csr), "train is a sparse tensor"),
    "quantised": (
        made_quietly(lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)),
        r"train is quantised \(quint8\): expected floating-point numbers; \.dequantize\(\)",
    ),
    "meta": (X.to("meta"), "train is on the device meta, where there are no numbers"),
    "nested": (
        made_quietly(lambda: torch.nested.nested_tensor([X[0], X[1, :3]])),
        "train is a nested tensor: expected examples of one shape",
    ),
    "masked": (np.ma.masked_greater(ARRAY, 1), r"train is an array with \d of 42 values masked: expected all"),
    "masked in examples": (list(np.ma.masked_less(ARRAY, ARRAY[2:3])), r"example 1 of train is an array with 2 of 6"),
    "masked by torch": (
        made_quietly(lambda: torch.masked.masked_tensor(X, X > 0)),
        r"train is a masked tensor: expected all numbers; .*\(\.to_tensor\)",
    ),
    "objects": (ARRAY.astype(object), r"train is an array of objects \(such as float\): .*\.astype\(float\)"),
    "objects with words": (np.array([[1.0, "a"]], object), r"array of objects \(such as str\): expected numbers"),
    "objects with nothing": (np.array([1.0, None], object), r"array of objects \(such as NoneType\): expected"),
    "objects that are arrays": (np.array([ARRAY, ARRAY[0]], object), r"\(such as ndarray\): .*np\.stack makes one"),
    "no objects": (np.array([], object), "train is an array of objects: expected numbers"),
    "words": (np.array(["a", "b"]), "train is an array of strings: expected numbers"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "train is an array of dates or times: expected numbers"),
    "fields": (np.zeros(3, "f4,i1"), "train is an array with the fields f0, f1: expected one array"),
    "raw memory": (np.zeros(3, "V4"), "train is an array of |V4: expected floating-point"),
    "one number": (torch.tensor(1.0), "train is one number: expected a tensor"),
    "no rows": (X[:0], "train is empty: expected data with at least one example$"),
    "no columns": (X[:, :0], r"train has shape \(7, 0\): expected examples of at least one number"),
    "an empty list": ([], "train is empty: expected data with at least one example$"),
    "an empty Dataset": (Indexed(count=0), "train is empty: expected data with at least one example$"),
    "an empty stream": (Stream(count=0), "at least one example each time it is iterated over$"),
    "nothing": (None, "train is of type NoneType: expected a tensor, an array, a table"),
    "a number": (3, "train is of type int: expected a tensor"),
    "a function": (lambda: X, "train is of type function: expected a tensor"),
    "a class": (TensorDataset, "train is of type type: expected a tensor"),
    "a Dataset without length": (Dataset(), "train is of type Dataset: expected a tensor"),
    "a name": ("mnist", r"train is 'mnist': expected the data themselves; vaelib\.load and vaelib\.data\.load_file"),
    "all splits": (vl.Dataset(*[vl.Split(X)] * 4), "train is a Dataset of several splits: expected one of them"),
    "a dict": ({"train": X, "test": X}, "train is a dict with train, test: expected one of its entries"),
    "images and labels": ((X, torch.arange(7)), "train is a tuple: expected the one entry that is x"),
    "one picture": (Image.fromarray(GREY), "train is one picture: expected a list of pictures"),
    "a generator": ((row for row in X), "train is a generator, which can be read once only: .*__iter__ begins anew"),
    "a zip": (zip(X, X, strict=True), "train is a zip, which can be read once only"),
    "a loader begun": (iter(DataLoader(X, 3)), "DataLoaderIter, which can be read once only"),
    "paths": (["a.png"], "example 0 of train is of type str: " + ONE),
    "lists of numbers": (ARRAY.tolist(), r"example 0 of train is a list that begins with 0\.1257.*np\.array makes one"),
    "lists of tensors of one number": ([list(row) for row in X], r"is a list that begins with tensor\(0\.1257\)"),
    "numbers": ([0.1, 0.2], "example 0 of train is of type float"),
    "tensors of one number": (
        [torch.tensor(0.1)] * 2,
        r"example 0 of train has shape \(\): expected an array with one",
    ),
    "empty tuples": ([()], "example 0 of train is a tuple of nothing"),
    "ragged": ([ARRAY[0], ARRAY[1], ARRAY[2, :4]], r"example 2 of train has shape \(4,\), .* before it \(6,\)"),
    "grey and colour": ([Image.fromarray(GREY), Image.fromarray(COLOUR)], r"example 1 .* \(3, 4, 5\), .* \(1, 4, 5\)"),
    "a ragged stream": (Stream(lambda row: row[: 5 + (row[0] > 0)]), r"example 2 of train has shape \(5,\)"),
    "ragged batches": (DataLoader([X, X, X[:, :4]], None), r"batch 2 of train has examples of shape \(4,\)"),
    "batches of pictures": (
        DataLoader([Image.fromarray(GREY)] * 3, 2, collate_fn=list),
        r"batch 0 of train begins with a picture: expected a tensor \(B, \*event\)",
    ),
    "batches of lists": (DataLoader(X, 2, collate_fn=list), r"batch 0 of train has shape \(6,\): expected \(B, \*eve"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_in_words(data, message):
    with pytest.raises(ValueError, match=message):
        as_tensor(data, name="train")


DICTS = rows(lambda row: {"image": row, "label": 3})


@pytest.mark.parametrize(
    "data", [DICTS, Indexed(lambda row: DICTS[0]), DataLoader(DICTS, 3), Stream(lambda r: DICTS[0])]
)
@pytest.mark.parametrize(("key", "said"), [(None, ""), ("img", "; key is 'img'"), (0, "; key is 0")])
def test_dicts_need_the_name_of_the_entry_that_is_x(data, key, said):
    what = f"(example|batch) 0 of train is a dict with image, label{said}: expected key= .*, such as key='image'$"
    with pytest.raises(ValueError, match=what):
        as_tensor(data, key=key, name="train")


def test_an_entry_that_is_no_array_is_refused_by_name():
    with pytest.raises(ValueError, match="'x' in example 1 of train is a ragged list: expected lists of one length"):
        as_tensor([{"x": [[1.0], [2.0]]}, {"x": [[1.0], [2.0, 3.0]]}], key="x", name="train")
    with pytest.raises(ValueError, match="'x' in example 0 of train is a list of str: " + ONE):
        as_tensor([{"x": ["a"]}], key="x", name="train")
    # A loader turns lists of D numbers into D tensors (B,). As one array they would be (D, B), silent where D = B.
    with pytest.raises(ValueError, match=r"'x' in batch 0 of train is a list of Tensor: .*with_format\(\"torch\"\)"):
        as_tensor(DataLoader([{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}], 2), key="x", name="train")


# Streams


def test_what_is_iterated_over_is_streamed_and_what_is_held_is_not():
    for data in (DataLoader(X), Stream(), Known(), Fresh(), {"a": X}.values()):
        assert is_streamed(data)
    held = (X, ARRAY, vl.Split(X), list(X), Indexed(), Column(ARRAY), {"a": X}, "mnist", None, Fresh, Dataset())
    for data in (*held, iter(X), (row for row in X), Image.fromarray(GREY)):
        assert not is_streamed(data)


@pytest.mark.parametrize("data", [Stream(), Fresh(), Indexed(), list(X), X], ids=lambda data: type(data).__name__)
def test_a_stream_is_cut_into_batches_anew_in_each_epoch(data):
    stream = Streamed(data, 3)
    for _ in range(2):
        assert [len(batch) for batch in stream] == [3, 3, 1]
        assert torch.equal(torch.cat(list(stream)), X)


def test_a_loader_keeps_its_own_batches():
    sizes = [len(batch) for batch in Streamed(DataLoader(TensorDataset(X), 2, drop_last=True), 5)]
    assert sizes == [2, 2, 2]
    assert [len(batch) for batch in Streamed(DataLoader(X, batch_sampler=[[0, 3, 5], [1]]), 5)] == [3, 1]


def test_the_number_of_batches_is_known_where_the_data_know_theirs():
    assert len(Streamed(DataLoader(X, 3), 100)) == 3
    assert len(Streamed(Indexed(), 3)) == 3
    assert len(Streamed(Indexed(count=6), 3)) == 2
    assert len(Streamed(Known(), 3)) == 3
    for data in (Stream(), Fresh(), DataLoader(Stream(), 3)):
        with pytest.raises(TypeError, match="has no len"):
            len(Streamed(data, 3))


def test_a_shuffled_loader_follows_the_global_random_numbers():
    stream = Streamed(DataLoader(X, 7, shuffle=True), 7)

    def epoch(seed):
        torch.manual_seed(seed)
        return next(iter(stream))

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(Streamed(DataLoader(X, 7), 7))
    assert not torch.equal(before, torch.get_rng_state())  # as the docstring warns, even where nothing is shuffled


def test_a_stream_says_once_that_it_is_cast(capsys):
    stream = Streamed(Stream(lambda row: row.astype(float)), 2, dtype=torch.float32)
    for _ in range(2):
        assert all(batch.dtype == torch.float32 for batch in stream)
    assert capsys.readouterr().err == "train is float64: cast to float32, as the model is\n"


def test_a_stream_holds_few_examples_at_a_time():
    """Of 200 examples read in batches of 10: the batch given out, the batch that is made, and no more."""
    alive, most = weakref.WeakSet(), 0

    class Many(IterableDataset):
        def __iter__(self):
            for _ in range(200):
                x = torch.zeros(3)
                alive.add(x)
                yield x

    gc.disable()  # what is kept must not depend on when rubbish is collected
    try:
        for batch in Streamed(Many(), 10):
            most = max(most, len(alive))
            assert len(batch) == 10
    finally:
        gc.enable()
    assert most <= 11


def test_a_stream_that_does_not_begin_anew_is_an_error_in_the_second_epoch():
    class Once(IterableDataset):
        rows = iter(X)

        def __iter__(self):
            return self.rows

    stream = Streamed(Once(), 3)
    assert len(list(stream)) == 3
    with pytest.raises(ValueError, match=r"train is empty: expected .* each time it is iterated over"):
        list(stream)


@pytest.mark.parametrize("data", [(row for row in X), {"a": X}, None, 3, "mnist", (X, X)])
def test_a_stream_of_nothing_that_can_be_read_is_refused_before_it_is_read(data):
    with pytest.raises(ValueError, match="train is "):
        Streamed(data, 3)


@pytest.mark.parametrize("batch_size", [0, True, 2.0, None])
def test_the_size_of_a_batch_is_a_positive_integer(batch_size):
    with pytest.raises(ValueError, match=r"batch_size is .*: expected an integer of at least 1"):
        Streamed(Stream(), batch_size)
    assert len(next(iter(Streamed(Stream(), np.int64(2))))) == 2


# Packages that need not be here


@pytest.mark.slow
def test_neither_pandas_nor_pillow_nor_datasets_is_imported():
    code = (
        "import sys, numpy as np; from vaelib.data.inputs import as_tensor\n"
        "as_tensor([(np.zeros(3), 0)]); print({'pandas', 'PIL', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def test_a_table_of_numbers_of_every_kind_is_taken(pandas, capsys):
    table = pandas.DataFrame(
        {
            "integers": [1, 2],
            "floats": [1.5, 2.5],
            "truths": [True, False],
            "nullable": pandas.array([3, 4], dtype="Int64"),
            "objects": np.array([5, 6.5], dtype=object),
            "sparse": pandas.arrays.SparseArray([0.0, 7.0]),
        }
    )
    x = as_tensor(table)
    assert x.dtype == torch.float32
    assert x.tolist() == [[1, 1.5, 1, 3, 5, 0], [2, 2.5, 0, 4, 6.5, 7]]
    assert as_tensor(table, dtype=torch.float64).dtype == torch.float64
    assert as_tensor(pandas.concat([table, table], axis=1)).shape == (2, 12)  # labels may come twice
    assert torch.equal(as_tensor(table[["floats"]].to_numpy()), table_column(table))  # read-only in pandas 3
    assert capsys.readouterr().err == ""


def table_column(table):
    return torch.tensor(table[["floats"]].to_numpy().copy())


def test_a_column_that_holds_no_numbers_is_refused_by_name(pandas):
    columns = {
        "missing values: .*fillna": [
            pandas.array([1, None], dtype="Int64"),
            [1.0, np.nan],
            np.array([1, pandas.NA], dtype=object),
            np.array([1, None], dtype=object),
            pandas.to_datetime(["2020-01-01", None]),
        ],
        "such as .*: expected numbers; drop the column or encode it": [
            ["a", "b"],
            np.array([1, "b"], dtype=object),
            pandas.Categorical([1, 2]),
            pandas.to_datetime(["2020-01-01", "2020-01-02"]),
            [1j, 2.0],
            [ARRAY[0], ARRAY[1]],
        ],
    }
    for message, kinds in columns.items():
        for column in kinds:
            with pytest.raises(ValueError, match=rf"column 'bad' of train .*{message}"):
                as_tensor(pandas.DataFrame({"good": [1, 2], "bad": column}), name="train")
    with pytest.raises(ValueError, match="train is empty: expected data with at least one example"):
        as_tensor(pandas.DataFrame({"good": [1.0]})[:0], name="train")
    with pytest.raises(ValueError, match="train is a table without columns"):
        as_tensor(pandas.DataFrame(index=[0, 1]), name="train")


def test_a_data_set_of_hugging_face_is_taken(monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.arrow_dataset.generate_fingerprint", lambda dataset: "one")  # needs no cache
    data = datasets.Dataset.from_dict({"x": ARRAY.tolist(), "label": list(range(7))})
    for form in (data, data.with_format("torch"), data.with_format("numpy"), data.to_iterable_dataset()):
        assert torch.equal(as_tensor(form, key="x", dtype=torch.float32), X)
    assert is_streamed(data.to_iterable_dataset())
    assert not is_streamed(data)
    with pytest.raises(ValueError, match=r"a dict with x, label: expected key= .* such as key='x'"):
        as_tensor(data)
    with pytest.raises(ValueError, match="x is a dict with train: expected one of its entries"):
        as_tensor(datasets.DatasetDict(train=data))


# The public report on data (field report F10), by way of fit


def elbo(data, event=6):
    torch.manual_seed(0)
    model = vl.VAE.mlp(event, 2, (8,), "gaussian")
    return vl.fit(model, data, epochs=1, progress=False, device="cpu").train[-1].elbo


def test_fit_takes_pictures_big_endian_arrays_and_splits():
    pictures = [(Image.fromarray(np.zeros((4, 4), np.uint8)), 0)] * 64
    assert elbo(Column(pictures), (1, 4, 4)) == elbo(torch.zeros(64, 1, 4, 4), (1, 4, 4))
    assert elbo(ARRAY.astype(">f4")) == elbo(vl.Split(X)) == elbo(X)


def test_fit_refuses_what_it_used_to_train_on_or_to_stumble_over():
    bad = ARRAY.copy()
    bad[::3, 0] = -9999.0
    refused = {
        "masked": np.ma.masked_values(bad, -9999.0),
        "array of objects": ARRAY.astype(object),
        "a dict with image, label: expected key=": Indexed(lambda row: {"image": torch.from_numpy(row), "label": 0}),
    }
    for message, data in refused.items():
        with pytest.raises(ValueError, match=message):
            elbo(data)


# What was taken in silence, or refused for another cause


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_photograph_is_taken_upright_as_every_viewer_shows_it(orientation, turns, tmp_path):
    picture, exif = Image.fromarray(COLOUR), Image.Exif()
    exif[0x0112] = orientation  # the camera was turned: how the picture is to be turned before it is shown
    picture.save(tmp_path / "a.png", exif=exif)
    upright = torch.from_numpy(np.rot90(COLOUR, turns).copy()).permute(2, 0, 1)[None] / 255
    assert vl.data.load_file(tmp_path).equal(upright)
    with Image.open(tmp_path / "a.png") as image:
        assert as_tensor([image]).equal(upright)


def test_masks_of_bytes_0_and_1_are_ink_or_none_as_in_an_array(tmp_path):
    masks = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(np.uint8)
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    assert vl.data.load_file(tmp_path)[:, 0].equal(torch.from_numpy(masks).float())
    Image.fromarray(2 * masks[0]).save(tmp_path / "9.png")  # one grey level more, and bytes are grey levels
    assert vl.data.load_file(tmp_path)[:3, 0].equal(torch.from_numpy(masks) / 255)


def test_a_picture_with_a_transparent_colour_is_refused(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", transparency=(0, 0, 0))
    with pytest.raises(ValueError, match="has a transparent colour: expected none"):
        vl.data.load_file(tmp_path)
    with Image.open(tmp_path / "a.png") as image, pytest.raises(ValueError, match="has a transparent colour"):
        as_tensor([image])


@pytest.mark.parametrize("kind", ["png", "ppm"])
def test_of_sixteen_bits_for_a_colour_eight_are_not_dropped(kind, tmp_path):
    values = np.arange(48, dtype=">u2").reshape(4, 4, 3)
    if kind == "ppm":
        content = b"P6 4 4 65535\n" + values.tobytes()
    else:  # which pillow cannot write

        def chunk(name, data):
            return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

        rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
        head = (4).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / f"a.{kind}").write_bytes(content)
    with pytest.raises(ValueError, match="has 16 bits for a colour, of which pillow reads eight: expected one of 8"):
        vl.data.load_file(tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
def test_of_a_picture_with_several_pages_the_first_is_not_taken_for_all(suffix, tmp_path):
    frames = [Image.fromarray(np.roll(COLOUR, i, 0)) for i in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="holds 3 pages or frames: expected a picture of one"):
        vl.data.load_file(tmp_path)
    with Image.open(tmp_path / f"a{suffix}") as image, pytest.raises(ValueError, match="3 pages or frames"):
        as_tensor([image])


@pytest.mark.parametrize("kind", ["csr", "coo", "dia", "bsr"])
def test_a_sparse_matrix_is_not_taken_for_the_numbers_it_keeps(kind, tmp_path):
    from scipy import sparse

    sparse.save_npz(tmp_path / "a.npz", sparse.random(30, 6, 0.5, format=kind, random_state=0))
    with pytest.raises(ValueError, match=r"a sparse matrix of scipy; \.toarray\(\)"):
        vl.data.load_file(tmp_path / "a.npz")


def test_an_archive_of_other_things_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.csv", "1,2")
    with pytest.raises(ValueError, match=r"a\.npz holds x\.csv: expected one array"):
        vl.data.load_file(tmp_path / "a.npz")


def test_a_loader_that_drops_its_only_batch_is_told_so():
    loader = DataLoader(TensorDataset(torch.rand(20, 16)), 64, drop_last=True)
    with pytest.raises(ValueError, match=r"train is empty: .*, and drop_last leaves out a batch that is not full"):
        vl.fit(vl.VAE.mlp((16,), 2, (8,)), loader, epochs=1, progress=False, device="cpu")


@pytest.mark.parametrize("shuffle", [False, True])
def test_evaluation_of_a_loader_has_random_numbers_of_its_own(shuffle):
    model, data = vl.VAE.mlp((16,), 2, (8,)), TensorDataset(torch.rand(20, 16).round())
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        values.append(vl.nll(model, DataLoader(data, 5, shuffle=shuffle), samples=3).mean)
        vl.diagnostics.posterior_means(model, DataLoader(data, 5, shuffle=shuffle))
        assert torch.equal(before, torch.get_rng_state())
    assert values[0] == values[1]


def test_what_is_bundled_does_not_depend_on_torchs_default_type_or_device():
    def made():
        images, latents = vl.data.cave.sample(3, seed=0)
        weights = torch.cat([weight.flatten() for weight in vl.pretrained("mnist-2d").parameters()])
        return [images, latents, vl.load("mnist").test.images[:9], weights]

    want = made()
    torch.set_default_dtype(torch.float64)
    try:
        wide = made()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):  # stands for another device
        other = vl.pretrained("mnist-2d")
        noise = vl.binarise(torch.full((2, 3), 0.5, device="cpu"))
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(want, wide, strict=True))
    assert {each.device.type for each in (*other.parameters(), noise)} == {"cpu"}


def test_batch_normalisation_over_pixels_takes_a_last_batch_of_one():
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 4))

    model = vl.VAE(vl.Gaussian((1, 4, 4), 2, net=Net()), vl.Bernoulli(2, (1, 4, 4), (8,)))
    x = torch.rand(21, 1, 4, 4).round()
    assert len(vl.fit(model, x, epochs=1, batch_size=20, progress=False, device="cpu")) == 1
    with pytest.raises(ValueError, match="expected two or more to normalise by"):
        vl.fit(vl.VAE.mlp((1, 4, 4), 2, (8,), norm="batch"), x, epochs=1, batch_size=20, progress=False, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_neighbours_in_half_precision_are_those_of_the_same_numbers(dtype):
    images, train = torch.rand(3, 1, 4, 4).to(dtype), torch.rand(9, 1, 4, 4).to(dtype)
    got, want = (vl.diagnostics.nearest(a, b) for a, b in ((images, train), (images.float(), train.float())))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_what_is_no_history_is_refused_in_words():
    training = vl.Training(
        vl.VAE.mlp((16,), 2, (8,)), torch.rand(20, 16).round(), epochs=1, progress=False, device="cpu"
    )
    (epoch,) = training
    for wrong in (training, epoch, training.model, vl.data.Split(torch.rand(3, 16))):
        for plot in (vl.plots.training_curves, vl.plots.rate_per_level):
            with pytest.raises(ValueError, match="expected the History that fit returned"):
                plot(wrong)
