"""Models on disk: safetensors for numbers, JSON for the rest. Nothing is ever unpickled.

A file holds named tensors and, in its header, one JSON text with a SHA-256 digest of both. It is written under another
name, flushed to the disk and renamed, so that at every moment a whole file lies under its name, or none.

What a factory made, such as `VAE.mlp`, is made once more by the same call; any other model is loaded `into` one that
the user builds. Either way the descriptions (`describe`) must agree: what comes back is what was saved, or an error.

    >>> import tempfile, vaelib as vl
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> vl.save(vl.VAE.mlp((1, 28, 28), latent=8, hidden=(32,)), path)
    >>> vl.load_model(path).decoders[0].event
    (1, 28, 28)
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..factories import remake
from ..hierarchy import Hierarchy, check_model
from ..models import HVAE, MHVAE, VAE
from ..randomness import RandomStream

FORMAT = 2

# What every module has, a compiled forward, and how the model was made: none of it decides what a model computes.
_NO_SETTINGS = vars(nn.Module()).keys() | {"_compiled_call_impl", "made_by"}


def save(model: Hierarchy, path: str | os.PathLike[str]) -> None:
    """Writes a model to one file: its tensors, its description and how a factory made it.

    A model that no factory made, or that was changed since, is saved, too; `load_model` then needs `into=`.

    Args:
        model: A VAE, MHVAE, HVAE or another `Hierarchy`, on any device.
        path: The file; what lies there is replaced. `~` is the user's home.
    Raises:
        ValueError: `model` is something else.
        OSError: The disk is full or the folder cannot be written; what lay under the name before is kept.
    """
    check_model(model)
    tensors, info = state_of(model)
    write(path, tensors, {"kind": "model", "model": info})


def load_model(path: str | os.PathLike[str], into: Hierarchy | None = None) -> Hierarchy:
    """The model that `save` wrote, with the dtype that it had, in evaluation mode: `into`, or a new one on the CPU.

    Args:
        path: A file of `save`, or the `last` or `best` file of a training.
        into: A model built as the saved one was, which is filled where it is; needed where no factory of vaelib made
            the saved one, or where it was changed since.
    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, foreign or of another format, or of another model than `into` or the one that
            the factory makes: the first line in which their descriptions differ is shown.
    """
    tensors, info = read(path)
    if info.get("kind") == "training":
        tensors = below("model.", tensors)
    elif info.get("kind") != "model":
        raise ValueError(f"{path} holds a {info.get('kind')}: expected a model or a training")
    if into is None:
        return _remade(path, tensors, info["model"]).eval()
    try:
        fill(into, tensors, info["model"])
    except ValueError as error:
        raise ValueError(f"{path} does not fit the model: {error}") from error
    return into.eval()


def state_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that a file needs to give a model back with `fill`: tensors by name, and a JSON object.

    The tensors are the model's own, not copies: parameters, buffers, those that `state_dict` leaves out as well, and
    those kept as plain attributes. The object has the model's description and its factory's call.
    """
    info = {"description": describe(model), "made_by": getattr(model, "made_by", None)}
    return _state(model) | _constants(model), info


