"""What users hand in as data, made into tensors of floats (N, *event), or refused in words.

A whole (a tensor, an array, a table) becomes a tensor at once. A collection is read example by example and a loader
batch by batch, by `Streamed`: `_entry` finds x in either, and `_floats` makes it a tensor. Pandas, Pillow and datasets
need not be here: what they make is known by its class or by what it can do.
"""

import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.masked import MaskedTensor
from torch.utils.data import DataLoader, IterableDataset

from .. import processes
from ..arguments import integers, number
from .bundled import Dataset, Split

ONE = "expected a tensor, an array or a picture"
MANY = "expected a tensor, an array, a table, a list of examples, a map-style or iterable Dataset, or a DataLoader"


def as_tensor(data: Any, *, key: str | None = None, name: str = "x", dtype: torch.dtype | None = None) -> Tensor:
    """The data as one tensor of floats (N, *event), N >= 1, only to be read: it shares memory with `data` where it can.

    Args:
        data: a whole: a tensor, an array (or what makes one of itself), a pandas DataFrame of numbers, a `Split` (its
            images). Or what `Streamed` takes, read to its end: above all a collection, that is a list, a map-style
            Dataset, a Hugging Face Dataset or anything else with a length and indices. An example is a tensor, an array
            or a picture; a tuple or list that begins with one; or a dict with one under `key`. Pictures of Pillow in
            mode L or 1 become (1, H, W) and in mode RGB (3, H, W), in [0, 1]; in other modes they are refused, as what
            is transparent, or which level is white, is for you to say.
        key: the name of the entry that is x, where examples are dicts.
        name: of the data, in messages.
        dtype: what floats of another precision are cast to, which is said in one line on stderr. Pictures and tables
            have none of their own; they become this, or torch's default dtype.
    Raises:
        ValueError: these are no data, no floats (integers may be grey levels, counts or labels: what they mean is for
            you to say), not all there (masked, missing) or not all of one shape.
    """
    if isinstance(data, Split):
        data = data.images
    if _made_by("pandas", "DataFrame", data):
        x = _table(data, name, dtype)
    elif isinstance(data, Tensor) or (hasattr(data, "__array__") and not _is_picture(data)):
        x = _floats(data, name, dtype)
    else:
        return torch.cat(list(Streamed(data, 1024, key=key, name=name, dtype=dtype)))
    if x.ndim == 0:
        raise ValueError(f"{name} is one number: {MANY}")
    if len(x) == 0:
        raise ValueError(f"{name} is empty: expected data with at least one example")
    if x.numel() == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected examples of at least one number")
    return _cast(x, dtype, name)


def is_streamed(data: Any) -> bool:
    """Whether data are iterated over in each epoch, not held: a DataLoader, or iterable without length or indices.

    An iterator (such as a generator that has begun) is none of these: a second epoch would find nothing in it.
    """
    anew = isinstance(data, Iterable) and not isinstance(data, Iterator)
    return isinstance(data, DataLoader | IterableDataset) or (anew and not _is_indexed(data))


