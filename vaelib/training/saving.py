"""Models and trainings on disk: safetensors for numbers, JSON for the rest. Nothing is ever unpickled.

A file holds named tensors and, in its header, one JSON text with a SHA-256 digest of both. It is written under another
name, flushed to the disk and renamed, so that at every moment a whole file lies under its name, or none.

    >>> import tempfile, vaelib as vl
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> vl.save(vl.VAE.mlp((1, 28, 28), latent=8, hidden=(32,)), path)
    >>> vl.load_model(path).decoders[0].event
    (1, 28, 28)
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..hierarchy import Hierarchy
from ..remembered import build

FORMAT = 1


def save(model: Hierarchy, path: str | os.PathLike[str]) -> None:
    """Write a model, its weights and how it is built, to one file.

    A model with modules of your own is saved, too; `load_model` then needs `into=`.
    """
    write(path, model.state_dict(), {"kind": "model", "model": describe_json(model)})


def load_model(path: str | os.PathLike[str], into: Hierarchy | None = None) -> Hierarchy:
    """The model that `save` wrote, on the CPU, in evaluation mode. A training's `last` and `best` files will do, too.

    into: a model with the same weights' names and shapes, which is filled and returned; needed where the file's model
    has modules that are not vaelib's own.

    Raises ValueError, saying why, for a file that is damaged, foreign, of a later format, or does not fit `into`.
    """
    tensors, info = read(path)
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")} or tensors
    if into is None:
        if info.get("model") is None:
            raise ValueError(f"{path} has a model with modules of its own: build it and pass load_model(path, into=it)")
        into = build(info["model"])
    try:
        into.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model: {error}") from error
    return into.eval()


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Named tensors and a JSON object into one file, wholly or not at all.

    Raises OSError where the disk is full or the folder cannot be written; what lay under the name before is kept.
    """
    path = Path(path)
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, **info}, allow_nan=True)
    data = safetensors.torch.save(stored, {"vaelib": text, "sha256": _digest(stored, text)})
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
            temporary = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{path} was not written ({error.strerror}); what lay there before is kept"
        ) from error
    if os.name == "posix":  # the rename itself outlives a power cut only once the folder is on the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote. Raises FileNotFoundError, or ValueError for a file that is not whole and of this format."""
    data = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text, digest = header["__metadata__"]["vaelib"], header["__metadata__"]["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        what = (
            "a pickle, which could run any program and is not opened" if data[:2] in (b"\x80\x02", b"PK") else "damaged"
        )
        raise ValueError(f"{path} is no checkpoint of vaelib: it is foreign, or {what}") from error
    if digest != _digest(tensors, text):
        raise ValueError(f"{path} is damaged: its contents do not match their SHA-256 digest")
    info = json.loads(text)
    if info["format"] > FORMAT:
        raise ValueError(f"{path} has format {info['format']}, of a later vaelib; this one reads up to {FORMAT}")
    return tensors, info


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return sha.hexdigest()


# TEMP
def state_of(model):
    return dict(model.state_dict()), {"model": describe_json(model)}


def describe_json(model):
    from ..remembered import describe as d

    return d(model)


def describe(model):
    return repr(model)


def fill(model, tensors, info):
    model.load_state_dict(tensors)


def sweep(folder):
    pass


def write_text(path, text):
    path.write_text(text)