def fill(model: nn.Module, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Puts what `state_of` gave into a model, in place: what shares memory goes on sharing it.

    Raises ValueError, and leaves the model as it was, where it is another than the one described.
    """
    state = _state(model)
    if any(held.is_meta for held in state.values()):
        raise ValueError('the model is on the device "meta", which holds no numbers: build it on another')
    theirs, ours = first_difference(info["description"], describe(model))
    if theirs != ours:
        raise ValueError(f"the saved model has\n    {theirs}\nwhere this one has\n    {ours}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in state and 0 not in state[name].stride():
                state[name].copy_(tensor)
            else:  # what lies there may be the user's own tensor, or one number expanded to many
                path, _, attribute = name.rpartition(".")
                module = model.get_submodule(path)
                device = getattr(getattr(module, attribute, None), "device", "cpu")
                setattr(module, attribute, tensor.to(device, copy=True))


def describe(model: nn.Module) -> str:
    """All that decides what a model computes, but its numbers and its classes' code, as lines of text.

    One for each module, with its class and its settings: its attributes, as their `repr` gives them. One for each
    parameter and buffer, with its dtype, its shape and with which other it is shared. The text depends neither on the
    process nor on the device. Hooks are not looked at.
    """
    names, modules = _names(model), model.named_modules(remove_duplicate=False)
    lines = [" ".join([f"{path or 'model'}: {_class(part)}", *_settings(part, names)]) for path, part in modules]
    for name, tensor in _state(model).items():
        first = names[_memory(tensor)]
        shared = "" if first == name else f" shared with {first}"
        lines.append(f"{name}: {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}{shared}")
    return "\n".join(lines)


def first_difference(a: str, b: str) -> tuple[str, str]:
    """The first lines in which two texts differ; two empty ones where they are equal."""
    lines = zip_longest(a.split("\n"), b.split("\n"), fillvalue="nothing")
    return next(((left, right) for left, right in lines if left != right), ("", ""))


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Writes named tensors and a JSON object into one file, wholly or not at all; raises OSError as `save`.

    Tensors that are the same memory are written once; others that overlap are written as copies.
    """
    stored: dict[str, Tensor] = {}  # no two of which overlap, as safetensors wants it
    aliases: dict[str, str] = {}  # the first name of each tensor that has several
    first: dict[Any, str] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        known = first.setdefault(_memory(tensor), name)
        if known != name:
            aliases[name] = known
            continue
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        stored[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    text = json.dumps({**info, "format": FORMAT, "aliases": aliases}, allow_nan=True)
    data = safetensors.torch.save(stored, {"vaelib": text, "sha256": _digest(stored, text)})
    put(Path(path).expanduser(), data)


def put(path: Path, data: bytes) -> None:
    """Puts a file in its place, wholly or not at all; raises OSError as `save`."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        why = f"{path} was not written ({error.strerror}); what lay there before is kept"
        raise OSError(error.errno, why) from error
    finally:
        with suppress(OSError):  # it is gone where all went well, and never was where the folder is no folder
            temporary.unlink()
    if os.name == "posix":  # the rename itself outlives a power cut only once the folder is on the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote. Names that were one tensor are one again.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is a folder, or the file is not whole, or not of this format.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected a file, such as the best.safetensors of a training")
    data = path.read_bytes()
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text, digest = header["__metadata__"]["vaelib"], header["__metadata__"]["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        pickled = data[:2] in (b"\x80\x02", b"PK")
        what = "a pickle, which could run any program and is not opened" if pickled else "damaged"
        raise ValueError(f"{path} is no checkpoint of vaelib: it is foreign, or {what}") from error
    if digest != _digest(tensors, text):
        raise ValueError(f"{path} is damaged: its contents do not match their SHA-256 digest")
    info = json.loads(text)
    if info["format"] != FORMAT:
        age = "a later" if info["format"] > FORMAT else "an earlier"
        raise ValueError(f"{path} has format {info['format']}, of {age} vaelib; this one reads format {FORMAT}")
    return tensors | {name: tensors[first] for name, first in info.pop("aliases").items()}, info


def sweep(folder: str | os.PathLike[str]) -> None:
    """Removes the unfinished files that killed processes left; to be called where nobody else writes to the folder."""
    for path in Path(folder).expanduser().glob(f"*.{'[0-9a-f]' * 8}.part"):
        path.unlink(missing_ok=True)


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with this, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _remade(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> Hierarchy:
    """The model of a file by the call that made it, whose weights are drawn apart from the user's random numbers."""
    made_by = info["made_by"]
    way = f"{path} needs a model to fill: build it as it was saved and pass load_model(path, into=it)"
    if made_by is None:
        raise ValueError(f"{way}; no factory such as VAE.mlp can make it again")
    try:
        with torch.device("cpu"), RandomStream(seed=0):
            model = remake(made_by, {"VAE": VAE, "MHVAE": MHVAE, "HVAE": HVAE})
        for name, held in _state(model).items():
            held.data = held.data.to(tensors.get(name, held).dtype)
        fill(model, tensors, info)
    except (TypeError, ValueError) as error:
        call = f"{made_by['class']}.{made_by['factory']}"
        raise ValueError(f"{way}; {call} does not give it back: {error}") from error
    return model


def _state(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


def _names(model: nn.Module) -> dict[Any, str]:
    """The first name of each parameter and buffer, by its memory."""
    return {_memory(tensor): name for name, tensor in reversed(_state(model).items())}


def _constants(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that are plain attributes, unless they are parameters or buffers under another name."""
    names = _names(model)
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in model.named_modules(remove_duplicate=False)
        for name, value in vars(module).items()
        if isinstance(value, Tensor) and _memory(value) not in names
    }


def _class(module: nn.Module) -> str:
    """A name that tells the user's own `Gaussian` from vaelib's, but not where a module lies in its package."""
    package, name = type(module).__module__.partition(".")[0], type(module).__name__
    return f"{package}.{name}" if package in ("torch", "vaelib") else name


def _settings(module: nn.Module, names: Mapping[Any, str]) -> list[str]:
    inner = _class(module).startswith("torch.")  # what torch keeps for itself changes from version to version
    settings = {n: v for n, v in vars(module).items() if n not in _NO_SETTINGS and not (inner and n.startswith("_"))}
    if type(module).get_extra_state is not nn.Module.get_extra_state:
        settings["extra_state"] = module.get_extra_state()
    return [
        f"{name}={words(value, names)}"
        for name, value in sorted(settings.items())
        if not isinstance(value, Tensor) or _memory(value) in names  # the others are constants: the file has them
    ]


def words(value: Any, names: Mapping[Any, str]) -> str:
    """A setting as text on one line: equal for equal values, in every process and on every device."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{words(key, names)}: {words(part, names)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(words(part, names) for part in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(words(part, names) for part in value)) + "}"
    if isinstance(value, Tensor):
        return names.get(_memory(value)) or f"tensor {list(value.shape)} {_digest({'': value.detach().cpu()}, '')}"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {list(value.shape)} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, torch.device):
        return "device"
    text = repr(value.item() if isinstance(value, np.generic) else value)
    text = " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", text).split())  # a function's address is new in each process
    return f"{text} {words(_state(value), names)}" if isinstance(value, nn.Module) else text


def _memory(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for two tensors that are the same view of the same memory."""
    return tensor.data_ptr() or id(tensor), tensor.device, tensor.dtype, tensor.shape, tensor.stride()


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return sha.hexdigest()