@dataclass(eq=False, repr=False)
class Streamed:
    """Data that are read anew in each epoch: iterated over, batches (B, *event) of floats, a batch or two in memory.

    A DataLoader keeps its own batches, their size and their order. With shuffle=True that order follows torch's global
    random numbers, unless the loader has a generator of its own, and so does each start of a loader, shuffled or not
    (it draws a seed for its workers): the training loop sets these numbers from its own seed. Anything else gives one
    example at a time, in its own order.

    Args:
        data: a DataLoader, an IterableDataset of torch or Hugging Face, or another object that begins anew whenever
            it is iterated over. Also a collection as in `as_tensor`.
        batch_size: how many examples to a batch, where data are no DataLoader.
        key, name, dtype: as in `as_tensor`. That data are cast is said once.
    Raises:
        ValueError: as `as_tensor`, some of it only when the batch is reached; also for a pass without any example.
    """

    data: Any
    batch_size: int
    _: KW_ONLY
    key: str | None = None
    name: str = "train"
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        _check_kind(self.data, self.name)
        (self.batch_size,) = integers(batch_size=self.batch_size)
        self._said = False

    def __len__(self) -> int:
        """The number of batches. Raises TypeError, as Python does, where data do not know their length."""
        return len(self.data) if isinstance(self.data, DataLoader) else math.ceil(len(self.data) / self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        examples = 0
        for x in self._batches():
            examples += len(x)
            cast = _cast(x, self.dtype, None if self._said else self.name)
            self._said = self._said or cast is not x
            yield cast
        if not examples:
            anew = " each time it is iterated over" if is_streamed(self.data) else ""
            dropped = ", and drop_last leaves out a batch that is not full" * getattr(self.data, "drop_last", False)
            raise ValueError(f"{self.name} is empty: expected data with at least one example{anew}{dropped}")

    def _batches(self) -> Iterator[Tensor]:
        if isinstance(self.data, DataLoader):
            yield from self._read(self.data, "batch")
            return
        by_index = _is_indexed(self.data) and not isinstance(self.data, IterableDataset)
        examples = self._read((self.data[i] for i in range(len(self.data))) if by_index else self.data, "example")
        while some := list(islice(examples, self.batch_size)):
            yield torch.stack(some)

    def _read(self, items: Iterable[Any], what: str) -> Iterator[Tensor]:
        """Each example (*event), or each batch (B, *event), all of one event shape."""
        event, axes = None, 1 if what == "batch" else 0
        for index, item in enumerate(items):
            where = f"{what} {index} of {self.name}"
            x = _entry(item, self.key, where)
            if axes and _is_picture(x):
                raise ValueError(f"{where} begins with a picture: expected a tensor (B, *event) from the DataLoader")
            x = _floats(x, where, self.dtype)
            if x.ndim <= axes:
                expected = "(B, *event)" if axes else "an array with one axis or more"
                raise ValueError(f"{where} has shape {tuple(x.shape)}: expected {expected}")
            event = event or x.shape[axes:]
            if x.shape[axes:] != event:
                of, shape = "examples of " if axes else "", tuple(x.shape[axes:])
                shapes = f"{of}shape {shape}, and those before it {tuple(event)}"
                raise ValueError(f"{where} has {shapes}: expected one shape; crop, pad, resize or convert")
            yield x


def picture(image: Any, where: str, dtype: torch.dtype | None = None) -> Tensor:
    """A picture of Pillow in mode L or 1 as (1, H, W), in mode RGB as (3, H, W), in [0, 1], upright."""
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"{where} holds {frames} pages or frames: expected a picture of one; save them apart")
    if image.mode not in ("1", "L", "RGB"):
        deep = image.mode.startswith(("I", "F"))
        how = "np.asarray(image), divided by its white level" if deep else 'image.convert("RGB") or image.convert("L")'
        raise ValueError(f"{where} is a picture of mode {image.mode}: expected L or RGB; {how}")
    if "transparency" in image.info:
        raise ValueError(f"{where} has a transparent colour: expected none; what is behind it is for you to say")
    from PIL import ImageOps  # there, as somebody has made the picture

    upright = ImageOps.exif_transpose(image)  # as every viewer shows it
    levels = torch.from_numpy(np.array(upright)).to(dtype or torch.get_default_dtype())
    levels = levels if image.mode == "1" else levels / 255
    return levels.permute(2, 0, 1) if levels.ndim == 3 else levels[None]  # (H, W, C) or (H, W)


def _entry(item: Any, key: str | None, where: str) -> Any:
    """What is x in an example or a batch: itself, the first of a tuple or list, the entry of a dict."""
    if isinstance(item, tuple | list):
        first = item[0] if item else None
        if not (isinstance(first, Mapping) or _is_picture(first) or getattr(first, "ndim", 0)):
            kind, of = type(item).__name__, f"that begins with {first!r:.40}" if item else "of nothing"
            raise ValueError(f"{where} is a {kind} {of}: {ONE}; np.array makes one of lists of numbers")
        item = first
    if not isinstance(item, Mapping):
        return item
    entries = list(item)
    if key not in entries:
        what = f"a dict with {', '.join(map(str, entries)) or 'nothing'}"
        said = "" if key is None else f"; key is {key!r}"
        such = f", such as key={entries[0]!r}" if entries else ""
        raise ValueError(f"{where} is {what}{said}: expected key= to name the entry that is x{such}")
    x = item[key]
    return _from_lists(x, f"{key!r} in {where}") if isinstance(x, list | tuple) else x


def _from_lists(x: list | tuple, where: str) -> np.ndarray:
    """Lists (of lists) of numbers, as Hugging Face Datasets give arrays, unless they are told to give tensors."""
    leaf = x
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    if math.isnan(number(leaf)):
        # A DataLoader makes (D, B) of B lists of D numbers: a list of D tensors, which are not examples.
        kind = type(leaf).__name__
        raise ValueError(f'{where} is a list of {kind}: {ONE}; a Hugging Face Dataset gives one .with_format("torch")')
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{where} is a ragged list: expected lists of one length; crop or pad") from error


def _floats(x: Any, where: str, dtype: torch.dtype | None) -> Tensor:
    """One tensor of floats of a picture, an array or a tensor, in its own precision."""
    if _is_picture(x):
        return picture(x, where, dtype)
    cast = ".float()"
    if not isinstance(x, Tensor):
        if not hasattr(x, "__array__"):
            raise ValueError(f"{where} is of type {type(x).__name__}: {ONE}")
        x, cast = _from_numpy(np.asanyarray(x), where), '.astype("float32")'
    kind = str(x.dtype).removeprefix("torch.")
    if isinstance(x, MaskedTensor):
        say = "a masked tensor: expected all numbers; fill in what is masked (.to_tensor) or leave those examples out"
    elif x.is_nested:
        say = "a nested tensor: expected examples of one shape; crop, pad or resize"
    elif x.is_quantized:
        say = f"quantised ({kind}): expected floating-point numbers; .dequantize() gives them"
    elif x.layout != torch.strided:
        say = "a sparse tensor: expected a dense one; .to_dense() makes it one"
    elif x.is_meta:
        say = "on the device meta, where there are no numbers: expected a tensor that holds some"
    elif x.is_complex():
        say = f"{kind}: expected real numbers; .abs(), or .real and .imag side by side"
    elif x.dtype == torch.uint8:
        say = "uint8: expected floating-point numbers; divide 8-bit images by 255"
    elif x.dtype == torch.bool:
        say = f"bool: expected floating-point numbers; {cast} makes 0 and 1 of it"
    elif not x.is_floating_point():
        say = f"{kind}: expected floating-point numbers; {cast}, scaled as the likelihood wants"
    else:
        return x.detach()
    raise ValueError(f"{where} is {say}")


def _from_numpy(array: np.ndarray, where: str) -> Tensor:
    """The array as a tensor that shares its memory, where torch can read it as it lies there."""
    kind, names = array.dtype.kind, array.dtype.names
    if names:
        say = f"an array with the fields {', '.join(names)}: expected one array of numbers; choose a field"
    elif isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        masked = f"{np.ma.count_masked(array)} of {array.size} values"
        say = f"an array with {masked} masked: expected all; fill them in (.filled) or leave those examples out"
    elif kind == "O":
        odd = next((value for value in array.flat if math.isnan(number(value))), next(array.flat, None))
        cure = "np.stack makes one array of many" if getattr(odd, "ndim", 0) else ".astype(float) if they are numbers"
        such = f" (such as {type(odd).__name__})" if array.size else ""
        say = f"an array of objects{such}: expected numbers; {cure}"
    elif kind in "UST":
        say = "an array of strings: expected numbers; .astype(float) if they are numbers"
    elif kind in "Mm":
        say = "an array of dates or times: expected numbers; subtract and divide by a unit of time"
    elif kind not in "biufc":
        say = f'an array of {array.dtype}: expected floating-point numbers; .astype("float32")'
    else:
        array = np.ma.getdata(array)
        native = {"g": "d", "G": "D"}.get(array.dtype.char, array.dtype.newbyteorder("="))  # torch has no long double
        array = array.astype(native, copy=False)
        if any(step < 0 or step % array.itemsize for step in array.strides):
            array = array.copy()
        if array.flags.writeable:
            return torch.from_numpy(array)
        with warnings.catch_warnings():  # torch warns of memory that is only to be read; that is all that is done here
            warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
            return torch.from_numpy(array)
    raise ValueError(f"{where} is {say}")


def _table(frame: Any, name: str, dtype: torch.dtype | None) -> Tensor:
    """The columns of a pandas DataFrame that holds nothing but numbers: (N, columns)."""
    columns = []
    for label, column in frame.items():
        where = f"column {label!r} of {name}"
        if column.isna().any():
            raise ValueError(f"{where} has missing values: expected all; .fillna(value), or .dropna() to drop the rows")
        if column.dtype.kind in "biuf":
            columns.append(column.to_numpy(dtype=np.float64))
            continue
        odd = next((value for value in column if column.dtype != object or math.isnan(number(value))), None)
        if odd is not None:
            kind = f"{column.dtype}, such as {odd!r:.40}"
            raise ValueError(f"{where} is {kind}: expected numbers; drop the column or encode it")
        columns.append(np.array([number(value) for value in column]))
    if not columns:
        raise ValueError(f"{name} is a table without columns: expected numbers")
    return torch.from_numpy(np.stack(columns, axis=1)).to(dtype or torch.get_default_dtype())


def _check_kind(data: Any, name: str) -> None:
    """Whether data can be read example by example or batch by batch. Raises ValueError, with what to do, if not."""
    if isinstance(data, Mapping):
        say = f"a dict with {', '.join(map(str, data))}: expected one of its entries"
    elif isinstance(data, Dataset):
        say = "a Dataset of several splits: expected one of them, such as its train"
    elif isinstance(data, tuple):
        say = "a tuple: expected the one entry that is x, or a list of examples"
    elif isinstance(data, str | bytes | PathLike):
        say = f"{data!r:.60}: expected the data themselves; vaelib.load and vaelib.data.load_file read them"
    elif _is_picture(data):
        say = "one picture: expected a list of pictures"
    elif isinstance(data, Iterator) and not is_streamed(data):
        kind = type(data).__name__
        say = f"a {kind}, which can be read once only: expected a list, or an object whose __iter__ begins anew"
    elif not _is_indexed(data) and not is_streamed(data):
        say = f"of type {type(data).__name__}: {MANY}"
    else:
        return
    raise ValueError(f"{name} is {say}")


def _is_indexed(data: Any) -> bool:
    return hasattr(type(data), "__len__") and hasattr(type(data), "__getitem__")


def _is_picture(x: Any) -> bool:
    return _made_by("PIL.Image", "Image", x)


def _made_by(module: str, name: str, x: Any) -> bool:
    """Whether x is of this class of a package that may not be here: if it is not imported, nobody has made one."""
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and isinstance(x, found)


def _cast(x: Tensor, dtype: torch.dtype | None, name: str | None) -> Tensor:
    """x in this dtype, unless that is None. The cast is said of the data of this name, unless it is None."""
    if dtype in (None, x.dtype):
        return x
    if name is not None and processes.rank() == 0:
        was, now = (str(kind).removeprefix("torch.") for kind in (x.dtype, dtype))
        print(f"{name} is {was}: cast to {now}, as the model is", file=sys.stderr)
    return x.to(dtype)
